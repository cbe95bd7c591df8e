//! The end of a first process that its shim has not come to see.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use wharf_cgroups::Cgroup;
use wharf_shim_api::{EXIT_FILE, ExitStatus};
use wharf_sys::stat::Stat;

use crate::folder::{TaskRecord, exit_status};

/// Writes down in `folder`, as its `shim` would have, how the process `first` has ended: if it has, and nothing stands there.
/// When it was, nobody knows: by now. Whether it was written.
pub(crate) fn write(folder: &Path, shim: i32, first: i32) -> io::Result<bool> {
    // It is this shim's child as long as that has not asked for its end; any other has the number only.
    let stat = Stat::of(first).filter(|stat| stat.parent() == shim);
    let Some(code) = stat.and_then(|stat| stat.code()) else {
        return Ok(false);
    };
    if exit_status(folder).is_some() {
        return Ok(false);
    }
    let status = ExitStatus {
        code,
        oom_killed: has_run_out_of_memory(folder),
        at: Timestamp::now().as_nanosecond(),
    };
    let new = folder.join("exit.json.lost");
    std::fs::write(&new, serde_json::to_vec(&status)?)?;
    std::fs::rename(new, folder.join(EXIT_FILE)).map(|()| true)
}

fn has_run_out_of_memory(folder: &Path) -> bool {
    let record = TaskRecord::read(folder).ok().flatten();
    let group = record.filter(|record| !record.cgroup.is_empty());
    let group = group.and_then(|record| Cgroup::open(&record.cgroup).ok());
    group.is_some_and(|group| group.oom_kills() > 0)
}
