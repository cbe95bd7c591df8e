//! `wharf-shim logger`: a process that writes the lines that its shim must not wait for.
//!
//! The shim of a container whose log is sent away, or whose log may lose lines (`mode=non-blocking`), starts one. It
//! reads frames from its standard input, says on its standard output once whether it could begin, and ends a while after
//! its input has. It is the only one that has the code of remote drivers in its memory.
//!
//! Two threads: one reads and cuts lines, the other sends. Nothing is ever forked here.

pub(crate) mod frame;
mod queue;

use std::io::{Read, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use wharf_logs::{Ending, FileLog, Lines, LogError, Message, Part, Sender, Stream};
use wharf_shim_api::{Log, Remote};
use wharf_sys::words::chain;

use frame::{Frame, Kind};
use queue::Queue;

use crate::trouble::Trouble;

/// How long lines may still take to get away after the last one has come.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many lines wait between the threads; beyond that, the container waits.
const WAITING: usize = 64;

/// What goes from one thread to the other.
enum Item {
    Line {
        stream: Stream,
        bytes: Vec<u8>,
        time: Timestamp,
        part: Option<Part>,
    },
    Finish(Stream, Timestamp),
    Clear,
}

enum Sink {
    File(Box<FileLog>),
    Remote(Sender),
}

/// Runs until the input ends; the exit code.
pub(crate) fn run() -> i32 {
    let _ = rustix::thread::set_name(c"wharf-logger");
    let mut input = std::io::stdin().lock();
    let opened = frame::read_config(&mut input)
        .map_err(|error| format!("read the settings: {error}"))
        .and_then(|config| Ok((open(&config).map_err(|error| chain(&error))?, config)));
    let mut output = std::io::stdout();
    let (sink, config) = match opened {
        Ok(opened) => opened,
        Err(text) => {
            // Who reads it knows the rest.
            let _ = output.write_all(text.as_bytes());
            return 1;
        }
    };
    let told = output.write_all(frame::READY).and_then(|()| output.flush());
    // The shim's other end goes with it.
    if told.is_err() || rustix::stdio::dup2_stdout(rustix::stdio::stderr()).is_err() {
        return 1;
    }
    drop(input);
    let (limit, lossy) = limit(&config);
    let queue = Arc::new(Queue::new(limit));
    let ending = Arc::new(Ending::default());
    let reader = {
        let (queue, ending) = (queue.clone(), ending.clone());
        std::thread::spawn(move || {
            read(&queue, lossy);
            queue.close();
            ending.end();
        })
    };
    let sender = std::thread::spawn(move || send(sink, &queue, &ending));
    let _ = reader.join();
    finish(sender)
}

/// Waits for the sender, but not for ever.
fn finish(sender: std::thread::JoinHandle<()>) -> i32 {
    let done = Arc::new(Ending::default());
    let tell = done.clone();
    std::thread::spawn(move || {
        let _ = sender.join();
        tell.end();
    });
    i32::from(!done.wait(PATIENCE))
}

fn open(config: &Log) -> Result<Sink, LogError> {
    if let Log::Remote(remote) = config {
        return Sender::connect(&remote.to).map(Sink::Remote);
    }
    let file = crate::task::output::open_file(config)?;
    file.map(|file| Sink::File(Box::new(file)))
        .ok_or_else(|| LogError::Unavailable("nothing to write to".to_owned()))
}

/// How many lines wait, and whether those beyond are lost: else the container waits.
fn limit(config: &Log) -> (usize, bool) {
    match config {
        Log::Remote(remote) => match &remote.to {
            Remote::Fluentd(fluentd) if fluentd.detached => {
                (usize::try_from(fluentd.buffer_limit).unwrap_or(1), true)
            }
            _ => (WAITING, false),
        },
        _ => (WAITING, false),
    }
}

fn read(queue: &Queue<Item>, lossy: bool) {
    let mut input = std::io::BufReader::with_capacity(64 * 1024, std::io::stdin().lock());
    let (mut stdout, mut stderr) = (Lines::default(), Lines::default());
    let mut lost = 0u64;
    while let Some(frame) = next(&mut input) {
        let lines = match frame.stream {
            Stream::Stdout => &mut stdout,
            Stream::Stderr => &mut stderr,
        };
        let stream = frame.stream;
        let mut each = |message: Message<'_>| {
            let line = Item::Line {
                stream,
                bytes: message.bytes.to_vec(),
                time: message.time,
                part: message.part,
            };
            match lossy {
                true => lost += u64::from(!queue.try_push(line)),
                false => queue.push(line),
            }
        };
        match frame.kind {
            Kind::Bytes(bytes) => lines.push(&bytes, frame.time, &mut each),
            Kind::End => {
                lines.finish(frame.time, &mut each);
                queue.push(Item::Finish(stream, frame.time));
            }
            Kind::Clear => queue.push(Item::Clear),
        }
    }
    if lost > 0 {
        eprintln!("wharf-shim: logger: {lost} lines lost: the buffer was full");
    }
}

fn next(input: &mut impl Read) -> Option<Frame> {
    match frame::read(input) {
        Ok(frame) => frame,
        Err(error) => {
            eprintln!("wharf-shim: logger: {error}");
            None
        }
    }
}

fn send(mut sink: Sink, queue: &Queue<Item>, ending: &Ending) {
    let mut trouble = Trouble::default();
    while let Some(item) = queue.pop() {
        let sent = match (&mut sink, item) {
            (
                Sink::File(file),
                Item::Line {
                    stream,
                    bytes,
                    time,
                    ..
                },
            ) => file.write(stream, &bytes, time),
            (Sink::File(file), Item::Finish(stream, at)) => file.finish(stream, at),
            (
                Sink::Remote(sender),
                Item::Line {
                    stream,
                    bytes,
                    time,
                    part,
                },
            ) => {
                let message = Message {
                    bytes: &bytes,
                    time,
                    part,
                };
                sender.send(&message, stream, ending)
            }
            (Sink::File(file), Item::Clear) => file.clear(),
            (Sink::Remote(_), Item::Finish(..) | Item::Clear) => Ok(()),
        };
        let sent = sent.map_err(|error| chain(&error));
        if let Some(text) = trouble.note(sent, Instant::now()) {
            eprintln!("wharf-shim: logger: {text}");
        }
    }
    if let Some(text) = trouble.over() {
        eprintln!("wharf-shim: logger: {text}");
    }
}
