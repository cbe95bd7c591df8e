//! The client against a registry that misbehaves on purpose.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod access;
mod app;
mod blobs;
mod lists;
mod manifests;
mod places;
mod push;
mod statements;
