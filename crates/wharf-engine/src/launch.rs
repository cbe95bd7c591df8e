//! One start of a container: network, files, bundle, process; and each undone when a later one fails.

pub(crate) mod files;
pub(crate) mod links;
pub(crate) mod network;

use wharf_shim_api::FailureKind;
use wharf_sys::words::chain;
use wharf_tasks::{Task, TaskConfig, TaskError};

use crate::containers::{Entry, Input, Shared, mounts};
use crate::record::Record;
use crate::{EngineError, ErrorKind, NetworkView, spec};

/// Names of the runtime that the shim is itself; the last two are dockerd's own.
pub(crate) const OWN_RUNTIMES: &[&str] = &["wharf", "runc", "io.containerd.runc.v2"];

/// Whether the shim makes the processes itself.
pub(crate) fn is_own_runtime(name: &str) -> bool {
    name.is_empty() || OWN_RUNTIMES.contains(&name)
}

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
    /// What Docker adds to guess at the cause.
    pub(crate) hint: &'static str,
    /// The exit code of the container.
    pub(crate) code: i32,
    /// The program was not tried: if the last run left a code, it stands.
    pub(crate) untried: bool,
    /// The networks that the container was in meanwhile.
    pub(crate) connected: Vec<String>,
    pub(crate) kind: ErrorKind,
}

impl Failure {
    /// One that is not the program's, with the code that dockerd has for those (`exitUnknown`).
    fn plain(message: String, reason: String) -> Self {
        Self {
            message,
            reason,
            hint: "",
            code: 128,
            untried: false,
            connected: Vec::new(),
            kind: ErrorKind::System,
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let message = error.message();
        Self {
            untried: true,
            kind: error.kind(),
            ..Self::plain(message.clone(), message)
        }
    }
}

/// Starts the container of `record`.
pub(crate) async fn launch(
    shared: &Shared,
    entry: &Entry,
    record: &Record,
) -> Result<Launched, Failure> {
    // The setting may be younger than the container.
    crate::userns::check(&shared.config, &record.host)?;
    make_sources(record).await?;
    confine(&record.app_armor_profile).await?;
    shared.restore_layers(record).await;
    let joined = spec::Joined::find(shared, record)?;
    let netns = network::connect(shared, record, &joined).await;
    let mut launched = match netns {
        Ok(netns) => with_network(shared, entry, record, &joined, netns).await,
        Err(error) => Err(error.into()),
    };
    if let Err(failure) = &mut launched {
        let endpoints = shared.networks.endpoints_of(&record.id).into_iter();
        failure.connected = endpoints.map(|one| one.network_name).collect();
        if let Err(error) = shared.networks.disconnect(&record.id).await {
            tracing::warn!(container = %record.id, error = chain(&error), "disconnect");
        }
    }
    launched
}

/// On a thread of its own: a file system of the network may not answer.
async fn make_sources(record: &Record) -> Result<(), EngineError> {
    if !record.mounts.iter().any(|mount| mount.create_source) {
        return Ok(());
    }
    let points = record.mounts.clone();
    let made = wharf_images::at_clients_pace(move || mounts::make_sources(&points)).await;
    made.map_err(|error| EngineError::failed(&error))?
}

/// Loads the default profile, should the kernel not have it: that runs a program, so not on this thread.
pub(crate) async fn confine(profile: &str) -> Result<(), EngineError> {
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
pub(crate) fn serve_names(
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
    let (pending, input) = {
        let mut io = entry.io();
        io.task = Some(task.clone());
        (
            std::mem::take(&mut io.pending),
            std::mem::take(&mut io.input),
        )
    };
    for client in pending {
        // A client that has gone is none.
        if !client.connect.is_closed() {
            let stream = task.attach(client.options).await?;
            let _ = client.connect.send(stream);
        }
    }
    if input == Input::Over {
        task.close_stdin().await?;
    }
    task.start().await
}

pub(crate) fn task_config(
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
    let log = crate::logging::plan(&shared.folders, record)?;
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
        runtime: runtime(shared, record)?,
    })
}

