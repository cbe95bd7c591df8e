//! A daemon inside a world: ours, or a real one to compare with.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::World;
use crate::api::{self, Answer};
use crate::recorder;

/// Which daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// `wharf daemon`.
    Wharf,
    /// Debian bookworm's dockerd, 20.10.
    Dockerd,
    /// Debian trixie's dockerd, 26.1, run from a folder.
    Dockerd26,
}

impl EngineKind {
    /// The daemon that `WHARF_TEST_ENGINE` names (`wharf` or `dockerd`); ours if it names none.
    pub fn from_env() -> Self {
        match std::env::var("WHARF_TEST_ENGINE").as_deref() {
            Ok("dockerd") => Self::Dockerd,
            Ok("dockerd-26") => Self::Dockerd26,
            _ => Self::Wharf,
        }
    }

    /// Whether it is a real dockerd.
    pub fn is_dockerd(self) -> bool {
        matches!(self, Self::Dockerd | Self::Dockerd26)
    }
}

/// How the daemon is started.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// More command-line arguments.
    pub args: Vec<String>,
    /// The text of its daemon.json, if it is to have one.
    pub config: Option<String>,
}

/// A running daemon. It is killed when the value is dropped, its world's processes with the world.
pub struct Engine {
    /// Where it runs.
    pub world: World,
    /// Which one it is.
    pub kind: EngineKind,
    options: EngineOptions,
    daemon: Option<Child>,
}

/// How long a daemon may take to answer: a limit for a broken one, nothing is measured by it.
const READY: Duration = Duration::from_secs(60);

impl Engine {
    /// Starts a daemon of `kind` in a new world, and waits until it answers.
    ///
    /// # Errors
    /// If it does not come up; its log is in the error.
    pub fn start(kind: EngineKind, options: EngineOptions) -> Result<Self> {
        Self::start_in(World::new()?, kind, options)
    }

