//! What is said of an image: attestations and referrers.

use wharf_distribution::Room;
use wharf_oci::{Descriptor, Digest, Manifest, media_type};

use crate::app::{layer, registry, resolve};
use crate::common::{Reply, client, manifest};

/// All that is said of an image is held until the image is here: of a registry that says ever more, some is enough.
#[tokio::test]
async fn what_is_said_of_an_image_has_an_end() {
    let image = Digest::sha256(b"image");
    let part = Descriptor::new(
        "application/vnd.in-toto+json",
        Digest::sha256(b"no"),
        32 << 20,
    );
    let config = Descriptor::new(media_type::OCI_CONFIG, Digest::sha256(b"{}"), 2);
    let said = serde_json::to_vec(&Manifest::oci(config, vec![part])).unwrap();
    let mut entry = Descriptor::of(media_type::OCI_MANIFEST, &said);
    for (key, value) in [
        (
            "vnd.docker.reference.type",
            "attestation-manifest".to_owned(),
        ),
        ("vnd.docker.reference.digest", image.to_string()),
    ] {
        entry.annotations.insert(key.to_owned(), value);
    }
    let digest = entry.digest.to_string();
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": vec![entry; 1000],
    });
    let index = index.to_string();
    let list = index.clone();
    let registry = registry(move |request| {
        if request.path.ends_with(&digest) {
            return Some(Reply::ok(said.clone()).with("Content-Type", media_type::OCI_MANIFEST));
        }
        if request.path.contains("/referrers/") {
            return Some(Reply::ok(list.clone()));
        }
        let blob = request.path.contains("/blobs/");
        blob.then(|| Reply::error(404, "BLOB_UNKNOWN", "blob unknown"))
    });
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    let mut room = Room::default();
    let said = client.statements(&resolved.source, index.as_bytes(), &image, &mut room);
    assert!(said.await.is_empty(), "none of them was whole");
    // As many manifests, and parts of as many bytes together, but for the manifests'.
    assert_eq!(registry.requests("/manifests/sha256").len(), 100);
    let parts = (256 << 20) / (32 << 20);
    assert_eq!(registry.requests("/blobs/").len(), parts - 1);
    // What others say is held beside it.
    let subjects = [image];
    let said = client.referrers(&resolved.source, &subjects, &mut room);
    let error = said.await.unwrap_err().to_string();
    assert_eq!(error, "what is said of the image takes more than 256 MiB");
    assert_eq!(registry.requests("/blobs/").len(), parts - 1);
}

/// A manifest of no image, about `subject`.
fn about(subject: &Digest, text: &str) -> (String, String) {
    let empty = Descriptor::of("application/vnd.oci.empty.v1+json", b"{}");
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "artifactType": "a/note",
        "config": empty, "layers": [], "subject": Descriptor::new(media_type::OCI_MANIFEST, *subject, 1),
        "annotations": {"text": text},
    });
    let text = manifest.to_string();
    (Digest::sha256(text.as_bytes()).to_string(), text)
}

fn listed(documents: &[&(String, String)]) -> String {
    let entry =
        |(_, text): &&(String, String)| Descriptor::of(media_type::OCI_MANIFEST, text.as_bytes());
    let all: Vec<_> = documents.iter().map(entry).collect();
    serde_json::json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": all})
        .to_string()
}

#[tokio::test]
async fn referrers_come_by_pages_and_with_their_own() {
    let (_, image) = manifest(&layer());
    let (one, two) = (about(&image, "one"), about(&image, "two"));
    let third = about(&Digest::parse(&two.0).unwrap(), "about the second");
    let (first_page, second_page, its_own) = (listed(&[&one]), listed(&[&two]), listed(&[&third]));
    let (all, second) = ([one, two.clone(), third], two.0);
    let registry = registry(move |request| {
        let path = request.path.as_str();
        if path.ends_with(&format!("/referrers/{image}")) {
            let link = format!("</v2/app/referrers/{image}?last=x>; rel=\"next\"");
            return Some(Reply::ok(first_page.clone()).with("Link", link));
        }
        if path.ends_with(&format!("/referrers/{image}?last=x")) {
            return Some(Reply::ok(second_page.clone()));
        }
        if path.ends_with(&format!("/referrers/{second}")) {
            return Some(Reply::ok(its_own.clone()));
        }
        if path.contains("/referrers/") {
            return Some(Reply::ok(listed(&[])));
        }
        if path.contains("/blobs/") {
            return Some(Reply::ok("{}"));
        }
        let (_, text) = all.iter().find(|(digest, _)| path.ends_with(digest))?;
        Some(Reply::ok(text.clone()).with("Content-Type", media_type::OCI_MANIFEST))
    });
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    let mut room = Room::default();
    let subjects = [image];
    let found = client.referrers(&resolved.source, &subjects, &mut room);
    let found = found.await.unwrap();
    let mut texts: Vec<String> = found
        .iter()
        .filter_map(|(_, bytes)| {
            let document: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            Some(document["annotations"]["text"].as_str()?.to_owned())
        })
        .collect();
    texts.sort();
    assert_eq!(texts, ["about the second", "one", "two"]);
}

#[tokio::test]
async fn a_tag_that_is_no_list_of_referrers_stays_as_it_is() {
    let (bytes, image) = manifest(&layer());
    let registry = registry(move |request| {
        let tag = request.path.contains("/manifests/sha256-");
        tag.then(|| Reply::ok(bytes.clone()).with("Content-Type", media_type::OCI_MANIFEST))
    });
    let client = client();
    let target = client.push_target(&registry.reference("app:latest"), None, &[]);
    let entry = Descriptor::of(media_type::OCI_MANIFEST, b"{}");
    let error = client
        .list_referrer(&target.unwrap(), &image, &entry)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.ends_with(": is no list of referrers"), "{error}");
    let asked = registry.requests("/manifests/");
    assert!(asked.iter().all(|request| request.method == "GET"));
}
