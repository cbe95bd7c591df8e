//! The fuzz target of layer archives over its saved corpus (`fuzz/`).

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/src/layers.rs"]
mod layers;

#[test]
fn layers_stay_inside() {
    corpus::run("layer", layers::layer);
}
