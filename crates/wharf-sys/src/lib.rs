//! Safe Linux calls: mount API, namespaces, pidfd, in-root paths. **The only crate with `unsafe`.**
//!
//! rustix makes most calls safe already and is used directly by all crates. What stands here is what it lacks
//! (`clone3`, `mount_setattr`, `signalfd`, `seccomp`, `keyctl`, `bpf`, `execve`), what it rightly marks unsafe but
//! can be made safe by a narrower signature (`unshare`, `fork` of a process with one thread), and what all
//! crates need in one form only: [`Root`], a folder whose insides are resolved by `openat2`, never as a string.
//!
//! Functions are thin: one system call, its `Errno`. The caller knows the operation and the path and says them.
//!
//! Architecture invariant: no policy, no parsing, no knowledge of containers.

pub mod bpf;
pub mod exec;
pub mod keyring;
pub mod memfd;
pub mod mount;
pub mod namespace;
pub mod process;
pub mod pty;
pub mod root;
pub mod seccomp;
pub mod signal;

pub use root::Root;
