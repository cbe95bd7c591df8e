//! A container's record → the bundle's `ContainerSpec` → an OCI specification: the second of the two conversions of
//! settings.
//!
//! For now only what a process needs to be found; isolation, mounts and limits follow with wharf-bundle.

use std::sync::Arc;

use oci_spec::runtime::{Process, Spec};
use wharf_tasks::ExecConfig;

use crate::containers::{Shared, environment};
use crate::record::Record;
use crate::{EngineError, ExecStartOptions, IpcMode, NamespaceMode, NetworkMode, NewExec, View};

/// What is the same for all containers of this daemon.
pub(crate) struct Facts {}

impl Facts {
    pub(crate) fn gather() -> Result<Self, EngineError> {
        Ok(Self {})
    }
}

/// The containers whose namespaces a container shares.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    pub(crate) network: Option<Arc<View>>,
    pub(crate) ipc: Option<Arc<View>>,
    pub(crate) pid: Option<Arc<View>>,
}

impl Joined {
    /// Finds them; Docker's words for one that does not run.
    pub(crate) fn find(shared: &Shared, record: &Record) -> Result<Self, EngineError> {
        let mut joined = Self::default();
        if let NetworkMode::Container(name) = &record.host.network_mode {
            joined.network = Some(running(shared, name, "network namespace")?);
        }
        if let NamespaceMode::Container(name) = &record.host.pid_mode {
            joined.pid = Some(running(shared, name, "PID namespace")?);
        }
        if let IpcMode::Container(name) = &record.host.ipc_mode {
            let other = running(shared, name, "IPC namespace")?;
            if matches!(other.host.ipc_mode, IpcMode::Private | IpcMode::None) {
                let id = &other.id;
                return Err(EngineError::Failed(format!(
                    "can't join IPC of container {id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
                )));
            }
            joined.ipc = Some(other);
        }
        Ok(joined)
    }
}

fn running(shared: &Shared, name: &str, what: &str) -> Result<Arc<View>, EngineError> {
    let view = shared.find(name)?.now();
    if view.state.pid == 0 {
        let text = format!("cannot join {what} of a non running container: {name}");
        return Err(EngineError::Conflict(text));
    }
    Ok(view)
}

/// The specification of one start, and its compiled seccomp filter.
pub(crate) fn bundle(
    _: &Shared,
    record: &Record,
    _: &Joined,
) -> Result<(Spec, Option<Vec<u8>>), EngineError> {
    let mut process = Process::default();
    process.set_args(Some(
        std::iter::once(&record.path)
            .chain(&record.args)
            .cloned()
            .collect(),
    ));
    process.set_env(Some(environment(&record.config)));
    let mut spec = Spec::default();
    spec.set_process(Some(process));
    Ok((spec, None))
}

/// The process of an exec session.
pub(crate) fn exec(
    _: &Shared,
    _: &View,
    id: &str,
    _: &NewExec,
    _: ExecStartOptions,
) -> Result<ExecConfig, EngineError> {
    Err(EngineError::NotImplemented(format!("exec {id}: not yet")))
}
