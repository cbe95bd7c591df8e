//! A kill and a full disk in the middle of a pull.

#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wharf_distribution::{Client, Config};
use wharf_images::{ProgressSender, PullOptions, RemoveOptions};
use wharf_oci::{Digest, Reference};

use world::common::{Reply, client};
use world::{World, fixture, noise, open, render, serve, short};

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

/// Run by the test above. The file system has room for the records' log and 1 MB.
#[test]
#[ignore = "a part of another test"]
fn child_on_a_full_disk() {
    let root = tempfile::tempdir().unwrap();
    rustix::mount::mount(
        "tmpfs",
        root.path(),
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        Some(c"size=6m"),
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
        // To the last byte: what is here can be removed still.
        let mut filler = std::fs::File::create(world.root.path().join("filler")).unwrap();
        let full = std::io::copy(&mut std::io::repeat(0), &mut filler).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        let options = RemoveOptions {
            force: true,
            prune: true,
            platforms: Vec::new(),
        };
        let removed = world
            .images
            .remove(&id.to_string(), options, &|_| Vec::new());
        removed.unwrap();
        assert_eq!(world.images.count(), 0);
        drop(filler);
        rustix::mount::unmount(world.root.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    });
}
