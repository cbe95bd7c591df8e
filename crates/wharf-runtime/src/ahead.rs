//! Mounts that the caller makes before there is a child, as the child could not: it is in a user namespace, and
//! may not reach every folder of the host or map owners there.

use std::os::fd::OwnedFd;

use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};
use wharf_sys::mount::{self, Change, Propagation};

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
        if !user && !mounts.iter().any(|mount| is_mapped(mount, &parsed(mount))) {
            return Ok(Self::default());
        }
        let mut ahead = Self::default();
        if user {
            ahead.rootfs = Some(root(spec, rootfs)?);
        }
        for mount in mounts {
            let asked = parsed(mount);
            let is_bind = asked.bind || mount.typ().as_deref() == Some("bind");
            let wanted = is_bind && !asked.remount && (user || is_mapped(mount, &asked));
            let made = wanted.then(|| bind(spec, mount, &asked)).transpose();
            let failed = |failure: Failure| {
                RuntimeError::Child(Failure::other(format!(
                    "error mounting {:?} to rootfs at {:?}: {failure}",
                    source_of(mount),
                    mount.destination()
                )))
            };
            ahead.mounts.push(made.map_err(failed)?);
        }
        Ok(ahead)
    }

    /// The one made for the spec's mount of that number.
    pub(crate) fn mount(&self, number: usize) -> Option<&OwnedFd> {
        self.mounts.get(number)?.as_ref()
    }
}

fn is_mapped(mount: &Mount, asked: &Asked) -> bool {
    asked.idmap.is_some() || Maps::of(mount.uid_mappings(), mount.gid_mappings()).is_some()
}

fn root(spec: &Spec, rootfs: &Rootfs) -> Result<OwnedFd, RuntimeError> {
    let linux = spec.linux().as_ref();
    let maps = linux.and_then(|linux| Maps::of(linux.uid_mappings(), linux.gid_mappings()));
    let mounted = match (rootfs, maps) {
        // Layers belong to the host's root, whoever the container's root is.
        (Rootfs::Overlay { .. }, Some(maps)) => rootfs.mount_mapped(&idmap::user_namespace(maps)?),
        _ => rootfs.mount(),
    };
    let mounted = mounted.map_err(RuntimeError::Child)?;
    cut_off(&mounted).map_err(RuntimeError::Child)?;
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

fn bind(spec: &Spec, mount: &Mount, asked: &Asked) -> Result<OwnedFd, Failure> {
    let bound = crate::mounts::open_source(mount, asked)?;
    let shared = asked
        .propagation
        .iter()
        .any(|(one, _)| *one == Propagation::Shared);
    if !shared {
        cut_off(&bound)?;
    }
    if is_mapped(mount, asked) {
        let user = owner_map(spec, mount).map_err(|error| Failure::other(error.to_string()))?;
        let recursive = asked.idmap == Some(true);
        idmap::apply(&bound, &user, recursive)
            .map_err(Failure::at("map the owners of the mount"))?;
    }
    Ok(bound)
}

/// The mount's own mappings, else those of the container.
fn owner_map(spec: &Spec, mount: &Mount) -> Result<OwnedFd, RuntimeError> {
    if let Some(maps) = Maps::of(mount.uid_mappings(), mount.gid_mappings()) {
        return idmap::user_namespace(maps);
    }
    let linux = spec.linux().as_ref();
    let mut listed = linux
        .and_then(|linux| linux.namespaces().as_ref())
        .into_iter()
        .flatten();
    let user = listed.find(|one| one.typ() == LinuxNamespaceType::User);
    if let Some(path) = user.and_then(|user| user.path().as_ref()) {
        let file = std::fs::File::open(path).map_err(RuntimeError::system("open a namespace"))?;
        return Ok(file.into());
    }
    let maps = linux.and_then(|linux| Maps::of(linux.uid_mappings(), linux.gid_mappings()));
    let maps = maps.ok_or_else(|| {
        RuntimeError::Unsupported("idmap mounts without mappings need a user namespace".to_owned())
    })?;
    idmap::user_namespace(maps)
}
