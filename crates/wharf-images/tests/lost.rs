//! What a disk loses, or cannot read for a while: nothing else goes with it, and what can come back does.

#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use wharf_images::{ImageError, ListOptions, RemoveOptions, Removed};
use wharf_oci::{Descriptor, Digest, Manifest, media_type};

use world::common::{Reply, client};
use world::{Fixture, World, fixture, noise, serve};

fn blob(world: &World, digest: &Digest) -> PathBuf {
    let blobs = world.root.path().join("content/blobs/sha256");
    blobs.join(digest.hex())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_read_now_is_there_when_it_can() {
    let lost = fixture(&["base", "lost"]);
    let id = lost.id();
    let registry = serve(
        vec![("1", lost), ("2", fixture(&["base", "other"]))],
        |_| None,
    );
    let mut world = World::new(client());
    let name = registry.reference("app:1");
    world.pull(&name).await.unwrap();
    world.pull(&registry.reference("app:2")).await.unwrap();
    let kept = world.kept();
    // Stands for a disk or a process that cannot read for the moment.
    let (config, aside) = (blob(&world, &id), world.root.path().join("aside"));
    fs::rename(&config, &aside).unwrap();
    fs::create_dir(&config).unwrap();
    world.reopen(client());
    assert_eq!(world.images.count(), 1);
    world.images.collect().unwrap();
    world
        .images
        .prune(&ListOptions::default(), &|_| Vec::new(), &|_| {})
        .unwrap();
    assert_eq!(world.kept(), kept);
    fs::remove_dir(&config).unwrap();
    fs::rename(&aside, &config).unwrap();
    world.reopen(client());
    assert_eq!(world.images.resolve(&name.familiar()).unwrap().id, id);
    assert_eq!(world.images.check(false).await.unwrap().faults.len(), 0);

    // It can be given up, too.
    fs::rename(&config, &aside).unwrap();
    fs::create_dir(&config).unwrap();
    world.reopen(client());
    let remove = |text: &str, uses: &dyn Fn(&Digest) -> Vec<wharf_images::ImageUse>| {
        let removed = world.images.remove(text, RemoveOptions::default(), uses);
        removed.map(|steps| steps.contains(&Removed::Image(id)))
    };
    let used = |id: &Digest| {
        vec![wharf_images::ImageUse {
            container: "0123456789abcdef".into(),
            image: *id,
            running: false,
        }]
    };
    assert!(remove(&id.to_string(), &used).is_err());
    assert!(remove(&id.to_string(), &|_| Vec::new()).unwrap());
    assert!(remove(&id.to_string(), &|_| Vec::new()).is_err());
    assert!(world.kept() < kept);
    assert_eq!(world.images.check(false).await.unwrap().faults.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_its_configuration_comes_back_by_a_pull() {
    let lost = fixture(&["base", "lost"]);
    let (id, layer) = (lost.id(), Digest::sha256(&lost.layers[1]));
    let registry = serve(
        vec![("1", lost), ("2", fixture(&["base", "other"]))],
        |_| None,
    );
    let mut world = World::new(client());
    let name = registry.reference("app:1");
    world.pull(&name).await.unwrap();
    let tag = registry.reference("mine:1");
    world.images.tag(&name.familiar(), &tag).unwrap();
    fs::remove_file(blob(&world, &id)).unwrap();
    world.reopen(client());
    world.images.collect().unwrap();
    // Not fetched again, and its other name comes with it.
    assert!(blob(&world, &layer).exists());
    let lines = world.pull(&name).await.unwrap();
    assert!(
        !lines.iter().any(|line| line.contains("Downloading")),
        "{lines:?}"
    );
    assert_eq!(world.images.resolve(&tag.familiar()).unwrap().id, id);

    // One without a tag goes with a prune, as others do.
    fs::remove_file(blob(&world, &id)).unwrap();
    world.reopen(client());
    let prune = || {
        let all = ListOptions::default();
        let pruned = world.images.prune(&all, &|_| Vec::new(), &|_| {}).unwrap();
        pruned.removed.contains(&Removed::Image(id))
    };
    assert!(!prune());
    let untag = |name: &str| {
        world
            .images
            .remove(name, RemoveOptions::default(), &|_| Vec::new())
    };
    untag(&tag.familiar()).unwrap();
    let other = registry.reference("app:2");
    world.pull(&other).await.unwrap();
    world.images.tag(&other.familiar(), &name).unwrap();
    assert!(prune());
    assert!(!blob(&world, &layer).exists());
}

/// The same image with its first layer compressed in another way.
fn recompressed(mut image: Fixture) -> Fixture {
    use std::io::Write as _;
    let best = flate2::Compression::best();
    let mut encoder = flate2::GzBuilder::new()
        .comment("other")
        .write(Vec::new(), best);
    encoder.write_all(&image.tars[0]).unwrap();
    image.layers[0] = encoder.finish().unwrap();
    let layers = image.layers.iter();
    let layers = layers.map(|layer| Descriptor::of(media_type::OCI_LAYER_GZIP, layer));
    let config = Descriptor::of(media_type::OCI_CONFIG, &image.config);
    let manifest = Manifest::oci(config, layers.collect());
    image.manifest = serde_json::to_vec(&manifest).unwrap();
    image
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_layer_is_unpacked_again_from_whichever_blob_is_here() {
    let (first, second) = (fixture(&["base", "a"]), fixture(&["base", "bc"]));
    let second = recompressed(second);
    let (id, absent) = (second.id(), Digest::sha256(&second.layers[0]));
    let registry = serve(vec![("1", first), ("2", second)], |_| None);
    let mut world = World::new(client());
    world.pull(&registry.reference("app:1")).await.unwrap();
    world.pull(&registry.reference("app:2")).await.unwrap();
    assert!(!blob(&world, &absent).exists());
    let layers = world.root.path().join("snapshots/layers");
    fs::remove_dir_all(&layers).unwrap();
    world.reopen(client());
    world.images.repair(&id).await.unwrap();
    assert_eq!(fs::read_dir(&layers).unwrap().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_a_blob_that_is_being_fetched_waits() {
    let image = fixture(&[&noise(900_000)]);
    let layer = image.layers[0].clone();
    let digest = Digest::sha256(&layer);
    let (path, half) = (digest.to_string(), layer.clone());
    let registry = serve(vec![("1", image)], move |request| {
        request.path.ends_with(&path).then(|| Reply {
            cut: Some(half.len() / 2),
            stall: true,
            ..Reply::ok(half.clone())
        })
    });
    let world = World::new(client());
    let (images, name) = (world.images.clone(), registry.reference("app:1"));
    let pull = tokio::spawn(async move {
        let progress = wharf_images::ProgressSender::discard();
        images
            .pull(&name, wharf_images::PullOptions::default(), progress)
            .await
    });
    let part = world
        .root
        .path()
        .join("content/ingest")
        .join(format!("sha256-{}", digest.hex()));
    while !part.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (images, bytes) = (world.images.clone(), layer.clone());
    let (sender, kept) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let kept = images.keep_blob(&digest, &mut |out| out.write_all(&bytes));
        sender.send(kept.map(drop)).unwrap();
    });
    // It would fail at once.
    let early = kept.recv_timeout(Duration::from_millis(300));
    assert!(early.is_err(), "{early:?}");
    pull.abort();
    let kept: Result<(), ImageError> = tokio::task::block_in_place(|| kept.recv()).unwrap();
    kept.unwrap();
    assert_eq!(fs::read(blob(&world, &digest)).unwrap(), layer);
}
