//! The start of the daemon: records, what the shims say, and what nobody knows any more.
//!
//! What is found comes to each container as the events that it would have been had we been there; so a container
//! that ended meanwhile is restarted, removed or simply ended by the same code as ever.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use tracing::{info, warn};
use wharf_network::LiveContainer;
use wharf_tasks::{ExitStatus, Found};

use crate::containers::Shared;
use crate::error::chain;
use crate::launch::files;
use crate::lifecycle::{Event, Phase};
use crate::record::{CONTAINERS, Record};
use crate::supervisor::Supervisor;
use crate::{EngineError, NetworkMode};

/// What dockerd gives a run whose end nobody saw.
const UNKNOWN_EXIT: i32 = 255;

/// Finds all containers again, and sweeps what belongs to none.
pub(crate) async fn recover(shared: &Arc<Shared>) -> Result<(), EngineError> {
    let records = shared.db.read(|tx| CONTAINERS.all(tx))?;
    let mut found = Vec::with_capacity(records.len());
    for (_, record) in records {
        let task = shared.tasks.load(&record.id).await;
        found.push((record, task.map_err(|error| EngineError::failed(&error))?));
    }
    let live = found.iter().filter_map(|(record, found)| match found {
        Found::Running(task) => Some(LiveContainer {
            id: record.id.clone(),
            pid: task.pid(),
            shared: matches!(
                record.host.network_mode,
                NetworkMode::Host | NetworkMode::Container(_)
            ),
            dns: files::dns_config(shared, record),
        }),
        _ => None,
    });
    let live: Vec<_> = live.collect();
    shared
        .networks
        .restore(&live)
        .await
        .map_err(|error| EngineError::failed(&error))?;
    sweep(shared, &found).await;
    for (record, task) in found {
        if matches!(task, Found::Exited(_)) && !runs(&record) {
            // Its end is in the record already; only its folder was not removed any more.
            if let Err(error) = shared.tasks.delete(&record.id).await {
                warn!(container = %record.id, error = chain(&error), "delete the task");
            }
        }
        let (_, supervisor) = shared.enter(record.clone());
        // Restarts by policy go on behind: the daemon is ready when it knows what is.
        let supervisor = meet(supervisor, &record, task).await;
        let code = record.last.exit_code;
        tokio::spawn(async move {
            let mut supervisor = supervisor;
            supervisor.feed(Event::DaemonStarted { code }).await;
            supervisor.run().await;
        });
    }
    Ok(())
}

/// Whether the record says that there is a process.
fn runs(record: &Record) -> bool {
    matches!(
        record.state.phase,
        Phase::Starting | Phase::Running { .. } | Phase::Paused { .. } | Phase::Stopping { .. }
    )
}

/// Tells a container what has become of its process.
async fn meet(mut supervisor: Supervisor, record: &Record, found: Found) -> Supervisor {
    let expected = runs(record);
    match found {
        Found::Running(task) if expected => {
            let pid = task.pid();
            info!(container = %record.id, pid, "found running");
            if record.state.phase == Phase::Starting {
                // We were killed around the start; the shim refuses a second one. Should the program not be there,
                // the process ends and we hear of it.
                if let Err(error) = task.start().await {
                    tracing::debug!(container = %record.id, error = chain(&error), "start again");
                }
            }
            supervisor.adopt(task);
            supervisor.feed(Event::Launched { pid }).await;
        }
        Found::Running(task) => {
            warn!(container = %record.id, "its record says that it does not run: killed");
            if let Err(error) = task.kill(crate::signal::KILL).await {
                warn!(container = %record.id, error = chain(&error), "kill");
            }
            if let Err(error) = task.delete().await {
                warn!(container = %record.id, error = chain(&error), "delete the task");
            }
        }
        Found::Exited(status) if expected => supervisor.ended(&status).await,
        // Killed before its process was: it is launched now, but for one that nobody would be told the name of.
        Found::Gone if record.state.phase == Phase::Starting => {
            if record.state.auto_remove {
                supervisor.feed(Event::LaunchFailed).await;
            }
        }
        Found::Gone if expected => {
            let at = Timestamp::now();
            supervisor
                .ended(&ExitStatus {
                    code: UNKNOWN_EXIT,
                    at,
                    oom_killed: false,
                })
                .await;
        }
        Found::Exited(_) | Found::Gone => {}
    }
    supervisor
}

/// Deletes what a kill left without a record: layers, folders, processes.
async fn sweep(shared: &Shared, found: &[(Record, Found)]) {
    let known: HashSet<&str> = found.iter().map(|(record, _)| record.id.as_str()).collect();
    let ids = shared.snapshots.list_rw().unwrap_or_default();
    for id in ids.iter().filter(|id| !known.contains(id.as_str())) {
        info!(container = %id, "sweep a layer without a record");
        shared.remove_files(id);
    }
    let folders = std::fs::read_dir(&shared.folders.containers)
        .into_iter()
        .flatten()
        .flatten();
    for folder in folders {
        let id = folder.file_name().to_string_lossy().into_owned();
        if !known.contains(id.as_str()) {
            info!(container = %id, "sweep a folder without a record");
            shared.remove_files(&id);
        }
    }
    for id in shared.tasks.list().unwrap_or_default() {
        if known.contains(id.as_str()) {
            continue;
        }
        info!(container = %id, "sweep a process without a record");
        if let Ok(Found::Running(task)) = shared.tasks.load(&id).await {
            // Whatever stays of it, the next start meets again.
            let _ = task.kill(crate::signal::KILL).await;
            let _ = task.wait().await;
        }
        if let Err(error) = shared.tasks.delete(&id).await {
            warn!(container = %id, error = chain(&error), "delete the task");
        }
    }
}
