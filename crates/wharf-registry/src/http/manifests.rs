//! `/v2/<name>/manifests/<reference>`

use std::sync::Arc;

use http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION};
use http::{HeaderName, StatusCode};

use super::answer::{Answer, CONTENT_DIGEST};
use super::body::RequestBody;
use super::{Context, blobs};
use crate::Error;
use crate::manifest::MAX_SIZE;
use crate::names::{Name, Which};
use crate::notify::{Event, Verb};
use crate::registry::blocking;
use crate::store::Stored;

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// The tags that a manifest got which was put by its digest, as specified since distribution 1.2.
const TAG: HeaderName = HeaderName::from_static("oci-tag");

/// `GET` and `HEAD`.
pub(super) async fn get(context: &Context, name: Name, which: Which) -> Result<Answer, Error> {
    let stored = find(context, &name, &which).await?;
    let headers = |answer: Answer| {
        answer
            .with(CONTENT_DIGEST, stored.digest_value.clone())
            .with(ETAG, stored.etag.clone())
    };
    let etag = stored.etag.to_str().unwrap_or_default();
    if blobs::matches(context.header(IF_NONE_MATCH), etag) {
        return Ok(headers(Answer::empty(StatusCode::NOT_MODIFIED)));
    }
    if context.method == http::Method::GET {
        let tag = match &which {
            Which::Tag(tag) => Some(tag.as_str()),
            Which::Digest(_) => None,
        };
        context
            .shared
            .notify(context, || Event::manifest(Verb::Pull, &name, &stored, tag));
    }
    let document = Answer::document(
        StatusCode::OK,
        stored.media_type.clone(),
        stored.bytes.clone(),
    );
    Ok(headers(document))
}

async fn find(context: &Context, name: &Name, which: &Which) -> Result<Arc<Stored>, Error> {
    let shared = &context.shared;
    if let Some(proxy) = &shared.proxy {
        return proxy.manifest(context, name, which).await;
    }
    if let Some(stored) = shared.store.cached(name, which) {
        return Ok(stored);
    }
    let (store, name, which) = (shared.store.clone(), name.clone(), which.clone());
    blocking(move || store.manifest(&name, &which)).await
}

/// `PUT`.
pub(super) async fn put(
    context: &Context,
    name: Name,
    which: Which,
    incoming: &mut RequestBody,
) -> Result<Answer, Error> {
    let bytes = incoming
        .whole(MAX_SIZE, |limit| Error::ManifestTooLarge { limit })
        .await?;
    let content_type = context.header(CONTENT_TYPE).to_owned();
    let tags = match &which {
        Which::Tag(_) => Vec::new(),
        Which::Digest(_) => context.query.tags()?,
    };
    let (store, of, by) = (context.shared.store.clone(), name.clone(), which.clone());
    let (put, stored, tags) = blocking(move || {
        let put = store.put_manifest(&of, &by, &bytes, &content_type, &tags)?;
        let stored = store.manifest(&of, &Which::Digest(put.digest))?;
        Ok((put, stored, tags))
    })
    .await?;
    let shared = &context.shared;
    let tell = |tag: Option<&str>| {
        shared.notify(context, || Event::manifest(Verb::Push, &name, &stored, tag))
    };
    match &which {
        Which::Tag(tag) => tell(Some(tag)),
        Which::Digest(_) if tags.is_empty() => tell(None),
        Which::Digest(_) => tags.iter().for_each(|tag| tell(Some(tag))),
    }
    let location = context.address(&format!("/v2/{name}/manifests/{}", put.digest));
    let mut answer = Answer::empty(StatusCode::CREATED)
        .with(LOCATION, location)
        .with(CONTENT_DIGEST, put.digest.to_string());
    if let Some(subject) = put.subject {
        answer = answer.with(SUBJECT, subject.to_string());
    }
    if !tags.is_empty() {
        answer = answer.with(TAG, tags.join(", "));
    }
    Ok(answer)
}

/// `DELETE`.
pub(super) async fn delete(context: &Context, name: Name, which: Which) -> Result<Answer, Error> {
    let (store, of, by) = (context.shared.store.clone(), name.clone(), which.clone());
    let digest = blocking(move || match store.delete_manifest(&of, &by) {
        Err(Error::ManifestUnknown(_)) if !store.has_repository(&of)? => {
            Err(Error::NameUnknown(of.to_string()))
        }
        other => other,
    })
    .await?;
    context.shared.garbage.notify_one();
    context
        .shared
        .notify(context, || Event::deleted(&name, &which, digest));
    Ok(Answer::empty(StatusCode::ACCEPTED))
}
