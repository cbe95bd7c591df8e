//! nftables over nfnetlink: tables, chains, maps and rules in one transaction.
//!
//! There is no manual for this protocol; the source is `include/uapi/linux/netfilter/nf_tables.h` and what
//! `nft --debug=netlink` prints.

mod expression;

use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::NetlinkError;
use crate::message::{self, Request};
use crate::socket::Channel;

pub use expression::{Base, CtKey, Expression, MetaKey, Register, Verdict};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const GET_CHAIN: u16 = 4;
const NEW_RULE: u16 = 6;
const GET_RULE: u16 = 7;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const NEW_ELEMENTS: u16 = 12;
const DELETE_ELEMENTS: u16 = 14;

const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const SET_IS_MAP: u32 = 8;
/// `NFT_TABLE_F_OWNER` and `NFT_TABLE_F_PERSIST`.
const OWNED_AND_KEPT: u32 = 2 | 4;
const LIST_ELEMENT: u16 = 1;
const RULE_HANDLE: u16 = 3;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
/// An attribute's length has 16 bits, so that a list of elements is sent in pieces.
const ELEMENTS_PER_MESSAGE: usize = 500;

/// Address family of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
}

impl Family {
    const fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
        }
    }
}

/// Where a base chain hangs in the packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// As it arrives.
    Prerouting,
    /// On its way to a process of this host.
    Input,
    /// On its way through this host.
    Forward,
    /// As a process of this host sends it.
    Output,
    /// As it leaves.
    Postrouting,
}

/// What a base chain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    /// Accept and drop.
    Filter,
    /// Translate addresses.
    Nat,
}

/// The hook of a base chain; its policy is accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseChain {
    /// What it may do.
    pub kind: ChainKind,
    /// Where it hangs.
    pub hook: Hook,
    /// Its order among the chains there.
    pub priority: i32,
}

/// Type of a field of a map, with the numbers by which `nft` knows how to print it (`datatype.h` in nftables).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// IPv4 address.
    Ipv4,
    /// IPv6 address.
    Ipv6,
    /// Transport protocol.
    Protocol,
    /// Port.
    Port,
}

impl Field {
    const fn number(self) -> u32 {
        match self {
            Self::Ipv4 => 7,
            Self::Ipv6 => 8,
            Self::Protocol => 12,
            Self::Port => 13,
        }
    }

    /// In bytes, padded to whole registers.
    const fn size(self) -> u32 {
        match self {
            Self::Ipv6 => 16,
            Self::Ipv4 | Self::Protocol | Self::Port => 4,
        }
    }
}

fn size(fields: &[Field]) -> u32 {
    fields.iter().map(|field| field.size()).sum()
}

/// A map from one tuple of fields to another, or a set of tuples where the value has no fields.
#[derive(Clone, Debug)]
pub struct Map<'a> {
    /// Name.
    pub name: &'a str,
    /// Fields of the key.
    pub key: &'a [Field],
    /// Fields of the value.
    pub value: &'a [Field],
    /// Entries, each field padded to four bytes.
    pub elements: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Messages that are done together or not at all, within one table.
#[derive(Debug)]
pub struct Batch<'a> {
    family: Family,
    table: &'a str,
    requests: Vec<Request>,
    sets: u32,
}

impl<'a> Batch<'a> {
    /// An empty batch on `table`.
    pub fn new(family: Family, table: &'a str) -> Self {
        Self {
            family,
            table,
            requests: Vec::new(),
            sets: 0,
        }
    }

    /// Makes the table if it is not there; whose it is does not change if it is.
    pub fn add_table(&mut self) {
        let mut request = self.request(NEW_TABLE, CREATE, "add table", self.table);
        request.text(1, self.table);
        self.requests.push(request);
    }

    /// Makes the table, which is not there, as one of the socket that the batch is committed by. As long as that is
    /// open, nobody else may change the table (`EPERM`), and a flush of all tables passes it by; it outlives the socket,
    /// and is then everybody's. A kernel before Linux 6.9 refuses (`EOPNOTSUPP`).
    pub fn add_own_table(&mut self) {
        let mut request = self.request(NEW_TABLE, CREATE, "add own table", self.table);
        request.text(1, self.table);
        request.be32(2, OWNED_AND_KEPT);
        self.requests.push(request);
    }

    /// Deletes the table with all in it; it must be there.
    pub fn delete_table(&mut self) {
        let mut request = self.request(DELETE_TABLE, 0, "delete table", self.table);
        request.text(1, self.table);
        self.requests.push(request);
    }

