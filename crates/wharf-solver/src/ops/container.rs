//! Containers of frontends: commands on a result that are no step of a graph (`NewContainer`).

use std::sync::Arc;

use bollard_buildkit_proto::pb;
use tokio::net::UnixStream;
use tokio::sync::OnceCell;
use wharf_engine::{Step, Workspace};
use wharf_oci::Digest;

use super::VertexRun;
use super::mounts::{Mounts, Reserved};
use crate::flight::Outputs;
use crate::graph::{Edge, Node, check_root};
use crate::vertex_progress::VertexProgress;
use crate::{Job, Ref, SolveError, blocking};

/// What a container has that all its processes share.
#[derive(Clone, Debug, Default)]
pub struct NewContainer {
    /// Its mounts, each with the result that it shows; without one, an empty tree. One of them is the root.
    pub mounts: Vec<(pb::Mount, Option<Ref>)>,
    /// BuildKit's `NetMode`.
    pub network: i32,
    /// More lines of `/etc/hosts`.
    pub extra_hosts: Vec<pb::HostIp>,
    /// Its name for itself; empty for the usual one.
    pub hostname: String,
}

/// A command in a container.
#[derive(Clone, Debug, Default)]
pub struct NewProcess {
    /// Arguments, variables, folder and user.
    pub meta: pb::Meta,
    /// BuildKit's `SecurityMode`.
    pub security: i32,
    /// Secrets as variables.
    pub secretenv: Vec<pb::SecretEnv>,
    /// On a terminal.
    pub tty: bool,
    /// It reads what it is sent.
    pub stdin: bool,
}

/// A container. What its processes write stays until it is dropped, and goes nowhere.
pub struct Container {
    job: Job,
    wanted: NewContainer,
    inputs: Vec<Outputs>,
    root: OnceCell<Arc<Workspace>>,
    /// One process at a time has the root.
    busy: tokio::sync::Mutex<()>,
}

/// A process that runs. Dropping it kills it.
pub struct Process<'a> {
    step: Step,
    _mounts: Mounts,
    _caches: Vec<Reserved>,
    _busy: tokio::sync::MutexGuard<'a, ()>,
}

impl Job {
    /// A container of a frontend's.
    ///
    /// # Errors
    /// If it has no root, or only a part of a tree for it.
    pub fn container(&self, wanted: NewContainer) -> Result<Container, SolveError> {
        if !wanted.mounts.iter().any(|(mount, _)| mount.dest == "/") {
            return Err(SolveError::Invalid(
                "container mounts have no rootfs".to_owned(),
            ));
        }
        for (mount, _) in &wanted.mounts {
            check_root(mount)?;
        }
        let mut wanted = wanted;
        let mut inputs: Vec<Outputs> = Vec::new();
        for (mount, tree) in &mut wanted.mounts {
            mount.input = -1;
            // What is written is no result of anything.
            mount.output = -1;
            if let Some(tree) = tree {
                mount.input = i64::try_from(inputs.len()).unwrap_or(-1);
                inputs.push(vec![Some(tree.clone())]);
            }
        }
        Ok(Container {
            job: self.clone(),
            wanted,
            inputs,
            root: OnceCell::new(),
            busy: tokio::sync::Mutex::new(()),
        })
    }
}

