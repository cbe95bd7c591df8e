//! What is kept of networks and endpoints.

use serde_json::{Value, json};
use wharf_records::Table;

use crate::{EndpointInfo, Network};

/// Networks by id.
pub(crate) const NETWORKS: Table<Network> = Table::new("networks", 2).upgraded_by(upgrade_network);
/// Connected endpoints by container and network id ([`endpoint_key`]).
pub(crate) const ENDPOINTS: Table<EndpointInfo> =
    Table::new("endpoints", 2).upgraded_by(upgrade_endpoint);

/// Endpoints of running containers whose link is being made or taken down, by the same key: a daemon that finds one
/// takes its link down. A container that is about to start needs none, its namespace goes with the daemon.
pub(crate) const HALF_MADE: Table<EndpointInfo> = Table::new("endpoints-half-made", 1);

/// Version 1 had the bridge's subnets twice, or in the bridge alone, and the prefix of links' names there.
fn upgrade_network(_from: u32, mut document: Value) -> Value {
    let bridge = document["bridge"].clone();
    document["link_prefix"] = bridge["link_prefix"].clone();
    let pools = &document["ipam"]["pools"];
    if bridge.is_object() && pools.as_array().is_none_or(Vec::is_empty) {
        let pool = |of: &Value| json!({"subnet": of["subnet"], "range": null, "gateway": of["gateway"], "auxiliary": {}});
        let halves = [&bridge, &bridge["v6"]];
        let pools: Vec<_> = halves
            .into_iter()
            .filter(|half| half.is_object())
            .map(pool)
            .collect();
        document["ipam"] = json!({
            "options": {}, "pools": pools, "chosen": false, "chosen6": false,
        });
    }
    document
}

/// Version 1 had the hardware address with the IPv4 one, and a gateway even where it led nowhere.
fn upgrade_endpoint(_from: u32, mut document: Value) -> Value {
    document["mac"] = document["address"]["mac"].clone();
    if document["internal"] == json!(true) {
        for address in ["address", "address6"] {
            if document[address].is_object() {
                document[address]["gateway"] = Value::Null;
            }
        }
    }
    document
}

/// The key of an endpoint's record. One of an early version was the container's id alone.
pub(crate) fn endpoint_key(info: &EndpointInfo) -> String {
    format!("{}/{}", info.container, info.network_id)
}

/// 64 random hexadecimal digits, as Docker names networks, endpoints and sandboxes.
pub(crate) fn random_id() -> String {
    let bytes = random_bytes::<32>();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes from the kernel's generator.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    // Only an interruption can cut this short; the flags leave no other error.
    while filled < N {
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
                .unwrap_or(0);
    }
    bytes
}
