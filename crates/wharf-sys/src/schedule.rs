//! How a process is scheduled, and what it takes itself for.

use std::io;

/// `personality(2)`.
///
/// # Errors
/// The kernel's.
pub fn set_personality(domain: u64) -> io::Result<()> {
    let domain = domain as libc::c_ulong;
    // SAFETY: only a number of this process's changes.
    match unsafe { libc::personality(domain) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// `ioprio_set(2)` of this thread: class 1 (real time), 2 (best effort) or 3 (idle), and a level.
///
/// # Errors
/// The kernel's.
pub fn set_io_priority(class: i32, level: i32) -> io::Result<()> {
    const WHO_PROCESS: libc::c_int = 1;
    let value = class << 13 | level;
    // SAFETY: only numbers are given; 0 is this thread.
    match unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, value) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// How a thread is scheduled (`sched_setattr(2)`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// For `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// For `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// For `SCHED_DEADLINE`, as the two that follow, in nanoseconds.
    pub runtime: u64,
    /// See `runtime`.
    pub deadline: u64,
    /// See `runtime`.
    pub period: u64,
}

/// `struct sched_attr`, version 0.
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// `sched_setattr(2)` of this thread.
///
/// # Errors
/// The kernel's.
pub fn set_policy(policy: Policy) -> io::Result<()> {
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        policy: policy.policy,
        flags: policy.flags,
        nice: policy.nice,
        priority: policy.priority,
        runtime: policy.runtime,
        deadline: policy.deadline,
        period: policy.period,
    };
    // SAFETY: `attributes` is a whole sched_attr of the size that it names, and lives through the call.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `set_mempolicy(2)` of this thread: `mode` with its flags, on the memory nodes that are set in `nodes`, 64 a word.
///
/// # Errors
/// The kernel's; `ENOSYS` from one without NUMA.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> io::Result<()> {
    // The kernel takes one bit less than it is told (set_mempolicy(2), bugs).
    let (mask, bits) = match nodes.is_empty() {
        true => (std::ptr::null(), 0),
        false => (nodes.as_ptr(), nodes.len() * 64 + 1),
    };
    // SAFETY: the kernel reads `bits` bits, less one, of a live slice that has as many; or none of a null pointer.
    let done = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
