//! Builds images from Dockerfiles: `POST /build`.
//!
//! A build reads its whole context first, parses the Dockerfile, and then takes one instruction after the other: each
//! makes an image on top of the one before, as Docker's classic builder does, so that every step is there to be used
//! again. `RUN` is a container of the engine's, with everything that containers have; `COPY` and `ADD` write into a
//! [`Workspace`](wharf_engine::Workspace); the rest only changes settings.
//!
//! The cache is by content: the key of a step is its parent image, the settings, and for copied files a digest of
//! their names, kinds, modes, owners and bytes, never their times.
//!
//! Every path of a context or an image goes through descriptors ([`wharf_sys::root::Root`]).
//!
//! Source: `moby/moby/builder/dockerfile` for output, errors and defaults; the Dockerfile reference for what the
//! classic builder never learned.

mod args;
mod build;
mod cache;
mod client;
mod context;
mod copy;
mod error;
pub mod fetch;
pub mod flags;
pub mod hash;
mod image;
mod mounts;
mod options;
mod output;
mod prune;
mod run;
mod sources;
mod stage;
pub mod transfer;
mod vertex;

pub use args::Args;
pub use build::Builder;
pub use client::{Client, Local, LocalRequest, Silent, StorePlace, Upload};
pub use context::BuildSource;
pub use error::BuildError;
pub use mounts::take as take_cache;
pub use options::BuildOptions;
pub use output::{BuildEvent, Output};
pub use sources::{Exclude, has_wildcards, paths};
pub use vertex::{Names, counts};
