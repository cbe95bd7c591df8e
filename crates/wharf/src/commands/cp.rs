//! `wharf cp`.

use std::fs::File;
use std::io::{IsTerminal as _, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use tokio::sync::mpsc;
use wharf_api_types::ContainerPathStat;
use wharf_client::{BodyStream, Client, Url, upload};
use wharf_layer::{ApplyOptions, LayerError, Plain, apply, pack_path};
use wharf_sys::words::chain;

use super::cp_paths::{self as paths, End};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::{Arity, Command, Context, Exit, Flag, Matches, Outcome, switch};
use crate::format::units::human_size;
use crate::options::env::reason;
use crate::term::pump;

static FLAGS: &[Flag] = &[
    switch("archive", "Archive mode (copy all uid/gid information)").short('a'),
    switch("follow-link", "Always follow symbol link in SRC_PATH").short('L'),
    switch(
        "quiet",
        "Say nothing of the copy. The default without a terminal",
    )
    .short('q'),
];

/// Copy files between a container and this machine
pub static COMMAND: Command = Command {
    name: "cp",
    about: "Copy files and folders between a container and this machine; '-' is a tar archive on stdin or stdout",
    usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\twharf cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    also: "wharf container cp, wharf cp",
    flags: &[FLAGS],
    arity: Arity::Exactly(2),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

/// The header that says what is at a path.
const STAT: &str = "x-docker-container-path-stat";
/// Go's mode bits of a folder, a link, a device and what is of no known kind.
const DIR: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;
const IRREGULAR: u32 = 1 << 19;

struct Copying<'a> {
    client: &'a Client,
    container: &'a str,
    follow: bool,
    archive: bool,
    quiet: bool,
}

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let (from, to) = (matches.args[0].as_str(), matches.args[1].as_str());
    if from.is_empty() {
        return Err(Exit::new("source can not be empty"));
    }
    if to.is_empty() {
        return Err(Exit::new("destination can not be empty"));
    }
    let ((source, from), (target, to)) = (paths::argument(from), paths::argument(to));
    let quiet = match matches.given("quiet") {
        true => matches.on("quiet"),
        false => !std::io::stdout().is_terminal(),
    };
    let copying = |client, container| Copying {
        client,
        container,
        follow: matches.on("follow-link"),
        archive: matches.on("archive"),
        quiet,
    };
    match (source, target) {
        ("", "") => Err(Exit::new("must specify at least one container source")),
        (source, "") => {
            copying(context.client().await?, source)
                .copy_out(from, to)
                .await
        }
        ("", target) => {
            copying(context.client().await?, target)
                .copy_in(from, to)
                .await
        }
        _ => Err(Exit::new("copying between containers is not supported")),
    }
}

