//! `/networks`.

use axum::Extension;
use axum::extract::Path;
use http::StatusCode;
use wharf_api_types::{
    NetworkConnectRequest, NetworkCreateRequest, NetworkCreateResponse, NetworkDisconnectRequest,
    NetworkPruneResponse,
};

use super::{State, prune};
use crate::compat;
use crate::convert;
use crate::error::ApiError;
use crate::params::{OptionalJson, Params};
use crate::reply::{self, Answer};
use crate::version::Asked;

pub(crate) async fn list(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    params: Params,
) -> Answer {
    let networks = engine.networks.list(&params.filters()?)?;
    let row = |network: &_| convert::network(network, None, None);
    let rows: Vec<_> = networks.iter().map(row).collect();
    let rows = serde_json::to_value(rows);
    let mut rows = rows.map_err(|error| ApiError::bad(error.to_string()))?;
    compat::network_list(&mut rows, version);
    reply::ok(&rows)
}

pub(crate) async fn inspect(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    Path(id): Path<String>,
    params: Params,
) -> Answer {
    // Services are all that `verbose` adds, and there are none without a swarm.
    let verbose = params.get("verbose");
    if !verbose.is_empty() && wharf_go::parse_bool(verbose).is_err() {
        return Err(ApiError::bad(format!(
            "invalid value for verbose: {verbose}: strconv.ParseBool: parsing {verbose:?}: invalid syntax"
        )));
    }
    let gone = || ApiError::new(StatusCode::NOT_FOUND, format!("network {id} not found"));
    if !matches!(params.get("scope"), "" | "local") {
        return Err(gone());
    }
    let network = engine.networks.inspect(&id)?;
    let endpoints = engine.networks.endpoints(&network);
    let usage = engine.networks.usage(&network);
    let row = convert::network(&network, Some(endpoints), Some(usage));
    let mut document =
        serde_json::to_value(&row).map_err(|error| ApiError::bad(error.to_string()))?;
    compat::network_inspect(&mut document, version);
    reply::ok(&document)
}

pub(crate) async fn create(
    engine: State,
    OptionalJson(request): OptionalJson<NetworkCreateRequest>,
) -> Answer {
    let new = convert::new_network(request)?;
    let network = engine.networks.create(new).await?;
    let body = NetworkCreateResponse {
        id: network.id,
        warning: String::new(),
    };
    Ok(reply::json(StatusCode::CREATED, &body))
}

pub(crate) async fn remove(engine: State, Path(id): Path<String>) -> Answer {
    engine.networks.remove(&id).await?;
    reply::empty(StatusCode::NO_CONTENT)
}

pub(crate) async fn prune(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    params: Params,
) -> Answer {
    let filters = params.filters()?;
    let work = |watcher| async move {
        let report = engine.networks.prune(&filters, &watcher).await?;
        prune::document(&NetworkPruneResponse {
            networks_deleted: convert::nil(report.deleted),
        })
    };
    prune::answer(version, &params, work).await
}

pub(crate) async fn connect(
    engine: State,
    Path(id): Path<String>,
    OptionalJson(request): OptionalJson<NetworkConnectRequest>,
) -> Answer {
    let NetworkConnectRequest {
        container,
        endpoint_config,
    } = request;
    named(&container)?;
    let settings = convert::endpoint(endpoint_config.unwrap_or_default())?;
    engine.networks.connect(&id, &container, settings).await?;
    reply::empty(StatusCode::OK)
}

pub(crate) async fn disconnect(
    engine: State,
    Path(id): Path<String>,
    OptionalJson(request): OptionalJson<NetworkDisconnectRequest>,
) -> Answer {
    let NetworkDisconnectRequest { container, force } = request;
    named(&container)?;
    engine.networks.disconnect(&id, &container, force).await?;
    reply::empty(StatusCode::OK)
}

fn named(container: &str) -> Result<(), ApiError> {
    match container.is_empty() {
        true => Err(ApiError::bad("invalid name or ID supplied: \"\"")),
        false => Ok(()),
    }
}
