//! `/_ping`, `/version`, `/info`, `/system/df`, `/events`.

use axum::Extension;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, header};
use wharf_engine::{DfParts, EventOptions, EventStream};

use super::State;
use super::streams::time;
use crate::convert;
use crate::error::ApiError;
use crate::params::Params;
use crate::reply::{self, Answer};
use crate::version::ApiVersion;

pub(crate) async fn ping(method: http::Method) -> Response {
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
    // The classic builder: BuildKit, 2, has its protocol not yet.
    headers.insert("Builder-Version", HeaderValue::from_static("1"));
    headers.insert("Swarm", HeaderValue::from_static("inactive"));
    response
}

pub(crate) async fn version(engine: State) -> Answer {
    reply::ok(&convert::version(engine.version()))
}

pub(crate) async fn info(engine: State) -> Answer {
    reply::ok(&convert::info(engine.info().await?))
}

pub(crate) async fn df(engine: State, params: Params) -> Answer {
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
    reply::ok(&convert::disk_usage(report, wanted("build-cache")))
}

pub(crate) async fn events(
    engine: State,
    Extension(version): Extension<ApiVersion>,
    params: Params,
) -> Answer {
    let options = EventOptions {
        since: time(&params, "since")?,
        until: time(&params, "until")?,
        filters: params.filters()?,
    };
    let stream = engine.events.subscribe(options)?;
    let lines = futures_util::stream::unfold(stream, move |stream| next(stream, version));
    Ok(reply::stream("application/json", lines))
}

async fn next(
    mut stream: EventStream,
    version: ApiVersion,
) -> Option<(std::io::Result<Bytes>, EventStream)> {
    let event = stream.next().await?;
    let mut line = serde_json::to_vec(&convert::event(&event, version)).ok()?;
    line.push(b'\n');
    Some((Ok(line.into()), stream))
}
