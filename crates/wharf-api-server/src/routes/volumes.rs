//! `/volumes`.

use axum::extract::Path;
use http::StatusCode;
use wharf_api_types::{VolumeCreateRequest, VolumeListResponse, VolumePruneResponse};
use wharf_volumes::NewVolume;

use super::State;
use crate::convert;
use crate::error::ApiError;
use crate::params::{Json, Params};
use crate::reply::{self, Answer};

pub(crate) async fn list(engine: State, params: Params) -> Answer {
    let volumes = engine.volumes.list(&params.filters()?)?;
    reply::ok(&VolumeListResponse {
        volumes: volumes.into_iter().map(convert::volume).collect(),
        warnings: None,
    })
}

pub(crate) async fn create(engine: State, Json(request): Json<VolumeCreateRequest>) -> Answer {
    let VolumeCreateRequest {
        name,
        driver,
        driver_opts,
        labels,
        cluster_volume_spec,
    } = request;
    if cluster_volume_spec.is_some() {
        return Err(ApiError::not_implemented("a cluster volume"));
    }
    let new = NewVolume {
        name,
        driver,
        options: driver_opts,
        labels,
        anonymous: false,
    };
    let volume = engine.volumes.create(new)?;
    Ok(reply::json(StatusCode::CREATED, &convert::volume(volume)))
}

pub(crate) async fn inspect(engine: State, Path(name): Path<String>) -> Answer {
    reply::ok(&convert::volume(engine.volumes.inspect(&name)?))
}

pub(crate) async fn remove(engine: State, Path(name): Path<String>, params: Params) -> Answer {
    engine.volumes.remove(&name, params.flag("force"))?;
    reply::empty(StatusCode::NO_CONTENT)
}

pub(crate) async fn prune(engine: State, params: Params) -> Answer {
    let report = engine.volumes.prune(&params.filters()?).await?;
    reply::ok(&VolumePruneResponse {
        volumes_deleted: Some(report.deleted).filter(|deleted| !deleted.is_empty()),
        space_reclaimed: report.reclaimed,
    })
}
