//! A container's files: `archive`, `changes`, `export`.

use axum::body::Body;
use axum::extract::{Path, Request};
use axum::response::Response;
use base64::Engine as _;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::{HeaderName, HeaderValue, StatusCode};
use tokio_util::io::StreamReader;
use wharf_api_types::{ContainerPathStat, FilesystemChange};
use wharf_engine::{ChangeKind, ExtractOptions, FileStream, PathStat};

use super::State;
use crate::error::ApiError;
use crate::params::Params;
use crate::reply::{self, Answer};

const PATH_STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");

/// The path that the request is about.
fn path(params: &Params) -> Result<String, ApiError> {
    let missing = || ApiError::bad("bad parameter: pathcannot be empty");
    params.some("path").ok_or_else(missing)
}

pub(crate) async fn head(engine: State, Path(id): Path<String>, params: Params) -> Answer {
    let stat = engine.containers.path_stat(&id, &path(&params)?).await?;
    let mut response = Response::new(Body::empty());
    describe(&mut response, &stat)?;
    Ok(response)
}

pub(crate) async fn get(engine: State, Path(id): Path<String>, params: Params) -> Answer {
    let (stat, stream) = engine.containers.read_archive(&id, &path(&params)?).await?;
    let mut response = reply::stream("application/x-tar", pieces(stream));
    describe(&mut response, &stat)?;
    Ok(response)
}

pub(crate) async fn put(
    engine: State,
    Path(id): Path<String>,
    params: Params,
    request: Request,
) -> Answer {
    let path = path(&params)?;
    let options = ExtractOptions {
        container_user: params.flag("copyUIDGID"),
        keep_kinds: params.flag("noOverwriteDirNonDir"),
    };
    let body = request.into_body().into_data_stream();
    let archive = StreamReader::new(body.map_err(std::io::Error::other).boxed());
    let containers = &engine.containers;
    containers
        .write_archive(&id, &path, options, archive)
        .await?;
    reply::empty(StatusCode::OK)
}

pub(crate) async fn export(engine: State, Path(id): Path<String>) -> Answer {
    let stream = engine.containers.export(&id).await?;
    Ok(reply::stream("application/octet-stream", pieces(stream)))
}

pub(crate) async fn changes(engine: State, Path(id): Path<String>) -> Answer {
    let changes = engine.containers.changes(&id).await?;
    let rows: Vec<_> = changes
        .into_iter()
        .map(|change| FilesystemChange {
            path: change.path.to_string_lossy().into_owned(),
            kind: match change.kind {
                ChangeKind::Modified => 0,
                ChangeKind::Added => 1,
                ChangeKind::Deleted => 2,
            },
        })
        .collect();
    // Docker's `null` for none.
    reply::ok(&Some(rows).filter(|rows| !rows.is_empty()))
}

pub(super) fn pieces(
    stream: FileStream,
) -> impl futures_util::Stream<Item = Result<bytes::Bytes, std::io::Error>> {
    futures_util::stream::unfold(stream, |mut stream| async move {
        stream.next().await.map(|piece| (piece, stream))
    })
}

/// Puts the stat into the header, as JSON in base64.
fn describe(response: &mut Response, stat: &PathStat) -> Result<(), ApiError> {
    let stat = ContainerPathStat {
        name: stat.name.clone(),
        size: stat.size,
        mode: go_mode(stat.mode),
        mtime: stat
            .modified
            .map(|time| time.to_string())
            .unwrap_or_default(),
        link_target: stat.link_target.clone(),
    };
    let bad = |error: &dyn std::error::Error| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    };
    let json = serde_json::to_vec(&stat).map_err(|error| bad(&error))?;
    let text = base64::engine::general_purpose::STANDARD.encode(json);
    let value = HeaderValue::from_str(&text).map_err(|error| bad(&error))?;
    response.headers_mut().insert(PATH_STAT, value);
    Ok(())
}

/// Go's `os.FileMode` of the bits of `stat(2)`.
fn go_mode(mode: u32) -> u32 {
    const TYPES: &[(u32, u32)] = &[
        (0o040_000, 1 << 31),
        (0o120_000, 1 << 27),
        (0o060_000, 1 << 26),
        (0o020_000, 1 << 26 | 1 << 21),
        (0o010_000, 1 << 25),
        (0o140_000, 1 << 24),
    ];
    const SPECIAL: &[(u32, u32)] = &[(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let kind = TYPES.iter().find(|(bits, _)| mode & 0o170_000 == *bits);
    let special = SPECIAL.iter().filter(|(bits, _)| mode & bits != 0);
    let special: u32 = special.map(|(_, go)| go).sum();
    mode & 0o777 | kind.map_or(0, |(_, go)| *go) | special
}

#[cfg(test)]
mod tests {
    use super::go_mode;

    #[test]
    fn modes_are_gos() {
        assert_eq!(go_mode(0o100_644), 420);
        assert_eq!(go_mode(0o040_755), 2_147_484_141);
        assert_eq!(go_mode(0o041_777), 2_148_532_735);
        assert_eq!(go_mode(0o120_777), 134_218_239);
        assert_eq!(go_mode(0o020_666), (1 << 26 | 1 << 21) + 0o666);
        assert_eq!(go_mode(0o104_755), (1 << 23) + 0o755);
    }
}
