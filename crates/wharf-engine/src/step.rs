//! A command on top of layers that is no container: a step of a build. It has no name, no record and no event; what it
//! runs in is made by the same code as a container's.
//!
//! A daemon that is killed meanwhile leaves a task, a folder and a writable layer that no record knows: the next start
//! sweeps them as it does with those of a container that was being made.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, statat, unlinkat};
use rustix::io::Errno;
use tokio::net::UnixStream;
use wharf_oci::{ChainId, Digest, Platform};
use wharf_snapshots::Rootfs;
use wharf_sys::words::chain;
use wharf_tasks::{ExitStatus, Task, TaskConfig};

use crate::containers::{Layers, scaffold};
use crate::launch::{self, files, network};
use crate::lifecycle::{Phase, State};
use crate::record::{LastRun, Record};
use crate::workspace::Workspace;
use crate::{
    Config, EndpointView, EngineError, HostConfig, MountPoint, NetworkMode, NetworkView,
    RestartPolicy, spec,
};

/// A command and its surroundings. Everything is taken as it is: no image completes it.
#[derive(Clone, Debug, Default)]
pub struct NewStep {
    /// `cmd` is the program with its arguments; `env`, `user`, `working_dir`, `hostname`, `tty`, `open_stdin` count too.
    pub config: Config,
    /// Network, hosts, limits, privileges.
    pub host: HostConfig,
    /// What is mounted, in order.
    pub mounts: Vec<MountPoint>,
}

/// A command that runs. Dropping it kills it, and removes what it needed.
pub struct Step {
    workspace: Arc<Workspace>,
    task: Task,
    output: Option<UnixStream>,
    ended: bool,
}

impl Workspace {
    /// Starts a command in the tree. One at a time.
    ///
    /// # Errors
    /// If it cannot be started; nothing is left of it then.
    pub async fn start(self: &Arc<Self>, step: NewStep) -> Result<Step, EngineError> {
        // Goes on when nobody waits any more, so that nobody's process is left: the step is dropped then.
        let (workspace, tracker) = (self.clone(), self.shared.background.clone());
        let begun = tracker.spawn(async move { workspace.begin(step).await });
        begun.await.map_err(|error| EngineError::failed(&error))?
    }

    async fn begin(self: Arc<Self>, step: NewStep) -> Result<Step, EngineError> {
        let shared = &self.shared;
        let record = record(&self.id, step);
        launch::confine(&record.app_armor_profile).await?;
        let joined = spec::Joined::default();
        let started = async {
            let netns = network::connect(shared, &record, &joined).await?;
            let endpoints = shared.networks.endpoints_of(&record.id);
            files::write_all(shared, &record, &endpoints, &joined)?;
            let config = launch::task_config(shared, &record, &joined, netns)?;
            let names = launch::serve_names(shared, &record);
            self.run(config, names, record.config.open_stdin).await
        };
        match started.await {
            Ok((task, output)) => Ok(Step {
                workspace: self.clone(),
                task,
                output: Some(output),
                ended: false,
            }),
            Err(error) => {
                self.disconnect().await;
                Err(error)
            }
        }
    }

    async fn run(
        &self,
        config: TaskConfig,
        names: impl Future<Output = Result<(), EngineError>>,
        stdin: bool,
    ) -> Result<(Task, UnixStream), EngineError> {
        let told = |error: &wharf_tasks::TaskError| {
            let failure = launch::explain(error);
            EngineError::Start {
                message: failure.reason,
                code: failure.code,
                kind: failure.kind,
            }
        };
        let task = self.shared.tasks.create(&self.id, config).await;
        let task = task.map_err(|error| told(&error))?;
        let begun = async {
            names.await?;
            let streams = wharf_tasks::AttachOptions {
                stdin,
                stdout: true,
                stderr: true,
            };
            let output = task.attach(streams).await.map_err(|error| told(&error))?;
            task.start().await.map_err(|error| told(&error))?;
            Ok(output)
        };
        match begun.await {
            Ok(output) => Ok((task, output)),
            Err(error) => {
                if let Err(error) = task.delete().await {
                    tracing::warn!(step = %self.id, error = chain(&error), "delete the task");
                }
                Err(error)
            }
        }
    }

