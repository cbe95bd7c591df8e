//! `cargo fuzz run reference`: see ../src.

#![no_main]

#[path = "../src/documents.rs"]
#[allow(dead_code)]
mod documents;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| documents::reference(bytes));
