//! Statements of where a result came from: SLSA provenance 0.2, as BuildKit has it (`solver/llbsolver/provenance`).

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard_buildkit_proto::pb;
use jiff::Timestamp;
use prost::Message as _;
use serde_json::{Map, Value, json};
use wharf_builder::fetch;
use wharf_builder::git::{self, GitUrl};
use wharf_oci::{Digest, Platform, Reference};

use crate::frontend::key_of;
use crate::solver::Commits;
use crate::{Job, SolveError, SolveRequest, attributes};

/// The kind of these statements.
pub(crate) const KIND: &str = "https://slsa.dev/provenance/v0.2";
/// BuildKit's own things in them.
const OWN: &str = "https://mobyproject.org/buildkit@v1#metadata";

/// What is to be said of where a result came from.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// Everything, with the arguments and the Dockerfile.
    max: bool,
    /// Only where images are, not beside files.
    inline_only: bool,
    builder_id: String,
    reproducible: bool,
    /// What was asked for.
    request: SolveRequest,
}

impl Provenance {
    /// Whether it is for images alone, not for files.
    pub fn inline_only(&self) -> bool {
        self.inline_only
    }

    /// What a request asks for by `attest:provenance`; none if it does not.
    ///
    /// # Errors
    /// If an attribute is none, or another kind of statement is asked for.
    pub(crate) fn read(
        attrs: &BTreeMap<String, String>,
        request: &SolveRequest,
    ) -> Result<Option<Self>, SolveError> {
        let mut found = None;
        for (name, value) in attrs {
            let Some(kind) = name.strip_prefix("attest:") else {
                continue;
            };
            let fields = value.split(',').filter_map(|field| field.split_once('='));
            let fields: BTreeMap<&str, &str> = fields.collect();
            if is_on(&fields, "disabled")? {
                continue;
            }
            if kind == "sbom" {
                // The frontend has it made.
                continue;
            }
            if kind != "provenance" {
                return Err(SolveError::NotImplemented(format!(
                    "attestations of type {kind} are not built"
                )));
            }
            found = Some(Self::of(&fields, request)?);
        }
        Ok(found)
    }

    fn of(fields: &BTreeMap<&str, &str>, request: &SolveRequest) -> Result<Self, SolveError> {
        let max = match fields.get("mode").copied() {
            None | Some("" | "min" | "disabled") => false,
            Some("max") => true,
            Some(other) => {
                return Err(SolveError::Invalid(format!(
                    "invalid mode {other:?} for provenance attestation"
                )));
            }
        };
        if let Some(version) = fields.get("version").filter(|version| **version != "v0.2") {
            return Err(SolveError::NotImplemented(format!(
                "provenance of version {version} is not built"
            )));
        }
        Ok(Self {
            max,
            inline_only: is_on(fields, "inline-only")?,
            builder_id: fields
                .get("builder-id")
                .map_or_else(String::new, |id| (*id).to_owned()),
            reproducible: is_on(fields, "reproducible")?,
            request: request.clone(),
        })
    }

    /// What is said of the result of a definition.
    pub(crate) fn predicate(
        &self,
        job: &Job,
        definition: Option<&pb::Definition>,
    ) -> Result<Value, SolveError> {
        let sources = Sources::of(definition, job.commits())?;
        let mut predicate = json!({
            "builder": { "id": self.builder_id },
            "buildType": "https://mobyproject.org/buildkit@v1",
            "materials": sources.materials(),
            "invocation": {
                "configSource": self.config_source(job.commits()),
                "parameters": self.parameters(&sources),
                "environment": { "platform": key_of(&Platform::host()) },
            },
            "metadata": {
                "buildInvocationID": job.id(),
                "buildStartedOn": job.started().to_string(),
                "buildFinishedOn": Timestamp::now().to_string(),
                "completeness": {
                    "parameters": self.max,
                    "environment": true,
                    "materials": sources.are_complete(),
                },
                "reproducible": self.reproducible,
                OWN: self.own(definition),
            },
        });
        if self.max
            && let Some(definition) = definition
        {
            predicate["buildConfig"] = json!({ "llbDefinition": steps(definition)? });
        }
        Ok(predicate)
    }

