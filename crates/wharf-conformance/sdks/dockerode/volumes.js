// Volumes.
const { step } = require('./told');

module.exports = async docker => {
  await step('volume', async () => { const volume = await docker.createVolume({ Name: 'kept', Labels: { x: 'y' }, DriverOpts: {} }); const found = await volume.inspect(); return [Object.keys(found).sort(), found.Labels, found.Options]; });
  await step('volume without a name', async () => { const volume = await docker.createVolume(); const found = await volume.inspect(); await volume.remove({ force: true }); return [found.Name, Object.keys(found.Labels ?? {})]; });
  await step('lists', async () => { const found = await docker.listVolumes({ filters: { label: ['x=y'] } }); return [found.Volumes.map(one => one.Name), found.Warnings]; });
  await step('volume of a bad name', () => docker.createVolume({ Name: 'a b' }));
  await step('volume that is used', async () => { const container = await docker.createContainer({ Image: 'busybox', name: 'using', HostConfig: { Binds: ['kept:/v'] } }); const answer = await docker.getVolume('kept').remove().catch(error => [error.statusCode, error.json.message]); await container.remove(); return answer; });
  await step('prune', async () => [await docker.pruneVolumes(), (await docker.pruneVolumes({ filters: { all: ['true'] } })).VolumesDeleted]);
  await step('one that is not there', () => docker.getVolume('kept').inspect());
};
