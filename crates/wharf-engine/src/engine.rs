//! The engine: its parts, opened in order, and closed.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::fs::FlockOperation;
use wharf_content::Content;
use wharf_distribution::Client;
use wharf_images::Images;
use wharf_network::Networks;
use wharf_records::{Db, Table};
use wharf_snapshots::Snapshots;
use wharf_tasks::{ShimProgram, Tasks};
use wharf_volumes::Volumes;

use crate::containers::{Shared, stop};
use crate::lifecycle::Event;
use crate::record::Folders;
use crate::userns::ForMounts;
use crate::{
    Containers, EngineConfig, EngineError, Events, ImageService, NetworkService, View,
    VolumeService, recover, userns,
};

/// What a daemon that stops gives its containers beyond the time of the most patient one, as moby.
const GRACE: Duration = Duration::from_secs(5);

const DAEMON: Table<String> = Table::new("daemon", 1);

/// A plain struct of services: it has no logic of its own.
pub struct Engine {
    /// The settings it was opened with. Some can change: see [`Engine::settings`].
    pub config: Arc<EngineConfig>,
    /// Containers.
    pub containers: Containers,
    /// Images.
    pub images: ImageService,
    /// Volumes.
    pub volumes: VolumeService,
    /// Networks.
    pub networks: NetworkService,
    /// Events.
    pub events: Events,
    /// A UUID that stays with the data root.
    pub(crate) id: String,
    /// Of the data root and of the exec root. Held as long as the engine lives; the kernel gives them back, however we end.
    _locks: [File; 2],
}

impl Engine {
    /// Opens an engine on its data root, and finds the containers that live.
    ///
    /// # Errors
    /// `Locked` if another daemon holds the data root or the exec root; those of the parts.
    pub async fn open(config: EngineConfig) -> Result<Arc<Self>, EngineError> {
        config.check()?;
        let config = Arc::new(config);
        let root = &config.data_root;
        folder(root, 0o710)?;
        let data_lock = lock(root)?;
        folder(&config.exec_root, 0o711)?;
        // The processes of its containers are found there, and what has no record here is ended.
        let exec_lock = lock(&config.exec_root)?;
        let folders = Folders {
            containers: root.join("containers"),
        };
        folder(&folders.containers, 0o710)?;
        let db = Db::open(&root.join("wharf.db"))?;
        let id = identity(&db)?;
        let fail = |error: &dyn std::error::Error| EngineError::failed(error);
        let content = Content::open(&root.join("content")).map_err(|error| fail(&error))?;
        let snapshots = Snapshots::open(&root.join("snapshots")).map_err(|error| fail(&error))?;
        let registry = Client::new(config.registry.clone()).map_err(|error| fail(&error))?;
        let images = Images::open(root, db.clone(), content, snapshots.clone(), registry)?;
        let volumes = Volumes::open(&root.join("volumes"), db.clone())?;
        let shim = ShimProgram::open(&config.shim).map_err(|error| fail(&error))?;
        let tasks = Tasks::new(&config.exec_root, shim, &id).map_err(|error| fail(&error))?;
        let user_for_mounts = ForMounts::default();
        let remap = config.userns_remap.as_ref();
        if let Some(remap) = remap {
            userns::probe(root, &*user_for_mounts.get(&tasks, remap)?, remap)?;
        }
        let maker = remap.map(|remap| userns::maker(&tasks, remap));
        let networks = Networks::open_with(db.clone(), network_config(&config)?, maker)
            .map_err(|error| fail(&error))?;
        let events = Events::open(root.join("events.jsonl"));
        let shared = Arc::new(Shared {
            live: std::sync::RwLock::new(config.clone()),
            config: config.clone(),
            db,
            images: images.clone(),
            snapshots,
            volumes: volumes.clone(),
            networks: networks.clone(),
            tasks,
            events: events.clone(),
            folders,
            execs: Default::default(),
            user_for_mounts,
            filters: Default::default(),
            background: Default::default(),
            registry: Default::default(),
            followers: Default::default(),
            stopping: Default::default(),
        });
        recover::recover(&shared).await?;
        let store = images.clone();
        // What a kill in the middle of a pull left behind; nobody waits for it.
        shared.background.spawn_blocking(move || {
            if let Err(error) = store.collect() {
                tracing::warn!(
                    error = wharf_sys::words::chain(&error),
                    "collect layers and blobs"
                );
            }
        });
        let containers = Containers { shared };
        Ok(Arc::new(Self {
            images: ImageService {
                store: images,
                containers: containers.clone(),
                events: events.clone(),
            },
            volumes: VolumeService::new(volumes, containers.clone(), events.clone()),
            networks: NetworkService {
                store: networks,
                containers: containers.clone(),
                events: events.clone(),
            },
            config,
            containers,
            events,
            id,
            _locks: [data_lock, exec_lock],
        }))
    }

