//! What is kept of networks and endpoints.

use wharf_records::Table;

use crate::{EndpointInfo, Network};

/// Networks by id.
pub(crate) const NETWORKS: Table<Network> = Table::new("networks", 1);
/// Connected endpoints by container and network id ([`endpoint_key`]).
pub(crate) const ENDPOINTS: Table<EndpointInfo> = Table::new("endpoints", 1);

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
