//! The writer of a log in files, in either format.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Child;

use jiff::Timestamp;

use crate::files::{compressed, remove_if_there, remove_rotated, rename_if_there, rotated};
use crate::lines::{Lines, Message};
use crate::{LogError, Stream, encode, local};

/// How lines stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Docker's json-file: one JSON object a line.
    Json,
    /// Docker's local driver: protocol buffers between their lengths.
    Local,
}

/// When a log file is set aside, how many are kept, and how (`max-size`, `max-file`, `compress`).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rotation {
    /// A file of at least this many bytes is not written further. `None`: it grows without end.
    pub max_size: Option<u64>,
    /// How many files are kept, the current one among them; at least 1.
    pub max_files: u32,
    /// Whether those that were set aside are compressed.
    #[serde(default)]
    pub compress: bool,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            max_size: None,
            max_files: 1,
            compress: false,
        }
    }
}

/// Sees to it that [`crate::compress`] is called for the file: by a process (who writes a log cannot wait), or at once.
pub type Compress = fn(&Path) -> std::io::Result<Option<Child>>;

/// An open log in files. It is written by one process only: the container's shim, or its logger.
pub struct FileLog {
    path: PathBuf,
    file: File,
    size: u64,
    rotation: Rotation,
    compress: Compress,
    compressing: Option<Child>,
    format: Format,
    /// What every line carries, encoded.
    attrs: Vec<u8>,
    stdout: Lines,
    stderr: Lines,
    encoded: Vec<u8>,
    /// Offsets in `encoded` before which the file is rotated.
    cuts: Vec<usize>,
}

