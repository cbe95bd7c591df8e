//! What builds are made of, whoever does them: what they ask of their client, the arguments and flags of a Dockerfile, how
//! files are found, hashed, fetched and copied, and the folders of cache mounts.
//!
//! Every path of a context or an image goes through descriptors ([`wharf_sys::root::Root`]).
//!
//! Source: the Dockerfile reference; `moby/moby/builder/dockerfile` and `moby/buildkit` where it is silent.

mod args;
mod cache_mount;
mod client;
mod error;
pub mod fetch;
pub mod flags;
pub mod git;
pub mod hash;
mod mode;
mod scratch;
mod sources;
pub mod transfer;
pub mod tree;
mod vertex;

pub use args::Args;
pub use cache_mount::{CacheLooks, remove as remove_cache, take as take_cache};
pub use client::{Client, Local, LocalRequest, StorePlace, Upload};
pub use error::BuildError;
pub use mode::ModeChange;
pub use scratch::Scratch;
pub use sources::{Selection, has_wildcards, paths};
pub use vertex::{Names, counts};
