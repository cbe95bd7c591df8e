// What a program tells of a daemon: one line for each step, with what is the moment's or the machine's made the same.
const { PassThrough } = require('stream');

const REPLACED = [
  [/\b(sha256:)?[0-9a-f]{64}\b/g, '<id>'],
  [/\b(sha256:)?[0-9a-f]{12}\b/g, '<id12>'],
  [/\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)/g, '<time>'],
  [/\b02:42(:[0-9a-f]{2}){4}\b/g, '<mac>'],
  [/127\.0\.0\.1:\d{4,5}/g, '<registry>'],
  // The name of a runtime is not the same on all.
  [/runc create failed: /g, ''],
];

const called = new Set();

const plain = value => REPLACED.reduce((text, [pattern, by]) => text.replace(pattern, by), typeof value === 'string' ? value : JSON.stringify(value) ?? 'undefined');

// Runs the function and prints what it gives or is refused.
async function step(name, run) {
  let timer;
  const limit = new Promise((_, no) => { timer = setTimeout(() => no(new Error('no answer')), 60000); });
  try {
    console.log(`${name}: ${plain(await Promise.race([run(), limit]))}`);
  } catch (error) {
    console.log(`${name}: refused ${error.statusCode ?? ''} ${plain(error.json?.message ?? error.message)}`);
  }
  clearTimeout(timer);
}

// Everything that comes out of a stream, byte by byte.
const collect = stream => new Promise((yes, no) => {
  let text = '';
  stream.on('data', part => { text += part.toString('latin1'); });
  stream.on('end', () => yes(text)).on('close', () => yes(text)).on('error', no);
});

// A place to write to, which keeps it.
function sink() {
  const place = new PassThrough();
  place.text = '';
  place.on('data', part => { place.text += part; });
  return place;
}

// The messages of a pull, push, build or load, to the end; an error is the last of them.
const progress = (docker, stream) => new Promise((yes, no) => docker.modem.followProgress(stream, (error, messages) => (error ? no(error) : yes({ error: messages.at(-1)?.error ?? null, messages }))));

// Stdout and stderr of a framed stream.
async function split(docker, stream) {
  const [out, err] = [sink(), sink()];
  docker.modem.demuxStream(stream, out, err);
  await new Promise(yes => stream.on('end', yes));
  return [out.text, err.text];
}

// Notes which methods of a class are called, so that one that no step calls is seen.
function watch(kind) {
  for (const name of methods(kind)) {
    const own = kind.prototype[name];
    kind.prototype[name] = function noted(...args) {
      called.add(`${kind.name}.${name}`);
      return own.apply(this, args);
    };
  }
}

const methods = kind => Object.getOwnPropertyNames(kind.prototype).filter(name => name !== 'constructor' && typeof kind.prototype[name] === 'function');
const neverCalled = kind => methods(kind).map(name => `${kind.name}.${name}`).filter(name => !called.has(name));

module.exports = { step, collect, sink, progress, split, watch, neverCalled, plain };
