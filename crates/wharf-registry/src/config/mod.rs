//! The settings file: docker-registry's keys, as far as there is something behind them here, and a few of ours.
//!
//! An unknown key or a wrong value is an error that names key and line. As there, `REGISTRY_HTTP_ADDR=...` in the
//! environment stands for `http: {addr: ...}`.

mod bucket;
mod environment;
mod file;
mod resolve;
mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use crate::Error;
use crate::auth::{Rule, TokenSettings};
use crate::notify::Endpoint;
use crate::store::{BucketSettings, Quotas};

/// The settings if there is no file.
const SIMPLE: &str = "
storage: {filesystem: {rootdirectory: /var/lib/wharf-registry}, delete: {enabled: true}}
http: {addr: '127.0.0.1:5000'}
";

/// Settings of a registry. Made by [`Config::read`] or [`Config::simple`].
#[derive(Clone, Debug)]
pub struct Config {
    /// `http.addr`: HOST:PORT; an empty host is all addresses.
    pub addr: String,
    /// `storage.filesystem.rootdirectory`; with a bucket, the folder of uploads under way.
    pub root: PathBuf,
    /// `log.level`.
    pub log_level: String,
    /// Whether `log.formatter` is `json`.
    pub log_json: bool,
    /// Added to every line of the log.
    pub log_fields: std::collections::BTreeMap<String, serde_json::Value>,
    /// `storage.filesystem.maxthreads`.
    pub threads: usize,
    /// `http.draintimeout`: how long requests that are under way may take when the registry ends.
    pub drain: Duration,
    pub(crate) tls: Option<Tls>,
    pub(crate) debug: Option<Debug>,
    pub(crate) auth: AuthSettings,
    pub(crate) settings: Settings,
    /// `storage.s3`.
    pub(crate) bucket: Option<BucketSettings>,
    pub(crate) quotas: Quotas,
    pub(crate) garbage: Garbage,
    pub(crate) purge: Purge,
    pub(crate) proxy: Option<ProxySettings>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) health: Option<Health>,
}

/// What requests are answered by.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Base of all addresses that clients are told.
    pub(crate) host: Option<String>,
    pub(crate) relative_urls: bool,
    /// Headers of every answer.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) access_log: bool,
    pub(crate) read_only: bool,
    pub(crate) may_delete: bool,
    pub(crate) is_cache: bool,
}

impl Settings {
    /// Whether something may be changed by this method.
    pub(crate) fn may_write(&self, method: &Method, is_upload: bool) -> Result<(), Error> {
        let refused = |why: &str| Err(Error::Unsupported(why.to_owned()));
        if self.is_cache {
            return refused("this registry is a cache of another one");
        }
        if self.read_only {
            return refused("this registry is read-only");
        }
        if *method == Method::DELETE && !is_upload && !self.may_delete {
            return refused("deleting is not enabled (storage.delete.enabled)");
        }
        Ok(())
    }
}

/// `http.tls`.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Authorities of clients; none: everybody may come.
    pub(crate) client_authorities: Vec<PathBuf>,
    /// Only TLS 1.3.
    pub(crate) only_newest: bool,
}

/// `http.debug`: another listener, for who runs the registry.
#[derive(Clone, Debug)]
pub(crate) struct Debug {
    pub(crate) addr: String,
    /// Path of the page for Prometheus.
    pub(crate) metrics: Option<String>,
}

/// `auth`.
#[derive(Clone, Debug)]
pub(crate) enum AuthSettings {
    Open,
    Htpasswd {
        realm: String,
        path: PathBuf,
        rules: Vec<Rule>,
    },
    Token(TokenSettings),
}

/// `storage.maintenance.garbagecollection` (ours).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Garbage {
    pub(crate) is_enabled: bool,
    pub(crate) interval: Duration,
    pub(crate) grace: Duration,
    pub(crate) untagged: bool,
}

/// `storage.maintenance.uploadpurging`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Purge {
    pub(crate) is_enabled: bool,
    pub(crate) age: Duration,
    pub(crate) interval: Duration,
}

/// `health.storagedriver`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Health {
    pub(crate) interval: Duration,
    pub(crate) threshold: u32,
}

/// `proxy`.
#[derive(Clone, Debug)]
pub(crate) struct ProxySettings {
    pub(crate) host: String,
    pub(crate) is_plain: bool,
    pub(crate) credentials: Option<wharf_distribution::Credentials>,
    /// How long content is kept; `None`: for ever.
    pub(crate) ttl: Option<Duration>,
}

impl Config {
    /// A registry without a settings file: on loopback, open to everybody who reaches it, with deletes; but for what the
    /// environment says, and what is not `None` here.
    ///
    /// # Errors
    /// [`Error::Config`] that names what the environment says.
    pub fn simple(addr: Option<&str>, root: Option<&Path>) -> Result<Config, Error> {
        Self::parse(SIMPLE, addr, root, std::env::vars())
    }

    /// Reads a settings file; what is not `None` here goes before it.
    ///
    /// # Errors
    /// [`Error::Config`] that names the file, the key and the line.
    pub fn read(path: &Path, addr: Option<&str>, root: Option<&Path>) -> Result<Config, Error> {
        let text = std::fs::read_to_string(path).map_err(crate::error::io_at("read", path))?;
        Self::parse(&text, addr, root, std::env::vars()).map_err(|error| match error {
            Error::Config(why) => Error::Config(format!("{}: {why}", path.display())),
            other => other,
        })
    }

    fn parse(
        text: &str,
        addr: Option<&str>,
        root: Option<&Path>,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, Error> {
        let mut file = environment::apply(text, variables)?;
        if let Some(addr) = addr {
            file.http.addr = addr.to_owned();
        }
        if let Some(root) = root {
            let threads = file
                .storage
                .filesystem
                .and_then(|filesystem| filesystem.maxthreads);
            file.storage.filesystem = Some(file::Filesystem {
                rootdirectory: root.to_owned(),
                maxthreads: threads,
            });
        }
        resolve::resolve(file)
    }
}

#[cfg(test)]
mod tests;