impl Copying<'_> {
    fn url(&self, path: &str) -> Url {
        Url::new(["containers", self.container, "archive"]).with("path", path)
    }

    /// What is at a path in the container; none if that cannot be told.
    async fn stat(&self, path: &str) -> Option<ContainerPathStat> {
        let header = self.client.head(self.url(path), STAT).await.ok()??;
        parse(&header).ok()
    }

    /// From the container to this machine.
    async fn copy_out(&self, from: &str, to: &str) -> Outcome {
        let to = match to {
            "-" => "-".to_owned(),
            to => paths::absolute(to)?,
        };
        check_output(&to)?;
        let mut source = End {
            path: from.to_owned(),
            exists: true,
            ..End::default()
        };
        if self.follow
            && let Some(stat) = self.stat(from).await
            && stat.mode & SYMLINK != 0
        {
            let target = paths::joined(from, &stat.link_target);
            (source.path, source.rebase) = paths::rebased(from, &target);
        }
        let url = self.url(&source.path);
        let (header, mut body) = self.client.get_with_header(url, STAT).await?;
        if to == "-" {
            while let Some(bytes) = body.chunk().await? {
                pump::write(std::io::stdout(), &bytes)?;
            }
            return Ok(());
        }
        let stat = parse(&header.unwrap_or_default())?;
        source.is_dir = stat.mode & DIR != 0;
        let destination = paths::destination(&to)?;
        let (folder, name) = paths::plan(&source, &destination)?;
        let old = paths::split(&source.path).1;
        let rename = match (name, source.rebase.as_str()) {
            (Some(name), _) => Some((old.into(), name.into())),
            (None, "") => None,
            (None, rebase) => Some((old.into(), rebase.into())),
        };
        let size = unpack(body, folder.into(), rename).await?;
        self.report(size, &to);
        Ok(())
    }

    /// From this machine into the container.
    async fn copy_in(&self, from: &str, to: &str) -> Outcome {
        let destination = self.destination(to).await?;
        let sent = Arc::new(AtomicU64::new(0));
        if from == "-" {
            if !destination.is_dir {
                let text = format!(
                    "destination \"{}:{to}\" must be a directory",
                    self.container
                );
                return Err(Exit::new(text));
            }
            // Read by the runtime's file threads: it may be a pipe or a file.
            let input = tokio::fs::File::open("/dev/stdin").await?;
            self.put(&destination.path, upload(input)).await?;
            self.report(0, &format!("{}:{}", self.container, destination.path));
            return Ok(());
        }
        let source = paths::source(&paths::absolute(from)?, self.follow)?;
        let (folder, name) = paths::plan(&source, &destination)?;
        let (dir, base) = paths::split(&source.path);
        let to_name = match (name, source.rebase.as_str()) {
            (Some(name), _) => name,
            (None, "") => base.clone(),
            (None, rebase) => rebase.to_owned(),
        };
        let (reader, writer) = std::io::pipe()?;
        let count = sent.clone();
        let packing =
            tokio::task::spawn_blocking(move || pack(&dir, &base, &to_name, writer, count));
        let reader = tokio::fs::File::from_std(File::from(OwnedFd::from(reader)));
        let put = self.put(&folder, upload(reader)).await;
        let packed = packing
            .await
            .map_err(|error| Exit::new(error.to_string()))?;
        let place = format!("{}:{}", self.container, destination.path);
        let size = sent.load(Ordering::Relaxed);
        match (put, packed) {
            (Ok(()), Ok(())) => {
                self.report(size, &place);
                Ok(())
            }
            // What the daemon says is why the rest could not be sent.
            (Err(exit), Err(LayerError::Write(_)) | Ok(())) => {
                self.report(size, &place);
                Err(exit)
            }
            (_, Err(error)) => Err(Exit::new(chain(&error))),
        }
    }

    /// What is at the destination in the container, at the end of a link. That nothing can be told of it is no
    /// error yet: its folder may be there.
    async fn destination(&self, to: &str) -> Outcome<End> {
        let mut end = End {
            path: to.to_owned(),
            ..End::default()
        };
        let mut stat = self.stat(to).await;
        if let Some(link) = stat.as_ref().filter(|stat| stat.mode & SYMLINK != 0) {
            end.path = paths::joined(to, &link.link_target);
            stat = self.stat(&end.path).await;
        }
        let Some(stat) = stat else { return Ok(end) };
        if let Some(reason) = unfit(stat.mode) {
            let container = self.container;
            let text = format!(
                "destination \"{container}:{to}\" must be a directory or a regular file: {reason}"
            );
            return Err(Exit::new(text));
        }
        (end.exists, end.is_dir) = (true, stat.mode & DIR != 0);
        Ok(end)
    }

    async fn put(&self, folder: &str, body: wharf_client::Body) -> Outcome {
        let url = self
            .url(folder)
            .with("noOverwriteDirNonDir", "true")
            .maybe("copyUIDGID", self.archive.then_some("true"));
        self.client.put(url, "application/x-tar", body).await?;
        Ok(())
    }

    fn report(&self, size: u64, place: &str) {
        if !self.quiet {
            let size = human_size(i64::try_from(size).unwrap_or(i64::MAX), 3);
            eprintln!("Successfully copied {size} to {place}");
        }
    }
}

