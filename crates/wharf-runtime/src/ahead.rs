//! Mounts that the caller makes before there is a child, as the child could not: it is in a user namespace, and
//! may not reach every folder of the host or map owners there.

use std::cell::OnceCell;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{Mount, Spec};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use wharf_sys::mount::{self, Change, Propagation};
use wharf_sys::root::Root;

use crate::idmap::{self, Maps};
use crate::mounts::source_of;
use crate::namespaces::Namespaces;
use crate::options::Asked;
use crate::{Failure, Rootfs, RuntimeError};

/// Detached mounts.
#[derive(Default)]
pub(crate) struct Ahead {
    pub(crate) rootfs: Option<OwnedFd>,
    /// In the order of the spec's mounts; none of those that the child makes.
    mounts: Vec<Option<OwnedFd>>,
}

impl Ahead {
    /// Makes what the child could not.
    pub(crate) fn of(
        spec: &Spec,
        rootfs: &Rootfs,
        namespaces: &Namespaces,
    ) -> Result<Self, RuntimeError> {
        let mounts = spec.mounts().as_deref().unwrap_or_default();
        let user = namespaces.has_user();
        let parsed = |mount: &Mount| Asked::parse(mount.options().as_deref().unwrap_or_default());
        // Who is not root may mount nothing out here; what he may reach he reaches from inside.
        let user = user && rustix::process::geteuid().is_root();
        let early =
            |mount: &Mount, asked: &Asked| is_mapped(mount, asked) || asked.process.is_some();
        if !user && !mounts.iter().any(|mount| early(mount, &parsed(mount))) {
            return Ok(Self::default());
        }
        let owners = Owners::of(spec, namespaces);
        let mut ahead = Self::default();
        if user {
            ahead.rootfs = Some(root(&owners, rootfs)?);
        }
        for mount in mounts {
            let asked = parsed(mount);
            let kind = mount.typ().as_deref();
            let is_bind = asked.bind || kind == Some("bind");
            let made = match is_bind {
                _ if asked.remount => None,
                true if user || early(mount, &asked) => Some(bind(&owners, mount, &asked)),
                false if user && kind == Some("overlay") && asked.layers().is_some() => {
                    Some(layers(&owners, &asked))
                }
                _ => None,
            };
            let failed = |failure: Failure| {
                RuntimeError::Child(Failure::other(format!(
                    "error mounting {:?} to rootfs at {:?}: {failure}",
                    source_of(mount),
                    mount.destination()
                )))
            };
            ahead.mounts.push(made.transpose().map_err(failed)?);
        }
        Ok(ahead)
    }

    /// All of them.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let mounts = self.mounts.iter().flatten();
        self.rootfs.iter().chain(mounts).map(|mount| mount.as_fd())
    }

    /// The one made for the spec's mount of that number.
    pub(crate) fn mount(&self, number: usize) -> Option<&OwnedFd> {
        self.mounts.get(number)?.as_ref()
    }
}

/// The container's user namespace, as far as it can be had before there is a process in it.
struct Owners<'a> {
    spec: &'a Spec,
    joined: Option<&'a OwnedFd>,
    /// One with the mappings of that to come, made when it is first needed.
    made: OnceCell<OwnedFd>,
}

impl<'a> Owners<'a> {
    fn of(spec: &'a Spec, namespaces: &'a Namespaces) -> Self {
        Self {
            spec,
            joined: namespaces.user(),
            made: OnceCell::new(),
        }
    }

    /// `None` if the spec has no mappings.
    fn container(&self) -> Result<Option<&OwnedFd>, RuntimeError> {
        if let Some(known) = self.joined.or_else(|| self.made.get()) {
            return Ok(Some(known));
        }
        let linux = self.spec.linux().as_ref();
        let maps = linux.and_then(|linux| Maps::of(linux.uid_mappings(), linux.gid_mappings()));
        let Some(maps) = maps else { return Ok(None) };
        let made = idmap::user_namespace(maps)?;
        Ok(Some(self.made.get_or_init(|| made)))
    }

    /// The container's root, as the host counts; the host's own if the spec has no mapping for it.
    fn root(&self) -> (u32, u32) {
        let linux = self.spec.linux().as_ref();
        let maps = linux.and_then(|linux| Maps::of(linux.uid_mappings(), linux.gid_mappings()));
        maps.map_or((0, 0), Maps::root)
    }
}

