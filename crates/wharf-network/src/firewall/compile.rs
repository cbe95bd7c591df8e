//! Rules as an nftables transaction.

use std::net::IpAddr;

use ipnet::IpNet;
use wharf_netlink::nft::{
    Base, BaseChain, Batch, ChainKind, CtKey, Expression, Family as Tables, Field, Map, MetaKey,
    Register, Verdict,
};

use super::table::Ownership;
use super::{
    Action, Destination, Elements, Family, Hook, Match, PortMap, Rule, Ruleset, Set, TABLE, Target,
};

/// First word of the registers; links' names, addresses and the maps' keys take the next ones too.
const R0: Register = Register(0);
const ICMP_REDIRECT: u8 = 5;
/// `ND_REDIRECT` of ICMPv6.
const NEIGHBOUR_REDIRECT: u8 = 137;
/// `RTN_LOCAL`.
const LOCAL: u32 = 2;
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
const UNTRACKED: u32 = 64;
/// `IPS_DST_NAT`.
const DESTINATION_CHANGED: u32 = 1 << 5;
/// Names of links are compared with their padding.
const LINK_NAME: usize = 16;

impl Ruleset {
    /// The transaction that puts this ruleset in the place of whatever table of ours is there.
    pub(crate) fn batch(&self, ownership: Ownership) -> Batch<'static> {
        let mut batch = Batch::new(Tables::Inet, TABLE);
        // Deleting needs the table to be there; adding one that is there does nothing.
        batch.add_table();
        batch.delete_table();
        match ownership {
            Ownership::Socket => batch.add_own_table(),
            Ownership::Anybody => batch.add_table(),
        }
        self.add_maps(&mut batch);
        for chain in &self.chains {
            batch.add_chain(chain.name, chain.hook.map(base));
        }
        for chain in &self.chains {
            for rule in &chain.rules {
                batch.add_rule(chain.name, &rule.steps());
            }
        }
        batch
    }

    /// The transaction that takes our table away.
    pub fn removal() -> Batch<'static> {
        let mut batch = Batch::new(Tables::Inet, TABLE);
        batch.add_table();
        batch.delete_table();
        batch
    }

    /// The transaction that asks whether the kernel knows tables of one socket, where no table of ours is.
    pub(super) fn question() -> Batch<'static> {
        let mut batch = Batch::new(Tables::Inet, TABLE);
        batch.add_own_table();
        batch.delete_table();
        batch
    }

    fn add_maps(&self, batch: &mut Batch<'_>) {
        for set in &self.sets {
            let key = [set.family.field(), Field::Protocol, Field::Port];
            let key = match &set.elements {
                Elements::Ports(_) => &key[..],
                Elements::Addresses(_) => &key[..1],
            };
            batch.add_map(&Map {
                name: set.name,
                key,
                value: &[],
                elements: set.entries(),
            });
        }
        for map in &self.maps {
            add_map(map, batch);
        }
    }
}

impl Rule {
    /// As the kernel takes it.
    pub(super) fn steps(&self) -> Vec<Expression> {
        let mut steps: Vec<Expression> = self.matches.iter().flat_map(condition).collect();
        steps.extend(action(self.action));
        steps
    }
}

/// Entries of a map or set as the kernel takes them: each field padded to four bytes.
pub(super) type Entries = Vec<(Vec<u8>, Vec<u8>)>;

impl Set {
    pub(super) fn entries(&self) -> Entries {
        let keys: Vec<Vec<u8>> = match &self.elements {
            Elements::Ports(all) => all.iter().map(address_and_port).collect(),
            Elements::Addresses(all) => all.iter().copied().map(octets).collect(),
        };
        keys.into_iter().map(|key| (key, Vec::new())).collect()
    }
}

impl PortMap {
    pub(super) fn entries(&self) -> Entries {
        let key_of = |target: &Target| match self.by_address {
            true => address_and_port(target),
            false => protocol_and_port(target),
        };
        let value_of = |to: &Destination| match self.to_port {
            true => destination(to),
            false => octets(to.address),
        };
        let entries = self.entries.iter();
        entries
            .map(|(target, to)| (key_of(target), value_of(to)))
            .collect()
    }
}

fn add_map(map: &PortMap, batch: &mut Batch<'_>) {
    let address = map.family.field();
    let key = [address, Field::Protocol, Field::Port];
    let value = [address, Field::Port];
    batch.add_map(&Map {
        name: map.name,
        key: if map.by_address { &key } else { &key[1..] },
        value: if map.to_port { &value } else { &value[..1] },
        elements: map.entries(),
    });
}

impl Family {
    /// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
    const fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    const fn field(self) -> Field {
        match self {
            Self::V4 => Field::Ipv4,
            Self::V6 => Field::Ipv6,
        }
    }

