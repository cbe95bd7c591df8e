//! Health: when it is watched, and what its probes change.

use tracing::error;

use super::Supervisor;
use crate::containers::stop;
use crate::lifecycle::{Event, Phase};
use crate::{HealthStatus, Probe, health};

impl Supervisor {
    /// A container is watched while it runs, and not while it is frozen.
    pub(super) fn watch_health(&mut self) {
        let runs = matches!(
            self.record.state.phase,
            Phase::Running { .. } | Phase::Stopping { .. }
        );
        if !runs {
            self.end_watch();
        } else if self.monitor.is_none()
            && let Some(command) = health::command(&self.record.config)
        {
            let (shared, entry) = (self.shared.clone(), self.entry.clone());
            self.monitor = Some(health::watch(shared, entry, command));
        }
    }

    /// What is not watched counts as unhealthy, as ever (moby `CloseMonitorChannel`); nobody is told.
    fn end_watch(&mut self) {
        if self.monitor.take().is_none() {
            return;
        }
        if let Some(health) = &mut self.record.health {
            health.status = HealthStatus::Unhealthy;
        }
        if let Err(error) = self.save() {
            error!(container = %self.record.id, error = error.message(), "write the record");
        }
        self.publish();
    }

    pub(super) async fn probed(&mut self, probe: Probe) {
        // The result of a monitor that has been ended since.
        if self.monitor.is_none() {
            return;
        }
        let check = self.record.config.healthcheck.clone().unwrap_or_default();
        let started = self.record.last.started_at.unwrap_or(probe.start);
        let health = self.record.health.get_or_insert_default();
        let changed = health.take(probe, &check, started);
        let (status, failed) = (health.status, health.has_just_failed(&check));
        if let Err(error) = self.save() {
            error!(container = %self.record.id, error = error.message(), "write the record");
        }
        self.publish();
        if changed {
            self.emit(&format!("health_status: {}", status.as_str()), &[]);
        }
        if failed {
            self.patience = stop::patience(&self.record.config, None);
            self.feed(Event::Unhealthy).await;
        }
    }
}
