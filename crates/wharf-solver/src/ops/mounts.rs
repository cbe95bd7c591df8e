//! What a command sees beside its root.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bollard_buildkit_proto::pb;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio_util::task::AbortOnDropHandle;
use wharf_builder::Scratch;
use wharf_engine::{LayerMount, MountPoint, Workspace, resolve};
use wharf_oci::Digest;

use super::VertexRun;
use super::file::clean;
use crate::keys::located;
use crate::result::Tree;
use crate::{Job, Ref, SolveError, blocking};

/// Cache mounts that steps have or wait for. Only this process uses them: those who want one wait here, not in the kernel.
#[derive(Default)]
pub(crate) struct Caches {
    turns: Mutex<HashMap<String, Weak<RwLock<()>>>>,
    used: Arc<Mutex<HashMap<String, usize>>>,
}

/// A step's turn at a cache mount.
pub(crate) enum Reserved {
    Shared { _turn: OwnedRwLockReadGuard<()> },
    Locked { _turn: OwnedRwLockWriteGuard<()> },
}

/// A cache mount is in use while this lives.
pub(crate) struct CacheUse {
    used: Arc<Mutex<HashMap<String, usize>>>,
    name: String,
    folder: PathBuf,
}

impl Caches {
    fn turn(&self, name: &str) -> Arc<RwLock<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let known = turns.get(name).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let turn = Arc::default();
            turns.insert(name.to_owned(), Arc::downgrade(&turn));
            turn
        })
    }

    fn begin(&self, name: &str, folder: PathBuf) -> CacheUse {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used.entry(name.to_owned()).or_default() += 1;
        CacheUse {
            used: self.used.clone(),
            name: name.to_owned(),
            folder,
        }
    }

    /// Whether a step has the cache of this name mounted now.
    pub(crate) fn in_use(&self, name: &str) -> bool {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.contains_key(name)
    }
}

impl CacheUse {
    /// Whether it is the cache `name`, or one of its private ones.
    fn is(&self, name: &str) -> bool {
        let number = self.name.strip_prefix(name);
        number.is_some_and(|number| number.is_empty() || number.starts_with('-'))
    }
}

impl Drop for CacheUse {
    fn drop(&mut self) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = used.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                used.remove(&self.name);
            }
        }
    }
}

/// Everything that is mounted, and what must stay while it is.
#[derive(Default)]
pub(super) struct Mounts {
    pub(super) points: Vec<MountPoint>,
    /// Trees that are written to and are an output.
    pub(super) outputs: Vec<(usize, Arc<Workspace>, Ref)>,
    /// Variables for the command alone.
    pub(super) env: Vec<String>,
    folders: Vec<Scratch>,
    caches: Vec<CacheUse>,
    locks: Vec<std::fs::File>,
    agents: Vec<AbortOnDropHandle<()>>,
    trees: Vec<(Option<Arc<Workspace>>, Option<Tree>, Ref)>,
}

impl Mounts {
    /// Where something is mounted.
    pub(super) fn places(&self) -> Vec<PathBuf> {
        let targets = self.points.iter().map(|point| &point.destination);
        targets.map(|target| clean(target)).collect()
    }
}

impl std::fmt::Debug for Mounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mounts")
            .field("points", &self.points)
            .field("locks", &self.locks.len())
            .field("agents", &self.agents.len())
            .finish_non_exhaustive()
    }
}