/// What Docker's client says of a mode that cannot be copied to.
fn unfit(mode: u32) -> Option<&'static str> {
    match mode {
        mode if mode & DEVICE != 0 => Some("got a device"),
        mode if mode & IRREGULAR != 0 => Some("got an irregular file"),
        _ => None,
    }
}

fn parse(header: &str) -> Outcome<ContainerPathStat> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(header);
    let stat = bytes
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    stat.ok_or_else(|| Exit::new("unable to decode container path stat header"))
}

/// The folder of an output must be there, and what is in its place must be a file or a folder.
fn check_output(path: &str) -> Outcome {
    let folder = paths::dir(&paths::clean(path));
    if folder != "." && !Path::new(&folder).exists() {
        let text = format!("invalid output path: directory {folder:?} does not exist");
        return Err(Exit::new(text));
    }
    match std::fs::metadata(path) {
        Ok(found) if found.file_type().is_char_device() || found.file_type().is_block_device() => {
            Err(Exit::new(format!(
                "invalid output path: {path:?} must be a directory or a regular file: got a device"
            )))
        }
        _ => Ok(()),
    }
}

/// Packs a file or folder of this machine; bytes are counted as they go.
fn pack(
    folder: &str,
    name: &str,
    to: &str,
    out: impl Write,
    count: Arc<AtomicU64>,
) -> Result<(), LayerError> {
    let (folder, name) = if name == "/" {
        ("/", ".")
    } else {
        (folder, name)
    };
    let dir = File::open(folder).map_err(LayerError::Read)?;
    let out = Counting { out, count };
    pack_path(dir.as_fd(), name.as_bytes(), to.as_bytes(), None, out).map(drop)
}

struct Counting<W> {
    out: W,
    count: Arc<AtomicU64>,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Unpacks what a container (which is not to be trusted) sends, below `folder` and nowhere else; how many bytes.
async fn unpack(
    mut body: BodyStream,
    folder: PathBuf,
    rename: Option<(PathBuf, PathBuf)>,
) -> Outcome<u64> {
    let (sender, receiver) = mpsc::channel(4);
    let work = tokio::task::spawn_blocking(move || {
        let dir = File::open(&folder)
            .map_err(|error| format!("open {}: {}", folder.display(), reason(&error)))?;
        let options = ApplyOptions {
            plain: Some(Plain {
                owner: Some((
                    rustix::process::geteuid().as_raw(),
                    rustix::process::getegid().as_raw(),
                )),
                keep_kinds: true,
                rename,
                ..Plain::default()
            }),
            ..ApplyOptions::default()
        };
        let reader = Pieces {
            receiver,
            current: bytes::Bytes::new(),
        };
        apply(reader, dir.as_fd(), &options).map_err(|error| chain(&error))
    });
    let mut size = 0;
    let mut broken = None;
    loop {
        match body.chunk().await {
            Ok(Some(bytes)) => {
                size += bytes.len() as u64;
                // It has ended early, and says why below.
                if sender.send(Ok(bytes)).await.is_err() {
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                let _ = sender
                    .send(Err(std::io::ErrorKind::ConnectionAborted.into()))
                    .await;
                broken = Some(error);
                break;
            }
        }
    }
    drop(sender);
    let done = work.await.map_err(|error| Exit::new(error.to_string()))?;
    match broken {
        Some(error) => Err(error.into()),
        None => Ok(done.map(|_| size)?),
    }
}

/// Pieces of a body, read by a thread that waits for them.
struct Pieces {
    receiver: mpsc::Receiver<std::io::Result<bytes::Bytes>>,
    current: bytes::Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}
