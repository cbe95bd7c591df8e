//! OCI and Docker seccomp profiles compiled to BPF.
//!
//! ```text
//!  Docker's profile ──resolve(capabilities, target, kernel)──▶ OCI LinuxSeccomp ──compile(target)──▶ Program
//! ```
//!
//! A program looks the system call's number up in a binary tree of ranges, so that a call costs about eight
//! instructions however long the profile is. A call that the profile does not know because it is newer than all
//! that it names gets `ENOSYS`, as runc does it, so that C libraries fall back to an older one.
//!
//! Architecture invariants: pure but for [`Host::current`]; no C; loading is `wharf_sys::seccomp::load`.

mod action;
mod bpf;
mod condition;
mod error;
mod profile;
mod rules;
mod table;

pub use bpf::Program;
pub use error::SeccompError;
pub use profile::{Host, Profile};
pub use rules::compile;
pub use table::Target;

/// The filter of a container with `capabilities` (its bounding set, as `CAP_CHOWN`) on this machine: the bytes of its
/// `struct sock_filter` array.
///
/// # Errors
/// What [`Profile::resolve`] and [`compile`] say, and [`SeccompError::Machine`] on one without a table.
pub fn filter(profile: &Profile, capabilities: &[&str]) -> Result<Vec<u8>, SeccompError> {
    let host = Host::current()?;
    let resolved = profile.resolve(capabilities, &host)?;
    Ok(compile(&resolved, host.target)?.to_bytes())
}
