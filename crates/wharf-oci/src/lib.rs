//! Image, runtime and distribution words: digests, references, platforms, manifests.
//!
//! Pure: no file, socket or clock is touched here, and nothing here is async. Text from a user, a registry or
//! an archive enters as bytes or `&str` and leaves as a type that cannot be wrong any more, so that no crate
//! further down validates a second time. Error texts are Docker's own where Docker has one, because they reach
//! the user unchanged.

mod chain_id;
mod digest;
mod image_config;
mod manifest;
pub mod media_type;
mod platform;
mod reference;

pub use chain_id::ChainId;
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use image_config::{
    Empty, Fields, Healthcheck, History, ImageConfig, ImageConfigError, MAX_CONFIG_SIZE, RootFs,
    RunConfig,
};
pub use manifest::{
    Descriptor, Document, Index, MAX_LAYERS, MAX_MANIFEST_SIZE, Manifest, ManifestError,
};
pub use platform::{Platform, PlatformError};
pub use reference::{AnyReference, NAME_MAX, Reference, ReferenceError, is_repository, is_tag};
