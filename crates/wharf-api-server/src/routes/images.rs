//! `/images`.

use std::io;

use axum::Extension;
use axum::extract::{Path, Request};
use axum::response::IntoResponse as _;
use base64::Engine as _;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::io::StreamReader;
use tokio_util::task::AbortOnDropHandle;
use wharf_api_types::{AuthConfig, ErrorDetail, ImagePruneResponse, JsonMessage};
use wharf_distribution::Credentials;
use wharf_engine::{Engine, EngineError, Filters, parse_time};
use wharf_images::{
    ListOptions, Progress, ProgressSender, PullOptions, PushOptions, RemoveOptions,
};
use wharf_oci::{Platform, Reference};

use super::State;
use crate::error::ApiError;
use crate::params::Params;
use crate::reply::{self, Answer};
use crate::version::ApiVersion;
use crate::{compat, convert};

pub(crate) async fn list(
    engine: State,
    Extension(version): Extension<ApiVersion>,
    params: Params,
) -> Answer {
    let mut filters = params.filters()?;
    if let Some(reference) = params.some("filter") {
        filters.add("reference", &reference);
    }
    filters.check(&["dangling", "label", "before", "since", "reference", "until"])?;
    let options = ListOptions {
        all: params.flag("all"),
        ..list_options(&filters)?
    };
    let images = engine.images.list(options).await?;
    let mut rows = Vec::new();
    for image in &images {
        let users = engine.images.uses(&image.id).len();
        let row = convert::image_summary(image, users, None);
        let mut row =
            serde_json::to_value(row).map_err(|error| ApiError::bad(error.to_string()))?;
        compat::image_summary(&mut row, version);
        rows.push(row);
    }
    reply::ok(&rows)
}

