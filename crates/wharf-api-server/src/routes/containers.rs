//! `/containers`: all but the streams.

use std::collections::HashMap;

use axum::Extension;
use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use wharf_api_types::{
    ContainerCreateRequest, ContainerCreateResponse, ContainerPruneResponse, ContainerTopResponse,
    ContainerUpdateRequest, ContainerUpdateResponse, ContainerWaitError, ContainerWaitResponse,
    OciDescriptor,
};
use wharf_engine::{Engine, ListOptions, RemoveOptions, StopOptions, Update, WaitCondition};
use wharf_oci::Digest;

use super::{State, prune};
use crate::error::ApiError;
use crate::params::{Json, OptionalJson, Params};
use crate::reply::{self, Answer};
use crate::version::Asked;
use crate::{compat, convert};

pub(crate) async fn list(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    params: Params,
) -> Answer {
    let limit: Option<i64> = params.number("limit")?;
    let filters = params.filters()?;
    if version.before(56) && filters.has("annotation") {
        return Err(ApiError::bad("invalid filter 'annotation'"));
    }
    let options = ListOptions {
        all: params.flag("all"),
        limit: limit
            .filter(|limit| *limit > 0)
            .and_then(|limit| limit.try_into().ok()),
        size: params.flag("size"),
        filters,
    };
    let listed = engine.containers.list(options).await?;
    let mut rows = Vec::new();
    let mut manifests = HashMap::new();
    for listed in listed {
        let image = listed.view.image;
        let mut row = convert::container_summary(listed);
        if !version.before(48) {
            let manifest = manifests.entry(image);
            let manifest = manifest.or_insert_with_key(|image| manifest_of(&engine, image));
            row.image_manifest_descriptor.clone_from(manifest);
        }
        compat::container_summary(&mut row, version);
        rows.push(row);
    }
    reply::ok(&rows)
}

pub(crate) async fn create(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    params: Params,
    Json(mut request): Json<ContainerCreateRequest>,
) -> Answer {
    if request.config == wharf_api_types::ContainerConfig::default() {
        let text = "config cannot be empty in order to create a container";
        return Err(ApiError::bad(text));
    }
    let mut warnings = compat::container_create(&mut request, version)?;
    let mut new = convert::new_container(params.some("name"), params.get("platform"), request)?;
    new.binds_top_read_only = version.before(44);
    let created = engine.containers.create(new).await?;
    let body = ContainerCreateResponse {
        id: created.id,
        warnings: {
            warnings.splice(0..0, created.warnings);
            warnings
        },
    };
    Ok(reply::json(StatusCode::CREATED, &body))
}

pub(crate) async fn inspect(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    Path(id): Path<String>,
    params: Params,
) -> Answer {
    let view = engine.containers.inspect(&id)?;
    let size = match params.flag("size") {
        true => Some(engine.containers.size(&id).await?),
        false => None,
    };
    let mut inspect = convert::container_inspect(&view, size);
    if !version.before(48) {
        inspect.image_manifest_descriptor = manifest_of(&engine, &view.image);
    }
    compat::container_inspect(&mut inspect, version);
    reply::ok(&inspect)
}

/// The manifest of a container's image, which may be gone.
fn manifest_of(engine: &Engine, image: &Digest) -> Option<OciDescriptor> {
    let manifest = engine.images.store().manifest_of(image)?;
    Some(convert::descriptor(&manifest))
}

