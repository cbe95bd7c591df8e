//! dockerd's flags, under their own names. One that cannot work yet is not there, so it is an error.

use std::path::PathBuf;

/// Flags of `wharf daemon`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DaemonArgs {
    /// Daemon socket(s) to serve the API on
    #[arg(short = 'H', long = "host", value_name = "ADDRESS")]
    pub(super) hosts: Vec<String>,
    /// Folder of everything that must not be lost
    #[arg(long, value_name = "DIR")]
    pub(super) data_root: Option<PathBuf>,
    /// Folder of what does not outlive the machine's run
    #[arg(long, value_name = "DIR")]
    pub(super) exec_root: Option<PathBuf>,
    /// File to write the daemon's process id to
    #[arg(short = 'p', long, value_name = "FILE")]
    pub(super) pidfile: Option<PathBuf>,
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/wharf/daemon.json")]
    pub(super) config_file: PathBuf,
    /// Say whether the configuration is valid, and end
    #[arg(long)]
    pub(super) validate: bool,
    /// Log debug messages
    #[arg(short = 'D', long)]
    pub(super) debug: bool,
    /// Lowest level of messages that are logged
    #[arg(short = 'l', long, value_name = "LEVEL")]
    pub(super) log_level: Option<String>,
    /// Group of the Unix socket
    #[arg(short = 'G', long, value_name = "GROUP")]
    pub(super) group: Option<String>,
    /// Address of the default bridge, with its prefix
    #[arg(long, value_name = "CIDR")]
    pub(super) bip: Option<String>,
    /// Default bridge; `none` for no bridge
    #[arg(short = 'b', long, value_name = "NAME")]
    pub(super) bridge: Option<String>,
    /// MTU of the default bridge
    #[arg(long, value_name = "BYTES")]
    pub(super) mtu: Option<u32>,
    /// Let containers of the default bridge talk to each other
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) icc: Option<bool>,
    /// Write firewall rules (nftables)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) iptables: Option<bool>,
    /// Switch on the kernel's forwarding of packets
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) ip_forward: Option<bool>,
    /// Hide containers behind the host's address
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) ip_masq: Option<bool>,
    /// Serve published ports on loopback
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) userland_proxy: Option<bool>,
    /// Host address of ports that are published without one
    #[arg(long, value_name = "IP")]
    pub(super) ip: Option<std::net::IpAddr>,
    /// Mirrors of Docker Hub, tried in order
    #[arg(long = "registry-mirror", value_name = "URL")]
    pub(super) registry_mirrors: Vec<String>,
    /// Registries that may be spoken to without TLS
    #[arg(long = "insecure-registry", value_name = "HOST")]
    pub(super) insecure_registries: Vec<String>,
    /// Layers that are downloaded at the same time
    #[arg(long, value_name = "N")]
    pub(super) max_concurrent_downloads: Option<usize>,
    /// Log driver of containers that name none
    #[arg(long, value_name = "DRIVER")]
    pub(super) log_driver: Option<String>,
    /// Log options of containers that name none
    #[arg(long = "log-opt", value_name = "KEY=VALUE")]
    pub(super) log_opts: Vec<String>,
    /// DNS servers of containers that name none
    #[arg(long, value_name = "IP")]
    pub(super) dns: Vec<String>,
    /// DNS search domains
    #[arg(long, value_name = "DOMAIN")]
    pub(super) dns_search: Vec<String>,
    /// DNS options
    #[arg(long = "dns-opt", value_name = "OPTION")]
    pub(super) dns_opts: Vec<String>,
    /// Labels of the daemon
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(super) labels: Vec<String>,
    /// Ulimits of containers
    #[arg(long = "default-ulimit", value_name = "NAME=SOFT[:HARD]")]
    pub(super) default_ulimits: Vec<String>,
    /// Size of /dev/shm of containers
    #[arg(long, value_name = "SIZE")]
    pub(super) default_shm_size: Option<String>,
    /// Parent control group of containers
    #[arg(long, value_name = "PATH")]
    pub(super) cgroup_parent: Option<String>,
    /// Namespace of control groups of containers that name none: `host` or `private`
    #[arg(long, value_name = "MODE")]
    pub(super) default_cgroupns_mode: Option<String>,
    /// Runtime options: `native.cgroupdriver=cgroupfs`
    #[arg(long = "exec-opt", value_name = "KEY=VALUE")]
    pub(super) exec_opts: Vec<String>,
    /// Run an init in containers
    #[arg(long)]
    pub(super) init: bool,
    /// Set no-new-privileges for containers
    #[arg(long)]
    pub(super) no_new_privileges: bool,
    /// Leave containers running when the daemon stops
    #[arg(long)]
    pub(super) live_restore: bool,
    /// Seconds for containers to stop when the daemon does
    #[arg(long, value_name = "SECONDS")]
    pub(super) shutdown_timeout: Option<u64>,
    /// Speak TLS on TCP
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) tls: Option<bool>,
    /// Speak TLS on TCP, only with clients that have a certificate of the authority
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) tlsverify: Option<bool>,
    /// Certificates of the authorities of clients (default: ca.pem in DOCKER_CERT_PATH or ~/.docker)
    #[arg(long, value_name = "FILE")]
    pub(super) tlscacert: Option<PathBuf>,
    /// The daemon's certificate (default: cert.pem)
    #[arg(long, value_name = "FILE")]
    pub(super) tlscert: Option<PathBuf>,
    /// The key of the certificate (default: key.pem)
    #[arg(long, value_name = "FILE")]
    pub(super) tlskey: Option<PathBuf>,
}
