//! `/exec`.

use axum::Extension;
use axum::extract::{FromRequest as _, Path, Request};
use http::{StatusCode, header};
use wharf_api_types::{ExecCreateRequest, ExecStartRequest, IdResponse};
use wharf_engine::{EngineError, ExecStartOptions};

use super::State;
use super::containers::terminal_size;
use crate::params::{OptionalJson, Params};
use crate::peer::Peer;
use crate::reply::{self, Answer};
use crate::version::Asked;
use crate::{compat, convert, hijack};

pub(crate) async fn create(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    Path(id): Path<String>,
    OptionalJson(mut request): OptionalJson<ExecCreateRequest>,
) -> Answer {
    compat::exec_size(&mut request.console_size, version);
    let id = engine
        .containers
        .exec_create(&id, convert::new_exec(request))
        .await?;
    Ok(reply::json(StatusCode::CREATED, &IdResponse { id }))
}

pub(crate) async fn start(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    Path(id): Path<String>,
    mut request: Request,
) -> Answer {
    // The body is read by itself: the connection below it is needed afterwards.
    let upgrade = request
        .extensions_mut()
        .remove::<hyper::upgrade::OnUpgrade>();
    let headers = request.headers().clone();
    let peer = request.extensions().get::<Peer>().cloned();
    let OptionalJson(mut body) =
        OptionalJson::<ExecStartRequest>::from_request(request, &()).await?;
    compat::exec_size(&mut body.console_size, version);
    let options = ExecStartOptions {
        detach: body.detach,
        tty: body.tty,
        console_size: convert::console_size(body.console_size),
    };
    let started = engine.containers.exec_start(&id, options).await;
    let attachment = match started {
        Ok(Some(attachment)) => attachment,
        Ok(None) => return reply::empty(StatusCode::OK),
        // A program that cannot be started says so where its output would be, as with dockerd; the code is in
        // the session.
        Err(error) if !options.detach && is_said(&error) => {
            let upgrade = upgrade.filter(|_| headers.contains_key(header::UPGRADE));
            let (tty, text) = (options.tty, error.message());
            return Ok(hijack::say(upgrade, peer, version, tty, &text));
        }
        Err(error) => return Err(error.into()),
    };
    let mut rest = Request::new(axum::body::Body::empty());
    *rest.headers_mut() = headers;
    if let Some(upgrade) = upgrade {
        rest.extensions_mut().insert(upgrade);
    }
    if let Some(peer) = peer {
        rest.extensions_mut().insert(peer);
    }
    Ok(hijack::attach(&mut rest, version, attachment))
}

/// Whether dockerd finds the error when it has given the connection away.
fn is_said(error: &EngineError) -> bool {
    match error {
        EngineError::Start { .. } => true,
        EngineError::Conflict(text) => text.starts_with("Error: Exec command"),
        _ => false,
    }
}

pub(crate) async fn resize(engine: State, Path(id): Path<String>, params: Params) -> Answer {
    let (rows, columns) = terminal_size(&params)?;
    engine.containers.exec_resize(&id, rows, columns).await?;
    reply::empty(StatusCode::OK)
}

pub(crate) async fn inspect(engine: State, Path(id): Path<String>) -> Answer {
    reply::ok(&convert::exec_inspect(engine.containers.exec_inspect(&id)?))
}
