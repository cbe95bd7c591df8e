//! `size`: a volume's folder is a project of its file system, which holds it to its limit. The file system knows which
//! project it is; nothing of it is in the records.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use wharf_sys::quota;

/// Where our projects begin: away from the small numbers that people write into `/etc/projid`, and that Docker counts from.
const FIRST: u32 = 1 << 20;

/// Whether the file system of `folder` can hold volumes to a size.
pub(crate) fn is_supported(folder: &Path) -> bool {
    File::open(folder).is_ok_and(|folder| quota::is_enforced(folder.as_fd()))
}

/// Holds a volume's empty `folder` to so many bytes; may be done again. Its caller lets nobody else do so meanwhile.
pub(crate) fn hold(folder: &Path, bytes: u64) -> io::Result<()> {
    let folder_fd = File::open(folder)?;
    let fd = folder_fd.as_fd();
    // First a part of the project, then the limit: who finds the one without the other knows which is missing.
    let project = match own(folder, &folder_fd)? {
        Some(project) => project,
        None => {
            let project = free(&folder_fd)?;
            quota::set_project(fd, project)?;
            project
        }
    };
    quota::set_limit(fd, project, Some(bytes))
}

/// The project of a volume's folder, to be forgotten when its files are gone. Nothing if it has none, or cannot have one.
pub(crate) fn of(folder: &Path) -> Option<u32> {
    // No link, and nothing that waits for somebody who writes: in the trash it can be anything.
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = rustix::fs::open(folder, flags, Mode::empty()).ok()?;
    let open = File::from(open);
    own(folder, &open).ok().flatten()
}

/// Takes the limit off a project of the file system of `folder`: its number can be given out again.
pub(crate) fn forget(folder: &Path, project: u32) -> io::Result<()> {
    quota::set_limit(File::open(folder)?.as_fd(), project, None)
}

/// A project that the folder does not have from above: all of the data root may be in one.
fn own(folder: &Path, open: &File) -> io::Result<Option<u32>> {
    let above = match folder.parent() {
        Some(parent) => quota::project(File::open(parent)?.as_fd())?,
        None => 0,
    };
    let project = quota::project(open.as_fd())?;
    Ok(Some(project).filter(|project| *project != above))
}

fn free(folder: &File) -> io::Result<u32> {
    for project in FIRST..=u32::MAX {
        if quota::is_unused(folder.as_fd(), project)? {
            return Ok(project);
        }
    }
    Err(io::Error::other("all projects are in use"))
}
