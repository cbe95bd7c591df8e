//! The fuzz targets of names and documents over their saved corpus (`fuzz/`).

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/src/documents.rs"]
mod documents;

#[test]
fn references() {
    corpus::run("reference", documents::reference);
}

#[test]
fn manifests() {
    corpus::run("manifest", documents::manifest);
}

#[test]
fn image_configs() {
    corpus::run("image_config", documents::image_config);
}
