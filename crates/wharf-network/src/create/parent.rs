//! Options of the drivers `macvlan` and `ipvlan`, by Docker's names, and the link that they share.

use wharf_netlink::{ChildKind, IpvlanFlag, IpvlanMode, MacvlanMode};

use super::options::{self, PREFIX};
use crate::{MadeParent, Network, NetworkError, NewNetwork, Parent};

/// What is asked of the link.
pub(super) struct Wanted {
    pub(super) parent: Parent,
    pub(super) link_prefix: Option<String>,
    /// The network has no way to the outside.
    pub(super) internal: bool,
}

/// Reads the options of `new`, whose id will begin with `short`. Without a parent the containers have only each
/// other.
pub(super) fn read(new: &NewNetwork, short: &str) -> Result<Wanted, NetworkError> {
    let (mut interface, mut mode, mut flag) = ("", "", "");
    let (mut mtu, mut link_prefix) = (None, None);
    for (key, value) in &new.options {
        match (key.as_str(), key.strip_prefix(PREFIX)) {
            ("parent", _) => interface = value,
            ("macvlan_mode", _) if new.driver == "macvlan" => mode = value,
            ("ipvlan_mode", _) if new.driver == "ipvlan" => mode = value,
            ("ipvlan_flag", _) if new.driver == "ipvlan" => flag = value,
            (_, Some("driver.mtu")) => mtu = options::mtu(key, value)?,
            (_, Some("container_iface_prefix")) => {
                link_prefix = Some(options::link_name(key, value)?);
            }
            (_, Some("enable_ipv4" | "enable_ipv6")) => {}
            (_, Some(_)) => return Err(options::unknown(key, value, &new.driver)),
            (_, None) => {}
        }
    }
    let kind = match new.driver.as_str() {
        "macvlan" => ChildKind::Macvlan(macvlan_mode(mode)?),
        _ => ChildKind::Ipvlan(ipvlan_mode(mode)?, ipvlan_flag(flag)?),
    };
    let (interface, made) = match interface {
        "" => (format!("dm-{short}"), Some(MadeParent::Dummy)),
        "lo" => {
            return Err(NetworkError::Invalid(format!(
                "loopback interface is not a valid {} parent link",
                new.driver
            )));
        }
        name => (options::link_name("parent", name)?, None),
    };
    let internal = new.internal || made.is_some();
    let parent = Parent {
        interface,
        kind,
        made,
        mtu,
    };
    Ok(Wanted {
        parent,
        link_prefix,
        internal,
    })
}

/// A name such as eth0.10 is that of a tagged link, which is made if it is not there.
pub(super) fn tagged(name: &str) -> Result<MadeParent, NetworkError> {
    let bad = || {
        NetworkError::Invalid(format!(
            "invalid subinterface vlan name {name}, example formatting is eth0.10"
        ))
    };
    let (of, number) = name.rsplit_once('.').ok_or_else(bad)?;
    let number: u16 = number.parse().map_err(|_| bad())?;
    if of.is_empty() {
        return Err(bad());
    }
    if !(1..=4094).contains(&number) {
        return Err(NetworkError::Invalid(format!(
            "vlan id must be between 1-4094, received: {number}"
        )));
    }
    Ok(MadeParent::Vlan {
        of: of.to_owned(),
        number,
    })
}

/// What the kernel would refuse only when the first container comes.
pub(super) fn check_shared(
    wanted: &Parent,
    driver: &str,
    known: &[Network],
) -> Result<(), NetworkError> {
    let passthru = |parent: &Parent| parent.kind == ChildKind::Macvlan(MacvlanMode::Passthru);
    for other in known {
        let Some(parent) = &other.parent else {
            continue;
        };
        if parent.interface != wanted.interface {
            continue;
        }
        let refuse = |why: &str| {
            let (name, interface) = (&other.name, &parent.interface);
            Err(NetworkError::Forbidden(format!(
                "network {name} is already using parent interface {interface}{why}"
            )))
        };
        if other.driver.to_string() != driver {
            return refuse(" with another driver");
        }
        if passthru(parent) || passthru(wanted) {
            return refuse(", and mode passthru has it alone");
        }
        if let (ChildKind::Ipvlan(one, flag), ChildKind::Ipvlan(other, other_flag)) =
            (parent.kind, wanted.kind)
            && (one != other || flag != other_flag)
        {
            return refuse(" in another ipvlan mode");
        }
    }
    Ok(())
}

fn macvlan_mode(mode: &str) -> Result<MacvlanMode, NetworkError> {
    match mode {
        "" | "bridge" => Ok(MacvlanMode::Bridge),
        "private" => Ok(MacvlanMode::Private),
        "vepa" => Ok(MacvlanMode::Vepa),
        "passthru" => Ok(MacvlanMode::Passthru),
        _ => Err(NetworkError::Invalid(format!(
            "requested macvlan mode '{mode}' is not valid, 'bridge' mode is the macvlan driver default"
        ))),
    }
}

fn ipvlan_mode(mode: &str) -> Result<IpvlanMode, NetworkError> {
    match mode {
        "" | "l2" => Ok(IpvlanMode::L2),
        "l3" => Ok(IpvlanMode::L3),
        "l3s" => Ok(IpvlanMode::L3s),
        _ => Err(NetworkError::Invalid(format!(
            "requested ipvlan mode '{mode}' is not valid, 'l2' mode is the ipvlan driver default"
        ))),
    }
}

fn ipvlan_flag(flag: &str) -> Result<IpvlanFlag, NetworkError> {
    match flag {
        "" | "bridge" => Ok(IpvlanFlag::Bridge),
        "private" => Ok(IpvlanFlag::Private),
        "vepa" => Ok(IpvlanFlag::Vepa),
        _ => Err(NetworkError::Invalid(format!(
            "requested ipvlan flag '{flag}' is not valid, 'bridge' is the ipvlan driver flag default"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tagged_links_by_name() {
        let of = |name| tagged(name).map_err(|error| error.to_string());
        let vlan = |of: &str, number| MadeParent::Vlan {
            of: of.to_owned(),
            number,
        };
        assert_eq!(of("eth0.10"), Ok(vlan("eth0", 10)));
        assert_eq!(of("a.b.4094"), Ok(vlan("a.b", 4094)));
        for bad in ["eth0", ".10", "eth0.x", "eth0.0", "eth0.4095", "eth0.-1"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
