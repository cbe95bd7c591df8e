//! Chain ids: the identity of a stack of layers.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Digest, Hasher};

/// The identity of a layer together with everything below it (image specification, "Layer ChainID").
///
/// Two images that share their lowest layers share the chain ids of these, and so the unpacked directories.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// The chain ids of all prefixes of `diff_ids`, bottom first: one per layer; the last one names the whole stack.
    pub fn from_diff_ids(diff_ids: &[Digest]) -> Vec<ChainId> {
        let mut chain: Vec<ChainId> = Vec::with_capacity(diff_ids.len());
        for diff_id in diff_ids {
            chain.push(match chain.last() {
                None => ChainId(*diff_id),
                Some(parent) => parent.child(diff_id),
            });
        }
        chain
    }

    /// The chain id of one more layer on top of this stack: `sha256("<parent> <diff id>")`.
    pub fn child(&self, diff_id: &Digest) -> ChainId {
        let mut hasher = Hasher::sha256();
        hasher.update(format!("{self} {diff_id}").as_bytes());
        ChainId(hasher.finish())
    }

    /// The digest itself.
    pub fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_specification() {
        let (a, b) = (Digest::sha256(b"a"), Digest::sha256(b"b"));
        assert!(ChainId::from_diff_ids(&[]).is_empty());
        let chain = ChainId::from_diff_ids(&[a, b]);
        assert_eq!(chain[0].0, a);
        assert_eq!(chain[1].0, Digest::sha256(format!("{a} {b}").as_bytes()));
    }
}
