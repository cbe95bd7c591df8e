//! The root filesystem as a detached mount.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use wharf_sys::mount;

use crate::Failure;

/// Where a container's root comes from.
#[derive(Debug)]
pub enum Rootfs {
    /// An overlay of folders.
    Overlay {
        /// Lower folders, topmost first.
        lowers: Vec<PathBuf>,
        /// The writable folder.
        upper: PathBuf,
        /// Overlay's scratch folder.
        work: PathBuf,
    },
    /// A folder as it is.
    Folder(PathBuf),
}

impl Rootfs {
    /// Mounts it, attached to nothing.
    pub(crate) fn mount(&self) -> Result<OwnedFd, Failure> {
        match self {
            Self::Overlay {
                lowers,
                upper,
                work,
            } => mount_overlay(lowers, upper, work),
            Self::Folder(folder) => {
                let path = text(folder)?;
                let bound = mount::bind_path(path, true);
                bound.map_err(Failure::at(format!("bind the root filesystem {path}")))
            }
        }
    }
}

impl Rootfs {
    /// Mounts it at the folder `target`, for a runtime that wants a path.
    ///
    /// # Errors
    /// If it cannot be mounted.
    pub fn mount_at(&self, target: &Path) -> Result<(), Failure> {
        let mounted = self.mount()?;
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        let opened = rustix::fs::open(target, flags, rustix::fs::Mode::empty());
        let attached = opened
            .map_err(std::io::Error::from)
            .and_then(|target| mount::attach(&mounted, &target));
        attached.map_err(Failure::at(format!("mount at {}", target.display())))
    }

    /// Mounts an overlay whose layers belong to the user namespace `user` (Linux 5.19), whose root has the ids `root`.
    pub(crate) fn mount_mapped(
        &self,
        user: &OwnedFd,
        root: (u32, u32),
    ) -> Result<OwnedFd, Failure> {
        let Self::Overlay {
            lowers,
            upper,
            work,
        } = self
        else {
            return self.mount();
        };
        mount::mapped_overlay(lowers, Some((upper, work)), user.as_fd(), root)
            .map_err(Failure::at("mount the overlay"))
    }
}

fn mount_overlay(lowers: &[PathBuf], upper: &Path, work: &Path) -> Result<OwnedFd, Failure> {
    let lowers: Vec<&Path> = lowers.iter().map(PathBuf::as_path).collect();
    mount::layers_without_threads(&lowers, Some((upper, work)), 0)
        .map_err(Failure::at("mount the overlay"))
}

/// Without a mount namespace the root is only changed.
pub(crate) fn chroot(rootfs: &Rootfs) -> Result<(), Failure> {
    let Rootfs::Folder(folder) = rootfs else {
        return Err(Failure::other("an overlay needs a mount namespace"));
    };
    let changed =
        rustix::process::chroot(folder.as_path()).and_then(|()| rustix::process::chdir("/"));
    changed.map_err(|error| Failure::at("chroot")(error.into()))
}

fn text(path: &Path) -> Result<&str, Failure> {
    path.to_str()
        .ok_or_else(|| Failure::other(format!("{} is not UTF-8", path.display())))
}
