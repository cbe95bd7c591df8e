//! One start of a container: network, files, bundle, process; and each undone when a later one fails.

pub(crate) mod files;
pub(crate) mod links;
pub(crate) mod network;

use std::collections::BTreeMap;

use wharf_logs::Rotation;
use wharf_tasks::{Task, TaskConfig, TaskError};

use crate::containers::{Entry, Shared, mounts};
use crate::error::chain;
use crate::record::Record;
use crate::{EngineError, ErrorKind, NetworkView, spec};

/// A container that runs.
pub(crate) struct Launched {
    pub(crate) task: Task,
    pub(crate) pid: u32,
    pub(crate) network: NetworkView,
}

/// Why one does not.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Docker's whole sentence.
    pub(crate) message: String,
    /// The runtime's own part of it.
    pub(crate) reason: String,
    /// The exit code of the container.
    pub(crate) code: i32,
    pub(crate) kind: ErrorKind,
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let message = error.message();
        // dockerd's exitUnknown: something of ours failed, not the program.
        Self {
            reason: message.clone(),
            message,
            code: 128,
            kind: error.kind(),
        }
    }
}

/// Starts the container of `record`.
pub(crate) async fn launch(
    shared: &Shared,
    entry: &Entry,
    record: &Record,
) -> Result<Launched, Failure> {
    mounts::make_sources(&record.mounts)?;
    confine(&record.app_armor_profile).await?;
    let joined = spec::Joined::find(shared, record)?;
    let netns = network::connect(shared, record).await;
    let launched = match netns {
        Ok(netns) => with_network(shared, entry, record, &joined, netns).await,
        Err(error) => Err(error.into()),
    };
    if launched.is_err()
        && let Err(error) = shared.networks.disconnect(&record.id).await
    {
        tracing::warn!(container = %record.id, error = chain(&error), "disconnect");
    }
    launched
}

/// Loads the default profile, should the kernel not have it: that runs a program, so not on this thread.
async fn confine(profile: &str) -> Result<(), EngineError> {
    if profile.is_empty() {
        return Ok(());
    }
    let profile = profile.to_owned();
    let ensured = tokio::task::spawn_blocking(move || crate::apparmor::ensure(&profile)).await;
    ensured.map_err(|error| EngineError::failed(&error))?
}

async fn with_network(
    shared: &Shared,
    entry: &Entry,
    record: &Record,
    joined: &spec::Joined,
    netns: Option<std::os::fd::OwnedFd>,
) -> Result<Launched, Failure> {
    let endpoints = shared.networks.endpoints_of(&record.id);
    files::write_all(shared, record, &endpoints, joined)?;
    let config = task_config(shared, record, joined, netns)?;
    let names = serve_names(shared, record);
    let task = shared
        .tasks
        .create(&record.id, config)
        .await
        .map_err(|error| explain(&error))?;
    // Names resolve before the program runs.
    if let Err(error) = names.await {
        if let Err(error) = task.delete().await {
            tracing::warn!(container = %record.id, error = chain(&error), "delete the task");
        }
        return Err(error.into());
    }
    match begin(entry, &task).await {
        Ok(()) => {
            let network = network::view(record, &endpoints, task.pid());
            Ok(Launched {
                pid: task.pid(),
                task,
                network,
            })
        }
        Err(error) => {
            entry.io().drop_pending();
            if let Err(error) = task.delete().await {
                tracing::warn!(container = %record.id, error = chain(&error), "delete the task");
            }
            Err(explain(&error))
        }
    }
}

/// Resolves names for the container on its networks, beside what else its start needs.
fn serve_names(
    shared: &Shared,
    record: &Record,
) -> impl Future<Output = Result<(), EngineError>> + use<> {
    let (networks, id) = (shared.networks.clone(), record.id.clone());
    let config = files::dns_config(shared, record);
    let work = tokio::task::spawn_blocking(move || networks.serve_names(&id, config));
    async move {
        let served = work.await.map_err(|error| EngineError::failed(&error))?;
        Ok(served?)
    }
}

/// Connects those who wait, then lets the process go.
async fn begin(entry: &Entry, task: &Task) -> Result<(), TaskError> {
    let pending = {
        let mut io = entry.io();
        io.task = Some(task.clone());
        std::mem::take(&mut io.pending)
    };
    for client in pending {
        // A client that has gone is none.
        if !client.connect.is_closed() {
            let stream = task.attach(client.options).await?;
            let _ = client.connect.send(stream);
        }
    }
    task.start().await
}

