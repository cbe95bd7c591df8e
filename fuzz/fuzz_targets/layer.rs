//! `cargo fuzz run layer`: see ../src.

#![no_main]

#[path = "../src/layers.rs"]
mod layers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| layers::layer(bytes));
