//! The routes, one file for each resource.

mod build;
mod buildkit;
mod checkpoints;
mod commit;
mod containers;
mod debug;
mod exec;
mod files;
mod images;
mod local_registry;
mod networks;
mod prune;
mod registry;
mod stats;
mod streams;
mod swarm;
mod system;
mod volumes;

pub(crate) use images::{identity, platform};

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get, post};
use wharf_buildkit::BuildKit;
use wharf_engine::Engine;
use wharf_solver::Classic;

use crate::error::ApiError;
use crate::version;

/// What every handler has.
pub(crate) type State = axum::extract::State<Arc<Engine>>;

/// All routes.
pub(crate) fn all(engine: Arc<Engine>, builder: Classic, buildkit: BuildKit) -> Router {
    Router::new()
        .merge(system())
        .merge(debug::routes())
        .merge(checkpoints(&engine))
        .merge(containers())
        .merge(images())
        .merge(builds(builder))
        .merge(others())
        .merge(swarm::routes())
        // A path that is none is told of before a version that is none, as with dockerd.
        .route_layer(axum::middleware::from_fn(version::check))
        .layer(axum::Extension(buildkit))
        .fallback(|| async { ApiError::no_page() })
        .method_not_allowed_fallback(|| async { ApiError::no_page() })
        .with_state(engine)
}

fn system() -> Router<Arc<Engine>> {
    Router::new()
        .route("/_ping", get(system::ping).head(system::ping))
        .route("/version", get(system::version))
        .route("/info", get(system::info))
        .route("/events", get(system::events))
        .route("/system/df", get(system::df))
}

fn checkpoints(engine: &Arc<Engine>) -> Router<Arc<Engine>> {
    let enabled = axum::middleware::from_fn_with_state(engine.clone(), checkpoints::enabled);
    Router::new()
        .route(
            "/containers/{id}/checkpoints",
            get(checkpoints::list).post(checkpoints::create),
        )
        .route(
            "/containers/{id}/checkpoints/{checkpoint}",
            axum::routing::delete(checkpoints::remove),
        )
        .route_layer(enabled)
}

fn containers() -> Router<Arc<Engine>> {
    Router::new()
        .route("/commit", post(commit::commit))
        .route("/containers/json", get(containers::list))
        .route("/containers/create", post(containers::create))
        .route("/containers/prune", post(containers::prune))
        .route(
            "/containers/{id}",
            axum::routing::delete(containers::remove),
        )
        .route("/containers/{id}/json", get(containers::inspect))
        .route("/containers/{id}/start", post(containers::start))
        .route("/containers/{id}/stop", post(containers::stop))
        .route("/containers/{id}/restart", post(containers::restart))
        .route("/containers/{id}/kill", post(containers::kill))
        .route("/containers/{id}/pause", post(containers::pause))
        .route("/containers/{id}/unpause", post(containers::unpause))
        .route("/containers/{id}/rename", post(containers::rename))
        .route("/containers/{id}/resize", post(containers::resize))
        .route("/containers/{id}/update", post(containers::update))
        .route("/containers/{id}/wait", post(containers::wait))
        .route("/containers/{id}/top", get(containers::top))
        .route("/containers/{id}/attach", post(streams::attach))
        .route("/containers/{id}/attach/ws", get(streams::attach_websocket))
        .route("/containers/{id}/logs", get(streams::logs))
        // Not Docker's: below a prefix of our own.
        .route(
            "/wharf/containers/{id}/logs",
            axum::routing::delete(streams::clear),
        )
        .route("/containers/{id}/stats", get(stats::stats))
        .route(
            "/containers/{id}/archive",
            get(files::get).head(files::head).put(files::put),
        )
        .route("/containers/{id}/changes", get(files::changes))
        .route("/containers/{id}/export", get(files::export))
        .route("/containers/{id}/exec", post(exec::create))
        .route("/exec/{id}/start", post(exec::start))
        .route("/exec/{id}/resize", post(exec::resize))
        .route("/exec/{id}/json", get(exec::inspect))
}

fn images() -> Router<Arc<Engine>> {
    Router::new()
        .route("/images/json", get(images::list))
        .route("/images/create", post(images::create))
        .route("/images/load", post(images::load))
        .route("/images/get", get(images::save_several))
        .route("/images/search", get(images::search))
        // Not Docker's: below a prefix of our own.
        .route("/wharf/system/check", post(system::check))
        .route("/wharf/tags/{*rest}", get(registry::tags))
        .route("/wharf/registry", post(local_registry::serve))
        .route("/images/prune", post(images::prune))
        .route("/auth", post(registry::auth))
        .route("/distribution/{*rest}", get(registry::distribution))
        // Names have slashes, so what follows them is told apart by hand.
        .route("/images/{*rest}", any(images::named))
}

fn builds(builder: Classic) -> Router<Arc<Engine>> {
    Router::new()
        .route("/build", post(build::build))
        .route("/build/prune", post(build::prune))
        .route("/build/cancel", post(build::cancel))
        .route("/grpc", post(buildkit::grpc))
        .route("/session", post(buildkit::session))
        .layer(axum::Extension(builder))
}

fn others() -> Router<Arc<Engine>> {
    Router::new()
        .route("/volumes", get(volumes::list))
        .route("/volumes/", get(volumes::nameless))
        .route("/volumes/create", post(volumes::create))
        .route("/volumes/prune", post(volumes::prune))
        .route(
            "/volumes/{name}",
            get(volumes::inspect)
                .put(volumes::update)
                .delete(volumes::remove),
        )
        // Not Docker's: below a prefix of our own.
        .route("/wharf/volumes/{name}/export", get(volumes::export))
        .route("/wharf/volumes/{name}/import", post(volumes::import))
        .route("/networks", get(networks::list))
        .route("/networks/", get(networks::list))
        .route("/networks/create", post(networks::create))
        .route("/networks/prune", post(networks::prune))
        .route(
            "/networks/{id}",
            get(networks::inspect).delete(networks::remove),
        )
        .route("/networks/{id}/connect", post(networks::connect))
        .route("/networks/{id}/disconnect", post(networks::disconnect))
}
