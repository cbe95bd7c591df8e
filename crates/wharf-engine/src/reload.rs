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

    /// Takes those of `new` that can change: what dockerd reloads, and the log driver of containers to come. All of it, or
    /// nothing if something of it is wrong.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn reload(&self, new: &EngineConfig) -> Result<(), EngineError> {
        crate::logging::verify(&new.log)?;
        let client =
            Client::new(new.registry.clone()).map_err(|error| EngineError::failed(&error))?;
        let settings = EngineConfig {
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
    [
        ("name", name.nodename().to_string_lossy().into_owned()),
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
