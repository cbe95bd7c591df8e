//! Blobs: cut, slow, too long, large.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wharf_distribution::{BlobEvent, Client, Config, RegistryError, RegistryErrorKind};
use wharf_oci::{Descriptor, Digest, media_type};

use crate::app::{fetch, layer, registry, resolve};
use crate::common::{Registry, Reply, Request, client, client_with, manifest};

#[tokio::test]
async fn goes_on_where_a_cut_was() {
    let cuts = Arc::new(AtomicUsize::new(0));
    let count = cuts.clone();
    let registry = registry(move |request| {
        let blob = request.path.contains("/blobs/");
        (blob && count.fetch_add(1, Ordering::SeqCst) < 2).then(|| {
            let mut reply = Reply::blob(request, &layer());
            reply.cut = Some(50_000);
            reply
        })
    });
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    assert_eq!(fetch(&client, &resolved).await.unwrap(), (layer(), 2));
    let ranges: Vec<_> = registry
        .requests("/blobs/")
        .iter()
        .map(Request::range)
        .collect();
    assert_eq!(ranges, [None, Some(50_000), Some(100_000)]);
}

#[tokio::test]
async fn goes_on_without_ranges_and_after_a_stall() {
    let tries = Arc::new(AtomicUsize::new(0));
    let count = tries.clone();
    let registry = registry(move |request| {
        if !request.path.contains("/blobs/") {
            return None;
        }
        let mut reply = Reply::ok(layer());
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            reply.cut = Some(70_000);
            reply.stall = true;
        }
        Some(reply)
    });
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    assert_eq!(fetch(&client, &resolved).await.unwrap(), (layer(), 1));
}

#[tokio::test]
async fn gives_up_on_a_registry_that_always_cuts() {
    let registry = registry(|request| {
        request.path.contains("/blobs/").then(|| Reply {
            cut: Some(0),
            ..Reply::ok(layer())
        })
    });
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    let error = fetch(&client, &resolved).await.unwrap_err();
    assert_eq!(error.kind(), RegistryErrorKind::Unreachable);
    assert_eq!(registry.requests("/blobs/").len(), 4);
}

#[tokio::test]
async fn refuses_more_than_announced() {
    let registry = registry(|request| {
        let mut long = layer();
        long.extend_from_slice(b"more");
        request.path.contains("/blobs/").then(|| Reply::ok(long))
    });
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    let error = fetch(&client, &resolved).await.unwrap_err();
    assert!(matches!(
        error,
        RegistryError::TooLong {
            expected: 200_000,
            ..
        }
    ));
    assert_eq!(registry.requests("/blobs/").len(), 1);
}

#[tokio::test]
async fn too_many_requests_are_asked_again_when_the_registry_says() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let registry = registry(move |request| {
        let blob = request.path.contains("/blobs/");
        let first = blob && asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        first.then(|| Reply::status(429, "slow down").with("Retry-After", "1"))
    });
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    let start = std::time::Instant::now();
    assert_eq!(fetch(&client, &resolved).await.unwrap().0, layer());
    // The client's own wait is a thousandth of it.
    assert!(start.elapsed() >= std::time::Duration::from_secs(1));
}

#[tokio::test]
async fn small_blobs_are_checked() {
    let registry = registry(|request| {
        let blob = request.path.contains("/blobs/");
        blob.then(|| Reply::ok("lies"))
    });
    let client = client();
    let resolved = resolve(&client, &registry).await.unwrap();
    let descriptor = Descriptor::new(media_type::OCI_CONFIG, Digest::sha256(b"true"), 4);
    let error = client
        .small_blob(&resolved.source, &descriptor, "image configuration", 100)
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::DigestMismatch { .. }));
}

/// A blob that is worth several connections, and a registry that gives each of them little at a time.
fn slow(blob: &[u8], ranges: bool) -> (Registry, Arc<AtomicUsize>) {
    let going = Arc::new(AtomicUsize::new(0));
    let (bytes, _) = manifest(blob);
    let (blob, most) = (blob.to_vec(), going.clone());
    let registry = Registry::start(move |request| {
        if request.path.contains("/manifests/") {
            return Reply::ok(bytes.clone()).with("Content-Type", media_type::OCI_MANIFEST);
        }
        if !request.path.contains("/blobs/") {
            return Reply::default();
        }
        if request.window().is_some_and(|(_, last)| last.is_some()) {
            most.fetch_add(1, Ordering::SeqCst);
        }
        let whole = Reply::ok(blob.clone());
        let reply = match ranges {
            true => Reply::blob(request, &blob),
            false => whole,
        };
        Reply {
            drip: Some((256 << 10, Duration::from_millis(1))),
            ..reply
        }
    });
    (registry, going)
}

/// Everything that comes, for a receiver that waits for each byte.
async fn fetch_hungry(client: &Client, registry: &Registry) -> Vec<u8> {
    let resolved = resolve(client, registry).await.unwrap();
    let slot = client.slot().await;
    let mut blob = client.blob(&resolved.source, &resolved.manifest.layers[0], 0, slot);
    let mut bytes = Vec::new();
    loop {
        blob.hungry(true);
        match blob.next().await.unwrap() {
            Some(BlobEvent::Data(data)) => bytes.extend_from_slice(&data),
            Some(BlobEvent::Retrying(_)) => {}
            None => return bytes,
        }
    }
}

fn large() -> Vec<u8> {
    (0..12_000_000u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_blob_comes_over_several_connections() {
    let blob = large();
    let (registry, parts) = slow(&blob, true);
    assert!(fetch_hungry(&client(), &registry).await == blob);
    assert!(parts.load(Ordering::SeqCst) > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ranges_or_room_one_connection_goes_on() {
    let blob = large();
    let (registry, _) = slow(&blob, false);
    assert!(fetch_hungry(&client(), &registry).await == blob);
    let (registry, parts) = slow(&blob, true);
    let narrow = client_with(Config {
        max_concurrent_downloads: 1,
        ..Config::default()
    });
    assert!(fetch_hungry(&narrow, &registry).await == blob);
    assert_eq!(parts.load(Ordering::SeqCst), 0);
}
