//! `cargo fuzz run file_sync`: see ../src.

#![no_main]

#[path = "../src/file_syncs.rs"]
mod file_syncs;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| file_syncs::file_sync(bytes));
