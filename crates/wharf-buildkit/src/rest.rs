//! `POST /build?version=2`: BuildKit behind the classic builder's request (moby `builder/builder-next`, `Build`).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard_buildkit_proto::moby::buildkit::v1::{
    CacheOptions, CacheOptionsEntry, Exporter, SolveRequest,
};
use futures_util::{Stream, StreamExt as _};
use prost::Message as _;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::task::AbortOnDropHandle;
use wharf_builder::Upload;
use wharf_oci::{Platform, Reference};

use crate::control::Control;
use crate::service::{BuildKit, Kit};
use crate::session::BODY;

/// What is asked for.
#[derive(Debug, Default)]
pub struct RestBuild {
    /// What the client calls it, to cancel it by; empty if it never will.
    pub id: String,
    /// The client's session; empty if it has none.
    pub session: String,
    /// `client-session`, an address, or empty for what comes with the request.
    pub remote: String,
    /// The Dockerfile's path; empty for its default.
    pub dockerfile: String,
    /// Names of the result.
    pub tags: Vec<Reference>,
    /// Values of `ARG`s.
    pub args: BTreeMap<String, Option<String>>,
    /// Labels of the result.
    pub labels: BTreeMap<String, String>,
    /// The stage to stop at.
    pub target: String,
    /// Do not look into the cache.
    pub no_cache: bool,
    /// Look for newer base images.
    pub pull: bool,
    /// Images whose caches may be used.
    pub cache_from: Vec<String>,
    /// What to build for.
    pub platform: Option<Platform>,
    /// Network of `RUN`.
    pub network: String,
    /// `host:address` pairs.
    pub extra_hosts: Vec<String>,
    /// Size of `/dev/shm`, in bytes; 0 for the default.
    pub shm_size: u64,
    /// `name=soft:hard`.
    pub ulimits: Vec<String>,
    /// Parent of the steps' control groups.
    pub cgroup_parent: String,
    /// Where the result goes: type and attributes; into the store if there is none.
    pub outputs: Vec<(String, BTreeMap<String, String>)>,
}

/// The builds that their clients have given names. Of two with one name, the later one has it.
#[derive(Default)]
pub(crate) struct Named(Mutex<HashMap<String, AbortHandle>>);

impl Named {
    fn builds(&self) -> MutexGuard<'_, HashMap<String, AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A build's name, which goes with it.
struct Name {
    kit: Arc<Kit>,
    id: String,
    build: tokio::task::Id,
}

impl Drop for Name {
    fn drop(&mut self) {
        let mut builds = self.kit.named.builds();
        if builds
            .get(&self.id)
            .is_some_and(|one| one.id() == self.build)
        {
            builds.remove(&self.id);
        }
    }
}

/// What is said while it builds.
#[derive(Debug)]
pub enum RestEvent {
    /// A `moby.buildkit.v1.StatusResponse`, encoded.
    Trace(Vec<u8>),
    /// The image's id.
    Image(String),
    /// It has failed.
    Failed(String),
}

impl BuildKit {
    /// Builds. `body` is read if the context came with the request. Dropping the stream gives the build up.
    ///
    /// # Errors
    /// If what is asked for cannot be.
    pub fn build(
        &self,
        wanted: &RestBuild,
        body: Upload,
    ) -> Result<impl Stream<Item = RestEvent> + Send + use<>, String> {
        let request = request(wanted)?;
        let kit = self.kit().clone();
        let id = request.r#ref.clone();
        let solve = {
            let control = Control(kit.clone());
            let body = wanted.remote.is_empty().then_some(body);
            tokio::spawn(async move { control.run(request, body).await })
        };
        let name = (!wanted.id.is_empty()).then(|| self.name(&wanted.id, &solve));
        let solve = AbortOnDropHandle::new(solve);
        let traced = async move {
            let trace = match kit.history.trace(&id) {
                Some(trace) => Ok(trace),
                None => kit.jobs.trace(&id).await,
            };
            match trace {
                Ok(trace) => trace.follow().map(|one| one.encode_to_vec()).boxed(),
                // It has failed before it began.
                Err(_) => futures_util::stream::empty().boxed(),
            }
        };
        let trace = futures_util::stream::once(traced).flatten();
        let end = futures_util::stream::once(async move {
            let ended = solve.await;
            drop(name);
            match ended {
                Ok(Ok(solved)) => {
                    let id = solved.exporter_response.get("containerimage.config.digest");
                    id.cloned().map(RestEvent::Image)
                }
                Ok(Err(status)) => Some(RestEvent::Failed(status.message().to_owned())),
                Err(error) if error.is_cancelled() => {
                    Some(RestEvent::Failed("context canceled".to_owned()))
                }
                Err(error) => Some(RestEvent::Failed(error.to_string())),
            }
        });
        let end = end.filter_map(std::future::ready);
        Ok(trace.map(RestEvent::Trace).chain(end))
    }

    /// Ends the build that was given this name. If there is none, it has ended by itself.
    pub fn cancel(&self, id: &str) {
        if let Some(build) = self.kit().named.builds().get(id) {
            build.abort();
        }
    }

