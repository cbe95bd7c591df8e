//! `make crash`: SIGKILL of daemon and registry at random points of what they do to images, or of the daemon in builds.
//!
//!     crash [--builds] [--rounds N] [--seed N] [--longest MILLISECONDS]

use anyhow::{Context as _, Result, bail};
use wharf_conformance::crash::{self, Plan};

fn main() -> Result<()> {
    let (mut plan, mut builds) = (Plan::default(), false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--builds" {
            builds = true;
            continue;
        }
        let value = args
            .next()
            .with_context(|| format!("{arg} wants a value"))?;
        match arg.as_str() {
            "--rounds" => plan.rounds = value.parse()?,
            "--seed" => plan.seed = value.parse()?,
            "--longest" => plan.longest = value.parse()?,
            _ => bail!("usage: crash [--builds] [--rounds N] [--seed N] [--longest MILLISECONDS]"),
        }
    }
    match builds {
        true => crash::builds::run(&plan),
        false => crash::run(&plan),
    }
}
