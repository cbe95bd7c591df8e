//! Commands.

use std::collections::BTreeMap;
use std::sync::Arc;

use bollard_buildkit_proto::pb;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use wharf_engine::{Config, HostConfig, NetworkMode, NewStep, Resources, Ulimit, Workspace};

use super::VertexRun;
use super::mounts::Mounts;
use crate::flight::Outputs;
use crate::frontend::classic::ContainerRunner;
use crate::{Entitlement, Job, Ref, SolveError, blocking};

/// `PATH` of a command that has none (`util/system`).
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// BuildKit's default name of a step's host.
const HOSTNAME: &str = "buildkitsandbox";

impl VertexRun<'_> {
    pub(super) async fn exec(&self, exec: &pb::ExecOp) -> Result<Outputs, SolveError> {
        let meta = exec.meta.clone().unwrap_or_default();
        let root = exec.mounts.iter().find(|mount| mount.dest == "/");
        let root = root.cloned().unwrap_or_default();
        let below = self.input(root.input)?;
        let job = self.job.clone();
        let below = blocking(move || job.layered(&below)).await?;
        let mut mounts = self.mounts(exec, &meta.cwd).await?;
        let step = self.step(exec, &meta, &root, &mut mounts);
        let written = match self.job.container_runner() {
            None => self.bare(step, &below, &meta).await?,
            Some(container_runner) => self.housed(container_runner, step, &below, &meta).await?,
        };
        self.seal(&root, (written, below), mounts).await
    }

    /// Runs it as a task that nobody sees; what it has written.
    async fn bare(
        &self,
        step: NewStep,
        below: &Ref,
        meta: &pb::Meta,
    ) -> Result<Arc<Workspace>, SolveError> {
        let (job, chains) = (self.job.clone(), below.chains());
        let workspace =
            blocking(move || Ok(Arc::new(job.engine().containers.tree(&chains)?))).await?;
        let started = workspace.start(step).await.map_err(|error| {
            let text = error.message();
            let command = meta.args.join(" ");
            SolveError::Failed(format!(
                "process {command:?} did not complete successfully: {text}"
            ))
        });
        let mut step = started?;
        if let Some(output) = step.take_output() {
            self.listen(output).await;
        }
        let status = step.wait().await;
        step.end().await?;
        judge(meta, status.code)?;
        Ok(workspace)
    }

    /// Runs it as a container; what it has written.
    async fn housed(
        &self,
        container_runner: &ContainerRunner,
        step: NewStep,
        below: &Ref,
        meta: &pb::Meta,
    ) -> Result<Arc<Workspace>, SolveError> {
        let running = container_runner.open(self.job, step).await?;
        let ended = async {
            self.listen(running.start().await?).await;
            judge(meta, running.code().await?)
        };
        if let Err(error) = ended.await {
            container_runner.failed(running).await;
            return Err(error);
        }
        let (containers, id) = (self.job.engine().containers.clone(), running.id.clone());
        let (keeps, chains) = (container_runner.keeps(), below.chains());
        let workspace = blocking(move || {
            let written = match keeps {
                true => containers.copied(&id, &chains)?,
                false => containers.taken(&id)?,
            };
            Ok(Arc::new(written))
        });
        let workspace = workspace.await?;
        container_runner.succeeded(running).await?;
        Ok(workspace)
    }

    pub(super) fn step(
        &self,
        exec: &pb::ExecOp,
        meta: &pb::Meta,
        root: &pb::Mount,
        mounts: &mut Mounts,
    ) -> NewStep {
        let mut env = meta.env.clone();
        if !env.iter().any(|pair| pair.starts_with("PATH=")) {
            env.push(DEFAULT_PATH.to_owned());
        }
        env.extend(proxies(meta));
        env.append(&mut mounts.env);
        let hostname = match meta.hostname.as_str() {
            "" => HOSTNAME.to_owned(),
            own => own.to_owned(),
        };
        let limits = meta.ulimit.iter().map(|limit| Ulimit {
            name: limit.name.clone(),
            soft: limit.soft,
            hard: limit.hard,
        });
        let hosts = meta.extra_hosts.iter();
        NewStep {
            config: Config {
                hostname,
                user: meta.user.clone(),
                env,
                cmd: Some(meta.args.clone()),
                working_dir: match meta.cwd.as_str() {
                    "" => "/".to_owned(),
                    cwd => cwd.to_owned(),
                },
                ..Config::default()
            },
            host: HostConfig {
                network_mode: match pb::NetMode::try_from(exec.network) {
                    Ok(pb::NetMode::Host) => NetworkMode::Host,
                    Ok(pb::NetMode::None) => NetworkMode::None,
                    _ => NetworkMode::Default,
                },
                extra_hosts: hosts
                    .map(|host| format!("{}:{}", host.host, host.ip))
                    .collect(),
                privileged: exec.security == pb::SecurityMode::Insecure as i32,
                readonly_rootfs: root.readonly,
                shm_size: 64 << 20,
                resources: Resources {
                    ulimits: limits.collect(),
                    cgroup_parent: meta.cgroup_parent.clone(),
                    ..Resources::default()
                },
                ..HostConfig::default()
            },
            mounts: mounts.points.clone(),
        }
    }

    /// Passes on what it says, in Docker's frames, until it says no more.
    async fn listen(&self, mut output: impl AsyncRead + Unpin) {
        let mut header = [0; 8];
        while output.read_exact(&mut header).await.is_ok() {
            let [kind, _, _, _, length @ ..] = header;
            let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
            if output.read_exact(&mut bytes).await.is_err() {
                break;
            }
            self.progress.log(i64::from(kind), Bytes::from(bytes)).await;
        }
    }

    /// What was written becomes the outputs.
    async fn seal(
        &self,
        root: &pb::Mount,
        (workspace, below): (Arc<Workspace>, Ref),
        mut mounts: Mounts,
    ) -> Result<Outputs, SolveError> {
        let outputs = std::mem::take(&mut mounts.outputs);
        let stubs = workspace.missing(&mounts.places())?;
        drop(mounts);
        let (job, root_output) = (self.job.clone(), usize::try_from(root.output).ok());
        blocking(move || {
            let mut made: BTreeMap<usize, Ref> = BTreeMap::new();
            if let Some(output) = root_output {
                made.insert(output, job.sealed(&workspace, &below, &stubs)?);
            }
            for (output, workspace, below) in outputs {
                made.insert(output, job.sealed(&workspace, &below, &[])?);
            }
            let count = made.keys().next_back().map_or(0, |last| last + 1);
            let mut outputs = vec![None; count];
            for (at, tree) in made {
                outputs[at] = Some(tree);
            }
            Ok(outputs)
        })
        .await
    }
}

