//! `RUN --mount`: what a command sees that does not stay in the image.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use tempfile::TempDir;
use tokio_util::task::AbortOnDropHandle;
use wharf_dockerfile::Run;
use wharf_engine::{MountKind, MountRequest, TmpfsRequest};

use crate::BuildError;
use crate::build::Build;
use crate::copy::blocking;
use crate::flags::{self, Fields};
use crate::hash::{self, hex};
use crate::sources::Exclude;
use crate::stage::Stage;
use crate::transfer::{self, Looks};

/// What a command is given.
#[derive(Default)]
pub(crate) struct Mounts {
    pub(crate) requests: Vec<MountRequest>,
    /// What of them counts for the cache.
    pub(crate) key: String,
    /// Folders that live as long as the command.
    folders: Vec<TempDir>,
    /// Locks of caches.
    locks: Vec<std::fs::File>,
    /// Sockets that are served.
    agents: Vec<AbortOnDropHandle<()>>,
    /// Variables for the command alone.
    pub(crate) env: Vec<String>,
}

impl Mounts {
    /// A file with this text at `target`, that may be run.
    pub(crate) fn file(
        &mut self,
        folder: TempDir,
        name: &str,
        content: &str,
        target: &str,
    ) -> Result<(), BuildError> {
        let failed = BuildError::io("write a script");
        let path = folder.path().join(name);
        std::fs::write(&path, content).map_err(&failed)?;
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, mode).map_err(&failed)?;
        self.requests.push(bind(path, target, true));
        self.folders.push(folder);
        Ok(())
    }

    /// The command has ended.
    pub(crate) fn done(self) {
        drop(self.locks);
    }
}

impl Build<'_> {
    pub(crate) async fn mounts(&mut self, stage: &Stage, run: &Run) -> Result<Mounts, BuildError> {
        let mut mounts = Mounts::default();
        for flag in &run.mounts {
            let fields = Fields::read(flag, |text| self.word(stage, text))?;
            match fields.text(&["type"]).unwrap_or("bind") {
                "bind" => self.bind(stage, &fields, &mut mounts).await?,
                "cache" => self.cache_mount(stage, &fields, &mut mounts).await?,
                "tmpfs" => {
                    let size = fields.text(&["size"]).map(flags::bytes).transpose()?;
                    mounts.requests.push(MountRequest {
                        target: self.mount_target(stage, &fields)?,
                        read_only: false,
                        consistency: String::new(),
                        kind: MountKind::Tmpfs(TmpfsRequest {
                            size: size.unwrap_or(0),
                            ..TmpfsRequest::default()
                        }),
                    });
                }
                "secret" => self.secret(stage, &fields, &mut mounts).await?,
                "ssh" => self.agent(stage, &fields, &mut mounts).await?,
                other => {
                    return Err(BuildError::Invalid(format!(
                        "unsupported mount type {other:?}"
                    )));
                }
            }
        }
        Ok(mounts)
    }

    fn mount_target(&self, stage: &Stage, fields: &Fields) -> Result<String, BuildError> {
        let target = fields.target().map(|target| stage.absolute(target));
        target.ok_or_else(|| BuildError::Invalid("target is required for a mount".to_owned()))
    }

    /// Files of the context, of a stage or of an image. What is written to a writable one is thrown away with its copy.
    async fn bind(
        &mut self,
        stage: &Stage,
        fields: &Fields,
        mounts: &mut Mounts,
    ) -> Result<(), BuildError> {
        let target = self.mount_target(stage, fields)?;
        let source = fields.text(&["source", "src"]).unwrap_or("/").to_owned();
        let writable = fields.is_on(&["rw", "readwrite"])?.unwrap_or(false);
        let from = fields.text(&["from"]);
        let (root, _workspace) = match from {
            Some(from) => self.tree_of(from).await?,
            None => (self.context.root.clone(), None),
        };
        let is_context = from.is_none();
        let asked = PathBuf::from(&source);
        let (found, digest) = {
            let root = root.clone();
            blocking(move || {
                let io = BuildError::io(&format!("failed to calculate the checksum of {source:?}"));
                let found = wharf_engine::resolve(&root, &asked).map_err(&io)?;
                if !found.exists {
                    return Err(BuildError::Failed(format!(
                        "failed to compute cache key: failed to calculate checksum: {source:?}: not found"
                    )));
                }
                let path = found.path.strip_prefix("/").unwrap_or(&found.path);
                let path = if path == Path::new("") { Path::new(".") } else { path };
                let nothing = Exclude::new(&[])?;
                let counting = hash::Counting {
                    owner: true,
                    wanted: &nothing,
                };
                let digest = hash::of(&root, path, counting).map_err(&io)?;
                Ok((path.to_owned(), digest))
            })
            .await?
        };
        mounts.key.push_str(&format!("bind {digest} {target},"));
        if is_context && !writable {
            let path = self.context.host_path(&found);
            mounts.requests.push(bind(path, &target, true));
            return Ok(());
        }
        let folder = self.context.scratch()?;
        let copy = folder.path().join("tree");
        let destination = copy.clone();
        blocking(move || {
            let failed = BuildError::io("copy files for a mount");
            let parent = copy.parent().unwrap_or(Path::new("/"));
            let to = wharf_sys::root::Root::open(parent).map_err(&failed)?;
            let nothing = Exclude::new(&[])?;
            match transfer::is_folder(&root, &found) {
                true => transfer::folder(
                    (&root, &found),
                    (&to, Path::new("tree")),
                    Looks::default(),
                    &nothing,
                ),
                false => {
                    transfer::file((&root, &found), (&to, Path::new("tree")), Looks::default())
                }
            }
        })
        .await?;
        mounts.requests.push(bind(destination, &target, !writable));
        mounts.folders.push(folder);
        Ok(())
    }

    /// A folder that stays from build to build.
    async fn cache_mount(
        &mut self,
        stage: &Stage,
        fields: &Fields,
        mounts: &mut Mounts,
    ) -> Result<(), BuildError> {
        use sha2::Digest as _;
        let target = self.mount_target(stage, fields)?;
        if fields.text(&["from"]).is_some() {
            let text = "from= of a cache mount is not supported yet";
            return Err(BuildError::NotImplemented(text.to_owned()));
        }
        let id = fields.text(&["id"]).unwrap_or(&target).to_owned();
        let name = hex(&sha2::Sha256::digest(id.as_bytes()));
        let sharing = fields.text(&["sharing"]).unwrap_or("shared").to_owned();
        let (mode, uid, gid) = (
            fields.number("mode", 8)?.unwrap_or(0o755),
            fields.number("uid", 10)?.unwrap_or(0),
            fields.number("gid", 10)?.unwrap_or(0),
        );
        let base = self.builder.caches();
        let (folder, lock) =
            blocking(move || take(&base, &name, &sharing, mode, (uid, gid))).await?;
        let read_only = fields.is_on(&["readonly", "ro"])?.unwrap_or(false);
        mounts.requests.push(bind(folder, &target, read_only));
        mounts.locks.extend(lock);
        mounts.key.push_str(&format!("cache {id} {target},"));
        Ok(())
    }
}

