//! Manifests: wrong, huge, none at all, and the right one of several.

use wharf_oci::{Descriptor, Digest, Index, Platform, media_type};

use crate::app::{failure, layer, registry, resolve};
use crate::common::{Registry, Reply, client, manifest};

#[tokio::test]
async fn a_wrong_manifest_is_refused_by_digest() {
    let registry = registry(|request| {
        let honest = request.path.contains("/manifests/");
        honest.then(|| {
            Reply::ok(manifest(b"other").0)
                .with("Content-Type", media_type::OCI_MANIFEST)
                .with("Docker-Content-Digest", manifest(&layer()).1.to_string())
        })
    });
    let expected = manifest(&layer()).1;
    assert_eq!(
        failure(&client(), &registry).await,
        format!("manifest verification failed for digest {expected}")
    );
}

#[tokio::test]
async fn refusals_have_dockers_words() {
    let cases = [
        (
            404,
            "MANIFEST_UNKNOWN",
            "manifest unknown",
            "manifest for {}/app:latest not found: manifest unknown: manifest unknown",
        ),
        (
            404,
            "NAME_UNKNOWN",
            "repository name not known to registry",
            "repository {}/app not found: name unknown: repository name not known to registry",
        ),
        (
            403,
            "DENIED",
            "requested access to the resource is denied",
            "pull access denied for {}/app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
        ),
        (
            500,
            "UNKNOWN",
            "x",
            "received unexpected HTTP status: 500 Internal Server Error",
        ),
    ];
    for (status, code, message, text) in cases {
        let registry = registry(move |request| {
            let manifest = request.path.contains("/manifests/");
            manifest.then(|| Reply::error(status, code, message))
        });
        let expected = text.replace("{}", &registry.address.to_string());
        assert_eq!(failure(&client(), &registry).await, expected);
    }
}

#[tokio::test]
async fn nonsense_is_an_error_and_no_panic() {
    for body in [
        "<html>hello</html>",
        "",
        "[]",
        "{}",
        r#"{"schemaVersion":1}"#,
    ] {
        let registry = registry(move |request| {
            let manifest = request.path.contains("/manifests/");
            manifest.then(|| Reply::ok(body).with("Content-Type", "text/html"))
        });
        failure(&client(), &registry).await;
    }
}

#[tokio::test]
async fn a_huge_manifest_is_not_read() {
    let registry = registry(|request| {
        let manifest = request.path.contains("/manifests/");
        manifest.then(|| Reply::ok(vec![b' '; 5 << 20]))
    });
    assert!(failure(&client(), &registry).await.contains("longer than"));
}

#[tokio::test]
async fn chooses_the_platform() {
    let registry = registry(|request| {
        let (bytes, digest) = manifest(&layer());
        let mut entry = Descriptor::new(media_type::OCI_MANIFEST, digest, bytes.len() as u64);
        entry.platform = Some(Platform::parse("linux/s390x").unwrap());
        let index = Index {
            schema_version: 2,
            media_type: media_type::OCI_INDEX.into(),
            manifests: vec![entry],
            annotations: Default::default(),
        };
        request.path.ends_with("/latest").then(|| {
            Reply::ok(serde_json::to_vec(&index).unwrap())
                .with("Content-Type", media_type::OCI_INDEX)
        })
    });
    let client = client();
    let reference = registry.reference("app:latest");
    let arm = Platform::parse("linux/arm64").unwrap();
    let error = client.resolve(&reference, &arm, None).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "no matching manifest for linux/arm64/v8 in the manifest list entries"
    );
    let s390x = Platform::parse("linux/s390x").unwrap();
    let resolved = client.resolve(&reference, &s390x, None).await.unwrap();
    assert!(resolved.index.is_some());
    assert_ne!(resolved.digest(), resolved.raw.descriptor.digest);
    let (_, all) = client.resolve_all(&reference, None).await.unwrap();
    assert_eq!(all, [resolved.manifest]);
}

/// A registry whose index names these manifests, and one that is gone.
fn with_one_gone(named: &[Digest]) -> Registry {
    with_one_refused(named, || {
        Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown")
    })
}

/// As above, with another answer in the last one's place.
fn with_one_refused(named: &[Digest], refusal: fn() -> Reply) -> Registry {
    let gone = Digest::sha256(b"gone");
    let entries = named.iter().chain([&gone]);
    let entries = entries.map(|digest| Descriptor::new(media_type::OCI_MANIFEST, *digest, 7));
    let index = Index {
        schema_version: 2,
        media_type: media_type::OCI_INDEX.into(),
        manifests: entries.collect(),
        annotations: Default::default(),
    };
    registry(move |request| {
        if request.path.ends_with("/latest") {
            let index = Reply::ok(serde_json::to_vec(&index).unwrap());
            return Some(index.with("Content-Type", media_type::OCI_INDEX));
        }
        let is_gone = request.path.ends_with(&gone.to_string());
        is_gone.then(refusal)
    })
}

#[tokio::test]
async fn of_all_images_those_are_left_out_that_are_gone() {
    let client = client();
    let registry = with_one_gone(&[manifest(&layer()).1]);
    let reference = registry.reference("app:latest");
    let (_, all) = client.resolve_all(&reference, None).await.unwrap();
    assert_eq!(all.len(), 1);
    let registry = with_one_gone(&[]);
    let reference = registry.reference("app:latest");
    let none = client.resolve_all(&reference, None).await.err().unwrap();
    assert!(none.to_string().contains("manifest unknown"), "{none}");
}

/// What is not given for another reason may be the part that is wanted: nobody is told that the rest is all.
#[tokio::test]
async fn of_all_images_none_is_left_out_that_is_refused() {
    type Refusal = fn() -> Reply;
    let refusals: [(Refusal, &str); 3] = [
        (|| Reply::error(403, "DENIED", "not for you"), "not for you"),
        (|| Reply::error(429, "TOOMANYREQUESTS", "slowly"), "slowly"),
        (|| Reply::ok(b"other".to_vec()), "verification failed"),
    ];
    for (refusal, said) in refusals {
        let registry = with_one_refused(&[manifest(&layer()).1], refusal);
        let reference = registry.reference("app:latest");
        let error = client().resolve_all(&reference, None).await.err();
        let error = error.expect(said).to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[tokio::test]
async fn warnings_of_a_registry_are_kept() {
    let (bytes, _) = manifest(&layer());
    let registry = registry(move |request| {
        request.path.contains("/manifests/").then(|| {
            Reply::ok(bytes.clone())
                .with("Content-Type", media_type::OCI_MANIFEST)
                .with("Warning", "299 - \"This image is deprecated.\"")
        })
    });
    let resolved = resolve(&client(), &registry).await.unwrap();
    assert_eq!(
        resolved.source.take_warnings(),
        ["This image is deprecated."]
    );
}
