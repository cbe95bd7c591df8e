//! Links: bridges, veth pairs, dummies.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use serde::{Deserialize, Serialize};

use super::CREATE_NEW;
use crate::NetlinkError;
use crate::message::{self, Received, Request};

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_TXQLEN: u16 = 13;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const VETH_INFO_PEER: u16 = 1;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;
const IFLA_VLAN_ID: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
/// The link gets no IPv6 link-local address by itself.
const ADDR_GEN_MODE_NONE: u8 = 1;
const AF_INET6: u16 = libc::AF_INET6 as u16;
const UP: u32 = libc::IFF_UP as u32;

/// How a request names a link.
#[derive(Clone, Copy, Debug)]
pub enum LinkName<'a> {
    /// By its index.
    Index(u32),
    /// By its name.
    Name(&'a str),
}

/// A link as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Index, unique in its namespace.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Hardware address; empty where the kind has none.
    pub mac: Vec<u8>,
    /// Maximum packet size, in bytes.
    pub mtu: u32,
    /// Whether it is set up.
    pub up: bool,
    /// Index of the bridge that it is a port of.
    pub master: Option<u32>,
    /// Its kind, such as `veth`; empty for real hardware.
    pub kind: String,
    /// Number of its group; 0 if nobody has put it into one.
    pub group: u32,
}

/// What to change of a link; `None` and `false` leave it as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkChange<'a> {
    /// Set it up.
    pub up: bool,
    /// Give it a new name; it must be down, and the request must name it by its index.
    pub name: Option<&'a str>,
    /// Hardware address.
    pub mac: Option<[u8; 6]>,
    /// Maximum packet size, in bytes.
    pub mtu: Option<u32>,
    /// Make it a port of the bridge with this index; 0 takes it off its bridge.
    pub master: Option<u32>,
    /// No IPv6 link-local address by itself.
    pub no_link_local: bool,
}

/// A pair of links to make.
#[derive(Clone, Copy, Debug)]
pub struct Veth<'a> {
    /// Name of this side.
    pub name: &'a str,
    /// Maximum packet size of both sides, in bytes.
    pub mtu: u32,
    /// The other side.
    pub peer: Peer<'a>,
}

/// The other side of a pair.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// Its name.
    pub name: &'a str,
    /// The namespace it is made in.
    pub netns: BorrowedFd<'a>,
}

/// A new bridge.
pub fn add_bridge(name: &str, mtu: Option<u32>) -> Request {
    add(name, "bridge", mtu)
}

/// A new link that drops all packets.
pub fn add_dummy(name: &str) -> Request {
    add(name, "dummy", None)
}

/// A new pair of links, the other one in another namespace. This side has no IPv6 link-local address.
pub fn add_veth(veth: &Veth<'_>) -> Request {
    let operation = format!("add link {}", veth.name);
    let mut request = Request::new(NEW_LINK, CREATE_NEW, operation).fixed(&header(0, 0));
    request.text(IFLA_IFNAME, veth.name);
    request.ne32(IFLA_MTU, veth.mtu);
    // As Docker's: what it sends is its peer's at once, and nothing waits.
    request.ne32(IFLA_TXQLEN, 0);
    request.nest(IFLA_LINKINFO, |info| {
        info.text(IFLA_INFO_KIND, "veth");
        info.nest(IFLA_INFO_DATA, |data| {
            data.nest(VETH_INFO_PEER, |peer| {
                peer.raw(&header(0, 0));
                peer.text(IFLA_IFNAME, veth.peer.name);
                peer.ne32(IFLA_MTU, veth.mtu);
                peer.ne32(IFLA_TXQLEN, 0);
                peer.ne32(IFLA_NET_NS_FD, veth.peer.netns.as_raw_fd() as u32);
            });
        });
    });
    request
}

/// A link on top of another one, and how they share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChildKind {
    /// Has a hardware address of its own.
    Macvlan(MacvlanMode),
    /// Has its parent's hardware address, and IP addresses of its own.
    Ipvlan(IpvlanMode, IpvlanFlag),
    /// Carries the frames of its parent that are tagged with this number, untagged.
    Vlan(u16),
}

