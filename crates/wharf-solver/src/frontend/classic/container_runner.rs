//! The container that a classic `RUN` is.

use std::sync::Arc;

use wharf_engine::{
    AttachOptions, Config, Containers, Health, HostConfig, LogConfig, NetworkMode, NewContainer,
    NewStep, RemoveOptions, WaitCondition,
};
use wharf_oci::Digest;

use super::{BuildOptions, Output, short};
use crate::{Job, SolveError};

/// How the commands of a job are run that is a classic build's: in containers on an image.
#[derive(Debug)]
pub(crate) struct ContainerRunner {
    /// The image of the step before.
    pub(super) image: Digest,
    pub(super) options: Arc<BuildOptions>,
    /// Where is said which container it is.
    pub(super) output: Output,
    /// Whether the solver's cache keeps what it has written.
    pub(super) remembers: bool,
}

const FORCE: RemoveOptions = RemoveOptions {
    force: true,
    volumes: true,
    link: false,
};

impl ContainerRunner {
    /// Makes the container of a command. If it is dropped, the container goes.
    ///
    /// # Errors
    /// If its settings make no sense.
    pub(crate) async fn open(&self, job: &Job, step: NewStep) -> Result<Running, SolveError> {
        let containers = job.engine().containers.clone();
        let created = containers.create(self.container(step)).await?;
        for warning in &created.warnings {
            let text = format!(" ---> [Warning] {warning}\n");
            self.output.say(text).await;
        }
        let text = format!(" ---> Running in {}\n", short(&created.id));
        self.output.say(text).await;
        Ok(Running {
            containers,
            id: created.id,
            done: false,
        })
    }

    /// What the command asks for, and what the build does for all of them.
    fn container(&self, step: NewStep) -> NewContainer {
        let NewStep {
            config,
            host,
            mounts,
        } = step;
        let options = &*self.options;
        NewContainer {
            config: Config {
                image: self.image.to_string(),
                user: config.user,
                env: config.env,
                cmd: config.cmd,
                entrypoint: Some(vec![String::new()]),
                working_dir: config.working_dir,
                attach_stdout: true,
                attach_stderr: true,
                healthcheck: Some(Health {
                    test: vec!["NONE".to_owned()],
                    ..Health::default()
                }),
                ..Config::default()
            },
            host: HostConfig {
                network_mode: match host.network_mode {
                    NetworkMode::Default => options.network.clone(),
                    own => own,
                },
                log: LogConfig {
                    driver: "none".to_owned(),
                    ..LogConfig::default()
                },
                extra_hosts: options.extra_hosts.clone(),
                shm_size: options.shm_size,
                resources: options.resources.clone(),
                ..HostConfig::default()
            },
            points: mounts,
            ..NewContainer::default()
        }
    }

    /// The command has ended well: its container goes, or stays for a look.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub(crate) async fn succeeded(&self, running: Running) -> Result<(), SolveError> {
        if self.keeps() {
            running.stay();
            return Ok(());
        }
        self.remove(running).await
    }

    /// It has not: the container stays for a look, unless nothing is to be left.
    pub(crate) async fn failed(&self, running: Running) {
        if !self.options.force_remove {
            return running.stay();
        }
        if let Err(error) = self.remove(running).await {
            tracing::warn!(%error, "remove a build's container");
        }
    }

    /// What containers are given that their commands do not say: the cache has to know it.
    pub(crate) fn settings(&self) -> String {
        let options = &*self.options;
        let (network, hosts) = (&options.network, &options.extra_hosts);
        let (shm, resources) = (options.shm_size, &options.resources);
        format!("{network:?} {hosts:?} {shm} {resources:?}")
    }

    /// Whether the solver's cache keeps what the command has written.
    pub(crate) fn remembers(&self) -> bool {
        self.remembers
    }

    /// Whether containers of commands that went well stay.
    pub(crate) fn keeps(&self) -> bool {
        !self.options.remove && !self.options.force_remove
    }

    async fn remove(&self, mut running: Running) -> Result<(), SolveError> {
        running.done = true;
        running.containers.remove(&running.id, FORCE).await?;
        let id = short(&running.id);
        let text = format!(" ---> Removed intermediate container {id}\n");
        self.output.say(text).await;
        Ok(())
    }
}

/// The container of a command. If the build is given up, it goes too.
pub(crate) struct Running {
    containers: Containers,
    pub(crate) id: String,
    done: bool,
}

impl Running {
    /// Starts it. What it says, in Docker's frames; it ends when the command does.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) async fn start(&self) -> Result<tokio::io::DuplexStream, SolveError> {
        let options = AttachOptions {
            stdout: true,
            stderr: true,
            stream: true,
            ..AttachOptions::default()
        };
        let attached = self.containers.attach(&self.id, options).await?;
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(attached.serve(theirs, std::future::pending()));
        self.containers.start(&self.id).await?;
        Ok(ours)
    }

    /// Its exit code, when it has ended.
    ///
    /// # Errors
    /// If it is not there any more.
    pub(crate) async fn code(&self) -> Result<i32, SolveError> {
        let waiter = self.containers.wait(&self.id, WaitCondition::NotRunning)?;
        Ok(waiter.wait().await.code)
    }

    fn stay(mut self) {
        self.done = true;
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
                let error = error.message();
                tracing::warn!(container = id, error, "remove a build's container");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command in another network, or with other limits, is another command to the cache.
    #[test]
    fn settings_of_containers_count() {
        let of = |change: &dyn Fn(&mut BuildOptions)| {
            let mut options = BuildOptions::default();
            change(&mut options);
            let (output, _) = Output::channel();
            let container_runner = ContainerRunner {
                image: Digest::sha256(b""),
                options: Arc::new(options),
                output,
                remembers: true,
            };
            container_runner.settings()
        };
        let plain = of(&|_| ());
        assert_eq!(of(&|options| options.no_cache = true), plain);
        assert_ne!(of(&|options| options.network = NetworkMode::Host), plain);
        assert_ne!(
            of(&|options| options.extra_hosts = vec!["a:1".to_owned()]),
            plain
        );
        assert_ne!(of(&|options| options.shm_size = 1), plain);
        assert_ne!(of(&|options| options.resources.memory = 1 << 30), plain);
    }
}
