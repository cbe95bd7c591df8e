//! Pull, remove and load against a registry that misbehaves on purpose, and archives of both of Docker's shapes.

#![allow(clippy::unwrap_used, reason = "a test")]

#[allow(
    dead_code,
    reason = "shared with the tests of wharf-distribution, which use the rest"
)]
#[path = "../../wharf-distribution/tests/common/mod.rs"]
mod common;

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Registry, Reply, client, client_with};
use wharf_content::Content;
use wharf_distribution::{Client, Config};
use wharf_images::{
    ErrorKind, ImageError, Images, ListOptions, Progress, ProgressSender, PullOptions,
    RemoveOptions,
};
use wharf_oci::{Descriptor, Digest, Manifest, Reference, media_type};
use wharf_records::Db;
use wharf_snapshots::Snapshots;

/// A store in a folder of its own.
struct World {
    root: tempfile::TempDir,
    images: Images,
}

impl World {
    fn new(client: Client) -> World {
        let root = tempfile::tempdir().unwrap();
        let images = open(root.path(), client);
        World { root, images }
    }

    /// The same data root after the end of the daemon.
    fn reopen(&mut self, client: Client) {
        self.images = open(self.root.path(), client);
    }

    async fn pull(&self, reference: &Reference) -> Result<Vec<String>, ImageError> {
        let (sender, mut receiver) = ProgressSender::channel();
        self.images
            .pull(reference, PullOptions::default(), sender)
            .await?;
        let mut lines = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            lines.push(render(&event));
        }
        Ok(lines)
    }

    /// Blobs and layers that are there; what is on its way out does not count.
    fn kept(&self) -> usize {
        let root = self.root.path();
        ["content/blobs/sha256", "snapshots/layers"]
            .iter()
            .map(|folder| std::fs::read_dir(root.join(folder)).unwrap().count())
            .sum()
    }
}

fn open(root: &Path, client: Client) -> Images {
    let db = Db::open(&root.join("wharf.db")).unwrap();
    let content = Content::open(&root.join("content")).unwrap();
    let snapshots = Snapshots::open(&root.join("snapshots")).unwrap();
    Images::open(root, db, content, snapshots, client).unwrap()
}

fn render(event: &Progress) -> String {
    let line = event.line();
    match (line.id, line.stream) {
        (Some(id), _) => format!("{id}: {}", line.status),
        (None, Some(text)) => text.trim_end().to_owned(),
        (None, None) => line.status,
    }
}

/// An image as blobs.
struct Fixture {
    config: Vec<u8>,
    layers: Vec<Vec<u8>>,
    diff_ids: Vec<Digest>,
    tars: Vec<Vec<u8>>,
    manifest: Vec<u8>,
}

