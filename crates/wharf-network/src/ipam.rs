//! Which addresses of a subnet are taken: one bit each.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// What the addresses of a subnet of either family have in common.
pub(crate) trait AddressPool {
    /// An address of the family.
    type Ip: Copy + Into<std::net::IpAddr>;
    /// The family's name in errors.
    const FAMILY: &'static str;

    /// Length of the subnet's prefix, in bits.
    fn prefix(&self) -> u8;
    /// Whether this is an address of the subnet.
    fn contains(&self, ip: Self::Ip) -> bool;
    /// Takes the lowest free address of the range.
    fn allocate(&mut self) -> Option<Self::Ip>;
    /// Takes this address; whether it was free.
    fn take(&mut self, ip: Self::Ip) -> bool;
    /// Gives an address back.
    fn release(&mut self, ip: Self::Ip);
    /// The subnet, how many of its addresses are taken (its own and the broadcast address among them), and how many
    /// are left in the range; no number is larger than 64 bits hold.
    fn usage(&self) -> (String, u64, u64);
}

/// The addresses of one subnet. The lowest free one is given out first, as dockerd does.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    subnet: Ipv4Net,
    /// Offsets that are given out by themselves, both ends included.
    range: (u64, u64),
    /// Grows with the highest address that was taken.
    bits: Vec<u64>,
}

impl Pool {
    /// A pool in which the subnet's own address, its broadcast address and the gateway are taken.
    #[cfg(test)]
    fn new(subnet: Ipv4Net, gateway: Ipv4Addr) -> Self {
        Self::with_range(subnet, None, [gateway])
    }

    /// A pool in which the subnet's own address, its broadcast address and `reserved` are taken, and which gives
    /// out those of `range`.
    pub(crate) fn with_range(
        subnet: Ipv4Net,
        range: Option<Ipv4Net>,
        reserved: impl IntoIterator<Item = Ipv4Addr>,
    ) -> Self {
        let mut pool = Self {
            subnet: subnet.trunc(),
            range: (0, 0),
            bits: Vec::new(),
        };
        let all = (0, pool.last().saturating_sub(1));
        pool.range = range.map_or(all, |range| {
            let offset = |ip| pool.offset(ip).unwrap_or(0);
            (
                offset(range.network()),
                offset(range.broadcast()).min(all.1),
            )
        });
        if subnet.prefix_len() < 31 {
            pool.set(0);
        }
        for ip in reserved {
            if let Some(offset) = pool.offset(ip) {
                pool.set(offset);
            }
        }
        pool
    }

    /// Offset of the broadcast address, or one past the end of a subnet so small that it has none.
    fn last(&self) -> u64 {
        let size = 1u64 << (32 - self.subnet.prefix_len());
        if size > 2 { size - 1 } else { size }
    }

    fn offset(&self, ip: Ipv4Addr) -> Option<u64> {
        let inside = self.subnet.contains(&ip);
        inside.then(|| u64::from(u32::from(ip) - u32::from(self.subnet.addr())))
    }

    fn is_set(&self, offset: u64) -> bool {
        let word = self.bits.get((offset / 64) as usize).copied().unwrap_or(0);
        word & (1 << (offset % 64)) != 0
    }

    /// How many offsets are taken, of these with both ends.
    fn taken_within(&self, first: u64, last: u64) -> u64 {
        let words = self.bits.iter().zip((0u64..).step_by(64));
        let within = words.map(|(word, start)| {
            let below = first.saturating_sub(start).min(64);
            let above = (start + 63).saturating_sub(last).min(64);
            let low = u64::MAX.checked_shl(below as u32).unwrap_or(0);
            let high = u64::MAX.checked_shr(above as u32).unwrap_or(0);
            u64::from((word & low & high).count_ones())
        });
        within.sum()
    }

    fn set(&mut self, offset: u64) {
        let index = (offset / 64) as usize;
        if self.bits.len() <= index {
            self.bits.resize(index + 1, 0);
        }
        self.bits[index] |= 1 << (offset % 64);
    }
}

impl AddressPool for Pool {
    type Ip = Ipv4Addr;
    const FAMILY: &'static str = "IPv4";

    fn prefix(&self) -> u8 {
        self.subnet.prefix_len()
    }

    fn contains(&self, ip: Ipv4Addr) -> bool {
        self.subnet.contains(&ip)
    }

