//! The writer of Docker's json-file log.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::files::rotated;
use crate::lines::Lines;
use crate::{LogError, Stream, encode};

/// When a log file is set aside, and how many are kept (`max-size`, `max-file`).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rotation {
    /// A file of at least this many bytes is not written further. `None`: it grows without end.
    pub max_size: Option<u64>,
    /// How many files are kept, the current one among them; at least 1.
    pub max_files: u32,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            max_size: None,
            max_files: 1,
        }
    }
}

/// An open json-file log. It is written by one process only, the container's shim.
pub struct JsonFile {
    path: PathBuf,
    file: File,
    size: u64,
    rotation: Rotation,
    attrs: String,
    stdout: Lines,
    stderr: Lines,
    encoded: Vec<u8>,
}

impl JsonFile {
    /// Opens the log at `path` to go on where it ended; makes it (mode 0640) if it is not there. `attrs` is
    /// a JSON object that every line carries (`--log-opt labels`), or empty.
    ///
    /// A line that an earlier writer was killed in the middle of is cut off.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: &Path, rotation: Rotation, attrs: &str) -> Result<Self, LogError> {
        let (file, size) = open_file(path)
            .and_then(|file| {
                let size = cut_torn_line(&file)?;
                Ok((file, size))
            })
            .map_err(LogError::file("open", path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            rotation,
            attrs: attrs.to_owned(),
            stdout: Lines::default(),
            stderr: Lines::default(),
            encoded: Vec::new(),
        })
    }

    /// Writes what the container wrote to `stream`, read at the time `at`: all lines that are whole now, in
    /// one `write(2)` between two rotations.
    ///
    /// # Errors
    /// If the file cannot be written or rotated. The lines of this call may be lost then (a full disk), those
    /// of earlier calls are not.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], at: Timestamp) -> Result<(), LogError> {
        self.encode(stream, at, |lines, message| lines.push(bytes, message));
        self.flush()
    }

    /// `stream` has ended: writes its last line, which has no newline.
    ///
    /// # Errors
    /// As [`JsonFile::write`].
    pub fn finish(&mut self, stream: Stream, at: Timestamp) -> Result<(), LogError> {
        self.encode(stream, at, |lines, message| lines.finish(message));
        self.flush()
    }

    fn encode(
        &mut self,
        stream: Stream,
        at: Timestamp,
        feed: impl FnOnce(&mut Lines, &mut dyn FnMut(&[u8])),
    ) {
        let lines = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let (encoded, attrs) = (&mut self.encoded, &self.attrs);
        let mut time = None;
        feed(lines, &mut |message| {
            let time = time.get_or_insert_with(|| at.to_string());
            encode::line(encoded, message, stream, attrs, time);
        });
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let mut encoded = std::mem::take(&mut self.encoded);
        let written = self.write_rotating(&encoded);
        encoded.clear();
        // One giant burst must not stay as the shim's memory for the container's life.
        encoded.shrink_to(64 * 1024);
        self.encoded = encoded;
        written
    }

    fn write_rotating(&mut self, mut encoded: &[u8]) -> Result<(), LogError> {
        while !encoded.is_empty() {
            let until_full = match self.rotation.max_size {
                Some(max) if self.size >= max => {
                    self.rotate()
                        .map_err(LogError::file("rotate", &self.path))?;
                    max
                }
                Some(max) => max - self.size,
                None => u64::MAX,
            };
            let (head, rest) = encoded.split_at(lines_within(encoded, until_full));
            self.file
                .write_all(head)
                .map_err(LogError::file("write", &self.path))?;
            self.size += head.len() as u64;
            encoded = rest;
        }
        Ok(())
    }

    fn rotate(&mut self) -> std::io::Result<()> {
        let kept = self.rotation.max_files.max(1) - 1;
        for number in (1..kept).rev() {
            rename_if_there(
                &rotated(&self.path, number),
                &rotated(&self.path, number + 1),
            )?;
        }
        if kept > 0 {
            rename_if_there(&self.path, &rotated(&self.path, 1))?;
        } else {
            std::fs::remove_file(&self.path)?;
        }
        self.file = open_file(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

/// How many bytes of `encoded` go into a file that is full after `room` more: whole lines, at least one, up
/// to and with the one that fills it (Docker too tests the size before a line, not after).
fn lines_within(encoded: &[u8], room: u64) -> usize {
    let from = usize::try_from(room)
        .unwrap_or(usize::MAX)
        .saturating_sub(1);
    if from >= encoded.len() {
        return encoded.len();
    }
    let newline = encoded[from..].iter().position(|&byte| byte == b'\n');
    newline.map_or(encoded.len(), |newline| from + newline + 1)
}

fn open_file(path: &Path) -> std::io::Result<File> {
    File::options()
        .create(true)
        .append(true)
        .read(true)
        .mode(0o640)
        .open(path)
}

fn cut_torn_line(file: &File) -> std::io::Result<u64> {
    let size = file.metadata()?.len();
    let mut end = size;
    let mut block = [0; 4096];
    while end > 0 {
        let from = end.saturating_sub(block.len() as u64);
        let read = &mut block[..(end - from) as usize];
        file.read_exact_at(read, from)?;
        if let Some(newline) = read.iter().rposition(|&byte| byte == b'\n') {
            end = from + newline as u64 + 1;
            break;
        }
        end = from;
    }
    if end < size {
        file.set_len(end)?;
    }
    Ok(end)
}

fn rename_if_there(from: &Path, to: &Path) -> std::io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