    fn name<T>(&self, id: &str, build: &JoinHandle<T>) -> Name {
        let kit = self.kit().clone();
        kit.named
            .builds()
            .insert(id.to_owned(), build.abort_handle());
        Name {
            kit,
            id: id.to_owned(),
            build: build.id(),
        }
    }
}

fn request(wanted: &RestBuild) -> Result<SolveRequest, String> {
    let (exporters, inline) = (exporters(wanted)?, inline_cache(wanted));
    let entitlements = match wanted.network.as_str() {
        "host" => vec!["network.host".to_owned()],
        _ => Vec::new(),
    };
    Ok(SolveRequest {
        r#ref: format!("{:032x}", rand::random::<u128>()),
        session: wanted.session.clone(),
        frontend: "dockerfile.v0".to_owned(),
        frontend_attrs: attributes(wanted)?,
        exporters,
        entitlements,
        cache: inline.then(|| CacheOptions {
            exports: vec![CacheOptionsEntry {
                r#type: "inline".to_owned(),
                ..CacheOptionsEntry::default()
            }],
            ..CacheOptions::default()
        }),
        ..SolveRequest::default()
    })
}

fn inline_cache(wanted: &RestBuild) -> bool {
    let asked = wanted.args.get("BUILDKIT_INLINE_CACHE");
    let asked = asked.and_then(Option::as_deref);
    // As moby has it: what is no boolean says nothing.
    asked.is_some_and(|text| wharf_go::parse_bool(text) == Ok(true))
}

fn exporters(wanted: &RestBuild) -> Result<Vec<Exporter>, String> {
    let (kind, attrs) = match &wanted.outputs[..] {
        [] => ("moby", BTreeMap::new()),
        // It is only to be in the cache.
        [(kind, _)] if kind == "cacheonly" => return Ok(Vec::new()),
        [(kind, attrs)] => (kind.as_str(), attrs.clone()),
        _ => return Err("multiple outputs not supported".to_owned()),
    };
    let mut attrs: HashMap<String, String> = attrs.into_iter().collect();
    if matches!(kind, "moby" | "image") && !wanted.tags.is_empty() {
        let names = wanted.tags.iter().map(Reference::to_string);
        attrs.insert("name".to_owned(), names.collect::<Vec<_>>().join(","));
    }
    Ok(vec![Exporter {
        r#type: kind.to_owned(),
        attrs,
    }])
}

fn attributes(wanted: &RestBuild) -> Result<HashMap<String, String>, String> {
    let mut attrs = HashMap::new();
    let mut set = |name: &str, value: &str| {
        if !value.is_empty() {
            attrs.insert(name.to_owned(), value.to_owned());
        }
    };
    set("target", &wanted.target);
    set(
        "filename",
        Some(wanted.dockerfile.as_str())
            .filter(|name| *name != ".")
            .unwrap_or_default(),
    );
    match wanted.remote.as_str() {
        "" => set("context", &format!("http://buildkit-session/{BODY}")),
        "client-session" => {}
        address => set("context", address),
    }
    set("cache-from", &wanted.cache_from.join(","));
    set(
        "image-resolve-mode",
        if wanted.pull { "pull" } else { "default" },
    );
    if let Some(platform) = &wanted.platform {
        set("platform", &platform.to_string());
    }
    match wanted.network.as_str() {
        "" | "default" => {}
        mode @ ("host" | "none") => set("force-network-mode", mode),
        other => return Err(format!("network mode {other:?} not supported by buildkit")),
    }
    let hosts = wanted
        .extra_hosts
        .iter()
        .map(|pair| pair.replacen(':', "=", 1));
    set("add-hosts", &hosts.collect::<Vec<_>>().join(","));
    if wanted.shm_size > 0 {
        set("shm-size", &wanted.shm_size.to_string());
    }
    set("ulimit", &wanted.ulimits.join(","));
    set("cgroup-parent", &wanted.cgroup_parent);
    if wanted.no_cache {
        attrs.insert("no-cache".to_owned(), String::new());
    }
    for (name, value) in &wanted.args {
        if let Some(value) = value {
            attrs.insert(format!("build-arg:{name}"), value.clone());
        }
    }
    for (name, value) in &wanted.labels {
        attrs.insert(format!("label:{name}"), value.clone());
    }
    Ok(attrs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_become_those_of_buildkit() {
        let wanted = RestBuild {
            args: [
                ("A".to_owned(), Some("1".to_owned())),
                ("B".to_owned(), None),
            ]
            .into(),
            extra_hosts: vec!["h:::1".to_owned()],
            network: "host".to_owned(),
            no_cache: true,
            tags: vec![Reference::parse_normalized("x:1").unwrap()],
            ..RestBuild::default()
        };
        let request = request(&wanted).unwrap();
        assert_eq!(request.frontend_attrs["build-arg:A"], "1");
        assert!(!request.frontend_attrs.contains_key("build-arg:B"));
        assert_eq!(request.frontend_attrs["add-hosts"], "h=::1");
        assert_eq!(request.exporters[0].attrs["name"], "docker.io/library/x:1");
        assert_eq!(request.entitlements, ["network.host"]);
        let bad = RestBuild {
            network: "bridge".to_owned(),
            ..RestBuild::default()
        };
        assert!(super::request(&bad).is_err());
    }
}
