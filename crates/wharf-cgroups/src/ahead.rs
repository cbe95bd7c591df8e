//! Paying ahead for the first move of a process between groups of v1.
//!
//! A move takes the kernel's `cgroup_threadgroup_rwsem` for writing, and its first writer after a quiet time waits
//! for an RCU grace period (`rcu_sync_enter`, kernel/rcu/sync.c): 4 to 11 ms on an idle machine, more than all
//! the rest of a container's start. Writers within some 20 ms after it wait for nothing. So whoever knows that a
//! move is to come makes one that changes nothing (itself into the group where it is), and lets the grace period
//! pass while the container is being prepared.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Layout;

/// The means to begin a grace period. On v2, where processes are born in their group, it does nothing.
#[derive(Debug)]
pub struct MoveAhead {
    /// `cgroup.procs` of this process's own group.
    own: Option<File>,
    under_way: AtomicBool,
}

impl MoveAhead {
    /// Finds this process's own group. Where there is none to be found, moves just are not paid ahead for.
    pub fn of_this_process() -> Self {
        Self {
            own: own_group(),
            under_way: AtomicBool::new(false),
        }
    }

    /// Whether there is something to do, and nobody does it; the caller then calls [`Self::pay`] on a thread that
    /// may block.
    pub fn due(&self) -> bool {
        self.own.is_some() && !self.under_way.swap(true, Ordering::AcqRel)
    }

    /// Waits for the grace period; milliseconds.
    pub fn pay(&self) {
        if let Some(mut own) = self.own.as_ref() {
            // "0" is the writer itself (cgroup-v1 documentation). A failure costs the next move its time, no more.
            let _ = own.write_all(b"0");
        }
        self.under_way.store(false, Ordering::Release);
    }
}

fn own_group() -> Option<File> {
    let Ok(Layout::V1 { controllers }) = Layout::detect() else {
        return None;
    };
    let (controller, mount) = controllers.first()?;
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = group_of(&text, controller)?;
    let procs = mount
        .join(group.trim_start_matches('/'))
        .join("cgroup.procs");
    open(&procs)
}

fn open(procs: &Path) -> Option<File> {
    File::options().write(true).open(procs).ok()
}

/// The path of the group in the hierarchy of `controller` (cgroups(7), `/proc/[pid]/cgroup`).
fn group_of<'a>(text: &'a str, controller: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (names, path) = rest.split_once(':')?;
        names
            .split(',')
            .any(|name| name == controller)
            .then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_group_of_a_controller() {
        let text = "4:memory:/a/b\n3:cpu,cpuacct:/c\n0::/d\n";
        assert_eq!(group_of(text, "memory"), Some("/a/b"));
        assert_eq!(group_of(text, "cpuacct"), Some("/c"));
        assert_eq!(group_of(text, "pids"), None);
    }

    #[test]
    fn stays_where_it_is() {
        let before = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let ahead = MoveAhead::of_this_process();
        if ahead.due() {
            assert!(!ahead.due(), "two at a time");
            ahead.pay();
            assert!(ahead.due(), "not again after one is done");
        }
        assert_eq!(
            std::fs::read_to_string("/proc/self/cgroup").unwrap(),
            before
        );
    }
}
