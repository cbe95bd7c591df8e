//! Loading of system-call filters (seccomp(2)).

use std::os::fd::{FromRawFd as _, OwnedFd};

use rustix::io::{Errno, Result};

use crate::process::last_error;

/// `SECCOMP_FILTER_FLAG_TSYNC`
pub const FLAG_TSYNC: u32 = 1;
/// `SECCOMP_FILTER_FLAG_LOG`
pub const FLAG_LOG: u32 = 2;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`
pub const FLAG_SPEC_ALLOW: u32 = 4;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`: [`load`] gives the descriptor that gets the notifications.
pub const FLAG_NEW_LISTENER: u32 = 8;

/// The most instructions that the kernel takes (`BPF_MAXINSNS`).
const MAX_INSTRUCTIONS: usize = 4096;

/// Puts the calling thread, and all that it becomes, under the filter `program`: the bytes of its
/// `struct sock_filter` array, eight each, in the machine's byte order.
///
/// # Errors
/// `EINVAL` if the program is empty, too long, or none; `EACCES` without `no_new_privs` and `CAP_SYS_ADMIN`.
pub fn load(program: &[u8], flags: u32) -> Result<Option<OwnedFd>> {
    let count = program.len() / 8;
    if !program.len().is_multiple_of(8) || count == 0 || count > MAX_INSTRUCTIONS {
        return Err(Errno::INVAL);
    }
    let mut filter: Vec<libc::sock_filter> = program
        .chunks_exact(8)
        .map(|one| libc::sock_filter {
            code: u16::from_ne_bytes([one[0], one[1]]),
            jt: one[2],
            jf: one[3],
            k: u32::from_ne_bytes([one[4], one[5], one[6], one[7]]),
        })
        .collect();
    let program = libc::sock_fprog {
        len: count as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: `program` names `count` instructions, which live through the call and are only read.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            std::ptr::from_ref(&program),
        )
    };
    match done {
        -1 => Err(last_error()),
        fd if flags & FLAG_NEW_LISTENER != 0 => {
            // SAFETY: with this flag the result is a new descriptor, which nobody else knows.
            Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
        }
        _ => Ok(None),
    }
}
