//! Layers that are kept once: what they lie unpacked as, and the rest of their archive.

#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use wharf_images::{ProgressSender, RemoveOptions};
use wharf_oci::{ChainId, Digest};

use world::common::client;
use world::{Fixture, World, fixture_of, noise, tar};

const NOW: Duration = Duration::ZERO;

/// Two layers that hardly compress.
fn image() -> Fixture {
    let layer = |name: &str, seed: u32| tar(&[(name, noise(300_000 + seed).as_bytes())]);
    fixture_of("made", vec![layer("one", 1), layer("two", 2)])
}

/// As `docker save` before 25 wrote it: layers as they are, and no manifest.
async fn load(world: &World, image: &Fixture) -> Vec<u8> {
    let config = format!("{}.json", image.id().hex());
    let layers = ["a/layer.tar", "b/layer.tar"];
    let list = serde_json::json!([{"Config": config, "RepoTags": ["old:1"], "Layers": layers}]);
    let list = list.to_string().into_bytes();
    let archive = tar(&[
        (layers[0], &image.tars[0]),
        (layers[1], &image.tars[1]),
        (&config, &image.config),
        ("manifest.json", &list),
    ]);
    let archive = std::io::Cursor::new(archive);
    let loaded = world
        .images
        .load(archive, &[], ProgressSender::discard())
        .await;
    assert_eq!(loaded.unwrap(), [image.id()]);
    saved(world)
}

fn saved(world: &World) -> Vec<u8> {
    let mut archive = Vec::new();
    world
        .images
        .save(&["old:1".to_owned()], &[], &mut archive)
        .unwrap();
    archive
}

fn blobs(world: &World) -> u64 {
    let folder = world.root.path().join("content");
    let files = ["blobs/sha256", "skeletons"].map(|name| fs::read_dir(folder.join(name)).unwrap());
    let files = files.into_iter().flatten();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

fn unpacked(world: &World, image: &Fixture, layer: usize) -> PathBuf {
    let chain = ChainId::from_diff_ids(&image.diff_ids)[layer];
    let all = world.images.resolve("old:1").unwrap();
    let folders = world.images.layer_folders(&all);
    assert_eq!(all.chain[layer], chain);
    folders[image.diff_ids.len() - 1 - layer].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_once_comes_out_as_it_was() {
    let (image, mut world) = (image(), World::new(client()));
    let before = load(&world, &image).await;
    // Somebody may be about to push it.
    assert_eq!(world.images.slim(Duration::from_secs(3600)).unwrap(), 0);
    let twice = world.images.disk_usage().unwrap().content;
    assert!(world.images.slim(NOW).unwrap() > 600_000);
    assert!(blobs(&world) < 20_000, "{}", blobs(&world));
    let once = world.images.disk_usage().unwrap().content;
    assert!(once + 500_000 < twice, "{once} {twice}");
    world.reopen(client());
    assert!(world.images.check(false).await.unwrap().faults.is_empty());
    assert!(blobs(&world) < 20_000, "nobody has asked for a layer");
    assert!(saved(&world) == before);
    // They are whole again, and go as they went.
    assert!(blobs(&world) > 600_000);
    assert!(world.images.slim(NOW).unwrap() > 600_000);
    assert!(blobs(&world) < 20_000);
    assert!(saved(&world) == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_an_image_that_goes() {
    let (image, world) = (image(), World::new(client()));
    load(&world, &image).await;
    world.images.slim(NOW).unwrap();
    world.images.collect().unwrap();
    assert!(saved(&world).len() > 600_000, "what is needed stays");
    world.images.slim(NOW).unwrap();
    let options = RemoveOptions {
        force: false,
        prune: true,
        platforms: Vec::new(),
    };
    world
        .images
        .remove("old:1", options, &|_| Vec::new())
        .unwrap();
    assert_eq!((blobs(&world), world.kept()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_changed_is_no_blob() {
    let (image, world) = (image(), World::new(client()));
    load(&world, &image).await;
    world.images.slim(NOW).unwrap();
    let path = unpacked(&world, &image, 0).join("one");
    let content = fs::read(&path).unwrap();
    fs::write(&path, "X".repeat(content.len())).unwrap();
    let mut archive = Vec::new();
    let failed = world
        .images
        .save(&["old:1".to_owned()], &[], &mut archive)
        .unwrap_err();
    assert!(failed.to_string().contains("open"), "{failed}");
    let checked = world.images.check(false).await.unwrap();
    let faults: Vec<_> = checked
        .faults
        .iter()
        .map(|one| one.subject.clone())
        .collect();
    assert_eq!(faults, [format!("blob {}", image.diff_ids[0])]);
    fs::write(&path, content).unwrap();
    assert!(world.images.check(false).await.unwrap().faults.is_empty());
    assert!(saved(&world).len() > 600_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_of_others_stay_as_they_are() {
    let (image, world) = (image(), World::new(client()));
    load(&world, &image).await;
    // A skeleton that a kill left in the making.
    let skeletons = world.root.path().join("content/skeletons");
    fs::create_dir_all(&skeletons).unwrap();
    let digest = image.diff_ids[0];
    fs::write(
        skeletons.join(format!("sha256-{}.new", digest.hex())),
        "half",
    )
    .unwrap();
    let other = skeletons.join(format!("sha256-{}", Digest::sha256(b"other").hex()));
    fs::write(&other, "of another version").unwrap();
    let world = World {
        images: world::open(world.root.path(), client()),
        root: world.root,
    };
    assert!(
        !skeletons
            .join(format!("sha256-{}.new", digest.hex()))
            .exists()
    );
    assert!(world.images.slim(NOW).unwrap() > 600_000);
    assert!(saved(&world).len() > 600_000);
}