/// What both the client and the daemon must have said yes to. Asked before anything of a graph is looked at, and of each
/// process of a frontend's container.
pub(crate) fn allowed(job: &Job, exec: &pb::ExecOp) -> Result<(), SolveError> {
    let wanted = [
        (
            exec.network == pb::NetMode::Host as i32,
            Entitlement::NetworkHost,
        ),
        (
            exec.security == pb::SecurityMode::Insecure as i32,
            Entitlement::SecurityInsecure,
        ),
    ];
    for (is_wanted, entitlement) in wanted {
        if is_wanted && !job.may(entitlement) {
            return Err(SolveError::Forbidden(format!(
                "failed to load LLB: {} is not allowed",
                entitlement.name()
            )));
        }
    }
    if exec.cdi_devices.iter().any(|device| !device.optional) {
        let text = "devices are not supported in builds";
        return Err(SolveError::NotImplemented(text.to_owned()));
    }
    Ok(())
}

/// Whether the command has ended as it must.
fn judge(meta: &pb::Meta, code: i32) -> Result<(), SolveError> {
    let good = match meta.valid_exit_codes.is_empty() {
        true => code == 0,
        false => meta.valid_exit_codes.contains(&code),
    };
    match good {
        true => Ok(()),
        false => Err(SolveError::Command {
            command: meta.args.join(" "),
            code,
        }),
    }
}

fn proxies(meta: &pb::Meta) -> Vec<String> {
    let Some(proxy) = &meta.proxy_env else {
        return Vec::new();
    };
    let pairs = [
        ("HTTP_PROXY", &proxy.http_proxy),
        ("HTTPS_PROXY", &proxy.https_proxy),
        ("FTP_PROXY", &proxy.ftp_proxy),
        ("NO_PROXY", &proxy.no_proxy),
        ("ALL_PROXY", &proxy.all_proxy),
    ];
    let set = pairs.iter().filter(|(_, value)| !value.is_empty());
    let both = set.flat_map(|(name, value)| {
        [
            format!("{name}={value}"),
            format!("{}={value}", name.to_ascii_lowercase()),
        ]
    });
    both.collect()
}
