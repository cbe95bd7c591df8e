//! Which IPv6 addresses of a subnet are taken. Subnets are too large for a bit each.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use crate::ipam::AddressPool;

/// The addresses of one subnet. The lowest free one of its range is given out first.
#[derive(Clone, Debug)]
pub(crate) struct Pool6 {
    subnet: Ipv6Net,
    range: Ipv6Net,
    taken: BTreeSet<u128>,
}

impl Pool6 {
    /// A pool in which the subnet's own address (that of all routers) and `reserved` are taken.
    pub(crate) fn new(
        subnet: Ipv6Net,
        range: Option<Ipv6Net>,
        reserved: impl IntoIterator<Item = Ipv6Addr>,
    ) -> Self {
        let subnet = subnet.trunc();
        let mut taken: BTreeSet<u128> = reserved.into_iter().map(u128::from).collect();
        if subnet.prefix_len() < 127 {
            taken.insert(subnet.addr().into());
        }
        Self {
            subnet,
            range: range.unwrap_or(subnet).trunc(),
            taken,
        }
    }
}

impl AddressPool for Pool6 {
    type Ip = Ipv6Addr;
    const FAMILY: &'static str = "IPv6";

    fn prefix(&self) -> u8 {
        self.subnet.prefix_len()
    }

    fn allocate(&mut self) -> Option<Ipv6Addr> {
        let (first, last) = (
            u128::from(self.range.network()),
            u128::from(self.range.broadcast()),
        );
        let mut candidate = first;
        for taken in self.taken.range(first..=last) {
            if *taken != candidate {
                break;
            }
            candidate = candidate.checked_add(1)?;
        }
        (candidate <= last).then(|| {
            self.taken.insert(candidate);
            candidate.into()
        })
    }

    fn take(&mut self, ip: Ipv6Addr) -> bool {
        self.subnet.contains(&ip) && self.taken.insert(ip.into())
    }

    fn usage(&self) -> (String, u64, u64) {
        let (first, last) = (
            u128::from(self.range.network()),
            u128::from(self.range.broadcast()),
        );
        let within = self.taken.range(first..=last).count() as u128;
        let left = (last - first).saturating_add(1) - within;
        let clamp = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
        (
            self.subnet.to_string(),
            self.taken.len() as u64,
            clamp(left),
        )
    }

    fn contains(&self, ip: Ipv6Addr) -> bool {
        self.subnet.contains(&ip)
    }

    fn release(&mut self, ip: Ipv6Addr) {
        self.taken.remove(&u128::from(ip));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_one_first_within_the_range() {
        let subnet: Ipv6Net = "fd00:1::/64".parse().unwrap();
        let gateway = "fd00:1::1".parse().unwrap();
        let mut pool = Pool6::new(subnet, None, [gateway]);
        let next = |pool: &mut Pool6| pool.allocate().unwrap().to_string();
        assert_eq!(next(&mut pool), "fd00:1::2");
        assert_eq!(next(&mut pool), "fd00:1::3");
        pool.release("fd00:1::2".parse().unwrap());
        assert_eq!(next(&mut pool), "fd00:1::2");
        assert!(!pool.take(gateway) && !pool.take("fd00:2::9".parse().unwrap()));
        let mut small = Pool6::new(subnet, "fd00:1::10/127".parse().ok(), [gateway]);
        assert_eq!(next(&mut small), "fd00:1::10");
        assert_eq!(next(&mut small), "fd00:1::11");
        assert_eq!(small.allocate(), None);
    }
}
