//! Where output goes beside the attached streams.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use jiff::Timestamp;
use wharf_logs::{FileLog, Format, LogError, Rotation, Stream};
use wharf_shim_api::{Files, Log as Config};

use super::lines::Logger;
use crate::trouble::Trouble;

/// A container's log.
#[derive(Default)]
pub(crate) struct Log {
    /// Written by ourselves.
    file: Option<FileLog>,
    /// Written by somebody whom we start, as it can take long.
    logger: Option<Logger>,
    trouble: Trouble,
}

impl Log {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    pub(crate) fn open(config: &Config) -> Result<Self, String> {
        let (ours, theirs) = divide(config);
        let file = open_file(&ours).map_err(|error| error.to_string());
        let logger = theirs.map(|(config, buffer)| Logger::start(&config, buffer));
        Ok(Self {
            file: file?,
            logger: logger.transpose()?,
            trouble: Trouble::default(),
        })
    }

    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let now = Timestamp::now();
        if let Some(logger) = &mut self.logger {
            logger.write(stream, now, bytes);
        }
        self.with(|log| log.write(stream, bytes, now));
    }

    pub(crate) fn finish(&mut self, stream: Stream) {
        let now = Timestamp::now();
        if let Some(logger) = &mut self.logger {
            logger.finish(stream, now);
        }
        self.with(|log| log.finish(stream, now));
    }

    /// Throws away what can be read.
    pub(crate) fn clear(&mut self) -> Result<(), String> {
        match (&mut self.file, &mut self.logger) {
            (Some(file), _) => file.clear().map_err(|error| error.to_string()),
            (None, Some(logger)) => {
                logger.clear();
                Ok(())
            }
            (None, None) => Err("there is no log".to_owned()),
        }
    }

    /// The last line is written. Who hears of the container's end can read all: what a logger writes is waited for.
    pub(crate) fn close(&mut self) {
        if let Some(text) = self.trouble.over() {
            eprintln!("wharf-shim: {text}");
        }
        let files = self.file.is_none();
        if let Some(logger) = self.logger.take_if(|logger| files && logger.writes_files()) {
            logger.close();
        }
    }

    /// Whether the process's output is not to be read now.
    pub(crate) fn is_behind(&self) -> bool {
        self.logger.as_ref().is_some_and(Logger::is_behind)
    }

    /// What is writable when lines that wait can go on.
    pub(crate) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        self.logger.as_ref().and_then(Logger::waits_for)
    }

    /// Lets lines that wait go on.
    pub(crate) fn flush(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }

    /// A full disk costs lines of the log; it must not stop the container.
    fn with(&mut self, write: impl FnOnce(&mut FileLog) -> Result<(), LogError>) {
        let Some(written) = self.file.as_mut().map(write) else {
            return;
        };
        if let Some(text) = self.trouble.note(written, Instant::now()) {
            eprintln!("wharf-shim: {text}");
        }
    }
}

/// What we write, and what a logger does, with how many bytes may wait for it before lines are lost.
fn divide(config: &Config) -> (Config, Option<(Config, Option<u64>)>) {
    let mut config = config.clone();
    let buffer = match &mut config {
        Config::None => None,
        Config::JsonFile { buffer, .. } => buffer.take(),
        Config::Local(files) => files.buffer.take(),
        Config::Remote(remote) => {
            let buffer = remote.buffer.take();
            let cache = remote.cache.take().map_or(Config::None, Config::Local);
            return (cache, Some((config, buffer)));
        }
    };
    match buffer {
        None => (config, None),
        some => (Config::None, Some((config, some))),
    }
}

/// Opens the files of a log, if it has files.
pub(crate) fn open_file(config: &Config) -> Result<Option<FileLog>, LogError> {
    let open = |path: &Path, format, rotation, attributes: &BTreeMap<_, _>| {
        FileLog::open(path, format, rotation, attributes, compress).map(Some)
    };
    match config {
        Config::JsonFile {
            path,
            max_size,
            max_files,
            attributes,
            compress,
            ..
        } => {
            let rotation = Rotation {
                max_size: *max_size,
                max_files: *max_files,
                compress: *compress,
            };
            open(path, Format::Json, rotation, attributes)
        }
        Config::Local(Files {
            path,
            max_size,
            max_files,
            compress,
            attributes,
            ..
        }) => {
            let rotation = Rotation {
                max_size: *max_size,
                max_files: *max_files,
                compress: *compress,
            };
            open(path, Format::Local, rotation, attributes)
        }
        Config::None | Config::Remote(_) => Ok(None),
    }
}

/// Another process compresses, as the container would wait for us.
fn compress(path: &Path) -> std::io::Result<Option<Child>> {
    let mut command = Command::new("/proc/self/exe");
    command.arg("compress").arg(path);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().map(Some)
}
