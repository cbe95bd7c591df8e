//! A container's files as the host's side sees them (`cp`, `export`): its root, its volumes and binds mounted over it,
//! in a mount namespace that only one thread of ours is in, for as long as one request lasts.
//!
//! No path of the container's is resolved as a string: the root is a descriptor, and everything below it goes through
//! `openat2` inside it, so that links that a container swaps under our hands end inside (CVE-2018-15664). The thread
//! stays in this process's own program and root, and loads nothing (CVE-2019-14271). As with dockerd, what a running
//! container has mounted itself, its `/proc` and its tmpfs are not seen; devices cannot be opened.

mod base;
mod owner;
mod path;
mod stream;
mod turn;

pub(crate) use base::{Base, overlay};
use base::{Identity, Mounted};
pub use owner::owner;
pub use path::{Resolved, resolve};
pub(crate) use path::{go_path, split};
pub use stream::FileStream;
pub(crate) use stream::{channel, stream};
pub(crate) use turn::{Evicted, Turns};

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use tokio::sync::oneshot;
use wharf_layer::IdMaps;
use wharf_snapshots::Rootfs;
use wharf_sys::mount::{self, Change, Propagation, attr};
use wharf_sys::process::{namespace, unshare};
use wharf_sys::root::Root;
use wharf_sys::words::chain;

use crate::containers::Shared;
use crate::userns::MountUser;
use crate::volumes::Hold;
use crate::{EngineError, MountPoint, Remap, View, copy_up, userns};

/// Something that is mounted over the root.
#[derive(Clone, Debug)]
struct Piece {
    source: PathBuf,
    /// Of an image, instead of a source.
    layers: Option<Rootfs>,
    /// Below the source.
    subpath: String,
    destination: String,
    read_only: bool,
    recursive: bool,
    /// Whose root has the id 0 on its disk, if not the host's.
    user: Option<MountUser>,
}

/// All that is needed to see a container's files.
pub(crate) struct Scene {
    base: Base,
    pieces: Vec<Piece>,
    read_only: bool,
    /// Of a container in a user namespace of its own: its files are seen with the host's ids.
    remap: Option<Remap>,
    /// Volumes that are mounted as long as this is looked at.
    _volumes: Hold,
}

impl Scene {
    /// The container of `view` on top of `base`, which is its root.
    pub(crate) async fn new(shared: &Shared, base: Base, view: &View) -> Result<Self, EngineError> {
        let volumes = Hold::of(shared, view).await?;
        let user = shared.mount_user(&view.host)?;
        let ours = |point: &MountPoint| {
            !point.snapshot.is_empty() || userns::is_ours(&shared.volumes, point)
        };
        let mut pieces: Vec<Piece> = view
            .mounts
            .iter()
            .filter(|point| point.tmpfs.is_none())
            .map(|point| Piece {
                // One whose layers are lost is a piece without any, and says so when it is mounted.
                layers: shared.snapshots.rootfs(&point.snapshot).ok(),
                source: volumes.path_of(point),
                subpath: point.subpath.clone(),
                destination: point.destination.clone(),
                read_only: !point.rw,
                recursive: !point.non_recursive,
                user: user.clone().filter(|_| ours(point)),
            })
            .collect();
        let files = [
            ("/etc/hostname", &view.hostname_path),
            ("/etc/hosts", &view.hosts_path),
            ("/etc/resolv.conf", &view.resolv_conf_path),
        ];
        for (destination, source) in files {
            // Made at the first start; a mount of the user's own wins.
            if source.exists() && !pieces.iter().any(|piece| piece.destination == destination) {
                pieces.push(Piece {
                    source: source.clone(),
                    layers: None,
                    subpath: String::new(),
                    destination: destination.to_owned(),
                    read_only: view.host.readonly_rootfs,
                    recursive: false,
                    user: user.clone(),
                });
            }
        }
        // What is mounted below another comes after it.
        pieces.sort_by_key(|piece| piece.destination.matches('/').count());
        Ok(Self {
            base,
            pieces,
            read_only: view.host.readonly_rootfs,
            remap: userns::of(&shared.config, &view.host).cloned(),
            _volumes: volumes,
        })
    }

    /// What the owners in archives are among the files.
    pub(crate) fn ids(&self) -> Option<IdMaps> {
        self.remap.as_ref().map(Remap::archive)
    }

    /// Runs `body` in the scene, on a thread of its own that ends with it.
    pub(crate) fn run<T: Send + 'static>(
        self,
        body: impl FnOnce(&Root) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T, EngineError>>, EngineError> {
        let (done, result) = oneshot::channel();
        let work = move || {
            let ended = self.build().and_then(|root| body(&root));
            drop(self);
            // Who asked may be gone.
            let _ = done.send(ended);
        };
        let thread = std::thread::Builder::new().name("files".to_owned());
        thread
            .spawn(work)
            .map_err(|error| EngineError::Failed(format!("start a thread: {error}")))?;
        Ok(result)
    }

