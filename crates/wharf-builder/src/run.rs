//! `RUN`: a command in a container on top of the step before, and what it has changed as a layer.

use tokio::io::AsyncReadExt as _;
use wharf_dockerfile::Run;
use wharf_engine::{
    AttachOptions, Config, Containers, Health, HostConfig, LogConfig, MountRequest, NetworkMode,
    NewContainer, RemoveOptions, WaitCondition,
};
use wharf_oci::RunConfig;

use crate::build::Build;
use crate::mounts::Mounts;
use crate::stage::Stage;
use crate::{BuildError, BuildEvent, cache, flags};

impl Build<'_> {
    pub(crate) async fn run(&mut self, stage: &mut Stage, run: &Run) -> Result<(), BuildError> {
        if run
            .security
            .as_deref()
            .is_some_and(|mode| mode != "sandbox")
        {
            let text = "security.insecure is not allowed";
            return Err(BuildError::Failed(text.to_owned()));
        }
        let mut mounts = self.mounts(stage, run).await?;
        let command = self.command(stage, run, &mut mounts)?;
        let env = stage.config.env.clone().unwrap_or_default();
        let args = self.args.beside(&env);
        let created_by = remembered(self, &args, &command).join(" ");
        let more = format!("RUN {:?} {}", run.network, mounts.key);
        let key = cache::key(
            stage.image.as_ref(),
            &created_by,
            &stage.config,
            &stage.author,
            &more,
        );
        if self.cached(stage, &key, &created_by).await? {
            return Ok(());
        }
        let Some(image) = stage.image else {
            let program = command.first().cloned().unwrap_or_default();
            return Err(BuildError::Failed(format!(
                "exec: \"{program}\": stat {program}: no such file or directory: there is nothing in the image yet"
            )));
        };
        let new = NewContainer {
            config: Config {
                image: image.to_string(),
                env: [env, args, std::mem::take(&mut mounts.env)].concat(),
                cmd: Some(command.clone()),
                entrypoint: Some(vec![String::new()]),
                healthcheck: Some(Health {
                    test: vec!["NONE".to_owned()],
                    ..Health::default()
                }),
                ..settings(&stage.config)
            },
            host: self.host(run, std::mem::take(&mut mounts.requests))?,
            ..NewContainer::default()
        };
        let container = self.contain(new).await?;
        let code = self.follow(&container).await?;
        if code != 0 {
            container.end(self.options.force_remove);
            let command = command.join(" ");
            return Err(BuildError::Command { command, code });
        }
        let layer = self.builder.engine.containers.layer(&container.id).await?;
        self.commit(stage, Some(layer), &created_by, &key).await?;
        mounts.done();
        if self.options.remove || self.options.force_remove {
            let id = short(&container.id).to_owned();
            container.remove().await?;
            self.output
                .say(format!(" ---> Removed intermediate container {id}\n"))
                .await;
            return Ok(());
        }
        container.end(false);
        Ok(())
    }

    /// The command, with the shell before it and its here-documents in it.
    fn command(
        &self,
        stage: &Stage,
        run: &Run,
        mounts: &mut Mounts,
    ) -> Result<Vec<String>, BuildError> {
        match flags::Command::of(run, stage.shell()) {
            flags::Command::Words(words) => Ok(words),
            flags::Command::Script(document) => {
                let path = self.script(&document.name, &document.content, mounts)?;
                Ok(vec![path])
            }
        }
    }

    /// A script with an interpreter of its own, as a file in the container.
    fn script(&self, name: &str, content: &str, mounts: &mut Mounts) -> Result<String, BuildError> {
        let target = format!("/dev/pipes/{name}");
        mounts.file(self.context.scratch()?, name, content, &target)?;
        Ok(target)
    }

    fn host(&self, run: &Run, mounts: Vec<MountRequest>) -> Result<HostConfig, BuildError> {
        let network_mode = match run.network.as_deref() {
            None | Some("" | "default") => self.options.network.clone(),
            Some("none") => NetworkMode::None,
            Some("host") => NetworkMode::Host,
            Some(other) => {
                return Err(BuildError::Invalid(format!(
                    "invalid network mode {other:?}"
                )));
            }
        };
        Ok(HostConfig {
            mounts,
            network_mode,
            log: LogConfig {
                driver: "none".to_owned(),
                ..LogConfig::default()
            },
            extra_hosts: self.options.extra_hosts.clone(),
            shm_size: self.options.shm_size,
            resources: self.options.resources.clone(),
            ..HostConfig::default()
        })
    }

    async fn contain(&self, new: NewContainer) -> Result<Running, BuildError> {
        let containers = self.builder.engine.containers.clone();
        let created = containers.create(new).await?;
        for warning in &created.warnings {
            self.output
                .say(format!(" ---> [Warning] {warning}\n"))
                .await;
        }
        self.output
            .say(format!(" ---> Running in {}\n", short(&created.id)))
            .await;
        Ok(Running {
            containers,
            id: created.id,
            done: false,
        })
    }

    /// Starts it, passes on what it says, and gives its exit code.
    async fn follow(&self, container: &Running) -> Result<i32, BuildError> {
        let containers = &container.containers;
        let options = AttachOptions {
            stdout: true,
            stderr: true,
            stream: true,
            ..AttachOptions::default()
        };
        let attached = containers.attach(&container.id, options).await?;
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let serving = tokio::spawn(attached.serve(theirs));
        containers.start(&container.id).await?;
        self.listen(ours).await;
        // It has ended: its stream did.
        let _ = serving.await;
        let waiter = containers.wait(&container.id, WaitCondition::NotRunning)?;
        Ok(waiter.wait().await.code)
    }

    /// Reads Docker's frames until the end. A letter may be cut in two by a frame: its bytes wait for the rest.
    async fn listen(&self, mut stream: tokio::io::DuplexStream) {
        let mut header = [0; 8];
        let mut rests: [Vec<u8>; 2] = Default::default();
        while stream.read_exact(&mut header).await.is_ok() {
            let [kind, _, _, _, length @ ..] = header;
            let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
            if stream.read_exact(&mut bytes).await.is_err() {
                break;
            }
            let is_error = kind == 2;
            let rest = &mut rests[usize::from(is_error)];
            rest.extend_from_slice(&bytes);
            self.pass_on(rest, is_error).await;
        }
        for (is_error, rest) in [false, true].into_iter().zip(rests) {
            if !rest.is_empty() {
                self.print(&String::from_utf8_lossy(&rest), is_error).await;
            }
        }
    }

    async fn pass_on(&self, rest: &mut Vec<u8>, is_error: bool) {
        let valid = match std::str::from_utf8(rest) {
            Ok(_) => rest.len(),
            // In the middle of a letter.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => rest.len(),
        };
        let text: Vec<u8> = rest.drain(..valid).collect();
        if !text.is_empty() {
            self.print(&String::from_utf8_lossy(&text), is_error).await;
        }
    }

    async fn print(&self, text: &str, is_error: bool) {
        let text = text.to_owned();
        let said = BuildEvent::Output { is_error, text };
        self.output.send(said).await;
    }
}

