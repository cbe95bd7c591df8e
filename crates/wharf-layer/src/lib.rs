//! Layer archives: apply, pack, whiteouts, compression.
//!
//! [`apply`] unpacks an archive that nobody has reason to trust. What keeps it inside its folder is not a look at
//! names but the kernel: every folder is opened by `openat2` with `RESOLVE_IN_ROOT` and every member is made by its last
//! name in such a folder, exclusively, and never through a link. Names are cleaned only to know what is meant.
//!
//! Deletions are kept as layers keep them, by names (`.wh.x`, `.wh..wh..opq`), in archives, and as overlay keeps
//! them (a 0:0 character device, `trusted.overlay.opaque`) in folders. The folder of a lower layer is never looked at.
//!
//! The tar reader is our own, because it decides what a stranger's bytes mean: it follows Go's `archive/tar`, as
//! Docker does, so that no archive means one thing to us and another to those who scan it.

mod apply;
mod attributes;
mod compression;
mod content;
mod copy;
mod error;
mod extract;
mod ids;
mod pack;
mod pipe;
mod plain;
mod tar;
mod tree;

pub use apply::{Applied, ApplyOptions, Plain, apply};
pub use compression::{Compression, Decompressor, decompress, detect};
pub use content::{Content, kept_content};
pub use copy::{copy_only, copy_path};
pub use error::LayerError;
pub use ids::{IdMaps, IdRow};
pub use pack::{PackOptions, Packed, Times, kept_xattrs, pack, pack_only, pack_path};

/// In front of the name of something that was deleted.
pub(crate) const WHITEOUT: &[u8] = b".wh.";
/// In front of what belongs to AUFS itself.
pub(crate) const WHITEOUT_META: &[u8] = b".wh..wh.";
/// In a folder that hides everything below it.
pub(crate) const WHITEOUT_OPAQUE: &[u8] = b".wh..wh..opq";
/// Overlay's mark for such a folder.
pub(crate) const OVERLAY_OPAQUE: &str = "trusted.overlay.opaque";
