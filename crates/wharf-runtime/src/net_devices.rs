//! Network devices of the host that become the container's (OCI, `config-linux`, network devices).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;

use ipnet::IpNet;
use oci_spec::runtime::Spec;
use wharf_netlink::{LinkChange, LinkName, Route, add_address, move_link, set_link};
use wharf_sys::netns;

use crate::Failure;

/// A device that has been moved: its name now, and the addresses that it had.
struct Moved {
    name: String,
    addresses: Vec<IpNet>,
}

/// Moves the devices of `spec` from the caller's network namespace to `target`, and sets them up there with the
/// addresses that they had.
pub(crate) fn give(spec: &Spec, target: BorrowedFd<'_>) -> Result<(), Failure> {
    let linux = spec.linux().as_ref();
    let listed = linux.and_then(|linux| linux.net_devices().as_ref());
    let listed: BTreeMap<_, _> = listed.into_iter().flatten().collect();
    if listed.is_empty() {
        return Ok(());
    }
    let mut here = Route::open().map_err(netlink)?;
    let mut moved = Vec::new();
    for (name, device) in listed {
        let new = device.name().as_deref().filter(|name| !name.is_empty());
        let one = one(&mut here, name, new.unwrap_or(name), target);
        moved.push(one.map_err(Failure::at(format!("move network device {name:?}")))?);
    }
    let done = netns::within(target, || moved.iter().try_for_each(set_up));
    done.map_err(Failure::at("set up network devices"))
}

fn one(here: &mut Route, name: &str, new: &str, target: BorrowedFd<'_>) -> io::Result<Moved> {
    let link = here.link(name).map_err(io::Error::other)?;
    let link = link.ok_or_else(|| io::Error::other("no such network device"))?;
    let addresses = here.addresses().map_err(io::Error::other)?.into_iter();
    let addresses = addresses
        .filter(|address| address.link == link.index)
        .map(|address| address.network)
        .filter(is_global);
    let moved = Moved {
        name: new.to_owned(),
        addresses: addresses.collect(),
    };
    here.apply(&[move_link(link.index, target, new)])
        .map_err(io::Error::other)?;
    Ok(moved)
}

/// What is of one link only comes again by itself.
fn is_global(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => !network.addr().is_link_local() && !network.addr().is_loopback(),
        IpNet::V6(network) => {
            !network.addr().is_unicast_link_local() && !network.addr().is_loopback()
        }
    }
}

fn set_up(device: &Moved) -> io::Result<()> {
    let mut there = Route::open().map_err(io::Error::other)?;
    let link = there.link(&device.name).map_err(io::Error::other)?;
    let link = link.ok_or_else(|| io::Error::other("it has not arrived"))?;
    let addresses = device.addresses.iter();
    let mut requests: Vec<_> = addresses
        .map(|network| add_address(link.index, *network))
        .collect();
    let up = LinkChange {
        up: true,
        ..LinkChange::default()
    };
    requests.push(set_link(LinkName::Index(link.index), &up));
    there.apply(&requests).map_err(io::Error::other)
}

fn netlink(error: wharf_netlink::NetlinkError) -> Failure {
    Failure::at("open a netlink socket")(io::Error::other(error))
}
