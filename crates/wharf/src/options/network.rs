//! Networks, names and ports.

use serde_json::{Map, Value};

use super::{Fields, checks, csv};
use crate::cli::{Flag, Kind, Matches, flag, list, switch, text};

/// Flags of networking.
pub static FLAGS: &[Flag] = &[
    flag(
        "add-host",
        Kind::Checked("list", checks::extra_host),
        "Add a line to /etc/hosts: NAME:ADDRESS",
    ),
    flag(
        "dns",
        Kind::Checked("list", checks::ip_address),
        "Ask this DNS server",
    ),
    list("dns-option", "Set an option of resolv.conf"),
    list("dns-opt", "").same_as("dns-option"),
    flag(
        "dns-search",
        Kind::Checked("list", checks::dns_search),
        "Search names in this domain",
    ),
    list(
        "expose",
        "Say that the container listens on a port or a range",
    ),
    text("ip", "IPv4 address in its network (172.30.100.104)"),
    text("ip6", "IPv6 address in its network (2001:db8::33)"),
    flag(
        "link",
        Kind::Checked("list", checks::link),
        "Make another container known by name: NAME[:ALIAS]",
    ),
    list("link-local-ip", "Link-local address"),
    text("mac-address", "Hardware address (92:d0:c6:0a:29:33)"),
    flag(
        "network",
        Kind::Checked("network", check_network),
        "Connect to a network",
    ),
    flag("net", Kind::Checked("network", check_network), "").same_as("network"),
    list("network-alias", "Further name in its networks"),
    list("net-alias", "").same_as("network-alias"),
    list(
        "publish",
        "Publish a port of the container: [[ADDRESS:]HOST:]PORT[/PROTOCOL]",
    )
    .short('p'),
    switch(
        "publish-all",
        "Publish all exposed ports, each to a free port of the host",
    )
    .short('P'),
];

#[derive(Debug, Default)]
struct Attachment {
    target: String,
    aliases: Vec<String>,
    links: Vec<String>,
    link_local: Vec<String>,
    driver_opts: Map<String, Value>,
    ipv4: String,
    ipv6: String,
    mac: String,
    gateway_priority: i64,
}

fn check_network(value: &str) -> Result<String, String> {
    parse_attachment(value).map(|_| value.to_owned())
}

fn parse_attachment(value: &str) -> Result<Attachment, String> {
    if !value.contains('=') {
        return Ok(Attachment {
            target: value.to_owned(),
            ..Attachment::default()
        });
    }
    let mut attachment = Attachment::default();
    for field in csv::fields(value)? {
        let (key, value) = field
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("invalid field {field}"))?;
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => attachment.target = value.to_owned(),
            "alias" => attachment.aliases.push(value.to_owned()),
            "ip" => attachment.ipv4 = value.to_owned(),
            "ip6" => attachment.ipv6 = value.to_owned(),
            "mac-address" => attachment.mac = value.to_owned(),
            "link-local-ip" => attachment.link_local.push(value.to_owned()),
            "gw-priority" => {
                attachment.gateway_priority = value
                    .parse()
                    .map_err(|_| format!("invalid gw-priority ({value}): invalid syntax"))?;
            }
            "driver-opt" => {
                let (key, value) = value
                    .split_once('=')
                    .ok_or_else(|| "invalid key value pair format in driver options".to_owned())?;
                attachment
                    .driver_opts
                    .insert(key.to_ascii_lowercase(), value.into());
            }
            other => return Err(format!("invalid field key {other}")),
        }
    }
    if attachment.target.is_empty() {
        return Err("network name/id is not specified".to_owned());
    }
    Ok(attachment)
}

fn is_user_defined(mode: &str) -> bool {
    !matches!(mode, "" | "default" | "bridge" | "host" | "none") && !mode.starts_with("container:")
}

/// `HostConfig.NetworkMode`
pub fn mode(matches: &Matches) -> Result<String, String> {
    match matches.list("network").first() {
        Some(first) => parse_attachment(first).map(|attachment| attachment.target),
        None => Ok("default".to_owned()),
    }
}

