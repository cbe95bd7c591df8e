//! `system check`: what is damaged is seen, and made good by what made it.

#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use std::path::PathBuf;

use wharf_oci::Digest;

use world::common::client;
use world::{World, fixture, noise, serve};

fn blob(world: &World, digest: &Digest) -> PathBuf {
    world
        .root
        .path()
        .join("content/blobs/sha256")
        .join(digest.hex())
}

async fn faults(world: &World, repair: bool) -> Vec<String> {
    let found = world.images.check(repair).await.unwrap();
    let text = |fault: wharf_images::Fault| {
        let end = if fault.repaired { ", repaired" } else { "" };
        format!("{} {}{end}", fault.subject, fault.problem)
    };
    found.faults.into_iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_seen_and_made_good() {
    let large = noise(50_000);
    let image = fixture(&["base", &large]);
    let (config, manifest) = (image.id(), Digest::sha256(&image.manifest));
    let layer = Digest::sha256(&image.layers[1]);
    let registry = serve(vec![("1", fixture(&["base", &large]))], move |request| {
        // By its digest, too, as a repair asks for it.
        let by_digest = request.path.ends_with(&format!("manifests/{manifest}"));
        by_digest.then(|| {
            world::common::Reply::ok(image.manifest.clone())
                .with("Content-Type", wharf_oci::media_type::OCI_MANIFEST)
        })
    });
    let mut world = World::new(client());
    let name = registry.reference("app:1");
    world.pull(&name).await.unwrap();
    assert_eq!(faults(&world, false).await, Vec::<String>::new());

    let mut bytes = std::fs::read(blob(&world, &layer)).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(blob(&world, &layer), bytes).unwrap();
    std::fs::remove_file(blob(&world, &manifest)).unwrap();
    let seen = faults(&world, false).await;
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.contains(&format!("blob {layer} its bytes have another digest")));
    let mended = faults(&world, true).await;
    assert!(
        mended.iter().all(|fault| fault.ends_with(", repaired")),
        "{mended:?}"
    );
    assert_eq!(mended.len(), 2);
    assert_eq!(faults(&world, false).await, Vec::<String>::new());

    for entry in std::fs::read_dir(world.root.path().join("snapshots/layers")).unwrap() {
        std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    let mended = faults(&world, true).await;
    assert_eq!(mended.len(), 2, "{mended:?}");
    assert!(
        mended.iter().all(|fault| fault.ends_with(", repaired")),
        "{mended:?}"
    );

    // A lost configuration is noticed when the store is opened, and the image is left out until it is back.
    std::fs::remove_file(blob(&world, &config)).unwrap();
    world.reopen(client());
    assert!(world.images.resolve(&name.familiar()).is_err());
    let mended = faults(&world, true).await;
    let expected = format!("image {config} its configuration is lost, repaired");
    assert_eq!(mended, [expected]);
    assert_eq!(world.images.resolve(&name.familiar()).unwrap().id, config);
    assert_eq!(faults(&world, false).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_any_more_stays_broken() {
    let image = fixture(&["base"]);
    let layer = Digest::sha256(&image.layers[0]);
    let registry = serve(vec![("1", image)], |_| None);
    let world = World::new(client());
    world.pull(&registry.reference("app:1")).await.unwrap();
    std::fs::write(blob(&world, &layer), b"rubbish").unwrap();
    let uses = |_: &Digest| Vec::new();
    let seen = faults(&world, false).await;
    assert_eq!(
        seen,
        [format!("blob {layer} its bytes have another digest")]
    );
    // Nobody needs it once its image is gone.
    let options = wharf_images::RemoveOptions::default();
    let name = registry.reference("app:1").familiar();
    world.images.remove(&name, options, &uses).unwrap();
    assert_eq!(faults(&world, true).await, Vec::<String>::new());
}
