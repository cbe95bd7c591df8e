//! `cargo fuzz run llb`: see ../src.

#![no_main]

#[path = "../src/graphs.rs"]
mod graphs;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| graphs::graph(bytes));
