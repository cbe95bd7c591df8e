//! Rules as an nftables transaction.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use wharf_netlink::nft::{
    Base, BaseChain, Batch, ChainKind, CtKey, Expression, Family, Field, Map, MetaKey, Register,
    Verdict,
};

use super::{Action, Destination, Hook, Match, Ruleset, TABLE, Target};

/// First word of the registers; links' names and the maps' keys take the next ones too.
const R0: Register = Register(0);
const R1: Register = Register(1);
const R2: Register = Register(2);
const IPV4: u8 = 2;
const IPV6: u8 = 10;
const SOURCE6_OFFSET: u32 = 8;
const ICMP: u8 = 1;
const ICMP_REDIRECT: u8 = 5;
const SOURCE_OFFSET: u32 = 12;
const DESTINATION_OFFSET: u32 = 16;
/// `RTN_LOCAL`.
const LOCAL: u32 = 2;
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
/// `IPS_DST_NAT`.
const DESTINATION_CHANGED: u32 = 1 << 5;
/// Names of links are compared with their padding.
const LINK_NAME: usize = 16;

impl Ruleset {
    /// The transaction that puts this ruleset in the place of whatever table of ours is there.
    pub fn batch(&self) -> Batch<'static> {
        let mut batch = Batch::new(Family::Inet, TABLE);
        // Deleting needs the table to be there; adding one that is there does nothing.
        batch.add_table();
        batch.delete_table();
        batch.add_table();
        self.add_maps(&mut batch);
        for chain in &self.chains {
            batch.add_chain(chain.name, chain.hook.map(base));
        }
        for chain in &self.chains {
            for rule in &chain.rules {
                let mut steps: Vec<Expression> = rule.matches.iter().flat_map(condition).collect();
                steps.extend(action(rule.action));
                batch.add_rule(chain.name, &steps);
            }
        }
        batch
    }

    /// The transaction that takes our table away.
    pub fn removal() -> Batch<'static> {
        let mut batch = Batch::new(Family::Inet, TABLE);
        batch.add_table();
        batch.delete_table();
        batch
    }

    fn add_maps(&self, batch: &mut Batch<'_>) {
        let value = [Field::Ipv4, Field::Port];
        let with_address =
            |entry: &(Target, Destination)| (address_and_port(&entry.0), destination(&entry.1));
        let without =
            |entry: &(Target, Destination)| (protocol_and_port(&entry.0), destination(&entry.1));
        for (name, own) in [("own", &self.own), ("own_bound", &self.own_bound)] {
            batch.add_map(&Map {
                name,
                key: &[Field::Ipv4, Field::Protocol, Field::Port],
                value: &[],
                elements: own
                    .iter()
                    .map(|target| (address_and_port(target), Vec::new()))
                    .collect(),
            });
        }
        batch.add_map(&Map {
            name: "published",
            key: &[Field::Ipv4, Field::Protocol, Field::Port],
            value: &value,
            elements: self.published.iter().map(with_address).collect(),
        });
        batch.add_map(&Map {
            name: "published_any",
            key: &[Field::Protocol, Field::Port],
            value: &value,
            elements: self.published_any.iter().map(without).collect(),
        });
    }
}