    fn config_source(&self, commits: &Commits) -> Value {
        let attrs = &self.request.frontend_attrs;
        let mut source = Map::new();
        if let Some(context) = attrs.get("context").filter(|text| text.contains("://")) {
            source.insert("uri".to_owned(), json!(fetch::redacted(context)));
            let url = GitUrl::read(context);
            if let Some(commit) = url.and_then(|url| commits.of_url(&url)) {
                source.insert("digest".to_owned(), json!({ "sha1": commit }));
            }
        }
        if !self.request.frontend.is_empty() {
            let name = attrs.get("filename").filter(|name| !name.is_empty());
            let name = name.map_or("Dockerfile", String::as_str);
            source.insert("entryPoint".to_owned(), json!(name));
        }
        Value::Object(source)
    }

    fn parameters(&self, sources: &Sources) -> Value {
        let mut parameters = Map::new();
        if !self.request.frontend.is_empty() {
            parameters.insert("frontend".to_owned(), json!(self.request.frontend));
        }
        let args: BTreeMap<&String, &String> = self
            .request
            .frontend_attrs
            .iter()
            .filter(|(name, _)| self.tells(name))
            .collect();
        if !args.is_empty() {
            parameters.insert("args".to_owned(), json!(args));
        }
        if !sources.locals.is_empty() {
            let locals = sources.locals.iter().map(|name| json!({ "name": name }));
            parameters.insert("locals".to_owned(), Value::Array(locals.collect()));
        }
        let secrets = sources.secrets.iter();
        let secrets: Vec<Value> = secrets
            .map(|(id, optional)| json!({ "id": id, "optional": optional }))
            .collect();
        if !secrets.is_empty() {
            parameters.insert("secrets".to_owned(), Value::Array(secrets));
        }
        Value::Object(parameters)
    }

    /// Whether an attribute is told: in the smallest statement, no value that a user may want for himself.
    fn tells(&self, name: &str) -> bool {
        let ours = [
            "attest:",
            "vcs:",
            "cache-imports",
            "cache-from",
            "filename",
            "context",
        ];
        let is_ours = ours.iter().any(|prefix| name.starts_with(prefix));
        let private = ["build-arg:", "label:"];
        let is_private = private.iter().any(|prefix| name.starts_with(prefix));
        !is_ours && (self.max || !is_private)
    }

    fn own(&self, definition: Option<&pb::Definition>) -> Value {
        let vcs = self
            .request
            .frontend_attrs
            .iter()
            .filter_map(|(name, value)| {
                let name = name.strip_prefix("vcs:")?;
                Some((name.to_owned(), json!(fetch::redacted(value))))
            });
        let vcs: Map<String, Value> = vcs.collect();
        let mut own = Map::new();
        if !vcs.is_empty() {
            own.insert("vcs".to_owned(), Value::Object(vcs));
        }
        if self.max
            && let Some(source) = definition.and_then(|one| one.source.as_ref())
        {
            let infos = source.infos.iter().map(|info| {
                json!({
                    "filename": info.filename,
                    "language": info.language,
                    "data": STANDARD.encode(&info.data),
                })
            });
            own.insert(
                "source".to_owned(),
                json!({ "infos": infos.collect::<Vec<_>>() }),
            );
        }
        Value::Object(own)
    }
}

fn is_on(fields: &BTreeMap<&str, &str>, name: &str) -> Result<bool, SolveError> {
    let said = fields.get(name).map(|text| attributes::read(name, text));
    Ok(said.transpose()?.unwrap_or(false))
}

/// What a definition takes from elsewhere.
#[derive(Default)]
struct Sources {
    images: Vec<(String, Option<pb::Platform>)>,
    others: Vec<Other>,
    locals: BTreeSet<String>,
    secrets: BTreeMap<String, bool>,
}

/// What is no image and no folder of the client's.
struct Other {
    source: pb::SourceOp,
    /// Of a repository, what was checked out.
    commit: Option<String>,
}

impl Sources {
    fn of(definition: Option<&pb::Definition>, commits: &Commits) -> Result<Self, SolveError> {
        let mut sources = Self::default();
        for bytes in definition.iter().flat_map(|one| &one.def) {
            let op = decode(bytes)?;
            match op.op {
                Some(pb::op::Op::Source(source)) => sources.add(source, op.platform, commits),
                Some(pb::op::Op::Exec(exec)) => {
                    let mounted = exec.mounts.into_iter().filter_map(|mount| mount.secret_opt);
                    let mounted = mounted.map(|secret| (secret.id, secret.optional));
                    let env = exec.secretenv.into_iter();
                    let env = env.map(|secret| (secret.id, secret.optional));
                    sources.secrets.extend(mounted.chain(env));
                }
                _ => {}
            }
        }
        Ok(sources)
    }

