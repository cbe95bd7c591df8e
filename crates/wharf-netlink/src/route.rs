//! rtnetlink: links, addresses, routes, neighbours (`rtnetlink(7)`).

mod address;
mod link;

use std::collections::HashSet;

use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::io::Errno;

use crate::socket::Channel;
use crate::{NetlinkError, Request};

pub use address::{Address, RouteEntry, add_address, add_neighbour, add_route, replace_route};
pub use link::{
    ChildKind, IpvlanFlag, IpvlanMode, Link, LinkChange, LinkName, MacvlanMode, Peer, PortMode,
    Veth, add_bridge, add_child, add_dummy, add_veth, delete_link, move_link, set_link, set_port,
};

/// What is not there need not be deleted.
fn unless_gone(outcome: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match outcome {
        Err(error) if error.is(Errno::NODEV) => Ok(()),
        outcome => outcome,
    }
}

const CREATE_NEW: u16 = 0x400 | 0x200;
const CREATE_OR_REPLACE: u16 = 0x400 | 0x100;

/// A socket that configures links, addresses and routes of the network namespace it was opened in.
pub struct Route {
    channel: Channel,
}

impl Route {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`].
    pub fn open() -> Result<Self, NetlinkError> {
        Channel::open(NETLINK_ROUTE).map(|channel| Self { channel })
    }

    /// Sends all requests in one write; the kernel does them in order, and goes on after one that fails.
    ///
    /// # Errors
    /// That of the first request which failed.
    pub fn apply(&mut self, requests: &[Request]) -> Result<(), NetlinkError> {
        self.channel.transact(requests)
    }

    /// Deletes links, those that are there, all at once: for each deletion the kernel waits until nobody looks at what is
    /// gone, some ten milliseconds, whether that is one link or hundreds.
    ///
    /// # Errors
    /// That of the first link which could not be deleted; the others are.
    pub fn delete_all(&mut self, names: &[&str]) -> Result<(), NetlinkError> {
        if names.len() > 1 && self.delete_as_group(names).is_ok() {
            return Ok(());
        }
        let one = |name: &&str| {
            let request = delete_link(LinkName::Name(name));
            unless_gone(self.apply(&[request]))
        };
        // All of them, whatever becomes of one.
        let outcomes: Vec<_> = names.iter().map(one).collect();
        outcomes.into_iter().collect()
    }

    fn delete_as_group(&mut self, names: &[&str]) -> Result<(), NetlinkError> {
        /// As many requests as surely fit into one write.
        const AT_ONCE: usize = 256;
        let taken: HashSet<u32> = self.links()?.iter().map(|link| link.group).collect();
        let group = loop {
            let mut bytes = [0; 4];
            rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).map_err(
                |errno| NetlinkError::Socket {
                    operation: "choose a group of links",
                    source: errno.into(),
                },
            )?;
            // Small numbers are those that people choose.
            let group = u32::from_ne_bytes(bytes) | 1 << 30;
            if !taken.contains(&group) {
                break group;
            }
        };
        for names in names.chunks(AT_ONCE) {
            let requests: Vec<_> = names
                .iter()
                .map(|name| link::set_group(name, group))
                .collect();
            unless_gone(self.apply(&requests))?;
        }
        unless_gone(self.apply(&[link::delete_group(group)]))
    }

    /// The link with that name, if there is one.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, NetlinkError> {
        self.channel.get(&link::get(name), link::read)
    }

    /// All links.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        let mut links = Vec::new();
        self.channel.dump(&link::get_all(), |received| {
            links.push(link::read(received)?);
            Ok(())
        })?;
        Ok(links)
    }

    /// All IPv4 and IPv6 addresses.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn addresses(&mut self) -> Result<Vec<Address>, NetlinkError> {
        let mut addresses = Vec::new();
        self.channel.dump(&address::get_all(), |received| {
            addresses.extend(address::read(received));
            Ok(())
        })?;
        Ok(addresses)
    }

    /// All unicast routes of the main table.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn routes(&mut self) -> Result<Vec<RouteEntry>, NetlinkError> {
        let mut routes = Vec::new();
        self.channel.dump(&address::get_routes(), |received| {
            routes.extend(address::read_route(received));
            Ok(())
        })?;
        Ok(routes)
    }
}