impl Container {
    /// Starts a command.
    ///
    /// # Errors
    /// If it may not do what it asks for, cannot be started, or another one runs.
    pub async fn start(&self, wanted: NewProcess) -> Result<Process<'_>, SolveError> {
        let busy = self.busy.try_lock().map_err(|_| {
            SolveError::NotImplemented(
                "more than one process at a time in a container of a frontend is not built"
                    .to_owned(),
            )
        })?;
        let exec = self.exec(&wanted);
        if exec.meta.as_ref().is_none_or(|meta| meta.args.is_empty()) {
            return Err(SolveError::Invalid("no command specified".to_owned()));
        }
        let node = self.node(&exec);
        let progress = VertexProgress::default();
        let doing = VertexRun {
            job: &self.job,
            node: &node,
            inputs: &self.inputs,
            progress: &progress,
        };
        let caches = doing.reserve().await?;
        let started = doing.started(&exec, &wanted, &self.root).await;
        let (step, mounts) = started?;
        Ok(Process {
            step,
            _mounts: mounts,
            _caches: caches,
            _busy: busy,
        })
    }

    fn exec(&self, wanted: &NewProcess) -> pb::ExecOp {
        let mounts = self.wanted.mounts.iter();
        let mut meta = wanted.meta.clone();
        meta.extra_hosts.extend(self.wanted.extra_hosts.clone());
        if meta.hostname.is_empty() {
            meta.hostname.clone_from(&self.wanted.hostname);
        }
        pb::ExecOp {
            meta: Some(meta),
            mounts: mounts.map(|(mount, _)| mount.clone()).collect(),
            network: self.wanted.network,
            security: wanted.security,
            secretenv: wanted.secretenv.clone(),
            ..pb::ExecOp::default()
        }
    }

    /// The vertex that the command would be in a graph.
    fn node(&self, exec: &pb::ExecOp) -> Node {
        let inputs = 0..self.inputs.len();
        Node {
            digest: String::new(),
            op: pb::op::Op::Exec(exec.clone()),
            platform: None,
            inputs: inputs.map(|node| Edge { node, output: 0 }).collect(),
            bare: Digest::sha256(b""),
            metadata: pb::OpMetadata::default(),
            sources: Vec::new(),
        }
    }
}

impl VertexRun<'_> {
    async fn started(
        &self,
        exec: &pb::ExecOp,
        wanted: &NewProcess,
        workspace: &OnceCell<Arc<Workspace>>,
    ) -> Result<(Step, Mounts), SolveError> {
        super::allowed(self.job, exec)?;
        let meta = exec.meta.clone().unwrap_or_default();
        let root = exec.mounts.iter().find(|mount| mount.dest == "/");
        let root = root.cloned().unwrap_or_default();
        let below = self.input(root.input)?;
        let workspace = workspace
            .get_or_try_init(|| async {
                let job = self.job.clone();
                blocking(move || {
                    let below = job.layered(&below)?;
                    Ok(Arc::new(job.engine().containers.tree(&below.chains())?))
                })
                .await
            })
            .await?;
        let mut mounts = self.mounts(exec, &meta.cwd).await?;
        let mut step = self.step(exec, &meta, &root, &mut mounts);
        step.config.tty = wanted.tty;
        step.config.open_stdin = wanted.stdin;
        step.config.stdin_once = wanted.stdin;
        let started = workspace.start(step).await;
        let step = started.map_err(|error| SolveError::Failed(error.message()))?;
        Ok((step, mounts))
    }
}

impl Process<'_> {
    /// What it says and is told: in Docker's frames, but on a terminal, where it is as it is. There once.
    pub fn take_stream(&mut self) -> Option<UnixStream> {
        self.step.take_output()
    }

    /// Waits for its end; its exit code.
    pub async fn wait(&self) -> i32 {
        self.step.wait().await.code
    }

    /// Sends a signal by its name.
    ///
    /// # Errors
    /// If there is no such signal, or no process any more.
    pub async fn signal(&self, name: &str) -> Result<(), SolveError> {
        Ok(self.step.signal(name).await?)
    }

    /// Tells it the size of its terminal.
    ///
    /// # Errors
    /// If it has none.
    pub async fn resize(&self, rows: u16, columns: u16) -> Result<(), SolveError> {
        Ok(self.step.resize(rows, columns).await?)
    }

    /// Removes what it needed; it is killed if it still runs.
    ///
    /// # Errors
    /// If that fails.
    pub async fn end(self) -> Result<(), SolveError> {
        Ok(self.step.end().await?)
    }
}
