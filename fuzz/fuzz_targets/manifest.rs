//! `cargo fuzz run manifest`: see ../src.

#![no_main]

#[path = "../src/documents.rs"]
#[allow(dead_code)]
mod documents;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| documents::manifest(bytes));
