//! Black-box scenarios over the API and the `docker` command.
//!
//! Every scenario runs unchanged against Wharf and against a real dockerd, through the stock `docker` and
//! through `wharf`; where the two engines differ, dockerd is right. The answers to API requests are held
//! against the Engine API's own description ([`schema`]).
//!
//! `make conformance` runs all on both engines and counts; `cargo nextest run -p wharf-conformance` runs them
//! against Wharf, a test each.

pub mod case;
mod corpus;
pub mod crash;
mod dice;
pub mod scenarios;
pub mod schema;
pub mod soak;

pub use case::{Case, Client};
pub use scenarios::{Outcome, SCENARIOS, Scenario};
