//! What a client asks the frontend for, in its attributes (`frontend/dockerui/config.go`).

use std::collections::{BTreeMap, HashMap};

use wharf_builder::BuildOptions;
use wharf_engine::{NetworkMode, Resources, Ulimit};
use wharf_oci::Platform;

use crate::error::Error;

/// Where files of the build come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Main {
    /// A folder of the client, by its name.
    Local(String),
    /// An address.
    Remote(String),
    /// Standard input of the client: the id of an upload.
    Upload(String),
}

/// A context with a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// An image.
    Image(String),
    /// A folder of the client.
    Local(String),
    /// The result of another build.
    Input(String),
}

/// The attributes, read.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) main: Main,
    /// The client's folder that the Dockerfile is in.
    pub(crate) dockerfile_key: String,
    /// Whether the Dockerfile is not in the context though that is remote.
    pub(crate) separate_dockerfile: bool,
    pub(crate) contexts: BTreeMap<String, Named>,
    /// Only these files of the context.
    pub(crate) include: Vec<String>,
    /// Instead of the `# syntax=` line.
    pub(crate) syntax: Option<String>,
    /// Not a build but a question.
    pub(crate) subrequest: Option<String>,
    pub(crate) build: BuildOptions,
}

fn invalid(text: String) -> Error {
    Error::Invalid(text)
}

impl Options {
    /// Reads them.
    ///
    /// # Errors
    /// If one is malformed, or asks for what is not built.
    pub(crate) fn read(attributes: &HashMap<String, String>) -> Result<Self, Error> {
        let text = |name: &str| {
            attributes
                .get(name)
                .filter(|text| !text.is_empty())
                .cloned()
        };
        let with = |prefix: &'static str| {
            let pairs = attributes.iter();
            let pairs =
                pairs.filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value)));
            pairs.map(|(key, value)| (key.to_owned(), value.clone()))
        };
        if let Some((name, _)) = with("attest:").next() {
            return Err(Error::Unimplemented(format!(
                "attestations ({name}) are not built"
            )));
        }
        if text("no-cache").is_some() {
            return Err(Error::Unimplemented(
                "no-cache of single stages is not built".to_owned(),
            ));
        }
        let mut args: BTreeMap<String, Option<String>> = with("build-arg:")
            .map(|(name, value)| (name, Some(value)))
            .collect();
        let syntax = args.remove("BUILDKIT_SYNTAX").flatten();
        let contexts = with("context:").map(|(name, value)| {
            let context = named(&name, &value)?;
            Ok((name, context))
        });
        let build = BuildOptions {
            dockerfile: text("filename").unwrap_or_default(),
            args,
            labels: with("label:").collect(),
            target: text("target").unwrap_or_default(),
            no_cache: attributes.contains_key("no-cache"),
            cache_from: cache_from(attributes)?,
            pull: attributes
                .get("image-resolve-mode")
                .is_some_and(|mode| mode == "pull"),
            platform: platform(attributes.get("platform"))?,
            network: network(attributes.get("force-network-mode"))?,
            extra_hosts: hosts(attributes.get("add-hosts")),
            shm_size: number(attributes, "shm-size")?,
            resources: Resources {
                cgroup_parent: text("cgroup-parent").unwrap_or_default(),
                ulimits: ulimits(attributes.get("ulimit"))?,
                ..Resources::default()
            },
            ..BuildOptions::default()
        };
        let local = text("contextkey").unwrap_or_else(|| "context".to_owned());
        let main = match attributes.get("context").filter(|url| !url.is_empty()) {
            None => Main::Local(local),
            Some(url) => match url.strip_prefix("http://buildkit-session/") {
                Some(id) => Main::Upload(id.to_owned()),
                None => Main::Remote(url.clone()),
            },
        };
        Ok(Self {
            main,
            separate_dockerfile: attributes.contains_key("dockerfilekey"),
            dockerfile_key: text("dockerfilekey").unwrap_or_else(|| "dockerfile".to_owned()),
            contexts: contexts.collect::<Result<_, Error>>()?,
            include: Vec::new(),
            syntax,
            subrequest: text("requestid"),
            build,
        })
    }
}

fn named(name: &str, value: &str) -> Result<Named, Error> {
    let Some((scheme, rest)) = value.split_once(':') else {
        return Err(invalid(format!("invalid context value {value}")));
    };
    let rest = rest.trim_start_matches("//").to_owned();
    match scheme {
        "docker-image" => Ok(Named::Image(rest)),
        "local" => Ok(Named::Local(rest)),
        "input" => Ok(Named::Input(rest)),
        other => Err(Error::Unimplemented(format!(
            "the context {name} is {other}:, which is not built"
        ))),
    }
}

