//! Uploads.

use std::sync::Arc;

use wharf_distribution::{BlobEvent, Config, Content};
use wharf_oci::{Descriptor, media_type};

use crate::app::{registry, resolve};
use crate::common::{Registry, Reply, client, client_with};

/// A registry that takes no bytes, and answers a `PATCH` with this status; how often it was tried, and what came of it.
async fn refused_upload(status: u16) -> (usize, String) {
    let refusing = Registry::start(move |request| match request.method.as_str() {
        "HEAD" => Reply::status(404, ""),
        "POST" => Reply::status(202, "").with("Location", "/v2/app/blobs/uploads/1"),
        "PATCH" => Reply::status(status, ""),
        _ if request.path.contains("/uploads/") => Reply::status(204, "").with("Range", "0-0"),
        _ => Reply::default(),
    });
    let client = client();
    let target = client
        .push_target(&refusing.reference("app:1"), None, &[])
        .unwrap();
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, b"some bytes").unwrap();
    let content = Content {
        file: Arc::new(file),
        progress: Arc::new(|_| {}),
    };
    let blob = Descriptor::of(media_type::OCI_LAYER, b"some bytes");
    let error = client
        .push_blob(&target, &blob, &[], &content, None)
        .await
        .unwrap_err();
    let tried = refusing.requests("/uploads/1");
    let tried = tried.iter().filter(|request| request.method == "PATCH");
    (tried.count(), error.to_string())
}

#[tokio::test]
async fn an_upload_is_tried_so_often_and_not_more() {
    let (tried, error) = refused_upload(500).await;
    assert_eq!(
        (tried, error.as_str()),
        (
            4,
            "received unexpected HTTP status: 500 Internal Server Error"
        )
    );
    // A registry whose disk is full has no room a little later either.
    let (tried, error) = refused_upload(507).await;
    assert_eq!(
        (tried, error.as_str()),
        (
            1,
            "received unexpected HTTP status: 507 Insufficient Storage"
        )
    );
}

/// A registry that says to come again later means one transfer, not all.
#[tokio::test]
async fn who_waits_to_try_again_lets_others_go_first() {
    let client = client_with(Config {
        max_concurrent_uploads: 1,
        max_concurrent_downloads: 1,
        ..Config::default()
    });
    let later = || Reply::status(429, "").with("Retry-After", "30");
    let busy = registry(move |request| request.path.contains("/blobs/").then(later));
    let target = client.push_target(&busy.reference("app:1"), None, &[]);
    let target = target.unwrap();
    let content = Content {
        file: Arc::new(tempfile::tempfile().unwrap()),
        progress: Arc::new(|_| {}),
    };
    let blob = Descriptor::of(media_type::OCI_LAYER, b"some bytes");
    let mut slot = client.upload_slot().await;
    tokio::select! {
        pushed = client.push_blob(&target, &blob, &[], &content, Some(&mut slot)) => panic!("{pushed:?}"),
        _another = client.upload_slot() => {}
    }
    let resolved = resolve(&client, &busy).await.unwrap();
    let slot = client.slot().await;
    let mut blob = client.blob(&resolved.source, &resolved.manifest.layers[0], 0, slot);
    let first = blob.next().await.unwrap();
    assert!(matches!(first, Some(BlobEvent::Retrying(_))), "{first:?}");
    tokio::select! {
        next = blob.next() => panic!("{next:?}"),
        _another = client.slot() => {}
    }
}
