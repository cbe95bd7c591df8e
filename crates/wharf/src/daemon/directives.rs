//! Everything that a flag or a key of `daemon.json` can say, under dockerd's own names. One that cannot work yet is not
//! here, so it is an error; [`super::refused`] says which.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The flags, and the keys of the file. What is not said is not there.
#[derive(Clone, Debug, Default, clap::Args, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Directives {
    /// Daemon socket(s) to serve the API on
    #[arg(short = 'H', long = "host", value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hosts: Vec<String>,
    /// Folder of everything that must not be lost
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data_root: Option<PathBuf>,
    /// Folder of what does not outlive the machine's run
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exec_root: Option<PathBuf>,
    /// File to write the daemon's process id to
    #[arg(short = 'p', long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pidfile: Option<PathBuf>,
    /// Log debug messages
    #[arg(short = 'D', long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) debug: Option<bool>,
    /// Lowest level of messages that are logged (trace, debug, info, warn, error, fatal)
    #[arg(short = 'l', long, value_name = "LEVEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) log_level: Option<String>,
    /// How messages are logged: `text` or `json`
    #[arg(long, value_name = "FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) log_format: Option<String>,
    /// Log without colours (it never has any)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) raw_logs: Option<bool>,
    /// Group of the Unix socket
    #[arg(short = 'G', long, value_name = "GROUP")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<String>,
    /// Proxy to registries that are spoken to without TLS
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http_proxy: Option<String>,
    /// Proxy to registries that are spoken to by TLS
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) https_proxy: Option<String>,
    /// Hosts that no proxy is needed for, with commas between them
    #[arg(long, value_name = "HOSTS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) no_proxy: Option<String>,
    /// Address of the default bridge, with its prefix
    #[arg(long, value_name = "CIDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bip: Option<String>,
    /// IPv6 address of the default bridge, with its prefix
    #[arg(long, value_name = "CIDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bip6: Option<String>,
    /// IPv4 addresses for containers of the default bridge
    #[arg(long, value_name = "CIDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fixed_cidr: Option<String>,
    /// IPv6 addresses for containers of the default bridge
    #[arg(long, value_name = "CIDR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fixed_cidr_v6: Option<String>,
    /// IPv4 default gateway of containers of the default bridge
    #[arg(long, value_name = "IP")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) default_gateway: Option<Ipv4Addr>,
    /// IPv6 default gateway of containers of the default bridge
    #[arg(long, value_name = "IP")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) default_gateway_v6: Option<Ipv6Addr>,
    /// Give containers of the default bridge IPv6 addresses
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ipv6: Option<bool>,
    /// Option of all new networks of a driver
    #[arg(long = "default-network-opt", value_name = "DRIVER=KEY=VALUE")]
    #[serde(with = "named", skip_serializing_if = "Vec::is_empty")]
    pub(super) default_network_opts: Vec<Named<BTreeMap<String, String>>>,
    /// Let others reach published ports at the containers' own addresses, too
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) allow_direct_routing: Option<bool>,
    /// What writes the firewall rules: `nftables`
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) firewall_backend: Option<String>,
    /// How published ports meet the host's own firewall: `translate` or `respect-host-firewall`
    #[arg(long, value_name = "POLICY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) publish_policy: Option<String>,
    /// Default bridge; `none` for no bridge
    #[arg(short = 'b', long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bridge: Option<String>,
    /// MTU of the default bridge
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mtu: Option<i64>,
    /// Let containers of the default bridge talk to each other
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) icc: Option<bool>,
    /// Write firewall rules (nftables)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) iptables: Option<bool>,
    /// Switch on the kernel's forwarding of packets
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ip_forward: Option<bool>,
    /// Hide containers behind the host's address
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ip_masq: Option<bool>,
    /// Serve published ports where translation does not reach them
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) userland_proxy: Option<bool>,
    /// Host address of ports that are published without one
    #[arg(long, value_name = "IP", value_parser = address)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "some_address"
    )]
    pub(super) ip: Option<IpAddr>,
    /// Address that `host-gateway` in --add-host stands for
    #[arg(long, value_name = "IP", value_parser = address)]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "some_address"
    )]
    pub(super) host_gateway_ip: Option<IpAddr>,
    /// Pool of addresses for networks: base=CIDR,size=PREFIX
    #[arg(long = "default-address-pool", value_name = "POOL")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) default_address_pools: Vec<AddressPool>,
    /// Mirrors of Docker Hub, tried in order
    #[arg(long = "registry-mirror", value_name = "URL")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) registry_mirrors: Vec<String>,
    /// Mirrors of any registry, tried in order, by the beginning of images' names (in the file only)
    #[arg(skip)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) registries: BTreeMap<String, Vec<String>>,
    /// Registries that may be spoken to without TLS
    #[arg(long = "insecure-registry", value_name = "HOST")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) insecure_registries: Vec<String>,
    /// Layers that are downloaded at the same time
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_concurrent_downloads: Option<i64>,
    /// Layers that are uploaded at the same time
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_concurrent_uploads: Option<i64>,
    /// How often a download is tried
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_download_attempts: Option<i64>,
    /// Log driver of containers that name none
    #[arg(long, value_name = "DRIVER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) log_driver: Option<String>,
    /// Log options of containers that name none
    #[arg(long = "log-opt", value_name = "KEY=VALUE")]
    #[serde(with = "named", skip_serializing_if = "Vec::is_empty")]
    pub(super) log_opts: Vec<Named<String>>,
    /// DNS servers of containers that name none
    #[arg(long, value_name = "IP", value_parser = address)]
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "addresses")]
    pub(super) dns: Vec<IpAddr>,
    /// DNS search domains
    #[arg(long, value_name = "DOMAIN")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) dns_search: Vec<String>,
    /// DNS options
    #[arg(long = "dns-opt", value_name = "OPTION")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) dns_opts: Vec<String>,
    /// Labels of the daemon
    #[arg(long = "label", value_name = "KEY=VALUE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) labels: Vec<String>,
    /// Ulimits of containers
    #[arg(long = "default-ulimit", value_name = "NAME=SOFT[:HARD]")]
    #[serde(with = "named", skip_serializing_if = "Vec::is_empty")]
    pub(super) default_ulimits: Vec<Named<UlimitConfig>>,
    /// Size of /dev/shm of containers
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) default_shm_size: Option<String>,
    /// Parent control group of containers
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cgroup_parent: Option<String>,
    /// Namespace of control groups of containers that name none: `host` or `private`
    #[arg(long, value_name = "MODE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) default_cgroupns_mode: Option<String>,
    /// IPC namespace of containers that name none: `private` or `shareable`
    #[arg(long, value_name = "MODE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) default_ipc_mode: Option<String>,
    /// Runtime options: `native.cgroupdriver=cgroupfs` or `systemd`
    #[arg(long = "exec-opt", value_name = "KEY=VALUE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) exec_opts: Vec<String>,
    /// A further OCI runtime that containers can ask for
    #[arg(long = "add-runtime", value_name = "NAME=PATH")]
    #[serde(with = "named", skip_serializing_if = "Vec::is_empty")]
    pub(super) runtimes: Vec<Named<Runtime>>,
    /// OCI runtime of containers that ask for none
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) default_runtime: Option<String>,
    /// Seccomp profile of containers: `builtin`, `unconfined` or a file
    #[arg(long, value_name = "PROFILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seccomp_profile: Option<String>,
    /// Folders of CDI files
    #[arg(long = "cdi-spec-dir", value_name = "DIR")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) cdi_spec_dirs: Vec<PathBuf>,
    /// User of the host whose subordinate ids containers' users are: `default`, USER or USER:GROUP
    #[arg(long, value_name = "USER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) userns_remap: Option<String>,
    /// Run an init in containers
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) init: Option<bool>,
    /// Set no-new-privileges for containers
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) no_new_privileges: Option<bool>,
    /// Leave containers running when the daemon stops
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) live_restore: Option<bool>,
    /// Seconds for containers to stop when the daemon does; -1 for no limit
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shutdown_timeout: Option<i64>,
    /// Say that experimental features are wanted
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) experimental: Option<bool>,
    /// Switch a feature on or off
    #[arg(long = "feature", value_name = "NAME[=BOOL]")]
    #[serde(with = "named", skip_serializing_if = "Vec::is_empty")]
    pub(super) features: Vec<Named<bool>>,
    /// What builds may do, and what stays of them: in the file alone.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) builder: Option<serde_json::Value>,
    /// TCP address to serve metrics on, for Prometheus
    #[arg(long, value_name = "HOST:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metrics_addr: Option<String>,
    /// Storage driver: overlay2
    #[arg(short = 's', long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) storage_driver: Option<String>,
    /// Speak TLS on TCP
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls: Option<bool>,
    /// Speak TLS on TCP, only with clients that have a certificate of the authority
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tlsverify: Option<bool>,
    /// Certificates of the authorities of clients (default: ca.pem in DOCKER_CERT_PATH or ~/.docker)
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tlscacert: Option<PathBuf>,
    /// The daemon's certificate (default: cert.pem)
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tlscert: Option<PathBuf>,
    /// The key of the certificate (default: key.pem)
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tlskey: Option<PathBuf>,
}

