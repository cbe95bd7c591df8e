//! Expressions: the small programs that rules are made of.

use crate::message::Request;

use super::{DATA_VALUE, DATA_VERDICT};

const NAME: u16 = 1;
const DATA: u16 = 2;
const SOURCE_NAT: u32 = 0;
const DESTINATION_NAT: u32 = 1;
const NFPROTO_IPV4: u8 = 2;
/// Offset of the sum in a header of IPv4.
const IPV4_SUM: u32 = 10;
/// `NFT_PAYLOAD_L4CSUM_PSEUDOHDR`.
const SUM_OF_PSEUDO_HEADER: u32 = 1;

/// A place for values while a rule runs. Numbered in words of four bytes; longer values take the next ones too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register(pub u8);

impl Register {
    /// `NFT_REG32_00` is number 8.
    const fn number(self) -> u32 {
        8 + self.0 as u32
    }
}

/// What to read about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaKey {
    /// Name of the link it came by, 16 bytes.
    InputName,
    /// Name of the link it leaves by, 16 bytes.
    OutputName,
    /// Network protocol: 2 for IPv4, 10 for IPv6; one byte.
    NetworkProtocol,
    /// Transport protocol, one byte.
    TransportProtocol,
}

/// What to read about a packet's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtKey {
    /// Bits: invalid 1, established 2, related 4, new 8, untracked 64; in the machine's order.
    State,
    /// Bits of `ip_conntrack_status`; in the machine's order.
    Status,
}

/// Where in a packet an offset counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The network header.
    Network,
    /// The transport header.
    Transport,
}

/// The end of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it go on to the next chain at the hook.
    Accept,
    /// Lose it.
    Drop,
    /// Back to the chain that jumped here.
    Return,
    /// On to a chain, then back.
    Jump(String),
}

/// One step of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Reads about the packet.
    Meta(MetaKey, Register),
    /// Reads from the packet.
    Payload {
        /// Counted from here.
        base: Base,
        /// Offset in bytes.
        offset: u32,
        /// Length in bytes.
        length: u32,
        /// Into here.
        register: Register,
    },
    /// Writes an address into the network header, and corrects the sums that cover it.
    SetAddress {
        /// 2 for IPv4, 10 for IPv6.
        family: u8,
        /// Where it stands in the header, in bytes.
        offset: u32,
        /// Length in bytes.
        length: u32,
        /// Holds it.
        register: Register,
    },
    /// Its connection is not tracked.
    Untrack,
    /// Reads about its connection.
    Ct(CtKey, Register),
    /// Reads what kind of address its destination is for this host (`RTN_*`), four bytes in the machine's order.
    DestinationKind(Register),
    /// Keeps only the bits of a mask.
    Mask(Register, Vec<u8>),
    /// Goes on only if the register holds this value.
    Equal(Register, Vec<u8>),
    /// Goes on only if it does not.
    NotEqual(Register, Vec<u8>),
    /// Looks the register up in a map and goes on with the value in the same register, if it is there.
    Lookup(String, Register),
    /// Goes on only if the register's value is in a set.
    Contained(String, Register),
    /// Puts a value into a register.
    Load(Register, Vec<u8>),
    /// Changes the source to an address in a register.
    SourceNat {
        /// 2 for IPv4, 10 for IPv6.
        family: u8,
        /// Holds the address.
        address: Register,
    },
    /// Changes the destination to an address in one register and a port in another.
    DestinationNat {
        /// 2 for IPv4, 10 for IPv6.
        family: u8,
        /// Holds the address.
        address: Register,
        /// Holds the port.
        port: Register,
    },
    /// Changes the source to this host's address on the way out.
    Masquerade,
    /// Changes the destination to this host's address on the link it came by.
    Redirect,
    /// Counts packets and bytes.
    Counter,
    /// Ends the rule.
    Verdict(Verdict),
}