/// Images whose steps may be used too.
fn cache_from(attributes: &HashMap<String, String>) -> Result<Vec<String>, Error> {
    #[derive(serde::Deserialize)]
    struct Import {
        #[serde(rename = "Type")]
        kind: String,
        #[serde(rename = "Attrs", default)]
        attributes: HashMap<String, String>,
    }
    let mut images = Vec::new();
    if let Some(text) = attributes.get("cache-imports") {
        let imports: Vec<Import> = serde_json::from_str(text)
            .map_err(|error| invalid(format!("failed to unmarshal cache-imports: {error}")))?;
        for import in imports {
            // One that is not here is of no use, and no error.
            let image = import.attributes.get("ref");
            images.extend(image.filter(|_| import.kind == "registry").cloned());
        }
    }
    if let Some(text) = attributes.get("cache-from") {
        images.extend(
            text.split(',')
                .filter(|one| !one.is_empty())
                .map(str::to_owned),
        );
    }
    Ok(images)
}

fn platform(text: Option<&String>) -> Result<Option<Platform>, Error> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    if text.contains(',') {
        return Err(Error::Unimplemented(
            "several platforms in one build are not built".to_owned(),
        ));
    }
    let platform = Platform::parse(text)
        .map_err(|error| invalid(format!("failed to parse target platform {text}: {error}")))?;
    Ok(Some(platform))
}

fn network(text: Option<&String>) -> Result<NetworkMode, Error> {
    match text.map(String::as_str) {
        None | Some("" | "default" | "sandbox") => Ok(NetworkMode::default()),
        Some("none") => Ok(NetworkMode::None),
        Some("host") => Ok(NetworkMode::Host),
        Some(other) => Err(invalid(format!("invalid network mode {other}"))),
    }
}

/// `name=address` pairs with commas between them, as the builder has them.
fn hosts(text: Option<&String>) -> Vec<String> {
    let pairs = text.map(String::as_str).unwrap_or_default().split(',');
    let pairs = pairs.filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.replacen('=', ":", 1)).collect()
}

fn number(attributes: &HashMap<String, String>, name: &str) -> Result<u64, Error> {
    match attributes.get(name).filter(|text| !text.is_empty()) {
        None => Ok(0),
        Some(text) => text
            .parse()
            .map_err(|_| invalid(format!("failed to parse {name}: {text:?}"))),
    }
}

/// `name=soft:hard` with commas between them.
fn ulimits(text: Option<&String>) -> Result<Vec<Ulimit>, Error> {
    let all = text.map(String::as_str).unwrap_or_default().split(',');
    let all = all.filter(|one| !one.is_empty()).map(|one| {
        let wrong = || invalid(format!("failed to parse ulimit: {one}"));
        let (name, limits) = one.split_once('=').ok_or_else(wrong)?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        Ok(Ulimit {
            name: name.to_owned(),
            soft: soft.parse().map_err(|_| wrong())?,
            hard: hard.parse().map_err(|_| wrong())?,
        })
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Options, String> {
        let pairs = pairs.iter();
        let pairs = pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Options::read(&pairs.collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn attributes_are_read() {
        let options = read(&[
            ("build-arg:A", "1"),
            ("label:l", "v"),
            ("add-hosts", "a=1.2.3.4,b=::1"),
            ("no-cache", ""),
            ("ulimit", "nofile=1:2"),
            ("context:base", "docker-image://busybox"),
            ("context:files", "local:files"),
        ])
        .unwrap();
        assert_eq!(options.build.args["A"].as_deref(), Some("1"));
        assert_eq!(options.build.extra_hosts, ["a:1.2.3.4", "b:::1"]);
        assert!(options.build.no_cache);
        assert_eq!(options.build.resources.ulimits[0].hard, 2);
        assert_eq!(options.contexts["base"], Named::Image("busybox".to_owned()));
        assert_eq!(options.main, Main::Local("context".to_owned()));
    }

    #[test]
    fn what_is_not_built_is_refused() {
        assert!(read(&[("attest:sbom", "")]).is_err());
        assert!(read(&[("platform", "linux/amd64,linux/arm64")]).is_err());
        assert!(read(&[("context:x", "oci-layout://y")]).is_err());
        assert!(read(&[("shm-size", "many")]).is_err());
    }
}
