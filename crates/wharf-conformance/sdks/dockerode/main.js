// dockerode against a daemon: every method of it at least once, and what it says.
//     node main.js SOCKET REGISTRY API-VERSION
// REGISTRY is HOST:PORT as the daemon reaches it, with `busybox` in it; the daemon holds the image `busybox` and nothing else. Two
// daemons print the same.
const { watch, neverCalled } = require('./told');

const Docker = require('dockerode');
const kinds = ['container', 'image', 'exec', 'network', 'volume', 'plugin', 'service', 'task', 'node', 'secret', 'config'];
const classes = [Docker, ...kinds.map(kind => require(`dockerode/lib/${kind}`))];
classes.forEach(watch);

(async () => {
  const [socketPath, registry, version] = process.argv.slice(2);
  const docker = new Docker({ socketPath, version: `v${version}` });
  for (const subject of ['system', 'images', 'containers', 'streams', 'networks', 'volumes', 'swarm']) {
    await require(`./${subject}`)(docker, registry);
  }
  console.log('never called:', classes.flatMap(neverCalled).join(' '));
  process.exit(0);
})();
