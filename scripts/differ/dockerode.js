// dockerode against a daemon: one line for each step, ids made the same; two daemons' outputs are to be compared with diff.
//     node dockerode.js SOCKET    needs npm's `dockerode`; the daemon holds the image `busybox`.
const Docker = require('dockerode');
const stream = require('stream');
const d = new Docker({socketPath: process.argv[2]});
const norm = v => (typeof v === 'string' ? v : JSON.stringify(v) ?? 'undefined').replace(/\b[0-9a-f]{64}\b/g, '<id>').replace(/\b[0-9a-f]{12}\b/g, '<id12>').slice(0, 300);
const step = async (name, f) => { let t; const limit = new Promise((_, no) => { t = setTimeout(() => no(new Error('TIMEOUT')), 15000); });
  try { console.log(name + ': ' + norm(await Promise.race([f(), limit]))); } catch (e) { console.log(name + ': !! ' + (e.statusCode || '') + ' ' + norm(e.message)); } clearTimeout(t); };
const collect = s => new Promise((yes, no) => { let b = ''; s.on('data', c => b += c.toString('latin1')); s.on('end', () => yes(b)); s.on('close', () => yes(b)); s.on('error', no); });
const sink = () => { const w = new stream.PassThrough(); w.text = ''; w.on('data', c => w.text += c); return w; };
(async () => {
  for (const n of ['n1', 'n2', 'n3']) try { await d.getContainer(n).remove({force: true}); } catch {}
  await step('ping', async () => (await d.ping()).toString());
  await step('info', async () => (await d.info()).OSType);
  await step('run', async () => { const w = sink(); const [data, c] = await d.run('busybox', ['sh', '-c', 'echo hi; exit 3'], w); await c.remove(); return [data.StatusCode, w.text]; });
  await step('run separate', async () => { const o = sink(), e = sink(); const [data, c] = await d.run('busybox', ['sh', '-c', 'echo out; echo err >&2'], [o, e], {Tty: false}); await c.remove(); return [data.StatusCode, o.text, e.text]; });
  await step('run tty', async () => { const w = sink(); const [data] = await d.run('busybox', ['echo', 'tty'], w, {Tty: true, HostConfig: {AutoRemove: true}}); return [data.StatusCode, w.text]; });
  for (const hijack of [true, false]) await step('attach stdin hijack=' + hijack, async () => {
    const c = await d.createContainer({Image: 'busybox', name: 'n1', Cmd: ['cat'], OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true});
    const s = await c.attach({stream: true, stdin: true, stdout: true, stderr: true, hijack});
    const got = collect(s); await c.start(); s.write('hello\n'); s.end(); const r = await got; const w = await c.wait(); await c.remove(); return [r, w]; });
  await step('exec', async () => { const c = await d.createContainer({Image: 'busybox', name: 'n2', Cmd: ['sleep', '1000'], Labels: {a: 'b'}, HostConfig: {PortBindings: {'80/tcp': [{HostPort: ''}]}}, ExposedPorts: {'80/tcp': {}}}); await c.start();
    const e = await c.exec({Cmd: ['sh', '-c', 'echo o; echo e >&2; exit 4'], AttachStdout: true, AttachStderr: true}); const s = await e.start({}); const o = sink(), er = sink(); d.modem.demuxStream(s, o, er); await new Promise(y => s.on('end', y)); return [o.text, er.text, (await e.inspect()).ExitCode]; });
  for (const hijack of [true, false]) await step('exec stdin hijack=' + hijack, async () => { const c = d.getContainer('n2'); const e = await c.exec({Cmd: ['cat'], AttachStdin: true, AttachStdout: true}); const s = await e.start({hijack, stdin: true}); const got = collect(s); s.write('hello\n'); s.end(); return await got; });
  await step('exec detach', async () => { const e = await d.getContainer('n2').exec({Cmd: ['true']}); const s = await e.start({Detach: true}); s.resume && s.resume(); return 'ok'; });
  await step('logs', async () => { const c = d.getContainer('n2'); return (await c.logs({stdout: true, stderr: true})).toString(); });
  await step('logs follow', async () => { const c = await d.createContainer({Image: 'busybox', name: 'n3', Cmd: ['sh', '-c', 'echo a; sleep 0.3; echo b']}); await c.start(); return await collect(await c.logs({stdout: true, follow: true})); });
  await step('stats', async () => Object.keys(await d.getContainer('n2').stats({stream: false})).sort());
  await step('stats stream', async () => { const s = await d.getContainer('n2').stats(); const first = await new Promise(y => s.once('data', y)); s.destroy(); return Object.keys(JSON.parse(first)).length; });
  await step('top', async () => (await d.getContainer('n2').top()).Titles);
  await step('inspect', async () => Object.keys(await d.getContainer('n2').inspect()).sort());
  await step('list', async () => (await d.listContainers({all: true, filters: {label: ['a=b']}})).map(c => c.Names));
  await step('list json filters', async () => (await d.listContainers({all: true, filters: '{"label":["a=b"]}'})).length);
  await step('putArchive/getArchive', async () => { const zlib = require('zlib'); const c = d.getContainer('n2'); const s = await c.getArchive({path: '/etc/passwd'}); const b = Buffer.from(await collect(s), 'latin1'); await c.putArchive(b, {path: '/tmp'}); const e = await c.exec({Cmd: ['cat', '/tmp/passwd'], AttachStdout: true}); const x = await e.start({}); return (await collect(x)).length > 10; });
  await step('putArchive gzip', async () => { const zlib = require('zlib'); const c = d.getContainer('n2'); const b = Buffer.from(await collect(await c.getArchive({path: '/etc/group'})), 'latin1'); await c.putArchive(zlib.gzipSync(b), {path: '/tmp'}); return 'ok'; });
  await step('rename/pause/unpause/resize/update', async () => { const c = d.getContainer('n2'); await c.pause(); await c.unpause(); await c.resize({h: 10, w: 10}); return await c.update({Memory: 100000000, MemorySwap: 200000000}); });
  await step('restart/stop/kill', async () => { const c = d.getContainer('n2'); await c.restart({t: 0}); await c.kill({signal: 'SIGKILL'}); return (await c.inspect()).State.ExitCode; });
  await step('start twice', async () => { const c = d.getContainer('n2'); await c.start(); return await c.start(); });
  await step('commit', async () => { const r = await d.getContainer('n2').commit({repo: 'noded', tag: 't'}); await d.getImage('noded:t').remove(); return Object.keys(r); });
  await step('events', async () => { const s = await d.getEvents({since: Math.floor(Date.now() / 1000) - 5, until: Math.floor(Date.now() / 1000), filters: {type: ['image']}}); return (await collect(s)).split('\n').filter(x => x).map(x => JSON.parse(x).Action); });
  await step('images', async () => (await d.listImages({filters: {reference: ['busybox']}})).map(i => i.RepoTags));
  await step('image', async () => { const i = d.getImage('busybox'); await i.tag({repo: 'noded', tag: '2'}); const h = await i.history(); const r = await d.getImage('noded:2').remove(); return [h.length, r]; });
  await step('image get', async () => (await collect(await d.getImage('busybox').get())).length > 1000);
  await step('pull missing', async () => { const s = await d.pull('127.0.0.1:1/x:y'); return await new Promise(y => d.modem.followProgress(s, (e, out) => y([e && e.message, out]))); });
  await step('build', async () => { const tar = Buffer.from(await collect(await d.getContainer('n2').getArchive({path: '/etc/passwd'})), 'latin1'); const s = await d.buildImage(stream.Readable.from([tar]), {t: 'nodeb', dockerfile: 'nope'}); return await new Promise(y => d.modem.followProgress(s, (e, out) => y([e && e.message, out]))); });
  await step('volumes', async () => { const v = await d.createVolume({Name: 'nodev', Labels: {x: 'y'}}); const i = await d.getVolume('nodev').inspect(); const l = await d.listVolumes({filters: {label: ['x=y']}}); await d.getVolume('nodev').remove(); return [Object.keys(i).sort(), l.Volumes.length, l.Warnings]; });
  await step('networks', async () => { const n = await d.createNetwork({Name: 'noden', CheckDuplicate: true, Driver: 'bridge', Internal: false}); await n.connect({Container: 'n2'}); const i = await n.inspect(); await n.disconnect({Container: 'n2', Force: true}); await n.remove(); return Object.values(i.Containers).map(c => c.Name); });
  await step('df', async () => Object.keys(await d.df()).sort());
  await step('version', async () => Object.keys(await d.version()).sort());
  await step('prune', async () => [Object.keys(await d.pruneContainers({filters: {until: ['1h']}})), Object.keys(await d.pruneVolumes()), Object.keys(await d.pruneNetworks()), Object.keys(await d.pruneImages())]);
  await step('auth', async () => await d.checkAuth({username: 'u', password: 'p', serveraddress: '127.0.0.1:1'}));
  await step('swarm', async () => await d.swarmInspect());
  await step('services', async () => await d.listServices());
  await step('plugins', async () => await d.listPlugins());
  await step('remove running', async () => await d.getContainer('n2').remove());
  await step('wait', async () => { const c = d.getContainer('n2'); const w = c.wait({condition: 'removed'}); await c.remove({force: true, v: true}); return await w; });
  await step('missing', async () => await d.getContainer('nope').inspect());
  for (const n of ['n1', 'n2', 'n3']) try { await d.getContainer(n).remove({force: true}); } catch {}
  process.exit(0);
})();
