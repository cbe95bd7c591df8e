// testcontainers for Node against a daemon: containers that are waited for, spoken to and gone afterwards.
//     DOCKER_HOST=unix://… TESTCONTAINERS_RYUK_DISABLED=true node main.js
// It is to run where the daemon's ports are. Two daemons print the same.
const { GenericContainer, Network, Wait } = require('testcontainers');

const SERVER = 'echo starting; mkdir /www; cp /given /www/given; echo hello from $NAME > /www/index.html; echo ready; exec httpd -f -p 80 -h /www';

const server = () => new GenericContainer('busybox:latest')
  .withCommand(['sh', '-c', SERVER])
  .withEnvironment({ NAME: 'a test' })
  .withLabels({ tested: 'yes' })
  .withCopyContentToContainer([{ content: 'given', target: '/given' }])
  .withExposedPorts(80);

const served = async (container, page = '') => (await fetch(`http://${container.getHost()}:${container.getMappedPort(80)}/${page}`)).text();

const tell = value => console.log(JSON.stringify(value));

// The library lets Node end while it waits for logs: their socket is `unref`ed.
const read = stream => {
  const waiting = setInterval(() => {}, 1000);
  return new Promise((yes, no) => {
    let text = '';
    stream.on('data', part => { text += part; }).on('end', () => yes(text)).on('error', no);
  }).finally(() => clearInterval(waiting));
};

async function waits() {
  const strategies = {
    logs: Wait.forLogMessage('ready'), ports: Wait.forListeningPorts(), pages: Wait.forHttp('/', 80), commands: Wait.forSuccessfulCommand('test -e /www/index.html'),
    health: Wait.forHealthCheck(),
  };
  for (const [name, strategy] of Object.entries(strategies)) {
    const settings = server().withHealthCheck({ test: ['CMD', 'test', '-e', '/www/index.html'], interval: 200, timeout: 1000, retries: 50, startPeriod: 0 });
    const container = await settings.withWaitStrategy(strategy).start();
    console.log(name, await served(container), await served(container, 'given'));
    await container.stop();
  }
  const never = server().withWaitStrategy(Wait.forLogMessage('never')).withStartupTimeout(2000);
  await never.start().catch(error => console.log('never', error.message.split('"')[0]));
  const once = await new GenericContainer('busybox:latest').withCommand(['echo', 'once']).withWaitStrategy(Wait.forOneShotStartup()).start();
  console.log('once', await read(await once.logs()));
  await once.stop();
}

async function inside() {
  const container = await server().withHostname('inside').withName('tested').withTmpFs({ '/scratch': 'rw' }).withWorkingDir('/tmp').withUser('0:0').withWaitStrategy(Wait.forLogMessage('ready')).start();
  tell(await container.exec(['sh', '-c', 'hostname; pwd; grep -c scratch /proc/mounts; exit 3']));
  tell(await container.exec(['sh', '-c', 'echo $X; id -un'], { env: { X: 'y' }, user: 'nobody', workingDir: '/' }));
  await container.copyContentToContainer([{ content: 'more', target: '/tmp/more' }]);
  console.log((await container.exec(['cat', '/tmp/more'])).output, (await read(await container.copyArchiveFromContainer('/tmp/more'))).length);
  console.log(container.getName(), container.getLabels().tested, container.getNetworkNames());
  const image = await container.commit({ repo: 'committed', tag: '1', deleteOnExit: false });
  console.log(image.startsWith('sha256:'));
  await container.stop();
}

async function networks() {
  const network = await new Network().start();
  const web = await server().withNetwork(network).withNetworkAliases('web').withWaitStrategy(Wait.forLogMessage('ready')).start();
  const asking = await new GenericContainer('busybox:latest').withCommand(['sleep', '1000']).withNetwork(network).start();
  tell(await asking.exec(['wget', '-q', '-O', '-', 'http://web/']));
  await Promise.all([web.stop(), asking.stop()]);
  await network.stop();
}

async function images() {
  const built = await GenericContainer.fromDockerfile(__dirname).withBuildArgs({ A: 'b' }).build('tested:2', { deleteOnExit: false });
  const container = await built.withWaitStrategy(Wait.forLogMessage('built')).start();
  tell(await container.exec(['echo', 'built']));
  await container.stop();
}

(async () => {
  for (const subject of [waits, inside, networks, images]) await subject();
})().catch(error => { console.log('failed', error); process.exitCode = 1; });
