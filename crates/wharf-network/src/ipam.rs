//! Which addresses of a subnet are taken: one bit each.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The addresses of one subnet. The lowest free one is given out first, as dockerd does.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    subnet: Ipv4Net,
    /// Grows with the highest address that was taken.
    bits: Vec<u64>,
}

impl Pool {
    /// A pool in which the subnet's own address, its broadcast address and the gateway are taken.
    pub(crate) fn new(subnet: Ipv4Net, gateway: Ipv4Addr) -> Self {
        let mut pool = Self {
            subnet: subnet.trunc(),
            bits: Vec::new(),
        };
        pool.set(0);
        if let Some(offset) = pool.offset(gateway) {
            pool.set(offset);
        }
        pool
    }

    /// Takes the lowest free address.
    pub(crate) fn allocate(&mut self) -> Option<Ipv4Addr> {
        let word = self.bits.iter().position(|word| *word != u64::MAX);
        let offset = match word {
            Some(index) => index as u64 * 64 + u64::from(self.bits[index].trailing_ones()),
            None => self.bits.len() as u64 * 64,
        };
        if offset >= self.last() {
            return None;
        }
        self.set(offset);
        Some(Ipv4Addr::from(
            u32::from(self.subnet.addr()) + offset as u32,
        ))
    }

    /// Takes this address; whether it was free.
    pub(crate) fn take(&mut self, ip: Ipv4Addr) -> bool {
        match self.offset(ip) {
            Some(offset) if offset < self.last() && !self.is_set(offset) => {
                self.set(offset);
                true
            }
            _ => false,
        }
    }

    /// Gives an address back.
    pub(crate) fn release(&mut self, ip: Ipv4Addr) {
        if let Some(offset) = self.offset(ip)
            && let Some(word) = self.bits.get_mut((offset / 64) as usize)
        {
            *word &= !(1 << (offset % 64));
        }
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

    fn set(&mut self, offset: u64) {
        let index = (offset / 64) as usize;
        if self.bits.len() <= index {
            self.bits.resize(index + 1, 0);
        }
        self.bits[index] |= 1 << (offset % 64);
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
    fn a_whole_subnet_of_many_words() {
        let mut pool = pool("10.0.0.0/22");
        assert_eq!(std::iter::from_fn(|| pool.allocate()).count(), 1024 - 3);
        pool.release("10.0.2.9".parse().unwrap());
        assert!(pool.take("10.0.2.9".parse().unwrap()));
    }
}
