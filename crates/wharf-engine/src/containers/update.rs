//! `update`.

use super::{Containers, Update};
use crate::supervisor::Command;
use crate::{EngineError, RestartPolicy};

impl Containers {
    /// Changes its restart policy or limits; Docker's warnings. New limits hold from the next start on.
    ///
    /// # Errors
    /// If it is removed with its end and shall be restarted.
    pub async fn update(
        &self,
        container: &str,
        update: Update,
    ) -> Result<Vec<String>, EngineError> {
        let entry = self.find(container)?;
        let view = entry.now();
        let restarts = update
            .restart_policy
            .is_some_and(|policy| policy != RestartPolicy::No);
        if view.host.auto_remove && restarts {
            let text =
                "Restart policy cannot be updated because AutoRemove is enabled for the container";
            return Err(EngineError::Invalid(text.to_owned()));
        }
        let mut warnings = Vec::new();
        let resources = update
            .resources
            .map(|new| super::verify::merged(&view.host.resources, new));
        if resources.is_some() && view.state.running {
            warnings.push(
                "The new limits take effect with the next start of the container.".to_owned(),
            );
        }
        let resources = resources.transpose()?.map(Box::new);
        let policy = update.restart_policy;
        entry
            .send(|reply| Command::Update {
                policy,
                resources,
                reply,
            })
            .await?;
        Ok(warnings)
    }
}
