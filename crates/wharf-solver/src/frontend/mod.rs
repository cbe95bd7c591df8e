//! The Dockerfile frontend: a file and its options become a graph for each platform, and these results.

mod convert;
mod copy;
mod llb;
mod options;
mod run;
mod stage;

use std::collections::BTreeMap;

use bollard_buildkit_proto::pb;
use serde_json::{Value, json};
use wharf_builder::{LocalRequest, fetch};
use wharf_dockerfile::Dockerfile;
use wharf_oci::Platform;
use wharf_sys::root::Root;

use self::convert::Converter;
use self::options::Options;
use crate::progress::Shown;
use crate::{Job, Ref, SolveError, SolveRequest, SolveResult, SourceRange, blocking, solve};

/// The largest Dockerfile; a larger one is none.
const MAX_DOCKERFILE: u64 = 16 << 20;

/// Solves by the frontend.
///
/// # Errors
/// What is wrong with the options, the Dockerfile or a step, with its place.
pub(crate) async fn run(job: &Job, request: &SolveRequest) -> Result<SolveResult, SolveError> {
    let options = Options::read(&request.frontend_attrs)?;
    if let Some(answer) = subrequest(&options)? {
        return Ok(answer);
    }
    let remote = remote_context(job, &options).await?;
    let (text, ignore) = match &remote {
        Some(remote) => remote.read(job, &options).await?,
        None => client_file(job, &options).await?,
    };
    let file = parse(&options.filename, &text)?;
    let platforms = match options.platforms.is_empty() {
        true => vec![Platform::host()],
        false => options.platforms.clone(),
    };
    let mut result = SolveResult::default();
    for platform in platforms {
        let source = (options.filename.as_str(), text.as_str(), &file);
        let converter = Converter::new(
            job,
            &options,
            source,
            platform.clone(),
            &request.frontend_inputs,
        )
        .with_context(
            remote.as_ref().and_then(|remote| remote.source.clone()),
            ignore.clone(),
        );
        let converted = Box::pin(converter.run()).await?;
        let tree = solve::solve(job, &converted.definition).await?;
        let key = key_of(&platform);
        let config = serde_json::to_vec(&converted.config)
            .map_err(|error| SolveError::Failed(error.to_string()))?;
        if options.multi_platform {
            let name = format!("containerimage.config/{key}");
            result.metadata.insert(name, config);
            result.refs.insert(key.clone(), tree);
        } else {
            result
                .metadata
                .insert("containerimage.config".to_owned(), config);
            result.single = Some(tree);
        }
        result.platforms.push((key, converted.platform));
    }
    let platforms = result.platforms.iter().map(|(key, platform)| {
        json!({ "ID": key, "Platform": {
            "architecture": platform.architecture,
            "os": platform.os,
            "variant": platform.variant,
        }})
    });
    let platforms = json!({ "Platforms": platforms.collect::<Vec<Value>>() });
    let platforms = platforms.to_string().into_bytes();
    result
        .metadata
        .insert("refs.platforms".to_owned(), platforms);
    if let Some(Some(epoch)) = options.args.get("SOURCE_DATE_EPOCH") {
        let epoch = epoch.clone().into_bytes();
        result
            .metadata
            .insert("source.date.epoch".to_owned(), epoch);
    }
    Ok(result)
}

/// `linux/amd64`, `linux/arm/v7`.
pub(crate) fn key_of(platform: &Platform) -> String {
    let (os, architecture) = (&platform.os, &platform.architecture);
    match platform.variant.as_str() {
        "" => format!("{os}/{architecture}"),
        variant => format!("{os}/{architecture}/{variant}"),
    }
}

