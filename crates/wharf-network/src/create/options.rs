//! Options of the bridge driver, by Docker's names.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::NetworkError;

/// What the options say; `None` where they say nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) bridge_name: Option<String>,
    pub(super) mtu: Option<u32>,
    pub(super) icc: Option<bool>,
    pub(super) masquerade: Option<bool>,
    pub(super) host_binding: Option<IpAddr>,
    pub(super) link_prefix: Option<String>,
}

impl Options {
    /// Reads all options. Docker passes over those that it does not know; one that does nothing is refused here.
    pub(super) fn read(options: &BTreeMap<String, String>) -> Result<Self, NetworkError> {
        let mut read = Self::default();
        for (key, value) in options {
            let known = key.strip_prefix("com.docker.network.").unwrap_or_default();
            match known {
                "bridge.name" => read.bridge_name = Some(link_name(key, value)?),
                "bridge.enable_icc" => read.icc = Some(boolean(key, value)?),
                "bridge.enable_ip_masquerade" => read.masquerade = Some(boolean(key, value)?),
                "bridge.host_binding_ipv4" => {
                    let bad = |_| wrong(key, value, "nil ip");
                    read.host_binding = Some(value.parse().map_err(bad)?);
                }
                "driver.mtu" => {
                    let reason = format!("strconv.Atoi: parsing {value:?}: invalid syntax");
                    let mtu: u32 = value.parse().map_err(|_| wrong(key, value, &reason))?;
                    // 0 is Docker's word for the default.
                    read.mtu = Some(mtu).filter(|mtu| *mtu > 0);
                }
                "container_iface_prefix" => read.link_prefix = Some(link_name(key, value)?),
                "bridge.gateway_mode_ipv4" | "bridge.gateway_mode_ipv6" if value == "nat" => {}
                "bridge.default_bridge" if boolean(key, value)? => {
                    return Err(NetworkError::Forbidden(
                        "Creation of default bridge network is not allowed".to_owned(),
                    ));
                }
                "bridge.default_bridge" => {}
                _ => {
                    let text = format!("the option {key}={value} of the network driver \"bridge\"");
                    return Err(NetworkError::NotSupported(text));
                }
            }
        }
        Ok(read)
    }
}

fn wrong(key: &str, value: &str, reason: &str) -> NetworkError {
    NetworkError::Invalid(format!("failed to parse {key} value: {value} ({reason})"))
}

fn boolean(key: &str, value: &str) -> Result<bool, NetworkError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => {
            let reason = format!("strconv.ParseBool: parsing {value:?}: invalid syntax");
            Err(wrong(key, value, &reason))
        }
    }
}

/// The kernel's own rule, and room for a number behind a prefix.
fn link_name(key: &str, value: &str) -> Result<String, NetworkError> {
    let limit = if key.ends_with("prefix") { 11 } else { 15 };
    let good = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':');
    if value.is_empty() || value.len() > limit || !value.chars().all(good) || value.starts_with('.')
    {
        return Err(wrong(key, value, "invalid interface name"));
    }
    Ok(value.to_owned())
}
