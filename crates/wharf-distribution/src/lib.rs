//! Registry client: the distribution protocol in both directions, authentication, mirrors, search.
//!
//! `resolve` finds an image at the first place that has it (mirrors of Docker Hub, then the registry) and says where
//! its blobs are; `blob` streams one of them and goes on after a cut where it was. Every document is compared
//! with its digest here; a blob's digest is compared by who stores it, as only it sees every byte.
//!
//! Errors carry Docker's words. What is absent: no file of an image is written here, and no credential goes to
//! another host than the registry it was given for and the token server that this registry names.

mod answer;
mod auth;
mod blob;
mod challenge;
mod client;
mod config;
mod credentials;
mod describe;
mod dial;
mod endpoint;
mod error;
mod fetch;
mod http_client;
mod lanes;
mod login;
mod mirrors;
mod pages;
mod proxy;
mod push;
mod relay;
mod resolve;
mod search;
mod send_body;
mod slot;
mod statements;
mod tls;
mod warnings;

pub use blob::{Blob, BlobEvent};
pub use client::{Client, Source};
pub use config::Config;
pub use credentials::Credentials;
pub use error::{RegistryError, RegistryErrorKind};
pub use fetch::Download;
pub use mirrors::MirrorRule;
pub use proxy::Proxies;
pub use push::{BlobPushed, Content};
pub use resolve::{Raw, Resolved};
pub use search::SearchHit;
pub use slot::Slot;
pub use statements::Room;