    fn add(&mut self, source: pb::SourceOp, platform: Option<pb::Platform>, commits: &Commits) {
        let name = &source.identifier;
        if let Some(image) = name.strip_prefix("docker-image://") {
            self.images.push((image.to_owned(), platform));
        } else if let Some(local) = name.strip_prefix("local://") {
            self.locals.insert(local.to_owned());
        } else {
            let commit = git::commit_of(name).map(str::to_owned);
            let commit = commit.or_else(|| commits.of(&source));
            self.others.push(Other { source, commit });
        }
    }

    /// Whether all that was taken can be had again: not what a client sends, nor what may be something else by then.
    fn are_complete(&self) -> bool {
        let is_fixed = |other: &Other| {
            other.commit.is_some() || other.source.attrs.contains_key("http.checksum")
        };
        self.locals.is_empty() && self.others.iter().all(is_fixed)
    }

    fn materials(&self) -> Vec<Value> {
        let mut materials = Vec::new();
        for (image, platform) in &self.images {
            let Ok(reference) = Reference::parse_normalized(image) else {
                continue;
            };
            let digest = reference.digest().copied();
            let platform = platform.as_ref().map(crate::ops::platform_of);
            let mut material = json!({ "uri": address(&reference, platform.as_ref()) });
            if let Some(digest) = digest {
                material["digest"] = json!({ "sha256": digest.hex() });
            }
            materials.push(material);
        }
        for Other { source, commit } in &self.others {
            let (name, attrs) = (&source.identifier, &source.attrs);
            let address = attrs.get("git.fullurl").unwrap_or(name);
            let mut material = json!({ "uri": fetch::redacted(address) });
            let digest = attrs
                .get("http.checksum")
                .and_then(|sum| sum.split_once(':'));
            if let Some((kind, hex)) = digest {
                material["digest"] = json!({ kind: hex });
            }
            if let Some(commit) = commit {
                material["digest"] = json!({ "sha1": commit });
            }
            materials.push(material);
        }
        materials
    }
}

fn decode(bytes: &[u8]) -> Result<pb::Op, SolveError> {
    pb::Op::decode(bytes)
        .map_err(|error| SolveError::Invalid(format!("failed to parse llb proto op: {error}")))
}

/// The steps of a definition; of a command, what was asked for.
fn steps(definition: &pb::Definition) -> Result<Vec<Value>, SolveError> {
    let mut steps = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for bytes in &definition.def {
        let op = decode(bytes)?;
        let inputs = op.inputs.iter().map(|input| {
            let at = places.get(&input.digest).copied().unwrap_or_default();
            format!("step{at}:{}", input.index)
        });
        let inputs: Vec<String> = inputs.collect();
        let said = match &op.op {
            Some(pb::op::Op::Source(source)) => {
                let attrs = source.attrs.iter();
                let attrs: BTreeMap<&String, String> = attrs
                    .map(|(name, value)| (name, fetch::redacted(value)))
                    .collect();
                let name = fetch::redacted(&source.identifier);
                json!({ "Op": { "source": { "identifier": name, "attrs": attrs } } })
            }
            Some(pb::op::Op::Exec(exec)) => {
                let meta = exec.meta.clone().unwrap_or_default();
                json!({ "Op": { "exec": { "meta": {
                    "args": meta.args, "env": meta.env, "cwd": meta.cwd, "user": meta.user,
                } } } })
            }
            Some(pb::op::Op::File(file)) => {
                json!({ "Op": { "file": { "actions": file.actions.len() } } })
            }
            Some(pb::op::Op::Merge(_)) => json!({ "Op": { "merge": {} } }),
            Some(pb::op::Op::Diff(_)) => json!({ "Op": { "diff": {} } }),
            Some(pb::op::Op::Build(_)) | None => json!({ "Op": null }),
        };
        let digest = Digest::sha256(bytes).to_string();
        let at = steps.len();
        places.insert(digest, at);
        let mut step = json!({ "id": format!("step{at}"), "op": said });
        if !inputs.is_empty() {
            step["inputs"] = json!(inputs);
        }
        steps.push(step);
    }
    Ok(steps)
}

