//! firewalld, asked over D-Bus to let the bridges of containers through. As dockerd does (moby `libnetwork/iptables`,
//! `firewalld.go`), bridges are put into a zone `docker` that accepts everything, which is made if it is not there, and
//! again whenever firewalld has started or read its settings anew: what containers are reached by is for our own table
//! to say. A bridge that its owner has put into another zone stays there.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use wharf_dbus::{Connection, Encoder, Failure, Message, Target, Value};

use crate::networks::Inner;
use crate::{Network, NetworkError, repair};

/// firewalld writes all its rules anew before it answers.
const PATIENCE: Duration = Duration::from_secs(30);
const SERVICE: &str = "org.fedoraproject.FirewallD1";
const RUNTIME: &str = "/org/fedoraproject/FirewallD1";
const SETTINGS: &str = "/org/fedoraproject/FirewallD1/config";
/// dockerd's zone and, since 27.0, its policy for what comes from other zones.
const ZONE: &str = "docker";
const POLICY: &str = "docker-forwarding";

/// What is known of firewalld.
#[derive(Default)]
pub(crate) struct Known {
    running: AtomicBool,
    admits: AtomicBool,
    /// It reads its settings anew because we asked it to, and will say so.
    reloading: AtomicBool,
    /// Held over a talk, so that one does not undo what another has just done. Never taken while another lock is held:
    /// firewalld takes its time.
    talk: Mutex<()>,
}

impl Known {
    /// Whether it lets all bridges of ours through.
    pub(crate) fn admits(&self) -> bool {
        self.admits.load(Ordering::Relaxed)
    }
}

/// Listens from now on for firewalld's coming and its changes, on a thread of its own, and tells it of the bridges if it
/// runs. Nothing, if there is no bus.
pub(crate) fn start(inner: &Arc<Inner>) -> Result<(), NetworkError> {
    let bus = inner.config.bus.as_ref();
    let Some(bus) = bus.filter(|bus| inner.config.firewall && bus.exists()) else {
        return Ok(());
    };
    match subscribe(bus) {
        Ok((connection, running)) => {
            inner.firewalld.running.store(running, Ordering::Relaxed);
            inner.admit_all();
            let weak = Arc::downgrade(inner);
            repair::run("wharf-firewalld", move || watch(connection, &weak))
        }
        Err(failure) => {
            let error = &failure as &dyn std::error::Error;
            tracing::warn!(error, "ask the bus for firewalld");
            Ok(())
        }
    }
}

fn subscribe(bus: &Path) -> Result<(Connection, bool), Failure> {
    let mut connection = Connection::to_bus(bus, PATIENCE)?;
    let of_service =
        format!("type='signal',sender='{SERVICE}',interface='{SERVICE}',member='Reloaded'");
    let of_bus = format!(
        "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{SERVICE}'"
    );
    for rule in [of_service, of_bus] {
        connection.ask_bus("AddMatch", "s", |body| body.text(&rule))?;
    }
    let owned = connection.ask_bus("NameHasOwner", "s", |body| body.text(SERVICE))?;
    let running = owned.body().uint32()? != 0;
    connection.wait_for_ever()?;
    Ok((connection, running))
}

/// Tells firewalld of the bridges whenever it has forgotten them. Ends with the bus.
fn watch(mut connection: Connection, inner: &Weak<Inner>) {
    while let Ok(signal) = connection.signal() {
        let Some(inner) = inner.upgrade() else {
            return;
        };
        match signal.member.as_str() {
            "Reloaded" => {
                let asked_for = inner.firewalld.reloading.load(Ordering::Relaxed);
                inner.admit_all();
                if asked_for {
                    inner.firewalld.reloading.store(false, Ordering::Relaxed);
                }
            }
            "NameOwnerChanged" => {
                let running = has_come(&signal);
                inner.firewalld.running.store(running, Ordering::Relaxed);
                inner.firewalld.reloading.store(false, Ordering::Relaxed);
                inner.admit_all();
            }
            _ => {}
        }
    }
    tracing::warn!("the bus has ended: firewalld is not heard of any more");
}

