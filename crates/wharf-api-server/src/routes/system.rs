//! `/_ping`, `/version`, `/info`, `/system/df`, `/events`.

use axum::Extension;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use wharf_api_types::DiskUsage;
use wharf_engine::{DfParts, Engine, EngineError, EventOptions, EventStream};

use super::State;
use super::streams::time;
use wharf_buildkit::BuildKit;

use crate::error::ApiError;
use crate::params::Params;
use crate::peer::Peer;
use crate::reply::{self, Answer};
use crate::version::{ApiVersion, Asked};
use crate::{compat, convert};

pub(crate) async fn ping(engine: State, method: http::Method) -> Response {
    let builder = if engine.settings().builds_by_buildkit() {
        "2"
    } else {
        "1"
    };
    let body = if method == http::Method::HEAD {
        ""
    } else {
        "OK"
    };
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert("Builder-Version", HeaderValue::from_static(builder));
    headers.insert("Swarm", HeaderValue::from_static("inactive"));
    response
}

pub(crate) async fn version(engine: State) -> Answer {
    reply::ok(&convert::version(engine.version()))
}

pub(crate) async fn info(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
) -> Answer {
    let info = convert::info(engine.info().await?);
    let mut document =
        serde_json::to_value(&info).map_err(|error| ApiError::bad(error.to_string()))?;
    compat::info(&mut document, version);
    reply::ok(&document)
}

pub(crate) async fn df(
    engine: State,
    Extension(buildkit): Extension<BuildKit>,
    Extension(Asked { version, .. }): Extension<Asked>,
    params: Params,
) -> Answer {
    let kinds = params.all("type");
    let wanted = |kind: &str| kinds.is_empty() || kinds.iter().any(|one| one == kind);
    let known = ["container", "image", "volume", "build-cache"];
    if let Some(unknown) = kinds.iter().find(|kind| !known.contains(&kind.as_str())) {
        return Err(ApiError::bad(format!("unknown object type: {unknown}")));
    }
    let parts = DfParts {
        images: wanted("image"),
        containers: wanted("container"),
        volumes: wanted("volume"),
    };
    let report = engine.disk_usage(parts).await?;
    let cache =
        match wanted("build-cache") {
            true => {
                let cache = buildkit.usage().await;
                Some(cache.map_err(|error| {
                    ApiError::new(http::StatusCode::INTERNAL_SERVER_ERROR, error)
                })?)
            }
            false => None,
        };
    let json = |usage: &DiskUsage| {
        serde_json::to_value(usage).map_err(|error| ApiError::bad(error.to_string()))
    };
    let mut usage = convert::disk_usage(report, cache);
    let verbose = params.flag("verbose");
    if !compat::has_old_disk_usage(version, verbose) {
        return reply::ok(&json(&usage)?);
    }
    let mut document = compat::old_disk_usage(&json(&usage)?, version);
    if !version.before(52) {
        if !verbose {
            usage.without_items();
        }
        let new = json(&usage)?;
        if let Some((old, new)) = document.as_object_mut().zip(new.as_object()) {
            old.extend(new.clone());
        }
    }
    reply::ok(&document)
}

/// `POST /wharf/system/check`: what is wrong with the store, and whether it was made good.
pub(crate) async fn check(engine: State, params: Params) -> Answer {
    let checked = engine.images.check(params.flag("repair")).await?;
    let faults: Vec<_> = checked
        .faults
        .iter()
        .map(|fault| {
            serde_json::json!({
                "Subject": fault.subject,
                "Problem": fault.problem,
                "Repaired": fault.repaired,
            })
        })
        .collect();
    reply::ok(&serde_json::json!({
        "Blobs": checked.blobs,
        "Layers": checked.layers,
        "Images": checked.images,
        "Faults": faults,
    }))
}

pub(crate) async fn events(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    params: Params,
) -> Answer {
    let (since, until) = (moment(&params, "since")?, moment(&params, "until")?);
    if let (Some(from), Some(to)) = (since, until)
        && from > to
    {
        // As they were written.
        let (since, until) = (params.get("since"), params.get("until"));
        return Err(ApiError::bad(format!(
            "`since` time ({since}) cannot be after `until` time ({until})"
        )));
    }
    let options = EventOptions {
        since,
        // As in dockerd all of the past, and no more.
        until: until.map(|until| match until == Timestamp::UNIX_EPOCH {
            true => Timestamp::now(),
            false => until,
        }),
        filters: params.filters()?,
    };
    let stream = subscribe(&engine, options).await?;
    let kind = Lines::accepted(&headers, version);
    let lines = futures_util::stream::unfold(stream, move |stream| next(stream, kind));
    let lines = lines.take_until(peer.last());
    Ok(reply::stream(kind.media_type(), lines))
}

/// A time of the query, of which `0` is the first, and `-1` none.
fn moment(params: &Params, name: &str) -> Result<Option<Timestamp>, ApiError> {
    match params.get(name) {
        "0" => Ok(Some(Timestamp::UNIX_EPOCH)),
        "-1" => Ok(None),
        _ => time(params, name),
    }
}

/// What is asked for of the past may lie in files.
async fn subscribe(engine: &Engine, options: EventOptions) -> Result<EventStream, ApiError> {
    let events = engine.events.clone();
    if options.since.is_none() && options.until.is_none() {
        return Ok(events.subscribe(options));
    }
    let subscribe = tokio::task::spawn_blocking(move || events.subscribe(options));
    subscribe
        .await
        .map_err(|error| EngineError::Failed(error.to_string()).into())
}

/// How the documents of a stream follow each other.
#[derive(Clone, Copy)]
enum Lines {
    Json,
    Newlines,
    JsonL,
    /// RFC 7464: each behind a record separator.
    Seq,
}

impl Lines {
    /// The first kind that the client names, from 1.52 on.
    fn accepted(headers: &HeaderMap, version: ApiVersion) -> Self {
        let accepted = headers.get_all(header::ACCEPT).into_iter();
        let accepted = accepted.filter_map(|value| value.to_str().ok());
        let mut kinds = accepted.flat_map(|value| value.split(','));
        let known =
            kinds.find_map(
                |kind| match kind.split(';').next().unwrap_or_default().trim() {
                    "application/json" => Some(Self::Json),
                    "application/x-ndjson" => Some(Self::Newlines),
                    "application/json-seq" => Some(Self::Seq),
                    "application/jsonl" if !version.before(53) => Some(Self::JsonL),
                    _ => None,
                },
            );
        known.filter(|_| !version.before(52)).unwrap_or(Self::Json)
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Newlines => "application/x-ndjson",
            Self::JsonL => "application/jsonl",
            Self::Seq => "application/json-seq",
        }
    }
}

async fn next(
    mut stream: EventStream,
    kind: Lines,
) -> Option<(std::io::Result<Bytes>, EventStream)> {
    let event = stream.next().await?;
    let mut line = match kind {
        Lines::Seq => vec![0x1e],
        _ => Vec::new(),
    };
    serde_json::to_writer(&mut line, &convert::event(&event)).ok()?;
    line.push(b'\n');
    Some((Ok(line.into()), stream))
}
