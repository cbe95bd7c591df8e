//! `/v2/_catalog` and `/v2/<name>/tags/list`: lists by pages.

use http::StatusCode;
use http::header::LINK;
use serde_json::json;

use super::Context;
use super::answer::Answer;
use crate::Error;
use crate::names::Name;
use crate::registry::blocking;
use crate::store::in_order;

/// Repositories on a page when nobody says how many.
const PAGE: usize = 100;
/// The most on one page.
const MAX_PAGE: usize = 10_000;

/// `GET /v2/_catalog`.
pub(super) async fn list(context: &Context) -> Result<Answer, Error> {
    let limit = match context.query.limit()? {
        Some(0) => return Err(Error::PageInvalid("0".to_owned())),
        limit => limit.unwrap_or(PAGE).min(MAX_PAGE),
    };
    let after = context.query.get("last").unwrap_or_default().to_owned();
    let store = context.shared.store.clone();
    let mut names = blocking(move || store.repositories(&after, limit + 1)).await?;
    let more = names.len() > limit;
    names.truncate(limit);
    let texts: Vec<&str> = names.iter().map(Name::as_str).collect();
    let mut answer = Answer::json(
        StatusCode::OK,
        format!("{}\n", json!({ "repositories": texts })),
    );
    if let (true, Some(last)) = (more, texts.last()) {
        answer = answer.with(LINK, next("/v2/_catalog", limit, last));
    }
    Ok(answer)
}

/// `GET /v2/<name>/tags/list`.
pub(super) async fn tags(context: &Context, name: Name) -> Result<Answer, Error> {
    let limit = context.query.limit()?.unwrap_or(usize::MAX);
    let after = context.query.get("last").map(str::to_owned);
    let of = name.clone();
    let store = context.shared.store.clone();
    let mut tags = match &context.shared.proxy {
        Some(proxy) => {
            let mut tags = proxy.tags(&name).await?;
            in_order(&mut tags, after.as_deref());
            tags
        }
        None => {
            // One more than are shown tells whether there is a next page.
            let limit = limit.saturating_add(1);
            blocking(move || match store.has_repository(&of)? {
                true => store.tags_page(&of, after.as_deref(), limit),
                false => Err(Error::NameUnknown(of.to_string())),
            })
            .await?
        }
    };
    let more = tags.len() > limit && limit > 0;
    tags.truncate(limit);
    let body = format!("{}\n", json!({ "name": name.as_str(), "tags": tags }));
    let mut answer = Answer::json(StatusCode::OK, body);
    if let (true, Some(last)) = (more, tags.last()) {
        answer = answer.with(LINK, next(&format!("/v2/{name}/tags/list"), limit, last));
    }
    Ok(answer)
}

/// Where the page behind `last` is (RFC 5988).
pub(super) fn next(path: &str, limit: usize, last: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("last", last)
        .append_pair("n", &limit.to_string())
        .finish();
    format!("<{path}?{query}>; rel=\"next\"")
}