/// `NetworkingConfig.EndpointsConfig`
pub fn endpoints(matches: &Matches) -> Result<Map<String, Value>, String> {
    let mut attachments = matches
        .list("network")
        .iter()
        .map(|spec| parse_attachment(spec))
        .collect::<Result<Vec<_>, _>>()?;
    if attachments.is_empty() {
        attachments.push(Attachment {
            target: "default".to_owned(),
            ..Attachment::default()
        });
    }
    let user_defined = attachments
        .iter()
        .filter(|it| is_user_defined(&it.target))
        .count();
    if user_defined != 0 && user_defined != attachments.len() {
        return Err("conflicting options: cannot attach both user-defined and non-user-defined network-modes".to_owned());
    }
    merge_single(&mut attachments[0], matches)?;
    let single = attachments.len() == 1;
    let mut endpoints = Map::new();
    for attachment in attachments {
        let target = attachment.target.clone();
        let endpoint = endpoint(attachment)?;
        if single && endpoint.is_empty() {
            continue;
        }
        if endpoints
            .insert(target.clone(), Value::Object(endpoint))
            .is_some()
        {
            return Err(format!("network {target:?} is specified multiple times"));
        }
    }
    Ok(endpoints)
}

// The flags from before `--network` could hold fields belong to the first network.
fn merge_single(first: &mut Attachment, matches: &Matches) -> Result<(), String> {
    let conflict = |flag: &str, what: &str| {
        Err(format!(
            "conflicting options: cannot specify both --{flag} and per-network {what}"
        ))
    };
    if !matches.list("network-alias").is_empty() {
        if !first.aliases.is_empty() {
            return conflict("network-alias", "alias");
        }
        first.aliases = matches.list("network-alias").to_vec();
    }
    if !matches.list("link").is_empty() && is_user_defined(&first.target) {
        first.links = matches.list("link").to_vec();
    }
    for (flag, what, slot) in [
        ("ip", "IPv4 address", &mut first.ipv4),
        ("ip6", "IPv6 address", &mut first.ipv6),
        ("mac-address", "MAC address", &mut first.mac),
    ] {
        if let Some(value) = matches.maybe(flag) {
            if !slot.is_empty() {
                return conflict(flag, what);
            }
            *slot = value.to_owned();
        }
    }
    if !matches.list("link-local-ip").is_empty() {
        first.link_local = matches.list("link-local-ip").to_vec();
    }
    Ok(())
}

fn endpoint(attachment: Attachment) -> Result<Map<String, Value>, String> {
    if attachment.target.trim().is_empty() {
        return Err("no name set for network".to_owned());
    }
    if !is_user_defined(&attachment.target) && !attachment.aliases.is_empty() {
        return Err(
            "network-scoped aliases are only supported for user-defined networks".to_owned(),
        );
    }
    let mut fields = Fields::new();
    fields.list("Aliases", &attachment.aliases);
    fields.list("Links", &attachment.links);
    fields.object("DriverOpts", attachment.driver_opts);
    fields.text("MacAddress", &attachment.mac);
    fields.int("GwPriority", attachment.gateway_priority);
    let mut ipam = Fields::new();
    ipam.text("IPv4Address", &attachment.ipv4);
    ipam.text("IPv6Address", &attachment.ipv6);
    ipam.list("LinkLocalIPs", &attachment.link_local);
    fields.object("IPAMConfig", ipam.0);
    Ok(fields.0)
}

/// Refuses a hardware address that is none.
pub fn check_mac(value: &str) -> Result<(), String> {
    let parts: Vec<&str> = value.split([':', '-']).collect();
    let good = matches!(parts.len(), 6 | 8)
        && parts
            .iter()
            .all(|part| part.len() == 2 && u8::from_str_radix(part, 16).is_ok());
    if good {
        Ok(())
    } else {
        Err(format!("{value} is not a valid mac address"))
    }
}
