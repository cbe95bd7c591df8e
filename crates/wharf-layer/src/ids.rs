//! Owners that are others in the archive than on the file system: those of a container in a user namespace.

/// A row of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRow {
    /// The first id in the archive.
    pub inside: u32,
    /// What it is on the file system.
    pub outside: u32,
    /// How many follow each other.
    pub size: u32,
}

/// Mappings of users and groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// Users.
    pub users: Vec<IdRow>,
    /// Groups.
    pub groups: Vec<IdRow>,
}

/// What stands for an owner that has no id in the namespace (`/proc/sys/kernel/overflowuid`).
const NOBODY: u32 = 65534;

impl IdMaps {
    /// Owner and group on the file system; `None` if one of them is not mapped.
    pub(crate) fn outside(&self, (uid, gid): (u64, u64)) -> Option<(u64, u64)> {
        let find = |rows: &[IdRow], id: u64| {
            let id = u32::try_from(id).ok()?;
            let row = rows.iter().find(|row| within(row.inside, row.size, id))?;
            Some(u64::from(row.outside + (id - row.inside)))
        };
        Some((find(&self.users, uid)?, find(&self.groups, gid)?))
    }

    /// Owner and group as the container sees them.
    pub(crate) fn inside(&self, (uid, gid): (u32, u32)) -> (u32, u32) {
        let find = |rows: &[IdRow], id: u32| {
            let row = rows.iter().find(|row| within(row.outside, row.size, id));
            row.map_or(NOBODY, |row| row.inside + (id - row.outside))
        };
        (find(&self.users, uid), find(&self.groups, gid))
    }
}

fn within(first: u32, size: u32, id: u32) -> bool {
    id.checked_sub(first)
        .is_some_and(|distance| distance < size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_and_nobody() {
        let row = |inside, outside, size| IdRow {
            inside,
            outside,
            size,
        };
        let maps = IdMaps {
            users: vec![row(0, 100_000, 10), row(10, 5, 1)],
            groups: vec![row(0, 200_000, 10)],
        };
        assert_eq!(maps.outside((3, 9)), Some((100_003, 200_009)));
        assert_eq!(maps.outside((10, 0)), Some((5, 200_000)));
        assert_eq!(maps.outside((11, 0)), None);
        assert_eq!(maps.outside((0, 10)), None);
        assert_eq!(maps.inside((100_009, 200_000)), (9, 0));
        assert_eq!(maps.inside((5, 0)), (10, NOBODY));
    }
}