    /// What Docker does on a clean stop: starts nothing more (`ShuttingDown`), stops the containers, unless `live-restore`, each with the time that it has for a
    /// stop; then waits for what goes on behind. Each takes `shutdown-timeout` at most, or as long as the most patient
    /// container and a grace (`Daemon.ShutdownTimeout` of moby).
    pub async fn shutdown(&self) {
        let shared = &self.containers.shared;
        let settings = self.settings();
        // Who begins a launch after this sees it; who has begun one hears of the end next.
        shared.stopping.store(true, Ordering::SeqCst);
        let mut limit = Some(Duration::from_secs(settings.shutdown_timeout));
        if !settings.live_restore {
            let mut stops = tokio::task::JoinSet::new();
            for entry in shared.entries() {
                // All are asked: what one of them is at is known to itself alone.
                let view = entry.now();
                let patience = stop::patience(&view.config, None);
                limit = limit
                    .zip(patience.limit)
                    .map(|(limit, patience)| limit.max(patience + GRACE));
                stops.spawn(async move {
                    // One that ends by itself at this moment needs no stop.
                    if entry.ask_with(Event::Shutdown, patience).await.is_ok() {
                        let unkilled = view.unkilled;
                        let over = |now: &Arc<View>| now.removed || !now.state.running;
                        entry
                            .until(|now| over(now) || now.unkilled > unkilled)
                            .await;
                    }
                });
            }
            let stopped = async { while stops.join_next().await.is_some() {} };
            if !within(limit, stopped).await {
                tracing::warn!("containers that do not stop are left to the next daemon");
            }
        }
        shared.background.close();
        if !within(limit, shared.background.wait()).await {
            tracing::warn!("what goes on behind has not come to its end");
        }
        if let Err(error) = shared.tasks.shutdown() {
            tracing::warn!(error = wharf_sys::words::chain(&error), "shut tasks down");
        }
        self.networks.store.shutdown().await;
    }

    /// The file of records, for what is built on the engine and keeps some of its own.
    pub fn records(&self) -> &Db {
        &self.containers.shared.db
    }
}

/// Makes a folder of ours, and sets its mode though it was there.
fn folder(path: &Path, mode: u32) -> Result<(), EngineError> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path);
    made.map_err(EngineError::io("make", path))?;
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, permissions).map_err(EngineError::io("set the mode of", path))
}

/// Waits for `done`, for `limit` at most if there is one; whether it came to its end.
async fn within(limit: Option<Duration>, done: impl Future<Output = ()>) -> bool {
    let Some(limit) = limit else {
        done.await;
        return true;
    };
    tokio::time::timeout(limit, done).await.is_ok()
}

/// Takes the lock of a root, and writes our process id into it for whoever meets it.
fn lock(root: &Path) -> Result<File, EngineError> {
    let path = root.join("lock");
    let open = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path);
    let mut file = open.map_err(EngineError::io("open", &path))?;
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        // The text is only a help to the user.
        let _ = file.read_to_string(&mut holder);
        let pid = holder.trim().parse().unwrap_or(0);
        return Err(EngineError::Locked {
            path: root.to_owned(),
            pid,
        });
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(EngineError::io("write", &path))?;
    Ok(file)
}

/// The data root's UUID (RFC 9562, version 4), made on the first start.
fn identity(db: &Db) -> Result<String, EngineError> {
    if let Some(id) = db.read(|tx| DAEMON.get(tx, "id"))? {
        return Ok(id);
    }
    let random: u128 = rand::random();
    let raw = random & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{raw:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| hex.get(part).unwrap_or_default());
    let id = parts.join("-");
    db.write(|tx| DAEMON.put(tx, "id", &id))?;
    Ok(id)
}

pub(crate) fn network_config(config: &EngineConfig) -> Result<wharf_network::Config, EngineError> {
    let bridge = &config.bridge;
    let defaults = wharf_network::Config::default();
    let pool = |(base, size): &(String, u8)| {
        let base = base.parse();
        let base =
            base.map_err(|_| EngineError::Invalid("invalid default-address-pools".to_owned()));
        base.map(|base| (base, *size))
    };
    Ok(wharf_network::Config {
        default_bridge: bridge.enabled,
        bridge_name: bridge.name.clone(),
        bip: cidr(bridge.bip.as_deref())?,
        bip6: cidr(bridge.bip6.as_deref())?,
        fixed_cidr: cidr(bridge.fixed_cidr.as_deref())?,
        fixed_cidr6: cidr(bridge.fixed_cidr6.as_deref())?,
        default_gateway: bridge.default_gateway,
        default_gateway6: bridge.default_gateway6,
        ipv6: bridge.ipv6,
        mtu: if bridge.mtu == 0 {
            defaults.mtu
        } else {
            bridge.mtu
        },
        address_pools: bridge
            .address_pools
            .iter()
            .map(pool)
            .collect::<Result<_, _>>()?,
        network_options: bridge.network_options.clone(),
        ip_forward: bridge.ip_forward,
        ip_masq: bridge.ip_masq,
        icc: bridge.icc,
        firewall: bridge.firewall,
        bus: bridge.bus.clone(),
        userland_proxy: bridge.userland_proxy,
        direct_routing: bridge.direct_routing,
        publish_policy: bridge.publish_policy.parse()?,
        default_binding: bridge.default_binding,
        ready_namespaces: defaults.ready_namespaces,
    })
}

fn cidr<T: std::str::FromStr>(text: Option<&str>) -> Result<Option<T>, EngineError> {
    let parse = |text: &str| {
        let invalid = |_| EngineError::Invalid(format!("invalid CIDR address: {text}"));
        text.parse().map_err(invalid)
    };
    text.map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        let refused = lock(folder.path()).map(drop);
        assert!(matches!(refused, Err(EngineError::Locked { .. })));
        drop(held);
        lock(folder.path()).unwrap();
    }
}
