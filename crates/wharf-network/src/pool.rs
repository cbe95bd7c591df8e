//! Network namespaces that wait ready, so that a container's start does not wait for the kernel to make one.
//!
//! A ready namespace is held by its descriptor alone: nothing is mounted, and it is gone with the daemon. Its
//! netlink socket was opened inside, so that it can be configured from any thread without entering it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use wharf_netlink::{LinkChange, LinkName, NetlinkError, Peer, Route, Veth, add_veth, set_link};

use crate::error::kernel;
use crate::record::random_bytes;
use crate::{NetworkError, sysctl};

/// Name of a container's first link.
pub(crate) const INNER_NAME: &str = "eth0";
/// Between a namespace being taken and its successor being made: the container's start needs the kernel's link
/// lock and a processor more urgently.
const PAUSE: Duration = Duration::from_millis(10);
/// The workers only talk netlink.
const STACK: usize = 128 * 1024;

/// A namespace with loopback up.
pub(crate) struct Ready {
    pub(crate) netns: OwnedFd,
    /// Socket inside.
    pub(crate) route: Route,
    /// The link through to the host, if it was made with one; both sides are down.
    pub(crate) link: Option<ReadyLink>,
}

/// Both sides of a link between host and namespace.
#[derive(Clone, Debug)]
pub(crate) struct ReadyLink {
    pub(crate) host_name: String,
    pub(crate) host_index: u32,
    pub(crate) inner_index: u32,
}

/// Makes network namespaces that belong to another user namespace than ours.
#[derive(Clone)]
pub struct NamespaceMaker(Arc<MakeNamespace>);

type MakeNamespace = dyn Fn(Owner) -> io::Result<OwnedFd> + Send + Sync;

impl NamespaceMaker {
    /// Asks `make`, which may block, and gets only [`Owner::New`] and [`Owner::Of`].
    pub fn new(make: impl Fn(Owner) -> io::Result<OwnedFd> + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }
}

impl std::fmt::Debug for NamespaceMaker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("NamespaceMaker")
    }
}

/// The user namespace that a container's network belongs to: its processes have rights over it only if it is theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    /// The daemon's.
    #[default]
    Daemon,
    /// One of the container's own.
    New,
    /// That of a process, which the container shares.
    Of(u32),
}

/// The namespaces that wait, with and without link.
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    target: usize,
    mtu: u32,
    /// With one, what waits belongs to user namespaces of its own.
    maker: Option<NamespaceMaker>,
}

struct Waiting {
    linked: VecDeque<Ready>,
    bare: VecDeque<Ready>,
    /// The worker runs.
    open: bool,
    /// The last attempt failed; the next request tries for itself and wakes the worker again.
    failed: bool,
}

impl Pool {
    /// A pool that keeps `target` namespaces of each kind; its worker starts with [`Pool::start`].
    pub(crate) fn new(target: usize, mtu: u32, maker: Option<NamespaceMaker>) -> Self {
        let waiting = Waiting {
            linked: VecDeque::new(),
            bare: VecDeque::new(),
            open: false,
            failed: false,
        };
        Self {
            shared: Arc::new(Shared {
                waiting: Mutex::new(waiting),
                changed: Condvar::new(),
                target,
                mtu,
                maker,
            }),
        }
    }

    /// Starts the worker that fills the pool, once.
    pub(crate) fn start(&self) -> Result<(), NetworkError> {
        let mut waiting = self.shared.lock();
        if waiting.open || self.shared.target == 0 {
            return Ok(());
        }
        waiting.open = true;
        let shared = Arc::clone(&self.shared);
        thread::Builder::new()
            .name("wharf-netns".to_owned())
            .stack_size(STACK)
            .spawn(move || shared.fill())
            .map(drop)
            .map_err(NetworkError::Namespace)
    }

    /// A namespace, ready or made now.
    pub(crate) fn take(&self, linked: bool, owner: Owner) -> Result<Ready, NetworkError> {
        let mtu = linked.then_some(self.shared.mtu);
        if owner != self.shared.kept() {
            return self.shared.make(mtu, owner);
        }
        let mut waiting = self.shared.lock();
        let ready = waiting.queue(linked).pop_front();
        waiting.failed = false;
        drop(waiting);
        self.shared.changed.notify_all();
        match ready {
            Some(ready) => Ok(ready),
            None => self.shared.make(mtu, owner),
        }
    }

    /// Ends the worker and drops what waits.
    pub(crate) fn stop(&self) {
        let mut waiting = self.shared.lock();
        waiting.open = false;
        let dropped = (
            std::mem::take(&mut waiting.linked),
            std::mem::take(&mut waiting.bare),
        );
        drop(waiting);
        drop(dropped);
        self.shared.changed.notify_all();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Waiting {
    fn queue(&mut self, linked: bool) -> &mut VecDeque<Ready> {
        if linked {
            &mut self.linked
        } else {
            &mut self.bare
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self) {
        let mut waiting = self.lock();
        let mut taken = false;
        while waiting.open {
            if std::mem::take(&mut taken) {
                drop(waiting);
                thread::sleep(PAUSE);
                waiting = self.lock();
                continue;
            }
            let missing = |queue: &VecDeque<Ready>| queue.len() < self.target;
            let linked = missing(&waiting.linked);
            if waiting.failed || !(linked || missing(&waiting.bare)) {
                waiting = self
                    .changed
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner);
                taken = true;
                continue;
            }
            drop(waiting);
            let made = self.make(linked.then_some(self.mtu), self.kept());
            waiting = self.lock();
            match made {
                Ok(ready) if waiting.open => waiting.queue(linked).push_back(ready),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "no namespace in reserve"
                    );
                    waiting.failed = true;
                }
            }
        }
    }
}