/// The program of another runtime than ours, if the container asks for one.
fn runtime(shared: &Shared, record: &Record) -> Result<Option<wharf_tasks::Runtime>, EngineError> {
    let name = &record.host.runtime;
    if is_own_runtime(name) {
        return Ok(None);
    }
    let settings = shared.settings();
    let known = settings.runtimes.get(name);
    // It may have been taken from the settings since the container was made.
    let config = known
        .ok_or_else(|| EngineError::Invalid(format!("unknown or invalid runtime name: {name}")))?;
    let path = find_program(&config.path).ok_or_else(|| {
        let path = config.path.display();
        EngineError::Failed(format!(
            "runtime {name}: exec: \"{path}\": executable file not found in $PATH"
        ))
    })?;
    Ok(Some(wharf_tasks::Runtime {
        path,
        arguments: config.arguments.clone(),
        systemd_cgroup: spec::of_systemd(name, &settings),
    }))
}

/// A bare name is looked for in the daemon's PATH.
fn find_program(path: &std::path::Path) -> Option<std::path::PathBuf> {
    if path.components().count() > 1 {
        return path.is_file().then(|| path.to_owned());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .map(|folder| folder.join(path))
        .find(|path| path.is_file())
}

/// What dockerd makes of every `ENOTDIR` (moby `daemon/errors.go`).
const MOUNTED_ONTO: &str = ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type";

/// Docker's sentence, exit code and class for a process that could not be started (moby
/// `daemon/errors.go`, `setExitCodeFromError`).
pub(crate) fn explain(error: &TaskError) -> Failure {
    let reason = chain(error);
    if reason.starts_with("failed to initialize logging driver: ") {
        let message = format!("failed to create task for container: {reason}");
        return Failure::plain(message, reason);
    }
    let lower = reason.to_ascii_lowercase();
    if is_of_users(&reason) {
        return Failure::plain(reason.clone(), reason);
    }
    let code = exit_code(error, &lower);
    let kind = if code == 128 {
        ErrorKind::System
    } else {
        ErrorKind::InvalidParameter
    };
    let hint = match code == 127 && lower.contains("not a directory") {
        true => MOUNTED_ONTO,
        false => "",
    };
    let message = format!(
        "failed to create task for container: failed to create shim task: OCI runtime create failed: unable to start container process: {reason}: unknown{hint}"
    );
    Failure {
        hint,
        code,
        kind,
        ..Failure::plain(message, reason)
    }
}

/// Whether it is about users and groups, which dockerd looks up by itself, before it asks a runtime.
pub(crate) fn is_of_users(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    let begins = [
        "unable to find user ",
        "unable to find group ",
        "uids and gids must be in range ",
    ];
    begins.iter().any(|begin| reason.starts_with(begin))
}

/// Our own runtime says what kind of failure it is; of another one's there is only the text. dockerd has but that, so that what is
/// denied anywhere else counts as the program, too.
fn exit_code(error: &TaskError, lower: &str) -> i32 {
    match error {
        TaskError::Runtime {
            kind: FailureKind::NotExecutable,
            ..
        } => return 126,
        TaskError::Runtime {
            kind: FailureKind::NotFound,
            ..
        } => return 127,
        _ => {}
    }
    if lower.contains("permission denied") || lower.contains("is a directory") {
        return 126;
    }
    // What else is missing, as the file of a kernel setting, is not the program.
    let is_missing = lower.contains("exec: \"")
        && (lower.contains("executable file not found")
            || lower.contains("no such file or directory"));
    match is_missing || lower.contains("not a directory") {
        true => 127,
        false => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_failure_tells_more_than_its_words() {
        let code = |kind, message: &str| {
            let message = message.to_owned();
            explain(&TaskError::Runtime { message, kind }).code
        };
        let name = "exec: \"permission denied\": executable file not found in $PATH";
        assert_eq!(code(FailureKind::NotFound, name), 127);
        let name = "exec: \"/not a directory\": permission denied";
        assert_eq!(code(FailureKind::NotExecutable, name), 126);
        // Words alone, as another runtime has them.
        let texts = [
            (
                128,
                "Unable to find group x: no matching entries in group file",
            ),
            (126, "exec: \"/etc\": is a directory"),
            (127, "exec: \"x\": executable file not found in $PATH"),
            (127, "error mounting: not a directory"),
            (128, "open /proc/sys/x: no such file or directory"),
        ];
        for (expected, text) in texts {
            assert_eq!(code(FailureKind::Other, text), expected, "{text}");
        }
        // These are dockerd's own.
        for text in [
            "Unable to find group x: no matching entries in group file",
            "unable to find user x: no matching entries in passwd file",
            "uids and gids must be in range 0-2147483647",
        ] {
            let (message, kind) = (text.to_owned(), FailureKind::Other);
            let explained = explain(&TaskError::Runtime { message, kind });
            assert_eq!(explained.message, text);
        }
    }
}
