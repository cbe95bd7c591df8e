//! `make soak`: many container lives with random operations while the daemon is killed every few seconds; then
//! nothing may be left, lost or doubled.
//!
//!     soak [--lives N] [--kill-every SECONDS] [--seed N] [--workers N]

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use wharf_conformance::soak::{Plan, run};

fn main() -> Result<()> {
    let mut plan = Plan::default();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args
            .next()
            .with_context(|| format!("{arg} wants a value"))?;
        match arg.as_str() {
            "--lives" => plan.lives = value.parse()?,
            "--kill-every" => plan.kill_every = Duration::from_secs_f64(value.parse()?),
            "--seed" => plan.seed = value.parse()?,
            "--workers" => plan.workers = value.parse()?,
            _ => bail!("usage: soak [--lives N] [--kill-every SECONDS] [--seed N] [--workers N]"),
        }
    }
    run(&plan)
}
