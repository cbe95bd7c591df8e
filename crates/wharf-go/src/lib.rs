//! What Go does with texts, where Docker shows through what it does: sizes (`go-units`), booleans (`strconv`), paths (`path`).
//!
//! Pure, without dependencies: the shim reads sizes too.

mod boolean;
pub mod path;
mod size;

pub use boolean::parse_bool;
pub use size::{from_human_size, ram_in_bytes};
