//! Networks: bridges, addresses, published ports, firewall, resolver files.
//!
//! [`Networks`] owns what containers see of the outside. The truth is in the records; links, rules and sockets
//! are made from them, so that a daemon that starts again builds the same world ([`Networks::restore`]).
//!
//! A connection costs the container's start about a millisecond: namespaces wait ready, with loopback up and a
//! link through to the host, and only address, route and bridge are set while the container waits. Firewall
//! rules are one table, a pure function of the records ([`firewall`]), changed in one batch.

pub mod files;
pub mod firewall;

mod bridge;
mod built_in;
mod config;
mod connect;
mod create;
mod disconnect;
mod dns;
mod error;
mod firewalld;
mod foreign;
mod ipam;
mod ipam6;
mod mac;
mod networks;
mod parent;
mod pool;
mod ports;
mod proxy;
mod reaper;
mod record;
mod remove;
mod repair;
mod restore;
mod sandbox;
mod sysctl;
mod types;

pub use config::{Config, PublishPolicy, Publishing};
pub use dns::DnsConfig;
pub use error::{NetworkError, joined};
pub use foreign::Obstacle;
pub use mac::Mac;
pub use networks::Networks;
pub use pool::{NamespaceMaker, Owner};
pub use types::{
    Address, Address6, Bridge, Driver, Endpoint, EndpointConfig, EndpointInfo, GatewayMode,
    HostPort, Ipam, IpamPool, LiveContainer, MadeParent, Network, NewNetwork, NewPool, Parent,
    PortBinding, Protocol, PublishedPort, Way, Ways,
};
