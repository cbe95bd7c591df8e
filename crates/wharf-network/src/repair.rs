//! What others take away of ours is made again: the firewall table after `nft flush ruleset`, a bridge that was
//! deleted, the host's address on it.

use std::sync::{Arc, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use wharf_netlink::{LinkWatch, NetlinkError, TableWatch};

use crate::error::kernel;
use crate::firewall::{Ownership, TABLE};
use crate::networks::Inner;
use crate::{EndpointInfo, Network, NetworkError, bridge};

/// Whoever changes one thing often changes the next at once; and who takes ours away all the time must not keep a
/// processor busy.
const SETTLE: Duration = Duration::from_millis(200);
const STACK: usize = 128 * 1024;

/// Watches from now on, on threads of its own that end with the first change after `inner` is gone.
pub(crate) fn start(inner: &Arc<Inner>) -> Result<(), NetworkError> {
    if inner.config.firewall {
        watch_firewall(inner)?;
    }
    let links = LinkWatch::open().map_err(kernel("watch the links"))?;
    let weak = Arc::downgrade(inner);
    run("wharf-linkwatch", move || ended(watch_links(links, &weak)))
}

/// A table that is the daemon's own needs no watch, and is changed faster without: what is heard of is written down by the
/// kernel for every rule.
fn watch_firewall(inner: &Arc<Inner>) -> Result<(), NetworkError> {
    let watch = "watch the firewall";
    let own = {
        let table = inner.table.lock();
        let mut table = table.unwrap_or_else(PoisonError::into_inner);
        if table.ownership().map_err(kernel(watch))? == Ownership::Socket {
            return Ok(());
        }
        table.port()
    };
    let tables = TableWatch::open().map_err(kernel(watch))?;
    let weak = Arc::downgrade(inner);
    run("wharf-nftwatch", move || {
        ended(watch_tables(tables, own, &weak));
    })
}

/// Runs `body` on a small thread of its own.
pub(crate) fn run(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), NetworkError> {
    let small = thread::Builder::new().name(name.to_owned());
    let thread = small.stack_size(STACK).spawn(body);
    thread.map(drop).map_err(NetworkError::Namespace)
}

fn ended(outcome: Result<(), NetlinkError>) {
    if let Err(error) = outcome {
        let error = &error as &dyn std::error::Error;
        tracing::error!(
            error,
            "what others change of our networks is no longer seen"
        );
    }
}

/// Where the table is not the daemon's own (before Linux 6.9), whatever happens to it is mended at once: what is sent
/// without rules is not translated, and ends its connection.
fn watch_tables(mut tables: TableWatch, own: u32, inner: &Weak<Inner>) -> Result<(), NetlinkError> {
    let mut repaired: Option<Instant> = None;
    let mut lost = false;
    loop {
        let changed = lost || tables.changed(TABLE, own)?;
        let Some(inner) = inner.upgrade() else {
            return Ok(());
        };
        if !changed {
            continue;
        }
        if repaired.is_some_and(|before| before.elapsed() < SETTLE) {
            thread::sleep(SETTLE);
        }
        // A flush is news of every rule. What comes from here on is heard.
        tables.skip()?;
        tracing::warn!("somebody changed our firewall table: it is made again");
        lost = match inner.apply_firewall() {
            // The last news of the flush may stand before those of the repair.
            Ok(()) => !tables.pass(own)?,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "make the firewall table again");
                false
            }
        };
        repaired = Some(Instant::now());
    }
}

fn watch_links(mut links: LinkWatch, inner: &Weak<Inner>) -> Result<(), NetlinkError> {
    loop {
        let lost = links.lost()?;
        let Some(inner) = inner.upgrade() else {
            return Ok(());
        };
        let ours = |index: &u32| lost.as_ref().is_none_or(|lost| lost.contains(index));
        if !inner.lock().bridges.values().any(ours) {
            continue;
        }
        thread::sleep(SETTLE);
        links.skip()?;
        // Those that are whole are left alone.
        let networks: Vec<Network> = inner.lock().networks.values().cloned().collect();
        for network in networks {
            inner.repair_link(&network);
        }
    }
}

impl Inner {
    /// Whether the link is the one that it was, and has the host's addresses.
    fn is_whole(&self, network: &Network) -> bool {
        let known = self.lock().bridges.get(&network.id).copied();
        let interface = match (&network.bridge, &network.parent) {
            (Some(bridge), _) => &bridge.interface,
            (None, Some(parent)) => &parent.interface,
            (None, None) => return true,
        };
        let mut route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        let link = route.link(interface).ok().flatten();
        let Some(index) = link
            .map(|link| link.index)
            .filter(|index| Some(*index) == known)
        else {
            return false;
        };
        let Some(bridge) = &network.bridge else {
            return true;
        };
        let present = route.addresses().unwrap_or_default();
        bridge::hosts(network, bridge).all(|host| {
            let mut of_link = present.iter().filter(|one| one.link == index);
            of_link.any(|one| one.network == host)
        })
    }

    /// Makes a network's bridge whole again, with the containers that were on it.
    fn repair_link(&self, network: &Network) {
        // Held so that the network is not removed meanwhile.
        let _turn = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_whole(network) {
            return;
        }
        let endpoints: Vec<EndpointInfo> = {
            let mut state = self.lock();
            if !state.networks.contains_key(&network.id) {
                return;
            }
            state.bridges.remove(&network.id);
            let of_network = state.endpoints.values();
            of_network
                .filter(|one| one.network_id == network.id)
                .cloned()
                .collect()
        };
        let name = &network.name;
        if let Err(error) = self.ensure_link(network) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, network = name, "make a network's link again");
            return;
        }
        tracing::warn!(
            network = name,
            "somebody took of a network's link: it is made again"
        );
        for endpoint in &endpoints {
            self.restore_link(endpoint);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use wharf_netlink::Nftables;
    use wharf_netlink::nft::Family;

    use crate::firewall::{Ruleset, TABLE};
    use crate::{Config, Networks};

    #[expect(
        deprecated,
        reason = "its replacement is unsafe for flags that are not used here"
    )]
    fn enter_a_new_namespace() {
        rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET).unwrap();
    }

    #[tokio::test]
    async fn a_table_that_is_everybodys_comes_back() {
        enter_a_new_namespace();
        let folder = tempfile::tempdir().unwrap();
        let db = wharf_records::Db::open(&folder.path().join("wharf.db")).unwrap();
        let networks = Networks::open(db, Config::default()).unwrap();
        networks.inner.table.lock().unwrap().share();
        networks.restore(&[]).await.unwrap();
        let mut nftables = Nftables::open().unwrap();
        // The second time comes while the repair of the first one settles.
        for _ in 0..3 {
            nftables.commit(&Ruleset::removal()).unwrap();
            let back = (0..1000).any(|_| {
                thread::sleep(Duration::from_millis(10));
                nftables.tables(Family::Inet).unwrap() == [TABLE]
            });
            assert!(back);
        }
        networks.shutdown().await;
    }
}
