//! `/v2/<name>/referrers/<digest>`: what is about a manifest.

use http::header::LINK;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;
use wharf_oci::{Digest, media_type};

use super::Context;
use super::answer::Answer;
use crate::Error;
use crate::names::{Name, digest};
use crate::registry::blocking;
use crate::store::Referrer;

const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
/// An index may have so many bytes, as any manifest.
const MAX_PAGE: usize = 3 << 20;

/// `GET`.
pub(super) async fn list(context: &Context, name: Name, subject: Digest) -> Result<Answer, Error> {
    let (store, of) = (context.shared.store.clone(), name.clone());
    let mut referrers = match &context.shared.proxy {
        Some(proxy) => proxy.referrers(&name, subject).await?,
        None => blocking(move || store.referrers(&of, &subject)).await?,
    };
    let filter = context.query.get("artifactType");
    if let Some(kind) = filter {
        referrers.retain(|one| one.artifact_type.as_deref() == Some(kind));
    }
    if let Some(last) = context.query.get("last") {
        let last = digest(last)?;
        referrers.retain(|one| one.digest > last);
    }
    let limit = context
        .query
        .limit()?
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX);
    let fit = page(&referrers, limit);
    let more = fit < referrers.len();
    referrers.truncate(fit);
    let index =
        json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": referrers });
    let kind = HeaderValue::from_static(media_type::OCI_INDEX);
    let mut answer = Answer::document(StatusCode::OK, kind, index.to_string().into());
    if filter.is_some() {
        answer = answer.with(FILTERS, "artifactType");
    }
    if let (true, Some(last)) = (more, referrers.last()) {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("last", &last.digest.to_string());
        if limit != usize::MAX {
            query.append_pair("n", &limit.to_string());
        }
        query.extend_pairs(filter.map(|kind| ("artifactType", kind)));
        let link = format!(
            "</v2/{name}/referrers/{subject}?{}>; rel=\"next\"",
            query.finish()
        );
        answer = answer.with(LINK, link);
    }
    Ok(answer)
}

/// How many of them fit on a page; at least one.
fn page(referrers: &[Referrer], limit: usize) -> usize {
    let mut bytes = 0;
    for (index, one) in referrers.iter().enumerate() {
        bytes += serde_json::to_string(one).map_or(0, |text| text.len());
        if index >= limit || (index > 0 && bytes > MAX_PAGE) {
            return index;
        }
    }
    referrers.len()
}
