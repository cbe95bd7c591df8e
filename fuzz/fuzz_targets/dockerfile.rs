//! `cargo fuzz run dockerfile`: see ../src.

#![no_main]

#[path = "../src/dockerfiles.rs"]
mod dockerfiles;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dockerfiles::dockerfile(bytes));
