//! Named volumes: folders that outlive containers.
//!
//! ```text
//!            create                remove
//!   (none) ─────────▶ Kept ─────────────────▶ Removing ──▶ (none)
//!                      ▲                        │ folder renamed to the trash, then the record deleted
//!                      └── adopted: a folder without a record, found by `open`
//! ```
//!
//! A record is written before its folder is made, and says that it goes before its folder goes; so a kill
//! at any point leaves a volume that is there or one that [`Volumes::open`] finishes removing. A folder
//! nobody knows is adopted, as dockerd does: data is never deleted by inference.
//!
//! Architecture invariant: nothing here knows who uses a volume. The engine refuses the removal of one in
//! use, under [`Volumes::remove`]'s lock.

mod create;
mod error;
mod name;
mod record;
mod remove;
mod store;

pub use create::NewVolume;
pub use error::VolumeError;
pub use name::VolumeName;
pub use record::Volume;
pub use store::Volumes;