impl Shared {
    /// Whose namespaces are kept.
    fn kept(&self) -> Owner {
        match self.maker {
            Some(_) => Owner::New,
            None => Owner::Daemon,
        }
    }

    fn make(&self, link_mtu: Option<u32>, owner: Owner) -> Result<Ready, NetworkError> {
        let netns = match (owner, &self.maker) {
            (Owner::Daemon, _) => None,
            (_, Some(NamespaceMaker(make))) => Some(make(owner).map_err(NetworkError::Namespace)?),
            (_, None) => {
                let error = io::Error::other("nobody makes user namespaces");
                return Err(NetworkError::Namespace(error));
            }
        };
        make(link_mtu, netns)
    }
}

/// Brings the namespace `netns`, or a new one, up: its loopback, and a link to it if an MTU is given.
pub(crate) fn make(link_mtu: Option<u32>, netns: Option<OwnedFd>) -> Result<Ready, NetworkError> {
    let mut host = link_mtu
        .map(|_| Route::open())
        .transpose()
        .map_err(kernel("open a route socket"))?;
    // A thread of its own enters the new namespace and ends there.
    thread::scope(|scope| {
        let work = || make_inside(host.as_mut().zip(link_mtu), netns);
        let worker = thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, work);
        let panicked = || NetworkError::Namespace(io::Error::other("the thread panicked"));
        worker
            .map_err(NetworkError::Namespace)?
            .join()
            .map_err(|_| panicked())?
    })
}

fn make_inside(
    link: Option<(&mut Route, u32)>,
    netns: Option<OwnedFd>,
) -> Result<Ready, NetworkError> {
    let netns = match netns {
        Some(netns) => {
            crate::sandbox::enter(&netns)?;
            netns
        }
        None => {
            unshare_network().map_err(NetworkError::Namespace)?;
            let own = File::open("/proc/thread-self/ns/net").map_err(NetworkError::Namespace)?;
            OwnedFd::from(own)
        }
    };
    let mut route = Route::open().map_err(kernel("open a route socket"))?;
    let up = LinkChange {
        up: true,
        ..LinkChange::default()
    };
    route
        .apply(&[set_link(LinkName::Name("lo"), &up)])
        .map_err(kernel("set loopback up"))?;
    let link = match link {
        None => None,
        Some((host, mtu)) => {
            let names = (random_link_name(), INNER_NAME);
            let link = add_link(host, &mut route, &netns, (&names.0, names.1), mtu)
                .map_err(kernel("add a container's link"))?;
            // As dockerd does on networks without IPv6.
            sysctl::set(&format!("net/ipv6/conf/{INNER_NAME}/disable_ipv6"), "1")?;
            Some(link)
        }
    };
    Ok(Ready { netns, route, link })
}

/// A further link, called `host_name` on the host and `name` inside, into a namespace in use; and a socket inside. It
/// may be there though this fails.
pub(crate) fn link_into(
    netns: &OwnedFd,
    host_name: &str,
    name: &str,
    mtu: u32,
) -> Result<(Route, ReadyLink), NetworkError> {
    let mut host = Route::open().map_err(kernel("open a route socket"))?;
    crate::sandbox::inside(netns, || {
        let mut route = Route::open().map_err(kernel("open a route socket"))?;
        let link = add_link(&mut host, &mut route, netns, (host_name, name), mtu)
            .map_err(kernel("add a container's link"))?;
        sysctl::set(&format!("net/ipv6/conf/{name}/disable_ipv6"), "1")?;
        Ok((route, link))
    })
}

fn add_link(
    host: &mut Route,
    inside: &mut Route,
    netns: &OwnedFd,
    (host_name, name): (&str, &str),
    mtu: u32,
) -> Result<ReadyLink, NetlinkError> {
    let veth = Veth {
        name: host_name,
        mtu,
        peer: Peer {
            name,
            netns: netns.as_fd(),
        },
    };
    let quiet = LinkChange {
        no_link_local: true,
        ..LinkChange::default()
    };
    host.apply(&[add_veth(&veth), set_link(LinkName::Name(host_name), &quiet)])?;
    let index = |route: &mut Route, name: &str| match route.link(name)? {
        Some(link) => Ok(link.index),
        None => Err(NetlinkError::Malformed),
    };
    let host_index = index(host, host_name)?;
    let inner_index = index(inside, name)?;
    Ok(ReadyLink {
        host_name: host_name.to_owned(),
        host_index,
        inner_index,
    })
}

/// `veth` and seven hexadecimal digits, as Docker's.
pub(crate) fn random_link_name() -> String {
    let number = u32::from_ne_bytes(random_bytes::<4>()) & 0x0fff_ffff;
    format!("veth{number:07x}")
}

/// Moves the calling thread into a network namespace of its own.
pub(crate) fn unshare_network() -> io::Result<()> {
    // The function is deprecated because unsharing file descriptors is unsound; a network namespace is not.
    #[expect(
        deprecated,
        reason = "its replacement is unsafe for flags that are not used here"
    )]
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET).map_err(Into::into)
}