pub(crate) async fn start(
    engine: State,
    Path(id): Path<String>,
    params: Params,
    headers: http::HeaderMap,
) -> Answer {
    // moby's rule: more than `null` or `{}` and a line end is a configuration.
    let length = headers.get(http::header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let is_chunked = headers.contains_key(http::header::TRANSFER_ENCODING);
    if is_chunked || length.is_some_and(|length: u64| length > 7) {
        let text = "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24";
        return Err(ApiError::bad(text));
    }
    super::checkpoints::of_start(&engine, &id, &params)?;
    engine.containers.start(&id).await?;
    reply::empty(StatusCode::NO_CONTENT)
}

fn stop_options(params: &Params) -> Result<StopOptions, ApiError> {
    Ok(StopOptions {
        signal: params.some("signal"),
        timeout: params.number("t")?,
    })
}

pub(crate) async fn stop(engine: State, Path(id): Path<String>, params: Params) -> Answer {
    engine.containers.stop(&id, stop_options(&params)?).await?;
    reply::empty(StatusCode::NO_CONTENT)
}

pub(crate) async fn restart(engine: State, Path(id): Path<String>, params: Params) -> Answer {
    engine
        .containers
        .restart(&id, stop_options(&params)?)
        .await?;
    reply::empty(StatusCode::NO_CONTENT)
}

pub(crate) async fn kill(engine: State, Path(id): Path<String>, params: Params) -> Answer {
    engine.containers.kill(&id, params.get("signal")).await?;
    reply::empty(StatusCode::NO_CONTENT)
}

pub(crate) async fn pause(engine: State, Path(id): Path<String>) -> Answer {
    engine.containers.pause(&id).await?;
    reply::empty(StatusCode::NO_CONTENT)
}

pub(crate) async fn unpause(engine: State, Path(id): Path<String>) -> Answer {
    engine.containers.unpause(&id).await?;
    reply::empty(StatusCode::NO_CONTENT)
}

pub(crate) async fn rename(engine: State, Path(id): Path<String>, params: Params) -> Answer {
    engine.containers.rename(&id, params.get("name")).await?;
    reply::empty(StatusCode::NO_CONTENT)
}

/// Height and width of a terminal.
/// The size of a terminal, which Go cuts off where the kernel's numbers end.
pub(crate) fn terminal_size(params: &Params) -> Result<(u16, u16), ApiError> {
    let side = |name: &str| {
        let missing = || ApiError::bad("strconv.Atoi: parsing \"\": invalid syntax");
        let number: i64 = params.number(name)?.ok_or_else(missing)?;
        let [low, high, ..] = number.to_le_bytes();
        Ok::<_, ApiError>(u16::from_le_bytes([low, high]))
    };
    Ok((side("h")?, side("w")?))
}

pub(crate) async fn resize(engine: State, Path(id): Path<String>, params: Params) -> Answer {
    let (rows, columns) = terminal_size(&params)?;
    engine.containers.resize(&id, rows, columns).await?;
    reply::empty(StatusCode::OK)
}

pub(crate) async fn update(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    Path(id): Path<String>,
    OptionalJson(request): OptionalJson<ContainerUpdateRequest>,
) -> Answer {
    let ContainerUpdateRequest {
        mut resources,
        restart_policy,
    } = request;
    compat::update(&mut resources, version);
    let policy = restart_policy.filter(|policy| !policy.name.is_empty());
    let asked = resources != wharf_api_types::Resources::default();
    let lists = convert::device_lists(&resources);
    let update = Update {
        lists,
        restart_policy: policy.map(convert::restart_policy).transpose()?,
        resources: asked.then(|| convert::resources(resources)).transpose()?,
    };
    let warnings = engine.containers.update(&id, update).await?;
    reply::ok(&ContainerUpdateResponse {
        warnings: convert::nil(warnings),
    })
}

pub(crate) async fn remove(engine: State, Path(id): Path<String>, params: Params) -> Answer {
    let options = RemoveOptions {
        force: params.flag("force"),
        volumes: params.flag("v"),
        link: params.flag("link"),
    };
    engine.containers.remove(&id, options).await?;
    reply::empty(StatusCode::NO_CONTENT)
}

/// The headers go at once, so that the client knows that we wait; the body when there is something to say.
pub(crate) async fn wait(engine: State, Path(id): Path<String>, params: Params) -> Answer {
    let condition = params.get("condition");
    let condition = WaitCondition::parse(condition)
        .ok_or_else(|| ApiError::bad(format!("invalid condition: {condition:?}")))?;
    let waiter = engine.containers.wait(&id, condition)?;
    let body = async move {
        let result = waiter.wait().await;
        let answer = ContainerWaitResponse {
            status_code: result.code.into(),
            error: result.error.map(|message| ContainerWaitError { message }),
        };
        let mut bytes = serde_json::to_vec(&answer)?;
        bytes.push(b'\n');
        Ok::<_, std::io::Error>(bytes)
    };
    let mut response = Response::new(Body::from_stream(futures_util::stream::once(body)));
    let json = http::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    Ok(response)
}

pub(crate) async fn top(engine: State, Path(id): Path<String>, params: Params) -> Answer {
    let top = engine.containers.top(&id, params.get("ps_args")).await?;
    reply::ok(&ContainerTopResponse {
        titles: top.titles,
        processes: top.processes,
    })
}

pub(crate) async fn prune(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    params: Params,
) -> Answer {
    let filters = params.filters()?;
    let work = |watcher| async move {
        let report = engine.containers.prune(&filters, &watcher).await?;
        prune::document(&ContainerPruneResponse {
            containers_deleted: Some(report.deleted).filter(|deleted| !deleted.is_empty()),
            space_reclaimed: report.reclaimed,
        })
    };
    prune::answer(version, &params, work).await
}
