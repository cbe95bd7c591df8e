//! Swarm and plugins, as a dockerd answers that is in no swarm and has no plugin.
//!
//! Wharf has neither, on purpose: what asks for the state of one gets the answer of a daemon without, what
//! would make one is refused.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::routing::{any, get, post};
use http::{Method, StatusCode};
use serde_json::json;
use wharf_engine::Engine;

use crate::error::ApiError;
use crate::reply;

/// The routes.
pub(super) fn routes() -> Router<Arc<Engine>> {
    let no_manager = || any(no_manager);
    Router::new()
        .route("/swarm", get(self::no_manager))
        .route("/swarm/init", post(no_swarm_mode))
        .route("/swarm/join", post(no_swarm_mode))
        .route("/swarm/leave", post(not_in_a_swarm))
        .route("/swarm/unlock", post(self::no_manager))
        .route("/swarm/{*rest}", no_manager())
        .route("/nodes", no_manager())
        .route("/nodes/{*rest}", no_manager())
        .route("/services", no_manager())
        .route("/services/{*rest}", no_manager())
        .route("/tasks", no_manager())
        .route("/tasks/{*rest}", no_manager())
        .route("/secrets", no_manager())
        .route("/secrets/{*rest}", no_manager())
        .route("/configs", no_manager())
        .route("/configs/{*rest}", no_manager())
        .route("/plugins", get(|| async { reply::ok(&json!([])) }))
        .route("/plugins/privileges", get(no_plugins))
        .route("/plugins/pull", post(no_plugins))
        .route("/plugins/create", post(no_plugins))
        .route("/plugins/{*rest}", any(no_such_plugin))
}

pub(super) async fn no_manager() -> ApiError {
    let text = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, text)
}

async fn not_in_a_swarm() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "This node is not part of a swarm",
    )
}

async fn no_swarm_mode() -> ApiError {
    ApiError::new(
        StatusCode::NOT_IMPLEMENTED,
        "swarm mode is not supported by wharf",
    )
}

async fn no_plugins() -> ApiError {
    ApiError::new(
        StatusCode::NOT_IMPLEMENTED,
        "plugins are not supported by wharf",
    )
}

/// Names have slashes; the verb is the last part. What has none is a name to remove.
async fn no_such_plugin(request: Request) -> ApiError {
    let rest = request.uri().path().trim_start_matches("/plugins/");
    let verbs: &[&str] = match *request.method() {
        Method::GET => &["json"],
        Method::POST => &["enable", "disable", "upgrade", "push", "set"],
        Method::DELETE => &[],
        _ => return ApiError::no_page(),
    };
    let name = match rest.rsplit_once('/') {
        Some((name, verb)) if verbs.contains(&verb) => name,
        _ if verbs.is_empty() => rest,
        _ => return ApiError::no_page(),
    };
    ApiError::new(
        StatusCode::NOT_FOUND,
        format!("plugin \"{name}\" not found"),
    )
}
