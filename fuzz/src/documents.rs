//! What must hold of names and documents, whatever the bytes. Each function panics if it does not.

use wharf_oci::{Document, ImageConfig, Reference, media_type};

/// A name that is taken is written as one that is taken and means the same.
pub(crate) fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(name) = Reference::parse_normalized(text) else {
        return;
    };
    let same = |written: String| {
        let again = Reference::parse_normalized(&written);
        assert_eq!(
            again.as_ref(),
            Ok(&name),
            "{text:?} is written as {written:?}"
        );
    };
    same(name.to_string());
    // Docker's short form of `docker.io/a.b/c` is `a.b/c`, which is another registry's: its ambiguity, and so ours.
    let first = name.path().split('/').next().unwrap_or_default();
    if name.domain() != "docker.io" || !(first.contains('.') || first == "localhost") {
        same(name.familiar());
    }
}

/// A document that is taken is either a manifest or an index, whoever says so; a manifest keeps what it says.
pub(crate) fn manifest(bytes: &[u8]) {
    let free = Document::parse(bytes, None);
    for kind in media_type::ACCEPT_MANIFESTS {
        let Ok(document) = Document::parse(bytes, Some(kind)) else {
            continue;
        };
        assert_eq!(document.media_type(), kind);
        if let Ok(free) = &free {
            let same = matches!(
                (free, &document),
                (Document::Manifest(_), Document::Manifest(_))
                    | (Document::Index(_), Document::Index(_))
            );
            assert!(same, "read as two kinds");
        }
        if let Document::Manifest(manifest) = document
            && let Ok(text) = serde_json::to_vec(&manifest)
        {
            let again = wharf_oci::Manifest::parse(&text, Some(kind));
            assert_eq!(again.ok().as_ref(), Some(&manifest));
        }
    }
}

/// A configuration keeps its bytes, and has a link of its chain for each layer.
pub(crate) fn image_config(bytes: &[u8]) {
    if let Ok(config) = ImageConfig::parse(bytes.to_vec()) {
        assert_eq!(config.raw(), bytes);
        assert_eq!(config.chain().len(), config.rootfs.diff_ids.len());
    }
}
