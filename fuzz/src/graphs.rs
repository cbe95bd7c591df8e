//! What must hold of graphs of build steps, whatever the bytes. It panics if it does not.

use bollard_buildkit_proto::pb;
use prost::Message as _;

/// A graph has no more vertices than it has operations, and is read the same again.
pub(crate) fn graph(bytes: &[u8]) {
    let Ok(definition) = pb::Definition::decode(bytes) else {
        return;
    };
    if let Ok(count) = wharf_solver::vertices(&definition) {
        assert!(count <= definition.def.len());
        assert_eq!(wharf_solver::vertices(&definition).ok(), Some(count));
    }
}
