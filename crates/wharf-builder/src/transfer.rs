//! Files from one tree into another, both by descriptor: read on one side and made on the other by the same code as layers, so that
//! attributes are kept and nothing leaves its tree.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fstat, mkdirat};
use rustix::io::Errno;
use wharf_engine::resolve;
use wharf_layer::{ApplyOptions, LayerError, PackOptions, Plain, apply, copy_only, copy_path};
use wharf_sys::root::Root;
use wharf_sys::words::chain;

use crate::{BuildError, Selection};

/// How files look when they have arrived.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looks {
    /// Owner and group; `None` keeps theirs.
    pub owner: Option<(u32, u32)>,
    /// Permissions; `None` keeps theirs.
    pub mode: Option<u32>,
    /// Files are no longer set-user-ID or set-group-ID.
    pub drops_set_id: bool,
    /// When they were modified, in nanoseconds since 1970; `None` keeps theirs.
    pub modified: Option<i64>,
}

/// Where in a tree, and what is there.
pub fn stat(root: &Root, path: &Path) -> Option<Stat> {
    fstat(root.find(path).ok()?).ok()
}

/// Whether a folder is there, wherever links lead.
pub fn is_folder(root: &Root, path: &Path) -> bool {
    stat(root, path)
        .is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Permissions of folders that are made because something is put into them.
const MODE: u32 = 0o755;

/// Makes the folder `path` and those above it that are missing; new ones belong to `owner` and have the permissions `mode`.
///
/// # Errors
/// If it cannot be made.
pub fn make_folders(
    root: &Root,
    path: &Path,
    owner: Option<(u32, u32)>,
    mode: u32,
) -> Result<PathBuf, BuildError> {
    let failed = |error: io::Error| {
        BuildError::Failed(format!("failed to make {}: {error}", path.display()))
    };
    let resolved = resolve(root, path).map_err(failed)?.path;
    let mut walked = PathBuf::from("/");
    for name in resolved.components() {
        let std::path::Component::Normal(name) = name else {
            continue;
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let parent = root
            .open_at(&walked, flags, Mode::empty())
            .map_err(failed)?;
        walked.push(name);
        match mkdirat(&parent, name, Mode::from_raw_mode(mode)) {
            Ok(()) => {}
            Err(Errno::EXIST) => continue,
            Err(error) => return Err(failed(error.into())),
        }
        // Whatever our umask has taken away.
        let made = root.open_at(&walked, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
        let made = made.map_err(failed)?;
        rustix::fs::fchmod(&made, Mode::from_raw_mode(mode))
            .map_err(|error| failed(error.into()))?;
        if let Some((uid, gid)) = owner {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            chownat(
                &parent,
                name,
                Some(uid),
                Some(gid),
                AtFlags::SYMLINK_NOFOLLOW,
            )
            .map_err(|error| failed(error.into()))?;
        }
    }
    Ok(resolved)
}

/// The folder that something is put into, made if it is missing.
fn folder_for(target: &Root, to: &Path, looks: Looks) -> Result<PathBuf, BuildError> {
    let made = make_folders(target, to, looks.owner, MODE)?;
    match is_folder(target, &made) {
        true => Ok(made),
        false => Err(BuildError::Failed(format!(
            "failed to copy files: mkdir {}: not a directory",
            made.display()
        ))),
    }
}

/// Copies what is selected in the folder `from` into the folder `to`, which is made if it is missing.
///
/// # Errors
/// If something cannot be read or written.
pub fn folder(
    (source, from): (&Root, &Path),
    (target, to): (&Root, &Path),
    looks: Looks,
    selection: &Selection,
) -> Result<(), BuildError> {
    let unread = BuildError::io("failed to copy files");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = source.open_at(from, flags, Mode::empty());
    let folder = folder.map_err(&unread)?;
    let paths = selection.is_deep().then(|| selection.paths(folder.as_fd()));
    let paths = paths.transpose().map_err(unread)?;
    let to = folder_for(target, to, looks)?;
    let wanted = |path: &[u8]| match &paths {
        Some(paths) => paths.contains(path),
        None => selection.takes(path),
    };
    let options = PackOptions {
        whole_seconds: true,
        ..PackOptions::default()
    };
    let (from, into) = ((folder.as_fd(), &options), made(to, looks));
    let copied = copy_only(from, (target.as_fd(), &into), &|path, _| wanted(path));
    copied.map_err(|error| failed(&error))
}

/// Copies the file (or link, or device) `from` to the path `to`, whose folder is made if it is missing.
///
/// # Errors
/// If something cannot be read or written.
pub fn file(
    (source, from): (&Root, &Path),
    (target, to): (&Root, &Path),
    looks: Looks,
) -> Result<(), BuildError> {
    let parent = to.parent().unwrap_or(Path::new("/"));
    let parent = make_folders(target, parent, looks.owner, MODE)?;
    let name = to.file_name().unwrap_or_default();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = from.parent().filter(|path| *path != Path::new(""));
    let folder = source.open_at(folder.unwrap_or(Path::new(".")), flags, Mode::empty());
    let folder = folder.map_err(BuildError::io("failed to copy files"))?;
    let own = from.file_name().unwrap_or_default();
    let copied = copy_path(
        (folder.as_fd(), own.as_bytes()),
        (target.as_fd(), name.as_bytes()),
        &made(parent, looks),
    );
    copied.map_err(|error| failed(&error))
}

/// Unpacks the archive in `from` into the folder `to`.
///
/// # Errors
/// If it cannot be read, or is none.
pub fn archive(
    (source, from): (&Root, &Path),
    (target, to): (&Root, &Path),
    looks: Looks,
) -> Result<(), BuildError> {
    let to = folder_for(target, to, looks)?;
    let archive = open_file(source, from).map_err(BuildError::io("failed to copy files"))?;
    let unpacked = apply(archive, target.as_fd(), &made(to, looks));
    unpacked.map(drop).map_err(|error| failed(&error))
}

/// Opens a regular file for reading, and nothing else.
///
/// # Errors
/// The kernel's; `InvalidInput` for what is no regular file.
pub fn open_file(root: &Root, path: &Path) -> io::Result<std::fs::File> {
    match root.open_regular(path, OFlags::NOFOLLOW) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(io::ErrorKind::InvalidInput.into())
        }
        opened => opened.map(Into::into),
    }
}

/// What is made in the folder `to`.
fn made(to: PathBuf, looks: Looks) -> ApplyOptions {
    ApplyOptions {
        plain: Some(Plain {
            folder: to,
            owner: looks.owner,
            mode: looks.mode,
            drops_set_id: looks.drops_set_id,
            modified: looks.modified,
            ..Plain::default()
        }),
        ..ApplyOptions::default()
    }
}

fn failed(error: &LayerError) -> BuildError {
    BuildError::Failed(format!("failed to copy files: {}", chain(error)))
}
