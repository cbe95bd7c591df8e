//! `/grpc` and `/session`: connections that go on as HTTP/2.

use axum::Extension;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use hyper_util::rt::TokioIo;
use wharf_buildkit::BuildKit;

use crate::error::ApiError;
use crate::reply::Answer;

/// BuildKit's gRPC services, to the client.
pub(crate) async fn grpc(Extension(kit): Extension<BuildKit>, mut request: Request) -> Answer {
    asks_for_h2c(&request)?;
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(connection) => kit.serve(TokioIo::new(connection)).await,
            Err(error) => tracing::debug!(%error, "a client did not take its gRPC connection"),
        }
    });
    Ok(switching())
}

/// The client's own gRPC services, to us.
pub(crate) async fn session(Extension(kit): Extension<BuildKit>, mut request: Request) -> Answer {
    asks_for_h2c(&request)?;
    let session = kit.session(request.headers()).map_err(ApiError::bad)?;
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(connection) => session.serve(TokioIo::new(connection)).await,
            Err(error) => tracing::debug!(%error, "a client did not take its session"),
        }
    });
    let mut response = switching();
    // Ours asks for it: dockerd's classic builder takes no session.
    let offers = HeaderValue::from_static("classic");
    response.headers_mut().insert("Wharf-Session", offers);
    Ok(response)
}

fn asks_for_h2c(request: &Request) -> Result<(), ApiError> {
    let upgrade = request.headers().get(header::UPGRADE);
    let upgrade = upgrade.and_then(|value| value.to_str().ok());
    match upgrade {
        Some(protocol) if protocol.eq_ignore_ascii_case("h2c") => Ok(()),
        Some(protocol) => Err(ApiError::bad(format!("protocol {protocol} not supported"))),
        None => Err(ApiError::bad("no upgrade proto in request")),
    }
}

fn switching() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("h2c"));
    response
}
