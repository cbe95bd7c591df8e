// Swarm and plugins: what a daemon says that is not in a swarm and has no plugins.
const { step } = require('./told');

module.exports = async docker => {
  const calls = {
    swarm: () => docker.swarmInspect(), leave: () => docker.swarmLeave({ force: false }), update: () => docker.swarmUpdate({ version: 1, Name: 'x' }),
    nodes: () => docker.listNodes(), node: () => docker.getNode('nope').inspect(), 'node\'s update': () => docker.getNode('nope').update({ version: 1 }), 'node\'s removal': () => docker.getNode('nope').remove(),
    services: () => docker.listServices(), service: () => docker.getService('nope').inspect(), 'new service': () => docker.createService({ Name: 's', TaskTemplate: { ContainerSpec: { Image: 'busybox' } } }),
    'service\'s update': () => docker.getService('nope').update({ version: 1 }), 'service\'s removal': () => docker.getService('nope').remove(), 'service\'s logs': () => docker.getService('nope').logs({ stdout: true }),
    tasks: () => docker.listTasks(), task: () => docker.getTask('nope').inspect(), 'task\'s logs': () => docker.getTask('nope').logs({ stdout: true }),
    secrets: () => docker.listSecrets(), secret: () => docker.getSecret('nope').inspect(), 'new secret': () => docker.createSecret({ Name: 's', Data: 'eA==' }), 'secret\'s update': () => docker.getSecret('nope').update({ version: 1 }), 'secret\'s removal': () => docker.getSecret('nope').remove(),
    configs: () => docker.listConfigs(), config: () => docker.getConfig('nope').inspect(), 'new config': () => docker.createConfig({ Name: 's', Data: 'eA==' }), 'config\'s update': () => docker.getConfig('nope').update({ version: 1 }), 'config\'s removal': () => docker.getConfig('nope').remove(),
    plugins: () => docker.listPlugins(), plugin: () => docker.getPlugin('nope').inspect(), 'plugin\'s removal': () => docker.getPlugin('nope').remove(), 'plugin\'s start': () => docker.getPlugin('nope').enable({ timeout: 1 }), 'plugin\'s stop': () => docker.getPlugin('nope').disable(),
    'plugin\'s settings': () => docker.getPlugin('nope').configure({ _body: ['A=b'] }), 'plugin\'s push': () => docker.getPlugin('nope').push(),
  };
  for (const [name, call] of Object.entries(calls)) await step(`without a swarm: ${name}`, call);
};