/// Questions that are no builds.
fn subrequest(options: &Options) -> Result<Option<SolveResult>, SolveError> {
    match options.request.as_str() {
        "" => Ok(None),
        "frontend.subrequests.describe" => {
            let known = json!([{
                "name": "frontend.subrequests.describe",
                "version": "1.0.0",
                "type": "rpc",
                "description": "List available subrequest types",
                "metadata": [{ "name": "result.json", "description": "" }],
            }]);
            let mut result = SolveResult::default();
            let text = known.to_string().into_bytes();
            result.metadata.insert("result.json".to_owned(), text);
            Ok(Some(result))
        }
        other => Err(SolveError::NotImplemented(format!(
            "unsupported request {other:?}"
        ))),
    }
}

fn parse(filename: &str, text: &str) -> Result<Dockerfile, SolveError> {
    Dockerfile::parse(text).map_err(|error| {
        let line = error.line;
        let info = pb::SourceInfo {
            filename: filename.to_owned(),
            data: text.as_bytes().to_vec(),
            definition: None,
            language: "Dockerfile".to_owned(),
        };
        let span = wharf_dockerfile::Span {
            start: line,
            end: line,
        };
        let source = SourceRange {
            info,
            ranges: vec![llb::range(span)],
        };
        SolveError::Invalid(error.to_string()).at("", vec![source])
    })
}

/// The Dockerfile that the client has, and what its context leaves out.
async fn client_file(job: &Job, options: &Options) -> Result<(String, Vec<String>), SolveError> {
    let own = format!("{}.dockerignore", options.filename);
    let shown = format!("[internal] load build definition from {}", options.filename);
    let mut shown = Shown::begin(job, &shown).await;
    let wanted = LocalRequest {
        name: options.dockerfile_key.clone(),
        follow: vec![
            options.filename.clone(),
            own.clone(),
            // Where the file system knows no case.
            options.filename.to_ascii_lowercase(),
        ],
        shared_key_hint: options.dockerfile_key.clone(),
        ..LocalRequest::default()
    };
    let read = async {
        let local = job.client().local(&wanted).await?;
        let filename = options.filename.clone();
        let own = own.clone();
        blocking(move || {
            let root = Root::open(&local.folder).map_err(SolveError::io("open the Dockerfile"))?;
            let lower = filename.to_ascii_lowercase();
            let text = match text_of(&root, &filename)? {
                Some(text) => Some(text),
                None if filename == "Dockerfile" => text_of(&root, &lower)?,
                None => None,
            };
            let text = text.ok_or_else(|| missing(&filename))?;
            Ok((text, text_of(&root, &own)?))
        })
        .await
    };
    let read = read.await;
    shown.end(read.as_ref().err()).await;
    let (text, own) = read?;
    let ignore = match own {
        Some(own) => own,
        None => client_ignore(job, options).await?,
    };
    Ok((text, patterns(&ignore)?))
}

async fn client_ignore(job: &Job, options: &Options) -> Result<String, SolveError> {
    let mut shown = Shown::begin(job, "[internal] load .dockerignore").await;
    let wanted = LocalRequest {
        name: options.context_key.clone(),
        follow: vec![".dockerignore".to_owned()],
        shared_key_hint: format!("{}-.dockerignore", options.context_key),
        ..LocalRequest::default()
    };
    let read = async {
        let local = job.client().local(&wanted).await?;
        blocking(move || {
            let root = Root::open(&local.folder).map_err(SolveError::io("open .dockerignore"))?;
            text_of(&root, ".dockerignore")
        })
        .await
    };
    let read = read.await;
    shown.end(read.as_ref().err()).await;
    Ok(read?.unwrap_or_default())
}

fn text_of(root: &Root, name: &str) -> Result<Option<String>, SolveError> {
    match root.read_small(name.as_ref(), MAX_DOCKERFILE) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(SolveError::Invalid(format!("{name} is not UTF-8"))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SolveError::Failed(format!(
            "failed to read dockerfile: open {name}: {error}"
        ))),
    }
}

fn missing(filename: &str) -> SolveError {
    SolveError::NotFound(format!(
        "failed to read dockerfile: open {filename}: no such file or directory"
    ))
}