    /// Makes a chain: a base chain, or one to jump to.
    pub fn add_chain(&mut self, name: &str, base: Option<BaseChain>) {
        let mut request = self.request(NEW_CHAIN, CREATE, "add chain", name);
        request.text(1, self.table);
        request.text(3, name);
        if let Some(base) = base {
            request.nest(4, |hook| {
                hook.be32(1, hook_number(base.hook));
                hook.be32(2, base.priority as u32);
            });
            // Policy accept.
            request.be32(5, 1);
            request.text(7, chain_kind(base.kind));
        }
        self.requests.push(request);
    }

    /// Makes a map or set with its elements.
    pub fn add_map(&mut self, map: &Map<'_>) {
        self.sets += 1;
        let mut request = self.request(NEW_SET, CREATE, "add map", map.name);
        request.text(1, self.table);
        request.text(2, map.name);
        request.be32(3, if map.value.is_empty() { 0 } else { SET_IS_MAP });
        request.be32(4, concatenation(map.key));
        request.be32(5, size(map.key));
        if !map.value.is_empty() {
            request.be32(6, concatenation(map.value));
            request.be32(7, size(map.value));
        }
        request.be32(10, self.sets);
        self.requests.push(request);
        self.add_elements(map.name, &map.elements);
    }

    /// Puts elements into a map or set that is there, or was made before in this batch.
    pub fn add_elements(&mut self, map: &str, elements: &[(Vec<u8>, Vec<u8>)]) {
        self.change_elements(NEW_ELEMENTS, CREATE, "add elements", map, elements);
    }

    /// Takes elements, which must be there, out of a map or set.
    pub fn delete_elements(&mut self, map: &str, elements: &[(Vec<u8>, Vec<u8>)]) {
        self.change_elements(DELETE_ELEMENTS, 0, "delete elements", map, elements);
    }

    fn change_elements(
        &mut self,
        kind: u16,
        flags: u16,
        verb: &str,
        map: &str,
        elements: &[(Vec<u8>, Vec<u8>)],
    ) {
        for chunk in elements.chunks(ELEMENTS_PER_MESSAGE) {
            let mut request = self.request(kind, flags, verb, map);
            request.text(1, self.table);
            request.text(2, map);
            request.nest(3, |list| {
                for (key, value) in chunk {
                    list.nest(LIST_ELEMENT, |element| {
                        element.nest(1, |data| data.attribute(DATA_VALUE, key));
                        if !value.is_empty() {
                            element.nest(2, |data| data.attribute(DATA_VALUE, value));
                        }
                    });
                }
            });
            self.requests.push(request);
        }
    }

    /// Appends a rule to a chain.
    pub fn add_rule(&mut self, chain: &str, expressions: &[Expression]) {
        self.put_rule(chain, None, expressions);
    }

    /// Puts a rule before the one with this handle, which the chain has.
    pub fn insert_rule(&mut self, chain: &str, before: u64, expressions: &[Expression]) {
        self.put_rule(chain, Some(before), expressions);
    }

    fn put_rule(&mut self, chain: &str, before: Option<u64>, expressions: &[Expression]) {
        let place = if before.is_some() { 0 } else { APPEND };
        let mut request = self.request(NEW_RULE, CREATE | place, "add rule to", chain);
        request.text(1, self.table);
        request.text(2, chain);
        request.nest(4, |list| {
            for expression in expressions {
                list.nest(LIST_ELEMENT, |element| expression.write(element));
            }
        });
        if let Some(handle) = before {
            request.attribute(6, &handle.to_be_bytes());
        }
        self.requests.push(request);
    }

    /// Deletes the rule with this handle, which the chain has.
    pub fn delete_rule(&mut self, chain: &str, handle: u64) {
        let mut request = self.request(DELETE_RULE, 0, "delete rule of", chain);
        request.text(1, self.table);
        request.text(2, chain);
        request.attribute(RULE_HANDLE, &handle.to_be_bytes());
        self.requests.push(request);
    }

    fn request(&self, kind: u16, flags: u16, verb: &str, name: &str) -> Request {
        let operation = format!("nftables: {verb} {name}");
        Request::new(SUBSYSTEM << 8 | kind, flags, operation).fixed(&[
            self.family.number(),
            0,
            0,
            0,
        ])
    }
}

/// A base chain that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownChain {
    /// `nft`'s word for the family of its table.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Where it hangs; nothing if it is where packets of IP do not come by.
    pub hook: Option<Hook>,
    /// What none of its rules decides about is dropped.
    pub drops: bool,
}

