//! The standard streams of the process: a terminal of the container's own devpts, or what it was given.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fchown, fstat, fstatfs, makedev};
use rustix::process::ioctl_tiocsctty;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::{Winsize, tcsetwinsize};
use wharf_sys::mount;
use wharf_sys::root::Root;

use crate::{Failure, ProcessIo};

/// `linux/magic.h`
const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;

/// Opens a terminal, makes it the controlling one and the standard streams, and gives its other side. With
/// `console` it is bound to `/dev/console` too, by descriptor (CVE-2025-52565).
pub(crate) fn open(size: Option<(u16, u16)>, console: bool) -> Result<OwnedFd, Failure> {
    let root = Root::open(Path::new("/")).map_err(Failure::at("open /"))?;
    let master = master(&root).map_err(Failure::at("open a terminal"))?;
    let connected = || -> io::Result<OwnedFd> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        if let Some((rows, columns)) = size {
            resize(&master, rows, columns)?;
        }
        ioctl_tiocsctty(&slave)?;
        dup2_stdin(&slave)?;
        dup2_stdout(&slave)?;
        dup2_stderr(&slave)?;
        Ok(slave)
    };
    let slave = connected().map_err(Failure::at("connect the terminal"))?;
    if console {
        bind_console(&root, &slave).map_err(Failure::at("bind /dev/console"))?;
    }
    Ok(master)
}

fn master(root: &Root) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let devpts = root.open_at(Path::new("/dev/pts"), flags, Mode::empty())?;
    if fstatfs(&devpts)?.f_type as i64 != DEVPTS_SUPER_MAGIC {
        return Err(io::Error::other("/dev/pts is no devpts"));
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let master = rustix::fs::openat(&devpts, "ptmx", flags, Mode::empty())?;
    let stat = fstat(&master)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::CharacterDevice || stat.st_rdev != makedev(5, 2) {
        return Err(io::Error::other("/dev/pts/ptmx is no terminal multiplexer"));
    }
    unlockpt(&master)?;
    Ok(master)
}

fn bind_console(root: &Root, slave: &OwnedFd) -> io::Result<()> {
    let dev = root.mkdir_all(Path::new("/dev"), Mode::from_raw_mode(0o755))?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::openat(&dev, "console", flags, Mode::from_raw_mode(0o600)) {
        Ok(_) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let console = rustix::fs::openat(&dev, "console", flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&console)?.st_mode) == FileType::Symlink {
        return Err(io::Error::other("it is a symbolic link"));
    }
    mount::attach(mount::bind(slave, "", false)?, &console)
}

/// What can be connected before the process is among those of a container: the streams that it is given. In the place of a
/// terminal, which only the process itself can open, it has nothing of the caller's until then.
pub(crate) fn connect_early(io: &ProcessIo) -> Result<(), Failure> {
    match io {
        ProcessIo::Streams(streams) => connect_streams(streams),
        ProcessIo::Inherit => Ok(()),
        ProcessIo::Terminal { .. } => {
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            let null = rustix::fs::open("/dev/null", flags, Mode::empty());
            let connected = null.and_then(|null| {
                dup2_stdin(&null)?;
                dup2_stdout(&null)?;
                dup2_stderr(&null)
            });
            connected.map_err(|error| Failure::at("connect the standard streams")(error.into()))
        }
    }
}

/// Makes three descriptors the standard streams.
pub(crate) fn connect_streams([stdin, stdout, stderr]: &[OwnedFd; 3]) -> Result<(), Failure> {
    dup2_stdin(stdin)
        .and_then(|()| dup2_stdout(stdout))
        .and_then(|()| dup2_stderr(stderr))
        .map_err(|error| Failure::at("connect the standard streams")(error.into()))
}

/// Gives the streams to the root of the container's user namespace, who can give them on: others have no id there (as
/// containerd's shim makes its pipes). Those of the caller as well: runc puts pipes of its own between, crun does the same.
pub(crate) fn give_to_root(io: &ProcessIo, (uid, gid): (u32, u32)) {
    let streams = match io {
        ProcessIo::Terminal { .. } => return,
        ProcessIo::Streams(streams) => streams.each_ref().map(|stream| stream.as_fd()),
        ProcessIo::Inherit => [
            rustix::stdio::stdin(),
            rustix::stdio::stdout(),
            rustix::stdio::stderr(),
        ],
    };
    for stream in streams {
        if fstat(stream).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo) {
            let (uid, gid) = (
                rustix::fs::Uid::from_raw(uid),
                rustix::fs::Gid::from_raw(gid),
            );
            // It works nevertheless, only not by the name /dev/stdout.
            let _ = fchown(stream, Some(uid), Some(gid));
        }
    }
}

/// Gives the standard streams to the user who will have them, so that `/dev/stdout` can be opened again
/// (runc's `fixStdioPermissions`). The null device is everybody's and stays.
pub(crate) fn give_to(uid: u32) -> Result<(), Failure> {
    let streams = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    for stream in streams {
        let Ok(stat) = fstat(stream) else { continue };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let null = kind == FileType::CharacterDevice && stat.st_rdev == makedev(1, 3);
        let regular = matches!(kind, FileType::RegularFile | FileType::Directory);
        if stat.st_uid == uid || null || regular {
            continue;
        }
        // A file system that has no owners, or a read-only one: the stream works nevertheless.
        let _ = fchown(stream, Some(rustix::fs::Uid::from_raw(uid)), None);
    }
    Ok(())
}

/// Sets a terminal's size in characters.
///
/// # Errors
/// `ENOTTY` if it is none.
pub fn resize(terminal: impl std::os::fd::AsFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(terminal, size)?)
}