fn base(hook: Hook) -> BaseChain {
    use wharf_netlink::nft::Hook as At;
    let (kind, hook, priority) = match hook {
        Hook::NatPrerouting => (ChainKind::Nat, At::Prerouting, -100),
        Hook::NatOutput => (ChainKind::Nat, At::Output, -100),
        Hook::NatPostrouting => (ChainKind::Nat, At::Postrouting, 100),
        Hook::FilterForward => (ChainKind::Filter, At::Forward, 0),
        Hook::FilterOutput => (ChainKind::Filter, At::Output, 0),
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
        Match::Output(link) => vec![
            Expression::Meta(MetaKey::OutputName, R0),
            Expression::Equal(R0, link_name(link)),
        ],
        Match::OutputNot(link) => vec![
            Expression::Meta(MetaKey::OutputName, R0),
            Expression::NotEqual(R0, link_name(link)),
        ],
        Match::Source(IpNet::V4(net)) => subnet(SOURCE_OFFSET, *net, true),
        Match::Source(IpNet::V6(net)) => from_subnet6(net),
        Match::DestinationNot(net) => subnet(DESTINATION_OFFSET, *net, false),
        Match::DestinationLocal => vec![
            Expression::DestinationKind(R0),
            Expression::Equal(R0, LOCAL.to_ne_bytes().to_vec()),
        ],
        Match::Own => source_in("own"),
        Match::OwnBound => source_in("own_bound"),
        Match::Known => bits(CtKey::State, ESTABLISHED_OR_RELATED),
        Match::Redirected => bits(CtKey::Status, DESTINATION_CHANGED),
        Match::IcmpRedirect => icmp_redirect(),
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
        Action::TranslateByAddress => {
            let mut steps = address_protocol_port(DESTINATION_OFFSET);
            steps.extend(translate("published"));
            steps
        }
        Action::TranslateByPort => {
            let mut steps = only_ipv4();
            steps.extend([
                Expression::Meta(MetaKey::TransportProtocol, R0),
                payload(Base::Transport, 2, 2, R1),
            ]);
            steps.extend(translate("published_any"));
            steps
        }
    }
}

fn source_in(set: &str) -> Vec<Expression> {
    let mut steps = address_protocol_port(SOURCE_OFFSET);
    steps.push(Expression::Contained(set.to_owned(), R0));
    steps
}

/// The key of sets and maps with an address.
fn address_protocol_port(offset: u32) -> Vec<Expression> {
    let mut steps = only_ipv4();
    steps.extend([
        payload(Base::Network, offset, 4, R0),
        Expression::Meta(MetaKey::TransportProtocol, R1),
        payload(Base::Transport, 2, 2, R2),
    ]);
    steps
}

fn translate(map: &str) -> [Expression; 2] {
    [
        Expression::Lookup(map.to_owned(), R0),
        Expression::DestinationNat {
            address: R0,
            port: R1,
        },
    ]
}

fn subnet(offset: u32, net: Ipv4Net, inside: bool) -> Vec<Expression> {
    let mut steps = only_ipv4();
    steps.push(payload(Base::Network, offset, 4, R0));
    steps.push(Expression::Mask(R0, net.netmask().octets().to_vec()));
    let value = net.network().octets().to_vec();
    steps.push(if inside {
        Expression::Equal(R0, value)
    } else {
        Expression::NotEqual(R0, value)
    });
    steps
}

fn from_subnet6(net: &Ipv6Net) -> Vec<Expression> {
    vec![
        Expression::Meta(MetaKey::NetworkProtocol, R0),
        Expression::Equal(R0, vec![IPV6]),
        payload(Base::Network, SOURCE6_OFFSET, 16, R0),
        Expression::Mask(R0, net.netmask().octets().to_vec()),
        Expression::Equal(R0, net.network().octets().to_vec()),
    ]
}

/// Goes on if any of the bits is set.
fn bits(key: CtKey, mask: u32) -> Vec<Expression> {
    vec![
        Expression::Ct(key, R0),
        Expression::Mask(R0, mask.to_ne_bytes().to_vec()),
        Expression::NotEqual(R0, vec![0; 4]),
    ]
}

fn icmp_redirect() -> Vec<Expression> {
    let mut steps = only_ipv4();
    steps.extend([
        Expression::Meta(MetaKey::TransportProtocol, R0),
        Expression::Equal(R0, vec![ICMP]),
        payload(Base::Transport, 0, 1, R0),
        Expression::Equal(R0, vec![ICMP_REDIRECT]),
    ]);
    steps
}

fn only_ipv4() -> Vec<Expression> {
    vec![
        Expression::Meta(MetaKey::NetworkProtocol, R0),
        Expression::Equal(R0, vec![IPV4]),
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
    let mut key = target.address.octets().to_vec();
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
    let mut value = to.address.octets().to_vec();
    value.extend([high, low, 0, 0]);
    value
}
