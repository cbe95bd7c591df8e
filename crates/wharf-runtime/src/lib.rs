//! OCI spec to process: namespaces, mounts, cgroup, seccomp, exec.
//!
//! ```text
//!  caller (single-threaded)                     child
//!    create cgroup, limits, devices
//!    clone3 into all new namespaces ──────────▶ mounts, pivot_root, devices, settings
//!    (v1) move it into the groups               (v1) wait
//!    "go" ────────────────────────────────────▶ terminal, masks, user, capabilities, find the program
//!    ◀──────────────────────────── "ready" (and the terminal)
//!    Created::start: "start" ─────────────────▶ seccomp, execve
//!    ◀───────────── end of the socket: it runs; or a message: it does not, and why
//! ```
//!
//! With hooks that run before the root is changed, the child says when, and the caller runs those of the runtime.
//! With a new user namespace the child waits first until the caller has written its mappings. Where namespaces
//! have to be joined before that, or clocks set, a process goes between ([`stage`]), as in an exec.
//!
//! Otherwise there is one fork and no second stage: the caller is the shim, which has one thread, so the child can run
//! ordinary code before it executes the container's program. An exec forks twice: the first child has left all
//! descriptors of the caller behind before it comes near the container.
//!
//! Architecture invariants: no async runtime; no path inside the container is resolved as a string
//! ([`wharf_sys::root::Root`]); nothing of the host is open in the child when the program starts.

mod ahead;
mod capability;
mod child;
mod command;
mod copy_up;
mod create;
mod credentials;
mod devices;
mod error;
mod exec;
mod filter;
pub mod hooks;
mod idmap;
mod masks;
mod mounts;
mod namespaces;
mod net_devices;
mod options;
mod place;
mod proc;
mod rlimits;
mod rootfs;
mod schedule;
mod stage;
mod sync;
mod sysctl;
mod terminal;
mod user;

pub use ahead::of_process;
pub use capability::capabilities;
pub use child::session_keyring;
pub use command::find_program;
pub use create::{Config, Created, ProcessIo, create};
pub use error::{Failure, FailureKind, RuntimeError};
pub use exec::{ExecConfig, Making, Step, begin_exec, exec};
pub use filter::{Filter, Listener};
pub use namespaces::word as namespace_word;
pub use options::mount_options;
pub use rootfs::Rootfs;
pub use terminal::resize;
pub use user::{Identity, identify};
