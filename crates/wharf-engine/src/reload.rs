//! Settings that change while the daemon runs (SIGHUP).

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use wharf_distribution::Client;

use crate::{Engine, EngineConfig, EngineError, EventKind};

impl Engine {
    /// The settings as they are now.
    pub fn settings(&self) -> Arc<EngineConfig> {
        self.containers.shared.settings()
    }

    /// Takes those of `new` that can change: what dockerd reloads (moby `daemon/reload.go`), and the log driver of containers to
    /// come. All of it, or nothing if something of it is wrong.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn reload(&self, new: &EngineConfig) -> Result<(), EngineError> {
        crate::logging::verify(&new.log)?;
        let client =
            Client::new(new.registry.clone()).map_err(|error| EngineError::failed(&error))?;
        let settings = EngineConfig {
            runtimes: new.runtimes.clone(),
            default_runtime: new.default_runtime.clone(),
            default_shm_size: new.default_shm_size,
            default_ipc_mode: new.default_ipc_mode.clone(),
            default_cgroupns_mode: new.default_cgroupns_mode.clone(),
            features: new.features.clone(),
            labels: new.labels.clone(),
            debug: new.debug,
            live_restore: new.live_restore,
            shutdown_timeout: new.shutdown_timeout,
            registry: new.registry.clone(),
            log: new.log.clone(),
            ..EngineConfig::clone(&self.settings())
        };
        let attributes = attributes(&settings);
        self.images.store.set_registry(client);
        let live = &self.containers.shared.live;
        *live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.events
            .emit(EventKind::Daemon, "reload", &self.id, attributes);
        Ok(())
    }
}

/// What dockerd's event says.
fn attributes(settings: &EngineConfig) -> BTreeMap<String, String> {
    let list = |items: &[String]| serde_json::Value::from(items).to_string();
    let registry = &settings.registry;
    let name = rustix::system::uname();
    let runtimes = settings.runtimes.iter();
    let runtimes = runtimes.map(|(name, runtime)| format!("{name}:{}", runtime.path.display()));
    let features = settings.features.iter();
    let features = features.map(|(name, on)| format!("{name}:{on}"));
    let joined = |words: &mut dyn Iterator<Item = String>| words.collect::<Vec<_>>().join(" ");
    [
        ("name", name.nodename().to_string_lossy().into_owned()),
        ("runtimes", joined(&mut { runtimes })),
        ("default-runtime", settings.default_runtime.clone()),
        ("default-shm-size", settings.default_shm_size.to_string()),
        ("default-ipc-mode", settings.default_ipc_mode.clone()),
        (
            "default-cgroupns-mode",
            settings.default_cgroupns_mode.clone(),
        ),
        // As Go prints a map.
        ("features", format!("map[{}]", joined(&mut { features }))),
        ("debug", settings.debug.to_string()),
        ("labels", list(&settings.labels)),
        ("live-restore", settings.live_restore.to_string()),
        ("shutdown-timeout", settings.shutdown_timeout.to_string()),
        (
            "max-concurrent-downloads",
            registry.max_concurrent_downloads.to_string(),
        ),
        (
            "max-concurrent-uploads",
            registry.max_concurrent_uploads.to_string(),
        ),
        ("max-download-attempts", registry.retries.to_string()),
        ("insecure-registries", list(&settings.registry.insecure)),
        ("registry-mirrors", list(&settings.registry.mirrors)),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}
