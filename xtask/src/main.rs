//! House tasks: tidy, generate, dist.
fn main() {}