/// Whether the name has an owner now: its values are the name, the old owner and the new one.
fn has_come(signal: &Message) -> bool {
    let mut values = signal.body();
    let owner = (0..3).map(|_| values.text()).last();
    matches!(owner, Some(Ok(owner)) if !owner.is_empty())
}

impl Inner {
    /// Asks firewalld, if it runs, to let all bridges of ours through.
    fn admit_all(&self) {
        let bridges: Vec<String> = {
            let state = self.lock();
            let bridges = state
                .networks
                .values()
                .filter_map(|one| one.bridge.as_ref());
            bridges.map(|bridge| bridge.interface.clone()).collect()
        };
        let admits = self.ask_firewalld(|firewalld| firewalld.admit(&bridges));
        self.firewalld.admits.store(admits, Ordering::Relaxed);
    }

    /// The same, of the bridge of a new network.
    pub(crate) fn admit(&self, network: &Network) {
        let Some(bridge) = &network.bridge else {
            return;
        };
        let bridges = std::slice::from_ref(&bridge.interface);
        let admitted = self.ask_firewalld(|firewalld| match self.has_bridge(&bridge.interface) {
            true => firewalld.admit(bridges),
            // Removed meanwhile.
            false => Ok(()),
        });
        if !admitted {
            self.firewalld.admits.store(false, Ordering::Relaxed);
        }
    }

    /// The bridge of a network that is gone is nothing to firewalld any more.
    pub(crate) fn dismiss(&self, network: &Network) {
        let Some(bridge) = network.bridge.as_ref().filter(|bridge| !bridge.foreign) else {
            return;
        };
        self.ask_firewalld(|firewalld| {
            // Another network's meanwhile, or it could not be taken down: what is behind it is let through as before.
            match self.has_bridge(&bridge.interface) || self.has_link(&bridge.interface) {
                true => Ok(()),
                false => firewalld.dismiss(&bridge.interface),
            }
        });
    }

    /// Whether there is such a link, as far as it can be known.
    fn has_link(&self, interface: &str) -> bool {
        let mut route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(route.link(interface), Ok(None))
    }

    fn has_bridge(&self, interface: &str) -> bool {
        let state = self.lock();
        let mut bridges = state
            .networks
            .values()
            .filter_map(|one| one.bridge.as_ref());
        bridges.any(|bridge| bridge.interface == interface)
    }

    /// Whether firewalld runs and has done as asked. One that does not is no reason to do without a network.
    fn ask_firewalld(&self, ask: impl FnOnce(&mut Firewalld<'_>) -> Result<(), Failure>) -> bool {
        let Some(bus) = &self.config.bus else {
            return false;
        };
        let known = &self.firewalld;
        if !known.running.load(Ordering::Relaxed) {
            return false;
        }
        let _talk = known.talk.lock().unwrap_or_else(PoisonError::into_inner);
        let reloading = &known.reloading;
        let asked = Connection::to_bus(bus, PATIENCE)
            .and_then(|bus| ask(&mut Firewalld { bus, reloading }));
        if let Err(failure) = &asked {
            let error = failure as &dyn std::error::Error;
            tracing::warn!(
                error,
                "ask firewalld to let the bridges of containers through"
            );
        }
        asked.is_ok()
    }
}

/// A talk with it.
struct Firewalld<'a> {
    bus: Connection,
    reloading: &'a AtomicBool,
}

