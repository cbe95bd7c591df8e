//! The files that `wharf build` sends: an archive of a folder, without what `.dockerignore` names.

use std::io::{self, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{FileType, Mode, OFlags};
use wharf_buildkit::Offer;
use wharf_dockerfile::Ignore;
use wharf_layer::{PackOptions, pack_only};

use crate::cli::{Exit, Outcome};

/// An archive that is being written into a pipe.
pub struct Packing(JoinHandle<Result<u64, String>>);

impl Packing {
    /// When all is sent, or can be sent no more: its size. Whoever reads the pipe must still run, or have gone.
    pub async fn finish(self) -> Outcome<u64> {
        let ended = tokio::task::spawn_blocking(|| self.0.join()).await;
        let ended = ended.map_err(|error| Exit::new(error.to_string()))?;
        let ended = ended.map_err(|_| Exit::new("the build context could not be packed"))?;
        ended.map_err(|error| Exit::new(format!("error reading the build context: {error}")))
    }
}

/// Whether the place of a build is not on this machine's disk.
pub fn is_remote(place: &str) -> bool {
    [
        "http://",
        "https://",
        "git://",
        "ssh://",
        "git@",
        "github.com/",
    ]
    .iter()
    .any(|prefix| place.starts_with(prefix))
        && !Path::new(place).exists()
}

/// A name that no file of the context has.
pub fn random_name() -> String {
    let mut bytes = [0; 8];
    // Without random numbers the process id is as good: it must only differ from names in use.
    if rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()).is_err() {
        bytes[..4].copy_from_slice(&std::process::id().to_le_bytes());
    }
    format!(".dockerfile.{:016x}", u64::from_le_bytes(bytes))
}

/// Whether bytes begin an archive, compressed or not.
pub fn is_archive(start: &[u8]) -> bool {
    let magics: [&[u8]; 4] = [b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"];
    magics.iter().any(|magic| start.starts_with(magic)) || start.get(257..262) == Some(b"ustar")
}

/// Packs `folder` behind a pipe. `extra` is the text of a Dockerfile that is not in it, and gets the name `dockerfile`.
pub fn pack(
    folder: &Path,
    dockerfile: &str,
    extra: Option<Vec<u8>>,
    compress: bool,
) -> Outcome<(OwnedFd, Packing)> {
    let ignore = ignore(folder, dockerfile)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(folder, flags, Mode::empty()).map_err(io::Error::from)?;
    let kept = dockerfile.to_owned();
    let is_extra = extra.is_some();
    let list = std::fs::read_to_string(folder.join(".dockerignore")).unwrap_or_default();
    start(compress, move |mut out| {
        if let Some(text) = extra {
            member(&mut out, &kept, &text).map_err(|error| error.to_string())?;
            // The daemon takes out again what is only here for it.
            let list = format!("{list}\n{kept}\n.dockerignore\n");
            member(&mut out, ".dockerignore", list.as_bytes())
                .map_err(|error| error.to_string())?;
        }
        let wanted = |path: &[u8], stat: &rustix::fs::Stat| {
            let path = String::from_utf8_lossy(path);
            let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            match is_extra && path == ".dockerignore" {
                true => false,
                // The name of one that is not in the folder is that of nothing there.
                false => wants(&ignore, &kept, &path, is_folder),
            }
        };
        let options = PackOptions {
            whole_seconds: true,
            ..PackOptions::default()
        };
        let packed = pack_only(root.as_fd(), &mut out, &options, &wanted);
        packed.map(drop).map_err(|error| error.to_string())
    })
}

/// A folder that is described in a session, which sends what is asked for of it. `None` if only an archive can say what is in it.
pub fn offer(folder: &Path, dockerfile: &str) -> Outcome<Option<Offer>> {
    let ignore = ignore(folder, dockerfile)?;
    let wanted = |path: &str, is_folder| wants(&ignore, dockerfile, path, is_folder);
    let offer = Offer::read(folder, &wanted);
    offer.map_err(|error| Exit::new(format!("error reading the build context: {error}")))
}

/// Whether a path is sent: what is not ignored, what leads to such, and what a build cannot do without; the daemon hides that again.
fn wants(ignore: &Ignore, dockerfile: &str, path: &str, is_folder: bool) -> bool {
    let above = is_folder && dockerfile.starts_with(&format!("{path}/"));
    path == ".dockerignore"
        || path == dockerfile
        || above
        || !ignore.ignores(path)
        || (is_folder && ignore.has_exception_in(path))
}

/// A context of nothing but a Dockerfile.
pub fn only(dockerfile: Vec<u8>, compress: bool) -> Outcome<(OwnedFd, Packing)> {
    start(compress, move |mut out| {
        let write = member(&mut out, "Dockerfile", &dockerfile);
        let end = write.and_then(|()| out.write_all(&[0; 1024]));
        end.map_err(|error| error.to_string())
    })
}

/// `.dockerignore` beside the context, or the Dockerfile's own.
fn ignore(folder: &Path, dockerfile: &str) -> Outcome<Ignore> {
    let own = folder.join(format!("{dockerfile}.dockerignore"));
    let path = if own.exists() {
        own
    } else {
        folder.join(".dockerignore")
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(Exit::new(format!(
                "failed to read {}: {error}",
                path.display()
            )));
        }
    };
    Ignore::parse(&text).map_err(|error| Exit::new(format!("error checking context: {error}")))
}

fn start(
    compress: bool,
    body: impl FnOnce(&mut dyn Write) -> Result<(), String> + Send + 'static,
) -> Outcome<(OwnedFd, Packing)> {
    let (read, write) = io::pipe()?;
    let work = move || {
        let mut out = Counting {
            inner: write,
            count: 0,
        };
        if compress {
            let mut encoder = GzEncoder::new(&mut out, Compression::default());
            body(&mut encoder)?;
            encoder.finish().map_err(|error| error.to_string())?;
        } else {
            body(&mut out)?;
        }
        Ok(out.count)
    };
    let thread = std::thread::Builder::new().name("context".to_owned());
    Ok((read.into(), Packing(thread.spawn(work)?)))
}

struct Counting {
    inner: io::PipeWriter,
    count: u64,
}

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// One small file of an archive (POSIX ustar).
fn member(out: &mut dyn Write, name: &str, content: &[u8]) -> io::Result<()> {
    let mut header = [0_u8; 512];
    let mut field =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    field(0, name);
    field(100, "0000644");
    field(108, "0000000");
    field(116, "0000000");
    field(124, &format!("{:011o}", content.len()));
    field(136, "00000000000");
    field(148, "        ");
    field(156, "0");
    field(257, "ustar");
    field(263, "00");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.write_all(&header)?;
    out.write_all(content)?;
    let rest = content.len() % 512;
    match rest {
        0 => Ok(()),
        rest => out.write_all(&vec![0; 512 - rest]),
    }
}
