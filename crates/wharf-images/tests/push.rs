//! What a push sends, to a registry that has nothing.

#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use wharf_images::{ProgressSender, PushOptions};
use wharf_oci::{Descriptor, Digest, Manifest, media_type};

use world::common::{Registry, Reply, Request, client};
use world::{World, fixture, serve, tar};

/// A statement about `image` that shares its blobs with all others.
fn statement(image: &Descriptor, text: &str) -> (Descriptor, Vec<u8>) {
    let blob = Descriptor::of("application/vnd.in-toto+json", SAID);
    let mut manifest = Manifest::oci(Descriptor::of(media_type::OCI_CONFIG, b"{}"), vec![blob]);
    manifest.annotations.insert("text".into(), text.into());
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let mut entry = Descriptor::of(media_type::OCI_MANIFEST, &bytes);
    let kind = "attestation-manifest".to_owned();
    entry.annotations.extend([
        ("vnd.docker.reference.type".to_owned(), kind),
        (
            "vnd.docker.reference.digest".to_owned(),
            image.digest.to_string(),
        ),
    ]);
    (entry, bytes)
}

const SAID: &[u8] = b"what is said";

/// A registry that takes everything, and forgets it.
fn taking(request: &Request) -> Option<Reply> {
    match request.method.as_str() {
        "HEAD" => Some(Reply::status(404, "")),
        "POST" => Some(Reply::status(202, "").with("Location", "/v2/to/blobs/uploads/1")),
        "PATCH" => Some(Reply::status(202, "").with("Location", "/v2/to/blobs/uploads/1")),
        "PUT" => Some(Reply::status(201, "")),
        _ => None,
    }
}

async fn load(world: &World, archive: Vec<u8>) {
    let archive = std::io::Cursor::new(archive);
    let progress = ProgressSender::discard();
    world.images.load(archive, &[], progress).await.unwrap();
}

fn saved(world: &World, name: &str) -> Vec<u8> {
    let mut archive = Vec::new();
    let names = [name.to_owned()];
    world.images.save(&names, &[], &mut archive).unwrap();
    archive
}

/// The same archive in, the same digests out: also if its layers are not compressed.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_loaded_with_a_manifest_is_pushed_and_saved_with_it() {
    let image = fixture(&["one"]);
    let list = r#"[{"Config":"c.json","RepoTags":["app:1"],"Layers":["l.tar"]}]"#;
    let old = tar(&[
        ("c.json", &image.config),
        ("l.tar", &image.tars[0]),
        ("manifest.json", list.as_bytes()),
    ]);
    let (first, second) = (World::new(client()), World::new(client()));
    load(&first, old).await;
    let archive = saved(&first, "app:1");
    load(&second, archive.clone()).await;
    assert!(saved(&second, "app:1") == archive);
    let manifest = second.images.resolve("app:1").unwrap().manifest.unwrap();

    let to = Registry::start(|request| taking(request).unwrap_or_default());
    let target = to.reference("to:1");
    second.images.tag("app:1", &target).unwrap();
    let (options, progress) = (PushOptions::default(), ProgressSender::discard());
    second
        .images
        .push(&target, options, progress)
        .await
        .unwrap();
    let put = to.requests("/manifests/1").pop().unwrap();
    assert_eq!(Digest::sha256(put.body.as_bytes()), manifest.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_index_names_often_is_sent_once() {
    let image = fixture(&["one"]);
    let mut listed = Descriptor::of(media_type::OCI_MANIFEST, &image.manifest);
    listed.platform = Some(wharf_oci::Platform::host());
    let statements = ["one", "two"].map(|text| statement(&listed, text));
    let manifests: Vec<_> = [&listed]
        .into_iter()
        .chain(statements.iter().map(|(entry, _)| entry))
        .collect();
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests,
    })
    .to_string();
    let (layer, manifest) = (image.layers[0].clone(), image.manifest.clone());
    let from = serve(vec![("1", image)], move |request| {
        if request.path.ends_with("/manifests/1") {
            return Some(Reply::ok(index.clone()).with("Content-Type", media_type::OCI_INDEX));
        }
        let of = |digest: &Digest| request.path.ends_with(&digest.to_string());
        let document = match statements.iter().find(|(entry, _)| of(&entry.digest)) {
            Some((_, bytes)) => bytes,
            None if of(&listed.digest) => &manifest,
            None if of(&Digest::sha256(SAID)) => return Some(Reply::ok(SAID)),
            None if of(&Digest::sha256(b"{}")) => return Some(Reply::ok("{}")),
            None => return None,
        };
        Some(Reply::ok(document.clone()).with("Content-Type", media_type::OCI_MANIFEST))
    });
    let world = World::new(client());
    let source = from.reference("lib/app:1");
    world.pull(&source).await.unwrap();

    // An archive has all of it, for who loads it: the index of a single platform, and what is said of that.
    let again = World::new(client());
    load(&again, saved(&world, &source.familiar())).await;
    let image = again.images.resolve(&source.familiar()).unwrap();
    let index = world.images.resolve(&source.familiar()).unwrap().index;
    assert!(index.is_some() && image.index == index);
    assert_eq!(again.images.manifests(&image.id).unwrap().len(), 3);
    assert!(saved(&again, &source.familiar()) == saved(&world, &source.familiar()));

    let to = Registry::start(|request| taking(request).unwrap_or_default());
    let target = to.reference("to:1");
    world.images.tag(&source.familiar(), &target).unwrap();
    let (progress, _events) = ProgressSender::channel();
    let options = PushOptions::default();
    world.images.push(&target, options, progress).await.unwrap();
    let asked = |blob: &[u8]| {
        let digest = Digest::sha256(blob).to_string();
        to.requests(&format!("/blobs/{digest}")).len()
    };
    assert_eq!(asked(&layer), 1);
    assert_eq!(asked(SAID), 1, "both statements have it");
    let puts = to.requests("/manifests/").into_iter();
    assert_eq!(puts.filter(|request| request.method == "PUT").count(), 4);
}
