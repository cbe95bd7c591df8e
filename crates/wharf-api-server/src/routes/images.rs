//! `/images`.

use std::collections::BTreeMap;
use std::io;

use axum::Extension;
use axum::extract::{Path, Request};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::io::StreamReader;
use tokio_util::task::AbortOnDropHandle;
use wharf_api_types::{AuthConfig, ImagePruneResponse, ManifestSummary, OciPlatform};
use wharf_distribution::Credentials;
use wharf_engine::{Engine, EngineError, Filters, parse_time};
use wharf_images::{
    Image, ListOptions, Progress, ProgressSender, PullOptions, PushOptions, RemoveOptions,
};
use wharf_oci::{Digest, Platform, Reference, ReferenceError};

use super::{State, prune};
use crate::error::{ApiError, last_line};
use crate::params::{Params, drain, read};
use crate::reply::{self, Answer};
use crate::version::{ApiVersion, Asked};
use crate::{compat, convert};

pub(crate) async fn list(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    params: Params,
) -> Answer {
    let mut filters = params.filters()?;
    // 1.41 took the old parameter out.
    if let Some(reference) = params.some("filter").filter(|_| version.before(41)) {
        filters.add("reference", &reference);
    }
    filters.check(&["dangling", "label", "before", "since", "reference", "until"])?;
    let options = ListOptions {
        all: params.flag("all"),
        ..list_options(&filters)?
    };
    let images = engine.images.list(options).await?;
    let shared = match params.flag("shared-size") && !version.before(42) {
        true => engine.images.shared_sizes().await?,
        false => BTreeMap::new(),
    };
    let with_manifests = params.flag("manifests") && !version.before(47);
    let with_identity = params.flag("identity") && !version.before(54);
    // Before 1.51 they were counted for `system df` alone.
    let counts = (!version.before(51)).then(|| engine.images.user_counts());
    let mut rows = Vec::new();
    for image in &images {
        let users = counts.as_ref();
        let users = users.map(|counts| counts.get(&image.id).copied().unwrap_or(0));
        let mut row = convert::image_summary(image, users, shared.get(&image.id).copied());
        if with_manifests {
            row.manifests = Some(manifests(&engine, image, with_identity).await?);
        }
        let mut row =
            serde_json::to_value(row).map_err(|error| ApiError::bad(error.to_string()))?;
        compat::image_summary(&mut row, version);
        rows.push(row);
    }
    reply::ok(&rows)
}

/// The manifests of an image, for rows and for inspect.
async fn manifests(
    engine: &Engine,
    image: &Image,
    with_identity: bool,
) -> Result<Vec<ManifestSummary>, ApiError> {
    // By all its names: a list by some of them has not the others.
    let whole = match with_identity {
        true => engine.images.store().resolve(&image.id.to_string()).ok(),
        false => None,
    };
    let identity = whole.as_ref().and_then(convert::identity);
    let views = engine.images.manifests(&image.id).await?;
    let views = views.into_iter();
    Ok(views
        .map(|(view, users)| convert::manifest(view, users, identity.clone()))
        .collect())
}

fn list_options(filters: &Filters) -> Result<ListOptions, ApiError> {
    let all = |key: &str| filters.values(key).map(str::to_owned).collect();
    let times = filters.values("until").map(|text| {
        let time = parse_time(text, jiff::Timestamp::now());
        time.map(std::time::SystemTime::from).ok_or_else(|| {
            ApiError::bad(format!(
                "failed to parse value as time or duration: {text:?}"
            ))
        })
    });
    let times = times.collect::<Result<Vec<_>, _>>()?;
    Ok(ListOptions {
        all: false,
        references: all("reference"),
        dangling: filters.boolean("dangling")?,
        before: all("before"),
        since: all("since"),
        labels: all("label"),
        without_labels: all("label!"),
        // Who says several means all of them.
        until: times.into_iter().min(),
    })
}

/// What the client's `X-Registry-Auth` says; an empty or malformed one is none, as with dockerd.
pub(crate) fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let text = headers
        .get("X-Registry-Auth")?
        .to_str()
        .ok()?
        .trim_end_matches('=');
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .ok()?;
    let auth: AuthConfig = serde_json::from_slice(&bytes).ok()?;
    identity(auth)
}