/// One file per layer, with the layer's text as content.
fn fixture(texts: &[&str]) -> Fixture {
    let tars: Vec<Vec<u8>> = texts
        .iter()
        .map(|text| tar(&[(&format!("file-{}", text.len()), text.as_bytes())]))
        .collect();
    let diff_ids: Vec<Digest> = tars.iter().map(|tar| Digest::sha256(tar)).collect();
    let layers: Vec<Vec<u8>> = tars.iter().map(|tar| gzip(tar)).collect();
    let platform = wharf_oci::Platform::host();
    let config = serde_json::json!({
        "os": "linux", "architecture": platform.architecture,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": texts.iter().map(|text| serde_json::json!({"created_by": text})).collect::<Vec<_>>(),
    })
    .to_string()
    .into_bytes();
    let manifest = Manifest::oci(
        Descriptor::of(media_type::OCI_CONFIG, &config),
        layers
            .iter()
            .map(|layer| Descriptor::of(media_type::OCI_LAYER_GZIP, layer))
            .collect(),
    );
    Fixture {
        manifest: serde_json::to_vec(&manifest).unwrap(),
        config,
        layers,
        diff_ids,
        tars,
    }
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl Fixture {
    fn id(&self) -> Digest {
        Digest::sha256(&self.config)
    }

    fn blobs(&self) -> HashMap<String, Vec<u8>> {
        let all = self.layers.iter().chain([&self.config]);
        all.map(|blob| (Digest::sha256(blob).to_string(), blob.clone()))
            .collect()
    }
}

/// Serves what the shared map holds: `name:tag` → fixture.
fn serve(
    fixtures: Vec<(&'static str, Fixture)>,
    special: impl Fn(&common::Request) -> Option<Reply> + Send + Sync + 'static,
) -> Registry {
    let mut blobs = HashMap::new();
    let mut manifests = HashMap::new();
    for (name, fixture) in fixtures {
        blobs.extend(fixture.blobs());
        manifests.insert(name, fixture.manifest);
    }
    Registry::start(move |request| {
        if let Some(reply) = special(request) {
            return reply;
        }
        let last = request.path.rsplit('/').next().unwrap();
        if request.path.contains("/manifests/") {
            return match manifests.get(last) {
                Some(bytes) => {
                    Reply::ok(bytes.clone()).with("Content-Type", media_type::OCI_MANIFEST)
                }
                None => Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            };
        }
        match blobs.get(last) {
            Some(blob) => Reply::blob(request, blob),
            None => Reply::default(),
        }
    })
}

fn short(bytes: &[u8]) -> String {
    Digest::sha256(bytes).short()
}

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
    let history = world.images.history(&name).unwrap();
    assert_eq!(
        (history[0].size, history[0].created_by.as_str()),
        (6, "twotwo")
    );

    let lines = world.pull(&reference).await.unwrap();
    assert!(lines.contains(&format!("{layer}: Already exists")));
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
    let pruned = world.images.prune(&dangling, &|_| Vec::new()).unwrap();
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
    let mut world = World::new(client());
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
    world.reopen(client());
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
    };
    let (_, pin) = world.images.pin(&second.familiar()).unwrap();
    assert!(
        world
            .images
            .remove(&second.familiar(), options, &|_| Vec::new())
            .is_err()
    );
    drop(pin);
    let removed = world
        .images
        .remove(&second.familiar(), options, &|_| Vec::new())
        .unwrap();
    assert_eq!(removed.len(), 4, "{removed:?}");
    assert_eq!(world.kept(), with_one);
    world
        .images
        .remove(&first.familiar(), options, &|_| Vec::new())
        .unwrap();
    assert_eq!(world.kept(), empty);
}

/// What `docker save` of 26.1 writes.
fn new_archive(images: &[(&Fixture, &[&str])]) -> Vec<u8> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut list = Vec::new();
    for (image, tags) in images {
        let config = format!("blobs/sha256/{}", image.id().hex());
        files.push((config.clone(), image.config.clone()));
        let layers: Vec<String> = image
            .diff_ids
            .iter()
            .map(|id| format!("blobs/sha256/{}", id.hex()))
            .collect();
        files.extend(layers.iter().cloned().zip(image.tars.iter().cloned()));
        list.push(serde_json::json!({"Config": config, "RepoTags": tags, "Layers": layers}));
    }
    files.push(("manifest.json".into(), serde_json::to_vec(&list).unwrap()));
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    tar(&files)
}