fn task_config(
    shared: &Shared,
    record: &Record,
    joined: &spec::Joined,
    netns: Option<std::os::fd::OwnedFd>,
) -> Result<TaskConfig, EngineError> {
    let rootfs = shared
        .snapshots
        .rootfs(&record.id)
        .map_err(|error| EngineError::failed(&error))?;
    let (spec, seccomp) = spec::bundle(shared, record, joined)?;
    let mut groups = record.host.group_add.clone();
    // Those of devices stand in the specification only.
    let more = spec.process().as_ref().map(|process| process.user());
    let more = more.and_then(|user| user.additional_gids().as_ref());
    groups.extend(more.into_iter().flatten().map(u32::to_string));
    let log = match record.host.log.driver.as_str() {
        "json-file" => wharf_tasks::LogConfig::JsonFile {
            path: shared.folders.log(&record.id),
            rotation: rotation(&record.host.log.options)?,
            attrs: String::new(),
        },
        _ => wharf_tasks::LogConfig::None,
    };
    Ok(TaskConfig {
        spec,
        rootfs: wharf_tasks::RootfsSource::Overlay {
            lowers: rootfs.lowers,
            upper: rootfs.upper,
            work: rootfs.work,
        },
        stdio: wharf_tasks::Stdio {
            terminal: record.config.tty,
            open_stdin: record.config.open_stdin,
            stdin_once: record.config.stdin_once,
        },
        log,
        netns,
        seccomp,
        user: spec::user(&record.config.user),
        groups,
        init: record.host.init.unwrap_or(shared.config.init),
    })
}

/// `max-size` and `max-file` of the json-file driver; Docker's words for what is wrong with them.
pub(crate) fn rotation(options: &BTreeMap<String, String>) -> Result<Rotation, EngineError> {
    const KNOWN: &[&str] = &[
        "max-file",
        "max-size",
        "compress",
        "labels",
        "labels-regex",
        "env",
        "env-regex",
        "tag",
        "mode",
        "max-buffer-size",
    ];
    let invalid = |text: String| EngineError::Invalid(text);
    if let Some(key) = options.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(invalid(format!(
            "unknown log opt '{key}' for json-file log driver"
        )));
    }
    let max_size = match options.get("max-size").map(String::as_str) {
        None | Some("" | "-1") => None,
        Some(text) => {
            Some(size(text).ok_or_else(|| invalid(format!("invalid value for max-size: {text}")))?)
        }
    };
    let max_files = match options.get("max-file") {
        None => 1,
        Some(text) => text
            .parse()
            .map_err(|_| invalid(format!("invalid value for max-file: {text}")))?,
    };
    if max_files > 1 && max_size.is_none() {
        return Err(invalid(
            "max-size must be set if max-file is greater than 1".to_owned(),
        ));
    }
    if max_files < 1 {
        return Err(invalid("max-file cannot be less than 1".to_owned()));
    }
    Ok(Rotation {
        max_size,
        max_files,
    })
}

/// go-units `RAMInBytes`: a number with `b k m g t p`, with or without `b` or `ib` behind.
pub(crate) fn size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let end = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    let shift = match unit.trim().trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    Some((number * (1u64 << shift) as f64) as u64)
}

/// Docker's sentence, exit code and class for a process that could not be started (moby
/// `daemon/errors.go`, `setExitCodeFromError`).
pub(crate) fn explain(error: &TaskError) -> Failure {
    let reason = chain(error);
    let lower = reason.to_ascii_lowercase();
    let code = if lower.contains("permission denied") || lower.contains("is a directory") {
        126
    } else if lower.contains("executable file not found")
        || lower.contains("no such file or directory")
        || lower.contains("not a directory")
    {
        127
    } else {
        128
    };
    let kind = if code == 128 {
        ErrorKind::System
    } else {
        ErrorKind::InvalidParameter
    };
    let message = format!(
        "failed to create task for container: failed to create shim task: OCI runtime create failed: unable to start container process: {reason}"
    );
    Failure {
        message,
        reason,
        code,
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_log_options() {
        let options = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let read = |pairs: &[(&str, &str)]| rotation(&options(pairs));
        let full = read(&[("max-size", "10m"), ("max-file", "3")]).unwrap();
        assert_eq!(
            full,
            Rotation {
                max_size: Some(10 << 20),
                max_files: 3
            }
        );
        assert_eq!(read(&[]).unwrap(), Rotation::default());
        let error = read(&[("max-file", "2")]).unwrap_err().to_string();
        assert_eq!(error, "max-size must be set if max-file is greater than 1");
        let error = read(&[("nonsense", "2")]).unwrap_err().to_string();
        assert_eq!(error, "unknown log opt 'nonsense' for json-file log driver");
    }

    #[test]
    fn reads_sizes() {
        assert_eq!(
            ["10", "1k", "1.5m", "2gb", "1KiB", "x"].map(size),
            [
                Some(10),
                Some(1024),
                Some(1_572_864),
                Some(2 << 30),
                Some(1024),
                None
            ]
        );
    }
}
