//! Device filters of v2 control groups (bpf(2), `BPF_PROG_TYPE_CGROUP_DEVICE`).

use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};

use rustix::io::{Errno, Result};

use crate::process::last_error;

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const FLAG_ALLOW_MULTI: u32 = 2;

/// The head of `union bpf_attr` for BPF_PROG_LOAD (linux/bpf.h), as far as it is used.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// The head of `union bpf_attr` for attach and detach.
#[repr(C)]
#[derive(Default)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// The head of `union bpf_attr` for BPF_PROG_QUERY.
#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

/// Loads a device filter: `instructions` are `struct bpf_insn`, eight bytes each in the machine's byte order.
///
/// # Errors
/// `EINVAL` or `EACCES` if the verifier refuses it, `EPERM` without the right to load.
pub fn load_device_filter(instructions: &[u64]) -> Result<OwnedFd> {
    let license = c"Apache-2.0";
    let attr = LoadAttr {
        prog_type: TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(instructions.len()).map_err(|_| Errno::INVAL)?,
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..LoadAttr::default()
    };
    // SAFETY: the two pointers name arrays that live through the call and are only read, with their true length.
    let fd = unsafe { bpf(PROG_LOAD, &attr) }?;
    // SAFETY: a new descriptor, which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a filter of [`load_device_filter`] to the v2 cgroup folder `cgroup`, beside others that are there.
///
/// # Errors
/// As bpf(2).
pub fn attach_device_filter(cgroup: impl AsFd, program: impl AsFd) -> Result<()> {
    let attr = attach(cgroup, program);
    // SAFETY: no pointers inside.
    unsafe { bpf(PROG_ATTACH, &attr) }.map(drop)
}

/// Takes a filter off again.
///
/// # Errors
/// As bpf(2).
pub fn detach_device_filter(cgroup: impl AsFd, program: impl AsFd) -> Result<()> {
    let attr = attach(cgroup, program);
    // SAFETY: no pointers inside.
    unsafe { bpf(PROG_DETACH, &attr) }.map(drop)
}

/// The device filters that are attached to exactly this v2 cgroup.
///
/// # Errors
/// As bpf(2).
pub fn device_filters(cgroup: impl AsFd) -> Result<Vec<OwnedFd>> {
    let mut ids = [0u32; 64];
    let mut attr = QueryAttr {
        target_fd: cgroup.as_fd().as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: ids.len() as u32,
        ..QueryAttr::default()
    };
    // SAFETY: the kernel writes at most `prog_cnt` numbers to `ids` and the count to `attr`; both live on.
    unsafe { bpf_mut(PROG_QUERY, &mut attr) }?;
    let found = &ids[..(attr.prog_cnt as usize).min(ids.len())];
    found.iter().map(|&id| by_id(id)).collect()
}

fn by_id(id: u32) -> Result<OwnedFd> {
    // SAFETY: no pointers inside.
    let fd = unsafe { bpf(PROG_GET_FD_BY_ID, &[id, 0, 0]) }?;
    // SAFETY: a new descriptor, which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn attach(cgroup: impl AsFd, program: impl AsFd) -> AttachAttr {
    AttachAttr {
        target_fd: cgroup.as_fd().as_raw_fd() as u32,
        attach_bpf_fd: program.as_fd().as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: FLAG_ALLOW_MULTI,
    }
}

/// # Safety
/// Every pointer inside `attr` must be valid for what `command` does with it, and `command` must not write to it.
unsafe fn bpf<T>(command: libc::c_int, attr: &T) -> Result<i32> {
    let attr = std::ptr::from_ref(attr);
    // SAFETY: by contract of this function; the size is the true one.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    if done == -1 {
        Err(last_error())
    } else {
        Ok(done as i32)
    }
}

/// # Safety
/// As [`bpf`], and what `command` writes to `attr` must fit it.
unsafe fn bpf_mut<T>(command: libc::c_int, attr: &mut T) -> Result<i32> {
    let attr = std::ptr::from_mut(attr);
    // SAFETY: by contract of this function; the size is the true one.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    if done == -1 {
        Err(last_error())
    } else {
        Ok(done as i32)
    }
}