/// Which frames the children of one parent get (`enum macvlan_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MacvlanMode {
    /// None of each other.
    Private,
    /// Those of each other by way of the switch outside.
    Vepa,
    /// Those of each other, too.
    Bridge,
    /// All; there is a single child.
    Passthru,
}

/// Who decides where a packet goes (`enum ipvlan_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpvlanMode {
    /// The child's own routes and neighbours.
    L2,
    /// The parent's routes; there are no broadcasts.
    L3,
    /// As `L3`, through the parent's firewall.
    L3s,
}

/// Whether the children of one parent reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpvlanFlag {
    /// They do.
    Bridge,
    /// They do not.
    Private,
    /// By way of the switch outside.
    Vepa,
}

/// A new link on top of the one with index `parent`.
pub fn add_child(name: &str, parent: u32, kind: ChildKind) -> Request {
    let operation = format!("add link {name}");
    let mut request = Request::new(NEW_LINK, CREATE_NEW, operation).fixed(&header(0, 0));
    request.text(IFLA_IFNAME, name);
    request.ne32(IFLA_LINK, parent);
    request.nest(IFLA_LINKINFO, |info| {
        info.text(IFLA_INFO_KIND, kind.name());
        info.nest(IFLA_INFO_DATA, |data| kind.write(data));
    });
    request
}

impl ChildKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Macvlan(_) => "macvlan",
            Self::Ipvlan(..) => "ipvlan",
            Self::Vlan(_) => "vlan",
        }
    }

    fn write(self, data: &mut Request) {
        match self {
            Self::Macvlan(mode) => {
                let number: u32 = match mode {
                    MacvlanMode::Private => 1,
                    MacvlanMode::Vepa => 2,
                    MacvlanMode::Bridge => 4,
                    MacvlanMode::Passthru => 8,
                };
                data.ne32(IFLA_MACVLAN_MODE, number);
            }
            Self::Ipvlan(mode, flag) => {
                let mode: u16 = match mode {
                    IpvlanMode::L2 => 0,
                    IpvlanMode::L3 => 1,
                    IpvlanMode::L3s => 2,
                };
                let flag: u16 = match flag {
                    IpvlanFlag::Bridge => 0,
                    IpvlanFlag::Private => 1,
                    IpvlanFlag::Vepa => 2,
                };
                data.attribute(IFLA_IPVLAN_MODE, &mode.to_ne_bytes());
                data.attribute(IFLA_IPVLAN_FLAGS, &flag.to_ne_bytes());
            }
            Self::Vlan(number) => data.attribute(IFLA_VLAN_ID, &number.to_ne_bytes()),
        }
    }
}

/// Changes a link.
pub fn set_link(link: LinkName<'_>, change: &LinkChange<'_>) -> Request {
    let mut request = named(NEW_LINK, link, "set", if change.up { UP } else { 0 });
    if let Some(name) = change.name {
        request.text(IFLA_IFNAME, name);
    }
    if let Some(mac) = change.mac {
        request.attribute(IFLA_ADDRESS, &mac);
    }
    if let Some(mtu) = change.mtu {
        request.ne32(IFLA_MTU, mtu);
    }
    if let Some(master) = change.master {
        request.ne32(IFLA_MASTER, master);
    }
    if change.no_link_local {
        request.nest(IFLA_AF_SPEC, |families| {
            families.nest(AF_INET6, |v6| {
                v6.attribute(IFLA_INET6_ADDR_GEN_MODE, &[ADDR_GEN_MODE_NONE]);
            });
        });
    }
    request
}

/// Moves a link to another namespace, under a name that may be new. It is set down on the way, and loses its
/// addresses.
pub fn move_link(link: u32, netns: BorrowedFd<'_>, name: &str) -> Request {
    let mut request = named(NEW_LINK, LinkName::Index(link), "move", 0);
    request.ne32(IFLA_NET_NS_FD, netns.as_raw_fd() as u32);
    request.text(IFLA_IFNAME, name);
    request
}

