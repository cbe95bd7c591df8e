//! `/containers/{id}/checkpoints`: experimental in Docker, and made by CRIU, which wharf does not drive.
//!
//! Without `experimental` the answers are dockerd's. With it there are no checkpoints: they are listed as none, and to
//! make one is refused.

use axum::extract::{Path, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;

use super::State;
use crate::error::ApiError;
use crate::params::Params;
use crate::reply::{self, Answer};

const DISABLED: &str = "This experimental feature is disabled by default. Start the Docker daemon in experimental mode in order to enable it.";

/// Before the handlers of what is experimental (moby `api/server/router/experimental.go`).
pub(super) async fn enabled(engine: State, request: Request, next: Next) -> Response {
    match engine.settings().experimental {
        true => next.run(request).await,
        false => ApiError::new(StatusCode::NOT_IMPLEMENTED, DISABLED).into_response(),
    }
}

pub(super) async fn list(engine: State, Path(id): Path<String>) -> Answer {
    engine.containers.inspect(&id)?;
    // As Go writes a list that nothing was put into.
    reply::ok(&serde_json::Value::Null)
}

pub(super) async fn create(engine: State, Path(id): Path<String>) -> Answer {
    let view = engine.containers.inspect(&id)?;
    if !view.state.running {
        let text = format!("container {} is not running", view.id);
        return Err(ApiError::new(StatusCode::CONFLICT, text));
    }
    Err(ApiError::not_implemented("a checkpoint"))
}

pub(super) async fn remove(
    engine: State,
    Path((id, checkpoint)): Path<(String, String)>,
) -> Answer {
    engine.containers.inspect(&id)?;
    let text = format!("checkpoint {checkpoint} does not exist for container {id}");
    Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, text))
}

/// What `POST /containers/{id}/start` says of a checkpoint to start from.
///
/// # Errors
/// If it names one: there is none.
pub(super) fn of_start(engine: &State, id: &str, params: &Params) -> Result<(), ApiError> {
    let Some(checkpoint) = params.some("checkpoint") else {
        return match params.some("checkpoint-dir") {
            Some(_) => Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "custom checkpointdir is not supported",
            )),
            None => Ok(()),
        };
    };
    if !engine.settings().experimental {
        return Err(ApiError::bad(
            "checkpoint is only supported in experimental mode",
        ));
    }
    let view = engine.containers.inspect(id)?;
    let text = format!(
        "checkpoint {checkpoint} does not exist for container /{}",
        view.name
    );
    Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, text))
}
