//! `stats`.

use axum::Extension;
use axum::extract::Path;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::Value;
use wharf_engine::{StatsSample, StatsStream};

use super::State;
use crate::error::ApiError;
use crate::params::Params;
use crate::peer::Peer;
use crate::reply::{self, Answer};
use crate::version::{ApiVersion, Asked};
use crate::{compat, convert};

pub(crate) async fn stats(
    engine: State,
    Extension(Asked { version, .. }): Extension<Asked>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    params: Params,
) -> Answer {
    let stream = params.flag_or("stream", true);
    let once = params.flag("one-shot");
    if stream && once {
        return Err(ApiError::bad("cannot have stream=true and one-shot=true"));
    }
    let mut samples = engine.containers.stats(&id)?;
    if stream {
        let body = lines(samples, version).take_until(peer.last());
        return Ok(reply::stream("application/json", body));
    }
    if !samples.is_running() {
        return reply::ok(&document(&samples.empty(), None, version)?);
    }
    if once {
        let sample = engine.containers.stats_once(&id).await?;
        return reply::ok(&document(&sample, None, version)?);
    }
    // The share of processor time needs two.
    let gone = || ApiError::from(wharf_engine::EngineError::NoSuchContainer(id.clone()));
    let first = samples.next().await.ok_or_else(gone)??;
    let second = samples.next().await.ok_or_else(gone)??;
    reply::ok(&document(&second, Some(&first), version)?)
}

fn document(
    sample: &StatsSample,
    before: Option<&StatsSample>,
    version: ApiVersion,
) -> Result<Value, ApiError> {
    let document = convert::stats(sample, before);
    let mut document =
        serde_json::to_value(&document).map_err(|error| ApiError::bad(error.to_string()))?;
    compat::stats(&mut document, version);
    Ok(document)
}

fn lines(
    samples: StatsStream,
    version: ApiVersion,
) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> {
    let start = Some((samples, None::<StatsSample>));
    futures_util::stream::unfold(start, move |state| async move {
        let (mut samples, before) = state?;
        let failed = |text: String| Some((Err(std::io::Error::other(text)), None));
        let sample = match samples.next().await? {
            Ok(sample) => sample,
            Err(error) => return failed(error.message()),
        };
        match document(&sample, before.as_ref(), version) {
            Ok(document) => {
                let mut line = document.to_string();
                line.push('\n');
                Some((Ok(line.into()), Some((samples, Some(sample)))))
            }
            Err(error) => failed(error.message),
        }
    })
}
