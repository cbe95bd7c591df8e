//! Reading a log in files back, through rotations.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::io::{Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use crate::files::{LogFile, open_newer};
use crate::{Format, LogError, Stream, local, tail};

/// How much of the end of a log is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Everything that is kept.
    All,
    /// The last so many lines.
    Lines(u64),
}

/// Which lines of a log are wanted.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Only lines at this time or later.
    pub since: Option<Timestamp>,
    /// Only lines at this time or earlier.
    pub until: Option<Timestamp>,
    /// How far back to begin; counted before the times and streams are looked at, as Docker does.
    pub tail: Tail,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            since: None,
            until: None,
            tail: Tail::All,
        }
    }
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// What was written; without a `\n` at its end it is a part of a longer line, or the last one.
    #[serde(deserialize_with = "text")]
    pub log: Vec<u8>,
    /// Where it was written.
    pub stream: Stream,
    /// When it was read from the container.
    pub time: Timestamp,
    /// What `--log-opt labels`, `env` and `tag` add.
    #[serde(default)]
    pub attrs: BTreeMap<String, String>,
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    String::deserialize(deserializer).map(String::into_bytes)
}

/// A place in a log. It stays valid while the log is written and rotated.
pub struct Reader {
    path: PathBuf,
    format: Format,
    /// The file being read and those behind it, oldest first.
    files: VecDeque<LogFile>,
    options: ReadOptions,
    buffer: Vec<u8>,
    /// How much of `buffer` has been handed out.
    taken: usize,
    /// An entry beyond `until` was met: nothing more comes.
    done: bool,
}

const BLOCK: usize = 64 * 1024;

impl Reader {
    /// Opens the log at `path`. A log that does not exist yet is empty.
    ///
    /// # Errors
    /// If a file of it cannot be read.
    pub fn open(path: &Path, format: Format, options: ReadOptions) -> Result<Self, LogError> {
        let open = || -> std::io::Result<Vec<LogFile>> {
            let mut files = open_newer(path, None)?;
            if let Tail::Lines(lines) = options.tail {
                let offset = tail::start(path, format, &mut files, lines)?;
                if let Some(first) = files.first_mut() {
                    first.file.seek(SeekFrom::Start(offset))?;
                }
            } else if let Some(first) = files.first_mut() {
                first.unpack(path)?;
            }
            Ok(files)
        };
        let files = open().map_err(LogError::file("open", path))?;
        Ok(Self {
            path: path.to_owned(),
            format,
            files: files.into(),
            options,
            buffer: Vec::new(),
            taken: 0,
            done: false,
        })
    }

    /// The next wanted line; `None` at the (present) end. After `None` more may come: see [`crate::Watches`].
    ///
    /// A line that is not in the format (a file edited by hand) is passed over.
    ///
    /// # Errors
    /// If a file cannot be read.
    #[expect(
        clippy::should_implement_trait,
        reason = "not an iterator: None is not the end"
    )]
    pub fn next(&mut self) -> Result<Option<Entry>, LogError> {
        while !self.done {
            let Some(line) = self
                .next_line()
                .map_err(LogError::file("read", &self.path))?
            else {
                return Ok(None);
            };
            let line = &self.buffer[line];
            let entry = match self.format {
                Format::Json => serde_json::from_slice(line).ok(),
                Format::Local => local::entry(line),
            };
            let Some(entry): Option<Entry> = entry else {
                continue;
            };
            if self.options.until.is_some_and(|until| entry.time > until) {
                self.done = true;
            } else if self.options.since.is_none_or(|since| entry.time >= since) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Whether no line can come any more, because one later than `until` was met.
    pub fn is_done(&self) -> bool {
        self.done
    }

    fn next_line(&mut self) -> std::io::Result<Option<std::ops::Range<usize>>> {
        let mut searched = self.taken;
        loop {
            if let Some((length, all)) = self.whole(searched)? {
                let line = self.taken..self.taken + length;
                self.taken += all;
                return Ok(Some(line));
            }
            self.buffer.drain(..self.taken);
            self.taken = 0;
            searched = self.buffer.len();
            if self.fill()? == 0 {
                if !self.next_file()? {
                    return Ok(None);
                }
                searched = searched.min(self.buffer.len());
            }
        }
    }

    /// The length of the line that is next in the buffer, without and with what parts it from the one behind it; that
    /// it does not end before `searched` is known.
    fn whole(&self, searched: usize) -> std::io::Result<Option<(usize, usize)>> {
        match self.format {
            Format::Json => {
                let newline = memchr::memchr(b'\n', &self.buffer[searched..]);
                let length = newline.map(|newline| searched + newline - self.taken);
                Ok(length.map(|length| (length, length + 1)))
            }
            Format::Local => {
                let all = local::whole(&self.buffer[self.taken..])?;
                Ok(all.map(|all| (all, all)))
            }
        }
    }

    /// Reads a block of the present file behind what is buffered; 0 at its end.
    fn fill(&mut self) -> std::io::Result<usize> {
        let Some(current) = self.files.front_mut() else {
            return Ok(0);
        };
        let held = self.buffer.len();
        // Cleared while nobody wrote: what comes stands at its beginning.
        if current.file.stream_position()? > current.file.metadata()?.len() {
            current.file.rewind()?;
        }
        self.buffer.resize(held + BLOCK, 0);
        let read = current.file.read(&mut self.buffer[held..]);
        self.buffer.truncate(held + *read.as_ref().unwrap_or(&0));
        read
    }

    /// Goes on to the file behind the present one, if the present one is not the newest. Whether there may
    /// be more to read.
    fn next_file(&mut self) -> std::io::Result<bool> {
        if self.files.len() < 2 {
            let known = self.files.front().map(|current| current.identity);
            // If it was rotated away altogether, or nothing was there before, all that is there is newer.
            self.files.extend(open_newer(&self.path, known)?);
            if known.is_none() {
                if let Some(first) = self.files.front_mut() {
                    first.unpack(&self.path)?;
                }
                return Ok(!self.files.is_empty());
            }
        }
        if self.files.len() < 2 {
            return Ok(false);
        }
        // There is a newer file, so this one is written no more: but it may have been after we saw its end.
        if self.fill()? > 0 {
            return Ok(true);
        }
        self.files.pop_front();
        // A torn line has no end in the next file.
        self.buffer.clear();
        if let Some(first) = self.files.front_mut() {
            first.unpack(&self.path)?;
        }
        Ok(true)
    }
}