/// Who somebody is; nobody if nothing is said.
pub(crate) fn identity(auth: AuthConfig) -> Option<Credentials> {
    if !auth.registrytoken.is_empty() {
        return Some(Credentials::Bearer(auth.registrytoken));
    }
    if !auth.identitytoken.is_empty() {
        return Some(Credentials::Identity(auth.identitytoken));
    }
    (!auth.username.is_empty()).then_some(Credentials::Basic {
        username: auth.username,
        password: auth.password,
    })
}

/// `fromImage` pulls; `fromSrc` imports.
pub(crate) async fn create(
    engine: State,
    params: Params,
    headers: HeaderMap,
    request: Request,
) -> Answer {
    let (name, tag) = (params.get("fromImage"), params.get("tag"));
    // Who says both pulls, as with dockerd.
    if let Some(source) = params.some("fromSrc").filter(|_| name.is_empty()) {
        return super::registry::import(engine, &source, &params, request).await;
    }
    if reference(name, "")?.familiar_name() == "scratch" {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "'scratch' is a reserved name",
        ));
    }
    let reference = match tag.starts_with("sha256:") {
        true => {
            let bare = reference(name, "")?.without_tag_and_digest();
            let digest = Digest::parse(tag);
            bare.with_digest(digest.map_err(|error| ApiError::bad(error.to_string()))?)
        }
        false => reference(name, tag)?,
    };
    let all_tags = reference.is_name_only();
    let options = PullOptions {
        platform: platform(params.get("platform"))?,
        credentials: credentials(&headers),
        all_tags,
        referrers: params.flag("referrers"),
    };
    let (progress, events) = ProgressSender::channel();
    let work = async move {
        let engine = engine.0;
        engine
            .images
            .pull(&reference, options, progress)
            .await
            .map(drop)
    };
    report(work, events).await
}

/// An image's name and the tag that is asked for beside it, if there is one: that takes the place of the name's own.
pub(super) fn reference(name: &str, tag: &str) -> Result<Reference, ApiError> {
    let invalid = |error: ReferenceError| ApiError::bad(error.to_string());
    let reference = Reference::parse_normalized(name).map_err(invalid)?;
    match tag {
        "" => Ok(reference),
        tag => reference.with_tag(tag).map_err(invalid),
    }
}

pub(crate) fn platform(text: &str) -> Result<Option<Platform>, ApiError> {
    match text {
        "" => Ok(None),
        _ => text
            .parse()
            .map(Some)
            .map_err(|error: wharf_oci::PlatformError| ApiError::bad(error.to_string())),
    }
}

/// A platform as newer clients write it, in JSON.
fn json_platform(text: &str) -> Result<Option<Platform>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    let wanted: OciPlatform = serde_json::from_str(text)
        .map_err(|error| ApiError::bad(format!("failed to parse platform: {error}")))?;
    let incomplete = wanted.os.is_empty() != wanted.architecture.is_empty();
    if incomplete || (wanted.os.is_empty() && !wanted.variant.is_empty()) {
        let what = "both OS and Architecture must be provided";
        return Err(ApiError::bad(what));
    }
    let mut platform = Platform::new(&wanted.os, &wanted.architecture, &wanted.variant);
    platform.os_version = wanted.os_version;
    platform.os_features = wanted.os_features;
    Ok(Some(platform).filter(|platform| !platform.os.is_empty()))
}

/// All platforms that a parameter names.
fn json_platforms(params: &Params, name: &str) -> Result<Vec<Platform>, ApiError> {
    let mut all = Vec::new();
    for text in params.all(name) {
        // Several may come as one list.
        if text.starts_with('[') {
            let list: Vec<serde_json::Value> = serde_json::from_str(&text)
                .map_err(|error| ApiError::bad(format!("failed to parse platform: {error}")))?;
            for one in list {
                all.extend(json_platform(&one.to_string())?);
            }
        } else {
            all.extend(json_platform(&text)?);
        }
    }
    Ok(all)
}

