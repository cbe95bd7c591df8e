//! Content-addressed blobs: resumable ingest, garbage collection.
//!
//! ```text
//! content/blobs/sha256/<hex>    a whole blob; never changes
//! content/ingest/sha256-<hex>   a part of a blob, from its first byte on
//! content/trash/<n>            on its way out; deleted at the latest by the next start
//! content/unsettled/<name>      this blob may not be on the disk yet (see `settle`)
//!
//!   ingest ──write──▶ ingest ──commit (length and digest are right)──▶ blob ──collect──▶ gone
//!      └── dropped or killed: the part stays, and the next ingest goes on behind it
//! ```
//!
//! The name of a blob is the digest of its bytes, so a file beneath `blobs` is right or is damaged by the disk,
//! never half. One process owns a store; that is seen to by the lock of the data root.
//!
//! # Power cuts
//! A rename can reach the disk before the bytes of the file. Syncing every blob would put the disk between the network
//! and the user, so a blob is visible at once and its name stays in `unsettled` until one `syncfs` in the background
//! has covered it. A store that is opened after a power cut hashes the few blobs that are named there, and
//! drops those that are not whole. What is lost is time.

mod collect;
mod error;
mod ingest;
mod settle;
mod store;

pub use collect::Garbage;
pub use error::ContentError;
pub use ingest::Ingest;
pub use settle::Settle;
pub use store::Content;
