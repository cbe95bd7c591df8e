//! What is known already: results by what was done to what.
//!
//! A result has a record at the key of its content: what the operation does, and what its inputs are (for copied files
//! and read-only mounts, only the files it takes). It is found by the key of its definition too, which needs no input
//! to be there. The layers are written before the record; a record whose layers are gone is none.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wharf_images::{BuiltLayer, Images, LayerHold};
use wharf_oci::{ChainId, Descriptor, Digest};
use wharf_records::{Db, RecordError, Table, Transaction};

use crate::result::{Inner, Keep};
use crate::{Layer, Ref, SolveError, blocking};

const RECORDS: Table<Record> = Table::new("solver-record", 1);
const KEYS: Table<Digest> = Table::new("solver-key", 1);

/// A result on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its trees; none where the operation has no such output.
    pub(crate) outputs: Vec<Option<Vec<SavedLayer>>>,
    /// The folders that this operation made.
    pub(crate) own: Vec<ChainId>,
    pub(crate) description: String,
    /// Seconds since 1970.
    pub(crate) created: i64,
    /// Seconds since 1970.
    pub(crate) used: i64,
    pub(crate) count: i64,
}

/// A layer on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedLayer {
    pub(crate) chain: ChainId,
    pub(crate) diff_id: Digest,
    pub(crate) size: u64,
    pub(crate) blob: Option<Descriptor>,
    pub(crate) created: Option<i64>,
}

impl From<&SavedLayer> for Layer {
    fn from(saved: &SavedLayer) -> Self {
        Self {
            chain: saved.chain,
            diff_id: saved.diff_id,
            size: saved.size,
            blob: saved.blob.clone(),
            created: saved.created,
        }
    }
}

impl From<&Layer> for SavedLayer {
    fn from(layer: &Layer) -> Self {
        Self {
            chain: layer.chain,
            diff_id: layer.diff_id,
            size: layer.size,
            blob: layer.blob.clone(),
            created: layer.created,
        }
    }
}

/// All records.
#[derive(Clone)]
pub(crate) struct Cache {
    db: Db,
    images: Images,
}

impl Keep for LayerHold {}

impl Cache {
    pub(crate) fn new(db: Db, images: Images) -> Self {
        Self { db, images }
    }

    /// The results at a key, by definition or content, with their layers held.
    pub(crate) async fn get(&self, key: &Digest) -> Result<Option<Vec<Option<Ref>>>, SolveError> {
        let (cache, key) = (self.clone(), key.to_string());
        blocking(move || cache.find(key)).await
    }

    fn find(&self, key: String) -> Result<Option<Vec<Option<Ref>>>, SolveError> {
        let found = self.db.read(|tx| {
            let id = KEYS.get(tx, &key)?.map_or(key.clone(), |id| id.to_string());
            let record = RECORDS.get(tx, &id)?;
            Ok::<_, RecordError>(record.map(|record| (id, record)))
        })?;
        let Some((id, record)) = found else {
            return Ok(None);
        };
        let Some(outputs) = self.revive(&record) else {
            self.db.write(|tx| drop_stale(tx, &key, (&id, &record)))?;
            return Ok(None);
        };
        self.db.write(|tx| {
            // A prune may have taken it meanwhile: then it is not brought back, and what it was is held all the same.
            if let Some(mut record) = RECORDS.get(tx, &id)? {
                record.used = Timestamp::now().as_second();
                record.count += 1;
                RECORDS.put(tx, &id, &record)?;
            }
            Ok::<_, RecordError>(())
        })?;
        Ok(Some(outputs))
    }

    /// The trees of a record; `None` if a layer is gone.
    fn revive(&self, record: &Record) -> Option<Vec<Option<Ref>>> {
        let outputs = record.outputs.iter().map(|output| {
            let Some(layers) = output else {
                return Some(None);
            };
            let tree = hold(&self.images, layers.iter().map(Layer::from).collect());
            let is_whole = tree
                .layers()
                .iter()
                .all(|one| self.images.has_layer(&one.chain));
            is_whole.then_some(Some(tree))
        });
        outputs.collect()
    }

    /// Records results. It is done to its end, also if nobody waits for it any more.
    pub(crate) async fn put(
        &self,
        content: &Digest,
        definition: Option<&Digest>,
        record: Record,
    ) -> Result<(), SolveError> {
        let (cache, content, definition) = (self.clone(), *content, definition.copied());
        blocking(move || cache.record(&content, definition.as_ref(), &record)).await
    }

    fn record(
        &self,
        content: &Digest,
        definition: Option<&Digest>,
        record: &Record,
    ) -> Result<(), SolveError> {
        let layers = record.outputs.iter().flatten().flatten().map(|layer| {
            let built = BuiltLayer {
                diff_id: layer.diff_id,
                size: layer.size,
                blob: layer.blob.clone(),
            };
            (layer.chain, built)
        });
        // Those of images too: an image may be removed, and what stands on its layers not.
        self.images.keep_layers(&layers.collect::<Vec<_>>())?;
        self.db.write(|tx| {
            RECORDS.put(tx, &content.to_string(), record)?;
            if let Some(key) = definition {
                KEYS.put(tx, &key.to_string(), content)?;
            }
            Ok::<_, RecordError>(())
        })?;
        Ok(())
    }

    /// Lets the result at `content` be found by its definition too.
    pub(crate) async fn name(
        &self,
        content: &Digest,
        definition: &Digest,
    ) -> Result<(), SolveError> {
        let (db, content, definition) = (self.db.clone(), *content, definition.to_string());
        blocking(move || Ok(db.write(|tx| KEYS.put(tx, &definition, &content))?)).await
    }

