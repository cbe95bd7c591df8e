//! The start of the daemon: records, what the shims say, and what nobody knows any more.
//!
//! What is found comes to each container as the events that it would have been had we been there; so a container
//! that ended meanwhile is restarted, removed or simply ended by the same code as ever.

mod order;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tracing::{info, warn};
use wharf_network::LiveContainer;
use wharf_sys::words::chain;
use wharf_tasks::{Found, TaskError, Tasks};

use crate::containers::{Entry, Shared, container_of};
use crate::launch::files;
use crate::lifecycle::{Event, Phase};
use crate::record::{CONTAINERS, Record};
use crate::supervisor::{Late, Supervisor, WithDaemon};
use crate::{EngineError, HealthStatus, NetworkMode};
use order::Condition;

/// How long shims may take to answer before the daemon goes on without them.
const ANSWER: Duration = Duration::from_secs(5);
/// How long until one that has failed to is asked again.
const AGAIN: Duration = Duration::from_secs(10);

/// Finds all containers again, and sweeps what belongs to none.
pub(crate) async fn recover(shared: &Arc<Shared>) -> Result<(), EngineError> {
    let records = shared.db.read(|tx| CONTAINERS.all(tx))?;
    let records: Vec<Record> = records.into_iter().map(|(_, record)| record).collect();
    let loaded = load_all(shared, &records).await;
    let live = records.iter().zip(&loaded).filter_map(|(record, loaded)| {
        let pid = match loaded {
            Loaded::Found(Found::Running(task)) => task.pid(),
            Loaded::Late(_) => late_pid(shared, record)?,
            Loaded::Found(_) => return None,
        };
        Some(LiveContainer {
            id: record.id.clone(),
            pid,
            shared: matches!(
                record.host.network_mode,
                NetworkMode::Host | NetworkMode::Container(_)
            ),
            dns: files::dns_config(shared, record),
        })
    });
    let live: Vec<_> = live.collect();
    shared
        .networks
        .restore(&live)
        .await
        .map_err(|error| EngineError::failed(&error))?;
    restore_volumes(shared, &records).await?;
    let known: HashSet<&str> = records.iter().map(|record| record.id.as_str()).collect();
    sweep(shared, &known);
    sweep_tasks(shared, &known);
    let needs = order::needs(records.iter());
    let mut starts = Starts::new(records.iter().map(|record| record.id.clone()));
    // All are known before any of them does something: what it uses may be another one's, too.
    let enter = |record: &Record| shared.enter(record.clone());
    let entered: Vec<_> = records.iter().map(enter).collect();
    let mut met = Vec::with_capacity(records.len());
    for ((record, (entry, supervisor)), loaded) in records.iter().zip(entered).zip(loaded) {
        let needed = needs.get(&record.id);
        let has_dependencies = needed.is_some();
        let done = starts.done(&record.id);
        let told = (!has_dependencies).then(|| done.clone());
        let (tell, hears) = oneshot::channel();
        met.push(hears);
        let start = WithDaemon {
            has_dependencies,
            told,
        };
        tokio::spawn(begin(supervisor, loaded, start, tell));
        let Some(needed) = needed else {
            continue;
        };
        let waits = starts.of(needed);
        let shared = shared.clone();
        tokio::spawn(async move {
            for (id, condition, started) in waits {
                holds(&shared, &id, condition, started).await;
            }
            if let Err(error) = entry.ask(Event::NeedsMet).await {
                tracing::debug!(container = %entry.id, error = error.message(), "start with the daemon");
            }
            done.send_replace(true);
        });
    }
    // The daemon is ready when it knows what is; but what takes long, as a launch or a plugin does, goes on behind.
    let limit = Instant::now() + ANSWER;
    for hears in met {
        // One that has panicked has told of itself.
        let _ = tokio::time::timeout_at(limit, hears).await;
    }
    Ok(())
}

/// A container's task, from what was found on. Restarts by policy go on behind.
async fn begin(
    mut supervisor: Supervisor,
    loaded: Loaded,
    start: WithDaemon,
    met: oneshot::Sender<()>,
) {
    match loaded {
        Loaded::Found(found) => {
            supervisor.meet(found).await;
            // Nobody may wait any more.
            let _ = met.send(());
            supervisor.start_with_daemon(start).await;
        }
        Loaded::Late(late) => {
            supervisor.expect(late, start);
            let _ = met.send(());
        }
    }
    // One that waits for others obeys meanwhile: whoever starts it by hand does not want to wait.
    supervisor.run().await;
}