    fn allocate(&mut self) -> Option<Ipv4Addr> {
        let (first, last) = self.range;
        let mut offset = first;
        while offset <= last {
            let word = self.bits.get((offset / 64) as usize).copied().unwrap_or(0);
            // Bits below the offset count as taken: they are of no interest.
            let taken = word | ((1 << (offset % 64)) - 1);
            if taken != u64::MAX {
                let free = offset / 64 * 64 + u64::from(taken.trailing_ones());
                if free > last {
                    return None;
                }
                self.set(free);
                return Some(Ipv4Addr::from(u32::from(self.subnet.addr()) + free as u32));
            }
            offset = (offset / 64 + 1) * 64;
        }
        None
    }

    fn take(&mut self, ip: Ipv4Addr) -> bool {
        match self.offset(ip) {
            Some(offset) if offset < self.last() && !self.is_set(offset) => {
                self.set(offset);
                true
            }
            _ => false,
        }
    }

    fn release(&mut self, ip: Ipv4Addr) {
        if let Some(offset) = self.offset(ip)
            && let Some(word) = self.bits.get_mut((offset / 64) as usize)
        {
            *word &= !(1 << (offset % 64));
        }
    }

    fn usage(&self) -> (String, u64, u64) {
        let taken: u64 = self
            .bits
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum();
        let (first, last) = self.range;
        let left = (last + 1).saturating_sub(first) - self.taken_within(first, last);
        let size = 1u64 << (32 - self.subnet.prefix_len());
        (self.subnet.to_string(), taken + (size - self.last()), left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(subnet: &str) -> Pool {
        let net: Ipv4Net = subnet.parse().unwrap();
        Pool::new(net, net.hosts().next().unwrap())
    }

    #[test]
    fn ascending_and_the_lowest_free_one_first() {
        let mut pool = pool("172.17.0.0/16");
        let first: Vec<_> = (0..3)
            .map(|_| pool.allocate().unwrap().to_string())
            .collect();
        assert_eq!(first, ["172.17.0.2", "172.17.0.3", "172.17.0.4"]);
        pool.release("172.17.0.3".parse().unwrap());
        assert_eq!(pool.allocate().unwrap().to_string(), "172.17.0.3");
        assert_eq!(pool.allocate().unwrap().to_string(), "172.17.0.5");
    }

    #[test]
    fn network_gateway_and_broadcast_are_never_given() {
        let mut pool = pool("10.0.0.0/29");
        let all: Vec<_> = std::iter::from_fn(|| pool.allocate())
            .map(|ip| ip.octets()[3])
            .collect();
        assert_eq!(all, [2, 3, 4, 5, 6]);
        for taken in ["10.0.0.0", "10.0.0.1", "10.0.0.7", "10.0.0.3", "10.0.1.1"] {
            assert!(!pool.take(taken.parse().unwrap()), "{taken}");
        }
    }

    #[test]
    fn a_range_is_given_out_and_the_rest_can_be_asked_for() {
        let (subnet, range) = ("10.0.0.0/16", "10.0.5.0/30");
        let gateway = "10.0.5.0".parse().unwrap();
        let mut pool = Pool::with_range(subnet.parse().unwrap(), range.parse().ok(), [gateway]);
        let all: Vec<_> = std::iter::from_fn(|| pool.allocate())
            .map(|ip| ip.octets()[3])
            .collect();
        assert_eq!(all, [1, 2, 3]);
        assert!(pool.take("10.0.200.1".parse().unwrap()));
    }

    #[test]
    fn what_is_left_of_a_range_is_counted_by_words() {
        let mut pool = Pool::with_range(
            "10.0.0.0/8".parse().unwrap(),
            "10.0.1.32/26"
                .parse::<Ipv4Net>()
                .ok()
                .map(|net| net.trunc()),
            ["10.0.0.1".parse().unwrap()],
        );
        assert_eq!(pool.usage(), ("10.0.0.0/8".to_owned(), 3, 64));
        for ip in ["10.0.1.0", "10.0.1.63", "10.0.1.64", "10.0.0.255"] {
            assert!(pool.take(ip.parse().unwrap()), "{ip}");
        }
        assert_eq!(pool.usage(), ("10.0.0.0/8".to_owned(), 7, 62));
        let left = |subnet: &str| Pool::with_range(subnet.parse().unwrap(), None, []).usage();
        assert_eq!(left("10.0.0.0/8").2, (1 << 24) - 2);
        assert_eq!(left("10.0.0.0/31").2, 2);
        assert_eq!(left("10.0.0.0/32").2, 1);
    }

    #[test]
    fn a_whole_subnet_of_many_words() {
        let mut pool = pool("10.0.0.0/22");
        assert_eq!(std::iter::from_fn(|| pool.allocate()).count(), 1024 - 3);
        pool.release("10.0.2.9".parse().unwrap());
        assert!(pool.take("10.0.2.9".parse().unwrap()));
    }
}