async fn load(world: &World, archive: Vec<u8>) -> Result<(Vec<Digest>, Vec<String>), ImageError> {
    let (sender, mut receiver) = ProgressSender::channel();
    let ids = world
        .images
        .load(std::io::Cursor::new(archive), sender)
        .await?;
    let mut lines = Vec::new();
    while let Ok(event) = receiver.try_recv() {
        lines.push(render(&event));
    }
    Ok((ids, lines))
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_what_new_docker_saved() {
    let (one, two) = (fixture(&["base", "one"]), fixture(&["base", "two!!"]));
    let world = World::new(client());
    let archive = new_archive(&[(&one, &["app:1", "app:latest"]), (&two, &[])]);
    let (ids, lines) = load(&world, gzip(&archive)).await.unwrap();
    assert_eq!(ids, [one.id(), two.id()]);
    assert!(lines.contains(&format!("{}: Loading layer", one.diff_ids[0].short())));
    assert!(lines.contains(&"Loaded image: app:latest".to_owned()));
    assert_eq!(
        lines.last().unwrap(),
        &format!("Loaded image ID: {}", two.id())
    );
    assert_eq!(world.images.resolve("app").unwrap().size, 7);
    let archive = new_archive(&[(&two, &["app:1"])]);
    let (_, lines) = load(&world, archive).await.unwrap();
    assert_eq!(
        lines[0],
        format!(
            "The image app:1 already exists, renaming the old one with ID {} to empty string",
            one.id()
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_what_old_docker_saved() {
    let image = fixture(&["base"]);
    let config = format!("{}.json", image.id().hex());
    let list =
        serde_json::json!([{"Config": config, "RepoTags": ["old:1"], "Layers": ["aa/layer.tar"]}])
            .to_string();
    let mut builder = tar::Builder::new(Vec::new());
    let files = tar(&[
        ("bb/layer.tar", &image.tars[0]),
        (&config, &image.config),
        ("manifest.json", list.as_bytes()),
    ]);
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder
        .append_link(&mut header, "aa/layer.tar", "../bb/layer.tar")
        .unwrap();
    let mut archive = builder.into_inner().unwrap();
    archive.truncate(archive.len() - 1024);
    archive.extend(files);
    let world = World::new(client());
    let (ids, _) = load(&world, archive).await.unwrap();
    assert_eq!(ids, [image.id()]);
    assert_eq!(world.images.resolve("old:1").unwrap().size, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_saved_loads_and_keeps_its_digests() {
    let (one, two) = (fixture(&["base", "one"]), fixture(&["base", "two!!"]));
    let (id, manifest) = (one.id(), Digest::sha256(&one.manifest));
    let registry = serve(vec![("1", one), ("2", two)], |_| None);
    let world = World::new(client());
    for tag in ["app:1", "app:2"] {
        world.pull(&registry.reference(tag)).await.unwrap();
    }
    let repository = registry.reference("app").familiar();
    let mut archive = Vec::new();
    world
        .images
        .save(&[repository, id.hex()], &mut archive)
        .unwrap();
    let other = World::new(client());
    let (ids, _) = load(&other, archive).await.unwrap();
    assert_eq!(ids[0], id);
    assert_eq!(other.images.count(), 2);
    let loaded = other
        .images
        .resolve(&registry.reference("app:1").familiar())
        .unwrap();
    assert_eq!(loaded.manifest.unwrap().digest, manifest);
    let missing = world.images.save(&["nope".into()], Vec::new());
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_broken_archives() {
    let image = fixture(&["base"]);
    let good = new_archive(&[(&image, &["app:1"])]);
    let mut lying = fixture(&["base"]);
    lying.tars[0] = tar(&[("file", b"evil")]);
    let cases = [
        b"this is no archive at all".repeat(100),
        good[..good.len() / 2].to_vec(),
        tar(&[("manifest.json", b"{")]),
        tar(&[(
            "manifest.json",
            br#"[{"Config":"../../etc/passwd","Layers":[]}]"#,
        )]),
        tar(&[(
            "manifest.json",
            br#"[{"Config":"manifest.json","RepoTags":["X"],"Layers":["manifest.json"]}]"#,
        )]),
        new_archive(&[(&lying, &["app:1"])]),
        tar(&[]),
        Vec::new(),
    ];
    let world = World::new(client());
    for archive in cases {
        load(&world, archive).await.unwrap_err();
        assert_eq!(world.images.count(), 0);
    }
    load(&world, good).await.unwrap();
}

/// Bytes that do not compress, so that a blob can be cut in its middle.
fn noise(len: u32) -> String {
    (0..len)
        .map(|n| char::from(b' ' + (n.wrapping_mul(2_654_435_761) >> 25) as u8 % 90))
        .collect()
}

/// Run by the test below in a process of its own, to be killed.
#[test]
#[ignore = "a part of another test"]
fn child_that_pulls() {
    let root = std::env::var("WHARF_TEST_ROOT").unwrap();
    let name = std::env::var("WHARF_TEST_NAME").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let images = open(Path::new(&root), Client::new(Config::default()).unwrap());
        let (sender, mut receiver) = ProgressSender::channel();
        tokio::spawn(async move {
            while let Some(event) = receiver.recv().await {
                println!("{}", render(&event));
            }
        });
        let reference = Reference::parse_normalized(&name).unwrap();
        images
            .pull(&reference, PullOptions::default(), sender)
            .await
            .unwrap();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_costs_nothing_but_time() {
    use std::io::{BufRead as _, BufReader};
    let image = fixture(&["small", &noise(900_000)]);
    let big = image.layers[1].clone();
    let path = Digest::sha256(&big).to_string();
    let tries = Arc::new(AtomicUsize::new(0));
    let (count, layer) = (tries.clone(), path.clone());
    let registry = serve(vec![("1", image)], move |request| {
        let first = request.path.ends_with(&layer) && count.fetch_add(1, Ordering::SeqCst) == 0;
        first.then(|| Reply {
            cut: Some(big.len() / 2),
            stall: true,
            ..Reply::ok(big.clone())
        })
    });
    let reference = registry.reference("app:1");
    let root = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_pulls", "--ignored", "--nocapture"])
        .env("WHARF_TEST_ROOT", root.path())
        .env("WHARF_TEST_NAME", reference.to_string())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (small, large) = (short(&fixture(&["small"]).layers[0]), &path[7..19]);
    let mut seen = [false; 2];
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        seen[0] |= line == format!("{small}: Pull complete");
        seen[1] |= line == format!("{large}: Downloading");
        if seen == [true; 2] {
            break;
        }
    }
    assert_eq!(seen, [true; 2]);
    child.kill().unwrap();
    child.wait().unwrap();

    let images = open(root.path(), client());
    assert_eq!(images.count(), 0);
    let world = World { root, images };
    let lines = world.pull(&reference).await.unwrap();
    assert!(
        lines.contains(&format!("{small}: Already exists")),
        "{lines:?}"
    );
    assert!(registry.requests(&path)[1].range().is_some_and(|at| at > 0));
    assert_eq!(world.images.collect().unwrap(), 0);
}

#[test]
fn a_full_disk_harms_nothing_that_is_there() {
    // A mount namespace of its own; unshare(1) makes it private.
    let status = std::process::Command::new("unshare")
        .arg("--mount")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child_on_a_full_disk", "--ignored"])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Run by the test above. The file system has 1 MB.
#[test]
#[ignore = "a part of another test"]
fn child_on_a_full_disk() {
    let root = tempfile::tempdir().unwrap();
    rustix::mount::mount(
        "tmpfs",
        root.path(),
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        Some(c"size=1m"),
    )
    .unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let registry = serve(
            vec![
                ("ok", fixture(&["fits"])),
                ("huge", fixture(&["fits", &noise(3_000_000)])),
            ],
            |_| None,
        );
        let images = open(root.path(), client());
        let world = World { root, images };
        let (fits, huge) = (registry.reference("app:ok"), registry.reference("app:huge"));
        world.pull(&fits).await.unwrap();
        let error = world.pull(&huge).await.unwrap_err();
        assert!(
            error.to_string().contains("No space left on device"),
            "{error}"
        );
        assert_eq!(world.images.count(), 1);
        world.images.collect().unwrap();
        let id = world.images.resolve(&fits.familiar()).unwrap().id;
        world
            .images
            .tag(&id.hex(), &registry.reference("app:again"))
            .unwrap();
        world.pull(&fits).await.unwrap();
        rustix::mount::unmount(world.root.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    });
}
