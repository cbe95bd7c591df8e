//! The device nodes and links of `/dev`.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use oci_spec::runtime::{LinuxDeviceType, Spec};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fstat, makedev, mknodat, symlinkat,
    unlinkat,
};
use rustix::io::Errno;
use wharf_sys::mount;
use wharf_sys::root::Root;

use crate::Failure;

/// What every container has (OCI runtime-spec, config-linux, default devices).
const DEFAULT: &[(&str, u32, u32)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

const LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", KCORE),
    ("/dev/ptmx", "pts/ptmx"),
];

/// Makes all nodes and links, unless the host's own `/dev` is bound there.
pub(crate) fn make(root: &Root, spec: &Spec) -> Result<(), Failure> {
    let dev = spec
        .mounts()
        .iter()
        .flatten()
        .find(|mount| mount.destination() == Path::new("/dev"));
    if dev.is_some_and(|mount| mount.typ().as_deref() == Some("bind") || has_bind(mount)) {
        return Ok(());
    }
    let listed = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.devices().as_deref())
        .unwrap_or_default();
    for (path, major, minor) in DEFAULT {
        let path = Path::new(path);
        if listed.iter().any(|device| device.path() == path) {
            // As runc: the spec's own stands there instead.
            continue;
        }
        let node = Node {
            kind: FileType::CharacterDevice,
            major: *major,
            minor: *minor,
        };
        node.make(root, path, 0o666, &Origin::Default)?;
    }
    for (number, device) in listed.iter().enumerate() {
        let path = device.path();
        if listed[..number].iter().any(|before| before.path() == path) {
            // As runc: of those that are listed twice the first stays.
            continue;
        }
        let kind = match device.typ() {
            LinuxDeviceType::B => FileType::BlockDevice,
            LinuxDeviceType::P => FileType::Fifo,
            LinuxDeviceType::C | LinuxDeviceType::U | LinuxDeviceType::A => {
                FileType::CharacterDevice
            }
        };
        let node = Node {
            kind,
            major: device.major() as u32,
            minor: device.minor() as u32,
        };
        let origin = Origin::Listed {
            owner: (device.uid().unwrap_or(0), device.gid().unwrap_or(0)),
            covered: is_covered(spec, path),
        };
        node.make(root, path, device.file_mode().unwrap_or(0o666), &origin)?;
    }
    LINKS
        .iter()
        // A kernel may be without; what would lead nowhere is not made, as in runc.
        .filter(|(_, target)| *target != KCORE || Path::new(KCORE).exists())
        .try_for_each(|(path, target)| link(root, Path::new(path), target))
}

const KCORE: &str = "/proc/kcore";

fn has_bind(mount: &oci_spec::runtime::Mount) -> bool {
    let options = mount.options().as_deref().unwrap_or_default();
    options
        .iter()
        .any(|option| option == "bind" || option == "rbind")
}

/// Whether a mount of the spec may have brought a file of that name along.
fn is_covered(spec: &Spec, path: &Path) -> bool {
    let brings_files = |mount: &&oci_spec::runtime::Mount| mount.typ().as_deref() != Some("tmpfs");
    let mut mounts = spec.mounts().iter().flatten().filter(brings_files);
    mounts.any(|mount| path.starts_with(mount.destination()))
}

/// Who asks for a device.
enum Origin {
    /// Nobody: every container has it.
    Default,
    /// The spec.
    Listed {
        /// User and group.
        owner: (u32, u32),
        /// Another file is there because the spec's mounts say so.
        covered: bool,
    },
}

struct Node {
    kind: FileType,
    major: u32,
    minor: u32,
}

impl Node {
    fn make(&self, root: &Root, path: &Path, mode: u32, origin: &Origin) -> Result<(), Failure> {
        let failed = |errno: Errno| {
            Failure::at(format!("error creating device node {path:?}"))(errno.into())
        };
        let (folder, name) = parent(root, path)?;
        let mode = Mode::from_raw_mode(mode & 0o7777);
        match mknodat(
            &folder,
            name,
            self.kind,
            mode,
            makedev(self.major, self.minor),
        ) {
            Ok(()) => {}
            Err(Errno::EXIST) => return self.accept(root, path, origin),
            // In a user namespace nobody makes nodes: the host's is bound, if it is the same.
            Err(Errno::PERM) if self.kind != FileType::Fifo => {
                return self
                    .bind(root, path)
                    .map_err(|error| failed_to_bind(path, error));
            }
            Err(errno) => return Err(failed(errno)),
        }
        let (uid, gid) = match origin {
            Origin::Default | Origin::Listed { owner: (0, 0), .. } => return Ok(()),
            Origin::Listed {
                owner: (uid, gid), ..
            } => (Uid::from_raw(*uid), Gid::from_raw(*gid)),
        };
        chownat(
            &folder,
            name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(failed)
    }
}

impl Node {
    /// The image's own stays, and what the user has mounted there (as runc: `-v /dev/null:/dev/kmsg` beside
    /// `--privileged`); but if the device is listed, and the file another, that is an error (OCI, `config-linux.md`, devices).
    fn accept(&self, root: &Root, path: &Path, origin: &Origin) -> Result<(), Failure> {
        let may_be_other = !matches!(origin, Origin::Listed { covered: false, .. });
        let found = root.find(path).and_then(|found| Ok(fstat(found)?));
        let same = found.is_ok_and(|stat| self.is(&stat));
        match same || may_be_other {
            true => Ok(()),
            false => Err(Failure::other(format!(
                "error creating device node {path:?}: a file that is not this device is there"
            ))),
        }
    }

    fn is(&self, stat: &Stat) -> bool {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let numbers = stat.st_rdev == makedev(self.major, self.minor);
        kind == self.kind && (numbers || kind == FileType::Fifo)
    }

    fn bind(&self, root: &Root, path: &Path) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let host = rustix::fs::open(path, flags, Mode::empty())?;
        if !self.is(&fstat(&host)?) {
            return Err(io::Error::other("the host has another device there"));
        }
        let target = root.touch(path, Mode::from_raw_mode(0o644))?;
        mount::attach(mount::bind(&host, "", false)?, target)
    }
}

fn failed_to_bind(path: &Path, error: io::Error) -> Failure {
    Failure::at(format!(
        "error creating device node {path:?}: bind the host's"
    ))(error)
}

fn link(root: &Root, path: &Path, target: &str) -> Result<(), Failure> {
    let (folder, name) = parent(root, path)?;
    let failed = |errno: Errno| Failure::at(format!("make the link {path:?}"))(errno.into());
    match symlinkat(target, &folder, name) {
        Ok(()) => return Ok(()),
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed(errno)),
    }
    if name != "ptmx".as_bytes() {
        return Ok(());
    }
    // An image's own `ptmx` would be that of another devpts.
    unlinkat(&folder, name, AtFlags::empty()).map_err(failed)?;
    symlinkat(target, &folder, name).map_err(failed)
}

/// The folder that `path` is in, made if it is missing, and the last name of it.
fn parent<'a>(root: &Root, path: &'a Path) -> Result<(OwnedFd, &'a [u8]), Failure> {
    let name = path
        .file_name()
        .ok_or_else(|| Failure::other(format!("{path:?} is no device")))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let folder = root.mkdir_all(folder, Mode::from_raw_mode(0o755));
    Ok((folder.map_err(Failure::at("make /dev"))?, name.as_bytes()))
}