impl VertexRun<'_> {
    /// Waits for the turn at all caches that the command mounts, each once and in one order for everybody: so nobody waits
    /// for himself, nor two for each other.
    pub(crate) async fn reserve(&self) -> Result<Vec<Reserved>, SolveError> {
        let pb::op::Op::Exec(exec) = &self.node.op else {
            return Ok(Vec::new());
        };
        let mut wanted: BTreeMap<String, bool> = BTreeMap::new();
        for mount in exec.mounts.iter().filter(|mount| is_cache(mount)) {
            let sharing = mount
                .cache_opt
                .as_ref()
                .map_or(0, |options| options.sharing);
            if sharing != pb::CacheSharingOpt::Private as i32 {
                let locked = sharing == pb::CacheSharingOpt::Locked as i32;
                *wanted.entry(self.cache_name(mount)?).or_default() |= locked;
            }
        }
        let mut reserved = Vec::new();
        for (name, locked) in wanted {
            let turn = self.job.solver().caches_used.turn(&name);
            reserved.push(match locked {
                true => Reserved::Locked {
                    _turn: turn.write_owned().await,
                },
                false => Reserved::Shared {
                    _turn: turn.read_owned().await,
                },
            });
        }
        Ok(reserved)
    }

    /// A cache that begins with other files is another cache.
    fn cache_name(&self, mount: &pb::Mount) -> Result<String, SolveError> {
        let begins = match mount.input {
            -1 => String::new(),
            input => self.input(input)?.identity().to_string(),
        };
        let id = mount.cache_opt.as_ref().map_or("", |options| &options.id);
        let name = format!("{id}\n{begins}\n{}", mount.selector);
        Ok(Digest::sha256(name.as_bytes()).hex())
    }

    /// All mounts of a command but its root. Relative targets are below `cwd`.
    pub(super) async fn mounts(&self, exec: &pb::ExecOp, cwd: &str) -> Result<Mounts, SolveError> {
        let mut mounts = Mounts::default();
        for mount in exec.mounts.iter().filter(|mount| mount.dest != "/") {
            let target = match mount.dest.starts_with('/') {
                true => mount.dest.clone(),
                false => format!("{}/{}", cwd.trim_end_matches('/'), mount.dest),
            };
            match pb::MountType::try_from(mount.mount_type) {
                Ok(pb::MountType::Bind) => self.bind(mount, target, &mut mounts).await?,
                Ok(pb::MountType::Cache) => self.cache(mount, target, &mut mounts).await?,
                Ok(pb::MountType::Tmpfs) => {
                    let size = mount.tmpfs_opt.map_or(0, |options| options.size);
                    let size = (size > 0).then(|| format!("size={size}"));
                    mounts.points.push(MountPoint {
                        kind: "tmpfs".to_owned(),
                        destination: target,
                        rw: true,
                        tmpfs: Some(size.unwrap_or_default()),
                        ..MountPoint::default()
                    });
                }
                Ok(pb::MountType::Secret) => self.secret(mount, target, &mut mounts).await?,
                Ok(pb::MountType::Ssh) => self.agent(mount, target, &mut mounts).await?,
                Err(_) => {
                    let kind = mount.mount_type;
                    return Err(SolveError::Invalid(format!(
                        "mount type {kind} not implemented"
                    )));
                }
            }
        }
        for wanted in &exec.secretenv {
            match self.job.client().secret(&wanted.id).await? {
                Some(bytes) => {
                    let value = String::from_utf8(bytes).map_err(|_| {
                        SolveError::Failed(format!("secret {}: not text", wanted.id))
                    })?;
                    mounts.env.push(format!("{}={value}", wanted.name));
                }
                None if wanted.optional => {}
                None => {
                    return Err(SolveError::NotFound(format!(
                        "secret {}: not found",
                        wanted.id
                    )));
                }
            }
        }
        Ok(mounts)
    }

    async fn bind(
        &self,
        mount: &pb::Mount,
        target: String,
        mounts: &mut Mounts,
    ) -> Result<(), SolveError> {
        let mut tree = self.input(mount.input)?;
        let output = usize::try_from(mount.output).ok();
        if output.is_some() && !matches!(mount.selector.as_str(), "" | "/") {
            let text = "a mount that is an output cannot have a selector";
            return Err(SolveError::Invalid(text.to_owned()));
        }
        if output.is_some() {
            // What comes out has the files that were there, a client's too.
            let job = self.job.clone();
            tree = blocking(move || job.layered(&tree)).await?;
        }
        let (job, selector) = (self.job.clone(), mount.selector.clone());
        let read_only = mount.readonly;
        let made = blocking(move || view(&job, &tree, &selector, read_only)).await?;
        if let (Some(output), Some(workspace)) = (output, &made.workspace) {
            let below = made.below.clone();
            mounts.outputs.push((output, workspace.clone(), below));
        }
        let point = MountPoint {
            destination: target,
            rw: !read_only,
            ..made.point
        };
        mounts.points.push(point);
        mounts.trees.push((made.workspace, made.tree, made.below));
        Ok(())
    }

    /// A folder that stays from build to build.
    async fn cache(
        &self,
        mount: &pb::Mount,
        target: String,
        mounts: &mut Mounts,
    ) -> Result<(), SolveError> {
        let options = mount.cache_opt.clone().unwrap_or_default();
        let sharing = match pb::CacheSharingOpt::try_from(options.sharing) {
            Ok(pb::CacheSharingOpt::Shared) => "shared",
            Ok(pb::CacheSharingOpt::Private) => "private",
            Ok(pb::CacheSharingOpt::Locked) => "locked",
            Err(_) => return Err(SolveError::Invalid("unknown cache sharing".to_owned())),
        };
        let begin = match mount.input {
            -1 => None,
            input => Some(self.input(input)?),
        };
        let name = self.cache_name(mount)?;
        // One that is mounted twice is one.
        let known = mounts.caches.iter().find(|one| one.is(&name));
        if let Some(folder) = known.map(|one| one.folder.clone()) {
            mounts.points.push(bind(folder, target, mount.readonly));
            return Ok(());
        }
        let (job, selector) = (self.job.clone(), mount.selector.clone());
        let base = job.solver().caches();
        let (folder, lock) = blocking(move || {
            let begin = |folder: &Path| match &begin {
                Some(tree) => begun(&job, tree, &selector, folder)
                    .map_err(|error| std::io::Error::other(error.to_string())),
                None => Ok((0o755, (0, 0))),
            };
            let (folder, lock) = wharf_builder::take_cache(&base, &name, sharing, &begin)?;
            let about = serde_json::json!({ "id": options.id }).to_string();
            // Beside the folder, in the cache that was taken: of private ones there are several.
            std::fs::write(folder.with_file_name("about"), about)
                .map_err(SolveError::io("describe a cache mount"))?;
            Ok((folder, lock))
        })
        .await?;
        let taken = folder
            .parent()
            .and_then(Path::file_name)
            .unwrap_or_default();
        let taken = taken.to_string_lossy();
        let used = &self.job.solver().caches_used;
        mounts.caches.push(used.begin(&taken, folder.clone()));
        mounts.points.push(bind(folder, target, mount.readonly));
        mounts.locks.push(lock);
        Ok(())
    }

    /// A file that only this command sees. It is never on a disk: the folder for it is in memory.
    async fn secret(
        &self,
        mount: &pb::Mount,
        target: String,
        mounts: &mut Mounts,
    ) -> Result<(), SolveError> {
        let options = mount.secret_opt.clone().unwrap_or_default();
        let Some(bytes) = self.job.client().secret(&options.id).await? else {
            return match options.optional {
                true => Ok(()),
                false => Err(SolveError::NotFound(format!(
                    "secret {}: not found",
                    options.id
                ))),
            };
        };
        let folder = self.job.volatile()?;
        let path = folder.path().join("secret");
        let failed = SolveError::io("write a secret");
        std::fs::write(&path, bytes).map_err(&failed)?;
        std::os::unix::fs::chown(&path, Some(options.uid), Some(options.gid)).map_err(&failed)?;
        let mode = std::fs::Permissions::from_mode(options.mode & 0o777);
        std::fs::set_permissions(&path, mode).map_err(&failed)?;
        mounts.points.push(bind(path, target, true));
        mounts.folders.push(folder);
        Ok(())
    }

    /// The socket of the client's ssh agent.
    async fn agent(
        &self,
        mount: &pb::Mount,
        target: String,
        mounts: &mut Mounts,
    ) -> Result<(), SolveError> {
        let options = mount.ssh_opt.clone().unwrap_or_default();
        let id = match options.id.as_str() {
            "" => "default",
            id => id,
        };
        let folder = self.job.volatile()?;
        let path = folder.path().join("agent.sock");
        let Some(agent) = self.job.client().agent(id, &path).await? else {
            return match options.optional {
                true => Ok(()),
                false => Err(SolveError::Failed(format!("unset ssh forward key {id}"))),
            };
        };
        let failed = SolveError::io("make the socket of an ssh agent");
        std::os::unix::fs::chown(&path, Some(options.uid), Some(options.gid)).map_err(&failed)?;
        let mode = std::fs::Permissions::from_mode(options.mode & 0o777);
        std::fs::set_permissions(&path, mode).map_err(&failed)?;
        mounts.points.push(bind(path, target, false));
        mounts.folders.push(folder);
        mounts.agents.push(agent);
        Ok(())
    }
}

