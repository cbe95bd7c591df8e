//! How an image came about (moby's `daemon/images/image_history.go`).

use wharf_oci::{Digest, Reference};

use crate::records::State;
use crate::types::unix_seconds;
use crate::{HistoryEntry, ImageError};

impl State {
    /// The steps, newest first. Ids are known for the image itself and for parents that are here.
    pub(crate) fn history(&self, id: &Digest) -> Result<Vec<HistoryEntry>, ImageError> {
        let Some(entry) = self.images.get(id) else {
            return Err(ImageError::NoSuchImage(id.to_string()));
        };
        let mut sizes = entry.record.layers.iter().map(|layer| layer.size);
        let mut steps = Vec::new();
        for step in &entry.config.history {
            let size = if step.empty_layer {
                0
            } else {
                sizes.next().ok_or(ImageError::HistoryMismatch)?
            };
            steps.push(HistoryEntry {
                id: None,
                created: unix_seconds(step.created.as_deref().unwrap_or_default()),
                created_by: step.created_by.clone(),
                tags: Vec::new(),
                size,
                comment: step.comment.clone(),
            });
        }
        steps.reverse();
        let mut image = Some(*id);
        for step in &mut steps {
            let Some(id) = image else { break };
            step.id = Some(id);
            step.tags = self
                .names_of(&id)
                .iter()
                .filter(|name| name.digest().is_none())
                .map(Reference::familiar)
                .collect();
            image = self.images.get(&id).and_then(|entry| entry.record.parent);
        }
        Ok(steps)
    }
}
