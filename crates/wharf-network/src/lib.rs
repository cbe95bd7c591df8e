//! Networks: bridges, addresses, published ports, firewall, resolver files.
//!
//! [`Networks`] owns what containers see of the outside. The truth is in the records; links, rules and sockets
//! are made from them, so that a daemon that starts again builds the same world ([`Networks::restore`]).
//!
//! A connection costs the container's start about a millisecond: namespaces wait ready, with loopback up and a
//! link through to the host, and only address, route and bridge are set while the container waits. Firewall
//! rules are one table, a pure function of the records ([`firewall`]), replaced in one batch.

pub mod files;
pub mod firewall;

mod bridge;
mod config;
mod connect;
mod create;
mod disconnect;
mod dns;
mod error;
mod ipam;
mod ipam6;
mod mac;
mod networks;
mod pool;
mod ports;
mod proxy;
mod reaper;
mod record;
mod remove;
mod restore;
mod sandbox;
mod sysctl;
mod types;

pub use config::Config;
pub use dns::DnsConfig;
pub use error::NetworkError;
pub use mac::Mac;
pub use networks::Networks;
pub use types::{
    Address, Address6, Bridge, Bridge6, Driver, Endpoint, EndpointConfig, EndpointInfo, HostPort,
    Ipam, IpamPool, LiveContainer, Network, NewNetwork, NewPool, PortBinding, Protocol,
    PublishedPort,
};
