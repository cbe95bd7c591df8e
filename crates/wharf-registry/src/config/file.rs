//! The file as it is written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::values::{Size, Span};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    /// `0.1`: a number to YAML.
    pub(super) version: Option<Value>,
    pub(super) log: Log,
    pub(super) storage: Storage,
    pub(super) auth: Option<Auth>,
    pub(super) http: Http,
    pub(super) notifications: Notifications,
    pub(super) proxy: Option<Proxy>,
    pub(super) health: Health,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) level: Option<String>,
    pub(super) formatter: Option<String>,
    pub(super) accesslog: AccessLog,
    /// Added to every line.
    pub(super) fields: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AccessLog {
    pub(super) disabled: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Storage {
    pub(super) filesystem: Option<Filesystem>,
    pub(super) s3: Option<S3>,
    pub(super) delete: Enabled,
    pub(super) cache: Option<CacheSettings>,
    pub(super) redirect: Option<Redirect>,
    pub(super) maintenance: Maintenance,
    pub(super) quota: Quota,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Filesystem {
    pub(super) rootdirectory: PathBuf,
    pub(super) maxthreads: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct S3 {
    pub(super) accesskey: Option<String>,
    pub(super) secretkey: Option<String>,
    pub(super) sessiontoken: Option<String>,
    pub(super) region: String,
    pub(super) regionendpoint: Option<String>,
    pub(super) forcepathstyle: Option<bool>,
    pub(super) bucket: String,
    pub(super) secure: Option<bool>,
    pub(super) v4auth: Option<bool>,
    pub(super) chunksize: Option<Size>,
    #[serde(default)]
    pub(super) rootdirectory: String,
}

impl Default for Filesystem {
    fn default() -> Filesystem {
        Filesystem {
            rootdirectory: PathBuf::from("/var/lib/registry"),
            maxthreads: None,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Enabled {
    pub(super) enabled: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CacheSettings {
    pub(super) blobdescriptor: Option<String>,
    pub(super) blobdescriptorsize: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Redirect {
    pub(super) disable: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Maintenance {
    pub(super) uploadpurging: UploadPurging,
    pub(super) readonly: Enabled,
    pub(super) garbagecollection: GarbageCollection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct UploadPurging {
    pub(super) enabled: Option<bool>,
    pub(super) age: Option<Span>,
    pub(super) interval: Option<Span>,
    pub(super) dryrun: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GarbageCollection {
    pub(super) enabled: Option<bool>,
    pub(super) interval: Option<Span>,
    pub(super) grace: Option<Span>,
    pub(super) untagged: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Quota {
    pub(super) total: Option<Size>,
    pub(super) repository: Option<Size>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Auth {
    pub(super) htpasswd: Option<Htpasswd>,
    pub(super) token: Option<Token>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Htpasswd {
    pub(super) realm: String,
    pub(super) path: PathBuf,
    #[serde(default)]
    pub(super) access: Vec<AccessRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccessRule {
    pub(super) users: Vec<String>,
    pub(super) repositories: Vec<String>,
    pub(super) actions: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    pub(super) realm: String,
    pub(super) service: String,
    pub(super) issuer: String,
    pub(super) rootcertbundle: Option<PathBuf>,
    pub(super) jwks: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Http {
    pub(super) addr: String,
    pub(super) net: Option<String>,
    pub(super) host: Option<String>,
    /// There, it signs the state of uploads in their addresses; ours have none.
    pub(super) secret: Option<String>,
    pub(super) relativeurls: Option<bool>,
    pub(super) draintimeout: Option<Span>,
    pub(super) tls: Option<Tls>,
    pub(super) debug: Option<Debug>,
    pub(super) headers: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tls {
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) clientcas: Vec<PathBuf>,
    pub(super) minimumtls: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Debug {
    pub(super) addr: String,
    pub(super) prometheus: Prometheus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Prometheus {
    pub(super) enabled: bool,
    pub(super) path: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Notifications {
    pub(super) endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Endpoint {
    pub(super) name: String,
    #[serde(default)]
    pub(super) disabled: bool,
    pub(super) url: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Vec<String>>,
    pub(super) timeout: Option<Span>,
    pub(super) threshold: Option<u32>,
    pub(super) backoff: Option<Span>,
    #[serde(default)]
    pub(super) ignoredmediatypes: Vec<String>,
    #[serde(default)]
    pub(super) ignore: Ignore,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ignore {
    pub(super) mediatypes: Vec<String>,
    pub(super) actions: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Proxy {
    pub(super) remoteurl: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) ttl: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Health {
    pub(super) storagedriver: StorageHealth,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StorageHealth {
    pub(super) enabled: bool,
    pub(super) interval: Option<Span>,
    pub(super) threshold: Option<u32>,
}