    async fn disconnect(&self) {
        if let Err(error) = self.shared.networks.disconnect(&self.id).await {
            tracing::warn!(step = %self.id, error = chain(&error), "disconnect");
        }
    }

    /// Which of these places are not in the layers: what is mounted there leaves a stub. Paths are absolute.
    ///
    /// # Errors
    /// If the layers cannot be read.
    pub fn missing(&self, places: &[PathBuf]) -> Result<Vec<PathBuf>, EngineError> {
        let layers = self.layers()?;
        let new = places.iter().filter(|path| layers.below(path).is_none());
        Ok(new.cloned().collect())
    }

    /// Makes what was written a layer on top of layers with these archives, and moves it to the snapshots. Places that
    /// were made only to mount something on them (`stubs`, and those of the runtime) are not part of it. Blocks.
    ///
    /// # Errors
    /// If it cannot be read or moved.
    pub fn seal(&self, below: &[Digest], stubs: &[PathBuf]) -> Result<SealedLayer, EngineError> {
        let rootfs = self.rootfs()?;
        let scaffold = SCAFFOLD.iter().map(PathBuf::from);
        let stubs: Vec<PathBuf> = scaffold.chain(stubs.iter().cloned()).collect();
        let layers = self.layers()?;
        let failed = |error: Errno| EngineError::io("clean", &rootfs.upper)(error.into());
        sweep(&layers, &rootfs, stubs).map_err(failed)?;
        let mut hasher = Hashing(wharf_oci::Hasher::sha256());
        let packed = {
            use std::os::fd::AsFd as _;
            wharf_layer::pack(layers.upper.as_fd(), &mut hasher, &wharf_images::PACKED)
        };
        packed.map_err(|error| EngineError::failed(&error))?;
        drop(layers);
        let diff_id = hasher.0.finish();
        let size = self.shared.snapshots.rw_usage(&self.id);
        let size = size.map_err(|error| EngineError::failed(&error))?;
        let chain = match ChainId::from_diff_ids(below).last() {
            Some(parent) => parent.child(&diff_id),
            None => ChainId(diff_id),
        };
        let layer = wharf_images::BuiltLayer {
            diff_id,
            size,
            blob: None,
        };
        let hold = self.shared.images.hold_layers(&[chain]);
        self.shared.images.keep_layers(&[(chain, layer)])?;
        let sealed = self.shared.snapshots.seal_rw(&self.id, &chain, size);
        sealed.map_err(|error| EngineError::failed(&error))?;
        Ok(SealedLayer {
            chain,
            diff_id,
            size,
            hold,
        })
    }

    /// The folders of the layers that what is at `path`, which has no link on its way, is made of, the topmost first.
    ///
    /// # Errors
    /// If the layers cannot be read.
    pub fn folders_at(&self, path: &Path) -> Result<Vec<PathBuf>, EngineError> {
        let rootfs = self.rootfs()?;
        let path = path.strip_prefix("/").unwrap_or(path);
        let places = self.layers()?.made_of(path).into_iter();
        let folders = places.filter_map(|at| rootfs.lowers.get(at));
        Ok(folders.map(|lower| lower.join(path)).collect())
    }

    /// The folder that is written to. Nobody may change it while the tree is mounted.
    ///
    /// # Errors
    /// If a layer was lost.
    pub fn upper(&self) -> Result<PathBuf, EngineError> {
        Ok(self.rootfs()?.upper)
    }

    /// Overlay's own folder, for who mounts the upper one by himself.
    ///
    /// # Errors
    /// If a layer was lost.
    pub fn work(&self) -> Result<PathBuf, EngineError> {
        Ok(self.rootfs()?.work)
    }

    fn rootfs(&self) -> Result<Rootfs, EngineError> {
        let rootfs = self.shared.snapshots.rootfs(&self.id);
        rootfs.map_err(|error| EngineError::failed(&error))
    }

    fn layers(&self) -> Result<Layers, EngineError> {
        let rootfs = self.rootfs()?;
        let layers = Layers::open(&rootfs);
        layers.map_err(|error| EngineError::io("open", &rootfs.upper)(error.into()))
    }
}

