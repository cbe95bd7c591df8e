//! One process per container: stdio, log, reap; and an OCI runtime command line.
fn main() {}
