//! `/volumes`.

use axum::Extension;
use axum::extract::{Path, Request};
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::StatusCode;
use tokio_util::io::StreamReader;
use wharf_api_types::{VolumeCreateRequest, VolumeListResponse, VolumePruneResponse};
use wharf_volumes::NewVolume;

use super::{State, prune};
use crate::convert;
use crate::error::ApiError;
use crate::params::{OptionalJson, Params};
use crate::reply::{self, Answer};
use crate::version::Asked;

pub(crate) async fn list(engine: State, params: Params) -> Answer {
    let filters = params.filters().map_err(|error| {
        ApiError::bad(format!("error reading volume filters: {}", error.message))
    })?;
    let listed = engine.volumes.list(&filters).await?;
    reply::ok(&VolumeListResponse {
        volumes: listed.volumes.into_iter().map(convert::volume).collect(),
        warnings: Some(listed.warnings).filter(|warnings| !warnings.is_empty()),
    })
}

pub(crate) async fn create(
    engine: State,
    OptionalJson(request): OptionalJson<VolumeCreateRequest>,
) -> Answer {
    let VolumeCreateRequest {
        name,
        driver,
        driver_opts,
        labels,
        cluster_volume_spec,
    } = request;
    if cluster_volume_spec.is_some() {
        return Err(super::swarm::no_manager().await);
    }
    let new = NewVolume {
        name,
        driver,
        options: driver_opts,
        labels,
        ..NewVolume::default()
    };
    let volume = engine.volumes.create(new).await?;
    Ok(reply::json(StatusCode::CREATED, &convert::volume(volume)))
}

pub(crate) async fn inspect(engine: State, Path(name): Path<String>) -> Answer {
    reply::ok(&convert::volume(engine.volumes.inspect(&name).await?))
}

/// The name is all that follows the slash: here nothing does.
pub(crate) async fn nameless() -> Answer {
    Err(ApiError::new(StatusCode::NOT_FOUND, "get: no such volume"))
}

/// Only volumes of a swarm can be changed; whether there is one of this name is not asked.
pub(crate) async fn update() -> Answer {
    Err(ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "volume update only valid for cluster volumes, but swarm is unavailable",
    ))
}

pub(crate) async fn remove(engine: State, Path(name): Path<String>, params: Params) -> Answer {
    engine.volumes.remove(&name, params.flag("force")).await?;
    reply::empty(StatusCode::NO_CONTENT)
}

/// Not Docker's: all files of a volume.
pub(crate) async fn export(engine: State, Path(name): Path<String>) -> Answer {
    let stream = engine.volumes.export(&name).await?;
    Ok(reply::stream(
        "application/x-tar",
        super::files::pieces(stream),
    ))
}

/// Not Docker's: files from an archive into a volume.
pub(crate) async fn import(engine: State, Path(name): Path<String>, request: Request) -> Answer {
    let body = request.into_body().into_data_stream();
    let archive = StreamReader::new(body.map_err(std::io::Error::other).boxed());
    engine.volumes.import(&name, archive).await?;
    reply::empty(StatusCode::NO_CONTENT)
}

pub(crate) async fn prune(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    params: Params,
) -> Answer {
    let mut filters = params.filters()?;
    if version.before(42) && !filters.has("all") {
        // Until then named volumes went too.
        filters.add("all", "true");
    }
    let work = |watcher| async move {
        let report = engine.volumes.prune(&filters, &watcher).await?;
        prune::document(&VolumePruneResponse {
            volumes_deleted: Some(report.deleted),
            space_reclaimed: report.reclaimed,
        })
    };
    prune::answer(version, &params, work).await
}