pub(crate) async fn load(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    params: Params,
    request: Request,
) -> Answer {
    // As dockerd, which tells of layers whom it says `quiet=0` alone.
    let quiet = params.flag_or("quiet", true);
    let platforms = match version.before(48) {
        true => Vec::new(),
        false => match json_platforms(&params, "platform") {
            Ok(platforms) => platforms,
            Err(error) => {
                drain(request).await;
                return Err(error);
            }
        },
    };
    // Nothing is said until the archive is here: who reads no answer may go when one begins, and the rest of the archive with it.
    let (coming, here) = tokio::sync::oneshot::channel::<()>();
    let end = futures_util::stream::once(async move { drop(coming) });
    let body = request
        .into_body()
        .into_data_stream()
        .map(|part| part.map_err(io::Error::other))
        .chain(end.filter_map(|()| std::future::ready(None)));
    let (progress, mut all) = ProgressSender::channel();
    let (shown, events) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let _ = here.await;
        while let Some(event) = all.recv().await {
            if !quiet || !matches!(event, Progress::Layer { .. }) {
                // The client may be gone: the work goes on.
                let _ = shown.send(event);
            }
        }
    });
    let work = async move {
        engine
            .0
            .images
            .load(StreamReader::new(Box::pin(body)), &platforms, progress)
            .await
            .map(drop)
    };
    // What has come is loaded, as dockerd does it, whether or not somebody waits.
    let work = tokio::spawn(work);
    let work = async move { work.await.unwrap_or_else(|error| Err(early(&error))) };
    // dockerd answers before it looks at the archive: what is wrong with it is the stream's last line.
    report(work, events).await.or_else(|error| {
        let line = reply::line(&last_line(&error.message, 0));
        let lines = futures_util::stream::iter([Ok(line)]);
        Ok(reply::stream("application/json", lines))
    })
}

/// Answers with progress as it comes. A failure before the first line is an ordinary error; a later one is the
/// stream's last line, as the status is on its way. The work that is given goes with the client, as Docker cancels it.
async fn report(
    work: impl Future<Output = Result<(), EngineError>> + Send + 'static,
    mut events: UnboundedReceiver<Progress>,
) -> Answer {
    // Aborted when the client, and with it this stream, is gone.
    let work = AbortOnDropHandle::new(tokio::spawn(work));
    let first = match events.recv().await {
        Some(event) => line(&event),
        None => {
            ended(work).await?;
            return Ok(reply::stream(
                "application/json",
                futures_util::stream::empty(),
            ));
        }
    };
    let rest = futures_util::stream::unfold(Some((work, events)), |state| async move {
        let (work, mut events) = state?;
        if let Some(event) = events.recv().await {
            let line = line(&event);
            return Some((Ok(line), Some((work, events))));
        }
        let error = ended(work).await.err()?;
        Some((Ok(reply::line(&last_line(&error.message(), 0))), None))
    });
    let first = futures_util::stream::iter([Ok(first)]);
    Ok(reply::stream("application/json", first.chain(rest)))
}

fn line(event: &Progress) -> Bytes {
    let mut text = reply::line(&convert::progress(event)).to_vec();
    if let Some(aux) = convert::aux(event) {
        text.extend_from_slice(&reply::line(&aux));
    }
    text.into()
}

async fn ended(work: AbortOnDropHandle<Result<(), EngineError>>) -> Result<(), EngineError> {
    work.await.unwrap_or_else(|error| Err(early(&error)))
}

fn early(error: &tokio::task::JoinError) -> EngineError {
    EngineError::Failed(format!("the work ended early: {error}"))
}

