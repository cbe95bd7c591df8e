//! `rename`.

use super::Containers;
use crate::supervisor::Command;
use crate::{EngineError, ErrorKind, names};

impl Containers {
    /// Gives it another name.
    ///
    /// # Errors
    /// If the name is none, or in use.
    pub async fn rename(&self, container: &str, name: &str) -> Result<(), EngineError> {
        if name.is_empty() {
            let text = "Neither old nor new names may be empty";
            return Err(EngineError::Invalid(text.to_owned()));
        }
        let entry = self.find(container)?;
        let why =
            |error: EngineError| format!("Error when allocating new name: {}", error.message());
        let name = names::check(name).map_err(|_| {
            let slashed = format!("/{}", name.trim_start_matches('/'));
            EngineError::Invalid(why(EngineError::InvalidName(slashed)))
        })?;
        if entry.now().name == name {
            let text = "Renaming a container with the same name as its current name";
            return Err(EngineError::Invalid(text.to_owned()));
        }
        let hold = self.shared.reserve_name(Some(name), &entry.id);
        let hold = hold.map_err(|error| match error.kind() {
            ErrorKind::Conflict => EngineError::Conflict(why(error)),
            _ => error,
        })?;
        // From here on it is the container's own, which changes the index with the record, whether anybody waits or not.
        entry.send(|reply| Command::Rename { hold, reply }).await
    }
}
