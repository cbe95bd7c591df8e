//! Registries on a world's loopback: Debian's `docker-registry`, and ours.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::World;
use crate::engine::program;

/// Which registry server. Both read the same settings and the same storage folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryKind {
    /// Debian's `docker-registry`, 2.8.
    Docker,
    /// `wharf registry`.
    Wharf,
}

/// A registry server over a storage folder; by default one that we did not write.
pub struct Registry {
    server: Child,
    /// A file with the server's process id, as the world sees it.
    pid: PathBuf,
}

/// Collects garbage all the time.
const COLLECTING: &str =
    "  maintenance: {garbagecollection: {enabled: true, interval: 1s, grace: 1s}}\n";

impl Registry {
    /// Serves the storage folder `storage` on `127.0.0.1:port` inside `world`.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn serve(world: &World, storage: &Path, port: u16) -> Result<Self> {
        Self::serve_with(world, RegistryKind::Docker, storage, port, "", "")
    }

    /// As [`Registry::serve`], by the server `kind` and with `more` lines of settings.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn serve_kind(
        world: &World,
        kind: RegistryKind,
        storage: &Path,
        port: u16,
        more: &str,
    ) -> Result<Self> {
        Self::serve_with(world, kind, storage, port, "", more)
    }

    /// As [`Registry::serve`], for the user `somebody` with the password `secret` alone.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn serve_somebody(world: &World, storage: &Path, port: u16) -> Result<Self> {
        let path = world.path().join("htpasswd");
        // bcrypt of "secret", which is all that this server takes.
        let script = "import crypt; print('somebody:' + crypt.crypt('secret', crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=32)))";
        let output = std::process::Command::new("python3")
            .args(["-W", "ignore", "-c", script])
            .output()?;
        ensure!(output.status.success(), "make a htpasswd file");
        std::fs::write(&path, output.stdout)?;
        let auth = format!("auth: {{htpasswd: {{realm: test, path: {path:?}}}}}\n");
        Self::serve_with(world, RegistryKind::Docker, storage, port, "", &auth)
    }

    /// Ours, which collects garbage every second.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn serve_collecting(world: &World, storage: &Path, port: u16) -> Result<Self> {
        Self::serve_with(world, RegistryKind::Wharf, storage, port, COLLECTING, "")
    }

    /// Kills the server with SIGKILL.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill_9(mut self, world: &World) -> Result<()> {
        let pid = std::fs::read_to_string(&self.pid)?;
        world.sh(&format!("kill -KILL {}", pid.trim()))?;
        self.server.wait()?;
        Ok(())
    }

    fn serve_with(
        world: &World,
        kind: RegistryKind,
        storage: &Path,
        port: u16,
        more_storage: &str,
        more: &str,
    ) -> Result<Self> {
        let config = world.path().join(format!("registry-{port}.yml"));
        let mut file = std::fs::File::create(&config)?;
        write!(
            file,
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {storage:?}}}\n  delete: {{enabled: true}}\n{more_storage}http: {{addr: \"127.0.0.1:{port}\"}}\n{more}"
        )?;
        let log = std::fs::File::create(world.path().join(format!("registry-{port}.log")))?;
        let pid = world.path().join(format!("registry-{port}.pid"));
        let mut command = world.command("sh");
        command
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(&pid);
        match kind {
            RegistryKind::Docker => command.arg("docker-registry"),
            RegistryKind::Wharf => command.arg(program("wharf")).arg("registry"),
        };
        let server = command
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {kind:?}'s registry"))?;
        let registry = Self { server, pid };
        registry.wait_until_ready(world, port)?;
        Ok(registry)
    }

    fn wait_until_ready(&self, world: &World, port: u16) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        let probe = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
        loop {
            let mut child = world
                .command("bash")
                .args(["-c", &probe])
                .stderr(Stdio::piped())
                .spawn()?;
            let mut error = String::new();
            if let Some(stderr) = child.stderr.as_mut() {
                stderr.read_to_string(&mut error)?;
            }
            if child.wait()?.success() {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the registry does not listen: {error}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // nsenter passes no signal on; the server ends with its world. This only reaps nsenter.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