/// The container of a step. If the build is given up, it goes too.
struct Running {
    containers: Containers,
    id: String,
    done: bool,
}

const FORCE: RemoveOptions = RemoveOptions {
    force: true,
    volumes: true,
    link: false,
};

impl Running {
    async fn remove(mut self) -> Result<(), BuildError> {
        self.done = true;
        Ok(self.containers.remove(&self.id, FORCE).await?)
    }

    /// Leaves it as it is, or removes it behind the back of whoever waits.
    fn end(mut self, remove: bool) {
        self.done = !remove;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let (containers, id) = (self.containers.clone(), std::mem::take(&mut self.id));
        tokio::spawn(async move {
            if let Err(error) = containers.remove(&id, FORCE).await {
                tracing::warn!(
                    container = id,
                    error = error.message(),
                    "remove a build's container"
                );
            }
        });
    }
}

/// The command as the history and the cache know it: with the arguments that were set for it.
fn remembered(build: &Build<'_>, args: &[String], command: &[String]) -> Vec<String> {
    let name = |pair: &&String| {
        build
            .args
            .counts(pair.split('=').next().unwrap_or_default())
    };
    let counted: Vec<String> = args.iter().filter(name).cloned().collect();
    if args.is_empty() {
        return command.to_vec();
    }
    [
        vec![format!("|{}", counted.len())],
        counted,
        command.to_vec(),
    ]
    .concat()
}

/// What of an image's settings a container for a step needs: it inherits the rest from the image itself.
fn settings(config: &RunConfig) -> Config {
    Config {
        user: config.user.clone(),
        working_dir: config.working_dir.clone(),
        attach_stdout: true,
        attach_stderr: true,
        ..Config::default()
    }
}

/// Docker's short form of an id.
pub(crate) fn short(id: &str) -> &str {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..12).unwrap_or(hex)
}
