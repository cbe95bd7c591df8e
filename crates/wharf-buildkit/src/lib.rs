//! BuildKit's protocol: what `docker buildx build`, Compose and `buildctl` speak.
//!
//! ```text
//!   client ──▶ control  Solve, Status, ListWorkers, Prune, …      jobs: what is being built, and what it says
//!          ──▶ bridge   the client's own frontend asks for steps   │
//!          ◀── session  files, secrets, agents, credentials        ▼
//!                                                        wharf-solver ──▶ exporters
//! ```
//!
//! A client opens a session first: a connection on which it is the server ([`session`]). Then it asks to solve: a graph,
//! a frontend that runs here, or one of its own that comes back through the bridge. What is built belongs to the
//! job, and goes with it. Nothing that a session says is a path of this host: files go into folders that are ours,
//! through descriptors.
//!
//! Source: `moby/buildkit/api/services/control`, `frontend/gateway/pb`, `session`.

mod bridge;
mod caps;
mod container;
mod control;
mod error;
mod export;
mod gc;
mod history;
mod history_filter;
mod job;
mod progress;
mod rest;
mod service;
mod session;
mod sizes;
mod spool;
mod time;
mod usage;

pub use rest::{RestBuild, RestEvent};
pub use service::BuildKit;
pub use session::{OFFERED, Offer, receive};
