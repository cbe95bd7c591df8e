//! The registry server: the distribution specification 1.1 over a folder or a bucket.
//!
//! ```text
//!  bytes ─▶ http (connection, route, auth) ─▶ store (blobs, manifests, tags, uploads) ─▶ files or objects, in docker-registry's layout
//!                      │                          ▲
//!                      ├─▶ notify, metrics        ├── collect: garbage, while requests are served
//!                      └─▶ proxy (a cache of another registry) ──▶ wharf-distribution
//! ```
//!
//! Blobs go from the page cache to the socket without a copy, or behind TLS in pieces; manifests are answered from memory. What is absent: nothing is decided by what an image says of itself, and no path of a request becomes a
//! path on the disk but by the types of `names`.

mod auth;
mod config;
mod error;
mod http;
mod maintenance;
mod manifest;
mod metrics;
mod names;
mod notify;
mod proxy;
mod registry;
mod store;
mod tls;
mod uploads;

pub use config::Config;
pub use error::Error;
pub use registry::{Registry, check};
