//! Room for the records on a disk that is full: what frees a disk (a container that is removed) has to be recorded, too,
//! and a daemon that was killed on a full disk has to start again. So a file beside the records holds some room, and is
//! given up when there is no other.

use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, Mode, OFlags};

/// Some thousand changes of records, bytes.
const ROOM: u64 = 4 << 20;

fn place(records: &Path) -> PathBuf {
    records.with_extension("reserve")
}

/// Before the records are opened: the room is given up if there is little else, and else taken if it is not yet.
pub(crate) fn at_start(records: &Path) {
    let folder = records
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let Ok(disk) = rustix::fs::statvfs(folder.unwrap_or(Path::new("."))) else {
        return;
    };
    let free = disk.f_bfree.saturating_mul(disk.f_frsize);
    match place(records).exists() {
        true if free < ROOM => give_up(records),
        false if free > 2 * ROOM => take(&place(records)),
        _ => {}
    }
}

/// The next change finds room.
pub(crate) fn give_up(records: &Path) {
    // Without one there is none to give up.
    let _ = std::fs::remove_file(place(records));
}

/// Whole or not at all: a hole would be no room.
fn take(place: &Path) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(place, flags, Mode::RUSR | Mode::WUSR) else {
        return;
    };
    if rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, ROOM).is_err() {
        let _ = std::fs::remove_file(place);
    }
}
