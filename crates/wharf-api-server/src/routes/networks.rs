//! `/networks`: those that are built in.

use axum::extract::Path;
use http::StatusCode;
use wharf_network::Network;

use super::State;
use crate::convert;
use crate::error::ApiError;
use crate::params::Params;
use crate::reply::{self, Answer};

pub(crate) async fn list(engine: State, params: Params) -> Answer {
    let filters = params.filters()?;
    filters.check(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
    let dangling = filters.boolean("dangling")?;
    let wanted = |network: &Network| {
        filters.any("driver", |driver| network.driver.to_string() == driver)
            && filters.any("name", |name| network.name.contains(name))
            && filters.any("id", |id| network.id.contains(id))
            && filters.any("scope", |scope| scope == "local")
            && filters.any("type", |kind| kind == "builtin")
            && filters.labels("label", &network.labels)
            // The built-in ones never count as unused.
            && dangling != Some(true)
    };
    let networks = engine.networks.list();
    let rows: Vec<_> = networks
        .iter()
        .filter(|one| wanted(one))
        .map(|one| convert::network(one, None))
        .collect();
    reply::ok(&rows)
}

pub(crate) async fn inspect(engine: State, Path(id): Path<String>) -> Answer {
    let network = engine.networks.get(&id);
    let network = network
        .map_err(|_| ApiError::new(StatusCode::NOT_FOUND, format!("network {id} not found")))?;
    let endpoints = engine.networks.endpoints(&network.id);
    reply::ok(&convert::network(&network, Some(endpoints)))
}