/// Settings of a bridge's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortMode {
    /// It talks to the bridge itself only, not to other isolated ports.
    Isolated,
    /// What came from it may be sent back to it.
    Hairpin,
}

/// Changes the setting of a bridge's port.
pub fn set_port(index: u32, mode: PortMode) -> Request {
    let mut request =
        Request::new(NEW_LINK, 0, format!("set port {index}")).fixed(&header(index, 0));
    let attribute = match mode {
        PortMode::Isolated => IFLA_BRPORT_ISOLATED,
        PortMode::Hairpin => IFLA_BRPORT_MODE,
    };
    request.nest(IFLA_LINKINFO, |info| {
        info.text(IFLA_INFO_SLAVE_KIND, "bridge");
        info.nest(IFLA_INFO_SLAVE_DATA, |data| data.attribute(attribute, &[1]));
    });
    request
}

/// Deletes a link; of a pair both sides go.
pub fn delete_link(link: LinkName<'_>) -> Request {
    named(DELETE_LINK, link, "delete", 0)
}

/// Puts a link into a group.
pub(super) fn set_group(name: &str, group: u32) -> Request {
    let mut request = named(NEW_LINK, LinkName::Name(name), "group", 0);
    request.ne32(IFLA_GROUP, group);
    request
}

/// Deletes all links of a group.
pub(super) fn delete_group(group: u32) -> Request {
    let request = Request::new(DELETE_LINK, 0, format!("delete links of group {group}"));
    let mut request = request.fixed(&header(0, 0));
    request.ne32(IFLA_GROUP, group);
    request
}

pub(super) fn get(name: &str) -> Request {
    named(GET_LINK, LinkName::Name(name), "get", 0)
}

pub(super) fn get_all() -> Request {
    Request::new(GET_LINK, 0, "list links".to_owned()).fixed(&header(0, 0))
}

pub(super) fn read(received: &Received<'_>) -> Result<Link, NetlinkError> {
    let fixed = received.payload.get(..16).ok_or(NetlinkError::Malformed)?;
    let mut link = Link {
        index: message::u32_at(fixed, 4)?,
        name: String::new(),
        mac: Vec::new(),
        mtu: 0,
        up: message::u32_at(fixed, 8)? & UP != 0,
        master: None,
        kind: String::new(),
        group: 0,
    };
    for (kind, payload) in message::attributes(&received.payload[16..]) {
        match kind {
            IFLA_IFNAME => link.name = message::text_of(payload),
            IFLA_ADDRESS => link.mac = payload.to_vec(),
            IFLA_MTU => link.mtu = message::u32_at(payload, 0)?,
            IFLA_MASTER => link.master = Some(message::u32_at(payload, 0)?),
            IFLA_GROUP => link.group = message::u32_at(payload, 0)?,
            IFLA_LINKINFO => {
                let info = message::attributes(payload).find(|(kind, _)| *kind == IFLA_INFO_KIND);
                link.kind = info
                    .map(|(_, text)| message::text_of(text))
                    .unwrap_or_default();
            }
            _ => {}
        }
    }
    Ok(link)
}

fn add(name: &str, kind: &str, mtu: Option<u32>) -> Request {
    let mut request =
        Request::new(NEW_LINK, CREATE_NEW, format!("add link {name}")).fixed(&header(0, 0));
    request.text(IFLA_IFNAME, name);
    if let Some(mtu) = mtu {
        request.ne32(IFLA_MTU, mtu);
    }
    request.nest(IFLA_LINKINFO, |info| info.text(IFLA_INFO_KIND, kind));
    request
}

fn named(kind: u16, link: LinkName<'_>, verb: &str, flags: u32) -> Request {
    match link {
        LinkName::Index(index) => {
            Request::new(kind, 0, format!("{verb} link {index}")).fixed(&header(index, flags))
        }
        LinkName::Name(name) => {
            let mut request =
                Request::new(kind, 0, format!("{verb} link {name}")).fixed(&header(0, flags));
            request.text(IFLA_IFNAME, name);
            request
        }
    }
}

/// `struct ifinfomsg`; only flags that are set are changed.
fn header(index: u32, flags: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&flags.to_ne_bytes());
    bytes
}
