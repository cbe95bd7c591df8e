//! This program, executed from where whatever it starts cannot write to it.
//!
//! A container's process is a copy of its runtime until it executes its own program, and that program may be `/proc/self/exe`: then the
//! runtime's file runs among the container's processes, who can keep it open and write to it once it has ended (CVE-2019-5736).

use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use rustix::fs::{SealFlags, StatVfsMountFlags, fcntl_get_seals, fstatvfs};

use crate::mount::{self, Change, attr};
use crate::{exec, memfd};

const OWN: &str = "/proc/self/exe";

const NAME: &CStr = c"wharf-shim";

/// Returns if this program cannot be written to by way of its processes. Else it begins again, with the same arguments, behind
/// a read-only mount that is attached nowhere; who may not mount (a user namespace may forbid it) gets a copy in sealed memory. The
/// mount costs a twentieth of the copy, and only who may mount on the host could make it writable again, who needs no such way.
///
/// # Errors
/// If neither can be had.
pub fn run_sealed() -> io::Result<()> {
    let own = File::open(OWN)?;
    if is_sealed(&own)? {
        // Before Linux 6.14 a program that is executed by descriptor is called by the descriptor's number.
        return Ok(rustix::thread::set_name(NAME)?);
    }
    let arguments = strings(std::env::args_os())?;
    let environment = std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name
    });
    let environment = strings(environment)?;
    if let Ok(sealed) = behind_read_only_mount() {
        // A security module may forbid what it has no path for.
        let _ = exec::fexecve(sealed.as_fd(), &arguments, &environment);
    }
    let sealed = memfd::seal_program("wharf-shim", Path::new(OWN))?;
    Err(exec::fexecve(sealed.as_fd(), &arguments, &environment))
}

/// A file that a host keeps on a read-only mount of its own is not: the mount may become writable, and with it what is open by way of
/// it. A mount of a single file that is attached nowhere has no path but this.
fn is_sealed(program: &File) -> io::Result<bool> {
    let is_read_only = fstatvfs(program)?
        .f_flag
        .contains(StatVfsMountFlags::RDONLY);
    if is_read_only && std::fs::read_link(OWN)? == Path::new("/") {
        return Ok(true);
    }
    // Only memory has seals.
    Ok(fcntl_get_seals(program).is_ok_and(|seals| seals.contains(SealFlags::WRITE)))
}

fn behind_read_only_mount() -> io::Result<OwnedFd> {
    let mounted = mount::bind_path(OWN, false)?;
    let change = Change {
        set: attr::RDONLY,
        ..Change::default()
    };
    mount::change(&mounted, change)?;
    Ok(mounted)
}

fn strings(all: impl Iterator<Item = OsString>) -> io::Result<Vec<CString>> {
    let strings = all.map(|one| CString::new(one.into_vec()).map_err(io::Error::from));
    strings.collect()
}
