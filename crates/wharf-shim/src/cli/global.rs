//! What is said before the command's name.

use std::path::PathBuf;

use super::flags::{Flag, Said, Takes};

pub(crate) const FLAGS: &[Flag] = &[
    ("debug", "", Takes::Nothing, "say what is done"),
    (
        "log",
        "",
        Takes::Value,
        "the file that failures are written to (default: standard error)",
    ),
    (
        "log-format",
        "",
        Takes::Value,
        "its format: text (default) or json",
    ),
    (
        "root",
        "",
        Takes::Value,
        "the folder of the containers' states (default: /run/wharf-shim)",
    ),
    (
        "criu",
        "",
        Takes::Value,
        "refused: there is no checkpointing",
    ),
    (
        "systemd-cgroup",
        "",
        Takes::Nothing,
        "enable systemd cgroup support, expects cgroupsPath to be of form \"slice:prefix:name\" for e.g. \"system.slice:runc:434234\"",
    ),
    (
        "rootless",
        "",
        Takes::Value,
        "go on without control groups that may not be made: true, false or auto (default)",
    ),
    ("help", "h", Takes::Nothing, "show help"),
    ("version", "v", Takes::Nothing, "print the version"),
];

/// What is said before the command's name, understood.
#[derive(Debug)]
pub(crate) struct Global {
    pub(crate) root: PathBuf,
    pub(crate) log: Option<PathBuf>,
    pub(crate) log_json: bool,
    pub(crate) debug: bool,
    /// Go on without control groups if they may not be made.
    pub(crate) rootless: bool,
    /// Groups are systemd's scopes.
    pub(crate) systemd: bool,
}

impl Global {
    pub(crate) fn of(said: &Said) -> Result<Self, String> {
        let mut global = Self {
            root: root(said),
            log: said
                .value("log")
                .filter(|path| !path.is_empty() && *path != "/dev/stderr")
                .map(Into::into),
            log_json: false,
            debug: said.has("debug"),
            rootless: false,
            systemd: said.has("systemd-cgroup"),
        };
        match said.value("log-format") {
            None | Some("" | "text") => {}
            Some("json") => global.log_json = true,
            Some(other) => return Err(format!("invalid log-format: {other}")),
        }
        global.rootless = match said.value("rootless") {
            Some("true") => true,
            Some("false") => false,
            None | Some("" | "auto") => {
                !rustix::process::geteuid().is_root() || is_in_user_namespace()
            }
            Some(other) => {
                return Err(format!(
                    "strconv.ParseBool: parsing \"{other}\": invalid syntax"
                ));
            }
        };
        Ok(global)
    }
}

/// Whether root is not the host's. Where the kernel does not say, there are no user namespaces.
fn is_in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map");
    map.is_ok_and(|map| !is_whole(&map))
}

/// Whether a `uid_map` leads every id to itself.
fn is_whole(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

fn root(said: &Said) -> PathBuf {
    if let Some(root) = said.value("root") {
        return std::path::absolute(root).unwrap_or_else(|_| root.into());
    }
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    match own.filter(|_| !rustix::process::geteuid().is_root()) {
        Some(folder) => PathBuf::from(folder).join("wharf-shim"),
        None => "/run/wharf-shim".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn the_host_s_root_has_all_ids() {
        assert!(is_whole("         0          0 4294967295\n"));
        assert!(!is_whole("         0     100000      65536\n"));
        assert!(!is_whole(
            "         0       1000          1\n         1     100000      65536\n"
        ));
    }
}
