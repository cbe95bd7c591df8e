//! The frontend's options, as buildx gives them.

use std::collections::BTreeMap;

use base64::Engine as _;
use bollard_buildkit_proto::pb;
use wharf_oci::Platform;

use crate::{SolveError, attributes};

/// What a Dockerfile is built with.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub(super) filename: String,
    pub(super) target: String,
    pub(super) args: BTreeMap<String, Option<String>>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) platforms: Vec<Platform>,
    pub(super) multi_platform: bool,
    /// `Some([])`: nothing is looked up; else the stages of these names.
    pub(super) no_cache: Option<Vec<String>>,
    pub(super) resolve_mode: String,
    pub(super) network: String,
    pub(super) hosts: Vec<pb::HostIp>,
    pub(super) shm_size: i64,
    pub(super) ulimits: Vec<pb::Ulimit>,
    pub(super) cgroup_parent: String,
    pub(super) hostname: String,
    /// Cache mounts of builds with another one are other mounts.
    pub(super) cache_namespace: String,
    /// A repository that is a context keeps its `.git`.
    pub(super) keep_git_dir: bool,
    /// Named contexts: `docker-image://…`, `local:…`, `input:…`, an address.
    pub(super) contexts: BTreeMap<String, String>,
    /// The main context, where it is not the client's.
    pub(super) context: String,
    pub(super) context_key: String,
    pub(super) dockerfile_key: String,
    /// The Dockerfile is the client's though the context is not.
    pub(super) separate_dockerfile: bool,
    /// Configurations of the results that are named contexts, by the name of the input.
    pub(super) input_configs: BTreeMap<String, Vec<u8>>,
    /// The frontend's image, of `gateway.v0`.
    pub(super) source: String,
    /// Instead of the `# syntax=` line.
    pub(super) syntax: Option<String>,
    /// `frontend.targets` and the like.
    pub(super) request: String,
}

impl Options {
    /// Reads them.
    ///
    /// # Errors
    /// If a value makes no sense.
    pub(super) fn read(attrs: &BTreeMap<String, String>) -> Result<Self, SolveError> {
        let text = |key: &str| attrs.get(key).cloned().unwrap_or_default();
        let or = |key: &str, default: &str| match text(key) {
            empty if empty.is_empty() => default.to_owned(),
            own => own,
        };
        let prefixed = |prefix: &'static str| {
            let found = attrs.iter().filter_map(move |(key, value)| {
                Some((key.strip_prefix(prefix)?.to_owned(), value.clone()))
            });
            found.collect::<BTreeMap<String, String>>()
        };
        let is_on = |key: &str| {
            let said = attrs.get(key).filter(|text| !text.is_empty());
            said.map_or(Ok(false), |text| attributes::read(key, text))
        };
        let platforms = text("platform");
        let platforms = platforms
            .split(',')
            .filter(|one| !one.is_empty())
            .map(|one| {
                Platform::parse(one).map_err(|error| SolveError::Invalid(error.to_string()))
            });
        let platforms: Vec<Platform> = platforms.collect::<Result<_, _>>()?;
        let no_cache = attrs.get("no-cache").map(|names| {
            let names = names.split(',').filter(|name| !name.is_empty());
            names.map(str::to_ascii_lowercase).collect()
        });
        let args = prefixed("build-arg:").into_iter();
        let shm = text("shm-size");
        let shm_size = match shm.as_str() {
            "" => 0,
            text => text
                .parse()
                .map_err(|_| SolveError::Invalid(format!("failed to parse shm size: {text:?}")))?,
        };
        Ok(Self {
            filename: or("filename", "Dockerfile"),
            target: text("target"),
            args: args.map(|(name, value)| (name, Some(value))).collect(),
            labels: prefixed("label:"),
            multi_platform: is_on("multi-platform")?
                || is_on("build-arg:BUILDKIT_MULTI_PLATFORM")?
                || platforms.len() > 1,
            platforms,
            no_cache,
            resolve_mode: or("image-resolve-mode", "default"),
            network: text("force-network-mode"),
            hosts: hosts(&text("add-hosts"))?,
            shm_size,
            ulimits: ulimits(&text("ulimit"))?,
            cgroup_parent: text("cgroup-parent"),
            hostname: or("hostname", &text("build-arg:BUILDKIT_SANDBOX_HOSTNAME")),
            cache_namespace: text("build-arg:BUILDKIT_CACHE_MOUNT_NS"),
            keep_git_dir: is_on("build-arg:BUILDKIT_CONTEXT_KEEP_GIT_DIR")?,
            contexts: prefixed("context:"),
            context: text("context"),
            context_key: or("contextkey", "context"),
            dockerfile_key: or("dockerfilekey", "dockerfile"),
            separate_dockerfile: attrs.contains_key("dockerfilekey"),
            input_configs: input_configs(prefixed("input-metadata:"))?,
            source: text("source"),
            syntax: attrs.get("build-arg:BUILDKIT_SYNTAX").cloned(),
            request: text("requestid"),
        })
    }

    /// Whether steps of the stage are looked up.
    pub(super) fn ignores_cache(&self, stage: Option<&str>) -> bool {
        match &self.no_cache {
            None => false,
            Some(names) if names.is_empty() => true,
            Some(names) => stage.is_some_and(|stage| names.iter().any(|name| name == stage)),
        }
    }
}

