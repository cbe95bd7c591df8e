//! Project quotas: how much the files below a folder may take (`quotactl_fd(2)`, `ioctl_xfs_fssetxattr(2)`;
//! `include/uapi/linux/dqblk_xfs.h`, whose calls ext4 has as well).

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::io::Errno;

/// `QCMD(Q_XSETQLIM, PRJQUOTA)` and its siblings.
const SET_LIMIT: u32 = command(4);
const GET: u32 = command(3);
const GET_STATE: u32 = command(8);
const PROJECTS: u32 = 2;

const fn command(number: u32) -> u32 {
    ((b'X' as u32) << 8 | number) << 8 | PROJECTS
}

const FS_IOC_FSGETXATTR: libc::c_ulong = 0x801c_581f;
const FS_IOC_FSSETXATTR: libc::c_ulong = 0x401c_5820;
/// `FS_XFLAG_PROJINHERIT`.
const INHERITED: u32 = 0x200;
/// `FS_QUOTA_PDQ_ENFD`.
const ENFORCED: u16 = 1 << 5;
/// `FS_DQ_BSOFT | FS_DQ_BHARD`.
const BLOCK_LIMITS: u16 = 1 << 2 | 1 << 3;
/// `FS_PROJ_QUOTA`.
const OF_PROJECT: i8 = 2;
/// What limits are counted in, in bytes.
const BLOCK: u64 = 512;

/// `struct fs_disk_quota`.
#[repr(C)]
#[derive(Default)]
struct DiskQuota {
    version: i8,
    flags: i8,
    fieldmask: u16,
    id: u32,
    blocks_hard: u64,
    blocks_soft: u64,
    inodes_hard: u64,
    inodes_soft: u64,
    blocks: u64,
    inodes: u64,
    timers: [i32; 2],
    warnings: [u16; 2],
    padding: i32,
    realtime: [u64; 3],
    realtime_timer: i32,
    realtime_warnings: u16,
    padding3: i16,
    padding4: [u8; 8],
}

/// `struct fs_quota_statv`.
#[repr(C)]
#[derive(Default)]
struct State {
    version: i8,
    pad1: u8,
    flags: u16,
    in_core: u32,
    files: [[u64; 3]; 3],
    limits: [i32; 3],
    warnings: [u16; 4],
    pad4: u32,
    pad2: [u64; 7],
}

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    copy_extent_size: u32,
    padding: [u8; 8],
}

const _: () = assert!(size_of::<DiskQuota>() == 112 && size_of::<Attributes>() == 28);
const _: () = assert!(size_of::<State>() == 160);

/// Whether the file system of `folder` holds projects to their limits.
pub fn is_enforced(folder: BorrowedFd<'_>) -> bool {
    let mut state = State {
        version: 1,
        ..State::default()
    };
    let asked = call(folder, GET_STATE, 0, &mut state);
    asked.is_ok() && state.flags & ENFORCED != 0
}

/// The project of a folder; 0 is that of all files which have no other.
///
/// # Errors
/// The kernel's; `ENOTTY` where the file system has no projects.
pub fn project(folder: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(attributes(folder)?.project)
}

/// Makes a folder, and what will be made below it, a part of a project.
///
/// # Errors
/// The kernel's.
pub fn set_project(folder: BorrowedFd<'_>, project: u32) -> io::Result<()> {
    let mut attributes = attributes(folder)?;
    attributes.project = project;
    attributes.flags |= INHERITED;
    // SAFETY: the struct is whole and lives through the call, which only reads it.
    let done = unsafe {
        libc::ioctl(
            folder.as_raw_fd(),
            FS_IOC_FSSETXATTR as _,
            &raw const attributes,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a project has neither files nor limits on the file system of `folder`.
///
/// # Errors
/// The kernel's.
pub fn is_unused(folder: BorrowedFd<'_>, project: u32) -> io::Result<bool> {
    let mut quota = DiskQuota::default();
    match call(folder, GET, project, &mut quota) {
        Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(true),
        Err(error) => Err(error),
        Ok(()) => Ok(quota.inodes == 0 && quota.blocks_hard == 0 && quota.blocks_soft == 0),
    }
}

/// Lets the files of a project take as many bytes, in whole blocks of 512; none is without limit.
///
/// # Errors
/// The kernel's.
pub fn set_limit(folder: BorrowedFd<'_>, project: u32, bytes: Option<u64>) -> io::Result<()> {
    let blocks = bytes.map_or(0, |bytes| bytes.div_ceil(BLOCK));
    let mut quota = DiskQuota {
        version: 1,
        flags: OF_PROJECT,
        fieldmask: BLOCK_LIMITS,
        id: project,
        blocks_hard: blocks,
        blocks_soft: blocks,
        ..DiskQuota::default()
    };
    call(folder, SET_LIMIT, project, &mut quota)
}

fn attributes(folder: BorrowedFd<'_>) -> io::Result<Attributes> {
    let mut attributes = Attributes::default();
    // SAFETY: the kernel fills the struct, which is whole and lives through the call.
    let done = unsafe {
        libc::ioctl(
            folder.as_raw_fd(),
            FS_IOC_FSGETXATTR as _,
            &raw mut attributes,
        )
    };
    match done {
        0 => Ok(attributes),
        _ => Err(io::Error::last_os_error()),
    }
}

/// One of the commands above with its own struct.
fn call<T>(folder: BorrowedFd<'_>, command: u32, id: u32, data: &mut T) -> io::Result<()> {
    // SAFETY: each command reads or fills the struct that its caller gives, which lives through the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            folder.as_raw_fd(),
            command,
            id,
            std::ptr::from_mut(data),
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
