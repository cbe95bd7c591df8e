//! Name resolution inside user-defined networks, at 127.0.0.11.
//!
//! The daemon answers on sockets that it opened inside the container's namespace, on ports of the kernel's
//! choice; a rule in there leads port 53 of 127.0.0.11 to them, so that the container's own port 53 stays free.
//! The sockets go with the daemon; a daemon that starts again opens others and replaces the rule.

mod answer;
mod cache;
mod forward;
mod serve;
mod upstream;

pub(crate) use cache::Cache;

use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use wharf_netlink::Nftables;
use wharf_netlink::nft::{
    Base, BaseChain, Batch, ChainKind, Expression, Family, Field, Hook, Map, MetaKey, Register,
};

use crate::error::kernel;
use crate::networks::Inner;
use crate::sandbox::inside;
use crate::{NetworkError, Networks};

/// Where containers ask.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const TABLE: &str = "wharf-dns";
const PORT: u16 = 53;
const IPV4: u8 = 2;
const DESTINATION_OFFSET: u32 = 16;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// How a container resolves names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsConfig {
    /// `--dns`: asked from inside the container; the host's servers if there are none.
    pub servers: Vec<IpAddr>,
    /// What `host.docker.internal` stands for.
    pub host: Option<IpAddr>,
    /// `ndots` was set by the user: names without a dot are not asked of others.
    pub ndots: bool,
}

/// The resolver of one container; dropping it closes its sockets.
#[derive(Debug)]
pub(crate) struct Resolver {
    tasks: [AbortHandle; 2],
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Networks {
    /// Resolves names for a connected container if it is on a network with names, and does not yet. Blocks for
    /// about a millisecond.
    ///
    /// # Errors
    /// If the sockets or the rule inside its namespace cannot be made.
    pub fn serve_names(&self, container: &str, config: DnsConfig) -> Result<(), NetworkError> {
        serve_names(&self.inner, container, config)
    }
}

/// As [`Networks::serve_names`].
pub(crate) fn serve_names(
    inner: &Arc<Inner>,
    container: &str,
    config: DnsConfig,
) -> Result<(), NetworkError> {
    let netns = {
        let state = inner.lock();
        let named = |id: &str| state.networks.get(id).is_some_and(|one| one.has_names());
        let wanted = state
            .endpoints_of(container)
            .any(|one| named(&one.network_id));
        if !wanted || state.resolvers.contains_key(container) {
            return Ok(());
        }
        match state.sandboxes.get(container) {
            Some(sandbox) => sandbox.netns.clone(),
            None => None,
        }
    };
    let Some(netns) = netns else { return Ok(()) };
    let (udp, tcp) = inside(&netns, || {
        let sockets = open().map_err(NetworkError::Resolver)?;
        let port = |address: std::io::Result<std::net::SocketAddr>| {
            address
                .map(|address| address.port())
                .map_err(NetworkError::Resolver)
        };
        let ports = (port(sockets.0.local_addr())?, port(sockets.1.local_addr())?);
        Nftables::open()
            .and_then(|mut nftables| {
                // The kernel buries what is deleted before it closes the socket, and takes some ten milliseconds for it.
                let again = nftables
                    .tables(Family::Inet)?
                    .iter()
                    .any(|one| one == TABLE);
                nftables.commit(&redirect(ports, again))
            })
            .map_err(kernel("lead name resolution to the daemon"))?;
        Ok(sockets)
    })?;
    let server = serve::Server {
        inner: Arc::downgrade(inner),
        container: container.to_owned(),
        netns: Arc::downgrade(&netns),
        config,
        making: Arc::new(Semaphore::new(forward::MOST_MADE)),
    };
    let tasks = server
        .start(&inner.runtime, udp, tcp)
        .map_err(NetworkError::Resolver)?;
    let mut state = inner.lock();
    // It may have ended meanwhile; then nobody would take this away.
    if state.sandboxes.contains_key(container) {
        state
            .resolvers
            .insert(container.to_owned(), Resolver { tasks });
    } else {
        drop(Resolver { tasks });
    }
    Ok(())
}

fn open() -> std::io::Result<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::bind((ADDRESS, 0))?;
    let tcp = TcpListener::bind((ADDRESS, 0))?;
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    Ok((udp, tcp))
}

/// Port 53 of [`ADDRESS`] is these ports, of UDP and TCP; `again`: it has been others.
fn redirect((udp, tcp): (u16, u16), again: bool) -> Batch<'static> {
    let (r0, r1) = (Register(0), Register(1));
    let mut batch = Batch::new(Family::Inet, TABLE);
    if again {
        batch.delete_table();
    }
    batch.add_table();
    let key = |protocol: u8| {
        let [high, low] = PORT.to_be_bytes();
        vec![protocol, 0, 0, 0, high, low, 0, 0]
    };
    let value = |port: u16| {
        let [high, low] = port.to_be_bytes();
        let mut bytes = ADDRESS.octets().to_vec();
        bytes.extend([high, low, 0, 0]);
        bytes
    };
    batch.add_map(&Map {
        name: "resolver",
        key: &[Field::Protocol, Field::Port],
        value: &[Field::Ipv4, Field::Port],
        elements: vec![(key(UDP), value(udp)), (key(TCP), value(tcp))],
    });
    let output = BaseChain {
        kind: ChainKind::Nat,
        hook: Hook::Output,
        priority: -100,
    };
    batch.add_chain("output", Some(output));
    let payload = |base, offset, length, register| Expression::Payload {
        base,
        offset,
        length,
        register,
    };
    batch.add_rule(
        "output",
        &[
            Expression::Meta(MetaKey::NetworkProtocol, r0),
            Expression::Equal(r0, vec![IPV4]),
            payload(Base::Network, DESTINATION_OFFSET, 4, r0),
            Expression::Equal(r0, ADDRESS.octets().to_vec()),
            Expression::Meta(MetaKey::TransportProtocol, r0),
            payload(Base::Transport, 2, 2, r1),
            Expression::Lookup("resolver".to_owned(), r0),
            Expression::DestinationNat {
                family: IPV4,
                address: r0,
                port: r1,
            },
        ],
    );
    batch
}
