//! The kernel's table of connections (`include/uapi/linux/netfilter/nfnetlink_conntrack.h`): which there are, and
//! forgetting some.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;

use crate::NetlinkError;
use crate::message::{self, Request};
use crate::socket::Channel;

const SUBSYSTEM: u16 = 1;
const GET: u16 = 1;
const DELETE: u16 = 2;
const FAMILIES: [u8; 2] = [libc::AF_INET as u8, libc::AF_INET6 as u8];

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const SOURCE_V4: u16 = 1;
const DESTINATION_V4: u16 = 2;
const SOURCE_V6: u16 = 3;
const DESTINATION_V6: u16 = 4;
const NUMBER: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;

/// A connection as its first packet was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Number of the transport protocol.
    pub protocol: u8,
    /// Who began it.
    pub source: SocketAddr,
    /// Whom it was sent to, before any translation.
    pub destination: SocketAddr,
}

/// A socket to the connections of the network namespace it was opened in.
pub struct Conntrack {
    channel: Channel,
}

impl Conntrack {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`].
    pub fn open() -> Result<Self, NetlinkError> {
        Channel::open(NETLINK_NETFILTER).map(|channel| Self { channel })
    }

    /// Forgets the connections that `stale` picks: the next packet of one is translated as that of a new one. Returns
    /// how many.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn forget(&mut self, stale: impl Fn(&Flow) -> bool) -> Result<usize, NetlinkError> {
        let mut forgotten = 0;
        for family in FAMILIES {
            for tuple in self.find(family, &stale)? {
                let mut request = request(DELETE, family, "forget a connection");
                request.nest(TUPLE_ORIGINAL, |nested| nested.raw(&tuple));
                match self.channel.transact(&[request]) {
                    // It ended meanwhile.
                    Err(error) if error.is(Errno::NOENT) => {}
                    done => {
                        done?;
                        forgotten += 1;
                    }
                }
            }
        }
        Ok(forgotten)
    }

    /// What the kernel knows the picked connections by.
    fn find(
        &mut self,
        family: u8,
        stale: &impl Fn(&Flow) -> bool,
    ) -> Result<Vec<Vec<u8>>, NetlinkError> {
        let mut found = Vec::new();
        self.channel
            .dump(&request(GET, family, "list connections"), |received| {
                let attributes = received.payload.get(4..).unwrap_or_default();
                let tuple =
                    message::attributes(attributes).find(|(kind, _)| *kind == TUPLE_ORIGINAL);
                if let Some((_, tuple)) = tuple
                    && read(tuple).is_some_and(|flow| stale(&flow))
                {
                    found.push(tuple.to_vec());
                }
                Ok(())
            })?;
        Ok(found)
    }
}

fn request(kind: u16, family: u8, operation: &str) -> Request {
    Request::new(SUBSYSTEM << 8 | kind, 0, operation.to_owned()).fixed(&[family, 0, 0, 0])
}

/// Nothing of a protocol without ports.
fn read(tuple: &[u8]) -> Option<Flow> {
    let nested = |kind| message::attributes(tuple).find(|(found, _)| *found == kind);
    let (_, ip) = nested(TUPLE_IP)?;
    let (_, transport) = nested(TUPLE_PROTOCOL)?;
    let (mut source, mut destination) = (None, None);
    for (kind, bytes) in message::attributes(ip) {
        match kind {
            SOURCE_V4 | SOURCE_V6 => source = address(bytes),
            DESTINATION_V4 | DESTINATION_V6 => destination = address(bytes),
            _ => {}
        }
    }
    let (mut protocol, mut from, mut to) = (None, None, None);
    let port = |bytes: &[u8]| Some(u16::from_be_bytes(bytes.try_into().ok()?));
    for (kind, bytes) in message::attributes(transport) {
        match kind {
            NUMBER => protocol = bytes.first().copied(),
            SOURCE_PORT => from = port(bytes),
            DESTINATION_PORT => to = port(bytes),
            _ => {}
        }
    }
    Some(Flow {
        protocol: protocol?,
        source: SocketAddr::new(source?, from?),
        destination: SocketAddr::new(destination?, to?),
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(four).into());
    }
    let six = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(six).into())
}
