//! `/build`.

use std::collections::BTreeMap;
use std::io;

use axum::Extension;
use axum::extract::Request;
use base64::Engine as _;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::HeaderMap;
use tokio::sync::mpsc::Receiver;
use tokio_util::io::StreamReader;
use tokio_util::task::AbortOnDropHandle;
use wharf_api_types::{AuthConfig, JsonMessage};
use wharf_builder::BuildError;
use wharf_buildkit::BuildKit;
use wharf_distribution::Credentials;
use wharf_engine::{Engine, EventKind, NetworkMode, PruneWatcher, Resources};
use wharf_oci::{Digest, Reference};
use wharf_solver::{BuildEvent, BuildOptions, BuildSource, Classic, Output, PruneOptions};

use crate::error::{ApiError, last_line};
use crate::params::{Params, drain};
use crate::peer::Peer;
use crate::reply::{self, Answer};
use crate::version::Asked;
use crate::{convert, routes};

mod rest;

use super::State;

type Work = AbortOnDropHandle<Result<Digest, BuildError>>;

pub(crate) async fn build(
    engine: State,
    Extension(builder): Extension<Classic>,
    Extension(buildkit): Extension<BuildKit>,
    Extension(peer): Extension<Peer>,
    params: Params,
    headers: HeaderMap,
    request: Request,
) -> Answer {
    if params.get("version") == "2" {
        return buildkit_build(&buildkit, &params, request).await;
    }
    let options = match options(&engine, &params, &headers) {
        Ok(options) => options,
        Err(error) => {
            drain(request).await;
            return Err(error);
        }
    };
    let quiet = params.flag("q");
    let source = match params.some("remote") {
        Some(remote) if remote == "client-session" && params.some("session").is_some() => {
            let session = params.get("session").to_owned();
            BuildSource::Folder(Box::pin(async move { buildkit.folder(&session).await }))
        }
        Some(url) => BuildSource::Remote(url),
        None => {
            let body = request.into_body().into_data_stream();
            BuildSource::Archive(Box::new(StreamReader::new(body.map_err(io::Error::other))))
        }
    };
    let (output, events) = Output::channel();
    // Given up when the client is gone, though a silent step has nothing to tell it.
    let work = async move {
        tokio::select! {
            built = builder.build(source, options, &output) => built,
            () = peer.gone() => Err(BuildError::Failed("Build cancelled".to_owned())),
        }
    };
    let work = AbortOnDropHandle::new(tokio::spawn(work));
    match quiet {
        true => only_the_id(work, events).await,
        false => report(work, events).await,
    }
}

/// BuildKit, behind the same request.
async fn buildkit_build(buildkit: &BuildKit, params: &Params, request: Request) -> Answer {
    let wanted = match rest::wanted(params) {
        Ok(wanted) => wanted,
        Err(error) => {
            drain(request).await;
            return Err(error);
        }
    };
    let body = request.into_body().into_data_stream();
    let body = Box::new(StreamReader::new(body.map_err(io::Error::other)));
    let events = buildkit.build(&wanted, body).map_err(ApiError::bad)?;
    let lines = events.map(|event| Ok::<_, io::Error>(reply::line(&rest::message(event))));
    Ok(reply::stream("application/json", lines))
}

/// The first thing said decides: until then an error is an ordinary answer.
async fn report(work: Work, mut events: Receiver<BuildEvent>) -> Answer {
    let Some(first) = next(&mut events).await else {
        // What says nothing has failed: a build speaks of its steps.
        let image = ended(work).await?;
        return reply::ok(&text(format!("{image}\n")));
    };
    let rest = futures_util::stream::unfold(Some((work, events)), |state| async move {
        let (work, mut events) = state?;
        if let Some(line) = next(&mut events).await {
            return Some((Ok(line), Some((work, events))));
        }
        let error = ended(work).await.err()?;
        Some((Ok(reply::line(&failure(&error))), None))
    });
    let first = futures_util::stream::once(async move { Ok::<_, io::Error>(first) });
    Ok(reply::stream("application/json", first.chain(rest)))
}

/// `q`: nothing is said but the image's id, or everything if the build fails.
async fn only_the_id(work: Work, mut events: Receiver<BuildEvent>) -> Answer {
    let mut said = Vec::new();
    while let Some(line) = next(&mut events).await {
        said.extend_from_slice(&line);
    }
    let bytes = match ended(work).await {
        Ok(image) => reply::line(&text(format!("{image}\n"))),
        Err(error) if said.is_empty() => return Err(error.into()),
        Err(error) => {
            said.extend_from_slice(&reply::line(&failure(&error)));
            said.into()
        }
    };
    let once = futures_util::stream::once(async move { Ok::<_, io::Error>(bytes) });
    Ok(reply::stream("application/json", once))
}

/// The next event, as it is said to the client.
async fn next(events: &mut Receiver<BuildEvent>) -> Option<Bytes> {
    Some(line(&events.recv().await?))
}

