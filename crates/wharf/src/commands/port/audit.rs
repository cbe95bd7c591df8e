//! `wharf port audit`: what of the running containers is reached from where.

use std::net::IpAddr;

use serde_json::Value;
use wharf_client::{Client, Url};

use crate::cli::context::out;
use crate::cli::{Exit, Outcome};
use crate::format::json;
use crate::format::rows::{Headers, Row, render};
use crate::row;

const HEADERS: Headers = &[
    ("Container", "CONTAINER"),
    ("Port", "PORT"),
    ("Address", "ADDRESS"),
    ("From", "REACHED FROM"),
    ("By", "BY"),
];
const TABLE: &str = "{{.Container}}\t{{.Port}}\t{{.Address}}\t{{.From}}\t{{.By}}";

/// Asks the daemon for all that runs, and prints a line for each port and each place where it is open.
pub(super) async fn run(client: &Client) -> Outcome {
    let info: Value = client.get(Url::new(["info"])).await?;
    let networks: Vec<Value> = client.get(Url::new(["networks"])).await?;
    let containers: Vec<Value> = client.get(Url::new(["containers", "json"])).await?;
    let mut rows = Vec::new();
    for container in &containers {
        let id = json::text(container, "Id");
        let inspect: Value = client.get(Url::new(["containers", id, "json"])).await?;
        rows.extend(audit(&inspect, &networks, respects(&info)));
    }
    out(&render("", TABLE, HEADERS, rows).map_err(Exit::new)?)
}

/// Whether published ports are behind the host's own rules for incoming packets.
fn respects(info: &Value) -> bool {
    let facts = json::items(json::deep(info, &["FirewallBackend"]), "Info");
    facts
        .iter()
        .any(|fact| fact[0] == "PublishPolicy" && fact[1] == "respect-host-firewall")
}

/// The lines of one container.
fn audit(inspect: &Value, networks: &[Value], respects: bool) -> Vec<Row> {
    let name = json::text(inspect, "Name").trim_start_matches('/');
    let mut rows = Vec::new();
    let mut line = |port: &str, address: String, from: String, by: &str| {
        rows.push(row! {
            "Container" => name, "Port" => port, "Address" => address, "From" => from, "By" => by,
        });
    };
    let mode = json::text(json::deep(inspect, &["HostConfig"]), "NetworkMode");
    if mode == "host" {
        let from = "whatever the host's firewall lets in".to_owned();
        line("all", "the host's".to_owned(), from, "the host's network");
        return rows;
    }
    let ports = json::deep(inspect, &["NetworkSettings", "Ports"]);
    let endpoints = json::deep(inspect, &["NetworkSettings", "Networks"]);
    let endpoints = endpoints.as_object().into_iter().flatten();
    let endpoints: Vec<_> = endpoints
        .map(|(name, endpoint)| Place::of(name, endpoint, networks))
        .collect();
    for (port, bindings) in ports.as_object().into_iter().flatten() {
        for binding in bindings.as_array().into_iter().flatten() {
            let (ip, host_port) = (
                json::text(binding, "HostIp"),
                json::text(binding, "HostPort"),
            );
            // One without is reached at the container's own address, below.
            if !host_port.is_empty() {
                let (from, by) = published(ip, respects);
                let address = match ip.contains(':') {
                    true => format!("[{ip}]:{host_port}"),
                    false => format!("{ip}:{host_port}"),
                };
                line(port, address, from, by);
            }
        }
        let mut bindings = bindings.as_array().into_iter().flatten();
        let routed = bindings.any(|one| json::text(one, "HostPort").is_empty());
        for place in &endpoints {
            for (ip, from) in place.reached(routed) {
                line(port, ip, from, "its own address");
            }
        }
    }
    // What no image says is open may be open all the same.
    for place in endpoints.iter().filter(|place| place.is_open()) {
        for (ip, from) in place.reached(false) {
            line("any other", ip, from, "its own address");
        }
    }
    rows
}

