//! Where a container's root is attached while it is built, and how it becomes the process's root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::process::{chdir, fchdir, pivot_root};
use wharf_sys::mount::{self, Change, Propagation};
use wharf_sys::root::Root;

use crate::Failure;

/// Where the root is attached.
pub(crate) enum Place {
    /// Over the host's, where it stays.
    Top,
    /// At its own folder, as hooks look for it there: they are told of a bundle, whose `config.json` names the root, and what they
    /// do below that path is meant for the container (OCI, `config.md`: after the mounts, before `pivot_root`).
    Folder,
}

/// pivot_root wants its new root attached somewhere; in this namespace nobody else sees where. `folder` is where hooks look for it.
/// `shared`: the host's mounts are shared here, not slaves.
pub(crate) fn attach(
    detached: &OwnedFd,
    folder: Option<&Path>,
    shared: bool,
) -> Result<Place, Failure> {
    // Its own mounts must not be part of the host's peer groups.
    make_private(detached).map_err(Failure::at("make the root private"))?;
    let folder = folder.filter(|folder| *folder != Path::new("/"));
    // The root of a user namespace may not get there: then no hook finds it either.
    if let Some(place) = folder.and_then(|folder| open(folder).ok()) {
        // From a slave nothing goes out, and what is bound of it is to get the host's later mounts still.
        if let Some(folder) = folder.filter(|_| shared) {
            let cut = make_parent_private(folder);
            cut.map_err(Failure::at("cut the root's folder off from the host"))?;
        }
        mount::attach(detached, &place).map_err(Failure::at("attach the root"))?;
        return Ok(Place::Folder);
    }
    attach_to_top(detached)?;
    Ok(Place::Top)
}

fn attach_to_top(root: impl AsFd) -> Result<(), Failure> {
    let top = open(Path::new("/")).map_err(Failure::at("open /"))?;
    mount::attach(root, &top).map_err(Failure::at("attach the root"))
}

/// Hooks begin in the root's folder, as with runc.
pub(crate) fn show(place: &Place, root: &Root) -> Result<(), Failure> {
    match place {
        Place::Top => Ok(()),
        Place::Folder => {
            fchdir(root.as_fd()).map_err(|error| Failure::at("enter the root")(error.into()))
        }
    }
}

/// The root goes where one lies that no hook has seen: over the host's, so that without pivot_root nobody looks behind it.
pub(crate) fn hide(place: &Place, root: &Root) -> Result<(), Failure> {
    match place {
        Place::Top => Ok(()),
        Place::Folder => attach_to_top(root),
    }
}

/// Makes `root` this process's root. `shared`: what is done in the host's tree would be done outside too.
pub(crate) fn enter(root: Root, no_pivot: bool, shared: bool) -> Result<(), Failure> {
    let entered = || -> rustix::io::Result<()> {
        if no_pivot {
            // The container's root lies on the host's already: whoever looks from here sees nothing else.
            fchdir(root.as_fd())?;
            rustix::process::chroot(".")?;
            return chdir("/");
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let old = shared.then(|| rustix::fs::open("/", flags, Mode::empty()));
        let old = old.transpose()?;
        fchdir(root.as_fd())?;
        // The old root goes on top of the new one, and off it again: nothing has to be made for it.
        pivot_root(".", ".")?;
        if let Some(old) = old {
            // What is unmounted here must stay mounted on the host.
            fchdir(old)?;
            mount_change(
                ".",
                MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
            )?;
        }
        unmount(".", UnmountFlags::DETACH)?;
        chdir("/")
    };
    entered().map_err(|error| Failure::at("pivot_root")(error.into()))
}

fn open(folder: &Path) -> std::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, folder, flags, Mode::empty())?)
}

/// What is attached in a mount that is shared is attached outside too, and cannot be moved: the mount that `folder` is in is made
/// private here. Which one it is the kernel tells, as only a mount's own top can be changed.
fn make_parent_private(folder: &Path) -> std::io::Result<()> {
    let real = folder.canonicalize()?;
    for path in real.ancestors() {
        let opened = open(path)?;
        match make_private(&opened) {
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {}
            other => return other,
        }
    }
    Ok(())
}

fn make_private(mount: &OwnedFd) -> std::io::Result<()> {
    let change = Change {
        propagation: Some(Propagation::Private),
        ..Change::default()
    };
    mount::change(mount, change)
}
