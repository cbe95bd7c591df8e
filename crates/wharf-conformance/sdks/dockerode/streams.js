// What goes through streams: attach, exec, logs.
const { step, collect, split } = require('./told');

module.exports = async docker => {
  const container = await docker.createContainer({ Image: 'busybox', name: 'streamed', Cmd: ['sh', '-c', 'echo a; echo e >&2; echo b; touch /said; exec sleep 1000'] });
  await container.start();
  // What it says is there when the file is.
  while (await container.infoArchive({ path: '/said' }).catch(() => null) === null);
  await step('attach with stdin', async () => {
    const cat = await docker.createContainer({ Image: 'busybox', Cmd: ['cat'], OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true });
    const stream = await cat.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
    const got = split(docker, stream);
    await cat.start();
    stream.write('hello\n');
    stream.end();
    const ended = [await got, await cat.wait()];
    await cat.remove();
    return ended;
  });
  await step('exec with stdin', async () => {
    const exec = await container.exec({ Cmd: ['cat'], AttachStdin: true, AttachStdout: true });
    const stream = await exec.start({ hijack: true, stdin: true });
    const got = split(docker, stream);
    stream.write('hello\n');
    stream.end();
    return got;
  });
  await step('attach to a terminal', async () => {
    const shell = await docker.createContainer({ Image: 'busybox', Cmd: ['sh', '-c', 'stty size; read x; echo got $x'], Tty: true, OpenStdin: true, HostConfig: { ConsoleSize: [11, 22] } });
    const stream = await shell.attach({ stream: true, stdin: true, stdout: true, hijack: true });
    const got = collect(stream);
    await shell.start();
    stream.write('it\n');
    const told = await got;
    await shell.remove({ force: true });
    return [told.includes('11 22'), told.includes('got it')];
  });
  await step('exec', async () => {
    const exec = await container.exec({ Cmd: ['sh', '-c', 'echo $X; pwd; id -u; echo err >&2; exit 4'], Env: ['X=y'], WorkingDir: '/tmp', User: 'nobody', AttachStdout: true, AttachStderr: true });
    const told = await split(docker, await exec.start({}));
    const found = await exec.inspect();
    return [told, found.ExitCode, Object.keys(found).sort()];
  });
  await step('exec by its id, of another size', async () => {
    const made = await container.exec({ Cmd: ['sh', '-c', 'read x; stty size'], Tty: true, AttachStdin: true, AttachStdout: true });
    const exec = docker.getExec(made.id);
    const stream = await exec.start({ hijack: true, stdin: true, Tty: true });
    const got = collect(stream);
    await exec.resize({ h: 10, w: 20 });
    stream.write('\n');
    return (await got).includes('10 20');
  });
  await step('exec without a command', () => container.exec({ Cmd: [] }));
  await step('logs', async () => [(await container.logs({ stdout: true })).toString('latin1'), (await container.logs({ stderr: true, tail: 'all' })).toString('latin1')]);
  await step('logs, followed to the end', async () => { const stream = await container.logs({ stdout: true, stderr: true, follow: true }); const got = split(docker, stream); await container.kill(); return got; });
  await step('logs of neither', () => container.logs({}));
  await container.remove();
};