impl Build<'_> {
    /// A file that only this command sees. It is never on a disk: the folder for it is in memory.
    async fn secret(
        &self,
        stage: &Stage,
        fields: &Fields,
        mounts: &mut Mounts,
    ) -> Result<(), BuildError> {
        if fields.text(&["env"]).is_some() {
            // A variable would be in the record of the container.
            let text = "env= of a secret mount is not supported yet";
            return Err(BuildError::NotImplemented(text.to_owned()));
        }
        let target = fields.target();
        let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let id = match (fields.text(&["id", "source"]), target) {
            (Some(id), _) => id.to_owned(),
            (_, Some(target)) => base(target),
            _ => {
                let text = "one of source, target required";
                return Err(BuildError::Invalid(text.to_owned()));
            }
        };
        let target = match target {
            Some(target) => stage.absolute(target),
            None => format!("/run/secrets/{}", base(&id)),
        };
        let Some(bytes) = self.options.client.secret(&id).await? else {
            if fields.is_on(&["required"])?.unwrap_or(false) {
                let text = format!("secret {id}: not found");
                return Err(BuildError::Failed(text));
            }
            return Ok(());
        };
        let mode = fields.number("mode", 8)?.unwrap_or(0o400);
        let owner = (fields.number("uid", 10)?, fields.number("gid", 10)?);
        let folder = self.volatile()?;
        let failed = BuildError::io("write a secret");
        let path = folder.path().join("secret");
        std::fs::write(&path, bytes).map_err(&failed)?;
        let (uid, gid) = (owner.0.unwrap_or(0), owner.1.unwrap_or(0));
        std::os::unix::fs::chown(&path, Some(uid), Some(gid)).map_err(&failed)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).map_err(&failed)?;
        mounts.requests.push(bind(path, &target, true));
        mounts.folders.push(folder);
        mounts.key.push_str(&format!("secret {id} {target},"));
        Ok(())
    }

    /// The socket of the client's ssh agent.
    async fn agent(
        &self,
        stage: &Stage,
        fields: &Fields,
        mounts: &mut Mounts,
    ) -> Result<(), BuildError> {
        let id = fields.text(&["id"]).unwrap_or("default");
        let number = mounts.agents.len();
        let target = fields.target().map_or_else(
            || format!("/run/buildkit/ssh_agent.{number}"),
            |target| stage.absolute(target),
        );
        let folder = self.volatile()?;
        let path = folder.path().join("agent.sock");
        let Some(agent) = self.options.client.agent(id, &path).await? else {
            if fields.is_on(&["required"])?.unwrap_or(false) {
                let text = format!("unset ssh forward key {id}");
                return Err(BuildError::Failed(text));
            }
            return Ok(());
        };
        let mode = fields.number("mode", 8)?.unwrap_or(0o600);
        let (uid, gid) = (
            fields.number("uid", 10)?.unwrap_or(0),
            fields.number("gid", 10)?.unwrap_or(0),
        );
        let failed = BuildError::io("make the socket of an ssh agent");
        std::os::unix::fs::chown(&path, Some(uid), Some(gid)).map_err(&failed)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).map_err(&failed)?;
        mounts.requests.push(bind(path, &target, false));
        mounts.folders.push(folder);
        mounts.agents.push(agent);
        mounts.key.push_str(&format!("ssh {id} {target},"));
        mounts.env.push(format!("SSH_AUTH_SOCK={target}"));
        Ok(())
    }

    /// A folder that is in memory and that nobody else may look into.
    fn volatile(&self) -> Result<TempDir, BuildError> {
        let failed = BuildError::io("make a folder for a step");
        let parent = self.builder.volatile();
        std::fs::create_dir_all(&parent).map_err(&failed)?;
        let folder = tempfile::Builder::new().prefix("step-").tempdir_in(parent);
        folder.map_err(failed)
    }
}