pub(crate) async fn search(engine: State, params: Params, headers: HeaderMap) -> Answer {
    let filters = params.filters()?;
    filters.check(&["is-automated", "is-official", "stars"])?;
    let official = filters.boolean("is-official")?;
    let automated = filters.boolean("is-automated")?;
    let stars = filters
        .values("stars")
        .map(|value| {
            value.parse::<i64>().map_err(|_| {
                ApiError::bad(format!(
                    "invalid filter 'stars={value}': strconv.Atoi: parsing {value:?}: invalid syntax"
                ))
            })
        })
        .collect::<Result<Vec<_>, _>>();
    let stars = stars?.into_iter().max().unwrap_or(0);
    let limit = params
        .number("limit")
        .map_err(|error| ApiError::bad(format!("invalid limit specified: {}", error.message)))?
        .filter(|limit| *limit != 0)
        .unwrap_or(25);
    let credentials = credentials(&headers);
    let found = engine
        .images
        .store()
        .search(params.get("term"), limit, credentials.as_ref())
        .await?;
    let wanted = |hit: &wharf_distribution::SearchHit| {
        official.is_none_or(|wanted| hit.is_official == wanted)
            && automated.is_none_or(|wanted| hit.is_automated == wanted)
            && hit.star_count >= stars
    };
    let hits = found
        .hits
        .into_iter()
        .filter(wanted)
        .map(convert::search_hit);
    reply::ok(&hits.collect::<Vec<_>>())
}

pub(crate) async fn prune(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    params: Params,
) -> Answer {
    let filters = params.filters()?;
    filters.check(&["dangling", "label", "label!", "until"])?;
    // A list takes several.
    if filters.values("until").count() > 1 {
        return Err(ApiError::bad("more than one until filter specified"));
    }
    let mut options = list_options(&filters)?;
    options.dangling = options.dangling.or(Some(true));
    let work = |watcher| async move {
        let pruned = engine.images.prune(options, &watcher).await?;
        let deleted = convert::removed(&pruned.removed);
        prune::document(&ImagePruneResponse {
            images_deleted: Some(deleted).filter(|deleted| !deleted.is_empty()),
            space_reclaimed: pruned.reclaimed,
        })
    };
    prune::answer(version, &params, work).await
}

pub(crate) async fn save_several(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    params: Params,
) -> Answer {
    let names = params.all("names");
    save(&engine, names, &params, version).await
}

async fn save(engine: &Engine, names: Vec<String>, params: &Params, version: ApiVersion) -> Answer {
    let platforms = match version.before(48) {
        true => Vec::new(),
        false => json_platforms(params, "platform")?,
    };
    let stream = engine.images.save(names, platforms).await?;
    Ok(reply::stream(
        "application/x-tar",
        super::files::pieces(stream),
    ))
}

/// `/images/{name}` and what may follow.
pub(crate) async fn named(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    method: Method,
    Path(rest): Path<String>,
    params: Params,
    request: Request,
) -> Answer {
    let ends_with = |suffix: &str| rest.strip_suffix(suffix).filter(|name| !name.is_empty());
    if method == Method::DELETE {
        return remove(&engine, &rest, &params, version).await;
    }
    if method == Method::POST {
        if let Some(name) = ends_with("/tag") {
            return tag(&engine, name, &params);
        }
        if let Some(name) = ends_with("/push") {
            return push(engine, name, &params, request).await;
        }
    }
    if method == Method::GET {
        if let Some(name) = ends_with("/json") {
            return inspect(&engine, name, &params, version).await;
        }
        if let Some(name) = ends_with("/attestations") {
            return attestations(&engine, name, &params).await;
        }
        if let Some(name) = ends_with("/history") {
            let platform = match version.before(48) {
                true => None,
                false => json_platform(params.get("platform"))?,
            };
            let store = engine.images.store();
            let history = store.history(name, platform.as_ref())?;
            let rows: Vec<_> = history.into_iter().map(convert::history).collect();
            return reply::ok(&rows);
        }
        if let Some(name) = ends_with("/get") {
            return save(&engine, vec![name.to_owned()], &params, version).await;
        }
    }
    Ok(ApiError::new(StatusCode::NOT_FOUND, "page not found").into_response())
}

