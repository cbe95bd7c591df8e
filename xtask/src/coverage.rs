//! `cargo xtask coverage`: what of Docker's API and command line the suite exercises and `wharf` has.
//!
//!     cargo xtask coverage [api|cli] [RECORDING]
//!
//! `api` runs the conformance suite on Wharf with the testkit's recorder between clients and daemon (or reads the
//! folder of an earlier run), and writes docs/reference/api-coverage.md. `cli` walks `docker --help` and `wharf --help`,
//! and writes docs/reference/cli-coverage.md. What is open has its reason in xtask/coverage/*.txt; without one, in what
//! has to be whole, the task fails.

mod api;
mod cli;
mod fields;
mod http;
mod reasons;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::tidy::root;

pub(crate) fn run(args: &[String]) -> Result<()> {
    let root = root();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => {
            cli::write(root)?;
            api::write(root, &record(root)?)
        }
        ["cli"] => cli::write(root),
        ["api"] => api::write(root, &record(root)?),
        ["api", folder] => api::write(root, Path::new(folder)),
        _ => bail!("usage: cargo xtask coverage [api [RECORDING]|cli]"),
    }
}

/// The subjects whose scenarios ask for what has to be whole. All of the suite asks for no more of that, and takes half
/// an hour.
const SUBJECTS: &[&str] = &[
    "api::",
    "attach::",
    "commit::",
    "containers::",
    "cp::",
    "endpoints::",
    "events::",
    "files::",
    "health::",
    "images::",
    "life::",
    "limits::",
    "logs::",
    "mounts::",
    "network::",
    "networks::",
    "operations::",
    "resources::",
    "restarts::",
    "run::",
    "safety::",
    "userns::",
    "volumes::",
    "wire::",
];

/// Runs the scenarios of [`SUBJECTS`], recorded: through one client, as it is the daemon that is looked at, and several at
/// a time, as they wait more than they work.
fn record(root: &Path) -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let folder = target.join("api-recording");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("remove {folder:?}"))?;
    }
    let suite = Command::new("cargo")
        .args(["run", "--quiet", "--package", "wharf-conformance", "--"])
        .args(["--engine", "wharf", "--client", "docker", "--jobs", "6"])
        .args(SUBJECTS.iter().flat_map(|subject| ["--only", subject]))
        .env("WHARF_RECORD_API", &folder)
        .current_dir(root)
        .status()?;
    ensure!(suite.success(), "the suite could not be run");
    Ok(folder)
}