/// What is known of a container's process.
enum Loaded {
    Found(Found),
    /// Nothing yet: its shim does not answer, or not as it should.
    Late(Late),
}

/// Asks all shims at once. One that does not answer keeps nobody but its own container.
async fn load_all(shared: &Arc<Shared>, records: &[Record]) -> Vec<Loaded> {
    let load = |record: &Record| {
        let (tasks, id) = (shared.tasks.clone(), record.id.clone());
        tokio::spawn(async move { tasks.load(&id).await })
    };
    let loads: Vec<Load> = records.iter().map(load).collect();
    let limit = Instant::now() + ANSWER;
    let mut all = Vec::with_capacity(loads.len());
    for (record, mut load) in records.iter().zip(loads) {
        let answer = tokio::time::timeout_at(limit, &mut load).await;
        let (tasks, id) = (shared.tasks.clone(), record.id.clone());
        all.push(match answer.map(found) {
            Ok(Ok(found)) => Loaded::Found(found),
            Ok(Err(error)) => {
                warn!(container = %id, error, "find its process");
                Loaded::Late(Box::pin(load_again(tasks, id)))
            }
            Err(_) => {
                warn!(container = %id, "its shim does not answer");
                Loaded::Late(Box::pin(load_on(load, tasks, id)))
            }
        });
    }
    all
}

type Load = JoinHandle<Result<Found, TaskError>>;

/// What a shim has said, or why it could not be asked.
fn found(answer: Result<Result<Found, TaskError>, JoinError>) -> Result<Found, String> {
    let answer = answer.map_err(|error| chain(&error))?;
    answer.map_err(|error| chain(&error))
}

/// Waits for the answer that is under way, and asks again should it be none.
async fn load_on(load: Load, tasks: Tasks, id: String) -> Found {
    match found(load.await) {
        Ok(found) => found,
        Err(error) => {
            warn!(container = %id, error, "find its process");
            load_again(tasks, id).await
        }
    }
}

async fn load_again(tasks: Tasks, id: String) -> Found {
    loop {
        tokio::time::sleep(AGAIN).await;
        match tasks.load(&id).await {
            Ok(found) => return found,
            Err(error) => {
                tracing::debug!(container = %id, error = chain(&error), "find its process");
            }
        }
    }
}

/// A process of a container whose shim does not answer. One that was being started has none in its record, and its network
/// all the same.
fn late_pid(shared: &Shared, record: &Record) -> Option<u32> {
    match record.state.phase {
        Phase::Starting => shared.tasks.processes(&record.id).first().copied(),
        phase => phase.pid().filter(|pid| is_in(*pid, &record.id)),
    }
}

/// Whether the process `pid` is one of the container's, going by its control groups.
fn is_in(pid: u32, container: &str) -> bool {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"));
    groups.is_ok_and(|groups| groups.contains(container))
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
async fn restore_volumes(shared: &Arc<Shared>, records: &[Record]) -> Result<(), EngineError> {
    let held = records
        .iter()
        .filter(|record| runs(record))
        .flat_map(|record| {
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

/// Deletes what a kill left without a record: layers and folders.
fn sweep(shared: &Shared, known: &HashSet<&str>) {
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
}

/// Ends the processes that a kill left without a record, behind. Which those are is known before there can be new ones.
fn sweep_tasks(shared: &Arc<Shared>, known: &HashSet<&str>) {
    for id in shared.tasks.list(known).unwrap_or_default() {
        info!(container = %id, "sweep a process without a record");
        let sweeper = shared.clone();
        shared.background.spawn(async move {
            let swept = tokio::time::timeout(ANSWER, sweep_task(&sweeper, &id)).await;
            if swept.is_err() {
                // The next start meets it again.
                warn!(container = %id, "its shim does not answer");
            }
        });
    }
}

async fn sweep_task(shared: &Shared, id: &str) {
    if let Ok(Found::Running(task)) = shared.tasks.load(id).await {
        // Whatever stays of it, the next start meets again.
        let _ = task.kill(crate::signal::KILL).await;
        let _ = task.wait().await;
    }
    if let Err(error) = shared.tasks.delete(id).await {
        warn!(container = %id, error = chain(&error), "delete the task");
    }
}
