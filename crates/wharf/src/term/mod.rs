//! The terminal and the three standard streams.

pub mod detach;
pub mod progress;
pub mod pump;
pub mod raw;
pub mod resize;
pub mod signals;
pub mod stdin;
