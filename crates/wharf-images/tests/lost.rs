//! What a disk loses, or cannot read for a while: nothing else goes with it, and what can come back does.

#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use std::fs;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::Duration;

use wharf_images::{ImageError, ImageUse, ListOptions, RemoveOptions, Removed};
use wharf_oci::{Descriptor, Digest, Manifest, media_type};

use world::common::{Reply, client};
use world::{Fixture, World, fixture, fixture_of, noise, serve, tar};

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
    // What it is for is not known, and a container that runs keeps it, whatever is forced.
    let remove = |name: &str, options: RemoveOptions, users: &[bool]| {
        let users = users.iter().map(|running| ImageUse {
            container: "c1".to_owned(),
            image: id,
            running: *running,
        });
        let users: Vec<_> = users.collect();
        world.images.remove(name, options, &|_| users.clone())
    };
    let by_force = || RemoveOptions {
        force: true,
        ..RemoveOptions::default()
    };
    let for_platform = RemoveOptions {
        platforms: vec![wharf_oci::Platform::host()],
        ..by_force()
    };
    let none = remove(&tag.familiar(), for_platform, &[]);
    assert!(matches!(none, Err(ImageError::NoSuchImage(_))), "{none:?}");
    let used = remove(&id.hex(), by_force(), &[true]);
    assert!(
        matches!(used, Err(ImageError::DeleteConflict { hard: true, .. })),
        "{used:?}"
    );
    let used = remove(&id.hex(), RemoveOptions::default(), &[false]);
    assert!(
        matches!(used, Err(ImageError::DeleteConflict { hard: false, .. })),
        "{used:?}"
    );
    untag(&tag.familiar()).unwrap();
    let other = registry.reference("app:2");
    world.pull(&other).await.unwrap();
    world.images.tag(&other.familiar(), &name).unwrap();
    assert!(prune());
    assert!(!blob(&world, &layer).exists());

    // One with a tag goes with those that nothing uses.
    world.pull(&name).await.unwrap();
    fs::remove_file(blob(&world, &id)).unwrap();
    world.reopen(client());
    let unused = ListOptions {
        dangling: Some(false),
        ..ListOptions::default()
    };
    let prune = |used: bool| {
        let user = ImageUse {
            container: "c1".to_owned(),
            image: id,
            running: false,
        };
        let users = |image: &Digest| match used && *image == id {
            true => vec![user.clone()],
            false => Vec::new(),
        };
        let pruned = world.images.prune(&unused, &users, &|_| {});
        pruned.unwrap().removed
    };
    assert!(!prune(true).contains(&Removed::Image(id)));
    let removed = prune(false);
    let untagged = Removed::Untagged {
        name: name.familiar(),
        image: id,
        labels: Default::default(),
        is_told: true,
    };
    assert!(removed.contains(&untagged), "{removed:?}");
    assert!(removed.contains(&Removed::Image(id)));
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
    described(image, media_type::OCI_LAYER_GZIP)
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
    let (asked, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let registry = serve(vec![("1", image)], move |request| {
        request.path.ends_with(&path).then(|| {
            // Who asks for a blob has a place for it.
            let _ = asked.send(());
            Reply {
                cut: Some(half.len() / 2),
                stall: true,
                ..Reply::ok(half.clone())
            }
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
    let soon = Duration::from_secs(60);
    let begun = tokio::time::timeout(soon, begun.recv()).await;
    begun.unwrap().unwrap();
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

/// A layer as we pack it ourselves: what is packed again has its digest.
fn packed(text: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(format!("file-{}", text.len())), text).unwrap();
    let mut layer = Vec::new();
    let folder = fs::File::open(folder.path()).unwrap();
    wharf_layer::pack(folder.as_fd(), &mut layer, &wharf_images::PACKED).unwrap();
    layer
}

/// With a manifest of the layers that it has now, which are of this type.
fn described(mut image: Fixture, layer_type: &str) -> Fixture {
    let layers = image.layers.iter();
    let layers = layers.map(|layer| Descriptor::of(layer_type, layer));
    let config = Descriptor::of(media_type::OCI_CONFIG, &image.config);
    let manifest = Manifest::oci(config, layers.collect());
    image.manifest = serde_json::to_vec(&manifest).unwrap();
    image
}

/// The same image with its layers as they are.
fn uncompressed(mut image: Fixture) -> Fixture {
    image.layers.clone_from(&image.tars);
    described(image, media_type::OCI_LAYER)
}

/// An archive with an image's configuration and the names of its layers, which it lacks.
fn without_layers(image: &Fixture) -> Vec<u8> {
    let names: Vec<_> = image.diff_ids.iter().map(Digest::hex).collect();
    let list = serde_json::json!([{ "Config": "config", "Layers": names }]).to_string();
    tar(&[
        ("config", &image.config),
        ("manifest.json", list.as_bytes()),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_an_archive_counts_on_stay_while_it_is_loaded() {
    let layers = [packed("a"), packed(&noise(900_000))];
    let [first, second] = layers.each_ref().map(|layer| Digest::sha256(layer));
    let here = fixture_of("here", layers.to_vec());
    let loaded = fixture_of("loaded", layers.to_vec());
    let other = uncompressed(fixture_of("other", layers[1..].to_vec()));
    let (id, blobs) = (here.id(), here.layers.clone());
    let (path, slow) = (second.to_string(), layers[1].clone());
    let (asked, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let registry = serve(vec![("1", here), ("2", other)], move |request| {
        // It lasts until it is given up.
        request.path.ends_with(&path).then(|| {
            let _ = asked.send(());
            Reply {
                drip: Some((1, Duration::from_millis(50))),
                ..Reply::ok(slow.clone())
            }
        })
    });
    let world = World::new(client());
    world.pull(&registry.reference("app:1")).await.unwrap();
    for layer in &blobs {
        fs::remove_file(blob(&world, &Digest::sha256(layer))).unwrap();
    }
    // Who packs the second layer waits for this.
    let (images, name) = (world.images.clone(), registry.reference("app:2"));
    let pull = tokio::spawn(async move {
        let progress = wharf_images::ProgressSender::discard();
        let options = wharf_images::PullOptions::default();
        images.pull(&name, options, progress).await
    });
    let soon = Duration::from_secs(60);
    let begun = tokio::time::timeout(soon, begun.recv()).await;
    begun.unwrap().unwrap();
    let (images, archive) = (world.images.clone(), without_layers(&loaded));
    let load = tokio::spawn(async move {
        let progress = wharf_images::ProgressSender::discard();
        images
            .load(std::io::Cursor::new(archive), &[], progress)
            .await
    });
    let is_packed = async {
        while !blob(&world, &first).exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(soon, is_packed).await.unwrap();
    let by_force = RemoveOptions {
        force: true,
        ..RemoveOptions::default()
    };
    let removed = world.images.remove(&id.hex(), by_force, &|_| Vec::new());
    assert!(removed.unwrap().contains(&Removed::Image(id)));
    pull.abort();
    assert_eq!(load.await.unwrap().unwrap(), [loaded.id()]);
    assert!(blob(&world, &first).exists() && blob(&world, &second).exists());
}
