//! `rm`.

use super::stop::UNDYING;
use super::{Containers, RemoveOptions};
use crate::lifecycle::Event;
use crate::supervisor::Command;
use crate::{EngineError, Status};

impl Containers {
    /// Removes it; returns when it is gone.
    ///
    /// # Errors
    /// If it runs and `force` is not set, or it is being removed already.
    pub async fn remove(&self, container: &str, options: RemoveOptions) -> Result<(), EngineError> {
        let entry = self.find(container)?;
        if options.link {
            return self.unlink(container).await;
        }
        let event = Event::Remove {
            force: options.force,
            volumes: options.volumes,
        };
        let unkilled = entry.now().unkilled;
        entry.ask(event).await.map_err(|error| match error {
            // It went between the look-up and the request: what was wanted has happened.
            EngineError::NoSuchContainer(_) => EngineError::NoSuchContainer(container.to_owned()),
            other => other,
        })?;
        let view = entry
            .until(|view| {
                let failed = view.state.status == Status::Dead || view.unkilled > unkilled;
                view.removed || failed
            })
            .await;
        if !view.removed && view.unkilled > unkilled {
            let name = &view.name;
            let text = format!("cannot remove container \"/{name}\": could not kill: {UNDYING}");
            return Err(EngineError::Failed(text));
        }
        match view.removed || view.state.error.is_empty() {
            true => Ok(()),
            false => Err(EngineError::Failed(view.state.error.clone())),
        }
    }

    /// Removes the link `web/db`, and neither of its ends (moby `rmLink`).
    async fn unlink(&self, name: &str) -> Result<(), EngineError> {
        let Some((owner, alias)) = name.trim_start_matches('/').split_once('/') else {
            let text = "Conflict, cannot remove the default link name of the container";
            return Err(EngineError::Failed(text.to_owned()));
        };
        let alias = alias.to_owned();
        let owner = self.find(owner)?;
        owner.send(|reply| Command::Unlink { alias, reply }).await
    }
}
