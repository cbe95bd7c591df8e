//! What a build is asked for.

use std::collections::BTreeMap;

use wharf_distribution::Credentials;
use wharf_engine::{NetworkMode, Resources};
use wharf_oci::{Platform, Reference};

/// The options of a classic build, as `POST /build` has them.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions {
    /// The Dockerfile's path in the context; `Dockerfile` if empty.
    pub dockerfile: String,
    /// Names of the result.
    pub tags: Vec<Reference>,
    /// Values of `ARG`s; `None` for one that was named without a value.
    pub args: BTreeMap<String, Option<String>>,
    /// Labels of the result.
    pub labels: BTreeMap<String, String>,
    /// The stage to stop at, by name or number; the last one if empty.
    pub target: String,
    /// Do not look into the cache.
    pub no_cache: bool,
    /// Images whose steps may be used too.
    pub cache_from: Vec<String>,
    /// Pull the base images even if they are here.
    pub pull: bool,
    /// Remove the containers of steps that went well.
    pub remove: bool,
    /// And of those that did not.
    pub force_remove: bool,
    /// Make one layer of all that the build adds to its base.
    pub squash: bool,
    /// The platform of the base images; the host's if none.
    pub platform: Option<Platform>,
    /// Network of `RUN`.
    pub network: NetworkMode,
    /// `host:address` pairs in `/etc/hosts` of `RUN`.
    pub extra_hosts: Vec<String>,
    /// Size of `/dev/shm` of `RUN`, in bytes; 0 for the default.
    pub shm_size: u64,
    /// Limits of `RUN`.
    pub resources: Resources,
    /// The way into registries, by their domain.
    pub credentials: BTreeMap<String, Credentials>,
}
