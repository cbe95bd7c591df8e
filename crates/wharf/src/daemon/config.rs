//! `daemon.json`, with dockerd's keys. An unknown key or a wrong type is an error that names key and line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// The file. Every field is a key of dockerd's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct ConfigFile {
    pub(super) hosts: Vec<String>,
    pub(super) data_root: Option<PathBuf>,
    pub(super) exec_root: Option<PathBuf>,
    pub(super) pidfile: Option<PathBuf>,
    pub(super) debug: Option<bool>,
    pub(super) log_level: Option<String>,
    pub(super) group: Option<String>,
    pub(super) bip: Option<String>,
    pub(super) bridge: Option<String>,
    pub(super) mtu: Option<u32>,
    pub(super) icc: Option<bool>,
    pub(super) iptables: Option<bool>,
    pub(super) ip_forward: Option<bool>,
    pub(super) ip_masq: Option<bool>,
    pub(super) userland_proxy: Option<bool>,
    pub(super) ip: Option<std::net::IpAddr>,
    pub(super) default_address_pools: Vec<AddressPool>,
    pub(super) registry_mirrors: Vec<String>,
    pub(super) insecure_registries: Vec<String>,
    pub(super) max_concurrent_downloads: Option<usize>,
    pub(super) log_driver: Option<String>,
    pub(super) log_opts: BTreeMap<String, String>,
    pub(super) dns: Vec<String>,
    pub(super) dns_search: Vec<String>,
    pub(super) dns_opts: Vec<String>,
    pub(super) labels: Vec<String>,
    pub(super) default_ulimits: BTreeMap<String, UlimitConfig>,
    pub(super) default_shm_size: Option<String>,
    pub(super) cgroup_parent: Option<String>,
    pub(super) default_cgroupns_mode: Option<String>,
    pub(super) exec_opts: Vec<String>,
    pub(super) init: Option<bool>,
    pub(super) no_new_privileges: Option<bool>,
    pub(super) live_restore: Option<bool>,
    pub(super) shutdown_timeout: Option<u64>,
    pub(super) tls: Option<bool>,
    pub(super) tlsverify: Option<bool>,
    pub(super) tlscacert: Option<PathBuf>,
    pub(super) tlscert: Option<PathBuf>,
    pub(super) tlskey: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddressPool {
    pub(super) base: String,
    pub(super) size: u8,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct UlimitConfig {
    #[serde(rename = "Name")]
    #[serde(default)]
    pub(super) name: String,
    #[serde(rename = "Soft")]
    pub(super) soft: i64,
    #[serde(rename = "Hard")]
    pub(super) hard: i64,
}

impl ConfigFile {
    /// Reads `path`. The default one need not be there.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound
                    && path == Path::new("/etc/wharf/daemon.json") =>
            {
                return Ok(Self::default());
            }
            other => other.with_context(|| format!("read {}", path.display()))?,
        };
        Self::parse(&text).map_err(|error| {
            error.context(format!(
                "unable to configure the daemon with file {}",
                path.display()
            ))
        })
    }

    fn parse(text: &str) -> Result<Self> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let error = match serde_json::from_str(text) {
            Ok(config) => return Ok(config),
            Err(error) => error,
        };
        // A wrong type: serde knows the line, the line knows the key.
        let line = text
            .lines()
            .nth(error.line().saturating_sub(1))
            .unwrap_or_default();
        let key = line.split('"').nth(1).unwrap_or_default();
        match error.to_string().contains(key) && !key.is_empty() {
            true => bail!("{error}"),
            false => bail!("key {key:?}: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_keys_are_read() {
        let config = ConfigFile::parse(
            r#"{"registry-mirrors": ["http://m"], "log-opts": {"max-size": "1m"}, "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1, "Hard": 2}}}"#,
        );
        let config = config.expect("config");
        assert_eq!(config.registry_mirrors, ["http://m"]);
        assert_eq!(config.log_opts["max-size"], "1m");
        assert_eq!(config.default_ulimits["nofile"].hard, 2);
    }

    #[test]
    fn an_unknown_key_and_a_wrong_type_are_named_with_their_line() {
        let unknown = ConfigFile::parse("{\n  \"registry-mirror\": []\n}")
            .expect_err("unknown")
            .to_string();
        assert!(
            unknown.contains("registry-mirror") && unknown.contains("line 2"),
            "{unknown}"
        );
        let wrong = ConfigFile::parse("{\n  \"debug\": \"yes\"\n}")
            .expect_err("wrong")
            .to_string();
        assert!(
            wrong.contains("debug") && wrong.contains("line 2"),
            "{wrong}"
        );
    }
}
