//! Links of the host under networks of the drivers `macvlan` and `ipvlan`.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::io::Errno;
use wharf_netlink::{
    ChildKind, IpvlanMode, LinkChange, LinkName, Route, add_child, add_dummy, delete_link,
    move_link, set_link,
};

use crate::error::kernel;
use crate::pool::random_link_name;
use crate::{MadeParent, NetworkError, Parent};

impl Parent {
    /// Whether packets leave without a router's address: the parent's routes decide.
    pub(crate) fn is_routerless(&self) -> bool {
        matches!(
            self.kind,
            ChildKind::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s, _)
        )
    }

    /// Whether a child has a hardware address of its own.
    pub(crate) fn has_macs(&self) -> bool {
        matches!(self.kind, ChildKind::Macvlan(_))
    }

    const fn driver(&self) -> &'static str {
        match self.kind {
            ChildKind::Ipvlan(..) => "ipvlan",
            _ => "macvlan",
        }
    }

    /// Makes the link if it is one of ours and not there, and tries whether the kernel can have children of it.
    /// Returns its index.
    pub(crate) fn ensure(&self, route: &mut Route) -> Result<u32, NetworkError> {
        let find = |route: &mut Route, name: &str| -> Result<Option<u32>, NetworkError> {
            let link = route
                .link(name)
                .map_err(kernel("look for the parent link"))?;
            Ok(link.map(|link| link.index))
        };
        if let Some(index) = find(route, &self.interface)? {
            return Ok(index);
        }
        let missing = || NetworkError::NoParent(self.interface.clone());
        let request = match &self.made {
            None => return Err(missing()),
            Some(MadeParent::Dummy) => add_dummy(&self.interface),
            Some(MadeParent::Vlan { of, number }) => {
                let parent = find(route, of)?.ok_or_else(|| NetworkError::NoParent(of.clone()))?;
                add_child(&self.interface, parent, ChildKind::Vlan(*number))
            }
        };
        let up = LinkChange {
            up: true,
            ..LinkChange::default()
        };
        let made = route.apply(&[request, set_link(LinkName::Name(&self.interface), &up)]);
        if let Err(error) = made {
            // The second request fails with the first one; a kernel without the kind of link is worth its own words.
            return Err(match error.is(Errno::OPNOTSUPP) {
                true => NetworkError::NoKind(match self.made {
                    Some(MadeParent::Vlan { .. }) => "VLAN sub-interfaces (8021q)",
                    _ => "dummy links, so a network needs the option parent",
                }),
                false => kernel("make the parent link")(error),
            });
        }
        find(route, &self.interface)?.ok_or_else(missing)
    }

    /// Whether the kernel makes children of the link with this index: a network whose first container would fail
    /// is refused.
    pub(crate) fn probe(&self, index: u32, route: &mut Route) -> Result<(), NetworkError> {
        let name = self.add(index, route)?;
        route
            .apply(&[delete_link(LinkName::Name(&name))])
            .map_err(kernel("take a link down"))
    }

    /// A new child in the host's namespace; its name.
    fn add(&self, index: u32, route: &mut Route) -> Result<String, NetworkError> {
        let name = random_link_name();
        route
            .apply(&[add_child(&name, index, self.kind)])
            .map_err(|error| match error.is(Errno::OPNOTSUPP) {
                true => NetworkError::NoKind(self.driver()),
                false => kernel("make a link on top of the parent")(error),
            })?;
        Ok(name)
    }

    /// A child of the link with this index, moved into a namespace under the name `inner`. Returns its index
    /// there.
    pub(crate) fn child(
        &self,
        index: u32,
        netns: &OwnedFd,
        inner: &str,
        route: &mut Route,
        inside: &mut Route,
    ) -> Result<u32, NetworkError> {
        let name = self.add(index, route)?;
        let moved = match route.link(&name) {
            Ok(Some(link)) => route.apply(&[move_link(link.index, netns.as_fd(), inner)]),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = moved {
            // Whatever this says, the first error is the one to tell.
            let _ = route.apply(&[delete_link(LinkName::Name(&name))]);
            return Err(kernel("move a link into a container")(error));
        }
        let link = inside
            .link(inner)
            .map_err(kernel("find a container's link"))?;
        let link = link.ok_or_else(|| NetworkError::NotFound(inner.to_owned()))?;
        Ok(link.index)
    }

    /// Takes the link down if it is one of ours.
    pub(crate) fn remove(&self, route: &mut Route) -> Result<(), NetworkError> {
        if self.made.is_none() {
            return Ok(());
        }
        match route.apply(&[delete_link(LinkName::Name(&self.interface))]) {
            Err(error) if !error.is(Errno::NODEV) => {
                Err(kernel("take the parent link down")(error))
            }
            _ => Ok(()),
        }
    }
}