/// The folder of a cache below `base`; with `locked` after everyone else, with `private` one that nobody else uses now.
/// It is in use while the file lives. Blocks.
///
/// # Errors
/// If it cannot be made, or the sharing mode is none.
pub fn take(
    base: &Path,
    name: &str,
    sharing: &str,
    mode: u32,
    (uid, gid): (u32, u32),
) -> Result<(PathBuf, Option<std::fs::File>), BuildError> {
    let failed = BuildError::io("open a cache mount");
    let make = |name: &str| -> std::io::Result<(PathBuf, std::fs::File)> {
        let folder = base.join(name).join("data");
        std::fs::create_dir_all(base.join(name))?;
        match std::fs::create_dir(&folder) {
            Ok(()) => {
                std::os::unix::fs::chown(&folder, Some(uid), Some(gid))?;
                std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let lock = std::fs::File::create(base.join(name).join("lock"))?;
        Ok((folder, lock))
    };
    match sharing {
        "shared" => {
            let (folder, lock) = make(name).map_err(&failed)?;
            // Shared with others that mount it, not with a prune.
            rustix::fs::flock(&lock, FlockOperation::LockShared)
                .map_err(|error| failed(error.into()))?;
            Ok((folder, Some(lock)))
        }
        "locked" => {
            let (folder, lock) = make(name).map_err(&failed)?;
            rustix::fs::flock(&lock, FlockOperation::LockExclusive)
                .map_err(|error| failed(error.into()))?;
            Ok((folder, Some(lock)))
        }
        "private" => {
            let mut number = 0;
            loop {
                let (folder, lock) = make(&format!("{name}-{number}")).map_err(&failed)?;
                if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                    return Ok((folder, Some(lock)));
                }
                number += 1;
            }
        }
        other => Err(BuildError::Invalid(format!(
            "unsupported sharing value {other:?}"
        ))),
    }
}

fn bind(source: PathBuf, target: &str, read_only: bool) -> MountRequest {
    MountRequest {
        target: target.to_owned(),
        read_only,
        consistency: String::new(),
        kind: MountKind::Bind {
            source,
            propagation: None,
            non_recursive: false,
            create_source: false,
            read_only_non_recursive: false,
            read_only_force_recursive: false,
            id_mapping: None,
        },
    }
}
