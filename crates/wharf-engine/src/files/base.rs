//! A container's root as a detached mount.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, StatxAttributes, StatxFlags, fstat, statx};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use wharf_snapshots::Rootfs;
use wharf_sys::mount;
use wharf_sys::process::unshare;
use wharf_sys::root::Root;
use wharf_tasks::TaskError;

use super::failed;
use crate::EngineError;
use crate::containers::{Entry, Shared};
use crate::userns::MountUser;

/// `CLONE_FS` (`clone(2)`): a thread that enters a mount namespace must not share its root with others.
const CLONE_FS: u64 = 0x200;

/// Where a container's root is found.
pub(crate) enum Base {
    /// In its mount namespace, which stays while this is held.
    Running(OwnedFd),
    /// In its layers, which nobody has mounted; their owners mapped by a user namespace if it has one of its own.
    Stopped(Rootfs, Option<MountUser>),
}

impl Base {
    /// The root of `entry`. The caller holds `entry.files`, so that it is not started meanwhile.
    pub(crate) async fn of(shared: &Shared, entry: &Entry) -> Result<Self, EngineError> {
        let task = entry.io().task.clone();
        let pid = match &task {
            Some(task) => task.exited().is_none().then(|| task.pid()),
            None => Some(entry.now().state.pid).filter(|pid| *pid > 0),
        };
        if let Some(pid) = pid {
            let namespace = File::open(format!("/proc/{pid}/ns/mnt"));
            // Asked after it was opened: the number is the container's still, so what was opened is, too.
            let pids = match &task {
                Some(task) => task.pids().await,
                None => Err(TaskError::Silent),
            };
            let pids = match pids {
                Err(TaskError::Silent) => shared.tasks.processes(&entry.id),
                pids => pids.unwrap_or_default(),
            };
            if let Some(namespace) = namespace.ok().filter(|_| pids.contains(&pid)) {
                return Ok(Self::Running(namespace.into()));
            }
        }
        let rootfs = shared.snapshots.rootfs(&entry.id);
        let rootfs = rootfs.map_err(|error| EngineError::failed(&error))?;
        let user = shared.mount_user(&entry.now().host)?;
        Ok(Self::Stopped(rootfs, user))
    }

    /// The root alone, without what is mounted below it, attached nowhere.
    pub(crate) fn tree(&self) -> Result<OwnedFd, EngineError> {
        self.tree_and(&[]).map(|(tree, _)| tree)
    }

    /// As [`Base::tree`], and what a container that runs has at these places, in their order.
    pub(super) fn tree_and(&self, places: &[&str]) -> Result<(OwnedFd, Places), EngineError> {
        match self {
            Self::Running(namespace) => cloned(namespace, places),
            Self::Stopped(rootfs, user) => Ok((stopped(rootfs, user.as_ref())?, Vec::new())),
        }
    }
}

fn stopped(rootfs: &Rootfs, user: Option<&MountUser>) -> Result<OwnedFd, EngineError> {
    match user {
        None => overlay(rootfs),
        Some(user) => {
            let upper = Some((rootfs.upper.as_path(), rootfs.work.as_path()));
            mount::mapped_overlay(&rootfs.lowers, upper, user.namespace.as_fd(), user.root)
                .map_err(failed("mount the overlay"))
        }
    }
}

/// What a container has at places, as far as it can be found.
pub(super) type Places = Vec<Option<Mounted>>;

/// What a container has at a place.
pub(super) struct Mounted {
    pub(super) identity: Identity,
    /// A clone of it, without what is mounted below, attached nowhere.
    pub(super) tree: OwnedFd,
}

/// Device and number of a file: what it is called does not matter.
#[derive(PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl Identity {
    pub(super) fn of(file: impl AsFd) -> std::io::Result<Self> {
        let stat = fstat(file)?;
        Ok(Self(stat.st_dev, stat.st_ino))
    }
}

/// A clone of the mount at the top of a namespace, and of what is at `places` below it. Done by a thread that ends at once,
/// and does nothing else there.
fn cloned(namespace: &OwnedFd, places: &[&str]) -> Result<(OwnedFd, Places), EngineError> {
    let enter = || -> std::io::Result<(OwnedFd, Places)> {
        unshare(CLONE_FS)?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = Root::from_fd(rustix::fs::open("/", flags, Mode::empty())?);
        let mounted = |place: &&str| {
            let file = top.find(Path::new(place))?;
            if !is_mounted(&file)? {
                return Err(std::io::ErrorKind::NotFound.into());
            }
            let identity = Identity::of(&file)?;
            let tree = mount::bind(&file, "", false)?;
            Ok::<_, std::io::Error>(Mounted { identity, tree })
        };
        // What the container has mounted itself may be in front of it, and be whatever it likes.
        let mounted = places.iter().map(|place| mounted(place).ok()).collect();
        Ok((mount::bind(top.as_fd(), "", false)?, mounted))
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, enter);
        let ended = thread.map(|thread| thread.join());
        match ended {
            Ok(Ok(tree)) => tree.map_err(failed("enter the container's mount namespace")),
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => Err(failed("start a thread")(error)),
        }
    })
}

/// Whether it is the top of a mount.
fn is_mounted(file: impl AsFd) -> std::io::Result<bool> {
    let stat = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// The layers of a container that does not run, as the shim would mount them.
pub(crate) fn overlay(rootfs: &Rootfs) -> Result<OwnedFd, EngineError> {
    let lowers: Vec<&Path> = rootfs.lowers.iter().map(PathBuf::as_path).collect();
    let upper = Some((rootfs.upper.as_path(), rootfs.work.as_path()));
    mount::layers(&lowers, upper, 0).map_err(failed("mount the overlay"))
}