/// A clone of the mount that the process `pid` has at `path`, attached nowhere. A mount of another namespace can only be cloned
/// from inside (`open_tree(2)`), so the caller, who has a single thread, goes there and back. What the other has at `path` is
/// found beneath its own root: no link of its making leads out.
///
/// # Errors
/// If it has ended, or has nothing there.
pub fn of_process(pid: u32, path: &Path) -> Result<OwnedFd, Failure> {
    let failed = || Failure::at(format!("open {} of process {pid}", path.display()));
    let open = |of: &str| std::fs::File::open(format!("/proc/{of}/ns/mnt"));
    let (own, other) = (
        open("self").map_err(failed())?,
        open(&pid.to_string()).map_err(failed())?,
    );
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(".", flags, Mode::empty());
    let folder = folder.map_err(|error| failed()(error.into()))?;
    let enter = |namespace: &std::fs::File| {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))
    };
    enter(&other).map_err(|error| failed()(error.into()))?;
    let made = Root::open(Path::new("/"))
        .and_then(|root| root.find(path))
        .and_then(|found| mount::bind(&found, "", false));
    if enter(&own)
        .and_then(|()| rustix::process::fchdir(&folder))
        .is_err()
    {
        // Whatever we did from here on we would do to somebody else.
        std::process::abort();
    }
    made.map_err(failed())
}

fn is_mapped(mount: &Mount, asked: &Asked) -> bool {
    asked.idmap.is_some() || Maps::of(mount.uid_mappings(), mount.gid_mappings()).is_some()
}

fn root(owners: &Owners<'_>, rootfs: &Rootfs) -> Result<OwnedFd, RuntimeError> {
    let mounted = match rootfs {
        // Layers belong to the host's root, whoever the container's root is.
        Rootfs::Overlay { .. } => match owners.container()? {
            Some(user) => rootfs.mount_mapped(user, owners.root()),
            None => rootfs.mount(),
        },
        Rootfs::Folder(_) => rootfs.mount(),
    };
    let mounted = mounted.map_err(RuntimeError::Child)?;
    cut_off(&mounted).map_err(RuntimeError::Child)?;
    Ok(mounted)
}

/// An overlay among the mounts, whose layers are the host's as those of the root are.
fn layers(owners: &Owners<'_>, asked: &Asked) -> Result<OwnedFd, Failure> {
    let (lowers, upper) = asked
        .layers()
        .ok_or_else(|| Failure::other("the overlay has no layers"))?;
    let user = owners
        .container()
        .map_err(|error| Failure::other(error.to_string()))?;
    let user = user.ok_or_else(|| Failure::other("the user namespace has no mappings"))?;
    let upper = upper.as_ref().map(|(upper, work)| (&**upper, &**work));
    let mounted = mount::mapped_overlay(&lowers, upper, user.as_fd(), owners.root());
    let mounted = mounted.map_err(Failure::at("mount the overlay"))?;
    let change = Change {
        set: asked.set,
        ..Change::default()
    };
    mount::change(&mounted, change).map_err(Failure::at("set the mount's flags"))?;
    Ok(mounted)
}

/// What is mounted on the host appears there, and nothing the other way.
fn cut_off(mounted: &OwnedFd) -> Result<(), Failure> {
    let change = Change {
        propagation: Some(Propagation::Slave),
        recursive: true,
        ..Change::default()
    };
    mount::change(mounted, change).map_err(Failure::at("cut a mount off from the host"))
}

fn bind(owners: &Owners<'_>, mount: &Mount, asked: &Asked) -> Result<OwnedFd, Failure> {
    let bound = match asked.process {
        Some(pid) => of_process(pid, &source_of(mount))?,
        None => crate::mounts::open_source(mount, asked)?,
    };
    let shared = asked
        .propagation
        .iter()
        .any(|(one, _)| *one == Propagation::Shared);
    if !shared {
        cut_off(&bound)?;
    }
    if is_mapped(mount, asked) {
        let recursive = asked.idmap == Some(true);
        let other = |error: RuntimeError| Failure::other(error.to_string());
        let map = |user: &OwnedFd| {
            mount::map_owners(&bound, user.as_fd(), recursive)
                .map_err(Failure::at("map the owners of the mount"))
        };
        // The mount's own mappings, else those of the container.
        match Maps::of(mount.uid_mappings(), mount.gid_mappings()) {
            Some(maps) => map(&idmap::user_namespace(maps).map_err(other)?)?,
            None => match owners.container().map_err(other)? {
                Some(user) => map(user)?,
                None => {
                    let text = "idmap mounts without mappings need a user namespace";
                    return Err(Failure::other(text));
                }
            },
        }
    }
    Ok(bound)
}
