//! What lists of processes show of a shim that was started before its task.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use wharf_sys::stat::Stat;

/// Names the process by whether it has a task, as its folder says.
pub(crate) fn of_process(folder: &Path) {
    let name = match folder
        .parent()
        .is_some_and(|parent| parent.ends_with("spare"))
    {
        true => c"wharf-spare",
        false => c"wharf-shim",
    };
    // Without it, it is named after the descriptor that it was executed from.
    let _ = rustix::thread::set_name(name);
}

/// Which field of `/proc/[pid]/stat` says where the command line begins in memory (proc(5), `arg_start`).
const ARG_START: usize = 48;

/// Writes `folder` over the folder in this process's command line, if it is as long as that one.
///
/// # Errors
/// If the kernel does not let us, or the lengths differ.
pub(crate) fn show(folder: &Path) -> io::Result<()> {
    let line = std::fs::read("/proc/self/cmdline")?;
    // wharf-shim, `task`, the folder.
    let mut words = line.split(|byte| *byte == 0);
    let before: usize = words.by_ref().take(2).map(|word| word.len() + 1).sum();
    let shown = words.next().unwrap_or_default();
    let folder = folder.as_os_str().as_bytes();
    if shown == folder {
        return Ok(());
    }
    if shown.len() != folder.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let memory = File::options().write(true).open("/proc/self/mem")?;
    memory.write_all_at(folder, command_line()? + before as u64)
}

/// Where the command line is in memory.
fn command_line() -> io::Result<u64> {
    let stat = Stat::read("/proc/self/stat");
    let start = stat.and_then(|stat| stat.field(ARG_START)?.parse().ok());
    start.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
