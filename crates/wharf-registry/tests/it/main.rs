//! The API over a socket, byte by byte: each requirement of the distribution specification, and those who mean harm.
#![allow(clippy::unwrap_used, reason = "tests")]

mod bucket;
mod client;
mod discovery;
mod faults;
mod garbage;
mod kill;
mod limits;
mod proxy;
mod pull;
mod push;
mod settings;
mod trust;
