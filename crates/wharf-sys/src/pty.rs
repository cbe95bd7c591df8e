//! Terminals by descriptor, in a devpts of the caller's choice.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::mount::{DEVPTS_MAGIC, is_on};

/// The two ends of a terminal.
#[derive(Debug)]
pub struct Pty {
    /// The end that stays with the supervisor.
    pub master: OwnedFd,
    /// The end that is the process's standard streams.
    pub slave: OwnedFd,
}

/// Opens a new terminal in the devpts whose root folder `devpts` is. Both ends are close-on-exec.
///
/// # Errors
/// `ENODEV` if `devpts` is no devpts or its `ptmx` no such device; else as open(2).
pub fn open(devpts: impl AsFd) -> Result<Pty> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let master = rustix::fs::openat(devpts, "ptmx", flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&master)?;
    let device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == rustix::fs::makedev(5, 2);
    if !device || !is_on(&master, DEVPTS_MAGIC)? {
        return Err(Errno::NODEV);
    }
    rustix::pty::unlockpt(&master)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    Ok(Pty { master, slave })
}

/// Sets the size of the terminal in characters.
///
/// # Errors
/// As tcsetwinsize(3).
pub fn resize(terminal: impl AsFd, rows: u16, columns: u16) -> Result<()> {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(terminal, size)
}