/// What builds say of their results: values by name, in base 64.
fn input_configs(
    inputs: BTreeMap<String, String>,
) -> Result<BTreeMap<String, Vec<u8>>, SolveError> {
    let mut configs = BTreeMap::new();
    for (name, text) in inputs {
        let wrong = |error: String| {
            SolveError::Invalid(format!("failed to read metadata of {name}: {error}"))
        };
        let said: BTreeMap<String, Option<String>> =
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if let Some(Some(config)) = said.get("containerimage.config") {
            let config = base64::engine::general_purpose::STANDARD.decode(config);
            configs.insert(
                name.clone(),
                config.map_err(|error| wrong(error.to_string()))?,
            );
        }
    }
    Ok(configs)
}

/// `name=address,…`, as a line of CSV.
fn hosts(text: &str) -> Result<Vec<pb::HostIp>, SolveError> {
    let fields = text.split(',').filter(|field| !field.is_empty());
    let hosts = fields.map(|field| {
        let invalid = || SolveError::Invalid(format!("invalid key-value pair: {field}"));
        let (host, ip) = field
            .trim_matches('"')
            .split_once('=')
            .ok_or_else(invalid)?;
        Ok(pb::HostIp {
            host: host.to_ascii_lowercase(),
            ip: ip.to_owned(),
        })
    });
    hosts.collect()
}

/// `name=soft[:hard],…`.
fn ulimits(text: &str) -> Result<Vec<pb::Ulimit>, SolveError> {
    let fields = text.split(',').filter(|field| !field.is_empty());
    let limits = fields.map(|field| {
        let invalid = || SolveError::Invalid(format!("invalid ulimit argument: {field}"));
        let (name, value) = field.split_once('=').ok_or_else(invalid)?;
        let (soft, hard) = value.split_once(':').unwrap_or((value, value));
        let number = |text: &str| text.parse::<i64>().map_err(|_| invalid());
        Ok(pb::Ulimit {
            name: name.to_owned(),
            soft: number(soft)?,
            hard: number(hard)?,
        })
    });
    limits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_buildx_sends() {
        let attrs = [
            ("platform", "linux/amd64,linux/arm64"),
            ("build-arg:A", "b=c"),
            ("label:l", ""),
            ("no-cache", "One,two"),
            ("add-hosts", "x=1.2.3.4,Y=::1"),
            ("ulimit", "nofile=10:20,core=0"),
            ("context:base", "docker-image://b"),
        ];
        let attrs = attrs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let options = Options::read(&attrs.into()).unwrap();
        assert!(options.multi_platform && options.platforms.len() == 2);
        assert_eq!(options.args["A"].as_deref(), Some("b=c"));
        assert!(options.ignores_cache(Some("one")) && !options.ignores_cache(Some("x")));
        assert!(!options.ignores_cache(None));
        assert_eq!(options.hosts[1].host, "y");
        assert_eq!((options.ulimits[0].soft, options.ulimits[1].hard), (10, 0));
        assert_eq!(options.contexts["base"], "docker-image://b");
        assert_eq!(options.filename, "Dockerfile");
        let attrs = [
            ("build-arg:BUILDKIT_SANDBOX_HOSTNAME", "h"),
            ("build-arg:BUILDKIT_MULTI_PLATFORM", "1"),
            ("build-arg:BUILDKIT_CONTEXT_KEEP_GIT_DIR", "true"),
            ("build-arg:BUILDKIT_CACHE_MOUNT_NS", "ns"),
        ];
        let attrs = attrs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let own = Options::read(&attrs.into()).unwrap();
        assert!(own.multi_platform && own.keep_git_dir);
        assert_eq!(
            (own.hostname.as_str(), own.cache_namespace.as_str()),
            ("h", "ns")
        );
        let bad = |key: &str, value: &str| {
            Options::read(&[(key.to_owned(), value.to_owned())].into()).is_err()
        };
        assert!(
            bad("ulimit", "x")
                && bad("shm-size", "x")
                && bad("add-hosts", "x")
                && bad("platform", "a/b/c/d/e")
        );
    }
}
