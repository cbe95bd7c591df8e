//! The registry as a whole: what it is made of, and its life.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::auth::{Auth, Htpasswd, TokenAuth};
use crate::config::{AuthSettings, Config, Settings};
use crate::error::io_at;
use crate::http::Context;
use crate::maintenance;
use crate::metrics::Metrics;
use crate::notify::{Event, Notifier};
use crate::proxy::Proxy;
use crate::store::{Quotas, Store};
use crate::uploads::Uploads;
use crate::{Error, http, tls};

/// What requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<Store>,
    pub(crate) auth: Auth,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) uploads: Arc<Uploads>,
    pub(crate) metrics: Metrics,
    /// Something was deleted: there may be garbage.
    pub(crate) garbage: Notify,
    /// The disk answers.
    pub(crate) is_healthy: AtomicBool,
    notifier: Notifier,
}

impl Shared {
    /// Tells those who want to know. The event is made only if there are some.
    pub(crate) fn notify(&self, context: &Context, event: impl FnOnce() -> Event) {
        if !self.notifier.is_idle() {
            self.notifier.send(&event(), context);
        }
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.is_healthy.load(Ordering::Relaxed)
    }
}

/// A registry that serves.
pub struct Registry {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    drain: Duration,
    serving: JoinHandle<()>,
    /// Work that has no end of its own.
    background: Vec<JoinHandle<()>>,
}

impl Registry {
    /// Opens the store, binds the addresses and serves.
    ///
    /// # Errors
    /// If the folder is in use, files of the settings cannot be read, or an address cannot be bound.
    pub async fn start(config: Config) -> Result<Registry, Error> {
        let (root, bucket, quotas) = (config.root.clone(), config.bucket, config.quotas);
        let store = Arc::new(blocking(move || Store::open(&root, bucket, quotas)).await?);
        let (stop, stopped) = watch::channel(false);
        let listener = bind(&config.addr).await?;
        let addr = listener
            .local_addr()
            .map_err(io_at("listen on", Path::new(&config.addr)))?;
        let acceptor = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let shared = Arc::new(Shared {
            auth: auth(&config.auth)?,
            proxy: config
                .proxy
                .map(|settings| Proxy::new(settings, store.clone()))
                .transpose()?,
            notifier: Notifier::start(config.endpoints, &addr.to_string(), &stopped)?,
            settings: config.settings,
            store,
            uploads: Arc::default(),
            metrics: Metrics::new(),
            garbage: Notify::new(),
            is_healthy: AtomicBool::new(true),
        });
        let mut background =
            maintenance::start(&shared, config.garbage, config.purge, config.health);
        if let Some(debug) = config.debug {
            let listener = bind(&debug.addr).await?;
            background.push(tokio::spawn(maintenance::debug(
                shared.clone(),
                listener,
                debug.metrics,
                config.garbage,
            )));
        }
        let serving = tokio::spawn(http::serve(shared.clone(), listener, acceptor, stopped));
        tracing::info!(%addr, "listening");
        Ok(Registry {
            addr,
            shared,
            stop,
            drain: config.drain,
            serving,
            background,
        })
    }

    /// The address that is listened on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Deletes what nobody needs, now. Returns the bytes that it freed.
    ///
    /// # Errors
    /// The system's.
    pub async fn collect(&self, grace: Duration, untagged: bool) -> Result<u64, Error> {
        maintenance::collect(&self.shared, grace, untagged)
            .await
            .map(|collected| collected.bytes)
    }

    /// Takes no more connections, lets the requests that are under way come to their end, and ends.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        if tokio::time::timeout(self.drain, self.serving)
            .await
            .is_err()
        {
            tracing::warn!("requests are cut off: they took longer than http.draintimeout");
        }
        for task in self.background {
            task.abort();
            let _ = task.await;
        }
    }
}

fn auth(settings: &AuthSettings) -> Result<Auth, Error> {
    Ok(match settings {
        AuthSettings::Open => Auth::Open,
        AuthSettings::Htpasswd { realm, path, rules } => {
            Auth::Basic(Htpasswd::open(path, realm, rules.clone())?)
        }
        AuthSettings::Token(token) => Auth::Token(Box::new(TokenAuth::open(token)?)),
    })
}

async fn bind(addr: &str) -> Result<TcpListener, Error> {
    // As for Go, no host is all of them.
    let full = match addr.strip_prefix(':') {
        Some(port) => format!("[::]:{port}"),
        None => addr.to_owned(),
    };
    let bound = match TcpListener::bind(&full).await {
        // A machine without IPv6.
        Err(error)
            if addr.starts_with(':')
                && error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) =>
        {
            TcpListener::bind(format!("0.0.0.0{addr}")).await
        }
        bound => bound,
    };
    bound.map_err(io_at("listen on", &PathBuf::from(addr)))
}

/// Everything that is not as it should be in the store in the folder `root`, which no registry may be serving.
///
/// # Errors
/// If a registry serves it, or it cannot be read.
pub fn check(root: &Path) -> Result<Vec<String>, Error> {
    let store = Store::open(root, None, Quotas::default())?;
    Ok(store.check()?.iter().map(ToString::to_string).collect())
}

/// Runs what waits for the disk off the threads that serve.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Error> + Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(Error::Io {
                operation: "run",
                path: PathBuf::from("a task"),
                source: io::Error::other(error),
            })
        })
}
