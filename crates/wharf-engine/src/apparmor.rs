//! AppArmor: which profile a container runs under, and the default one of them.
//!
//! Profiles are compiled by the distribution's `apparmor_parser`: there is no other way to make what the kernel
//! takes. It is run once in the life of a kernel, when a container first wants the default profile.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{EngineError, HostConfig};

/// dockerd's name, so that a profile that it has loaded serves as well, and tools that look for it find it.
pub(crate) const DEFAULT: &str = "docker-default";
const UNCONFINED: &str = "unconfined";
const PROFILES: &str = "/sys/kernel/security/apparmor/profiles";
/// Where Debian, SUSE and Arch have it; services may run without it in their PATH.
const PARSERS: &[&str] = &[
    "/sbin/apparmor_parser",
    "/usr/sbin/apparmor_parser",
    "/usr/bin/apparmor_parser",
];

/// Whether the kernel confines programs by profile here (containerd `apparmor.HostSupports`).
pub(crate) fn is_enabled() -> bool {
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    enabled.is_ok_and(|text| text.starts_with('Y'))
        && Path::new(PROFILES).exists()
        && std::env::var_os("container").is_none_or(|value| value.is_empty())
}

/// The profile of a container; empty on a host without AppArmor, whatever is asked for, as in dockerd.
pub(crate) fn profile(host: &HostConfig) -> String {
    match is_enabled() {
        true => chosen(host),
        false => String::new(),
    }
}

fn chosen(host: &HostConfig) -> String {
    if host.privileged {
        return UNCONFINED.to_owned();
    }
    let said = host.security_opt.iter().rev().find_map(|option| {
        let (key, name) = option.split_once(['=', ':'])?;
        (key == "apparmor").then_some(name)
    });
    said.filter(|name| !name.is_empty())
        .unwrap_or(DEFAULT)
        .to_owned()
}

/// Sees to it that the kernel has `profile`, if it is the default one.
///
/// # Errors
/// In dockerd's words, if it cannot be loaded.
pub(crate) fn ensure(profile: &str) -> Result<(), EngineError> {
    if profile != DEFAULT || is_loaded(DEFAULT) {
        return Ok(());
    }
    load().map_err(|error| {
        EngineError::Failed(format!(
            "AppArmor enabled on system but the {DEFAULT} profile could not be loaded: {error}"
        ))
    })
}

fn is_loaded(name: &str) -> bool {
    let text = std::fs::read_to_string(PROFILES).unwrap_or_default();
    let names = text
        .lines()
        .filter_map(|line| line.rsplit_once(" (").map(|(name, _)| name));
    names.into_iter().any(|known| known == name)
}

fn load() -> io::Result<()> {
    let parser = PARSERS.iter().find(|path| Path::new(path).exists());
    let parser = parser.ok_or_else(|| {
        io::Error::other("exec: \"apparmor_parser\": executable file not found in $PATH")
    })?;
    let mut child = Command::new(parser)
        .args(["--skip-cache", "--replace"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(text(&own_profile(), Path::new("/etc/apparmor.d")).as_bytes())?;
    }
    let output = child.wait_with_output()?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(io::Error::other(format!(
                "{parser}: {}: {}",
                output.status,
                said.trim()
            )))
        }
    }
}

/// The daemon's own profile: it signals containers.
fn own_profile() -> String {
    let text = std::fs::read_to_string("/proc/self/attr/apparmor/current")
        .or_else(|_| std::fs::read_to_string("/proc/self/attr/current"));
    let text = text.unwrap_or_default();
    let name = text.split(" (").next().unwrap_or_default().trim();
    if name.is_empty() { UNCONFINED } else { name }.to_owned()
}

/// The default profile: what it allows and denies is what dockerd's of the same name does, so that what runs under
/// the one runs under the other.
fn text(daemon: &str, folder: &Path) -> String {
    let tunables = match folder.join("tunables/global").exists() {
        true => "#include <tunables/global>",
        false => "@{PROC}=/proc/",
    };
    let base = match folder.join("abstractions/base").exists() {
        true => "#include <abstractions/base>",
        false => "",
    };
    format!(
        r#"{tunables}
profile {DEFAULT} flags=(attach_disconnected,mediate_deleted) {{
  {base}
  network,
  # The kernel's ciphers and the machine's own bus, also by the calls that seccomp cannot look into.
  deny network alg,
  deny network vsock,
  capability,
  file,
  umount,

  # Who may end us: those outside, the daemon, other runtimes, and each other.
  signal (receive) peer=unconfined,
  signal (receive) peer="{daemon}",
  signal (receive) peer=runc,
  signal (receive) peer=crun,
  signal (send,receive) peer={DEFAULT},
  ptrace (trace,read,tracedby,readby) peer={DEFAULT},

  deny mount,

  # Of /proc only what belongs to processes may be written, and of /proc/sys only kernel/shm*.
  deny @{{PROC}}/* w,
  deny @{{PROC}}/{{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}}/** w,
  deny @{{PROC}}/sys/[^k]** w,
  deny @{{PROC}}/sys/kernel/{{?,??,[^s][^h][^m]**}} w,
  deny @{{PROC}}/sysrq-trigger rwklx,
  deny @{{PROC}}/kcore rwklx,

  # Of /sys only the control groups may be written.
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(privileged: bool, options: &[&str]) -> HostConfig {
        HostConfig {
            privileged,
            security_opt: options.iter().map(|option| (*option).to_owned()).collect(),
            ..HostConfig::default()
        }
    }

    #[test]
    fn a_profile_is_chosen() {
        assert_eq!(chosen(&host(false, &[])), "docker-default");
        assert_eq!(chosen(&host(true, &["apparmor=own"])), "unconfined");
        assert_eq!(
            chosen(&host(false, &["apparmor=own", "no-new-privileges"])),
            "own"
        );
        assert_eq!(chosen(&host(false, &["apparmor:unconfined"])), "unconfined");
    }

    #[test]
    fn the_text_needs_nothing_that_is_not_there() {
        let bare = text("unconfined", Path::new("/nonexistent"));
        assert!(
            bare.starts_with("@{PROC}=/proc/\nprofile docker-default ")
                && !bare.contains("#include")
        );
    }
}
