//! A procfs of our own, attached nowhere.
//!
//! What the container has at `/proc` may be anything: a volume, a link, a fake. Settings that matter are written
//! through this one, without following any link and without leaving it (CVE-2019-19921, CVE-2025-52881).

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstat, fstatfs, openat2};
use wharf_sys::mount;
use wharf_sys::root::Root;

use crate::Failure;

/// `linux/magic.h`, `linux/proc_ns.h`
const PROC_ROOT_INO: u64 = 1;

/// A private procfs of the calling process's pid namespace. Who may trace this process gets at it as long as it is open, past
/// all that is covered in the container's own: it is dropped as soon as what is to be written is written.
pub(crate) struct Proc(OwnedFd);

/// Of processes nothing but what the reader may see anyway, and of the kernel nothing (Linux 5.8).
const PROCESSES: [(&str, Option<&str>); 2] =
    [("subset", Some("pid")), ("hidepid", Some("ptraceable"))];

impl Proc {
    /// One without the kernel's settings.
    pub(crate) fn of_processes() -> Result<Self, Failure> {
        match mount::filesystem("proc", &PROCESSES, 0) {
            Ok(mounted) => Ok(Self(mounted)),
            Err(_) => Self::of_container().or_else(|_| Self::whole()),
        }
    }

    /// One with the kernel's settings, writable.
    pub(crate) fn whole() -> Result<Self, Failure> {
        match mount::filesystem("proc", &[], 0) {
            Ok(mounted) => Ok(Self(mounted)),
            // In a user namespace only who sees a whole procfs already may have another.
            Err(_) => Self::of_container(),
        }
    }

    /// For who keeps it.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The container's own, if it is one: writes do not cross into what covers parts of it.
    fn of_container() -> Result<Self, Failure> {
        let root = Root::open(Path::new("/"));
        let found = root.and_then(|root| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            root.open_at(Path::new("/proc"), flags, Mode::empty())
        });
        let proc = found.map_err(Failure::at("open a procfs"))?;
        let is_proc = fstatfs(&proc).is_ok_and(|stat| stat.f_type == PROC_SUPER_MAGIC)
            && fstat(&proc).is_ok_and(|stat| stat.st_ino == PROC_ROOT_INO);
        match is_proc {
            true => Ok(Self(proc)),
            false => Err(Failure::other("open a procfs: /proc is none")),
        }
    }

    /// Writes `value` to `path` below it, in one write as such files want it.
    pub(crate) fn write(&self, path: &str, value: &str) -> io::Result<()> {
        let strict = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat2(&self.0, path, flags, Mode::empty(), strict)?;
        File::from(file).write_all(value.as_bytes())
    }

    /// Writes to a file of the calling process's own.
    pub(crate) fn write_own(&self, file: &str, value: &str) -> io::Result<()> {
        let pid = rustix::process::getpid().as_raw_nonzero();
        self.write(&format!("{pid}/{file}"), value)
    }

    /// Opens a descriptor of our own once more, with other flags.
    pub(crate) fn reopen(&self, descriptor: BorrowedFd<'_>, flags: OFlags) -> io::Result<OwnedFd> {
        let pid = rustix::process::getpid().as_raw_nonzero();
        let path = format!("{pid}/fd/{}", descriptor.as_raw_fd());
        Ok(rustix::fs::openat(
            &self.0,
            path,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
        )?)
    }
}
