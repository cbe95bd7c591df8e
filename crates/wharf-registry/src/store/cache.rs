//! Manifests and tags in memory. Bounded; what is dropped is read again.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http::HeaderValue;
use wharf_oci::Digest;

use crate::names::Name;

/// Bytes of manifests that are kept.
const MANIFEST_BYTES: usize = 64 << 20;
/// Tags that are kept.
const TAGS: usize = 64 * 1024;
/// What one more entry weighs, whatever it holds.
const OVERHEAD: usize = 512;

/// A manifest of a repository, with what goes into the headers of an answer.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) digest: Digest,
    pub(crate) media_type: HeaderValue,
    /// The digest, as a header's value.
    pub(crate) digest_value: HeaderValue,
    /// The digest in quotes.
    pub(crate) etag: HeaderValue,
    pub(crate) bytes: Bytes,
}

#[derive(Debug)]
pub(crate) struct Cache {
    tags: RwLock<Bounded<(Name, String), Digest>>,
    manifests: RwLock<Bounded<(Name, Digest), Arc<Stored>>>,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache {
            tags: RwLock::new(Bounded::new(TAGS)),
            manifests: RwLock::new(Bounded::new(MANIFEST_BYTES)),
        }
    }
}

/// The time at which something was looked for: what changed since must not be filled in from an older look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch(u64);

impl Cache {
    pub(crate) fn tag(&self, name: &Name, tag: &str) -> Result<Digest, Epoch> {
        let tags = self.tags.read().unwrap_or_else(PoisonError::into_inner);
        tags.get(&(name.clone(), tag.to_owned()))
    }

    pub(crate) fn fill_tag(&self, epoch: Epoch, name: &Name, tag: &str, digest: Digest) {
        let mut tags = self.tags.write().unwrap_or_else(PoisonError::into_inner);
        tags.fill(epoch, (name.clone(), tag.to_owned()), digest, 1);
    }

    /// To be called after a tag was set or deleted on the disk.
    pub(crate) fn forget_tag(&self, name: &Name, tag: &str) {
        let mut tags = self.tags.write().unwrap_or_else(PoisonError::into_inner);
        tags.forget(&(name.clone(), tag.to_owned()));
    }

    pub(crate) fn manifest(&self, name: &Name, digest: &Digest) -> Result<Arc<Stored>, Epoch> {
        let manifests = self
            .manifests
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        manifests.get(&(name.clone(), *digest))
    }

    pub(crate) fn fill_manifest(&self, epoch: Epoch, name: &Name, stored: Arc<Stored>) {
        let weight = stored.bytes.len() + OVERHEAD;
        let mut manifests = self
            .manifests
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        manifests.fill(epoch, (name.clone(), stored.digest), stored, weight);
    }

    /// To be called after a manifest was deleted on the disk.
    pub(crate) fn forget_manifest(&self, name: &Name, digest: &Digest) {
        let mut manifests = self
            .manifests
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        manifests.forget(&(name.clone(), *digest));
    }
}

/// A map that drops the oldest of its entries when they weigh too much.
#[derive(Debug)]
struct Bounded<K, V> {
    entries: HashMap<K, (V, usize)>,
    order: VecDeque<K>,
    weight: usize,
    limit: usize,
    epoch: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Bounded<K, V> {
    fn new(limit: usize) -> Self {
        Bounded {
            entries: HashMap::new(),
            order: VecDeque::new(),
            weight: 0,
            limit,
            epoch: 0,
        }
    }

    fn get(&self, key: &K) -> Result<V, Epoch> {
        let entry = self.entries.get(key);
        entry
            .map(|(value, _)| value.clone())
            .ok_or(Epoch(self.epoch))
    }

    fn fill(&mut self, epoch: Epoch, key: K, value: V, weight: usize) {
        if epoch.0 != self.epoch || self.entries.contains_key(&key) {
            return;
        }
        self.entries.insert(key.clone(), (value, weight));
        self.order.push_back(key);
        self.weight += weight;
        while self.weight > self.limit {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.remove(&oldest);
        }
    }

    fn forget(&mut self, key: &K) {
        self.epoch += 1;
        if self.remove(key) {
            self.order.retain(|one| one != key);
        }
    }

    fn remove(&mut self, key: &K) -> bool {
        let removed = self.entries.remove(key);
        self.weight -= removed.as_ref().map_or(0, |(_, weight)| *weight);
        removed.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_look_fills_nothing_in() {
        let mut map: Bounded<u32, u32> = Bounded::new(10);
        let looked = map.get(&1).unwrap_err();
        map.forget(&1);
        map.fill(looked, 1, 5, 1);
        let looked = map.get(&1).unwrap_err();
        map.fill(looked, 1, 6, 1);
        assert_eq!(map.get(&1).unwrap(), 6);
    }

    #[test]
    fn stays_within_its_limit() {
        let mut map: Bounded<u32, u32> = Bounded::new(10);
        for key in 0..20 {
            let looked = map.get(&key).unwrap_err();
            map.fill(looked, key, key, 3);
        }
        assert_eq!((map.weight, map.entries.len(), map.order.len()), (9, 3, 3));
        assert!(map.get(&0).is_err() && map.get(&19).is_ok());
        map.forget(&19);
        assert_eq!((map.weight, map.order.len()), (6, 2));
    }
}
