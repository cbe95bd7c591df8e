//! Images that tools which we did not write have made: a registry's storage folder and `docker save`
//! archives. `fixtures/build.sh` makes them once a machine, into the user's cache.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};

/// The folder with the fixtures: `registry/` (a storage folder of docker-registry with `busybox:latest`,
/// `debian:bookworm` under `library/` and without it), `busybox.tar`
/// (`docker save` of dockerd 20.10) and `rootfs/` (a busybox tree).
///
/// # Errors
/// If they are not there and cannot be made; the script's output is on stderr.
pub fn folder() -> Result<PathBuf> {
    printed_by("build.sh")
}

/// The folder with what real applications stand on, made on the first call: `build.tar.gz`, `services.tar.gz` and `browser.tar.gz`, Debian trees
/// with compilers, servers and a browser, and `busybox/`, the sources of a package.
///
/// # Errors
/// If it cannot be made.
pub fn applications() -> Result<PathBuf> {
    printed_by("applications.sh")
}

/// The folder with the sources of Debian's `redis` and `nginx`, fetched on the first call.
///
/// # Errors
/// If they cannot be fetched.
pub fn sources() -> Result<PathBuf> {
    printed_by("sources.sh")
}

/// The folder with what programs of other languages are built of, fetched on the first call: `cpython/` and `ripgrep/`, sources with
/// what they are made with, and `rust/`, Debian's packages of a compiler; none where cargo's registry is not reachable.
///
/// # Errors
/// If they cannot be fetched for another reason.
pub fn languages() -> Result<Option<PathBuf>> {
    if_reachable("languages.sh")
}

/// The folder with dockerd 26.1 and containerd, fetched on the first call.
///
/// # Errors
/// If they cannot be fetched.
pub fn dockerd_26() -> Result<PathBuf> {
    printed_by("dockerd-26.sh")
}

/// A folder for `DOCKER_CONFIG` with the stock plugins `compose` 2.26 and `buildx` 0.13, fetched on the first call.
///
/// # Errors
/// If they cannot be fetched.
pub fn cli_plugins() -> Result<PathBuf> {
    printed_by("cli-plugins.sh")
}

/// A Debian tree with iperf3, dig, curl, nc, redis and nginx, ufw and firewalld, made on the first call. To be read only.
///
/// # Errors
/// If it cannot be made.
pub fn clients() -> Result<PathBuf> {
    printed_by("clients.sh")
}

/// The folder with the SDKs of Python (`python/bin/python`) and Node (`node/node_modules`), installed on the first call; none
/// where no package registry is reachable.
///
/// # Errors
/// If they cannot be installed for another reason.
pub fn sdks() -> Result<Option<PathBuf>> {
    if_reachable("sdks.sh")
}

/// The folder with the Go programs of the conformance suite, built when they changed; Go and what they import are fetched on the
/// first call.
///
/// # Errors
/// If they cannot be fetched or built.
pub fn go_programs() -> Result<PathBuf> {
    printed_by("golang.sh")
}

/// The folder with the Rust programs of the conformance suite, built when they changed; none where cargo's registry is not reachable.
///
/// # Errors
/// If they cannot be built for another reason.
pub fn rust_programs() -> Result<Option<PathBuf>> {
    if_reachable("rust.sh")
}

fn printed_by(script: &str) -> Result<PathBuf> {
    folder_in(script, &output_of(script)?)
}

/// None if the script says that what it needs is nowhere to be had.
fn if_reachable(script: &str) -> Result<Option<PathBuf>> {
    /// `EX_TEMPFAIL`.
    const UNREACHABLE: i32 = 75;
    let output = output_of(script)?;
    match output.status.code() {
        Some(UNREACHABLE) => Ok(None),
        _ => folder_in(script, &output).map(Some),
    }
}

fn output_of(script: &str) -> Result<Output> {
    let script = format!(
        "{}/crates/wharf-testkit/fixtures/{script}",
        env!("WHARF_ROOT")
    );
    let output = Command::new("bash").arg(&script).output();
    output.context(script)
}

fn folder_in(script: &str, output: &Output) -> Result<PathBuf> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{script}: {stderr}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    Ok(PathBuf::from(stdout.trim_end()))
}
