//! Leases: what must not be collected although no record names it yet.

use std::collections::HashSet;

use wharf_oci::Digest;

use crate::Content;

/// Holds blobs as long as it lives. Blobs may be held before they are here.
#[derive(Debug)]
pub struct Lease {
    content: Content,
    held: HashSet<Digest>,
}

impl Content {
    /// An empty lease.
    pub fn lease(&self) -> Lease {
        Lease {
            content: self.clone(),
            held: HashSet::new(),
        }
    }
}

impl Lease {
    /// Holds one more blob.
    pub fn hold(&mut self, digest: &Digest) {
        if self.held.insert(*digest) {
            *self.content.state().leased.entry(*digest).or_default() += 1;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.content.state();
        for digest in &self.held {
            match state.leased.get_mut(digest) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(state.leased.remove(digest)),
            }
        }
    }
}