impl Expression {
    /// Writes name and data into a list element.
    pub(super) fn write(&self, request: &mut Request) {
        request.text(NAME, self.name());
        request.nest(DATA, |data| self.write_data(data));
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Meta(..) => "meta",
            Self::Payload { .. } | Self::SetAddress { .. } => "payload",
            Self::Untrack => "notrack",
            Self::Ct(..) => "ct",
            Self::DestinationKind(_) => "fib",
            Self::Mask(..) => "bitwise",
            Self::Equal(..) | Self::NotEqual(..) => "cmp",
            Self::Lookup(..) | Self::Contained(..) => "lookup",
            Self::SourceNat { .. } | Self::DestinationNat { .. } => "nat",
            Self::Masquerade => "masq",
            Self::Redirect => "redir",
            Self::Counter => "counter",
            Self::Load(..) | Self::Verdict(_) => "immediate",
        }
    }

    // Numbers of attributes are those of nf_tables.h, each kind with its own list.
    fn write_data(&self, data: &mut Request) {
        match self {
            Self::Meta(key, register) => {
                data.be32(1, register.number());
                data.be32(2, meta_number(*key));
            }
            Self::Payload {
                base,
                offset,
                length,
                register,
            } => {
                data.be32(1, register.number());
                data.be32(2, if *base == Base::Network { 1 } else { 2 });
                data.be32(3, *offset);
                data.be32(4, *length);
            }
            Self::SetAddress {
                family,
                offset,
                length,
                register,
            } => {
                data.be32(5, register.number());
                // Of the network header; it alone of IPv4 has a sum of its own.
                data.be32(2, 1);
                data.be32(3, *offset);
                data.be32(4, *length);
                let of_ipv4 = *family == NFPROTO_IPV4;
                data.be32(6, u32::from(of_ipv4));
                data.be32(7, if of_ipv4 { IPV4_SUM } else { 0 });
                data.be32(8, SUM_OF_PSEUDO_HEADER);
            }
            Self::Ct(key, register) => {
                data.be32(1, register.number());
                data.be32(2, if *key == CtKey::State { 0 } else { 2 });
            }
            Self::DestinationKind(register) => {
                data.be32(1, register.number());
                // Result: the kind of address; of the destination.
                data.be32(2, 3);
                data.be32(3, 2);
            }
            Self::Mask(register, mask) => {
                data.be32(1, register.number());
                data.be32(2, register.number());
                data.be32(3, mask.len() as u32);
                data.nest(4, |value| value.attribute(DATA_VALUE, mask));
                data.nest(5, |value| value.attribute(DATA_VALUE, &vec![0; mask.len()]));
            }
            Self::Equal(register, value) => compare(data, *register, 0, value),
            Self::NotEqual(register, value) => compare(data, *register, 1, value),
            Self::Lookup(map, register) => {
                data.text(1, map);
                data.be32(2, register.number());
                data.be32(3, register.number());
            }
            Self::Contained(set, register) => {
                data.text(1, set);
                data.be32(2, register.number());
            }
            Self::Load(register, value) => {
                data.be32(1, register.number());
                data.nest(2, |inner| inner.attribute(DATA_VALUE, value));
            }
            Self::SourceNat { family, address } => {
                data.be32(1, SOURCE_NAT);
                data.be32(2, u32::from(*family));
                data.be32(3, address.number());
            }
            Self::DestinationNat {
                family,
                address,
                port,
            } => {
                data.be32(1, DESTINATION_NAT);
                data.be32(2, u32::from(*family));
                data.be32(3, address.number());
                data.be32(5, port.number());
            }
            Self::Masquerade | Self::Redirect | Self::Counter | Self::Untrack => {}
            Self::Verdict(verdict) => {
                data.be32(1, 0);
                data.nest(2, |value| {
                    value.nest(DATA_VERDICT, |inner| write_verdict(inner, verdict));
                });
            }
        }
    }
}

fn compare(data: &mut Request, register: Register, operator: u32, value: &[u8]) {
    data.be32(1, register.number());
    data.be32(2, operator);
    data.nest(3, |inner| inner.attribute(DATA_VALUE, value));
}

fn write_verdict(data: &mut Request, verdict: &Verdict) {
    let code: i32 = match verdict {
        Verdict::Drop => 0,
        Verdict::Accept => 1,
        Verdict::Jump(_) => -3,
        Verdict::Return => -5,
    };
    data.be32(1, code as u32);
    if let Verdict::Jump(chain) = verdict {
        data.text(2, chain);
    }
}

const fn meta_number(key: MetaKey) -> u32 {
    match key {
        MetaKey::InputName => 6,
        MetaKey::OutputName => 7,
        MetaKey::NetworkProtocol => 15,
        MetaKey::TransportProtocol => 16,
    }
}
