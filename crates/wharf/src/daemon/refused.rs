//! Flags and keys of dockerd's that have nothing behind them here, each with why.

/// Flag, key of the file, and why not.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "authorization-plugin",
        "authorization-plugins",
        "there are no plugins",
    ),
    (
        "bridge-accept-fwmark",
        "bridge-accept-fwmark",
        "not built yet",
    ),
    (
        "containerd",
        "containerd",
        "there is no containerd: the daemon starts its shims itself",
    ),
    (
        "containerd-namespace",
        "containerd-namespace",
        "there is no containerd",
    ),
    (
        "containerd-plugins-namespace",
        "containerd-plugins-namespace",
        "there is no containerd",
    ),
    ("cri-containerd", "cri-containerd", "there is no containerd"),
    (
        "cpu-rt-period",
        "cpu-rt-period",
        "daemon-scoped cpu-rt-period and cpu-rt-runtime are not supported: give containers theirs",
    ),
    (
        "cpu-rt-runtime",
        "cpu-rt-runtime",
        "daemon-scoped cpu-rt-period and cpu-rt-runtime are not supported: give containers theirs",
    ),
    (
        "init-path",
        "init-path",
        "the init of containers is a part of wharf-shim",
    ),
    ("ip-forward-no-drop", "ip-forward-no-drop", "not built yet"),
    (
        "ip6tables",
        "ip6tables",
        "one table of nftables has both families: use iptables",
    ),
    (
        "network-control-plane-mtu",
        "network-control-plane-mtu",
        "there is no Swarm",
    ),
    (
        "node-generic-resource",
        "node-generic-resources",
        "there is no Swarm",
    ),
    ("rootless", "rootless", "not built yet"),
    (
        "selinux-enabled",
        "selinux-enabled",
        "labels of SELinux are not built yet",
    ),
    ("storage-opt", "storage-opts", "there is none"),
    (
        "swarm-default-advertise-addr",
        "swarm-default-advertise-addr",
        "there is no Swarm",
    ),
    (
        "userland-proxy-path",
        "userland-proxy-path",
        "the proxy is a part of the daemon",
    ),
    ("", "min-api-version", "versions from 1.24 on are served"),
    ("", "nri-opts", "not built yet"),
];

/// Why the flag (`--name`) is refused, if it is dockerd's.
pub(crate) fn flag(flag: &str) -> Option<&'static str> {
    let name = flag.strip_prefix("--")?;
    let found = REFUSED.iter().find(|(known, ..)| *known == name);
    found.map(|(.., why)| *why)
}

/// Why the key is refused, if it is dockerd's.
pub(super) fn key(key: &str) -> Option<&'static str> {
    let found = REFUSED.iter().find(|(_, known, _)| *known == key);
    found.map(|(.., why)| *why)
}
