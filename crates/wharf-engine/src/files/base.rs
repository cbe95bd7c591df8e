//! A container's root as a detached mount.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use wharf_snapshots::Rootfs;
use wharf_sys::mount;
use wharf_sys::process::unshare;

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
        if let Some(task) = task.filter(|task| task.exited().is_none()) {
            let pid = task.pid();
            let namespace = File::open(format!("/proc/{pid}/ns/mnt"));
            // Asked after it was opened: the number is the container's still, so what was opened is, too.
            let alive = task.pids().await.is_ok_and(|pids| pids.contains(&pid));
            if let Some(namespace) = namespace.ok().filter(|_| alive) {
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
        match self {
            Self::Running(namespace) => cloned(namespace),
            Self::Stopped(rootfs, None) => overlay(rootfs),
            Self::Stopped(rootfs, Some(user)) => {
                let upper = Some((rootfs.upper.as_path(), rootfs.work.as_path()));
                mount::mapped_overlay(&rootfs.lowers, upper, user.namespace.as_fd(), user.root)
                    .map_err(failed("mount the overlay"))
            }
        }
    }
}

/// A clone of the mount at the top of a namespace. Done by a thread that ends at once, and does nothing else there.
fn cloned(namespace: &OwnedFd) -> Result<OwnedFd, EngineError> {
    let enter = || -> std::io::Result<OwnedFd> {
        unshare(CLONE_FS)?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open("/", flags, Mode::empty())?;
        mount::bind(top, "", false)
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

/// The layers of a container that does not run, as the shim would mount them.
pub(crate) fn overlay(rootfs: &Rootfs) -> Result<OwnedFd, EngineError> {
    let lowers: Vec<&Path> = rootfs.lowers.iter().map(PathBuf::as_path).collect();
    let upper = Some((rootfs.upper.as_path(), rootfs.work.as_path()));
    mount::layers(&lowers, upper, 0).map_err(failed("mount the overlay"))
}
