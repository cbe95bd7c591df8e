//! What is done behind the back of whoever waits: the kernel takes its time to forget a link, and to list the
//! connections that it knows.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;

use rustix::io::Errno;
use tokio::sync::oneshot;
use wharf_netlink::{Conntrack, Flow, LinkName, NetlinkError, Route, delete_link};

use crate::networks::Inner;
use crate::{Protocol, PublishedPort};

/// Something to take down.
pub(crate) enum Job {
    /// A container's link; its addresses are free afterwards.
    Link {
        host_interface: String,
        network: String,
        ip: Option<Ipv4Addr>,
        ip6: Option<Ipv6Addr>,
    },
    /// Datagrams to these ports of the host lead elsewhere now: connections that remember the old way are forgotten, or
    /// a client that goes on sending is never led to the new one. TCP has answers that end such a connection.
    Datagrams(HashSet<u16>),
    /// Says when all earlier jobs are done.
    Flush(oneshot::Sender<()>),
}

impl Inner {
    /// These ports lead elsewhere from now on; the rules say so already.
    pub(crate) fn ports_changed(&self, ports: &[PublishedPort]) {
        let datagrams = ports.iter().filter(|port| port.protocol == Protocol::Udp);
        let ports: HashSet<u16> = datagrams.map(|port| port.host_port).collect();
        if !ports.is_empty() {
            // Without a worker they are forgotten when they have been silent for long enough.
            let _ = self.reaper.send(Job::Datagrams(ports));
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
    for job in jobs {
        match job {
            Job::Link {
                host_interface,
                network,
                ip,
                ip6,
            } => {
                if let Err(error) = route.apply(&[delete_link(LinkName::Name(&host_interface))])
                    // Gone with its namespace already.
                    && !error.is(Errno::NODEV)
                {
                    tracing::warn!(error = &error as &dyn std::error::Error, "take a link down");
                }
                if let Some(inner) = inner.upgrade() {
                    inner.lock().release_addresses(&network, ip, ip6);
                }
            }
            Job::Datagrams(ports) => {
                if let Err(error) = forget_datagrams(&mut route, &ports) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "forget connections of published ports");
                }
            }
            Job::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

fn forget_datagrams(route: &mut Route, ports: &HashSet<u16>) -> Result<(), NetlinkError> {
    let addresses = route.addresses()?.into_iter();
    let own: HashSet<IpAddr> = addresses.map(|one| one.network.addr()).collect();
    let stale = |flow: &Flow| {
        flow.protocol == Protocol::Udp.number()
            && ports.contains(&flow.destination.port())
            && (flow.destination.ip().is_loopback() || own.contains(&flow.destination.ip()))
    };
    Conntrack::open()?.forget(stale).map(drop)
}
