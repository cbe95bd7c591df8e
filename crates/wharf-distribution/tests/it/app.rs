//! An honest registry with one image, but for what a test has it do.

use wharf_distribution::{BlobEvent, Client, RegistryError, Resolved};
use wharf_oci::{Platform, media_type};

use crate::common::{Registry, Reply, Request, manifest};

pub(crate) fn layer() -> Vec<u8> {
    (0..200_000u32).map(|n| (n / 7) as u8).collect()
}

/// An honest registry for `app:latest` with one layer, but for what `special` answers itself.
pub(crate) fn registry(
    special: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
) -> Registry {
    let layer = layer();
    let (bytes, _) = manifest(&layer);
    Registry::start(move |request| {
        if let Some(reply) = special(request) {
            return reply;
        }
        if request.path.contains("/manifests/") {
            return Reply::ok(bytes.clone()).with("Content-Type", media_type::OCI_MANIFEST);
        }
        if request.path.contains("/blobs/") {
            return Reply::blob(request, &layer);
        }
        Reply::default()
    })
}

pub(crate) async fn resolve(
    client: &Client,
    registry: &Registry,
) -> Result<Resolved, RegistryError> {
    let reference = registry.reference("app:latest");
    client.resolve(&reference, &Platform::host(), None).await
}

pub(crate) async fn failure(client: &Client, registry: &Registry) -> String {
    match resolve(client, registry).await {
        Ok(_) => panic!("was resolved"),
        Err(error) => error.to_string(),
    }
}

/// Everything that comes, and how often it was tried again.
pub(crate) async fn fetch(
    client: &Client,
    resolved: &Resolved,
) -> Result<(Vec<u8>, usize), RegistryError> {
    let slot = client.slot().await;
    let mut blob = client.blob(&resolved.source, &resolved.manifest.layers[0], 0, slot);
    let (mut bytes, mut retries) = (Vec::new(), 0);
    while let Some(event) = blob.next().await? {
        match event {
            BlobEvent::Data(data) => bytes.extend_from_slice(&data),
            BlobEvent::Retrying(_) => retries += 1,
        }
    }
    Ok((bytes, retries))
}
