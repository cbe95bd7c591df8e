//! Results as definitions, so that a client can hand the result of one build to another (`target:` contexts of bake).

use std::sync::Arc;

use bollard_buildkit_proto::pb::{self, Definition, Op, SourceOp, op};
use prost::Message as _;

use crate::error::Error;
use crate::job::Built;
use crate::service::Kit;
use crate::session::hex;

/// What an image of this daemon is called in a definition.
const SCHEME: &str = "wharf-image://";
/// The most operations of a definition.
const MOST: usize = 100_000;

/// The definition of something that was built.
pub(crate) fn of(built: &Built) -> Definition {
    let source = Op {
        op: Some(op::Op::Source(SourceOp {
            identifier: format!("{SCHEME}{}", built.image.id),
            ..SourceOp::default()
        })),
        platform: Some(crate::caps::platform(&built.image.config.platform())),
        ..Op::default()
    };
    let source = source.encode_to_vec();
    let last = Op {
        inputs: vec![pb::Input {
            digest: digest(&source),
            index: 0,
        }],
        ..Op::default()
    };
    let last = last.encode_to_vec();
    // Clients take no operation without its metadata.
    let metadata = [&source, &last].map(|op| (digest(op), pb::OpMetadata::default()));
    Definition {
        metadata: metadata.into(),
        def: vec![source, last],
        ..Definition::default()
    }
}

fn digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    format!("sha256:{}", hex(&sha2::Sha256::digest(bytes)))
}

/// What a definition means, if that has been built here.
///
/// # Errors
/// If it is anything else.
pub(crate) fn result(kit: &Kit, definition: &Definition) -> Result<Arc<Built>, Error> {
    if definition.def.len() > MOST {
        return Err(Error::Invalid(
            "invalid LLB definition: too large".to_owned(),
        ));
    }
    let not_built = || Error::Unimplemented("LLB definitions are not built".to_owned());
    let mut found = None;
    for bytes in &definition.def {
        let op = Op::decode(&bytes[..])
            .map_err(|error| Error::Invalid(format!("failed to parse llb proto op: {error}")))?;
        match op.op {
            // The last one only points at the result.
            None => {}
            Some(op::Op::Source(source)) if found.is_none() => {
                let id = source.identifier.strip_prefix(SCHEME);
                found = Some(id.ok_or_else(not_built)?.to_owned());
            }
            Some(_) => return Err(not_built()),
        }
    }
    let id = found.ok_or_else(not_built)?;
    let id: wharf_oci::Digest = id
        .parse()
        .map_err(|_| Error::Invalid(format!("invalid image id {id:?}")))?;
    let (image, pin) = kit.engine.images.store().pin(&id.to_string())?;
    Ok(Arc::new(Built { image, _pin: pin }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_that_are_none_are_no_panic() {
        for bytes in [vec![], vec![0xff; 64], vec![0x0a, 0xff, 0xff, 0xff, 0x7f]] {
            let _ = Op::decode(&bytes[..]);
        }
    }
}
