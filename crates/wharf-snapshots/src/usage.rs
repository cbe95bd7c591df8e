//! How much is in a tree.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};

/// Sum of the sizes of everything but folders below `root`, in bytes, each inode once. What goes away while it is
/// read is left out.
pub(crate) fn tree_size(root: &Path) -> io::Result<u64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::open(root, flags, Mode::empty())?;
    let mut seen = HashSet::new();
    let mut total = 0_u64;
    // One descriptor per level: a list of open folders that is walked like a stack.
    let mut stack: Vec<(OwnedFd, Dir)> = vec![opened(top)?];
    while let Some((dir, entries)) = stack.last_mut() {
        let Some(entry) = entries.next() else {
            stack.pop();
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes() == b"." || name.to_bytes() == b".." {
            continue;
        }
        let Ok(stat) = statat(&*dir, name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            if stat.st_nlink == 1 || seen.insert((stat.st_dev, stat.st_ino)) {
                total = total.saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
            }
        } else if stack.len() < MAX_DEPTH
            && let Some((dir, _)) = stack.last()
            && let Ok(child) = openat(dir, name, flags, Mode::empty())
        {
            stack.push(opened(child)?);
        }
    }
    Ok(total)
}

/// A tree can be deeper than we may have descriptors; what is below this depth is not counted.
const MAX_DEPTH: usize = 400;

fn opened(fd: OwnedFd) -> io::Result<(OwnedFd, Dir)> {
    let entries = Dir::read_from(&fd)?;
    Ok((fd, entries))
}