fn is_cache(mount: &pb::Mount) -> bool {
    mount.mount_type == pb::MountType::Cache as i32
}

fn bind(source: PathBuf, destination: String, read_only: bool) -> MountPoint {
    MountPoint {
        kind: "bind".to_owned(),
        source,
        destination,
        rw: !read_only,
        propagation: "rprivate".to_owned(),
        ..MountPoint::default()
    }
}

/// A mount of a tree, or of a part of it.
struct View {
    point: MountPoint,
    /// What is written to it.
    workspace: Option<Arc<Workspace>>,
    tree: Option<Tree>,
    below: Ref,
}

/// What is written to a writable one goes nowhere, but where the whole tree is an output. Blocks.
fn view(job: &Job, tree: &Ref, selector: &str, read_only: bool) -> Result<View, SolveError> {
    let lost = |error: std::io::Error| {
        SolveError::Failed(format!("failed to mount {selector:?}: {error}"))
    };
    let files = tree.tree(job)?;
    let found = resolve(&files.root, Path::new(selector)).map_err(lost)?;
    if !found.exists {
        return Err(lost(std::io::ErrorKind::NotFound.into()));
    }
    let inside = found
        .path
        .strip_prefix("/")
        .unwrap_or(&found.path)
        .to_owned();
    let is_folder = wharf_builder::transfer::is_folder(&files.root, &found.path);
    let lowers = match tree.folder() {
        // It has no link on its way, and nobody changes it.
        Some(folder) => vec![folder.join(&inside)],
        None => files.folders_at(&inside)?,
    };
    if !is_folder && !read_only {
        return file_copy(job, tree, files, &found.path);
    }
    if read_only && (lowers.len() == 1 || !is_folder) {
        let top = lowers.into_iter().next().unwrap_or_default();
        return Ok(View {
            point: bind(top, String::new(), true),
            workspace: None,
            tree: Some(files),
            below: tree.clone(),
        });
    }
    let below = match tree.folder() {
        Some(_) => Ref::scratch(),
        None => tree.clone(),
    };
    // Its upper folder is what is written; the layers are only held by it.
    let workspace = (!read_only).then(|| job.engine().containers.tree(&below.chains()));
    let workspace = workspace.transpose()?.map(Arc::new);
    let upper = match &workspace {
        Some(workspace) => Some((workspace.upper()?, workspace.work()?)),
        None => None,
    };
    let lowers = match lowers.is_empty() {
        true => vec![job.solver().empty()?],
        false => lowers,
    };
    let point = MountPoint {
        kind: "overlay".to_owned(),
        layers: Some(LayerMount { lowers, upper }),
        ..MountPoint::default()
    };
    Ok(View {
        point,
        workspace,
        tree: None,
        below,
    })
}