impl FileLog {
    /// Opens the log at `path` to go on where it ended; makes it (mode 0640) if it is not there. Every line carries
    /// `attrs` (`--log-opt labels`).
    ///
    /// A line that an earlier writer was killed in the middle of is cut off.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(
        path: &Path,
        format: Format,
        rotation: Rotation,
        attrs: &BTreeMap<String, String>,
        compress: Compress,
    ) -> Result<Self, LogError> {
        let open = || -> std::io::Result<(File, u64)> {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let file = open_file(path)?;
            let size = match format {
                Format::Json => cut_torn_line(&file)?,
                Format::Local => local::cut_torn_record(&file)?,
            };
            Ok((file, size))
        };
        let (file, size) = open().map_err(LogError::file("open", path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            rotation,
            compress,
            compressing: None,
            format,
            attrs: match format {
                Format::Json if attrs.is_empty() => Vec::new(),
                Format::Json => encode::attributes(attrs),
                Format::Local => local::attributes(attrs),
            },
            stdout: Lines::default(),
            stderr: Lines::default(),
            encoded: Vec::new(),
            cuts: Vec::new(),
        })
    }

    /// Writes what the container wrote to `stream`, read at the time `at`: all lines that are whole now, in
    /// one `write(2)` between two rotations.
    ///
    /// # Errors
    /// If the file cannot be written or rotated. The lines of this call may be lost then (a full disk), those
    /// of earlier calls are not.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], at: Timestamp) -> Result<(), LogError> {
        self.encode(stream, |lines, each| lines.push(bytes, at, each));
        self.flush()
    }

    /// `stream` has ended: writes its last line, which has no newline.
    ///
    /// # Errors
    /// As [`FileLog::write`].
    pub fn finish(&mut self, stream: Stream, at: Timestamp) -> Result<(), LogError> {
        self.encode(stream, |lines, each| lines.finish(at, each));
        self.flush()
    }

    /// Throws away all that was written so far. Who reads goes on with what comes.
    ///
    /// # Errors
    /// If a file cannot be made or removed.
    pub fn clear(&mut self) -> Result<(), LogError> {
        self.wait_for_compression();
        self.file = replace(&self.path).map_err(LogError::file("clear", &self.path))?;
        self.size = 0;
        Ok(())
    }

    fn encode(
        &mut self,
        stream: Stream,
        feed: impl FnOnce(&mut Lines, &mut dyn FnMut(Message<'_>)),
    ) {
        let lines = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let (encoded, cuts, attrs) = (&mut self.encoded, &mut self.cuts, &self.attrs);
        let max = self.rotation.max_size.unwrap_or(u64::MAX);
        // The file's size once what is encoded up to here is in it.
        let mut begun = self.size;
        let mut since = 0;
        let mut time = encode::Time::default();
        feed(lines, &mut |message| {
            if begun + (encoded.len() - since) as u64 >= max {
                cuts.push(encoded.len());
                (begun, since) = (0, encoded.len());
            }
            match self.format {
                Format::Json => encode::line(encoded, &message, stream, attrs, &mut time),
                Format::Local => local::record(encoded, &message, stream, attrs),
            }
        });
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let mut encoded = std::mem::take(&mut self.encoded);
        let cuts = std::mem::take(&mut self.cuts);
        let written = self.write_rotating(&encoded, &cuts);
        encoded.clear();
        // One giant burst must not stay as the shim's memory for the container's life.
        encoded.shrink_to(64 * 1024);
        self.encoded = encoded;
        written
    }

    fn write_rotating(&mut self, encoded: &[u8], cuts: &[usize]) -> Result<(), LogError> {
        let mut from = 0;
        for &cut in cuts {
            self.append(&encoded[from..cut])?;
            self.rotate()
                .map_err(LogError::file("rotate", &self.path))?;
            from = cut;
        }
        self.append(&encoded[from..])
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        if let Err(error) = self.file.write_all(bytes) {
            // A part of a line (a full disk) would spoil the one behind it.
            let _ = self.file.set_len(self.size);
            return Err(LogError::file("write", &self.path)(error));
        }
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> std::io::Result<()> {
        self.wait_for_compression();
        let kept = self.rotation.max_files.max(1) - 1;
        // Their numbers are without gaps, and far fewer than may be kept.
        let there = |number: &u32| {
            let name = rotated(&self.path, *number);
            name.exists() || compressed(&name).exists()
        };
        let used = (1..kept).take_while(there).count() as u32;
        for number in (1..=used).rev() {
            let (from, to) = (rotated(&self.path, number), rotated(&self.path, number + 1));
            move_number(&from, &to)?;
        }
        let first = rotated(&self.path, 1);
        if kept > 0 {
            // What is not moved away any more, as fewer are kept than once.
            if kept == 1 {
                remove_if_there(&compressed(&first))?;
            }
            rename_if_there(&self.path, &first)?;
        } else {
            remove_if_there(&self.path)?;
        }
        self.file = open_file(&self.path)?;
        self.size = 0;
        if kept > 0 && self.rotation.compress {
            self.compressing = (self.compress)(&first)?;
        }
        Ok(())
    }

    /// A file is not moved while it is compressed.
    fn wait_for_compression(&mut self) {
        if let Some(mut child) = self.compressing.take() {
            // What could not be compressed stays as it is.
            let _ = child.wait();
        }
    }
}

impl Drop for FileLog {
    /// Whoever waits for the writer's end may remove the folder.
    fn drop(&mut self) {
        self.wait_for_compression();
    }
}

/// Throws away the log at `path` of a container that does not run. Should a writer begin at this moment, its lines stay;
/// that somebody reads does no harm.
///
/// # Errors
/// If a file cannot be shortened or removed.
pub fn clear(path: &Path) -> Result<(), LogError> {
    let work = || -> std::io::Result<()> {
        match File::options().write(true).open(path) {
            Ok(file) => file.set_len(0)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        remove_rotated(path)
    };
    work().map_err(LogError::file("clear", path))
}

/// Another file in the place of the log's, so that who reads sees that it is another.
fn replace(path: &Path) -> std::io::Result<File> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let file = open_file(Path::new(&new))?;
    file.set_len(0)?;
    std::fs::rename(&new, path)?;
    remove_rotated(path)?;
    Ok(file)
}

fn move_number(from: &Path, to: &Path) -> std::io::Result<()> {
    let (from_gz, to_gz) = (compressed(from), compressed(to));
    if from.exists() {
        std::fs::rename(from, to)?;
        // A compression that was killed between its last two steps.
        remove_if_there(&from_gz)?;
        remove_if_there(&to_gz)
    } else {
        rename_if_there(&from_gz, &to_gz)?;
        match to_gz.exists() {
            true => remove_if_there(to),
            false => Ok(()),
        }
    }
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
