//! The fuzz target of clients' files over its saved corpus (`fuzz/`).

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/src/file_syncs.rs"]
mod file_syncs;

#[test]
fn files_stay_inside() {
    corpus::run("file_sync", file_syncs::file_sync);
}
