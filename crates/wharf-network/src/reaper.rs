//! What is done behind the back of whoever waits: the kernel takes its time to forget a link, and to list the
//! connections that it knows.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError, Weak};
use std::thread;

use tokio::sync::oneshot;
use wharf_netlink::{Conntrack, Flow, NetlinkError, Route};

use crate::error::kernel;
use crate::networks::Inner;
use crate::{NetworkError, Protocol, PublishedPort};

/// Something to take down.
pub(crate) enum Job {
    /// The link of this container in this network, unless it has been taken down already.
    Link((String, String)),
    /// What is sent this way leads elsewhere now: connections that remember the old one are forgotten, or a client
    /// that goes on sending is never led to the new one.
    Flows(Vec<Way>),
    /// Says when all earlier jobs are done.
    Flush(oneshot::Sender<()>),
}

/// Which connections remember a way that is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flows {
    /// Of datagrams alone: a container that ends has said so to the others.
    Datagrams,
    /// All: a container that leaves a network says nothing, and whoever sends to where it was would wait.
    All,
}

/// How clients come to a published port of the host's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    protocol: Protocol,
    /// Unspecified: all addresses of the host's of that family.
    at: SocketAddr,
}

impl Way {
    /// The way to a port; `None` if it is reached at the container's own address, which goes with it.
    fn to(port: &PublishedPort) -> Option<Self> {
        (port.host_port != 0).then(|| Self {
            protocol: port.protocol,
            at: SocketAddr::new(port.host_ip, port.host_port),
        })
    }

    /// Whether a connection has come this way; `own` are the host's addresses.
    fn is_of(&self, flow: &Flow, own: &HashSet<IpAddr>) -> bool {
        let sent_to = flow.destination.ip();
        let all = self.at.ip().is_unspecified() && self.at.is_ipv4() == sent_to.is_ipv4();
        flow.protocol == self.protocol.number()
            && flow.destination.port() == self.at.port()
            && (self.at.ip() == sent_to || all && (sent_to.is_loopback() || own.contains(&sent_to)))
    }
}

/// A link that is to be taken down; its addresses are free afterwards.
pub(crate) struct LinkTeardown {
    pub(crate) host_interface: String,
    pub(crate) ip: Option<Ipv4Addr>,
    pub(crate) ip6: Option<Ipv6Addr>,
}

impl Inner {
    /// Takes links down that are to be, and frees their addresses; waits for whoever is at it already.
    pub(crate) fn take_down(
        &self,
        keys: &BTreeSet<(String, String)>,
        route: &mut Route,
    ) -> Result<(), NetworkError> {
        let slots: Vec<_> = {
            let state = self.lock();
            keys.iter()
                .filter_map(|key| Some((key, Arc::clone(state.going.get(key)?))))
                .collect()
        };
        // Held until the links are gone, each once.
        let mut slots: Vec<_> = slots
            .iter()
            .map(|(key, slot)| (*key, slot.lock().unwrap_or_else(PoisonError::into_inner)))
            .collect();
        let going: Vec<_> = slots
            .iter_mut()
            .filter_map(|(key, slot)| Some((*key, slot.take()?)))
            .collect();
        let names: Vec<&str> = going
            .iter()
            .map(|(_, link)| link.host_interface.as_str())
            .collect();
        // One that is not there is gone with its namespace already.
        let taken = route.delete_all(&names);
        let mut state = self.lock();
        for (key, link) in &going {
            state.release_addresses(&key.1, link.ip, link.ip6);
            state.going.remove(*key);
        }
        taken.map_err(kernel("take a container's link down"))
    }

    /// These ports lead elsewhere from now on; the rules say so already.
    pub(crate) fn ports_changed(&self, ports: &[PublishedPort], flows: Flows) {
        let concerned = ports
            .iter()
            .filter(|port| flows == Flows::All || port.protocol == Protocol::Udp);
        let ways: Vec<Way> = concerned.filter_map(Way::to).collect();
        if !ways.is_empty() {
            // Without a worker they are forgotten when they have been silent for long enough.
            let _ = self.reaper.send(Job::Flows(ways));
        }
    }
}

/// The way to the worker, which ends when the sender is dropped.
pub(crate) fn start() -> (Sender<Job>, Receiver<Job>) {
    channel()
}

/// Runs the worker in a thread of its own.
pub(crate) fn run(jobs: Receiver<Job>, inner: &Arc<Inner>) -> std::io::Result<()> {
    let inner = Arc::downgrade(inner);
    thread::Builder::new()
        .name("wharf-netreap".to_owned())
        .stack_size(128 * 1024)
        .spawn(move || work(&jobs, &inner))
        .map(drop)
}

fn work(jobs: &Receiver<Job>, inner: &Weak<Inner>) {
    let mut route = match Route::open() {
        Ok(route) => route,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "links will not be taken down"
            );
            return;
        }
    };
    while let Ok(first) = jobs.recv() {
        let batch = Batch::begin(first, jobs);
        if !batch.ways.is_empty()
            && let Err(error) = forget(&mut route, &batch.ways)
        {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "forget connections of published ports");
        }
        if !batch.links.is_empty() {
            let Some(inner) = inner.upgrade() else {
                return;
            };
            if let Err(error) = inner.take_down(&batch.links, &mut route) {
                tracing::warn!(error = &error as &dyn std::error::Error, "take links down");
            }
        }
        if let Some(done) = batch.flush {
            let _ = done.send(());
        }
    }
}

/// Jobs that wait already are done together: the kernel takes as long for many as for one.
#[derive(Default)]
struct Batch {
    links: BTreeSet<(String, String)>,
    ways: Vec<Way>,
    /// The last of them.
    flush: Option<oneshot::Sender<()>>,
}

impl Batch {
    /// No more at once: somebody may wait for one of them.
    const LARGEST: usize = 256;

    fn begin(first: Job, jobs: &Receiver<Job>) -> Self {
        let mut batch = Self::default();
        batch.add(first);
        while batch.flush.is_none()
            && batch.links.len() < Self::LARGEST
            && let Ok(next) = jobs.try_recv()
        {
            batch.add(next);
        }
        batch
    }

    fn add(&mut self, job: Job) {
        match job {
            Job::Link(key) => drop(self.links.insert(key)),
            Job::Flows(ways) => self.ways.extend(ways),
            Job::Flush(done) => self.flush = Some(done),
        }
    }
}

fn forget(route: &mut Route, ways: &[Way]) -> Result<(), NetlinkError> {
    let addresses = route.addresses()?.into_iter();
    let own: HashSet<IpAddr> = addresses.map(|one| one.network.addr()).collect();
    // There may be hundreds of ways, and many thousands of connections.
    let mut by_port: HashMap<u16, Vec<&Way>> = HashMap::new();
    for way in ways {
        by_port.entry(way.at.port()).or_default().push(way);
    }
    let stale = |flow: &Flow| {
        let ways = by_port.get(&flow.destination.port());
        ways.is_some_and(|ways| ways.iter().any(|way| way.is_of(flow, &own)))
    };
    Conntrack::open()?.forget(stale).map(drop)
}