    /// Length of an address, in bytes.
    const fn length(self) -> u32 {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }

    /// The register behind an address that begins in the first one.
    const fn after(self) -> u8 {
        (self.length() / 4) as u8
    }

    /// Where the source stands in the header.
    const fn source(self) -> u32 {
        match self {
            Self::V4 => 12,
            Self::V6 => 8,
        }
    }

    const fn destination(self) -> u32 {
        self.source() + self.length()
    }

    const fn icmp(self) -> u8 {
        match self {
            Self::V4 => 1,
            Self::V6 => 58,
        }
    }
}

fn base(hook: Hook) -> BaseChain {
    use wharf_netlink::nft::Hook as At;
    let (kind, hook, priority) = match hook {
        Hook::FirstPrerouting => (ChainKind::Filter, At::Prerouting, -300),
        Hook::BeforeTracking => (ChainKind::Filter, At::Output, -201),
        Hook::NatPrerouting => (ChainKind::Nat, At::Prerouting, -100),
        Hook::NatOutput => (ChainKind::Nat, At::Output, -100),
        Hook::NatPostrouting => (ChainKind::Nat, At::Postrouting, 100),
        Hook::FilterForward => (ChainKind::Filter, At::Forward, 0),
        Hook::FilterOutput => (ChainKind::Filter, At::Output, 0),
        Hook::LastInput => (ChainKind::Filter, At::Input, 101),
    };
    BaseChain {
        kind,
        hook,
        priority,
    }
}

fn condition(condition: &Match) -> Vec<Expression> {
    match condition {
        Match::Input(link) => vec![
            Expression::Meta(MetaKey::InputName, R0),
            Expression::Equal(R0, link_name(link)),
        ],
        Match::InputNot(link) => vec![
            Expression::Meta(MetaKey::InputName, R0),
            Expression::NotEqual(R0, link_name(link)),
        ],
        Match::Output(link) => vec![
            Expression::Meta(MetaKey::OutputName, R0),
            Expression::Equal(R0, link_name(link)),
        ],
        Match::OutputNot(link) => vec![
            Expression::Meta(MetaKey::OutputName, R0),
            Expression::NotEqual(R0, link_name(link)),
        ],
        Match::Is(family) => only(*family),
        Match::Source(net) => subnet(Family::of(net.addr()).source(), net, true),
        Match::SourceNot(net) => subnet(Family::of(net.addr()).source(), net, false),
        Match::Destination(net) => subnet(Family::of(net.addr()).destination(), net, true),
        Match::SourceAmong(set, family) => among(set, *family, family.source()),
        Match::DestinationAmong(set, family) => among(set, *family, family.destination()),
        Match::DestinationNot(net) => subnet(Family::of(net.addr()).destination(), net, false),
        Match::DestinationLocal => vec![
            Expression::DestinationKind(R0),
            Expression::Equal(R0, LOCAL.to_ne_bytes().to_vec()),
        ],
        Match::SourceIn(set, family) => contained(set, *family, family.source()),
        Match::DestinationIn(set, family) => contained(set, *family, family.destination()),
        Match::Known => bits(CtKey::State, ESTABLISHED_OR_RELATED),
        Match::Untracked => bits(CtKey::State, UNTRACKED),
        Match::Redirected => bits(CtKey::Status, DESTINATION_CHANGED),
        Match::Icmp(family) => icmp(*family),
        Match::IcmpRedirect(family) => icmp_redirect(*family),
    }
}

fn action(action: Action) -> Vec<Expression> {
    match action {
        Action::Accept => vec![Expression::Verdict(Verdict::Accept)],
        Action::Drop => vec![Expression::Verdict(Verdict::Drop)],
        Action::Redirect => vec![Expression::Redirect],
        Action::Return => vec![Expression::Verdict(Verdict::Return)],
        Action::JumpPublish => vec![Expression::Verdict(Verdict::Jump("publish".to_owned()))],
        Action::Masquerade => vec![Expression::Masquerade],
        Action::SourceNat(ip) => vec![
            Expression::Load(R0, octets(ip)),
            Expression::SourceNat {
                family: Family::of(ip).number(),
                address: R0,
            },
        ],
        Action::TranslateByAddress(family) => {
            let mut steps = address_protocol_port(family, family.destination());
            steps.extend(translate(family, family.named("published", "published6")));
            steps
        }
        Action::TranslateByPort(family) => {
            let mut steps = protocol_port(family);
            let map = family.named("published_any", "published6_any");
            steps.extend(translate(family, map));
            steps
        }
        Action::Untrack => vec![Expression::Untrack],
        Action::LeaveLoopbackByAddress(family) => {
            let mut steps = address_protocol_port(family, family.destination());
            let map = family.named("loopback", "loopback6").to_owned();
            steps.push(Expression::Lookup(map, R0));
            steps.push(set_address(family, family.source()));
            steps
        }
        Action::LeaveLoopbackByPort(family) => {
            let mut steps = protocol_port(family);
            let map = family.named("loopback_any", "loopback6_any").to_owned();
            steps.push(Expression::Lookup(map, R0));
            steps.push(set_address(family, family.source()));
            steps
        }
        Action::SetDestination(ip) => {
            let family = Family::of(ip);
            vec![
                Expression::Load(R0, octets(ip)),
                set_address(family, family.destination()),
            ]
        }
    }
}