async fn ended(work: Work) -> Result<Digest, BuildError> {
    let ended = work.await;
    ended.unwrap_or_else(|error| {
        Err(BuildError::Failed(format!(
            "the build ended early: {error}"
        )))
    })
}

fn text(text: String) -> JsonMessage {
    JsonMessage {
        stream: Some(text),
        ..JsonMessage::default()
    }
}

/// What the classic builder's user sees of an event.
fn line(event: &BuildEvent) -> Bytes {
    let message = match event {
        BuildEvent::Stream(said) => text(said.clone()),
        // As Docker prints standard error: red.
        BuildEvent::Output {
            is_error: true,
            text: said,
        } => text(format!("\u{1b}[91m{said}\u{1b}[0m")),
        BuildEvent::Output { text: said, .. } => text(said.clone()),
        BuildEvent::Image(id) => JsonMessage {
            aux: Some(serde_json::json!({ "ID": id.to_string() })),
            ..JsonMessage::default()
        },
        BuildEvent::Progress(progress) => convert::progress(progress),
    };
    reply::line(&message)
}

fn failure(error: &BuildError) -> JsonMessage {
    last_line(&error.to_string(), error.code().unwrap_or(0).into())
}

impl From<BuildError> for ApiError {
    fn from(error: BuildError) -> Self {
        ApiError::new(crate::error::status_of(error.kind()), error.to_string())
    }
}

/// moby `api/server/router/build`, `newImageBuildOptions`.
fn options(
    engine: &Engine,
    params: &Params,
    headers: &HeaderMap,
) -> Result<BuildOptions, ApiError> {
    match params.get("version") {
        "" | "1" => {}
        other => return Err(ApiError::bad(format!("invalid version {other}"))),
    }
    let squash = params.flag("squash");
    if squash && !engine.settings().experimental {
        return Err(ApiError::bad(
            "squash is only supported with experimental mode",
        ));
    }
    if params.some("securityopt").is_some() {
        return Err(ApiError::bad(
            "The daemon on this platform does not support setting security options on build",
        ));
    }
    match params.get("isolation") {
        "" | "default" => {}
        other => return Err(ApiError::bad(format!("unsupported isolation: {other:?}"))),
    }
    let force_remove = params.flag("forcerm");
    Ok(BuildOptions {
        dockerfile: params.get("dockerfile").to_owned(),
        tags: tags(params)?,
        args: map(params, "buildargs", "error reading build args")?,
        labels: map(params, "labels", "error reading labels")?,
        target: params.get("target").to_owned(),
        no_cache: params.flag("nocache"),
        cache_from: cache_from(params)?,
        pull: params.flag("pull"),
        remove: force_remove || params.flag_or("rm", true),
        force_remove,
        squash,
        platform: routes::platform(params.get("platform"))?,
        network: NetworkMode::parse(params.get("networkmode")),
        extra_hosts: params
            .all("extrahosts")
            .into_iter()
            .map(convert::extra_host)
            .collect::<Result<_, _>>()?,
        shm_size: u64::try_from(params.number::<i64>("shmsize")?.unwrap_or(0))
            .map_err(|_| ApiError::bad("SHM size can not be less than 0"))?,
        resources: resources(params)?,
        credentials: credentials(headers),
    })
}

fn map<T: serde::de::DeserializeOwned>(
    params: &Params,
    name: &str,
    problem: &str,
) -> Result<BTreeMap<String, T>, ApiError> {
    match params.some(name) {
        None => Ok(BTreeMap::new()),
        Some(text) => {
            let parsed: Result<Option<_>, _> = serde_json::from_str(&text);
            let parsed = parsed.map_err(|error| ApiError::bad(format!("{problem}: {error}")))?;
            Ok(parsed.unwrap_or_default())
        }
    }
}

fn cache_from(params: &Params) -> Result<Vec<String>, ApiError> {
    let Some(text) = params.some("cachefrom") else {
        return Ok(Vec::new());
    };
    let parsed: Result<Option<_>, _> = serde_json::from_str(&text);
    let parsed =
        parsed.map_err(|error| ApiError::bad(format!("error reading cache-from: {error}")))?;
    Ok(parsed.unwrap_or_default())
}