/// Who reaches a port at an address of the host.
fn published(ip: &str, respects: bool) -> (String, &'static str) {
    let local = ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let by = match (local, respects) {
        (true, true) => "a socket of the daemon",
        (true, false) => "translation, or a socket of the daemon",
        (false, true) => "a socket of the daemon, behind the host's input rules",
        (false, false) => "translation, before the host's input rules",
    };
    let from = match (ip, local) {
        (_, true) => "this host".to_owned(),
        ("0.0.0.0" | "::", _) => "everywhere that reaches this host".to_owned(),
        (ip, _) => format!("everywhere that reaches {ip}"),
    };
    (from, by)
}

/// A container in one network.
struct Place<'a> {
    network: &'a str,
    driver: &'a str,
    internal: bool,
    /// Containers of the network reach each other.
    icc: bool,
    /// Its address of IPv4 and IPv6, each with the network's gateway mode.
    addresses: Vec<(&'a str, &'a str)>,
}

impl<'a> Place<'a> {
    fn of(name: &'a str, endpoint: &'a Value, networks: &'a [Value]) -> Self {
        let known = networks.iter().find(|one| json::text(one, "Name") == name);
        let network = known.unwrap_or(&Value::Null);
        let option = |key: &str| {
            let options = json::field(network, "Options").unwrap_or(&Value::Null);
            json::text(options, &format!("com.docker.network.bridge.{key}"))
        };
        let addresses = [
            (
                json::text(endpoint, "IPAddress"),
                option("gateway_mode_ipv4"),
            ),
            (
                json::text(endpoint, "GlobalIPv6Address"),
                option("gateway_mode_ipv6"),
            ),
        ];
        Self {
            network: name,
            driver: json::text(network, "Driver"),
            internal: json::on(network, "Internal"),
            icc: option("enable_icc") != "false",
            addresses: addresses
                .into_iter()
                .filter(|(ip, _)| !ip.is_empty())
                .collect(),
        }
    }

    /// Whether ports that are not published are reached from outside.
    fn is_open(&self) -> bool {
        let shared = matches!(self.driver, "macvlan" | "ipvlan");
        shared
            || self
                .addresses
                .iter()
                .any(|(_, mode)| *mode == "nat-unprotected")
    }

    /// The addresses at which a port is reached, and who does; `routed`: it is published there.
    fn reached(&self, routed: bool) -> Vec<(String, String)> {
        let who = |mode: &str| -> String {
            if matches!(self.driver, "macvlan" | "ipvlan") && !self.internal {
                return "the network of its parent link".to_owned();
            }
            let open = mode == "nat-unprotected" || mode == "routed" && routed;
            match (open && !self.internal, self.icc) {
                (true, _) => "everywhere that has a route".to_owned(),
                (false, true) => format!("this host, containers in {}", self.network),
                (false, false) => "this host".to_owned(),
            }
        };
        let addresses = self.addresses.iter();
        addresses
            .map(|(ip, mode)| ((*ip).to_owned(), who(mode)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_place_where_a_port_is_open_is_a_line() {
        let networks = [
            json!({"Name": "n1", "Driver": "bridge", "Options": {}}),
            json!({"Name": "r1", "Driver": "bridge", "Options": {"com.docker.network.bridge.gateway_mode_ipv4": "routed"}}),
        ];
        let inspect = json!({
            "Name": "/web", "HostConfig": {"NetworkMode": "n1"},
            "NetworkSettings": {
                "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}],
                          "81/tcp": [{"HostIp": "0.0.0.0", "HostPort": ""}],
                          "82/tcp": [{"HostIp": "127.0.0.1", "HostPort": "82"}]},
                "Networks": {"n1": {"IPAddress": "172.18.0.2"}, "r1": {"IPAddress": "172.19.0.2"}},
            },
        });
        let line = |row: &Row| {
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", text("Port"), text("Address"), text("From"))
        };
        let lines: Vec<_> = audit(&inspect, &networks, false).iter().map(line).collect();
        assert_eq!(
            lines,
            [
                "80/tcp 0.0.0.0:8080 everywhere that reaches this host",
                "80/tcp 172.18.0.2 this host, containers in n1",
                "80/tcp 172.19.0.2 this host, containers in r1",
                "81/tcp 172.18.0.2 this host, containers in n1",
                "81/tcp 172.19.0.2 everywhere that has a route",
                "82/tcp 127.0.0.1:82 this host",
                "82/tcp 172.18.0.2 this host, containers in n1",
                "82/tcp 172.19.0.2 this host, containers in r1",
            ]
        );
    }
}
