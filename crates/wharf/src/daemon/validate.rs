//! Whether what is said makes sense, in dockerd's words (moby `daemon/config`, `Validate`).

use anyhow::{Result, bail};

use super::directives::Directives;

const LEVELS: &[&str] = &[
    "trace", "debug", "info", "warn", "warning", "error", "fatal", "panic",
];
/// Switches of dockerd's that say what is the case here, whichever way they stand, and the one that is heard.
const FEATURES: &[&str] = &["buildkit", "cdi", "containerd-snapshotter"];

pub(super) fn check(said: &Directives) -> Result<()> {
    if let Some(level) = said.log_level.as_deref()
        && !LEVELS.contains(&level)
    {
        bail!("invalid logging level: {level}");
    }
    if let Some(format) = said.log_format.as_deref()
        && !matches!(format, "text" | "json")
    {
        bail!("invalid log format: {format}");
    }
    if let Some(domain) = said.dns_search.iter().find(|domain| !is_domain(domain)) {
        bail!("{domain} is not a valid domain");
    }
    if let Some(label) = said.labels.iter().find(|label| !label.contains('=')) {
        bail!("bad attribute format: {label}");
    }
    let numbers = [
        (said.mtu, "default MTU"),
        (said.max_concurrent_downloads, "max concurrent downloads"),
        (said.max_concurrent_uploads, "max concurrent uploads"),
        (said.max_download_attempts, "max download attempts"),
    ];
    for (number, name) in numbers {
        if let Some(number) = number.filter(|number| *number < 0) {
            bail!("invalid {name}: {number}");
        }
    }
    modes(said)?;
    contradictions(said)?;
    metrics(said)?;
    if let Some(driver) = said.storage_driver.as_deref()
        && !matches!(driver, "" | "overlay2" | "overlayfs")
    {
        bail!("storage driver {driver} is not supported: layers are overlay2's");
    }
    match said
        .features
        .iter()
        .find(|one| !FEATURES.contains(&one.name.as_str()))
    {
        Some(unknown) => bail!("unknown feature: {}", unknown.name),
        None => Ok(()),
    }
}

/// moby `daemon_unix.go`, `verifyDaemonSettings`.
fn contradictions(said: &Directives) -> Result<()> {
    let is_given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if is_given(&said.bridge) && is_given(&said.bip) {
        bail!("You specified -b & --bip, mutually exclusive options. Please specify only one");
    }
    if said.iptables == Some(false) && said.icc == Some(false) {
        bail!(
            "You specified --iptables=false with --icc=false. ICC=false uses iptables to function. Please set --icc or --iptables to true"
        );
    }
    Ok(())
}

fn metrics(said: &Directives) -> Result<()> {
    let address = said.metrics_addr.as_deref().unwrap_or_default();
    let port = address
        .rsplit_once(':')
        .map(|(_, port)| port.parse::<u16>());
    match (address, port) {
        ("", _) | (_, Some(Ok(_))) => Ok(()),
        _ => bail!("invalid metrics-addr {address}: use HOST:PORT"),
    }
}

fn modes(said: &Directives) -> Result<()> {
    match said.default_ipc_mode.as_deref() {
        None | Some("" | "private" | "shareable") => {}
        Some(mode) => bail!(
            "IPC mode {mode:?} is not supported as default value; use \"shareable\" or \"private\""
        ),
    }
    match said.default_cgroupns_mode.as_deref() {
        None | Some("host" | "private") => Ok(()),
        Some(mode) => {
            bail!("default cgroup namespace mode ({mode}) is invalid; use \"host\" or \"private\"")
        }
    }
}

fn is_domain(domain: &str) -> bool {
    let name = domain.trim_end_matches('.');
    let part = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter))
    };
    domain == "." || (domain.len() < 255 && name.split('.').all(part))
}