/// An image's address (`purl`).
fn address(reference: &Reference, platform: Option<&Platform>) -> String {
    let name = reference.familiar_name();
    let tag = reference.tag().unwrap_or("latest");
    let mut address = format!("pkg:docker/{name}@{tag}");
    let mut sign = '?';
    if let Some(digest) = reference.digest() {
        address.push_str(&format!("?digest={digest}"));
        sign = '&';
    }
    if let Some(platform) = platform {
        let platform = key_of(platform).replace('/', "%2F");
        address.push_str(&format!("{sign}platform={platform}"));
    }
    address
}

/// Whom a statement is about: the names of an image, with the digest of its manifest.
pub(crate) fn subjects(names: &[Reference], platform: &Platform, manifest: &Digest) -> Value {
    let digest = json!({ "sha256": manifest.hex() });
    let named = names.iter().map(|name| address(name, Some(platform)));
    let mut names: Vec<String> = named.collect();
    if names.is_empty() {
        names.push("_".to_owned());
    }
    let subjects = names
        .into_iter()
        .map(|name| json!({ "name": name, "digest": digest }));
    Value::Array(subjects.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<Option<Provenance>, SolveError> {
        let attrs = [("attest:provenance".to_owned(), value.to_owned())];
        Provenance::read(&attrs.into(), &SolveRequest::default())
    }

    #[test]
    fn the_smallest_statement_keeps_values_to_itself() {
        let min = read("mode=min,inline-only=true").unwrap().unwrap();
        assert!(min.inline_only && !min.tells("build-arg:TOKEN") && min.tells("target"));
        let max = read("mode=max").unwrap().unwrap();
        assert!(!max.inline_only && max.tells("build-arg:TOKEN") && !max.tells("attest:x"));
        assert!(read("disabled=true").unwrap().is_none());
        assert!(read("disabled=True").unwrap().is_none());
        assert!(read("inline-only=yes").is_err());
        assert!(read("mode=most").is_err() && read("version=v1").is_err());
        let other = [("attest:other".to_owned(), String::new())];
        assert!(Provenance::read(&other.into(), &SolveRequest::default()).is_err());
    }

    #[test]
    fn materials_are_complete_if_all_can_be_had_again_and_say_no_password() {
        let commits = Commits::default();
        let fetched = pb::SourceOp {
            identifier: "git://h/a#main".to_owned(),
            attrs: [("git.fullurl".to_owned(), "https://h/a".to_owned())].into(),
        };
        commits.note(&fetched, "the commit");
        let of = |name: &str, attrs: &[(&str, &str)]| {
            let mut sources = Sources::default();
            let attrs = attrs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let source = pb::SourceOp {
                identifier: name.to_owned(),
                attrs: attrs.collect(),
            };
            sources.add(source, None, &commits);
            (sources.are_complete(), sources.materials())
        };
        let commit = "0123456789012345678901234567890123456789";
        let (complete, materials) = of(
            &format!("git://h/a#{commit}"),
            &[("git.fullurl", "https://u:p@h/a")],
        );
        assert!(complete && materials[0]["digest"]["sha1"] == commit);
        assert_eq!(materials[0]["uri"], "https://xxxxx:xxxxx@h/a");
        assert!(!of("git://h/a#main", &[]).0 && !of("https://h/a", &[]).0);
        let (complete, materials) = of("git://h/a#main", &[("git.fullurl", "https://h/a")]);
        assert!(complete && materials[0]["digest"]["sha1"] == "the commit");
        let (complete, materials) = of("https://t@h/a", &[("http.checksum", "sha256:0")]);
        assert!(complete && materials[0]["digest"]["sha256"] == "0");
        assert_eq!(materials[0]["uri"], "https://xxxxx@h/a");
        assert!(!of("local://context", &[]).0 && of("docker-image://busybox", &[]).0);
    }

    #[test]
    fn addresses_are_purls() {
        let name = Reference::parse_normalized("busybox").unwrap();
        let platform = Platform::new("linux", "arm64", "");
        assert_eq!(
            address(&name, Some(&platform)),
            "pkg:docker/busybox@latest?platform=linux%2Farm64"
        );
        let subjects = subjects(&[], &platform, &Digest::sha256(b""));
        assert_eq!(subjects[0]["name"], "_");
    }
}
