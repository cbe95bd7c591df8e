//! Which image a step has made: the build cache.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wharf_engine::EngineError;
use wharf_images::{Image, Images};
use wharf_oci::{Digest, RunConfig};
use wharf_records::{Db, Table};

use crate::hash::hex;

const STEPS: Table<Step> = Table::new("build-cache", 1);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Step {
    /// The image.
    image: Digest,
    /// When it was last used, in seconds since 1970.
    #[serde(default)]
    used: i64,
}

/// Steps that were done. A step whose image is gone was never done.
#[derive(Clone)]
pub(crate) struct Cache {
    db: Db,
    images: Images,
}

impl Cache {
    pub(crate) fn new(db: Db, images: Images) -> Self {
        Self { db, images }
    }

    /// The image that the step with this key has made.
    pub(crate) fn get(&self, key: &str) -> Result<Option<Image>, EngineError> {
        let Some(step) = self.db.read(|tx| STEPS.get(tx, key))? else {
            return Ok(None);
        };
        match self.images.resolve(&step.image.to_string()) {
            Ok(image) => {
                self.put(key, &image.id)?;
                Ok(Some(image))
            }
            Err(_) => {
                self.db.write(|tx| STEPS.delete(tx, key))?;
                Ok(None)
            }
        }
    }

    pub(crate) fn put(&self, key: &str, image: &Digest) -> Result<(), EngineError> {
        let step = Step {
            image: *image,
            used: Timestamp::now().as_second(),
        };
        Ok(self.db.write(|tx| STEPS.put(tx, key, &step))?)
    }

    /// Forgets steps that were last used before `until`; without `all` only those whose image has no name. Their keys.
    pub(crate) fn forget(&self, all: bool, until: i64) -> Result<Vec<String>, EngineError> {
        let steps = self.db.read(|tx| STEPS.all(tx))?;
        let named = |step: &Step| {
            let image = self.images.resolve(&step.image.to_string());
            image.is_ok_and(|image| !image.repo_tags.is_empty())
        };
        let gone = steps.into_iter();
        let gone = gone.filter(|(_, step)| step.used <= until && (all || !named(step)));
        let keys: Vec<String> = gone.map(|(key, _)| key).collect();
        self.db.write(|tx| {
            for key in &keys {
                STEPS.delete(tx, key)?;
            }
            Ok::<_, wharf_records::RecordError>(())
        })?;
        Ok(keys)
    }
}

/// The key of a step: what it stands on, what it does, and what comes out of it beside files.
pub(crate) fn key(
    parent: Option<&Digest>,
    created_by: &str,
    config: &RunConfig,
    author: &str,
    more: &str,
) -> String {
    let parent = parent.map(ToString::to_string).unwrap_or_default();
    let config = serde_json::to_string(config).unwrap_or_default();
    let mut hasher = Sha256::new();
    for part in [&parent, created_by, &config, author, more] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hex(&hasher.finalize())
}
