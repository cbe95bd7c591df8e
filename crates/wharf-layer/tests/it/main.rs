//! Archives from the outside: honest, strange and hostile ones. One program, so that it is linked once.
#![allow(clippy::unwrap_used, reason = "tests")]

mod build;
mod contents;
mod gnu;
mod hostile;
mod round_trip;
mod streams;
mod tree;
mod whiteouts;
