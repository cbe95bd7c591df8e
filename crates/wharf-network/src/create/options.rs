//! Options of the bridge driver, by Docker's names.

use std::net::IpAddr;

use crate::{GatewayMode, NetworkError, NewNetwork, Ways};

/// Where Docker's options have their names.
pub(super) const PREFIX: &str = "com.docker.network.";

/// What the options say; `None` where they say nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) bridge_name: Option<String>,
    pub(super) mtu: Option<u32>,
    pub(super) icc: Option<bool>,
    pub(super) masquerade: Option<bool>,
    pub(super) host_binding: Option<IpAddr>,
    pub(super) link_prefix: Option<String>,
    pub(super) ways: Ways,
    pub(super) inhibit_ipv4: bool,
    pub(super) trusted: Vec<String>,
}

impl Options {
    /// Reads all options. Those outside of Docker's names are somebody else's, and kept; one with such a name that
    /// does nothing here is refused.
    pub(super) fn read(new: &NewNetwork) -> Result<Self, NetworkError> {
        let mut read = Self::default();
        for (key, value) in &new.options {
            let Some(known) = key.strip_prefix(PREFIX) else {
                continue;
            };
            match known {
                // As dockerd: a name that is none is the usual one.
                "bridge.name" | "container_iface_prefix" if value.is_empty() => {}
                "bridge.name" => read.bridge_name = Some(link_name(key, value)?),
                "bridge.enable_icc" => read.icc = Some(boolean(key, value)?),
                "bridge.enable_ip_masquerade" => read.masquerade = Some(boolean(key, value)?),
                "bridge.host_binding_ipv4" => {
                    let bad = |_| wrong(key, value, "nil ip");
                    read.host_binding = Some(value.parse().map_err(bad)?);
                }
                "bridge.gateway_mode_ipv4" => read.ways.v4.mode = mode(key, value, new.internal)?,
                "bridge.gateway_mode_ipv6" => read.ways.v6.mode = mode(key, value, new.internal)?,
                "bridge.inhibit_ipv4" => read.inhibit_ipv4 = boolean(key, value)?,
                "bridge.trusted_host_interfaces" => {
                    let names = value.split(':').map(|name| link_name(key, name));
                    read.trusted = names.collect::<Result<_, _>>()?;
                }
                "host_ipv4" => read.ways.v4.source = Some(address(key, value)?),
                "host_ipv6" => read.ways.v6.source = Some(address(key, value)?),
                "driver.mtu" => read.mtu = mtu(key, value)?,
                "container_iface_prefix" => read.link_prefix = Some(link_name(key, value)?),
                // Read by `families`.
                "enable_ipv4" | "enable_ipv6" => {}
                "bridge.default_bridge" if boolean(key, value)? => {
                    return Err(NetworkError::Forbidden(
                        "Creation of default bridge network is not allowed".to_owned(),
                    ));
                }
                "bridge.default_bridge" => {}
                _ => return Err(unknown(key, value, "bridge")),
            }
        }
        Ok(read)
    }

    /// Whether the host needs an address of IPv4, and of IPv6.
    pub(super) fn hosts(&self) -> (bool, bool) {
        let isolated = GatewayMode::Isolated;
        (
            self.ways.v4.mode != isolated && !self.inhibit_ipv4,
            self.ways.v6.mode != isolated,
        )
    }
}

/// Whether the network shall have IPv4, and IPv6; an old way to say so are options.
pub(super) fn families(new: &NewNetwork) -> Result<(bool, bool), NetworkError> {
    let option = |name: &str| {
        let key = format!("{PREFIX}{name}");
        let value = new.options.get(&key);
        value.map(|value| boolean(&key, value)).transpose()
    };
    let v4 = match new.ipv4 {
        Some(v4) => v4,
        None => option("enable_ipv4")?.unwrap_or(true),
    };
    let v6 = match new.ipv6 {
        Some(v6) => v6,
        None => option("enable_ipv6")?.unwrap_or(false),
    };
    if v4 || v6 {
        return Ok((v4, v6));
    }
    Err(NetworkError::Invalid(
        "IPv4 or IPv6 must be enabled".to_owned(),
    ))
}

/// Docker can, or may have meant something: saying nothing would be a lie.
pub(super) fn unknown(key: &str, value: &str, driver: &str) -> NetworkError {
    let text = format!("the option {key}={value} of the network driver \"{driver}\"");
    NetworkError::NotSupported(text)
}

fn mode(key: &str, value: &str, internal: bool) -> Result<GatewayMode, NetworkError> {
    match value {
        "nat" => Ok(GatewayMode::Nat),
        "nat-unprotected" => Ok(GatewayMode::NatUnprotected),
        "routed" => Ok(GatewayMode::Routed),
        "isolated" if internal => Ok(GatewayMode::Isolated),
        "isolated" => Err(NetworkError::Invalid(
            "gateway mode 'isolated' can only be used for an internal network".to_owned(),
        )),
        _ => Err(wrong(key, value, "unknown gateway mode")),
    }
}

fn address<A: std::str::FromStr + Into<IpAddr> + Copy>(
    key: &str,
    value: &str,
) -> Result<A, NetworkError> {
    let parsed = value.parse::<A>();
    parsed.map_err(|_| wrong(key, value, "invalid IP address"))
}

/// A packet size, in bytes; 0 is Docker's word for the default.
pub(super) fn mtu(key: &str, value: &str) -> Result<Option<u32>, NetworkError> {
    if value.parse::<i64>().is_ok_and(|number| number < 0) {
        return Err(NetworkError::Invalid(format!(
            "invalid MTU number: {value}"
        )));
    }
    let reason = format!("strconv.Atoi: parsing {value:?}: invalid syntax");
    let mtu: u32 = value.parse().map_err(|_| wrong(key, value, &reason))?;
    // What the kernel takes (`ETH_MIN_MTU`, `ETH_MAX_MTU`).
    if mtu != 0 && !(68..=65535).contains(&mtu) {
        return Err(wrong(key, value, "out of range: 68 to 65535"));
    }
    Ok(Some(mtu).filter(|mtu| *mtu > 0))
}

pub(super) fn wrong(key: &str, value: &str, reason: &str) -> NetworkError {
    NetworkError::Invalid(format!("failed to parse {key} value: {value} ({reason})"))
}

fn boolean(key: &str, value: &str) -> Result<bool, NetworkError> {
    wharf_go::parse_bool(value).map_err(|reason| wrong(key, value, &reason))
}

/// The kernel's own rule, and room for a number behind a prefix.
pub(super) fn link_name(key: &str, value: &str) -> Result<String, NetworkError> {
    let limit = if key.ends_with("prefix") { 11 } else { 15 };
    let good = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':');
    if value.is_empty() || value.len() > limit || !value.chars().all(good) || value.starts_with('.')
    {
        return Err(wrong(key, value, "invalid interface name"));
    }
    Ok(value.to_owned())
}
