//! House tasks. `cargo xtask tidy` holds the tree to the rules that no compiler knows.

mod tidy;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => tidy::run(),
        _ => bail!("usage: cargo xtask tidy"),
    }
}
