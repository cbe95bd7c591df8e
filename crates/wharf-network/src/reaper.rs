//! Taking links down behind the back of whoever waits: the kernel takes its time to forget one.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;

use rustix::io::Errno;
use tokio::sync::oneshot;
use wharf_netlink::{LinkName, Route, delete_link};

use crate::networks::Inner;

/// Something to take down.
pub(crate) enum Job {
    /// A container's link; its addresses are free afterwards.
    Link {
        host_interface: String,
        network: String,
        ip: Option<Ipv4Addr>,
        ip6: Option<Ipv6Addr>,
    },
    /// Says when all earlier jobs are done.
    Flush(oneshot::Sender<()>),
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
            Job::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}