impl KnownChain {
    /// Reads an answer; nothing if it is no base chain of a family of IP.
    fn read(payload: &[u8]) -> Option<Self> {
        let family = match payload.first()? {
            1 => "inet",
            2 => "ip",
            10 => "ip6",
            _ => return None,
        };
        let mut chain = Self {
            family,
            table: String::new(),
            name: String::new(),
            hook: None,
            drops: false,
        };
        let mut hangs = false;
        for (kind, value) in message::attributes(payload.get(4..)?) {
            match kind {
                1 => chain.table = message::text_of(value),
                3 => chain.name = message::text_of(value),
                4 => {
                    hangs = true;
                    let mut parts = message::attributes(value);
                    let number = parts.find(|(kind, _)| *kind == 1);
                    chain.hook = number.and_then(|(_, value)| hook_of(be32(value)?));
                }
                5 => chain.drops = be32(value) == Some(0),
                _ => {}
            }
        }
        hangs.then_some(chain)
    }
}

fn be32(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

const fn hook_of(number: u32) -> Option<Hook> {
    match number {
        0 => Some(Hook::Prerouting),
        1 => Some(Hook::Input),
        2 => Some(Hook::Forward),
        3 => Some(Hook::Output),
        4 => Some(Hook::Postrouting),
        _ => None,
    }
}

/// A socket to nftables of the network namespace it was opened in.
pub struct Nftables {
    pub(crate) channel: Channel,
}

impl Nftables {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`NetlinkError::Socket`].
    pub fn open() -> Result<Self, NetlinkError> {
        Channel::open(NETLINK_NETFILTER).map(|channel| Self { channel })
    }

    /// Does a batch, as a whole or not at all.
    ///
    /// # Errors
    /// That of the first message the kernel refused; then nothing has changed.
    pub fn commit(&mut self, batch: &Batch<'_>) -> Result<(), NetlinkError> {
        let edge = |kind, verb: &str| {
            let subsystem = SUBSYSTEM.to_be_bytes();
            Request::new(kind, 0, format!("nftables: {verb}")).fixed(&[
                0,
                0,
                subsystem[0],
                subsystem[1],
            ])
        };
        let (begin, end) = (edge(BATCH_BEGIN, "transaction"), edge(BATCH_END, "end"));
        self.channel.transaction(&begin, &batch.requests, &end)
    }

    /// Names of all tables of a family.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn tables(&mut self, family: Family) -> Result<Vec<String>, NetlinkError> {
        let kind = SUBSYSTEM << 8 | GET_TABLE;
        let request = Request::new(kind, 0, "nftables: list tables".to_owned()).fixed(&[
            family.number(),
            0,
            0,
            0,
        ]);
        let mut tables = Vec::new();
        self.channel.dump(&request, |received| {
            let attributes = received.payload.get(4..).unwrap_or_default();
            let name = message::attributes(attributes).find(|(kind, _)| *kind == 1);
            tables.extend(name.map(|(_, text)| message::text_of(text)));
            Ok(())
        })?;
        Ok(tables)
    }

    /// The handles of a chain's rules, in their order.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn rule_handles(
        &mut self,
        family: Family,
        table: &str,
        chain: &str,
    ) -> Result<Vec<u64>, NetlinkError> {
        let kind = SUBSYSTEM << 8 | GET_RULE;
        let operation = format!("nftables: list rules of {chain}");
        let mut request = Request::new(kind, 0, operation).fixed(&[family.number(), 0, 0, 0]);
        request.text(1, table);
        request.text(2, chain);
        let mut handles = Vec::new();
        self.channel.dump(&request, |received| {
            let attributes = received.payload.get(4..).unwrap_or_default();
            let handle = message::attributes(attributes).find(|(kind, _)| *kind == RULE_HANDLE);
            let handle = handle.and_then(|(_, value)| value.try_into().ok());
            handles.extend(handle.map(u64::from_be_bytes));
            Ok(())
        })?;
        Ok(handles)
    }

    /// All base chains of the families of IP, whosever they are.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn base_chains(&mut self) -> Result<Vec<KnownChain>, NetlinkError> {
        let kind = SUBSYSTEM << 8 | GET_CHAIN;
        let request = Request::new(kind, 0, "nftables: list chains".to_owned()).fixed(&[0; 4]);
        let mut chains = Vec::new();
        self.channel.dump(&request, |received| {
            chains.extend(KnownChain::read(received.payload));
            Ok(())
        })?;
        Ok(chains)
    }
}

impl Request {
    /// Whether this opens an nftables transaction.
    pub(crate) fn is_begin(&self) -> bool {
        self.buffer[4..6] == BATCH_BEGIN.to_ne_bytes()
    }
}

const fn hook_number(hook: Hook) -> u32 {
    match hook {
        Hook::Prerouting => 0,
        Hook::Input => 1,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    }
}

const fn chain_kind(kind: ChainKind) -> &'static str {
    match kind {
        ChainKind::Filter => "filter",
        ChainKind::Nat => "nat",
    }
}

/// nft packs the types of a tuple into one number, six bits each.
fn concatenation(fields: &[Field]) -> u32 {
    fields
        .iter()
        .fold(0, |packed, field| packed << 6 | field.number())
}
