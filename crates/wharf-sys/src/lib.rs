//! Safe Linux calls: processes, namespaces, mounts, signals, in-root paths.
//!
//! The only crate with `unsafe`: what `rustix` has as a safe call is used directly by whoever needs it, and
//! stands here only where a helper says it once for all.
//!
//! Architecture invariant: nothing here knows a container, a log or a file format.

pub mod boot;
pub mod bpf;
pub mod exec;
pub mod memfd;
pub mod memory;
pub mod mount;
pub mod netns;
pub mod process;
pub mod quota;
pub mod root;
pub mod schedule;
pub mod sealed;
pub mod seccomp;
pub mod setting;
pub mod signals;
pub mod socket;
pub mod stat;
pub mod trash;
pub mod words;
