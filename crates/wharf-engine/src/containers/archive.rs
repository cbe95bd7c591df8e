//! `cp`: what is at a path, an archive of it, an archive into it (moby `daemon/archive_unix.go`).

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::{FileType, Mode, OFlags, fstat};
use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;
use wharf_go::path::clean_from_top;
use wharf_layer::{ApplyOptions, IdMaps, Plain, apply, pack_path};
use wharf_sys::root::Root;
use wharf_sys::words::chain;

use super::Containers;
use crate::files::{self, Base, FileStream, Scene};
use crate::{EngineError, View};

/// What is at a path in a container.
#[derive(Clone, Debug, PartialEq)]
pub struct PathStat {
    /// The last name of the path.
    pub name: String,
    /// Size in bytes.
    pub size: i64,
    /// Type and mode bits, as `stat(2)` has them.
    pub mode: u32,
    /// Last change of the content.
    pub modified: Option<Timestamp>,
    /// Where a link leads in the end, from the container's root; empty if it is none.
    pub link_target: String,
}

/// How an archive goes into a container.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExtractOptions {
    /// Everything belongs to the container's user, not to whom the archive says.
    pub container_user: bool,
    /// It is an error to replace a folder by something else, or the reverse.
    pub keep_kinds: bool,
}

impl Containers {
    /// What is at `path`; a link is not followed, unless a slash is behind it.
    ///
    /// # Errors
    /// `NotFound` if nothing is there.
    pub async fn path_stat(&self, container: &str, path: &str) -> Result<PathStat, EngineError> {
        let entry = self.find(container)?;
        let files = entry.files.read().await;
        let base = Base::of(&self.shared, &entry).await;
        let base = base.map_err(|error| self.unless_gone(container, error))?;
        let scene = Scene::new(&self.shared, base, &entry.now()).await?;
        let (path, name) = (path.to_owned(), container.to_owned());
        let found = scene
            .with(move |root| {
                let _files = files;
                stat(root, &path).map_err(|error| refuse(error, &path, &name))
            })
            .await;
        found.map_err(|error| self.unless_gone(container, error))
    }

    /// Why the files of `container` could not be reached: its removal is reason enough.
    fn unless_gone(&self, container: &str, error: EngineError) -> EngineError {
        self.find(container).err().unwrap_or(error)
    }

    /// What is at `path`, and an archive of it. A start of the container waits for those who read, for a while; then the
    /// archive ends with an error.
    ///
    /// # Errors
    /// `NotFound` if nothing is there.
    pub async fn read_archive(
        &self,
        container: &str,
        path: &str,
    ) -> Result<(PathStat, FileStream), EngineError> {
        let entry = self.find(container)?;
        let files = entry.files.read().await;
        let view = entry.now();
        let base = Base::of(&self.shared, &entry).await;
        let base = base.map_err(|error| self.unless_gone(container, error))?;
        let scene = Scene::new(&self.shared, base, &view).await?;
        let (sink, stream) = files::channel(Some(files.evicted()));
        let (tell, told) = tokio::sync::oneshot::channel();
        let (typed, name) = (path.to_owned(), container.to_owned());
        let path = files::go_path(path);
        let ids = scene.ids();
        let work = move |root: &Root| {
            let _files = files;
            let found = stat(root, &path).and_then(|found| {
                let parts = parts(root, &path, &found)?;
                Ok((found, parts))
            });
            let (found, (folder, base, to)) =
                found.map_err(|error| refuse(error, &typed, &name))?;
            if tell.send(found).is_err() {
                return Ok(());
            }
            let (base, to) = (base.as_bytes(), to.as_bytes());
            sink.carry(|sink| pack_path(folder.as_fd(), base, to, ids, sink).map(drop));
            Ok(())
        };
        let ended = scene.run(work)?;
        match told.await {
            Ok(found) => {
                self.shared.emit_view(&view, "archive-path", &[]);
                Ok((found, stream))
            }
            // It ended before it told: that is an error.
            Err(_) => match ended.await {
                Ok(Err(error)) => Err(self.unless_gone(container, error)),
                _ => Err(EngineError::Failed("the archive was not made".to_owned())),
            },
        }
    }

