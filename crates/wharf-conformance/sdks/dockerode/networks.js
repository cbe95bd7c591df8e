// Networks.
const { step } = require('./told');

module.exports = async docker => {
  const get = name => docker.getNetwork(name);
  await step('network', async () => { const network = await docker.createNetwork({ Name: 'knotted', Labels: { a: 'b' }, Options: { 'com.docker.network.driver.mtu': '1400' }, IPAM: { Config: [{ Subnet: '10.94.0.0/24' }] }, Internal: true }); const found = await network.inspect(); return [found.Name, found.Internal, found.IPAM, found.Options, found.Labels, Object.keys(found).sort()]; });
  await step('network of that name again', () => docker.createNetwork({ Name: 'knotted', CheckDuplicate: true }));
  await step('lists', async () => [(await docker.listNetworks({ filters: { name: ['knotted'] } })).map(one => one.Name), (await docker.listNetworks({ filters: '{"driver":["bridge"]}' })).map(one => one.Name).sort()]);
  await step('connect and disconnect', async () => {
    const container = await docker.createContainer({ Image: 'busybox', name: 'joined', Cmd: ['sleep', '1000'] });
    await container.start();
    await get('knotted').connect({ Container: 'joined', EndpointConfig: { Aliases: ['al'], IPAMConfig: { IPv4Address: '10.94.0.77' } } });
    const found = (await container.inspect()).NetworkSettings.Networks.knotted;
    const there = Object.values((await get('knotted').inspect()).Containers).map(one => [one.Name, one.IPv4Address]);
    await get('knotted').disconnect({ Container: 'joined', Force: true });
    return [found.IPAddress, found.Aliases, found.IPAMConfig, there, Object.keys((await container.inspect()).NetworkSettings.Networks)];
  });
  await step('disconnect twice', () => get('knotted').disconnect({ Container: 'joined' }));
  await step('connect what is not there', () => get('knotted').connect({ Container: 'nope' }));
  await step('remove one that is not there', () => get('nope').remove());
  await step('remove the daemon\'s own', () => get('bridge').remove());
  await step('prune', async () => { await docker.getContainer('joined').remove({ force: true }); return docker.pruneNetworks(); });
  await step('one that is not there', () => get('knotted').inspect());
};
