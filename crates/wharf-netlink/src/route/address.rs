//! Addresses, routes, neighbours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{CREATE_NEW, CREATE_OR_REPLACE};
use crate::message::{self, Received, Request};

const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
const NEW_NEIGHBOUR: u16 = 28;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NEIGHBOUR_PERMANENT: u16 = 0x80;
const TABLE_MAIN: u8 = 254;
const PROTOCOL_BOOT: u8 = 3;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const KIND_UNICAST: u8 = 1;

/// An address of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of the link.
    pub link: u32,
    /// The address with its prefix.
    pub network: IpNet,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteEntry {
    /// Destination; of length 0 it is the default route.
    pub destination: IpNet,
    /// Next router.
    pub gateway: Option<IpAddr>,
    /// Index of the link that packets leave by.
    pub link: Option<u32>,
}

/// Gives a link an address, with the subnet's broadcast address for IPv4.
pub fn add_address(link: u32, network: IpNet) -> Request {
    let family = family(network.addr());
    let fixed = [family, network.prefix_len(), 0, SCOPE_UNIVERSE];
    let mut header = fixed.to_vec();
    header.extend_from_slice(&link.to_ne_bytes());
    let operation = format!("add address {network}");
    let mut request = Request::new(NEW_ADDRESS, CREATE_NEW, operation).fixed(&header);
    let bytes = octets(network.addr());
    request.attribute(IFA_LOCAL, &bytes);
    request.attribute(IFA_ADDRESS, &bytes);
    if let IpNet::V4(v4) = network
        && v4.prefix_len() < 31
    {
        request.attribute(IFA_BROADCAST, &v4.broadcast().octets());
    }
    request
}

/// A route to `destination`, through a router or straight on a link.
pub fn add_route(destination: IpNet, gateway: Option<IpAddr>, link: Option<u32>) -> Request {
    route(CREATE_NEW, destination, gateway, link)
}

/// As [`add_route`], in the place of another route to the same destination.
pub fn replace_route(destination: IpNet, gateway: Option<IpAddr>, link: Option<u32>) -> Request {
    route(CREATE_OR_REPLACE, destination, gateway, link)
}

fn route(flags: u16, destination: IpNet, gateway: Option<IpAddr>, link: Option<u32>) -> Request {
    let scope = if gateway.is_some() {
        SCOPE_UNIVERSE
    } else {
        SCOPE_LINK
    };
    let mut header = [0; 12];
    header[0] = family(destination.addr());
    header[1] = destination.prefix_len();
    header[4] = TABLE_MAIN;
    header[5] = PROTOCOL_BOOT;
    header[6] = scope;
    header[7] = KIND_UNICAST;
    let operation = format!("add route {destination}");
    let mut request = Request::new(NEW_ROUTE, flags, operation).fixed(&header);
    if destination.prefix_len() > 0 {
        request.attribute(RTA_DST, &octets(destination.addr()));
    }
    if let Some(gateway) = gateway {
        request.attribute(RTA_GATEWAY, &octets(gateway));
    }
    if let Some(link) = link {
        request.ne32(RTA_OIF, link);
    }
    request
}

/// A fixed neighbour: the hardware address behind an address.
pub fn add_neighbour(link: u32, ip: IpAddr, mac: [u8; 6]) -> Request {
    let mut header = [0; 12];
    header[0] = family(ip);
    header[4..8].copy_from_slice(&link.to_ne_bytes());
    header[8..10].copy_from_slice(&NEIGHBOUR_PERMANENT.to_ne_bytes());
    let operation = format!("add neighbour {ip}");
    let mut request = Request::new(NEW_NEIGHBOUR, CREATE_OR_REPLACE, operation).fixed(&header);
    request.attribute(NDA_DST, &octets(ip));
    request.attribute(NDA_LLADDR, &mac);
    request
}

pub(super) fn get_all() -> Request {
    Request::new(GET_ADDRESS, 0, "list addresses".to_owned()).fixed(&[0; 8])
}

pub(super) fn get_routes() -> Request {
    Request::new(GET_ROUTE, 0, "list routes".to_owned()).fixed(&[0; 12])
}

pub(super) fn read(received: &Received<'_>) -> Option<Address> {
    let fixed = received.payload.get(..8)?;
    let mut address = None;
    for (kind, payload) in message::attributes(&received.payload[8..]) {
        // Of a point-to-point link IFA_ADDRESS is the other side; IFA_LOCAL comes after it and wins.
        if kind == IFA_LOCAL || (kind == IFA_ADDRESS && address.is_none()) {
            address = ip(payload);
        }
    }
    Some(Address {
        link: message::u32_at(fixed, 4).ok()?,
        network: IpNet::new(address?, fixed[1]).ok()?,
    })
}

pub(super) fn read_route(received: &Received<'_>) -> Option<RouteEntry> {
    let fixed = received.payload.get(..12)?;
    let unspecified = match i32::from(fixed[0]) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    if fixed[4] != TABLE_MAIN || fixed[7] != KIND_UNICAST {
        return None;
    }
    let (mut destination, mut gateway, mut link) = (unspecified, None, None);
    for (kind, payload) in message::attributes(&received.payload[12..]) {
        match kind {
            RTA_DST => destination = ip(payload)?,
            RTA_GATEWAY => gateway = ip(payload),
            RTA_OIF => link = message::u32_at(payload, 0).ok(),
            _ => {}
        }
    }
    Some(RouteEntry {
        destination: IpNet::new(destination, fixed[1]).ok()?,
        gateway,
        link,
    })
}

fn family(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => libc::AF_INET as u8,
        IpAddr::V6(_) => libc::AF_INET6 as u8,
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn ip(payload: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(payload) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(payload)
        .ok()
        .map(|sixteen| Ipv6Addr::from(sixteen).into())
}
