// Containers.
const { step, collect, sink } = require('./told');

module.exports = async docker => {
  const get = name => docker.getContainer(name);
  const state = async name => { const found = (await get(name).inspect()).State; return [found.Status, found.ExitCode]; };
  const named = filters => docker.listContainers({ all: true, filters }).then(rows => rows.map(row => row.Names[0]).sort());
  await step('run', async () => { const out = sink(); const [ended, container] = await docker.run('busybox', ['sh', '-c', 'echo hi; exit 3'], out); await container.remove(); return [ended.StatusCode, out.text]; });
  await step('run, streams apart', async () => { const [out, err] = [sink(), sink()]; const [ended, container] = await docker.run('busybox', ['sh', '-c', 'echo out; echo err >&2'], [out, err], { Tty: false }); await container.remove(); return [ended.StatusCode, out.text, err.text]; });
  await step('run of what cannot be', () => docker.run('busybox', ['/nope'], sink(), { name: 'cannot', HostConfig: { AutoRemove: true } }));
  await step('run with a callback', () => new Promise(yes => { docker.run('busybox', ['true'], sink(), { HostConfig: { AutoRemove: true } }, (error, ended) => yes([error, ended.StatusCode])); }));
  await step('create and start', async () => {
    const container = await docker.createContainer({ Image: 'busybox', name: 'noded', Cmd: ['sleep', '1000'], Labels: { a: 'b' }, ExposedPorts: { '80/tcp': {} }, Env: ['X=y'], StopSignal: 'SIGKILL', HostConfig: { PortBindings: { '80/tcp': [{ HostPort: '' }] }, Memory: 1 << 26, Tmpfs: { '/t': 'size=1m' } } });
    await container.start();
    return [container.id, await state('noded')];
  });
  await step('create with a name in use', () => docker.createContainer({ Image: 'busybox', name: 'noded' }));
  await step('create without sense', () => docker.createContainer({ Image: 'busybox', HostConfig: { Memory: 1 } }));
  await step('start twice', () => get('noded').start());
  await step('inspect', async () => { const found = await get('noded').inspect(); return [Object.keys(found).sort(), found.Config, Object.keys(found.NetworkSettings.Ports)]; });
  await step('lists', async () => [await named({ label: ['a=b'] }), await named('{"name":["noded"]}'), (await docker.listContainers({ limit: 1, size: true })).length]);
  await step('list with a filter that there is not', () => named({ nope: ['x'] }));
  await step('top', async () => { const top = await get('noded').top({ ps_args: '-o pid,args' }); return [top.Titles, top.Processes.map(row => row.at(-1))]; });
  await step('stats', async () => { const once = await get('noded').stats({ stream: false }); return [Object.keys(once).sort(), once.memory_stats.limit]; });
  await step('stats, streamed', async () => { const stream = await get('noded').stats(); const first = await new Promise(yes => { stream.once('data', yes); }); stream.destroy(); return JSON.parse(first).name; });
  await step('changes', async () => { await get('noded').exec({ Cmd: ['sh', '-c', 'touch /new'], AttachStdout: true, AttachStderr: true }).then(exec => exec.start({ Detach: false })).then(collect); return (await get('noded').changes()).filter(change => change.Path !== '/t'); });
  await step('archives', async () => {
    const taken = Buffer.from(await collect(await get('noded').getArchive({ path: '/etc/passwd' })), 'latin1');
    await get('noded').putArchive(taken, { path: '/tmp' });
    const stat = (await get('noded').infoArchive({ path: '/tmp/passwd' })).headers['x-docker-container-path-stat'];
    return JSON.parse(Buffer.from(stat, 'base64')).name;
  });
  await step('archive of what is not there', () => get('noded').getArchive({ path: '/nope' }));
  await step('export', async () => (await collect(await get('noded').export())).includes('tmp/passwd'));
  await step('copy, as it was', () => get('noded').copy({ Resource: '/etc/hostname' }));
  await step('commit', async () => { const made = await get('noded').commit({ repo: 'committed', tag: 't', comment: 'c', author: 'a', changes: 'CMD true' }); await docker.getImage('committed:t').remove(); return made; });
  await step('pause and unpause', async () => { await get('noded').pause(); const paused = await state('noded'); await get('noded').unpause(); return [paused, await state('noded')]; });
  await step('update', () => get('noded').update({ Memory: 1 << 27, MemorySwap: 1 << 28, RestartPolicy: { Name: 'no' } }));
  await step('resize', async () => (await get('noded').resize({ h: 10, w: 20 })).length);
  await step('rename', async () => { await get('noded').rename({ name: 'noded2' }); await get('noded2').rename({ _query: { name: 'noded' } }); return (await get('noded').inspect()).Name; });
  await step('restart, kill, stop', async () => { await get('noded').restart({ t: 0 }); await get('noded').kill({ signal: 'SIGKILL' }); await get('noded').wait(); return [await state('noded'), await get('noded').stop().catch(error => error.statusCode)]; });
  await step('kill of one that has ended', () => get('noded').kill());
  await step('remove one that runs', async () => { await get('noded').start(); return get('noded').remove(); });
  await step('wait for its removal', async () => { const gone = get('noded').wait({ condition: 'removed' }); await get('noded').remove({ force: true, v: true }); return gone; });
  await step('one that is not there', () => get('nope').inspect());
  await step('prune', async () => { await docker.createContainer({ Image: 'busybox' }); return (await docker.pruneContainers({ filters: { until: ['0s'] } })).ContainersDeleted.length > 0; });
};
