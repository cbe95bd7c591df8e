//! `wharf network create`.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};
use wharf_client::{Method, Url};

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::line;
use crate::cli::{
    Arity, Command, Context, Exit, Flag, Kind, Matches, Outcome, flag, list, switch, text,
};
use crate::format::json as read;
use crate::options::{checks, pairs};

static FLAGS: &[Flag] = &[
    switch("attachable", "Containers may be connected by hand"),
    list(
        "aux-address",
        "An address that is never given out: NAME=ADDRESS",
    ),
    text("config-from", "Take the configuration of this network"),
    switch("config-only", "Make a configuration only"),
    text("driver", "Driver of the network")
        .short('d')
        .default("bridge"),
    list("gateway", "The host's address in a subnet"),
    switch("ingress", "Make the routing mesh of a swarm"),
    switch("internal", "Without a way to the outside"),
    list("ip-range", "Give addresses out of this part of a subnet"),
    text("ipam-driver", "Driver of the addresses").default("default"),
    list(
        "ipam-opt",
        "Set an option of the driver of the addresses: KEY=VALUE",
    ),
    switch("ipv4", "With IPv4 addresses").default("true"),
    switch("ipv6", "With IPv6 addresses"),
    flag(
        "label",
        Kind::Checked("list", checks::label),
        "Set a label: KEY=VALUE",
    ),
    list("opt", "Set an option of the driver: KEY=VALUE").short('o'),
    text("scope", "How far the network reaches"),
    list("subnet", "The network's addresses (10.1.0.0/16)"),
];

/// Create a network
pub(super) static COMMAND: Command = Command {
    name: "create",
    about: "Create a network",
    usage: "[OPTIONS] NETWORK",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    run: Some(|context, matches| Box::pin(create(context, matches))),
    ..EMPTY
};

async fn create(context: &Context, matches: &Matches) -> Outcome {
    let config = pools(matches).map_err(Exit::new)?;
    let mut body = json!({
        "Name": matches.args[0],
        "Driver": matches.text("driver"),
        "Scope": matches.text("scope"),
        "IPAM": {
            "Driver": matches.text("ipam-driver"),
            "Options": pairs(matches.list("ipam-opt")),
            "Config": config,
        },
        "Internal": matches.on("internal"),
        "Attachable": matches.on("attachable"),
        "Ingress": matches.on("ingress"),
        "ConfigOnly": matches.on("config-only"),
        "Options": pairs(matches.list("opt")),
        "Labels": pairs(matches.list("label")),
    });
    if matches.given("ipv4") {
        body["EnableIPv4"] = matches.on("ipv4").into();
    }
    if matches.given("ipv6") {
        body["EnableIPv6"] = matches.on("ipv6").into();
    }
    if let Some(from) = matches.maybe("config-from") {
        body["ConfigFrom"] = json!({ "Network": from });
    }
    let client = context.client().await?;
    let url = Url::new(["networks", "create"]);
    let network: Value = client.json(Method::POST, url, Some(&body)).await?;
    line(read::text(&network, "Id"))
}

/// A list flag whose values may hold several, as Docker's `strings`.
fn values(matches: &Matches, name: &str) -> Vec<String> {
    let all = matches.list(name).iter();
    all.flat_map(|value| value.split(','))
        .map(str::to_owned)
        .collect()
}

/// Ranges, gateways and reserved addresses, each with the subnet that it lies in.
fn pools(matches: &Matches) -> Result<Vec<Value>, String> {
    let subnets = values(matches, "subnet");
    let (ranges, gateways) = (values(matches, "ip-range"), values(matches, "gateway"));
    if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
        return Err("every ip-range or gateway must have a corresponding subnet".to_owned());
    }
    let mut pools: Vec<(IpNet, Map<String, Value>)> = Vec::new();
    for text in subnets {
        let net: IpNet = text
            .parse()
            .map_err(|_| format!("invalid CIDR address: {text}"))?;
        let overlaps =
            |other: &IpNet| other.contains(&net.network()) || net.contains(&other.network());
        if pools.iter().any(|(other, _)| overlaps(other)) {
            return Err("multiple overlapping subnet configuration is not supported".to_owned());
        }
        pools.push((net, Map::from_iter([("Subnet".to_owned(), text.into())])));
    }
    for range in ranges {
        let first = range
            .parse::<IpNet>()
            .map_err(|_| format!("invalid CIDR address: {range}"))?
            .network();
        place(&mut pools, "IPRange", "range", "ranges", first, &range)?;
    }
    for gateway in gateways {
        let ip = gateway
            .parse()
            .map_err(|_| format!("no matching subnet for gateway {gateway}"))?;
        place(&mut pools, "Gateway", "gateway", "gateways", ip, &gateway)?;
    }
    for (name, address) in pairs(matches.list("aux-address")) {
        let text = address.as_str().unwrap_or_default();
        let none = || format!("no matching subnet for aux-address {text}");
        let ip: IpAddr = text.parse().map_err(|_| none())?;
        let pool = pools.iter_mut().find(|(net, _)| net.contains(&ip));
        let (_, fields) = pool.ok_or_else(none)?;
        fields
            .entry("AuxiliaryAddresses")
            .or_insert_with(|| json!({}))[&name] = text.into();
    }
    Ok(pools
        .into_iter()
        .map(|(_, fields)| Value::Object(fields))
        .collect())
}

fn place(
    pools: &mut [(IpNet, Map<String, Value>)],
    field: &str,
    one: &str,
    many: &str,
    ip: IpAddr,
    text: &str,
) -> Result<(), String> {
    let Some((net, fields)) = pools.iter_mut().find(|(net, _)| net.contains(&ip)) else {
        return Err(format!("no matching subnet for {one} {text}"));
    };
    if let Some(other) = fields.get(field).and_then(Value::as_str) {
        return Err(format!(
            "cannot configure multiple {many} ({text}, {other}) on the same subnet ({net})"
        ));
    }
    fields.insert(field.to_owned(), text.into());
    Ok(())
}