    /// All records. Blocks on the disk.
    pub(crate) fn all(&self) -> Result<Vec<(String, Record)>, SolveError> {
        Ok(self.db.read(|tx| RECORDS.all(tx))?)
    }

    /// Forgets records, and the layers that none of the others needs. Blocks on the disk.
    pub(crate) fn forget(&self, gone: &HashSet<String>) -> Result<(), SolveError> {
        let left = self.db.write(|tx| remove(tx, gone))?;
        let mut keep = HashSet::new();
        for (_, record) in &left {
            let layers = record.outputs.iter().flatten().flatten();
            keep.extend(layers.map(|layer| layer.chain));
        }
        self.images.forget_layers(&keep)?;
        Ok(())
    }
}

/// Removes a record whose layers are gone, with the key that it was found by; not one that a build has made in its place
/// since. Others may lead to it: they find nothing, and go with the next prune. Nobody reads all keys for this.
fn drop_stale(
    tx: &Transaction<'_>,
    key: &str,
    (id, found): (&str, &Record),
) -> Result<(), RecordError> {
    if RECORDS.get(tx, id)?.is_some_and(|record| record != *found) {
        return Ok(());
    }
    RECORDS.delete(tx, id)?;
    // It may lead elsewhere by now.
    if KEYS
        .get(tx, key)?
        .is_some_and(|there| there.to_string() == id)
    {
        KEYS.delete(tx, key)?;
    }
    Ok(())
}

/// Removes records, and all keys that lead to none; what is left.
fn remove(
    tx: &Transaction<'_>,
    gone: &HashSet<String>,
) -> Result<Vec<(String, Record)>, RecordError> {
    for id in gone {
        RECORDS.delete(tx, id)?;
    }
    let left = RECORDS.all(tx)?;
    let ids: HashSet<&str> = left.iter().map(|(id, _)| id.as_str()).collect();
    for (key, id) in KEYS.all(tx)? {
        if !ids.contains(id.to_string().as_str()) {
            KEYS.delete(tx, &key)?;
        }
    }
    Ok(left)
}

impl Record {
    /// Of results that were just made.
    pub(crate) fn new(outputs: &[Option<Ref>], description: String) -> Self {
        let now = Timestamp::now().as_second();
        let saved = |tree: &Ref| {
            let layers = tree.layers().iter().map(SavedLayer::from);
            layers.collect::<Vec<_>>()
        };
        let outputs: Vec<_> = outputs
            .iter()
            .map(|output| output.as_ref().map(saved))
            .collect();
        let own = outputs.iter().flatten().filter_map(|layers| layers.last());
        Self {
            own: own.map(|layer| layer.chain).collect(),
            outputs,
            description,
            created: now,
            used: now,
            count: 1,
        }
    }
}

/// A tree of layers that stay while it lives.
pub(crate) fn hold(images: &Images, layers: Vec<Layer>) -> Ref {
    let chains: Vec<ChainId> = layers.iter().map(|layer| layer.chain).collect();
    let keep: Vec<Arc<dyn Keep>> = vec![Arc::new(images.hold_layers(&chains))];
    Ref(Arc::new(Inner::Layers { layers, keep }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_lead_to_nothing_go_with_the_next_prune() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("records")).unwrap();
        let digest = |text: &str| Digest::sha256(text.as_bytes());
        let (stale, fresh) = (digest("stale"), digest("fresh"));
        let keys = ["one", "two", "fresh"].map(|name| digest(name).to_string());
        let record = Record::new(&[], String::new());
        let left = db.write(|tx| {
            for id in [&stale, &fresh] {
                RECORDS.put(tx, &id.to_string(), &record)?;
            }
            for (key, id) in keys.iter().zip([&stale, &stale, &fresh]) {
                KEYS.put(tx, key, id)?;
            }
            drop_stale(tx, &keys[0], (&stale.to_string(), &record))?;
            assert!(RECORDS.get(tx, &stale.to_string())?.is_none());
            assert!(KEYS.get(tx, &keys[0])?.is_none());
            let left = remove(tx, &HashSet::new())?;
            let found: Vec<String> = KEYS.all(tx)?.into_iter().map(|(key, _)| key).collect();
            assert_eq!(found, [keys[2].clone()]);
            Ok::<_, RecordError>(left)
        });
        let left: Vec<String> = left.unwrap().into_iter().map(|(id, _)| id).collect();
        assert_eq!(left, [fresh.to_string()]);
    }

    /// A build makes what a look-up found to be stale, before that has removed it.
    #[test]
    fn what_was_made_since_is_not_stale() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("records")).unwrap();
        let digest = |text: &str| Digest::sha256(text.as_bytes());
        let (id, other, key) = (digest("id"), digest("other"), digest("key").to_string());
        let found = Record::new(&[], String::new());
        let made = Record {
            created: found.created + 1,
            ..found.clone()
        };
        let left = db.write(|tx| {
            RECORDS.put(tx, &id.to_string(), &made)?;
            KEYS.put(tx, &key, &id)?;
            drop_stale(tx, &key, (&id.to_string(), &found))?;
            let left = (RECORDS.get(tx, &id.to_string())?, KEYS.get(tx, &key)?);
            assert_eq!(left, (Some(made.clone()), Some(id)));
            // It is stale too, but its key leads elsewhere meanwhile.
            KEYS.put(tx, &key, &other)?;
            drop_stale(tx, &key, (&id.to_string(), &made))?;
            Ok::<_, RecordError>((RECORDS.get(tx, &id.to_string())?, KEYS.get(tx, &key)?))
        });
        assert_eq!(left.unwrap(), (None, Some(other)));
    }
}