async fn inspect(engine: &Engine, name: &str, params: &Params, version: ApiVersion) -> Answer {
    let with_manifests = params.flag("manifests") && !version.before(48);
    let platform = match version.before(49) {
        true => None,
        false => json_platform(params.get("platform"))?,
    };
    if with_manifests && platform.is_some() {
        let what = "conflicting options: manifests and platform options cannot both be set";
        return Err(ApiError::bad(what));
    }
    let store = engine.images.store();
    let image = store.resolve_for(name, platform.as_ref())?;
    let mut inspect = convert::image_inspect(&image, &store.layer_folders(&image));
    if with_manifests {
        inspect.manifests = Some(manifests(engine, &image, true).await?);
    }
    let mut document =
        serde_json::to_value(inspect).map_err(|error| ApiError::bad(error.to_string()))?;
    compat::image_inspect(&mut document, version, image.config.raw());
    reply::ok(&document)
}

async fn attestations(engine: &Engine, name: &str, params: &Params) -> Answer {
    let mut platforms = json_platforms(params, "platform")?;
    if platforms.len() > 1 {
        return Err(ApiError::bad("only one platform is supported"));
    }
    let (store, name) = (engine.images.store().clone(), name.to_owned());
    let (platform, kinds) = (platforms.pop(), params.all("type"));
    let with_text = params.flag("statement");
    let work = move || store.attestations(&name, platform.as_ref(), &kinds, with_text);
    let found = tokio::task::spawn_blocking(work).await;
    let found = found.map_err(|error| EngineError::Failed(error.to_string()))??;
    let rows = found.into_iter().map(convert::attestation);
    reply::ok(&rows.collect::<Vec<_>>())
}

/// Who pushes: what the header says, or as the oldest clients have it, the body. One of them must be there, as with dockerd.
async fn pusher(request: Request) -> Result<Option<Credentials>, ApiError> {
    let header = request.headers().get("X-Registry-Auth");
    if header.is_some_and(|header| !header.is_empty()) {
        return Ok(credentials(request.headers()));
    }
    let missing = |text: String| {
        let text = format!(
            "bad parameters and missing X-Registry-Auth: invalid X-Registry-Auth header: {text}"
        );
        ApiError::bad(text)
    };
    let body = read(request.into_body()).await?;
    if body.trim_ascii().is_empty() {
        return Err(missing("EOF".to_owned()));
    }
    let auth = wharf_api_types::go::from_slice(&body);
    auth.map(identity)
        .map_err(|error| missing(error.to_string()))
}

/// Without `tag`, all tags of the repository.
async fn push(engine: State, name: &str, params: &Params, request: Request) -> Answer {
    let credentials = pusher(request).await?;
    let reference = self::reference(name, params.get("tag"))?;
    if reference.digest().is_some() {
        if params.some("tag").is_some() {
            return Err(ApiError::bad("cannot import digest reference"));
        }
        return Ok(not_pushed(&reference));
    }
    let platform = json_platform(params.get("platform"))?;
    let options = PushOptions {
        platform,
        credentials,
        referrers: params.flag("referrers"),
    };
    let (progress, events) = ProgressSender::channel();
    let work = async move { engine.0.images.push(&reference, options, progress).await };
    report(work, events).await
}

/// dockerd finds out that a digest cannot be pushed after it has begun to tell.
fn not_pushed(reference: &Reference) -> Response {
    let begun = line(&Progress::PushTo {
        repository: reference.name(),
    });
    let failed = reply::line(&last_line("cannot push a digest reference", 0));
    let lines = futures_util::stream::iter([Ok::<_, io::Error>(begun), Ok(failed)]);
    reply::stream("application/json", lines)
}

fn tag(engine: &Engine, name: &str, params: &Params) -> Answer {
    let target = reference(params.get("repo"), params.get("tag"))?;
    if target.digest().is_some() {
        return Err(ApiError::bad("cannot import digest reference"));
    }
    engine.images.tag(name, &target.with_default_tag())?;
    reply::empty(StatusCode::CREATED)
}

async fn remove(engine: &Engine, name: &str, params: &Params, version: ApiVersion) -> Answer {
    let options = RemoveOptions {
        force: params.flag("force"),
        prune: !params.flag("noprune"),
        platforms: match version.before(50) {
            true => Vec::new(),
            false => json_platforms(params, "platforms")?,
        },
    };
    let removed = engine.images.remove(name, options).await?;
    reply::ok(&convert::removed(&removed))
}