fn tags(params: &Params) -> Result<Vec<Reference>, ApiError> {
    let mut tags: Vec<Reference> = Vec::new();
    for text in params.all("t").iter().filter(|text| !text.is_empty()) {
        let tag =
            Reference::parse_normalized(text).map_err(|error| ApiError::bad(error.to_string()))?;
        if tag.digest().is_some() {
            return Err(ApiError::bad("build tag cannot contain a digest"));
        }
        let tag = tag.with_default_tag();
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Ok(tags)
}

fn resources(params: &Params) -> Result<Resources, ApiError> {
    // moby's `Int64ValueOrZero`: what is no number is none.
    let number = |name: &str| params.get(name).parse().unwrap_or(0);
    let mut ulimits = Vec::new();
    if let Some(text) = params.some("ulimits") {
        let parsed: Result<Option<Vec<wharf_api_types::Ulimit>>, _> = serde_json::from_str(&text);
        let parsed = parsed
            .map_err(|error| ApiError::bad(format!("error reading ulimit settings: {error}")))?;
        ulimits = parsed
            .unwrap_or_default()
            .into_iter()
            .map(convert::ulimit)
            .collect();
    }
    Ok(Resources {
        cpu_shares: number("cpushares"),
        cpu_period: number("cpuperiod"),
        cpu_quota: number("cpuquota"),
        cpuset_cpus: params.get("cpusetcpus").to_owned(),
        cpuset_mems: params.get("cpusetmems").to_owned(),
        memory: number("memory"),
        memory_swap: number("memswap"),
        cgroup_parent: params.get("cgroupparent").to_owned(),
        ulimits,
        ..Resources::default()
    })
}

/// `X-Registry-Config`: who asks, by registry. What cannot be read is nobody, as with dockerd.
fn credentials(headers: &HeaderMap) -> BTreeMap<String, Credentials> {
    let read = || -> Option<BTreeMap<String, AuthConfig>> {
        let text = headers.get("X-Registry-Config")?.to_str().ok()?;
        let text = text.trim_end_matches('=');
        let url_safe = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text);
        let bytes = url_safe
            .or_else(|_| base64::engine::general_purpose::STANDARD_NO_PAD.decode(text))
            .ok()?;
        serde_json::from_slice(&bytes).ok()
    };
    let all = read().unwrap_or_default().into_iter();
    all.filter_map(|(server, auth)| Some((domain_of(&server), routes::identity(auth)?)))
        .collect()
}

/// The registry's name in references.
fn domain_of(server: &str) -> String {
    let bare = server.split_once("://").map_or(server, |(_, rest)| rest);
    let host = bare.split('/').next().unwrap_or_default();
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_owned(),
    }
}

pub(crate) async fn prune(
    engine: State,
    Extension(buildkit): Extension<BuildKit>,
    Extension(Asked { version, .. }): Extension<Asked>,
    params: Params,
) -> Answer {
    let filters = params.filters()?;
    let known = filters.check(&["until", "unused-for", "label", "label!"]);
    known.map_err(|error| ApiError::from(error).within("failed to prune build cache"))?;
    if filters.has("label") {
        // `system prune` hands its filters to all kinds of objects, and nothing here has a label.
        let nothing = serde_json::json!({ "CachesDeleted": null, "SpaceReclaimed": 0 });
        return super::prune::answer(version, &params, |_| async { Ok(nothing) }).await;
    }
    let until = ["until", "unused-for"]
        .iter()
        .find_map(|name| filters.values(name).next().map(str::to_owned));
    let now = jiff::Timestamp::now();
    let until = until.map(|text| {
        let time = wharf_engine::parse_time(&text, now);
        time.ok_or_else(|| ApiError::bad(format!("invalid filter 'until={text}'")))
    });
    let until = until.transpose()?;
    let all = params.flag("all");
    let space = |name: &str| -> Result<i64, ApiError> {
        let number: u64 = params.number(name)?.unwrap_or(0);
        Ok(i64::try_from(number).unwrap_or(i64::MAX))
    };
    let options = PruneOptions {
        all,
        keep_duration: until.map_or(0, |until| now.as_second().saturating_sub(until.as_second())),
        reserved_space: space("reserved-space")?.max(space("keep-storage")?),
        max_used_space: space("max-used-space")?,
        min_free_space: space("min-free-space")?,
        filters: Vec::new(),
    };
    let work = |watcher| async move { pruned(&engine, &buildkit, &options, watcher).await };
    super::prune::answer(version, &params, work).await
}

async fn pruned(
    engine: &Engine,
    buildkit: &BuildKit,
    options: &PruneOptions,
    watcher: PruneWatcher,
) -> Result<serde_json::Value, ApiError> {
    let pruned = buildkit.prune(options).await;
    let pruned =
        pruned.map_err(|error| ApiError::new(http::StatusCode::INTERNAL_SERVER_ERROR, error))?;
    // They go all at once.
    pruned.iter().for_each(|record| watcher.deleted(&record.id));
    let bytes: i64 = pruned.iter().map(|record| record.size).sum();
    let gone: Vec<String> = pruned.into_iter().map(|record| record.id).collect();
    let reclaimed = [("reclaimed".to_owned(), bytes.to_string())].into();
    engine
        .events
        .emit(EventKind::Builder, "prune", "", reclaimed);
    Ok(serde_json::json!({
        "CachesDeleted": convert::nil(gone),
        "SpaceReclaimed": bytes,
    }))
}

/// Of BuildKit's builds, which may have ids; the classic ones end with their connection.
pub(crate) async fn cancel(Extension(buildkit): Extension<BuildKit>, params: Params) -> Answer {
    let id = params.some("id");
    let id = id.ok_or_else(|| ApiError::bad("build ID not provided"))?;
    buildkit.cancel(&id);
    reply::empty(http::StatusCode::OK)
}
