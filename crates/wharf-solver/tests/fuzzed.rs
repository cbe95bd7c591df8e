//! The fuzz target of graphs of build steps over its saved corpus (`fuzz/`).

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/src/graphs.rs"]
mod graphs;

#[test]
fn graphs_are_graphs() {
    corpus::run("llb", graphs::graph);
}
