//! Named volumes: folders that outlive containers, mounts that are made while somebody uses them, and the volumes of
//! plugins.
//!
//! ```text
//!            create                remove
//!   (none) ─────────▶ Kept ─────────────────▶ Removing ──▶ (none)
//!     │               ▲  ▲                      ▲  │ folder renamed to the trash, then the record deleted
//!     │               │  └── adopted: a folder  │  └ finished by `open`
//!     │ for a new     │      without a record,  │
//!     │ container     │ keep found by `open`    │ remove, or `open` after a kill
//!     └──────────▶ Promised ────────────────────┘
//! ```
//!
//! A record is written before its folder is made, and says that it goes before its folder goes; so a kill
//! at any point leaves a volume that is there or one that [`Volumes::open`] finishes removing. A folder
//! nobody knows is adopted, as dockerd does: data is never deleted by inference.
//!
//! Volumes with the options `type`, `o` and `device` are mounted over their folder by the first holder
//! ([`Volumes::mount`]) and unmounted after the last; who holds them over the daemon's death is told by
//! [`Volumes::restore`]. A volume's files are never deleted through such a mount.
//!
//! Architecture invariant: nothing here knows who uses a volume. The engine refuses the removal of one in
//! use, under [`Volumes::remove`]'s lock.

mod create;
mod drivers;
mod error;
mod keep;
mod local;
mod mount;
mod name;
mod plugin;
mod quota;
mod record;
mod remove;
mod store;

pub use create::{Created, NewVolume};
pub use drivers::PluginFolders;
pub use error::VolumeError;
pub use name::VolumeName;
pub use record::{LOCAL, Pairs, Volume};
pub use remove::VolumeRemoval;
pub use store::{Listed, Volumes};
