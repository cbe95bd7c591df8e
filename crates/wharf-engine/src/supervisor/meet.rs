//! A daemon that has started tells a container what has become of its process.

use std::pin::Pin;

use jiff::Timestamp;
use tracing::{debug, info, warn};
use wharf_cgroups::Cgroup;
use wharf_tasks::{ExitStatus, Found, Task};

use super::{Supervisor, answered};
use crate::error::chain;
use crate::lifecycle::{Event, Phase};

/// What dockerd gives a run whose end nobody saw.
const UNKNOWN_EXIT: i32 = 255;

/// What becomes known of a process later, because its shim does not answer yet.
pub(crate) type Late = Pin<Box<dyn Future<Output = Found> + Send>>;

impl Supervisor {
    /// What has become of the process is not known yet; as soon as it is, the container meets it, and hears then that the
    /// daemon has started.
    pub(crate) fn expect(&mut self, late: Late, started: Event) {
        self.late = Some((late, started));
    }

    /// Takes in what has been found.
    pub(crate) async fn meet(&mut self, found: Found) {
        let phase = self.record.state.phase;
        let expected = phase == Phase::Starting || phase.pid().is_some();
        match found {
            Found::Running(task) if expected => self.meet_running(task).await,
            Found::Running(task) => {
                warn!(container = %self.record.id, "its record says that it does not run: killed");
                self.delete_behind(Some(task));
            }
            Found::Exited(status) if expected => self.ended(&status).await,
            // Killed before its process was: it is launched now, but for one that nobody would be told the name of.
            Found::Gone if phase == Phase::Starting => {
                if self.record.state.auto_remove {
                    self.feed(Event::LaunchFailed).await;
                }
            }
            Found::Gone if expected => {
                let status = ExitStatus {
                    code: UNKNOWN_EXIT,
                    at: Timestamp::now(),
                    oom_killed: false,
                };
                self.ended(&status).await;
            }
            // Its end is in the record already; only its folder was not removed any more.
            Found::Exited(_) => self.delete_behind(None),
            Found::Gone => {}
        }
    }

    async fn meet_running(&mut self, task: Task) {
        let pid = task.pid();
        info!(container = %self.record.id, pid, "found running");
        if self.record.state.phase == Phase::Starting
            // We were killed around the start; the shim refuses a second one. Should the program not be there,
            // the process ends and we hear of it.
            && let Err(error) = answered(task.start()).await
        {
            debug!(container = %self.record.id, error = chain(&error), "start again");
        }
        self.finish_changes(pid).await;
        self.adopt(task);
        self.freeze_as_written().await;
        self.feed(Event::Launched { pid }).await;
    }

    /// The last daemon may have been killed between the record and the freezer.
    async fn freeze_as_written(&mut self) {
        let frozen = matches!(self.record.state.phase, Phase::Paused { .. });
        let Some(name) = self.shared.tasks.cgroup(&self.record.id) else {
            return;
        };
        let set = move || {
            let group = Cgroup::open(&name)?;
            match (group.is_frozen(), frozen) {
                (false, true) => group.freeze(),
                (true, false) => group.thaw(),
                _ => Ok(()),
            }
        };
        match tokio::task::spawn_blocking(set).await {
            Ok(Err(error)) => {
                warn!(container = %self.record.id, error = chain(&error), "freeze or thaw it as its record says");
            }
            Err(error) => {
                warn!(container = %self.record.id, error = chain(&error), "freeze or thaw it")
            }
            Ok(Ok(())) => {}
        }
    }

    /// Removes what a task has left; a launch waits for it.
    fn delete_behind(&mut self, task: Option<Task>) {
        let (shared, id) = (self.shared.clone(), self.record.id.clone());
        let work = async move {
            let deleted = match task {
                Some(task) => task.delete().await,
                None => shared.tasks.delete(&id).await,
            };
            if let Err(error) = deleted {
                warn!(container = %id, error = chain(&error), "delete the task");
            }
        };
        self.release = Some(self.shared.background.spawn(work));
    }
}
