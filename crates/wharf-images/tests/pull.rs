//! Pull and remove, against a registry that misbehaves on purpose.

#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wharf_distribution::Config;
use wharf_images::{ErrorKind, ListOptions, ProgressSender, PullOptions, RemoveOptions};
use wharf_oci::{Descriptor, Digest, Manifest, Reference, media_type};

use world::common::{Reply, client, client_with};
use world::{World, fixture, noise, render, serve, short};

#[tokio::test(flavor = "multi_thread")]
async fn pulls_with_dockers_lines() {
    let fixture_a = fixture(&["one", "twotwo"]);
    let (id, layer, digest) = (
        fixture_a.id(),
        short(&fixture_a.layers[1]),
        Digest::sha256(&fixture_a.manifest),
    );
    let registry = serve(vec![("1", fixture_a)], |_| None);
    let mut world = World::new(client());
    let reference = registry.reference("lib/app:1");
    let lines = world.pull(&reference).await.unwrap();
    let of_layer: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with(&layer))
        .map(|line| &line[14..])
        .collect();
    assert_eq!(
        of_layer,
        [
            "Pulling fs layer",
            "Downloading",
            "Verifying Checksum",
            "Download complete",
            "Extracting",
            "Pull complete"
        ]
    );
    assert_eq!(lines[0], "1: Pulling from lib/app");
    let name = reference.familiar();
    assert_eq!(
        lines[lines.len() - 2..],
        [
            format!("Digest: {digest}"),
            format!("Status: Downloaded newer image for {name}")
        ]
    );

    world.reopen(client());
    let image = world.images.resolve(&name).unwrap();
    assert_eq!((image.id, image.size), (id, 9));
    assert_eq!(image.repo_tags, std::slice::from_ref(&name));
    assert_eq!(
        image.repo_digests,
        [format!("{}/lib/app@{digest}", registry.address)]
    );
    let history = world.images.history(&name, None).unwrap();
    assert_eq!(
        (history[0].size, history[0].created_by.as_str()),
        (6, "twotwo")
    );

    let lines = world.pull(&reference).await.unwrap();
    // Of an image that is here the layers are not looked at.
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(
        lines.last().unwrap(),
        &format!("Status: Image is up to date for {name}")
    );
    let by_digest = registry.reference(&format!("lib/app@{digest}"));
    assert_eq!(world.images.resolve(&by_digest.to_string()).unwrap().id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_tag_leaves_the_old_image_dangling() {
    let (old, new) = (fixture(&["old"]), fixture(&["new!"]));
    let (old_id, new_id) = (old.id(), new.id());
    let (first, second) = (old.manifest.clone(), new.manifest.clone());
    let moved = Arc::new(AtomicUsize::new(0));
    let count = moved.clone();
    let registry = serve(vec![("a", old), ("b", new)], move |request| {
        let bytes = if count.load(Ordering::SeqCst) == 0 {
            &first
        } else {
            &second
        };
        request
            .path
            .ends_with("/latest")
            .then(|| Reply::ok(bytes.clone()).with("Content-Type", media_type::OCI_MANIFEST))
    });
    let world = World::new(client());
    let reference = registry.reference("app");
    world.pull(&reference).await.unwrap();
    moved.store(1, Ordering::SeqCst);
    world.pull(&reference).await.unwrap();
    assert_eq!(
        world.images.resolve(&reference.familiar()).unwrap().id,
        new_id
    );
    let dangling = ListOptions {
        dangling: Some(true),
        ..ListOptions::default()
    };
    let images = world.images.list(&dangling).unwrap();
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].id, old_id);
    let pruned = world
        .images
        .prune(&dangling, &|_| Vec::new(), &|_| {})
        .unwrap();
    assert!(pruned.reclaimed > 0);
    assert_eq!(world.images.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_layer_is_unpacked_again_from_its_blob() {
    let image = fixture(&["one", "twotwo"]);
    let id = image.id();
    let registry = serve(vec![("1", image)], |_| None);
    let mut world = World::new(client());
    world.pull(&registry.reference("app:1")).await.unwrap();
    let kept = world.kept();
    std::fs::remove_dir_all(world.root.path().join("snapshots")).unwrap();
    world.reopen(client());
    assert!(world.kept() < kept);
    world.images.repair(&id).await.unwrap();
    assert_eq!(world.kept(), kept);
    let requests = registry.requests("/blobs/").len();
    world.pull(&registry.reference("app:1")).await.unwrap();
    assert_eq!(registry.requests("/blobs/").len(), requests);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pulls_share_one_transfer() {
    let image = fixture(&["shared layer", "another layer"]);
    let layer = Digest::sha256(&image.layers[0]).to_string();
    let registry = serve(vec![("1", image)], |_| None);
    let world = World::new(client());
    let (one, two) = (registry.reference("app:1"), registry.reference("copy:1"));
    let (first, second) = tokio::join!(world.pull(&one), world.pull(&two));
    first.unwrap();
    second.unwrap();
    assert_eq!(registry.requests(&layer).len(), 1);
    assert_eq!(world.images.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_layer_twice_is_fetched_once() {
    let image = fixture(&["same", "same", "same"]);
    let layer = Digest::sha256(&image.layers[0]).to_string();
    let registry = serve(vec![("1", image)], |_| None);
    let world = World::new(client());
    world.pull(&registry.reference("app:1")).await.unwrap();
    assert_eq!(registry.requests(&layer).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_leaves_nothing_and_the_truth_heals() {
    let image = fixture(&["good", "better!"]);
    let liar = Digest::sha256(&image.layers[1]).to_string();
    let mut wrong = image.layers[1].clone();
    let at = wrong.len() - 10;
    wrong[at] ^= 1;
    let lies = Arc::new(AtomicUsize::new(0));
    let (count, path) = (lies.clone(), liar.clone());
    let registry = serve(vec![("1", image)], move |request| {
        let first = request.path.ends_with(&path) && count.fetch_add(1, Ordering::SeqCst) == 0;
        first.then(|| Reply::ok(wrong.clone()))
    });
    let world = World::new(client());
    let reference = registry.reference("app:1");
    let error = world.pull(&reference).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("filesystem layer verification failed for digest {liar}")
    );
    assert_eq!(world.images.count(), 0);
    assert_eq!(
        world
            .images
            .resolve(&reference.familiar())
            .unwrap_err()
            .kind(),
        ErrorKind::NotFound
    );
    // In the same stores: the other layer's transfer may still be under way, and one process owns them.
    world.pull(&reference).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_diff_id_is_refused() {
    let mut image = fixture(&["good"]);
    let wrong = Digest::sha256(b"other");
    let config = String::from_utf8(image.config.clone()).unwrap();
    image.config = config
        .replace(&image.diff_ids[0].to_string(), &wrong.to_string())
        .into_bytes();
    let manifest = Manifest::oci(
        Descriptor::of(media_type::OCI_CONFIG, &image.config),
        vec![Descriptor::of(media_type::OCI_LAYER_GZIP, &image.layers[0])],
    );
    image.manifest = serde_json::to_vec(&manifest).unwrap();
    let registry = serve(vec![("1", image)], |_| None);
    let world = World::new(client());
    let error = world.pull(&registry.reference("app:1")).await.unwrap_err();
    assert!(error.to_string().contains("expected"), "{error}");
    assert_eq!(world.images.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_was_dropped_resumes() {
    let noise = noise(400_000);
    let image = fixture(&[&noise]);
    let (path, bytes) = (
        Digest::sha256(&image.layers[0]).to_string(),
        image.layers[0].clone(),
    );
    let half = bytes.len() / 2;
    let stalls = Arc::new(AtomicUsize::new(0));
    let (count, layer) = (stalls.clone(), path.clone());
    let registry = serve(vec![("1", image)], move |request| {
        let first = request.path.ends_with(&layer) && count.fetch_add(1, Ordering::SeqCst) == 0;
        first.then(|| Reply {
            cut: Some(half),
            stall: true,
            ..Reply::ok(bytes.clone())
        })
    });
    let patient = client_with(Config::default());
    let world = World::new(patient);
    let reference = registry.reference("app:1");
    let (sender, mut receiver) = ProgressSender::channel();
    {
        let pull = world
            .images
            .pull(&reference, PullOptions::default(), sender);
        tokio::pin!(pull);
        loop {
            tokio::select! {
                result = &mut pull => panic!("ended: {result:?}"),
                event = receiver.recv() => {
                    if render(&event.unwrap()).ends_with("Downloading") {
                        break;
                    }
                }
            }
        }
    }
    world.pull(&reference).await.unwrap();
    assert_eq!(
        world.images.resolve(&reference.familiar()).unwrap().size,
        400_000
    );
    let requests = registry.requests(&path);
    assert!(requests.len() >= 2);
    assert!(
        requests[1].range().is_some_and(|from| from > 0),
        "{:?}",
        requests[1].range()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_world_needs_no_registry() {
    // A mirror and a hub that nobody answers for.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let world = World::new(client_with(Config {
        mirrors: vec![format!("http://{free}")],
        ..Config::default()
    }));
    let reference = Reference::parse_normalized("hello-world").unwrap();
    let lines = world.pull(&reference).await.unwrap();
    assert!(
        lines[0].starts_with(
            "No registry could be reached (Get \"https://registry-1.docker.io/v2/\": "
        ),
        "{}",
        lines[0]
    );
    assert!(lines.contains(&"latest: Pulling from library/hello-world".to_owned()));
    let image = world.images.resolve("hello-world").unwrap();
    assert_eq!(
        image.config.config.cmd.as_deref(),
        Some(&["/hello".to_owned()][..])
    );
    let found = world.images.search("hello", 25, None).await.unwrap();
    assert!(found.from_catalogue && found.hits.len() == 1);
    let error = world
        .pull(&Reference::parse_normalized("debian").unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_with_hello_world_comes_before_the_catalogue() {
    let image = fixture(&["theirs"]);
    let id = image.id();
    let registry = serve(vec![("latest", image)], |_| None);
    let world = World::new(client_with(Config {
        mirrors: vec![format!("http://{}", registry.address)],
        ..Config::default()
    }));
    world
        .pull(&Reference::parse_normalized("hello-world").unwrap())
        .await
        .unwrap();
    assert_eq!(world.images.resolve("hello-world").unwrap().id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn removal_frees_all_but_what_others_need() {
    let (one, two) = (fixture(&["base", "one"]), fixture(&["base", "two!!"]));
    let registry = serve(vec![("1", one), ("2", two)], |_| None);
    let world = World::new(client());
    let empty = world.kept();
    let (first, second) = (registry.reference("app:1"), registry.reference("app:2"));
    world.pull(&first).await.unwrap();
    let with_one = world.kept();
    world.pull(&second).await.unwrap();
    let usage = world.images.disk_usage().unwrap();
    assert_eq!(usage.layers, 4 + 3 + 5);
    assert!(usage.images.iter().all(|image| image.shared == 4));
    let options = RemoveOptions {
        force: false,
        prune: true,
        platforms: Vec::new(),
    };
    let (_, pin) = world.images.pin(&second.familiar()).unwrap();
    assert!(
        world
            .images
            .remove(&second.familiar(), options.clone(), &|_| Vec::new())
            .is_err()
    );
    drop(pin);
    let removed = world
        .images
        .remove(&second.familiar(), options.clone(), &|_| Vec::new())
        .unwrap();
    assert_eq!(removed.len(), 4, "{removed:?}");
    assert_eq!(world.kept(), with_one);
    world
        .images
        .remove(&first.familiar(), options, &|_| Vec::new())
        .unwrap();
    assert_eq!(world.kept(), empty);
}
