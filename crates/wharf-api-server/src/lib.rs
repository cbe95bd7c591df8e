//! Engine API routes: wire to engine and back, API-version compatibility.
//!
//! ```text
//!  bytes ─▶ server (HTTP/1.1, h2c, upgrades) ─▶ version (prefix, limits) ─▶ routes ─▶ engine
//!                                                    │                        │
//!                                                    └── compat: replies for older clients
//! ```
//!
//! A handler parses its query and body, calls one verb of the engine and converts the answer; the conversions
//! stand in `convert`, both directions destructured without `..`, so that a new field fails to compile until it
//! is handled. Every error becomes a status in one place (`error`).

mod closing;
mod compat;
mod convert;
mod error;
mod form;
mod hijack;
mod metrics;
mod origin;
mod params;
mod path;
mod peer;
mod reply;
mod rest;
mod routes;
mod server;
mod takeover;
mod target;
mod version;
mod websocket;

pub use server::{Api, Clients, Listener, TlsAcceptor};
