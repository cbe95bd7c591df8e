//! Loading a seccomp filter.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// Filter flags (`linux/seccomp.h`).
pub mod flag {
    /// All threads.
    pub const TSYNC: u64 = 1;
    /// Log what is denied, but for allowed calls.
    pub const LOG: u64 = 2;
    /// No speculation mitigation.
    pub const SPEC_ALLOW: u64 = 4;
    /// A descriptor that tells of calls (Linux 5.0).
    pub const NEW_LISTENER: u64 = 8;
    /// A caller that waits for who listens can be killed (Linux 5.19).
    pub const WAIT_KILLABLE_RECV: u64 = 32;
}

/// Loads `program` (`struct sock_filter`s, 8 bytes each, in the machine's byte order) on this thread.
///
/// # Errors
/// `EINVAL` for a program the kernel does not take, `EACCES` without no_new_privs and `CAP_SYS_ADMIN`; with [`flag::TSYNC`] if
/// another thread has a filter that this one does not have: then nobody gets this one.
pub fn load(program: &[[u8; 8]], flags: u64) -> io::Result<()> {
    match load_any(program, flags & !flag::NEW_LISTENER)? {
        0 => Ok(()),
        thread => Err(io::Error::other(format!(
            "thread {thread} has a seccomp filter of its own"
        ))),
    }
}

/// As [`load`], and gives the descriptor that tells of calls whose verdict is to notify.
///
/// # Errors
/// As [`load`]; `EBUSY` if an earlier filter has one.
pub fn load_with_listener(program: &[[u8; 8]], flags: u64) -> io::Result<OwnedFd> {
    let number = load_any(program, flags | flag::NEW_LISTENER)?;
    let number = i32::try_from(number).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    // SAFETY: the kernel has just made it, with close-on-exec, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn load_any(program: &[[u8; 8]], flags: u64) -> io::Result<libc::c_long> {
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
        -1 => Err(io::Error::last_os_error()),
        done => Ok(done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// `BPF_RET | BPF_K`, `SECCOMP_RET_ALLOW`
    fn allow() -> [u8; 8] {
        let mut instruction = [0; 8];
        instruction[..2].copy_from_slice(&0x06u16.to_ne_bytes());
        instruction[4..].copy_from_slice(&0x7fff_0000u32.to_ne_bytes());
        instruction
    }

    #[test]
    fn a_filter_that_not_all_threads_take_is_not_loaded() {
        let (loaded, is_loaded) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        rustix::thread::set_no_new_privs(true).expect("set");
        // The flag is of the thread, and those that it makes.
        let other = std::thread::spawn(move || {
            loaded.send(load(&[allow()], 0)).expect("tell");
            // Until the other end is dropped.
            let _ = ended.recv();
        });
        is_loaded.recv().expect("told").expect("load");
        let refused = load(&[allow()], flag::TSYNC).expect_err("not all have taken it");
        assert!(refused.to_string().starts_with("thread "), "{refused}");
        drop(end);
        other.join().expect("join");
        load(&[allow()], 0).expect("load");
    }
}
