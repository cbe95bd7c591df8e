//! A client that does not wait long, for the registry that does as it is told.

#![allow(clippy::unwrap_used, reason = "test helper")]

use std::time::Duration;

use wharf_distribution::{Client, Config};
use wharf_oci::{Descriptor, Digest, Manifest, Reference, media_type};
use wharf_testkit::liar::Liar;
pub(crate) use wharf_testkit::liar::{Reply, Request};

/// A liar on this machine's loopback.
pub(crate) struct Registry(Liar);

impl Registry {
    pub(crate) fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Registry {
        Registry(Liar::start(handler).unwrap())
    }

    pub(crate) fn reference(&self, name: &str) -> Reference {
        self.0.reference(name).unwrap()
    }
}

impl std::ops::Deref for Registry {
    type Target = Liar;

    fn deref(&self) -> &Liar {
        &self.0
    }
}

/// A client that does not wait long.
pub(crate) fn client() -> Client {
    client_with(Config::default())
}

pub(crate) fn client_with(config: Config) -> Client {
    Client::new(Config {
        connect_timeout: Duration::from_secs(5),
        stall_timeout: Duration::from_millis(300),
        retries: 3,
        retry_delay: Duration::from_millis(1),
        certs_dir: "/nonexistent".into(),
        ..config
    })
    .unwrap()
}

/// A manifest with one layer.
pub(crate) fn manifest(layer: &[u8]) -> (Vec<u8>, Digest) {
    let config = b"{}";
    let manifest = Manifest::oci(
        Descriptor::of(media_type::OCI_CONFIG, config),
        vec![Descriptor::of(media_type::OCI_LAYER, layer)],
    );
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let digest = Digest::sha256(&bytes);
    (bytes, digest)
}