impl Firewalld<'_> {
    /// Puts bridges into the zone.
    fn admit(&mut self, bridges: &[String]) -> Result<(), Failure> {
        self.prepare()?;
        let mut outcome = Ok(());
        for bridge in bridges {
            let pair = |body: &mut Encoder| {
                body.text(ZONE);
                body.text(bridge);
            };
            let known = self.zone("queryInterface", "ss", pair)?;
            if known.body().uint32()? == 0
                && let Err(failure) = self.zone("addInterface", "ss", pair)
            {
                outcome = Err(failure);
            }
        }
        outcome
    }

    /// Takes a bridge out of the zone, if it is there.
    fn dismiss(&mut self, bridge: &str) -> Result<(), Failure> {
        let pair = |body: &mut Encoder| {
            body.text(ZONE);
            body.text(bridge);
        };
        let zones = self.zone("getZones", "", |_| {})?.body().texts()?;
        let is_there = zones.iter().any(|zone| zone == ZONE);
        if is_there && self.zone("queryInterface", "ss", pair)?.body().uint32()? != 0 {
            self.zone("removeInterface", "ss", pair)?;
        }
        Ok(())
    }

    /// Makes the zone and the policy if they are not there.
    fn prepare(&mut self) -> Result<(), Failure> {
        let zones = self.zone("getZones", "", |_| {})?.body().texts()?;
        let zone = zones.iter().any(|zone| zone == ZONE);
        if !zone {
            self.add("addZone2", ZONE, &settings_of_zone())?;
        }
        // The zone is what counts: firewalld before 0.9 knows no policies, and dockerd goes on as well.
        let policy = self.prepare_policy().unwrap_or_else(|failure| {
            let error = &failure as &dyn std::error::Error;
            tracing::warn!(
                error,
                "ask firewalld for a policy that lets containers be reached"
            );
            true
        });
        // What it has not found in its settings a moment ago it will not find the next time: no end of reloads.
        if zone && policy || self.reloading.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let reloaded = self.call(RUNTIME, "", "reload", "", |_| {});
        if matches!(reloaded, Err(Failure::Refused { .. })) {
            self.reloading.store(false, Ordering::Relaxed);
        }
        reloaded.map(drop)
    }

    /// Whether the policy is there; made for good if it is not.
    fn prepare_policy(&mut self) -> Result<bool, Failure> {
        let policies = self.call(RUNTIME, ".policy", "getPolicies", "", |_| {})?;
        let is_there = policies.body().texts()?.iter().any(|one| one == POLICY);
        if !is_there {
            self.add("addPolicy", POLICY, &settings_of_policy())?;
        }
        Ok(is_there)
    }

    /// Makes something for good. It may stand in the settings and not be read yet.
    fn add(
        &mut self,
        member: &str,
        name: &str,
        settings: &[(String, Value)],
    ) -> Result<(), Failure> {
        let added = self.call(SETTINGS, ".config", member, "sa{sv}", |body| {
            body.text(name);
            body.properties(settings);
        });
        match added {
            Err(Failure::Refused { text, .. }) if text.contains("NAME_CONFLICT") => Ok(()),
            added => added.map(drop),
        }
    }

    fn zone(
        &mut self,
        member: &str,
        signature: &str,
        fill: impl FnOnce(&mut Encoder),
    ) -> Result<Message, Failure> {
        self.call(RUNTIME, ".zone", member, signature, fill)
    }

    fn call(
        &mut self,
        path: &str,
        face: &str,
        member: &str,
        signature: &str,
        fill: impl FnOnce(&mut Encoder),
    ) -> Result<Message, Failure> {
        let target = Target {
            destination: SERVICE,
            path,
            interface: &format!("{SERVICE}{face}"),
            member,
        };
        self.bus.call(&target, signature, fill)
    }
}

fn text(key: &str, value: &str) -> (String, Value) {
    (key.to_owned(), Value::Text(value.to_owned()))
}

fn settings_of_zone() -> [(String, Value); 3] {
    [
        text("version", "1.0"),
        text("description", "zone for docker bridge network interfaces"),
        text("target", "ACCEPT"),
    ]
}

fn settings_of_policy() -> [(String, Value); 5] {
    let zones = |key: &str, zone: &str| (key.to_owned(), Value::Texts(vec![zone.to_owned()]));
    [
        text("version", "1.0"),
        text("description", "allow forwarding to the docker zone"),
        text("target", "ACCEPT"),
        zones("ingress_zones", "ANY"),
        zones("egress_zones", ZONE),
    ]
}
