//! The wharf command line, and the daemon's wiring.
fn main() {}
