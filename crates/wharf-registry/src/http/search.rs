//! Docker's search of version 1, which `docker search HOST/TERM` asks for: `/v1/_ping`, `/v1/search`.

use http::{HeaderName, StatusCode};
use serde_json::json;

use super::Context;
use super::answer::Answer;
use crate::Error;
use crate::registry::blocking;

const STANDALONE: HeaderName = HeaderName::from_static("x-docker-registry-standalone");
const VERSION: HeaderName = HeaderName::from_static("x-docker-registry-version");
/// Docker Hub's limits of a page.
const PAGE: usize = 25;
const MAX_PAGE: usize = 100;

/// `GET /v1/_ping`: yes, there is an index here.
pub(super) fn ping() -> Answer {
    Answer::json(StatusCode::OK, b"true".as_slice())
        .with(VERSION, env!("CARGO_PKG_VERSION"))
        .with(STANDALONE, "true")
}

/// `GET /v1/search?q=TERM&n=25&page=1`: repositories whose name has the term.
pub(super) async fn search(context: &Context) -> Result<Answer, Error> {
    let term = context.query.get("q").unwrap_or_default().to_lowercase();
    let size = context.query.limit()?.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let page = context
        .query
        .get("page")
        .and_then(|text| text.parse::<usize>().ok())
        .unwrap_or(1)
        .max(1);
    let (store, wanted) = (context.shared.store.clone(), term.clone());
    let (total, results) = blocking(move || {
        let mut names = store.repositories("", usize::MAX)?;
        names.retain(|name| name.as_str().contains(&wanted));
        // Who asks for "box" means "box" before "a/toolbox-old".
        names.sort_by_key(|name| {
            (
                name.as_str().rsplit('/').next() != Some(&wanted),
                name.as_str().len(),
            )
        });
        let total = names.len();
        let shown = names
            .iter()
            .skip((page - 1).saturating_mul(size))
            .take(size);
        let results: Result<Vec<_>, Error> = shown
            .map(|name| {
                Ok(json!({
                    "name": name.as_str(),
                    "description": store.description(name)?.unwrap_or_default(),
                    "star_count": 0,
                    "is_official": false,
                    "is_automated": false,
                }))
            })
            .collect();
        Ok((total, results?))
    })
    .await?;
    let body = json!({
        "query": term,
        "num_results": total,
        "num_pages": total.div_ceil(size),
        "page": page,
        "page_size": size,
        "results": results,
    });
    Ok(Answer::json(StatusCode::OK, body.to_string()))
}
