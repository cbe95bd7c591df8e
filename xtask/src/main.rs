//! House tasks. `cargo xtask tidy` holds the tree to the rules that no compiler knows; `cargo xtask coverage` writes
//! what of Docker's API and command line is exercised.

mod coverage;
mod tidy;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((task, [])) if task == "tidy" => tidy::run(),
        Some((task, rest)) if task == "coverage" => coverage::run(rest),
        _ => bail!("usage: cargo xtask tidy | coverage [api [RECORDING]|cli]"),
    }
}
