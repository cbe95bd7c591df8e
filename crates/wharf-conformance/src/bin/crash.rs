//! `make crash`: SIGKILL of daemon and registry at random points of what they do to images.
//!
//!     crash [--rounds N] [--seed N]

use anyhow::{Context as _, Result, bail};
use wharf_conformance::crash::{Plan, run};

fn main() -> Result<()> {
    let mut plan = Plan::default();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = args
            .next()
            .with_context(|| format!("{arg} wants a value"))?;
        match arg.as_str() {
            "--rounds" => plan.rounds = value.parse()?,
            "--seed" => plan.seed = value.parse()?,
            "--longest" => plan.longest = value.parse()?,
            _ => bail!("usage: crash [--rounds N] [--seed N] [--longest MILLISECONDS]"),
        }
    }
    run(&plan)
}
