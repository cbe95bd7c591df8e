//! The fuzz target of Dockerfiles over its saved corpus (`fuzz/`).

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/src/dockerfiles.rs"]
mod dockerfiles;

#[test]
fn mistakes_are_on_lines() {
    corpus::run("dockerfile", dockerfiles::dockerfile);
}
