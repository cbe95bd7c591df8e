//! A change of settings: of the record, and of the control group of what runs.

use std::sync::Arc;

use tracing::warn;
use wharf_cgroups::Cgroup;

use super::Supervisor;
use crate::containers::DeviceLists;
use crate::containers::update::merge;
use crate::lifecycle::{Event, Phase};
use crate::{EngineError, HostConfig, Resources, RestartPolicy, spec};

impl Supervisor {
    pub(super) async fn update(
        &mut self,
        policy: Option<RestartPolicy>,
        resources: Option<Box<Resources>>,
        lists: DeviceLists,
    ) -> Result<(), EngineError> {
        if matches!(self.record.state.phase, Phase::Removing | Phase::Dead) {
            let text = "container is marked for removal and cannot be \"update\"";
            return Err(EngineError::Failed(self.cannot(text)));
        }
        let old = self.record.host.clone();
        let merged = merge(&old, policy, resources.as_deref(), lists);
        let merged = merged.map_err(|text| EngineError::Conflict(self.cannot(text)))?;
        self.keep(merged.into(), policy).await?;
        if resources.is_some()
            && let Err(error) = self.limit().await
        {
            // What runs goes on under the old limits, so the record says so.
            let before = policy.map(|_| old.restart_policy);
            self.keep(old, before).await?;
            return Err(EngineError::Failed(self.cannot(&error.message())));
        }
        self.emit("update", &[]);
        Ok(())
    }

    fn cannot(&self, text: &str) -> String {
        format!("Cannot update container {}: {text}", self.record.id)
    }

    async fn keep(
        &mut self,
        host: Arc<HostConfig>,
        policy: Option<RestartPolicy>,
    ) -> Result<(), EngineError> {
        let old = std::mem::replace(&mut self.record.host, host);
        let kept = match policy {
            Some(policy) => self.apply(Event::Policy(policy)).await,
            None => self.save(),
        };
        match kept {
            Ok(()) => self.publish(),
            Err(_) => self.record.host = old,
        }
        kept
    }

    /// Sets the record's limits on what runs.
    async fn limit(&mut self) -> Result<(), EngineError> {
        let running = matches!(
            self.record.state.phase,
            Phase::Running { .. } | Phase::Paused { .. } | Phase::Stopping { .. }
        );
        if !running {
            // The next start sets them.
            return Ok(());
        }
        let limits = spec::limits(&self.record.host.resources)?;
        let Some(name) = self.shared.tasks.cgroup(&self.record.id) else {
            return Ok(());
        };
        if let Some(older) = self.limiting.take() {
            // It would set what the record said before, after what it says now.
            let _ = older.await;
        }
        // Shrinking what is in use can take the kernel long.
        let apply = move || Cgroup::open(&name)?.update_devices(&limits);
        let applied = tokio::task::spawn_blocking(apply).await;
        let applied = applied.map_err(|error| EngineError::failed(&error))?;
        match (applied, &self.task) {
            (Err(_), Some(task)) if task.ends_soon().await => Ok(()),
            (applied, _) => applied.map_err(|error| EngineError::failed(&error)),
        }
    }

    /// After a start of the daemon: it may have been killed between the record of an update and its effect.
    pub(super) fn limit_again(&mut self) {
        let Some(name) = self.shared.tasks.cgroup(&self.record.id) else {
            return;
        };
        let limits = spec::limits(&self.record.host.resources);
        let id = self.record.id.clone();
        let set_them = move || {
            let set = limits.and_then(|limits| {
                let applied = Cgroup::open(&name).and_then(|group| group.update_devices(&limits));
                applied.map_err(|error| EngineError::failed(&error))
            });
            if let Err(error) = set {
                warn!(container = %id, error = error.message(), "set the limits of the record");
            }
        };
        self.limiting = Some(self.shared.background.spawn_blocking(set_them));
    }
}