fn contained(set: &str, family: Family, offset: u32) -> Vec<Expression> {
    let mut steps = address_protocol_port(family, offset);
    steps.push(Expression::Contained(set.to_owned(), R0));
    steps
}

fn among(set: &str, family: Family, offset: u32) -> Vec<Expression> {
    let mut steps = only(family);
    steps.extend([
        payload(Base::Network, offset, family.length(), R0),
        Expression::Contained(set.to_owned(), R0),
    ]);
    steps
}

/// Writes the address of the first register into the header.
const fn set_address(family: Family, offset: u32) -> Expression {
    Expression::SetAddress {
        family: family.number(),
        offset,
        length: family.length(),
        register: R0,
    }
}

/// The key of maps without an address.
fn protocol_port(family: Family) -> Vec<Expression> {
    let mut steps = only(family);
    steps.extend([
        Expression::Meta(MetaKey::TransportProtocol, R0),
        payload(Base::Transport, 2, 2, Register(1)),
    ]);
    steps
}

/// The key of sets and maps with an address.
fn address_protocol_port(family: Family, offset: u32) -> Vec<Expression> {
    let after = family.after();
    let mut steps = only(family);
    steps.extend([
        payload(Base::Network, offset, family.length(), R0),
        Expression::Meta(MetaKey::TransportProtocol, Register(after)),
        payload(Base::Transport, 2, 2, Register(after + 1)),
    ]);
    steps
}

fn translate(family: Family, map: &str) -> [Expression; 2] {
    [
        Expression::Lookup(map.to_owned(), R0),
        Expression::DestinationNat {
            family: family.number(),
            address: R0,
            port: Register(family.after()),
        },
    ]
}

fn subnet(offset: u32, net: &IpNet, inside: bool) -> Vec<Expression> {
    let family = Family::of(net.addr());
    let mut steps = only(family);
    steps.push(payload(Base::Network, offset, family.length(), R0));
    steps.push(Expression::Mask(R0, octets(net.netmask())));
    let value = octets(net.network());
    steps.push(if inside {
        Expression::Equal(R0, value)
    } else {
        Expression::NotEqual(R0, value)
    });
    steps
}

/// Goes on if any of the bits is set.
fn bits(key: CtKey, mask: u32) -> Vec<Expression> {
    vec![
        Expression::Ct(key, R0),
        Expression::Mask(R0, mask.to_ne_bytes().to_vec()),
        Expression::NotEqual(R0, vec![0; 4]),
    ]
}

fn icmp(family: Family) -> Vec<Expression> {
    let mut steps = only(family);
    steps.extend([
        Expression::Meta(MetaKey::TransportProtocol, R0),
        Expression::Equal(R0, vec![family.icmp()]),
    ]);
    steps
}

fn icmp_redirect(family: Family) -> Vec<Expression> {
    let kind = match family {
        Family::V4 => ICMP_REDIRECT,
        Family::V6 => NEIGHBOUR_REDIRECT,
    };
    let mut steps = icmp(family);
    steps.extend([
        payload(Base::Transport, 0, 1, R0),
        Expression::Equal(R0, vec![kind]),
    ]);
    steps
}

fn only(family: Family) -> Vec<Expression> {
    vec![
        Expression::Meta(MetaKey::NetworkProtocol, R0),
        Expression::Equal(R0, vec![family.number()]),
    ]
}

const fn payload(base: Base, offset: u32, length: u32, register: Register) -> Expression {
    Expression::Payload {
        base,
        offset,
        length,
        register,
    }
}

fn link_name(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(LINK_NAME, 0);
    bytes
}

fn address_and_port(target: &Target) -> Vec<u8> {
    let mut key = octets(target.address);
    key.extend(protocol_and_port(target));
    key
}

/// Both fields padded to four bytes.
fn protocol_and_port(target: &Target) -> Vec<u8> {
    let [high, low] = target.port.to_be_bytes();
    vec![target.protocol.number(), 0, 0, 0, high, low, 0, 0]
}

fn destination(to: &Destination) -> Vec<u8> {
    let [high, low] = to.port.to_be_bytes();
    let mut value = octets(to.address);
    value.extend([high, low, 0, 0]);
    value
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}