fn list_options(filters: &Filters) -> Result<ListOptions, ApiError> {
    let one = |key: &str| filters.values(key).next().map(str::to_owned);
    let until = one("until").map(|text| {
        let time = parse_time(&text, jiff::Timestamp::now());
        time.map(std::time::SystemTime::from)
            .ok_or_else(|| ApiError::bad(format!("invalid filter 'until={text}'")))
    });
    Ok(ListOptions {
        all: false,
        references: filters.values("reference").map(str::to_owned).collect(),
        dangling: filters.boolean("dangling")?,
        before: one("before"),
        since: one("since"),
        labels: filters.values("label").map(str::to_owned).collect(),
        without_labels: filters.values("label!").map(str::to_owned).collect(),
        until: until.transpose()?,
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
    if let Some(source) = params.some("fromSrc") {
        return super::registry::import(engine, &source, &params, request).await;
    }
    let (name, tag) = (params.get("fromImage"), params.get("tag"));
    let invalid = |error: wharf_oci::ReferenceError| ApiError::bad(error.to_string());
    let bare = Reference::parse_normalized(name).map_err(invalid)?;
    let (reference, all_tags) = match tag {
        "" => (
            bare.clone(),
            bare.tag().is_none() && bare.digest().is_none(),
        ),
        _ if tag.starts_with("sha256:") => (
            Reference::parse_normalized(&format!("{name}@{tag}")).map_err(invalid)?,
            false,
        ),
        _ => (
            Reference::parse_normalized(&format!("{name}:{tag}")).map_err(invalid)?,
            false,
        ),
    };
    let options = PullOptions {
        platform: platform(params.get("platform"))?,
        credentials: credentials(&headers),
        all_tags,
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

pub(crate) fn platform(text: &str) -> Result<Option<Platform>, ApiError> {
    match text {
        "" => Ok(None),
        _ => text
            .parse()
            .map(Some)
            .map_err(|error| ApiError::bad(format!("invalid platform: {error}"))),
    }
}

pub(crate) async fn load(engine: State, params: Params, request: Request) -> Answer {
    let quiet = params.flag("quiet");
    let body = request
        .into_body()
        .into_data_stream()
        .map(|part| part.map_err(io::Error::other));
    let (progress, mut all) = ProgressSender::channel();
    let (shown, events) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
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
            .load(StreamReader::new(body), progress)
            .await
            .map(drop)
    };
    report(work, events).await
}

/// Answers with progress as it comes. A failure before the first line is an ordinary error; a later one is the
/// stream's last line, as the status is on its way. The work goes with the client, as Docker cancels it.
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
        Some((Ok(reply::line(&failure(&error))), None))
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
    let ended = work.await;
    ended.unwrap_or_else(|error| {
        Err(EngineError::Failed(format!(
            "the work ended early: {error}"
        )))
    })
}

fn failure(error: &EngineError) -> JsonMessage {
    let message = error.message();
    JsonMessage {
        error_detail: Some(ErrorDetail {
            code: 0,
            message: message.clone(),
        }),
        error: Some(message),
        ..JsonMessage::default()
    }
}

pub(crate) async fn search(engine: State, params: Params, headers: HeaderMap) -> Answer {
    let filters = params.filters()?;
    filters.check(&["is-automated", "is-official", "stars"])?;
    let official = filters.boolean("is-official")?;
    let automated = filters.boolean("is-automated")?;
    let stars = filters
        .values("stars")
        .map(str::parse::<i64>)
        .collect::<Result<Vec<_>, _>>();
    let stars = stars
        .map_err(|_| ApiError::bad("invalid filter 'stars'"))?
        .into_iter()
        .max()
        .unwrap_or(0);
    let limit = params
        .number("limit")?
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

pub(crate) async fn prune(engine: State, params: Params) -> Answer {
    let filters = params.filters()?;
    filters.check(&["dangling", "label", "label!", "until"])?;
    let mut options = list_options(&filters)?;
    options.dangling = options.dangling.or(Some(true));
    let pruned = engine.images.prune(options).await?;
    let deleted = convert::removed(&pruned.removed);
    reply::ok(&ImagePruneResponse {
        images_deleted: Some(deleted).filter(|deleted| !deleted.is_empty()),
        space_reclaimed: pruned.reclaimed,
    })
}

pub(crate) async fn save_several(engine: State, params: Params) -> Answer {
    save(&engine, params.all("names"))
}

fn save(engine: &std::sync::Arc<Engine>, names: Vec<String>) -> Answer {
    let mut pins = Vec::new();
    for name in &names {
        pins.push(engine.images.store().pin(name)?);
    }
    let store = engine.images.store().clone();
    let (reader, writer) = tokio::io::duplex(256 * 1024);
    let mut writer = tokio_util::io::SyncIoBridge::new(writer);
    tokio::task::spawn_blocking(move || {
        let _pins = pins;
        if let Err(error) = store.save(&names, &mut writer) {
            tracing::warn!(error = %error, "save images");
        }
    });
    let body = tokio_util::io::ReaderStream::with_capacity(reader, 128 * 1024);
    Ok(reply::stream("application/x-tar", body))
}

/// `/images/{name}` and what may follow.
pub(crate) async fn named(
    engine: State,
    Extension(version): Extension<ApiVersion>,
    method: Method,
    Path(rest): Path<String>,
    headers: HeaderMap,
    params: Params,
) -> Answer {
    let ends_with = |suffix: &str| rest.strip_suffix(suffix).filter(|name| !name.is_empty());
    if method == Method::DELETE {
        return remove(&engine, &rest, &params).await;
    }
    if method == Method::POST {
        if let Some(name) = ends_with("/tag") {
            return tag(&engine, name, &params);
        }
        if let Some(name) = ends_with("/push") {
            return push(engine, name, &params, &headers).await;
        }
    }
    if method == Method::GET {
        if let Some(name) = ends_with("/json") {
            return inspect(&engine, name, version);
        }
        if let Some(name) = ends_with("/history") {
            let history = engine.images.store().history(name)?;
            let rows: Vec<_> = history.into_iter().map(convert::history).collect();
            return reply::ok(&rows);
        }
        if let Some(name) = ends_with("/get") {
            return save(&engine, vec![name.to_owned()]);
        }
    }
    Ok(ApiError::new(StatusCode::NOT_FOUND, "page not found").into_response())
}

fn inspect(engine: &Engine, name: &str, version: ApiVersion) -> Answer {
    let image = engine.images.store().resolve(name)?;
    let inspect = convert::image_inspect(&image);
    let mut document =
        serde_json::to_value(inspect).map_err(|error| ApiError::bad(error.to_string()))?;
    compat::image_inspect(&mut document, version);
    reply::ok(&document)
}

/// Without `tag`, all tags of the repository.
async fn push(engine: State, name: &str, params: &Params, headers: &HeaderMap) -> Answer {
    let text = match params.get("tag") {
        "" => name.to_owned(),
        tag => format!("{name}:{tag}"),
    };
    let reference =
        Reference::parse_normalized(&text).map_err(|error| ApiError::bad(error.to_string()))?;
    let platform = match params.get("platform") {
        "" => None,
        text if text.starts_with('{') => Some(
            serde_json::from_str(text)
                .map_err(|error| ApiError::bad(format!("failed to parse platform: {error}")))?,
        ),
        text => platform(text)?,
    };
    let options = PushOptions {
        platform,
        credentials: credentials(headers),
    };
    let (progress, events) = ProgressSender::channel();
    let work = async move { engine.0.images.push(&reference, options, progress).await };
    report(work, events).await
}

fn tag(engine: &Engine, name: &str, params: &Params) -> Answer {
    let target = match params.get("tag") {
        "" => params.get("repo").to_owned(),
        tag => format!("{}:{tag}", params.get("repo")),
    };
    let target =
        Reference::parse_normalized(&target).map_err(|error| ApiError::bad(error.to_string()))?;
    if target.digest().is_some() {
        return Err(ApiError::bad(
            "refusing to create a tag with a digest reference",
        ));
    }
    engine.images.tag(name, &target.with_default_tag())?;
    reply::empty(StatusCode::CREATED)
}

async fn remove(engine: &Engine, name: &str, params: &Params) -> Answer {
    let options = RemoveOptions {
        force: params.flag("force"),
        prune: !params.flag("noprune"),
    };
    let removed = engine.images.remove(name, options).await?;
    reply::ok(&convert::removed(&removed))
}
