//! Overlay snapshots by chain id, and the writable layers of containers.
//!
//! ```text
//! snapshots/layers/<16 hex>/fs      an unpacked layer, in overlay's form; never changes
//!                          /about   "1 <chain id> <size in bytes>"
//! snapshots/layers/<n>.<boot>.aside was in a layer's place and could not be read, while a container did not say what it
//!                                   stands on; goes after this boot, or when there is no writable layer
//! snapshots/rw/<container>/fs       what a container wrote   (overlay's upper)
//!                         /work     overlay's scratch
//!                         /about    "2 <number of layers>", then their chain ids, bottom first; "1" of older
//!                                   ones, without the number
//! snapshots/empty                   the only lower of an image without layers
//! snapshots/stage/<n>               a layer or a writable layer in the making; swept at the start
//! snapshots/trash/<n>               on its way out; deleted in the background, and at the start
//! snapshots/unsettled/<16 hex>      may not be on the disk yet (see `wharf_content::Settle`)
//! ```
//!
//! Everything appears and disappears by one rename, so a kill leaves nothing half-made. Folder names are short because the
//! mount options of a kernel without `lowerdir+` must fit into one page; as 64 bits of a chain id could be made
//! to collide, `about` has the whole id and a collision is an error.
//!
//! A layer that was new when the power went is dropped at the next start, because nothing can tell whether its
//! files are whole; it is unpacked again from its blob.

mod collect;
mod error;
mod layer;
mod rw;
mod store;
mod trash;
mod usage;

pub use error::SnapshotError;
pub use layer::LayerStage;
pub use rw::Rootfs;
pub use store::Snapshots;
