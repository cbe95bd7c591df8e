//! The shim's side of a logger.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use wharf_logs::{Lines, Stream};
use wharf_shim_api::Log;

use crate::logger::frame;

/// A logger that could not begin is not started again sooner than this.
const SETTLED: Duration = Duration::from_secs(1);
/// How long a disk may take for the last lines.
const LAST_LINES: Duration = Duration::from_secs(10);

/// A logger process, and what waits for it.
pub(crate) struct Logger {
    config: Vec<u8>,
    process: Child,
    pipe: OwnedFd,
    /// Where it says once whether it can take lines.
    answer: ChildStdout,
    since: Instant,
    waiting: VecDeque<Vec<u8>>,
    /// Of the first that waits.
    sent: usize,
    /// Bytes in `waiting`.
    held: usize,
    /// Beyond so many, lines are lost. `None`: the container waits.
    limit: Option<usize>,
    stdout: Lines,
    stderr: Lines,
    lost: u64,
    files: bool,
}

impl Logger {
    /// Starts one, and waits until it says whether it can take lines.
    pub(crate) fn start(config: &Log, buffer: Option<u64>) -> Result<Self, String> {
        let files = !matches!(config, Log::Remote(_));
        let config = frame::config(config).map_err(|error| error.to_string())?;
        let failed = |error: std::io::Error| format!("start a logger: {error}");
        let (mut process, pipe, mut answer) = spawn(&config).map_err(failed)?;
        let mut said = Vec::new();
        let length = frame::READY.len() as u64;
        let read = answer.by_ref().take(length).read_to_end(&mut said);
        read.map_err(failed)?;
        if said != frame::READY {
            answer.read_to_end(&mut said).map_err(failed)?;
            let _ = process.wait();
            return Err(String::from_utf8_lossy(&said).into_owned());
        }
        Ok(Self {
            config,
            process,
            pipe,
            answer,
            since: Instant::now(),
            waiting: VecDeque::new(),
            sent: 0,
            held: 0,
            limit: buffer.map(|buffer| usize::try_from(buffer).unwrap_or(usize::MAX)),
            stdout: Lines::default(),
            stderr: Lines::default(),
            lost: 0,
            files,
        })
    }

    pub(crate) fn write(&mut self, stream: Stream, at: Timestamp, bytes: &[u8]) {
        if self.limit.is_none() {
            self.push(frame::of(stream, at, Some(bytes)));
        } else {
            // Whole lines are lost, not parts.
            let mut frames = Vec::new();
            self.lines(stream).push(bytes, at, &mut |message| {
                frames.push(frame::of(stream, at, Some(message.bytes)));
            });
            frames.into_iter().for_each(|frame| self.offer(frame));
        }
        self.flush();
    }

    pub(crate) fn finish(&mut self, stream: Stream, at: Timestamp) {
        let mut last = None;
        self.lines(stream).finish(at, &mut |message| {
            last = Some(frame::of(stream, at, Some(message.bytes)));
        });
        if let Some(last) = last {
            self.offer(last);
        }
        self.push(frame::of(stream, at, None));
        self.flush();
        if self.lost > 0 {
            eprintln!("wharf-shim: {} lines lost: the buffer was full", self.lost);
            self.lost = 0;
        }
    }

    /// Whether somebody can read what it has written, and so is to find all of it.
    pub(crate) fn writes_files(&self) -> bool {
        self.files
    }

    /// Writes what waits, and waits until it is on the disk, but not for ever.
    pub(crate) fn close(mut self) {
        let Ok(process) = rustix::process::pidfd_open(
            rustix::process::Pid::from_child(&self.process),
            rustix::process::PidfdFlags::empty(),
        ) else {
            return;
        };
        let begun = Instant::now();
        let left = || {
            let left = LAST_LINES.checked_sub(begun.elapsed());
            left.and_then(|left| Timespec::try_from(left).ok())
        };
        while let (true, Some(left)) = (!self.waiting.is_empty(), left()) {
            let room = PollFd::new(&self.pipe, PollFlags::OUT);
            if rustix::event::poll(&mut [room], Some(&left)).is_ok() {
                self.flush();
            }
        }
        drop(self.pipe);
        while let Some(left) = left() {
            let ended = PollFd::new(&process, PollFlags::IN);
            if rustix::event::poll(&mut [ended], Some(&left)).is_ok_and(|ready| ready > 0) {
                let _ = self.process.wait();
                return;
            }
        }
    }

    /// Has what was written so far thrown away.
    pub(crate) fn clear(&mut self) {
        self.push(frame::clear());
        self.flush();
    }

    fn lines(&mut self, stream: Stream) -> &mut Lines {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// As moby's ring: what does not fit is lost, but one always fits.
    fn offer(&mut self, frame: Vec<u8>) {
        let limit = self.limit.unwrap_or(usize::MAX);
        if !self.waiting.is_empty() && self.held + frame.len() > limit {
            self.flush();
        }
        if self.waiting.is_empty() || self.held + frame.len() <= limit {
            self.push(frame);
        } else {
            self.lost += 1;
        }
    }

    fn push(&mut self, frame: Vec<u8>) {
        self.held += frame.len();
        self.waiting.push_back(frame);
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.limit.is_none() && !self.waiting.is_empty()
    }

    pub(crate) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        (!self.waiting.is_empty()).then(|| self.pipe.as_fd())
    }

    pub(crate) fn flush(&mut self) {
        while let Some(first) = self.waiting.front() {
            match rustix::io::write(&self.pipe, &first[self.sent..]) {
                Ok(length) => self.sent += length,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.again();
                    continue;
                }
            }
            if self.sent == first.len() {
                self.held -= first.len();
                self.sent = 0;
                self.waiting.pop_front();
            }
        }
        // The buffer of a burst is not kept for the container's life.
        self.waiting.shrink_to(0);
    }

    /// The logger has ended (somebody killed it): another takes its place. What it had in hand is lost. Whether that one
    /// can begin is not waited for.
    fn again(&mut self) {
        let _ = self.process.wait();
        self.sent = 0;
        // One that has begun has said so, and then closed it.
        let mut said = Vec::new();
        let began = self.answer.read_to_end(&mut said).is_ok() && said.is_empty();
        if began || said == frame::READY || self.since.elapsed() >= SETTLED {
            self.since = Instant::now();
            match spawn(&self.config) {
                Ok((process, pipe, answer)) => {
                    (self.process, self.pipe, self.answer) = (process, pipe, answer);
                    return;
                }
                Err(error) => eprintln!("wharf-shim: logger: {error}"),
            }
        }
        eprintln!("wharf-shim: {} bytes of the log lost", self.held);
        self.waiting.clear();
        self.held = 0;
    }
}

fn spawn(config: &[u8]) -> std::io::Result<(Child, OwnedFd, ChildStdout)> {
    let mut command = Command::new("/proc/self/exe");
    command.arg("logger");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.spawn()?;
    let none = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
    let mut input = process.stdin.take().ok_or_else(none)?;
    let answer = process.stdout.take().ok_or_else(none)?;
    // It reads this before anything else, so it is not waited for long.
    input.write_all(config)?;
    let pipe = OwnedFd::from(input);
    rustix::io::ioctl_fionbio(&pipe, true)?;
    Ok((process, pipe, answer))
}
