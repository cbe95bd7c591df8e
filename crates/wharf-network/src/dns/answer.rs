//! What the daemon knows itself: the names and addresses of containers on a container's networks.

use std::net::IpAddr;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::DnsConfig;
use crate::EndpointInfo;
use crate::networks::State;

/// Docker's choice, in seconds.
const TTL: u32 = 600;
const HOST_NAMES: [&str; 2] = ["host.docker.internal", "gateway.docker.internal"];

/// What is to be done with a question.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// This is the answer.
    Known(Vec<RData>),
    /// Somebody else may know.
    Ask,
    /// Somebody else may know, but must not be asked.
    Refuse(ResponseCode),
}

/// Answers the question of a container.
pub(super) fn local(
    state: &State,
    container: &str,
    config: &DnsConfig,
    name: &Name,
    kind: RecordType,
) -> Answer {
    let text = name.to_ascii();
    let text = text.trim_end_matches('.').to_ascii_lowercase();
    match kind {
        RecordType::PTR => {
            let address = name.parse_arpa_name().ok().map(|net| net.addr());
            if let Some(name) = address.and_then(|ip| by_address(state, container, ip)) {
                return Answer::Known(vec![RData::PTR(PTR(name))]);
            }
        }
        // A name of ours has nothing but addresses, whoever else has one like it: an answer without records.
        _ => {
            let mut found = by_name(state, container, &text);
            if found.is_none() && HOST_NAMES.contains(&text.as_str()) {
                found = Some(host(state, container, config)).filter(|found| !found.is_empty());
            }
            if let Some(addresses) = found {
                return Answer::Known(records(addresses, kind));
            }
        }
    }
    // Nothing leaves a container that is on internal networks alone.
    if state.way_out(container).is_none() {
        return Answer::Refuse(ResponseCode::ServFail);
    }
    let address = matches!(kind, RecordType::A | RecordType::AAAA);
    if address && config.ndots && !text.contains('.') {
        return Answer::Refuse(ResponseCode::NoError);
    }
    Answer::Ask
}

/// What the daemon was told that the host is, and where that is of one family or nothing, the host's own addresses on
/// the container's bridges.
fn host(state: &State, container: &str, config: &DnsConfig) -> Vec<IpAddr> {
    let networks = own(state, container).filter_map(|one| state.networks.get(&one.network_id));
    let bridges = networks.filter_map(|one| one.bridge.as_ref().map(|bridge| (one, bridge)));
    let on_bridges = bridges.flat_map(|(network, bridge)| crate::bridge::hosts(network, bridge));
    let mut found: Vec<IpAddr> = config.host.into_iter().collect();
    for host in on_bridges.map(|net| net.addr()) {
        if !found.iter().any(|one| one.is_ipv4() == host.is_ipv4()) {
            found.push(host);
        }
    }
    found
}

fn records(addresses: Vec<IpAddr>, kind: RecordType) -> Vec<RData> {
    let record = |ip: IpAddr| match (ip, kind) {
        (IpAddr::V4(ip), RecordType::A) => Some(RData::A(A(ip))),
        (IpAddr::V6(ip), RecordType::AAAA) => Some(RData::AAAA(AAAA(ip))),
        _ => None,
    };
    let mut records: Vec<_> = addresses.into_iter().filter_map(record).collect();
    // Each of several is the first one in turn.
    if records.len() > 1 {
        let [turn] = crate::record::random_bytes::<1>();
        let length = records.len();
        records.rotate_left(usize::from(turn) % length);
    }
    records
}

/// The container's endpoints on networks with names.
fn own<'a>(state: &'a State, container: &str) -> impl Iterator<Item = &'a EndpointInfo> + use<'a> {
    let named = |id: &str| state.networks.get(id).is_some_and(|one| one.has_names());
    state
        .endpoints_of(container)
        .filter(move |one| named(&one.network_id))
}

/// All that the first network which knows the name says. A name may end with that of a network.
fn by_name(state: &State, container: &str, name: &str) -> Option<Vec<IpAddr>> {
    own(state, container).find_map(|own| {
        let found = on_network(state, own, name);
        if !found.is_empty() {
            return Some(found);
        }
        let network = own.network_name.to_ascii_lowercase();
        let short = name.strip_suffix(&network)?.strip_suffix('.')?;
        Some(on_network(state, own, short)).filter(|found| !found.is_empty())
    })
}

fn on_network(state: &State, own: &EndpointInfo, name: &str) -> Vec<IpAddr> {
    let link = own
        .links
        .iter()
        .find(|(alias, _)| alias.eq_ignore_ascii_case(name));
    let name = link.map_or(name, |(_, container)| container.as_str());
    let neighbours = state
        .endpoints
        .values()
        .filter(|one| one.network_id == own.network_id);
    let named = |one: &&EndpointInfo| {
        one.aliases
            .iter()
            .any(|alias| alias.eq_ignore_ascii_case(name))
            || link.is_some() && one.container == name
    };
    let mut addresses = Vec::new();
    for one in neighbours.filter(named) {
        addresses.extend(one.address.map(|address| IpAddr::from(address.ip)));
        addresses.extend(one.address6.map(|address| IpAddr::from(address.ip)));
    }
    addresses
}

fn by_address(state: &State, container: &str, ip: IpAddr) -> Option<Name> {
    let has = |one: &&EndpointInfo| {
        let four = one.address.map(|address| IpAddr::from(address.ip));
        let six = one.address6.map(|address| IpAddr::from(address.ip));
        four == Some(ip) || six == Some(ip)
    };
    let mut networks = own(state, container);
    let found = networks.find_map(|own| {
        let mut neighbours = state
            .endpoints
            .values()
            .filter(|one| one.network_id == own.network_id);
        neighbours.find(has)
    })?;
    // A network's name may be one that DNS cannot hold.
    Name::from_ascii(format!("{}.{}.", found.name, found.network_name)).ok()
}

/// The one question of a query that this resolver handles.
pub(super) fn question(query: &Message) -> Option<(Name, RecordType)> {
    let ours = query.metadata.message_type == MessageType::Query
        && query.metadata.op_code == OpCode::Query;
    match query.queries.as_slice() {
        [one] if ours && one.query_class() == DNSClass::IN => {
            Some((one.name().clone(), one.query_type()))
        }
        _ => None,
    }
}

/// An answer to `query`.
pub(super) fn reply(query: &Message, code: ResponseCode, data: Vec<RData>) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply.queries.clone_from(&query.queries);
    if let Some(one) = query.queries.first() {
        let name = one.name().clone();
        let records = data
            .into_iter()
            .map(|data| Record::from_rdata(name.clone(), TTL, data));
        reply.answers.extend(records);
    }
    reply
}
