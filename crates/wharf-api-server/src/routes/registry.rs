//! What has to do with registries beside pull and push: `/auth`, `/distribution`; and `import`.

use std::io;

use axum::extract::{Path, Request};
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::HeaderMap;
use tokio_util::io::{StreamReader, SyncIoBridge};
use wharf_api_types::{AuthConfig, JsonMessage};
use wharf_distribution::Download;
use wharf_engine::{ImportOptions, apply_changes};
use wharf_oci::{Reference, RunConfig};

use super::State;
use super::images::{credentials, identity, platform, reference};
use crate::error::ApiError;
use crate::params::{Json, Params, drain};
use crate::reply::{self, Answer};

/// Docker Hub's account server, under which clients keep what they know of it.
const HUB: &[&str] = &["", "index.docker.io", "registry-1.docker.io", "docker.io"];

pub(crate) async fn auth(engine: State, Json(auth): Json<AuthConfig>) -> Answer {
    let server = auth.serveraddress.clone();
    let bare = server
        .split_once("://")
        .map_or(server.as_str(), |(_, rest)| rest);
    let host = bare.split('/').next().unwrap_or_default();
    let domain = if HUB.contains(&host) {
        "docker.io"
    } else {
        host
    };
    // Without a name it is asked whether nobody may come in.
    let known = auth.identitytoken.clone();
    let credentials = identity(auth);
    let token = engine.images.login(domain, credentials.as_ref()).await?;
    let token = token.unwrap_or(known);
    reply::ok(&serde_json::json!({ "IdentityToken": token, "Status": "Login Succeeded" }))
}

pub(crate) async fn distribution(
    engine: State,
    Path(rest): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let Some(name) = rest.strip_suffix("/json").filter(|name| !name.is_empty()) else {
        return Err(ApiError::new(http::StatusCode::NOT_FOUND, "page not found"));
    };
    let reference =
        Reference::parse_normalized(name).map_err(|error| ApiError::bad(error.to_string()))?;
    let reference = reference.with_default_tag();
    let credentials = credentials(&headers);
    let (descriptor, platforms) = engine
        .images
        .describe(&reference, credentials.as_ref())
        .await?;
    reply::ok(&serde_json::json!({
        "Descriptor": {
            "mediaType": descriptor.media_type,
            "digest": descriptor.digest.to_string(),
            "size": descriptor.size,
        },
        "Platforms": platforms,
    }))
}

/// `GET /wharf/tags/{name}`: the tags of a repository in its registry.
pub(crate) async fn tags(engine: State, Path(name): Path<String>, headers: HeaderMap) -> Answer {
    let reference =
        Reference::parse_normalized(&name).map_err(|error| ApiError::bad(error.to_string()))?;
    let credentials = credentials(&headers);
    let tags = engine.images.tags(&reference, credentials.as_ref()).await?;
    reply::ok(&tags)
}

/// `POST /images/create?fromSrc=…`: `-` is the body of the request, anything else an address.
pub(crate) async fn import(
    engine: State,
    source: &str,
    params: &Params,
    request: Request,
) -> Answer {
    let options = match options(source, params) {
        Ok(options) => options,
        Err(error) => {
            drain(request).await;
            return Err(error);
        }
    };
    let id = if source == "-" {
        let body = request.into_body().into_data_stream();
        let body = StreamReader::new(body.map_err(io::Error::other));
        let body = SyncIoBridge::new(body);
        engine.images.import(body, options).await?
    } else {
        let url = match source.contains("://") {
            true => source.to_owned(),
            false => format!("http://{source}"),
        };
        let bytes = download(&engine, &url).await?;
        let bytes = SyncIoBridge::new(bytes);
        engine.images.import(bytes, options).await?
    };
    let line = reply::line(&JsonMessage {
        status: Some(id.to_string()),
        ..JsonMessage::default()
    });
    let once = futures_util::stream::once(async move { Ok::<_, io::Error>(line) });
    Ok(reply::stream("application/json", once))
}

fn options(source: &str, params: &Params) -> Result<ImportOptions, ApiError> {
    let (repo, tag) = (params.get("repo"), params.get("tag"));
    let name = match repo {
        "" => None,
        _ => {
            let name = reference(repo, tag)?;
            if name.digest().is_some() {
                return Err(ApiError::bad("cannot import digest reference"));
            }
            Some(name.with_default_tag())
        }
    };
    let message = match params.get("message") {
        "" => format!("Imported from {source}"),
        message => message.to_owned(),
    };
    let platform = platform(params.get("platform"))?;
    if platform
        .as_ref()
        .is_some_and(|platform| platform.os != "linux")
    {
        return Err(ApiError::bad("operating system is not supported"));
    }
    let changes = params.all("changes");
    apply_changes(&mut RunConfig::default(), &changes)?;
    Ok(ImportOptions {
        name,
        message,
        changes,
        platform,
    })
}

/// Why something is not there, in the server's words too, as far as they are few.
async fn refused(url: &str, mut answer: Download) -> ApiError {
    const MAX_WORDS: usize = 8 * 1024;
    let status = answer.status();
    let mut words = Vec::new();
    while words.len() < MAX_WORDS
        && let Ok(Some(piece)) = answer.chunk().await
    {
        words.extend_from_slice(&piece);
    }
    words.truncate(MAX_WORDS);
    let words = String::from_utf8_lossy(&words);
    let text = format!("failed to GET {url} with status {status}: {}", words.trim());
    let code = match status.starts_with("404") {
        true => http::StatusCode::NOT_FOUND,
        false => http::StatusCode::INTERNAL_SERVER_ERROR,
    };
    ApiError::new(code, text)
}

async fn download(
    engine: &State,
    url: &str,
) -> Result<impl tokio::io::AsyncRead + Send + Unpin + use<>, ApiError> {
    let failed = |text: String| ApiError::new(http::StatusCode::INTERNAL_SERVER_ERROR, text);
    let answer = Download::open(engine.config.registry.clone(), url).await;
    let answer = answer.map_err(|error| failed(error.to_string()))?;
    if !answer.is_success() {
        return Err(refused(url, answer).await);
    }
    let pieces = futures_util::stream::try_unfold(answer, |mut answer| async move {
        let piece = answer.chunk().await.map_err(io::Error::other)?;
        Ok::<_, io::Error>(piece.map(|piece| (piece, answer)))
    });
    Ok(StreamReader::new(pieces.boxed()))
}
