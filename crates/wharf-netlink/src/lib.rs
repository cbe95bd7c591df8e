//! Links, addresses, routes and nftables batches over netlink, typed.
//!
//! Synchronous and small, as it runs on threads that live inside other network namespaces. A socket belongs to
//! the namespace it was opened in for good: [`Route`] opened inside a container's namespace keeps configuring
//! that namespace from any thread.
//!
//! Messages are values ([`Request`], [`nft::Batch`]); several go to the kernel in one write, which answers once.
//! This is our own and not the crate nlink: that one is async and a hundred times as much code as the forty
//! messages we need. The socket calls themselves are those of netlink-sys, so no `unsafe` is needed here.

pub mod nft;

mod conntrack;
mod error;
mod message;
mod route;
mod socket;
mod watch;

pub use conntrack::{Conntrack, Flow};
pub use error::NetlinkError;
pub use message::Request;
pub use nft::Nftables;
pub use route::{
    Address, ChildKind, IpvlanFlag, IpvlanMode, Link, LinkChange, LinkName, MacvlanMode, Peer,
    PortMode, Route, RouteEntry, Veth, add_address, add_bridge, add_child, add_dummy,
    add_neighbour, add_route, add_veth, delete_link, move_link, replace_route, set_link, set_port,
};
pub use watch::{LinkWatch, TableWatch};
