//! Binds whose files appear to be somebody else's: the rows of the mapping.

use std::os::unix::fs::MetadataExt as _;

use wharf_bundle::{IdRange, Owners};
use wharf_sys::root::Root;

use crate::containers::Shared;
use crate::record::Record;
use crate::{EngineError, IdMapping, MountPoint, copy_up, files, userns};

/// The mapping of `point`.
pub(super) fn of(
    shared: &Shared,
    record: &Record,
    point: &MountPoint,
    mapping: &IdMapping,
) -> Result<Owners, EngineError> {
    // To the kernel a mount's owners are the host's.
    let onward = userns::of(&shared.config, &record.host);
    let rows = |users: &[crate::IdRange], groups: &[crate::IdRange]| {
        let rows = |rows: &[crate::IdRange], map: Option<&Vec<crate::IdRange>>| match map {
            Some(map) => userns::through(rows, map).iter().map(row).collect(),
            None => rows.iter().map(row).collect(),
        };
        Owners::Rows {
            users: rows(users, onward.map(|remap| &remap.users)),
            groups: rows(groups, onward.map(|remap| &remap.groups)),
        }
    };
    let user = match mapping {
        IdMapping::Ranges(users, groups) => return Ok(rows(users, groups)),
        IdMapping::MatchUser(user) if user.is_empty() => &record.config.user,
        IdMapping::MatchUser(user) => user,
    };
    let (uid, gid) = ids_of(shared, record, user)?;
    let source = std::fs::metadata(&point.source);
    let source = source.map_err(EngineError::io("stat", &point.source))?;
    Ok(rows(
        &swapped(source.uid(), uid),
        &swapped(source.gid(), gid),
    ))
}

pub(super) fn row(range: &crate::IdRange) -> IdRange {
    IdRange {
        on_disk: range.on_disk,
        shown: range.shown,
        size: range.size,
    }
}

/// Who `user` is, as the image says.
fn ids_of(shared: &Shared, record: &Record, user: &str) -> Result<(u32, u32), EngineError> {
    if user.is_empty() {
        return Ok((0, 0));
    }
    let rootfs = shared.snapshots.rootfs(&record.id);
    let rootfs = rootfs.map_err(|error| EngineError::failed(&error))?;
    let root = copy_up::mount(&rootfs).map_err(|error| EngineError::failed(&error))?;
    let found = files::owner(&Root::from_fd(root), user)?;
    Ok(found.unwrap_or_default())
}

/// `on_disk` appears as `shown`, and the other way round; all others as themselves.
fn swapped(on_disk: u32, shown: u32) -> Vec<crate::IdRange> {
    let same = |from: u32, to: u32| crate::IdRange {
        on_disk: from,
        shown: from,
        // Up to the last id but the one that stands for none.
        size: to - from,
    };
    if on_disk == shown {
        return vec![same(0, u32::MAX)];
    }
    let (low, high) = (on_disk.min(shown), on_disk.max(shown));
    let one = |on_disk: u32, shown: u32| crate::IdRange {
        on_disk,
        shown,
        size: 1,
    };
    let rows = [
        same(0, low),
        one(low, high),
        same(low + 1, high),
        one(high, low),
        same(high + 1, u32::MAX),
    ];
    rows.into_iter().filter(|row| row.size > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ids_change_places() {
        let rows = |on_disk, shown| -> Vec<(u32, u32, u32)> {
            let rows = swapped(on_disk, shown).into_iter();
            rows.map(|row| (row.on_disk, row.shown, row.size)).collect()
        };
        assert_eq!(rows(7, 7), [(0, 0, u32::MAX)]);
        assert_eq!(
            rows(1000, 0),
            [
                (0, 1000, 1),
                (1, 1, 999),
                (1000, 0, 1),
                (1001, 1001, u32::MAX - 1001)
            ]
        );
        let rows = rows(5, 6);
        assert_eq!(rows[..3], [(0, 0, 5), (5, 6, 1), (6, 5, 1)]);
    }
}