    /// Starts a daemon in `world`.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn start_in(world: World, kind: EngineKind, options: EngineOptions) -> Result<Self> {
        let mut engine = Self {
            world,
            kind,
            options,
            daemon: None,
        };
        if let Some(folder) = recorder::folder() {
            let back = engine.world.path().join("engine.sock");
            recorder::start(&engine.socket(), &back, &folder).context("record")?;
        }
        engine.launch()?;
        Ok(engine)
    }

    /// The socket that clients reach the daemon by.
    pub fn socket(&self) -> PathBuf {
        let name = match recorder::folder() {
            Some(_) => "recorded.sock",
            None => "engine.sock",
        };
        self.world.path().join(name)
    }

    /// The daemon's data root.
    pub fn data_root(&self) -> PathBuf {
        self.world.path().join("data")
    }

    /// What the daemon has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The stock `docker` command with `args`, pointed at this daemon.
    pub fn docker<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        self.client("docker", args)
    }

    /// The `wharf` command with `args`, pointed at this daemon.
    pub fn wharf<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        self.client(program("wharf"), args)
    }

    /// Runs the stock `docker` command and returns its stdout without the last newline.
    ///
    /// # Errors
    /// If its exit status is not 0; its stderr is in the error.
    pub fn docker_ok(&self, args: &[&str]) -> Result<String> {
        text_of(self.docker(args).output()?, args)
    }

    /// Runs the `wharf` command, as [`Engine::docker_ok`].
    ///
    /// # Errors
    /// As [`Engine::docker_ok`].
    pub fn wharf_ok(&self, args: &[&str]) -> Result<String> {
        text_of(self.wharf(args).output()?, args)
    }

    /// One request to the Engine API.
    ///
    /// # Errors
    /// If the daemon does not answer in HTTP.
    pub fn api(&self, method: &str, target: &str, body: Option<&Value>) -> Result<Answer> {
        api::request(&self.socket(), method, target, body)
    }

    /// The daemon's process id, as this machine sees it.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pid(&self) -> Result<u32> {
        let path = self.world.path().join("engine.pid");
        let inside = std::fs::read_to_string(&path).with_context(|| format!("read {path:?}"))?;
        host_pid(&self.world, inside.trim())
    }

    /// The text of its daemon.json from the next [`Engine::launch`] on.
    pub fn configure(&mut self, config: String) {
        self.options.config = Some(config);
    }

    /// Kills the daemon with SIGKILL: no word of farewell, no cleaning up.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill_9(&mut self) -> Result<()> {
        self.end("KILL")
    }

    /// Asks the daemon to stop (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// If it does not run.
    pub fn stop(&mut self) -> Result<()> {
        self.end("TERM")
    }

    /// Starts the daemon again, on the same data root.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn launch(&mut self) -> Result<()> {
        ensure!(self.daemon.is_none(), "the daemon runs");
        let path = |name: &str| self.world.path().join(name).to_string_lossy().into_owned();
        let mut daemon = match self.kind {
            EngineKind::Wharf => {
                let mut wharf = self.world.command(program("wharf"));
                wharf.arg("daemon");
                wharf
            }
            EngineKind::Dockerd => self.world.command("dockerd"),
            EngineKind::Dockerd26 => {
                let folder = crate::fixtures::dockerd_26()?;
                let mut dockerd = self.world.command(folder.join("dockerd"));
                // It finds containerd and its shim by PATH.
                let path = std::env::var("PATH").unwrap_or_default();
                dockerd.env("PATH", format!("{}:{path}", folder.display()));
                dockerd
            }
        };
        daemon
            .arg("-H")
            .arg(format!("unix://{}", path("engine.sock")));
        daemon.args(["--data-root", &path("data"), "--exec-root", &path("exec")]);
        daemon.args([
            "--pidfile",
            &path("engine.pid"),
            "--config-file",
            &path("daemon.json"),
        ]);
        daemon.args(&self.options.args);
        let config = self.options.config.as_deref().unwrap_or("{}");
        std::fs::write(path("daemon.json"), config)?;
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        daemon
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.daemon = Some(daemon.spawn().context("start the daemon")?);
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY;
        loop {
            if self
                .api("GET", "/_ping", None)
                .is_ok_and(|answer| answer.status == 200)
            {
                return Ok(());
            }
            let exited = self
                .daemon
                .as_mut()
                .map(Child::try_wait)
                .transpose()?
                .flatten();
            if let Some(status) = exited {
                self.daemon = None;
                bail!("the daemon ended, {status}:\n{}", self.log());
            }
            ensure!(
                Instant::now() < deadline,
                "the daemon does not answer:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a signal to the daemon, which goes on.
    ///
    /// # Errors
    /// If it does not run.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let path = self.world.path().join("engine.pid");
        let pid = std::fs::read_to_string(&path).with_context(|| format!("read {path:?}"))?;
        self.world.sh(&format!("kill -{signal} {}", pid.trim()))?;
        Ok(())
    }

    /// Asks the daemon to stop (SIGTERM) again and again, until it has.
    ///
    /// # Errors
    /// If it does not run, or does not end.
    pub fn insist_on_stop(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("the daemon does not run")?;
        let deadline = Instant::now() + READY;
        while daemon.try_wait()?.is_none() {
            ensure!(
                Instant::now() < deadline,
                "the daemon goes on:\n{}",
                self.log()
            );
            // It may end before it is told again.
            let _ = self.signal("TERM");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn end(&mut self, signal: &str) -> Result<()> {
        self.signal(signal)?;
        // The child is nsenter, which ends with the daemon.
        let mut daemon = self.daemon.take().context("the daemon does not run")?;
        daemon.wait()?;
        Ok(())
    }

    fn client<A: AsRef<std::ffi::OsStr>>(
        &self,
        program: impl AsRef<std::ffi::OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> Command {
        let mut command = Command::new(program.as_ref());
        let home = self.world.path().join("home");
        let _ = std::fs::create_dir_all(&home);
        command
            .env("DOCKER_HOST", format!("unix://{}", self.socket().display()))
            .env("HOME", home)
            .env("LC_ALL", "C.UTF-8")
            .args(args);
        command
    }

    fn log_path(&self) -> PathBuf {
        self.world.path().join("engine.log")
    }
}

/// One of the project's own programs: beside the running test's folder, where cargo puts them, or in the
/// folder that `WHARF_BIN_DIR` names.
pub fn program(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("WHARF_BIN_DIR") {
        return Path::new(&folder).join(name);
    }
    let test = std::env::current_exe().unwrap_or_default();
    let folders = test.ancestors().skip(1);
    let mut found = folders
        .map(|folder| folder.join(name))
        .filter(|path| path.is_file());
    found.next().unwrap_or_else(|| PathBuf::from(name))
}

fn text_of(output: Output, args: &[&str]) -> Result<String> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{args:?}: {}: {stderr}",
        output.status
    );
    let stdout = String::from_utf8_lossy(&output.stdout);
    Ok(stdout.trim_end_matches('\n').to_owned())
}

fn host_pid(world: &World, inside: &str) -> Result<u32> {
    let namespace = world.sh("readlink /proc/self/ns/pid")?;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let matches = inner.is_some_and(|ids| ids.split_whitespace().last() == Some(inside));
        let link = std::fs::read_link(entry.path().join("ns/pid")).unwrap_or_default();
        if matches && link.to_string_lossy() == namespace.trim() {
            return Ok(entry.file_name().to_string_lossy().parse()?);
        }
    }
    bail!("no process {inside} in the world")
}