/// The patterns of a `.dockerignore`, checked.
fn patterns(text: &str) -> Result<Vec<String>, SolveError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.map(str::trim).filter(|line| !line.is_empty());
    let patterns: Vec<String> = lines.map(str::to_owned).collect();
    wharf_dockerfile::Ignore::new(patterns.iter().map(String::as_str))
        .map_err(|error| SolveError::Invalid(format!("error reading .dockerignore: {error}")))?;
    Ok(patterns)
}

/// A context that is not the client's.
struct Remote {
    /// Where its files are; none if it is a Dockerfile alone.
    source: Option<pb::SourceOp>,
    tree: Ref,
    /// It is one file, which is the Dockerfile.
    is_file: bool,
}

async fn remote_context(job: &Job, options: &Options) -> Result<Option<Remote>, SolveError> {
    let address = options.context.as_str();
    if address.is_empty() || options.contexts.contains_key("context") {
        return Ok(None);
    }
    let Some(source) = remote_source(address) else {
        return Ok(None);
    };
    let mut builder = llb::Builder::default();
    let about = llb::About {
        name: "[internal] load remote build context".to_owned(),
        ..llb::About::default()
    };
    let output = builder.add(pb::op::Op::Source(source.clone()), &[], None, about);
    let tree = solve::solve(job, &builder.definition(Some(&output))).await?;
    let is_http = source.identifier.starts_with("http");
    if !is_http {
        return Ok(Some(Remote {
            source: Some(source),
            tree,
            is_file: false,
        }));
    }
    let (files, owner) = (tree.clone(), job.clone());
    let is_archive = blocking(move || {
        let tree = files.tree(&owner)?;
        let file = wharf_builder::transfer::open_file(&tree.root, "context".as_ref());
        let file = file.map_err(SolveError::io("read the context"))?;
        Ok(fetch::starts_an_archive(file))
    })
    .await?;
    match is_archive {
        true => Err(SolveError::NotImplemented(
            "archives at an address are not supported as context here: use docker build without buildx".to_owned(),
        )),
        false => Ok(Some(Remote {
            source: None,
            tree,
            is_file: true,
        })),
    }
}

impl Remote {
    async fn read(
        &self,
        job: &Job,
        options: &Options,
    ) -> Result<(String, Vec<String>), SolveError> {
        let (tree, job) = (self.tree.clone(), job.clone());
        let filename = match self.is_file {
            true => "context".to_owned(),
            false => options.filename.clone(),
        };
        blocking(move || {
            let tree = tree.tree(&job)?;
            let text = text_of(&tree.root, &filename)?.ok_or_else(|| missing(&filename))?;
            let own = text_of(&tree.root, &format!("{filename}.dockerignore"))?;
            let ignore = match own {
                Some(own) => own,
                None => text_of(&tree.root, ".dockerignore")?.unwrap_or_default(),
            };
            Ok((text, patterns(&ignore)?))
        })
        .await
    }
}

/// The source that an address is: of git, or of the web.
fn remote_source(address: &str) -> Option<pb::SourceOp> {
    if let Some(git) = fetch::git_url(address) {
        return Some(git_source(&git, false));
    }
    fetch::is_url(address).then(|| pb::SourceOp {
        identifier: address.to_owned(),
        attrs: [("http.filename".to_owned(), "context".to_owned())].into(),
    })
}

/// The source of a repository.
fn git_source(git: &fetch::GitUrl, keep_git_dir: bool) -> pb::SourceOp {
    let (_, address) = git
        .repository
        .split_once("://")
        .unwrap_or(("", &git.repository));
    let fragment = match (git.reference.as_str(), git.folder.as_str()) {
        ("", "") => String::new(),
        (reference, "") => format!("#{reference}"),
        (reference, folder) => format!("#{reference}:{folder}"),
    };
    let mut attrs = BTreeMap::new();
    attrs.insert("git.fullurl".to_owned(), git.repository.clone());
    if keep_git_dir {
        attrs.insert("git.keepgitdir".to_owned(), "true".to_owned());
    }
    pb::SourceOp {
        identifier: format!("git://{address}{fragment}"),
        attrs,
    }
}
