// The daemon as a whole.
const { step, collect } = require('./told');

module.exports = async docker => {
  const now = () => Math.floor(Date.now() / 1000);
  await step('ping', async () => (await docker.ping()).toString());
  await step('version', async () => Object.keys(await docker.version()).sort());
  await step('info', async () => { const info = await docker.info(); return [info.OSType, info.Containers, info.Images, info.Swarm.LocalNodeState]; });
  await step('disk usage', async () => Object.keys(await docker.df()).sort());
  await step('login where nothing is', () => docker.checkAuth({ username: 'u', password: 'p', serveraddress: '127.0.0.1:1' }));
  await step('events', async () => {
    const since = now();
    const volume = await docker.createVolume({ Name: 'told' });
    await volume.remove();
    const events = await collect(await docker.getEvents({ since, until: now() + 1, filters: { type: ['volume'], volume: ['told'] } }));
    return events.trim().split('\n').map(line => JSON.parse(line)).map(event => [event.Type, event.Action, event.scope]);
  });
  await step('events of now', async () => {
    const events = await docker.getEvents({ filters: JSON.stringify({ event: ['create'], type: ['volume'] }) });
    const first = new Promise(yes => { events.once('data', yes); });
    const volume = await docker.createVolume({ Name: 'now' });
    const event = JSON.parse(await first);
    events.destroy();
    await volume.remove();
    return [event.Action, event.Actor.ID];
  });
  await step('search where nothing is', () => docker.searchImages({ term: '127.0.0.1:1/x' }).catch(error => error.statusCode >= 400));
  await step('prune of builds', async () => Object.keys(await docker.pruneBuilder()).sort());
};