/// An entry of a map of the file, and one flag of those that may be given several times.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Named<T> {
    pub(super) name: String,
    pub(super) value: T,
}

/// An entry of `default-ulimits`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UlimitConfig {
    #[serde(default)]
    pub(super) name: String,
    pub(super) soft: i64,
    pub(super) hard: i64,
}

/// An entry of `default-address-pools`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddressPool {
    pub(super) base: String,
    pub(super) size: u8,
}

/// An entry of `runtimes`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Runtime {
    pub(super) path: String,
    pub(super) runtime_args: Vec<String>,
    pub(super) runtime_type: String,
    pub(super) options: serde_json::Map<String, serde_json::Value>,
}

impl FromStr for Named<String> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = text.split_once('=');
        let (name, value) = split.ok_or_else(|| format!("invalid logging option: {text}"))?;
        Ok(Self {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

impl FromStr for Named<bool> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').unwrap_or((text, "true"));
        let value = match value {
            "true" | "1" => true,
            "false" | "0" => false,
            other => {
                return Err(format!(
                    "invalid boolean value {other:?} for feature {name}"
                ));
            }
        };
        Ok(Self {
            name: name.to_owned(),
            value,
        })
    }
}

impl FromStr for Named<BTreeMap<String, String>> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("invalid default network option {text:?}: use DRIVER=KEY=VALUE");
        let (name, option) = text.split_once('=').ok_or_else(invalid)?;
        let (key, value) = option.split_once('=').ok_or_else(invalid)?;
        Ok(Self {
            name: name.to_owned(),
            value: BTreeMap::from([(key.to_owned(), value.to_owned())]),
        })
    }
}

