//! Load and save: archives of all of Docker's shapes, and broken ones.

#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use wharf_images::{ErrorKind, ImageError, ProgressSender};
use wharf_oci::Digest;

use world::common::client;
use world::{Fixture, World, fixture, gzip, render, serve, tar};

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
        .load(std::io::Cursor::new(archive), &[], sender)
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
        .save(&[repository, id.hex()], &[], &mut archive)
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
    let missing = world.images.save(&["nope".into()], &[], Vec::new());
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

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_was_here_keeps_a_blob_to_save_it_by() {
    let (one, two) = (fixture(&["base", "one"]), fixture(&["base", "two!!"]));
    let registry = serve(vec![("1", fixture(&["base", "one"]))], |_| None);
    let world = World::new(client());
    world.pull(&registry.reference("app:1")).await.unwrap();
    // The same image once more, as other blobs; and another one, whose lower layer is not written again.
    let again = new_archive(&[(&one, &["again:1"]), (&two, &["other:1"])]);
    load(&world, again).await.unwrap();
    let uses = |_: &Digest| Vec::new();
    for name in [registry.reference("app:1").familiar(), "again:1".to_owned()] {
        let options = wharf_images::RemoveOptions::default();
        let before = world.images.save(&["other:1".into()], &[], std::io::sink());
        before.unwrap();
        world
            .images
            .save(std::slice::from_ref(&name), &[], std::io::sink())
            .unwrap();
        world.images.remove(&name, options, &uses).unwrap();
    }
    let mut archive = Vec::new();
    world
        .images
        .save(&["other:1".into()], &[], &mut archive)
        .unwrap();
    let fresh = World::new(client());
    let (ids, _) = load(&fresh, archive).await.unwrap();
    assert_eq!(ids, [two.id()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_not_whole_if_a_layer_is_not() {
    let image = fixture(&["base", "cut"]);
    let layer = Digest::sha256(&image.layers[1]);
    let registry = serve(vec![("1", image)], |_| None);
    let world = World::new(client());
    let name = registry.reference("app:1");
    world.pull(&name).await.unwrap();
    let blobs = world.root.path().join("content/blobs/sha256");
    let blob = std::fs::File::options()
        .write(true)
        .open(blobs.join(layer.hex()))
        .unwrap();
    blob.set_len(9).unwrap();
    let names = [name.familiar()];
    world.images.check_save(&names, &[]).unwrap();
    let saved = world.images.save(&names, &[], std::io::sink());
    let error = saved.unwrap_err().to_string();
    assert!(error.contains("pull the image again"), "{error}");
}

/// In Docker's words; and what stood before the broken one is here.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_images_those_before_a_broken_one_stay() {
    let image = fixture(&["base"]);
    let config = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut config: serde_json::Value = serde_json::from_slice(&image.config).unwrap();
        change(&mut config);
        config.to_string().into_bytes()
    };
    let load_with = async |item: serde_json::Value, config: Vec<u8>| {
        let world = World::new(client());
        let list = serde_json::json!([
            {"Config": "c", "RepoTags": ["first:1"], "Layers": ["l"]},
            item,
        ]);
        let archive = tar(&[
            ("c", &image.config),
            ("other", &config),
            ("l", &image.tars[0]),
            ("manifest.json", list.to_string().as_bytes()),
        ]);
        let failed = load(&world, archive).await.unwrap_err().to_string();
        assert_eq!(world.images.resolve("first:1").unwrap().id, image.id());
        failed
    };
    let item = |config: &str, tag: &str| serde_json::json!({"Config": config, "RepoTags": [tag], "Layers": ["l"]});
    let same = || image.config.clone();
    for (item, config, words) in [
        (
            item("no", "a:1"),
            same(),
            "invalid archive: open no: no such file or directory",
        ),
        (item("c", "justname"), same(), "invalid tag \"justname\""),
        (
            item("c", "UP:1"),
            same(),
            "invalid reference format: repository name (library/UP) must be lowercase",
        ),
        (
            item("other", "a:1"),
            config(&|config| drop(config.as_object_mut().unwrap().remove("rootfs"))),
            "invalid image JSON, no RootFS key",
        ),
        (
            item("other", "a:1"),
            config(&|config| config["os"] = "windows".into()),
            "cannot load windows image on linux",
        ),
        (
            item("other", "a:1"),
            config(&|config| config["history"] = serde_json::json!([{}, {}])),
            "too many non-empty layers in History section",
        ),
        (
            serde_json::json!({"Config": "c", "Layers": []}),
            same(),
            "invalid manifest, layers length mismatch: expected 0, got 1",
        ),
    ] {
        assert_eq!(load_with(item, config).await, words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_read_as_go_reads_it() {
    let (image, world) = (fixture(&["base"]), World::new(client()));
    let archive = |list: &str| {
        tar(&[
            ("c", &image.config),
            ("l", &image.tars[0]),
            ("manifest.json", list.as_bytes()),
        ])
    };
    let failed = load(&world, archive("null")).await.unwrap_err();
    assert_eq!(
        failed.to_string(),
        "invalid manifest, manifest cannot be null (but can be [])"
    );
    let (none, _) = load(&world, archive("[]")).await.unwrap();
    assert!(none.is_empty());
    let list = r#"[{"config": "c", "repoTags": ["low:1"], "layers": ["l"]}]"#;
    let (ids, _) = load(&world, archive(list)).await.unwrap();
    assert_eq!(ids, [image.id()]);
}
