//! `logs`.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use wharf_logs::{Entry, Format, ReadOptions, Reader, Stream, Tail};

use super::{Containers, LogOptions};
use crate::logging::Follower;
use crate::{EngineError, View};

/// Lines that are read from the disk at a time.
const BATCH: usize = 256;

/// Lines that were read, and what reads on.
type Batch = (Reader, VecDeque<Entry>);

/// Log lines of one container.
pub struct LogStream {
    reader: Option<Reader>,
    /// A batch that is being read; it has the reader.
    reading: Option<JoinHandle<Result<Batch, EngineError>>>,
    lines: VecDeque<Entry>,
    stdout: bool,
    stderr: bool,
    tty: bool,
    until: Option<jiff::Timestamp>,
    follow: Option<Follow>,
}

/// What a follower waits on.
struct Follow {
    log: Follower,
    view: watch::Receiver<Arc<View>>,
    /// The container has ended, and the log is read a last time.
    last: bool,
}

impl Containers {
    /// Reads its log.
    ///
    /// # Errors
    /// If neither stream is wanted, its driver does not keep what it gets, or the log cannot be read.
    pub async fn logs(
        &self,
        container: &str,
        options: LogOptions,
    ) -> Result<LogStream, EngineError> {
        if !options.stdout && !options.stderr {
            let text = "Bad parameters: you must choose at least one stream";
            return Err(EngineError::Invalid(text.to_owned()));
        }
        let entry = self.find(container)?;
        let view = entry.now();
        let Some((path, format)) = view.log_store.clone() else {
            let text = "configured logging driver does not support reading";
            return Err(EngineError::NotImplemented(text.to_owned()));
        };
        // Followed before it is read: a line written in between is seen by one or the other.
        let follow = match options.follow {
            true => Some(Follow {
                log: self.shared.followers.add(&path)?,
                view: entry.view.clone(),
                last: false,
            }),
            false => None,
        };
        let read = ReadOptions {
            since: options.since,
            until: options.until,
            tail: options.tail.map_or(Tail::All, Tail::Lines),
        };
        let reader = open(path, format, read).await?;
        Ok(LogStream {
            reader: Some(reader),
            reading: None,
            lines: VecDeque::new(),
            stdout: options.stdout,
            stderr: options.stderr,
            tty: view.config.tty,
            until: options.until,
            follow,
        })
    }
}

impl Containers {
    /// Throws away what its log holds. Who follows it goes on with what comes.
    ///
    /// # Errors
    /// If its driver keeps nothing, or a file cannot be removed.
    pub async fn clear_logs(&self, container: &str) -> Result<(), EngineError> {
        let entry = self.find(container)?;
        let view = entry.now();
        let Some((path, _)) = view.log_store.clone() else {
            let text = "configured logging driver does not support reading";
            return Err(EngineError::NotImplemented(text.to_owned()));
        };
        let task = entry.io().task.clone().filter(|_| view.state.running);
        if let Some(task) = task {
            // The shim has the file open.
            return task
                .clear_log()
                .await
                .map_err(|error| EngineError::failed(&error));
        }
        let clear = move || wharf_logs::clear(&path);
        let cleared = tokio::task::spawn_blocking(clear).await;
        let cleared = cleared.map_err(|error| EngineError::failed(&error))?;
        cleared.map_err(|error| EngineError::failed(&error))
    }
}

async fn open(path: PathBuf, format: Format, options: ReadOptions) -> Result<Reader, EngineError> {
    let open = move || Reader::open(&path, format, options);
    let opened = tokio::task::spawn_blocking(open).await;
    let opened = opened.map_err(|error| EngineError::failed(&error))?;
    opened.map_err(|error| EngineError::failed(&error))
}

/// The next lines, as far as they are there.
fn batch(mut reader: Reader, stdout: bool, stderr: bool) -> Result<Batch, EngineError> {
    let mut lines = VecDeque::new();
    while lines.len() < BATCH {
        let next = reader.next().map_err(|error| EngineError::failed(&error))?;
        let Some(entry) = next else { break };
        let wanted = match entry.stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        };
        if wanted {
            lines.push_back(entry);
        }
    }
    Ok((reader, lines))
}

impl LogStream {
    /// Whether the container has a terminal: its lines then go out without frames.
    pub fn tty(&self) -> bool {
        self.tty
    }

    /// The next line; `None` at the end (with `follow`: when the container does not run any more). Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Entry, EngineError>> {
        loop {
            if let Some(entry) = self.lines.pop_front() {
                return Some(Ok(entry));
            }
            match self.fill().await {
                Err(error) => return Some(Err(error)),
                Ok(()) if !self.lines.is_empty() => {}
                Ok(()) => {
                    if !self.more().await {
                        return None;
                    }
                }
            }
        }
    }

    /// The next line, if it is at hand: who sends lines sends these together.
    pub fn at_hand(&mut self) -> Option<Entry> {
        self.lines.pop_front()
    }

    /// Reads a batch, on a thread that may wait for a disk. Once it has begun it comes to its end, whoever asked.
    async fn fill(&mut self) -> Result<(), EngineError> {
        if self.reading.is_none() {
            let Some(reader) = self.reader.take() else {
                return Ok(());
            };
            let (stdout, stderr) = (self.stdout, self.stderr);
            let read = move || batch(reader, stdout, stderr);
            self.reading = Some(tokio::task::spawn_blocking(read));
        }
        let Some(reading) = &mut self.reading else {
            return Ok(());
        };
        let read = reading.await;
        self.reading = None;
        let (reader, lines) = read.map_err(|error| EngineError::failed(&error))??;
        self.reader = Some(reader);
        self.lines = lines;
        Ok(())
    }

    /// At the present end: waits until there may be more. False if nothing can come any more.
    async fn more(&mut self) -> bool {
        let done = self.reader.as_ref().is_none_or(Reader::is_done);
        let Some(follow) = self.follow.as_mut().filter(|follow| !done && !follow.last) else {
            return false;
        };
        let until = async {
            match self.until {
                Some(until) => {
                    let left = jiff::Timestamp::now().duration_until(until);
                    tokio::time::sleep(std::time::Duration::try_from(left).unwrap_or_default())
                        .await;
                }
                None => std::future::pending().await,
            }
        };
        let ended = |view: &Arc<View>| view.removed || !view.state.running;
        tokio::select! {
            () = follow.log.changed() => {}
            _ = follow.view.wait_for(ended) => follow.last = true,
            () = until => follow.last = true,
        }
        true
    }
}