impl FromStr for Named<UlimitConfig> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let limit = crate::options::resources::ulimit(text)?;
        let number = |key: &str| limit[key].as_i64().unwrap_or_default();
        let name = limit["Name"].as_str().unwrap_or_default().to_owned();
        let (soft, hard) = (number("Soft"), number("Hard"));
        Ok(Self {
            value: UlimitConfig {
                name: name.clone(),
                soft,
                hard,
            },
            name,
        })
    }
}

impl FromStr for Named<Runtime> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = text
            .split_once('=')
            .filter(|(name, path)| !name.is_empty() && !path.is_empty());
        let (name, path) =
            split.ok_or_else(|| format!("invalid runtime: {text}: use NAME=PATH"))?;
        Ok(Self {
            name: name.trim().to_lowercase(),
            value: Runtime {
                path: path.trim().to_owned(),
                ..Runtime::default()
            },
        })
    }
}

impl FromStr for AddressPool {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut base, mut size) = (None, None);
        for field in text.split(',') {
            match field.split_once('=') {
                Some(("base", value)) => base = Some(value.to_owned()),
                Some(("size", value)) => {
                    let number = value.parse();
                    size = Some(number.map_err(|_| format!("invalid size value: {value}"))?);
                }
                Some((key, _)) => return Err(format!("unexpected key '{key}' in '{field}'")),
                None => return Err(format!("invalid field '{field}' must be a key=value pair")),
            }
        }
        match (base, size) {
            (Some(base), Some(size)) => Ok(Self { base, size }),
            _ => Err(format!(
                "invalid address pool {text}: use base=CIDR,size=PREFIX"
            )),
        }
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse()
        .map_err(|_| format!("invalid IP address: {text}"))
}

fn some_address<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<IpAddr>, D::Error> {
    let text = String::deserialize(from)?;
    let some = (!text.is_empty()).then(|| address(&text).map_err(serde::de::Error::custom));
    some.transpose()
}

fn addresses<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<IpAddr>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let each = texts.iter().map(|text| address(text));
    each.collect::<Result<_, _>>()
        .map_err(serde::de::Error::custom)
}

/// A map in the file is a list of flags.
mod named {
    use super::{BTreeMap, Deserialize, Named, Serialize};

    pub(super) fn serialize<T: Serialize, S: serde::Serializer>(
        list: &[Named<T>],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_map(list.iter().map(|one| (&one.name, &one.value)))
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Named<T>>, D::Error> {
        let map = BTreeMap::<String, T>::deserialize(from)?;
        let each = map.into_iter().map(|(name, value)| Named { name, value });
        Ok(each.collect())
    }
}
