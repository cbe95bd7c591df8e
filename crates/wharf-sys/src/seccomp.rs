//! Loading a seccomp filter.

use std::io;

/// Filter flags (`linux/seccomp.h`).
pub mod flag {
    /// All threads.
    pub const TSYNC: u64 = 1;
    /// Log what is denied, but for allowed calls.
    pub const LOG: u64 = 2;
    /// No speculation mitigation.
    pub const SPEC_ALLOW: u64 = 4;
}

/// Loads `program` (`struct sock_filter`s, 8 bytes each, in the machine's byte order) on this thread.
///
/// # Errors
/// `EINVAL` for a program the kernel does not take, `EACCES` without no_new_privs and `CAP_SYS_ADMIN`.
pub fn load(program: &[[u8; 8]], flags: u64) -> io::Result<()> {
    let filters: Vec<libc::sock_filter> = program
        .iter()
        .map(|[c0, c1, jt, jf, k @ ..]| libc::sock_filter {
            code: u16::from_ne_bytes([*c0, *c1]),
            jt: *jt,
            jf: *jf,
            k: u32::from_ne_bytes(*k),
        })
        .collect();
    let length = filters
        .len()
        .try_into()
        .map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let program = libc::sock_fprog {
        len: length,
        filter: filters.as_ptr().cast_mut(),
    };
    // SAFETY: `program` points to `len` filters that live through the call; the kernel copies and checks them.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