/// A layer that was made of a tree.
#[derive(Debug)]
pub struct SealedLayer {
    /// Its folder's name among the snapshots.
    pub chain: ChainId,
    /// Digest of its uncompressed archive.
    pub diff_id: Digest,
    /// Sum of the sizes of its files, in bytes.
    pub size: u64,
    /// The layer stays while this lives, whatever else is removed meanwhile.
    pub hold: wharf_images::LayerHold,
}

struct Hashing(wharf_oci::Hasher);

impl std::io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What the runtime makes to mount something on.
const SCAFFOLD: &[&str] = &[
    "/dev/pts",
    "/dev/shm",
    "/dev/mqueue",
    "/dev/console",
    "/dev",
    "/proc",
    "/sys",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/.dockerenv",
];

impl Workspace {
    /// Takes away the link that the container was given whose files these are, with the folder that was made for it:
    /// Docker has it in a layer of its own below the container's. One that the container made itself stays.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn without_mtab(self) -> Result<Self, EngineError> {
        let (layers, rootfs) = (self.layers()?, self.rootfs()?);
        sweep(&layers, &rootfs, vec![PathBuf::from(scaffold::MTAB)])
            .map_err(|error| EngineError::io("sweep", &rootfs.upper)(error.into()))?;
        Ok(self)
    }
}

/// Removes empty places that lower layers do not have, and the folders above that are there only for them. Nothing is
/// followed: each name is removed in its folder's descriptor.
fn sweep(layers: &Layers, rootfs: &Rootfs, mut stubs: Vec<PathBuf>) -> Result<(), Errno> {
    // What is below another goes first.
    stubs.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    let upper = wharf_sys::root::Root::open(&rootfs.upper).map_err(|_| Errno::NOENT)?;
    for stub in stubs {
        let path = wharf_go::path::clean_from_top(&stub.to_string_lossy());
        let mut path = PathBuf::from(path);
        let mut is_stub = true;
        while path != Path::new("/") {
            let parent = path.parent().unwrap_or(Path::new("/")).to_owned();
            if !remove(layers, &upper, &path, is_stub)? {
                break;
            }
            is_stub = false;
            path = parent;
        }
    }
    Ok(())
}

/// Whether nothing is at `path` in the upper layer any more, or was not before.
fn remove(
    layers: &Layers,
    upper: &wharf_sys::root::Root,
    path: &Path,
    is_stub: bool,
) -> Result<bool, Errno> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(parent) = upper.open_at(parent, flags, Mode::empty()) else {
        return Ok(true);
    };
    let stat = match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(true),
        other => other?,
    };
    let below = layers.below(path);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if is_stub && stat.st_size == 0 && below.is_none() => {
            unlinkat(&parent, name, AtFlags::empty())?;
            Ok(true)
        }
        FileType::Symlink if is_stub && scaffold::is_link(path, &stat) && below.is_none() => {
            unlinkat(&parent, name, AtFlags::empty())?;
            Ok(true)
        }
        FileType::Directory if below.as_ref().is_none_or(|below| alike(below, &stat)) => {
            let folder = openat(&parent, name, flags, Mode::empty())?;
            if crate::containers::is_opaque(&folder) {
                return Ok(false);
            }
            match unlinkat(&parent, name, AtFlags::REMOVEDIR) {
                Ok(()) => Ok(true),
                Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
                Err(error) => Err(error),
            }
        }
        _ => Ok(false),
    }
}

fn alike(a: &Stat, b: &Stat) -> bool {
    (a.st_mode, a.st_uid, a.st_gid) == (b.st_mode, b.st_uid, b.st_gid)
}

impl Step {
    /// What it says, in Docker's frames, but on a terminal; and where it is told, if it listens. There once.
    pub fn take_output(&mut self) -> Option<UnixStream> {
        self.output.take()
    }

    /// Waits for its end.
    pub async fn wait(&self) -> ExitStatus {
        self.task.wait().await
    }

    /// Sends it a signal: `TERM`, `SIGTERM`, `15`.
    ///
    /// # Errors
    /// If there is no such signal, or it has ended.
    pub async fn signal(&self, name: &str) -> Result<(), EngineError> {
        let killed = self.task.kill(crate::signal::parse(name)?).await;
        killed.map_err(|error| EngineError::failed(&error))
    }

