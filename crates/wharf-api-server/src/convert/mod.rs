//! Wire to engine, and engine to wire.

mod host;
mod images;
mod networks;
mod reply;
mod request;
mod stats;
mod system;

pub(crate) use images::{
    attestation, aux, descriptor, history, identity, image_inspect, image_summary, manifest,
    progress, removed, search_hit,
};
pub(crate) use networks::{network, new_network};
pub(crate) use reply::{container_inspect, container_summary, exec_inspect, volume};
pub(crate) use request::{
    config, console_size, device_lists, endpoint, extra_host, new_container, new_exec, resources,
    restart_policy, ulimit,
};
pub(crate) use stats::stats;
pub(crate) use system::{disk_usage, event, info, version};

use jiff::Timestamp;
use wharf_api_types::ZERO_TIME;

/// A time as Go's RFC3339Nano, or its zero.
pub(crate) fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| ZERO_TIME.to_owned(), |time| time.to_string())
}

/// A slice that is null when it is empty.
pub(crate) fn nil<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}
