//! What a document is, and what it must not be.

use serde_json::json;

use super::*;

fn descriptor(media_type: &str) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": Digest::sha256(b"").to_string(), "size": 0})
}

fn manifest() -> serde_json::Value {
    json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": descriptor(media_type::OCI_CONFIG),
        "layers": [descriptor(media_type::OCI_LAYER_GZIP)],
        "annotations": null,
    })
}

fn parse(value: &serde_json::Value, transport: Option<&str>) -> Result<Document, ManifestError> {
    Document::parse(value.to_string().as_bytes(), transport)
}

#[test]
fn reads_both_kinds() {
    let Ok(Document::Manifest(parsed)) = parse(&manifest(), None) else {
        panic!()
    };
    assert_eq!(parsed.layers.len(), 1);
    let again = Manifest::parse(&serde_json::to_vec(&parsed).unwrap(), None).unwrap();
    assert_eq!(again, parsed);

    let mut untyped = manifest();
    untyped.as_object_mut().unwrap().remove("mediaType");
    let transport = format!("{}; charset=utf-8", media_type::DOCKER_MANIFEST);
    assert_eq!(
        parse(&untyped, Some(&transport)).unwrap().media_type(),
        media_type::DOCKER_MANIFEST
    );
    assert_eq!(
        parse(&untyped, Some("application/json"))
            .unwrap()
            .media_type(),
        media_type::OCI_MANIFEST
    );

    let index = json!({"schemaVersion": 2, "manifests": [descriptor(media_type::OCI_MANIFEST)]});
    assert_eq!(
        parse(&index, None).unwrap().media_type(),
        media_type::OCI_INDEX
    );
}

#[test]
fn refuses_documents_that_are_two_things() {
    for media_type in [
        media_type::OCI_MANIFEST,
        media_type::OCI_INDEX,
        media_type::DOCKER_MANIFEST,
        "",
    ] {
        let mut both = manifest();
        both["mediaType"] = json!(media_type);
        both["manifests"] = json!([descriptor(media_type::OCI_MANIFEST)]);
        assert!(
            matches!(parse(&both, None), Err(ManifestError::Ambiguous { .. })),
            "{media_type}"
        );
    }
    let mut schema1 = manifest();
    schema1["fsLayers"] = json!([]);
    assert!(matches!(
        parse(&schema1, None),
        Err(ManifestError::Ambiguous { .. })
    ));
    let index_type = Some(media_type::OCI_INDEX);
    assert!(matches!(
        parse(&manifest(), index_type),
        Err(ManifestError::MediaTypeMismatch { .. })
    ));
}

#[test]
fn refuses_other_documents() {
    let with = |key: &str, value: serde_json::Value| {
        let mut document = manifest();
        document[key] = value;
        parse(&document, None).unwrap_err()
    };
    assert!(matches!(
        with("schemaVersion", json!(1)),
        ManifestError::Schema1
    ));
    assert!(matches!(
        with("schemaVersion", json!(3)),
        ManifestError::SchemaVersion(3)
    ));
    assert!(matches!(
        with("mediaType", json!("text/html")),
        ManifestError::UnsupportedMediaType(_)
    ));
    assert!(matches!(
        with("config", json!({"size": -1})),
        ManifestError::Json(_)
    ));
    let many = vec![descriptor(media_type::OCI_LAYER); MAX_LAYERS + 1];
    assert!(matches!(
        with("layers", json!(many)),
        ManifestError::TooManyLayers
    ));
    assert!(matches!(
        Document::parse(b"<html>", None),
        Err(ManifestError::Json(_))
    ));
    assert!(matches!(
        Document::parse(b"{\"schemaVersion\":2}", None),
        Err(ManifestError::NoMediaType)
    ));
    let huge = vec![b' '; MAX_MANIFEST_SIZE as usize + 1];
    assert!(matches!(
        Document::parse(&huge, None),
        Err(ManifestError::TooLarge { .. })
    ));
}

#[test]
fn selects_by_platform() {
    let entry = |platform: Option<&str>, content: &[u8]| {
        let mut descriptor = Descriptor::of(media_type::OCI_MANIFEST, content);
        descriptor.platform = platform.map(|text| Platform::parse(text).unwrap());
        descriptor
    };
    let mut attestation = entry(Some("linux/amd64"), b"attestation");
    attestation.annotations.insert(
        "vnd.docker.reference.type".into(),
        "attestation-manifest".into(),
    );
    let index = Index {
        schema_version: 2,
        media_type: media_type::OCI_INDEX.into(),
        manifests: vec![
            attestation,
            entry(None, b"any"),
            entry(Some("linux/386"), b"386"),
            entry(Some("linux/amd64"), b"amd64"),
            entry(Some("linux/arm64/v8"), b"arm64"),
        ],
        annotations: BTreeMap::new(),
    };
    let chosen = |platform: &str| -> Vec<Digest> {
        let platform = Platform::parse(platform).unwrap();
        index.select(&platform).iter().map(|d| d.digest).collect()
    };
    let (any, amd64) = (Digest::sha256(b"any"), Digest::sha256(b"amd64"));
    assert_eq!(chosen("linux/amd64"), [amd64, Digest::sha256(b"386"), any]);
    assert_eq!(chosen("linux/arm64"), [Digest::sha256(b"arm64"), any]);
    assert_eq!(chosen("linux/s390x"), [any]);
}