    /// Tells its terminal's size.
    ///
    /// # Errors
    /// If it has none, or has ended.
    pub async fn resize(&self, rows: u16, columns: u16) -> Result<(), EngineError> {
        let resized = self.task.resize(rows, columns).await;
        resized.map_err(|error| EngineError::failed(&error))
    }

    /// Removes what it needed; it is killed if it still runs.
    ///
    /// # Errors
    /// If its task cannot be deleted.
    pub async fn end(mut self) -> Result<(), EngineError> {
        self.ended = true;
        let deleted = self.task.delete().await;
        self.workspace.disconnect().await;
        deleted.map_err(|error| EngineError::failed(&error))
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (task, workspace) = (self.task.clone(), self.workspace.clone());
        let tracker = workspace.shared.background.clone();
        tracker.spawn(async move {
            if let Err(error) = task.delete().await {
                tracing::warn!(step = %workspace.id, error = chain(&error), "delete the task");
            }
            workspace.disconnect().await;
        });
    }
}

/// A record that is never written.
fn record(id: &str, step: NewStep) -> Record {
    let NewStep {
        config,
        mut host,
        mounts,
    } = step;
    host.log.driver = "none".to_owned();
    if host.privileged || host.network_mode == NetworkMode::Host {
        // Allowed by an entitlement, and nothing that a user namespace has a right to.
        host.userns_mode = "host".to_owned();
    }
    let mut network = NetworkView::default();
    if let Some(name) = host.network_mode.network_name() {
        network
            .endpoints
            .insert(name.to_owned(), EndpointView::default());
    }
    let command = config.cmd.clone().unwrap_or_default();
    Record {
        id: id.to_owned(),
        name: id.to_owned(),
        created: Timestamp::now(),
        path: command.first().cloned().unwrap_or_default(),
        args: command.into_iter().skip(1).collect(),
        image: Digest::sha256(b""),
        chain: Arc::default(),
        platform: Platform::host(),
        mounts,
        network,
        app_armor_profile: crate::apparmor::profile(&host),
        state: State {
            phase: Phase::Created,
            policy: RestartPolicy::default(),
            auto_remove: false,
            stop_signal: 15,
            own_stop_signal: false,
            stopped_by_hand: false,
            last_run: false,
            restarts: 0,
            backoff: 0,
        },
        last: LastRun::default(),
        health: None,
        remove_volumes: false,
        config: Arc::new(config),
        host: Arc::new(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stubs_go_and_what_a_command_made_stays() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["lower/etc", "upper/etc", "upper/run/secrets", "upper/made"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        for name in ["upper/etc/hosts", "upper/run/secrets/s", "upper/.dockerenv"] {
            std::fs::write(at(name), "").unwrap();
        }
        std::fs::write(at("upper/etc/hostname"), "mine").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at("upper/made/link")).unwrap();
        let rootfs = Rootfs {
            lowers: vec![at("lower")],
            upper: at("upper"),
            work: at("work"),
        };
        let layers = Layers::open(&rootfs).unwrap();
        let stubs = [
            "/run/secrets/s",
            "/etc/hosts",
            "/etc/hostname",
            "/.dockerenv",
            "/made/link",
        ];
        sweep(&layers, &rootfs, stubs.map(PathBuf::from).to_vec()).unwrap();
        assert!(!at("upper/run").exists() && !at("upper/.dockerenv").exists());
        assert!(!at("upper/etc/hosts").exists() && at("upper/etc/hostname").exists());
        assert!(at("upper/made/link").symlink_metadata().is_ok());
    }

    #[test]
    fn the_link_of_mounts_goes_unless_a_command_made_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["lower", "upper"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        let rootfs = Rootfs {
            lowers: vec![at("lower")],
            upper: at("upper"),
            work: at("work"),
        };
        let clean = || {
            let layers = Layers::open(&rootfs).unwrap();
            sweep(&layers, &rootfs, vec![PathBuf::from(scaffold::MTAB)]).unwrap();
        };
        scaffold::make(&rootfs).unwrap();
        clean();
        assert!(!at("upper/etc").exists());
        std::fs::create_dir(at("upper/etc")).unwrap();
        std::os::unix::fs::symlink("/proc/mounts", at("upper/etc/mtab")).unwrap();
        clean();
        assert!(at("upper/etc/mtab").symlink_metadata().is_ok());
    }
}
