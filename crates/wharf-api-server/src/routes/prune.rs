//! Answers of the prunes: one report at the end, or from 1.56 on, where `stream` is asked for, also a line for each object
//! as it goes.

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;
use wharf_api_types::ErrorDetail;
use wharf_engine::{EngineError, PruneWatcher, Pruned};

use crate::error::ApiError;
use crate::params::Params;
use crate::reply::{self, Answer};
use crate::version::ApiVersion;

/// The answer of `work`, which makes the report. A failure before the first line is an ordinary error; a later one is
/// the stream's last line, as the status is on its way.
pub(super) async fn answer<F>(
    version: ApiVersion,
    params: &Params,
    work: impl FnOnce(PruneWatcher) -> F,
) -> Answer
where
    F: Future<Output = Result<Value, ApiError>> + Send + 'static,
{
    if version.before(56) || !params.flag("stream") {
        return reply::ok(&work(PruneWatcher::default()).await?);
    }
    let (watcher, mut told) = PruneWatcher::channel();
    // Aborted when the client, and with it this stream, is gone.
    let work = AbortOnDropHandle::new(tokio::spawn(work(watcher)));
    let Some(first) = told.recv().await else {
        let report = ended(work).await?;
        let only = futures_util::stream::iter([Ok(line(&json!({ "aux": report })))]);
        return Ok(reply::stream("application/jsonl", only));
    };
    let rest = futures_util::stream::unfold(Some((work, told)), |state| async move {
        let (work, mut told) = state?;
        if let Some(pruned) = told.recv().await {
            return Some((Ok(line(&progress(&pruned))), Some((work, told))));
        }
        let last = match ended(work).await {
            Ok(report) => json!({ "aux": report }),
            Err(error) => json!({ "errorDetail": detail(error) }),
        };
        Some((Ok(line(&last)), None))
    });
    let first = futures_util::stream::iter([Ok(line(&progress(&first)))]);
    Ok(reply::stream("application/jsonl", first.chain(rest)))
}

fn progress(pruned: &Pruned) -> Value {
    json!({ "id": pruned.id, "status": pruned.status })
}

fn detail(error: ApiError) -> ErrorDetail {
    ErrorDetail {
        code: i64::from(error.status.as_u16()),
        message: wharf_sys::words::plain(&error.message),
    }
}

/// JSON Lines end with a newline alone.
fn line(document: &Value) -> bytes::Bytes {
    format!("{document}\n").into()
}

async fn ended(work: AbortOnDropHandle<Result<Value, ApiError>>) -> Result<Value, ApiError> {
    let ended = work.await;
    ended.unwrap_or_else(|error| {
        let text = format!("the work ended early: {error}");
        Err(EngineError::Failed(text).into())
    })
}

/// A report as the document that it is.
pub(super) fn document(report: &impl serde::Serialize) -> Result<Value, ApiError> {
    serde_json::to_value(report).map_err(|error| ApiError::bad(error.to_string()))
}