    /// As [`Scene::run`], and waits for the end.
    pub(crate) async fn with<T: Send + 'static>(
        self,
        body: impl FnOnce(&Root) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let ended = self.run(body)?.await;
        ended.unwrap_or_else(|_| Err(EngineError::Failed("the thread has ended early".to_owned())))
    }

    /// Mounts everything in a new namespace of this thread's, which ends with the thread.
    fn build(&self) -> Result<Root, EngineError> {
        // Where a container runs, its own mounts count: what a bind's source is called now may be something else,
        // if others can write where it lies.
        let places: Vec<&str> = self
            .pieces
            .iter()
            .map(|piece| &*piece.destination)
            .collect();
        let (tree, mounted) = self.base.tree_and(&places)?;
        let mut mounted = mounted.into_iter();
        unshare(namespace::MOUNT).map_err(failed("leave the mount namespace"))?;
        let alone = Change {
            propagation: Some(Propagation::Private),
            recursive: true,
            ..Change::default()
        };
        mount::change_path("/", alone).map_err(failed("cut mounts off from the host"))?;
        mount::change(&tree, alone).map_err(failed("make the root private"))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = rustix::fs::open("/", flags, Mode::empty())
            .map_err(|error| failed("open /")(error.into()))?;
        mount::attach(&tree, &place).map_err(failed("attach the root"))?;
        if let Some(remap) = &self.remap {
            userns::act_as_root_of(remap)?;
        }
        let root = Root::from_fd(tree);
        for piece in &self.pieces {
            piece
                .attach(&root, mounted.next().flatten())
                .map_err(|error| failed(&format!("mount {}", piece.destination))(error))?;
        }
        let guard = attr::NODEV | attr::NOSUID;
        let change = Change {
            set: if self.read_only {
                guard | attr::RDONLY
            } else {
                guard
            },
            ..Change::default()
        };
        mount::change(root.as_fd(), change).map_err(failed("guard the root"))?;
        Ok(root)
    }
}

impl Piece {
    /// Puts it in its place; `mounted` is what a container that runs has there.
    fn attach(&self, root: &Root, mounted: Option<Mounted>) -> std::io::Result<()> {
        let bound = self.bound(mounted)?;
        let is_folder = FileType::from_raw_mode(fstat(&bound)?.st_mode) == FileType::Directory;
        let guard = attr::NODEV | attr::NOSUID;
        let change = Change {
            set: if self.read_only {
                guard | attr::RDONLY
            } else {
                guard
            },
            propagation: Some(Propagation::Private),
            recursive: true,
            ..Change::default()
        };
        mount::change(&bound, change)?;
        let destination = Path::new(&self.destination);
        let target = match is_folder {
            true => root.mkdir_all(destination, Mode::from_raw_mode(0o755))?,
            false => root.touch(destination, Mode::from_raw_mode(0o644))?,
        };
        mount::attach(bound, target)
    }

    /// It, attached nowhere.
    fn bound(&self, mounted: Option<Mounted>) -> std::io::Result<OwnedFd> {
        let source = self.open();
        if let Some(mounted) = mounted.filter(|_| self.layers.is_none()) {
            let identity = source.as_ref().ok().map(Identity::of).transpose()?;
            if identity.is_none_or(|identity| identity != mounted.identity) {
                return Ok(mounted.tree);
            }
        }
        let bound = mount::bind(source?, "", self.recursive && self.user.is_none())?;
        if let Some(user) = self.user.as_ref().filter(|_| self.layers.is_none()) {
            mount::map_owners(&bound, user.namespace.as_fd(), false)?;
        }
        Ok(bound)
    }

    /// The source, and below it the sub-path, which must not lead out (links that are swapped in a volume, as in CVE-2021-30465).
    fn open(&self) -> std::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let source = match &self.layers {
            Some(layers) => match &self.user {
                Some(user) => {
                    let all = std::iter::once(&layers.upper).chain(&layers.lowers);
                    let all: Vec<PathBuf> = all.cloned().collect();
                    mount::mapped_overlay(&all, None, user.namespace.as_fd(), user.root)?
                }
                None => copy_up::mount(layers)?,
            },
            None => rustix::fs::open(&self.source, flags, Mode::empty())?,
        };
        if self.subpath.is_empty() {
            return Ok(source);
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let subpath = self.subpath.trim_start_matches('/');
        Ok(openat2(&source, subpath, flags, Mode::empty(), resolve)?)
    }
}

fn failed(operation: &str) -> impl Fn(std::io::Error) -> EngineError + use<> {
    let operation = operation.to_owned();
    move |error| EngineError::Failed(format!("{operation}: {}", chain(&error)))
}