    /// Unpacks `archive`, compressed or not, into the folder `path`.
    ///
    /// # Errors
    /// `NotFound` if nothing is there, `Invalid` if it is no folder or read-only, `Failed` if the archive is none.
    pub async fn write_archive(
        &self,
        container: &str,
        path: &str,
        options: ExtractOptions,
        archive: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<(), EngineError> {
        let entry = self.find(container)?;
        let files = entry.files.read().await;
        let view = entry.now();
        let scene = Scene::new(&self.shared, Base::of(&self.shared, &entry).await?, &view).await?;
        let (path, name) = (path.to_owned(), container.to_owned());
        let mut archive = SyncIoBridge::new(files.evicted().guard(archive));
        let (seen, ids) = (view.clone(), scene.ids());
        let done = scene.with(move |root| {
            // As long as anything is written, though nobody waits for it any more.
            let _files = files;
            let done = extract(root, &seen, (&path, &name), options, ids, &mut archive);
            if done.is_err() {
                // A client that is still sending would not hear why.
                let _ = io::copy(&mut io::Read::take(&mut archive, 8 << 20), &mut io::sink());
            }
            done
        });
        done.await?;
        self.shared.emit_view(&view, "extract-to-dir", &[]);
        Ok(())
    }
}

/// `lstat` inside the root.
fn stat(root: &Root, path: &str) -> io::Result<PathStat> {
    let found = root.open_at(
        Path::new(path),
        OFlags::PATH | OFlags::NOFOLLOW,
        Mode::empty(),
    )?;
    let stat = fstat(&found)?;
    let link_target = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => {
            let resolved = files::resolve(root, Path::new(path))?;
            resolved.path.to_string_lossy().into_owned()
        }
        _ => String::new(),
    };
    let nanos = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Ok(PathStat {
        name: files::split(path).1.to_owned(),
        size: stat.st_size,
        mode: stat.st_mode,
        modified: Timestamp::new(stat.st_mtime, nanos).ok(),
        link_target,
    })
}

/// The folder to pack from, the name in it, and the name that this has in the archive.
fn parts<'p>(
    root: &Root,
    path: &'p str,
    found: &PathStat,
) -> io::Result<(std::os::fd::OwnedFd, &'p str, &'p str)> {
    let (folder, base) = files::split(path);
    let is_folder = FileType::from_raw_mode(found.mode) == FileType::Directory;
    let (folder, name) = if is_folder {
        (path, ".")
    } else {
        (folder, base)
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let folder = root.open_at(Path::new(folder), flags, Mode::empty())?;
    Ok((folder, name, base))
}

fn extract(
    root: &Root,
    view: &View,
    (path, name): (&str, &str),
    options: ExtractOptions,
    ids: Option<IdMaps>,
    archive: impl io::Read,
) -> Result<(), EngineError> {
    let resolved = files::resolve(root, Path::new(&clean_from_top(path)))
        .and_then(|resolved| match resolved.exists {
            true => root.find(&resolved.path).map(|fd| (resolved, fd)),
            false => Err(io::ErrorKind::NotFound.into()),
        })
        .and_then(|(resolved, fd)| fstat(&fd).map(|stat| (resolved, stat)).map_err(Into::into));
    let (resolved, stat) = resolved.map_err(|error| refuse(error, path, name))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        let text = "extraction point is not a directory";
        return Err(EngineError::Invalid(text.to_owned()));
    }
    check_writable(view, &resolved.path)?;
    let owner = match options.container_user {
        true => files::owner(root, &view.config.user)?,
        false => None,
    };
    let options = ApplyOptions {
        plain: Some(Plain {
            folder: resolved.path,
            owner,
            keep_kinds: options.keep_kinds,
            ids,
            ..Plain::default()
        }),
        ..ApplyOptions::default()
    };
    let done = apply(archive, root.as_fd(), &options);
    done.map(drop).map_err(|error| match error.is_not_found() {
        // Whatever it is that is not there, dockerd takes it for the folder.
        true => refuse(io::ErrorKind::NotFound.into(), path, name),
        false => EngineError::Failed(chain(&error)),
    })
}

/// Docker's words for what the kernel would refuse without explanation.
fn check_writable(view: &View, path: &Path) -> Result<(), EngineError> {
    let below = view
        .mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.destination));
    let text = match below.max_by_key(|mount| mount.destination.len()) {
        Some(mount) if mount.rw => return Ok(()),
        Some(_) => "mounted volume is marked read-only",
        None if !view.host.readonly_rootfs => return Ok(()),
        None => "container rootfs is marked read-only",
    };
    Err(EngineError::Invalid(text.to_owned()))
}

fn refuse(error: io::Error, path: &str, container: &str) -> EngineError {
    match error.kind() {
        io::ErrorKind::NotFound => EngineError::NotFound(format!(
            "Could not find the file {path} in container {container}"
        )),
        _ => {
            let errno = rustix::io::Errno::from_io_error(&error);
            let reason = match errno {
                Some(rustix::io::Errno::NOTDIR) => "not a directory".to_owned(),
                Some(rustix::io::Errno::LOOP) => "too many levels of symbolic links".to_owned(),
                _ => error.to_string(),
            };
            EngineError::Failed(format!("lstat {path}: {reason}"))
        }
    }
}