/// A single file that may be written to: a copy of it.
fn file_copy(job: &Job, tree: &Ref, files: Tree, path: &Path) -> Result<View, SolveError> {
    use wharf_builder::transfer::{self, Looks};
    let workspace = job.engine().containers.tree(&[])?;
    let root = workspace.root()?;
    let name = path.file_name().unwrap_or(OsStr::new("file"));
    let to = Path::new("/").join(name);
    let from = path.strip_prefix("/").unwrap_or(path);
    transfer::file((&files.root, from), (&root, &to), Looks::default())?;
    drop(root);
    let copy = workspace.upper()?.join(name);
    Ok(View {
        point: bind(copy, String::new(), false),
        workspace: Some(Arc::new(workspace)),
        tree: Some(files),
        below: tree.clone(),
    })
}

/// Files that a new cache begins with, and how their folder looks.
fn begun(
    job: &Job,
    tree: &Ref,
    selector: &str,
    folder: &Path,
) -> Result<wharf_builder::CacheLooks, SolveError> {
    use wharf_builder::transfer::{self, Looks};
    let failed = SolveError::io("fill a cache mount");
    let files = tree.tree(job)?;
    let (inside, looks) = located(&files.root, Path::new(selector), true)
        .map_err(|error| SolveError::NotFound(format!("failed to mount {selector:?}: {error}")))?;
    let to = wharf_sys::root::Root::open(folder).map_err(&failed)?;
    transfer::folder(
        (&files.root, &inside),
        (&to, Path::new("/")),
        Looks::default(),
        &wharf_builder::Selection::default(),
    )?;
    Ok((looks.st_mode & 0o7777, (looks.st_uid, looks.st_gid)))
}
