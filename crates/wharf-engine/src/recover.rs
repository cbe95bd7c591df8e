//! The start of the daemon: records, what the shims say, and what nobody knows any more.
//!
//! What is found comes to each container as the events that it would have been had we been there; so a container
//! that ended meanwhile is restarted, removed or simply ended by the same code as ever.

mod order;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;
use tracing::{info, warn};
use wharf_network::LiveContainer;
use wharf_tasks::{ExitStatus, Found};

use crate::containers::{Entry, Shared, container_of};
use crate::error::chain;
use crate::launch::files;
use crate::lifecycle::{Event, Phase};
use crate::record::{CONTAINERS, Record};
use crate::supervisor::Supervisor;
use crate::{EngineError, HealthStatus, NetworkMode};
use order::Condition;

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
    restore_volumes(shared, &found).await?;
    sweep(shared, &found).await;
    let needs = order::needs(found.iter().map(|(record, _)| record));
    let mut starts = Starts::new(found.iter().map(|(record, _)| record.id.clone()));
    for (record, task) in found {
        if matches!(task, Found::Exited(_)) && !runs(&record) {
            // Its end is in the record already; only its folder was not removed any more.
            if let Err(error) = shared.tasks.delete(&record.id).await {
                warn!(container = %record.id, error = chain(&error), "delete the task");
            }
        }
        let (entry, supervisor) = shared.enter(record.clone());
        // Restarts by policy go on behind: the daemon is ready when it knows what is.
        let supervisor = meet(supervisor, &record, task).await;
        let code = record.last.exit_code;
        let event = Event::DaemonStarted { code };
        let done = starts.done(&record.id);
        let Some(needed) = needs.get(&record.id) else {
            tokio::spawn(async move {
                let mut supervisor = supervisor;
                supervisor.feed(event).await;
                done.send_replace(true);
                supervisor.run().await;
            });
            continue;
        };
        // It obeys meanwhile: whoever starts it by hand does not want to wait.
        tokio::spawn(supervisor.run());
        let waits = starts.of(needed);
        let shared = shared.clone();
        tokio::spawn(async move {
            for (id, condition, started) in waits {
                holds(&shared, &id, condition, started).await;
            }
            if let Err(error) = entry.ask(event).await {
                tracing::debug!(container = %entry.id, error = error.message(), "start with the daemon");
            }
            done.send_replace(true);
        });
    }
    Ok(())
}

/// Which containers have been started with the daemon, as far as they are to be.
struct Starts(HashMap<String, watch::Sender<bool>>);

impl Starts {
    fn new(ids: impl Iterator<Item = String>) -> Self {
        Self(ids.map(|id| (id, watch::Sender::new(false))).collect())
    }

    fn done(&mut self, id: &str) -> watch::Sender<bool> {
        self.0.entry(id.to_owned()).or_default().clone()
    }

    fn of(
        &self,
        needed: &[(String, Condition)],
    ) -> Vec<(String, Condition, watch::Receiver<bool>)> {
        let one = |(id, condition): &(String, Condition)| {
            let started = self.0.get(id)?.subscribe();
            Some((id.clone(), *condition, started))
        };
        needed.iter().filter_map(one).collect()
    }
}

/// Waits until the condition holds of the container `id`, or cannot come to hold any more.
async fn holds(
    shared: &Shared,
    id: &str,
    condition: Condition,
    mut started: watch::Receiver<bool>,
) {
    // A start that was given up is none that could be waited for.
    let _ = started.wait_for(|started| *started).await;
    let Ok(entry) = shared.find(id) else {
        return;
    };
    let entry: Arc<Entry> = entry;
    entry
        .until(|now| {
            let health = now.state.health.as_ref().map(|health| health.status);
            let over = now.removed || !now.state.running;
            over || match condition {
                Condition::Started => true,
                Condition::Healthy => health != Some(HealthStatus::Starting),
                Condition::Completed => false,
            }
        })
        .await;
}

/// Volumes that were mounted for containers which live, or whose end is still to be heard of, are held by them; others
/// are unmounted.
async fn restore_volumes(
    shared: &Arc<Shared>,
    found: &[(Record, Found)],
) -> Result<(), EngineError> {
    let using = found.iter().map(|(record, _)| record);
    let held = using.filter(|record| runs(record)).flat_map(|record| {
        let named = record.mounts.iter().filter(|mount| !mount.name.is_empty());
        named.map(|mount| (mount.name.clone(), record.id.clone()))
    });
    let (volumes, held): (_, Vec<_>) = (shared.volumes.clone(), held.collect());
    let restored = tokio::task::spawn_blocking(move || volumes.restore(&held)).await;
    let restored = restored.map_err(|error| EngineError::failed(&error))?;
    if let Err(error) = restored {
        // Nothing is lost by it: the next start of a container finds it mounted.
        warn!(error = chain(&error), "unmount volumes of before");
    }
    let volumes = shared.volumes.clone();
    // A plugin may take its time, or be one of the containers.
    shared.background.spawn_blocking(move || {
        if let Err(error) = volumes.remove_forsaken() {
            warn!(
                error = chain(&error),
                "remove a volume that was made for no container"
            );
        }
    });
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
            supervisor.finish_changes(pid).await;
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
    for layer in &ids {
        let id = container_of(layer);
        if !known.contains(id) {
            info!(container = %id, "sweep a layer without a record");
            shared.remove_files(id);
        }
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
