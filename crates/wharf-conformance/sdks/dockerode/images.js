// Images.
const fs = require('fs');
const os = require('os');
const path = require('path');
const { step, collect, progress, plain } = require('./told');

const texts = said => plain(said.messages.map(one => one.stream ?? '').join('')).split('\n').filter(line => line && !/Running in|ntermediate container/.test(line));

// A folder with these files, which is gone afterwards.
async function folder(files, use) {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), 'sdk-'));
  try {
    for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(made, name), text);
    return await use(made);
  } finally {
    fs.rmSync(made, { recursive: true });
  }
}

module.exports = async (docker, registry) => {
  const name = `${registry}/busybox`;
  const image = docker.getImage('busybox');
  const build = (files, options) => folder(files, async context => progress(docker, await docker.buildImage({ context, src: Object.keys(files) }, options)));
  await step('images', async () => (await docker.listImages({ filters: { reference: ['busy*'] } })).map(one => one.RepoTags));
  await step('image', async () => { const found = await image.inspect(); return [found.RepoTags, found.Config.Cmd, found.Os]; });
  await step('history', async () => (await image.history()).map(one => Object.keys(one).sort()));
  await step('image that is not there', () => docker.getImage('nope').inspect());
  await step('pull', async () => { const said = await progress(docker, await docker.pull(`${name}:latest`)); return [said.error, said.messages.at(-1)]; });
  await step('pull, in its other form', async () => { const said = await progress(docker, await docker.createImage({ fromImage: name, tag: 'latest' })); return said.messages.at(-1); });
  await step('pull of all', async () => (await progress(docker, await docker.pullAll(name))).error);
  await step('pull of what is not there', () => docker.pull(`${registry}/nope:x`));
  await step('what a registry has', async () => Object.keys(await docker.getImage(name).distribution()).sort());
  await step('tag', () => image.tag({ repo: `${registry}/pushed`, tag: '2' }).then(answer => answer.toString()));
  await step('push', async () => { const said = await progress(docker, await docker.getImage(`${registry}/pushed`).push({ tag: '2', authconfig: { username: 'u', password: 'p' } })); return [said.error, said.messages.filter(one => one.aux).map(one => one.aux.Tag)]; });
  await step('push of what is not there', async () => (await progress(docker, await docker.getImage(`${registry}/nope`).push({ tag: 'x' }))).error);
  await step('save', async () => (await collect(await image.get())).includes('manifest.json'));
  await step('save of several', async () => (await collect(await docker.getImages({ names: ['busybox', name] }))).includes('repositories'));
  await step('load', async () => { const said = await progress(docker, await docker.loadImage(await image.get())); return said.messages.map(one => one.stream); });
  await step('load of nonsense', async () => { const said = await progress(docker, await docker.loadImage(Buffer.from('nonsense'.repeat(100)))); return typeof said.error; });
  await step('import', async () => folder({ 'tree.tar': Buffer.alloc(1024) }, async made => { const said = await progress(docker, await docker.importImage(path.join(made, 'tree.tar'), { repo: 'imported', tag: '1' })); return said.messages.map(one => plain(one.status)); }));
  await step('build', async () => { const said = await build({ Dockerfile: 'FROM busybox\nARG A\nCOPY f /f\nRUN echo $A >> /f\nCMD ["cat", "/f"]\n', f: 'content\n' }, { t: 'built', buildargs: { A: 'given' }, labels: { l: 'm' }, nocache: true }); return texts(said); });
  await step('build that fails', async () => (await build({ Dockerfile: 'FROM busybox\nRUN exit 4\n' }, { t: 'failed' })).error);
  await step('build without sense', () => build({ Dockerfile: 'NOPE\n' }, {}));
  await step('build of another file', async () => (await build({ Other: 'FROM busybox\n' }, { dockerfile: 'Nothing' })).error);
  await step('what was built', async () => (await docker.getImage('built').inspect()).Config.Labels);
  await step('remove', async () => { for (const tag of ['imported:1', 'built', `${registry}/pushed:2`]) await docker.getImage(tag).remove(); return docker.getImage(name).remove({ force: true, noprune: true }); });
  await step('remove one that is not there', () => docker.getImage('nope').remove());
  await step('prune', async () => Object.keys(await docker.pruneImages({ filters: { dangling: ['true'] } })).sort());
  await step('what is left', async () => (await docker.listImages()).map(one => one.RepoTags));
};
