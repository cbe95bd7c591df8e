//! `/v2/<name>/blobs/<digest>`

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    IF_RANGE, LOCATION, RANGE,
};
use http::{HeaderValue, Method, StatusCode};
use wharf_oci::Digest;

use super::answer::{Answer, CONTENT_DIGEST};
use super::{Body, Context};
use crate::Error;
use crate::names::Name;
use crate::notify::{Event, Verb};
use crate::registry::blocking;
use crate::store::Opened;

/// What a digest names never changes.
const FOR_A_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// `GET` and `HEAD`.
pub(super) async fn get(context: &Context, name: Name, digest: Digest) -> Result<Answer, Error> {
    let shared = &context.shared;
    let etag = format!("\"{digest}\"");
    if context.method == Method::HEAD {
        let size = size(context, &name, digest).await?;
        return Ok(described(StatusCode::OK, digest, &etag).with(CONTENT_LENGTH, size));
    }
    let opened = {
        let (store, name) = (shared.store.clone(), name.clone());
        blocking(move || store.open_blob(&name, &digest)).await
    };
    let opened = match (opened, &shared.proxy) {
        (Err(Error::BlobUnknown(_)), Some(proxy)) => {
            return proxy.blob(context, &name, digest).await;
        }
        (opened, _) => opened?,
    };
    let size = opened.size();
    if matches(context.header(IF_NONE_MATCH), &etag) {
        return Ok(described(StatusCode::NOT_MODIFIED, digest, &etag));
    }
    if let Opened::Object(object) = &opened
        && let Some(address) = object.address()
    {
        shared.notify(context, || Event::blob(Verb::Pull, &name, digest, size));
        return Ok(Answer::empty(StatusCode::TEMPORARY_REDIRECT).with(LOCATION, address));
    }
    let range = match context.header(IF_RANGE) {
        "" => range(context.header(RANGE), size)?,
        condition if condition == etag => range(context.header(RANGE), size)?,
        _ => None,
    };
    let (status, start, length) = match range {
        Some((start, end)) => (StatusCode::PARTIAL_CONTENT, start, end - start + 1),
        None => (StatusCode::OK, 0, size),
    };
    let mut answer = described(status, digest, &etag).with(CONTENT_LENGTH, length);
    if range.is_some() {
        answer = answer.with(
            CONTENT_RANGE,
            format!("bytes {start}-{}/{size}", start + length - 1),
        );
    }
    shared.metrics.sent(length);
    shared.notify(context, || Event::blob(Verb::Pull, &name, digest, size));
    Ok(answer.with_body(match opened {
        Opened::File(file, _) => Body::file(file, start, length, context.parts.clone()),
        Opened::Object(object) => Body::pieces(object.stream(start, length)),
    }))
}

async fn size(context: &Context, name: &Name, digest: Digest) -> Result<u64, Error> {
    let (store, of) = (context.shared.store.clone(), name.clone());
    let size = blocking(move || store.blob_size(&of, &digest, true)).await;
    match (size, &context.shared.proxy) {
        (Err(Error::BlobUnknown(_)), Some(proxy)) => proxy.blob_size(name, digest).await,
        (size, _) => size,
    }
}

/// The headers that say which blob this is.
pub(crate) fn described(status: StatusCode, digest: Digest, etag: &str) -> Answer {
    Answer::empty(status)
        .with(CONTENT_TYPE, "application/octet-stream")
        .with(CONTENT_DIGEST, digest.to_string())
        .with(ETAG, etag)
        .with(CACHE_CONTROL, FOR_A_YEAR)
        .with(ACCEPT_RANGES, "bytes")
}

/// `DELETE`: the repository has the blob no more; its bytes go when nobody needs them.
pub(super) async fn delete(context: &Context, name: Name, digest: Digest) -> Result<Answer, Error> {
    let (store, of) = (context.shared.store.clone(), name.clone());
    blocking(move || store.unlink(&of, &digest)).await?;
    context.shared.garbage.notify_one();
    context
        .shared
        .notify(context, || Event::blob(Verb::Delete, &name, digest, 0));
    Ok(Answer::empty(StatusCode::ACCEPTED).with(CONTENT_DIGEST, digest.to_string()))
}

/// Whether `If-None-Match` names the tag. docker-registry's clients leave the quotes away at times.
pub(super) fn matches(condition: &str, etag: &str) -> bool {
    let bare = |text: &str| {
        text.trim()
            .trim_start_matches("W/")
            .trim_matches('"')
            .to_owned()
    };
    !condition.is_empty()
        && condition
            .split(',')
            .any(|one| one.trim() == "*" || bare(one) == bare(etag))
}

/// First and last byte of a single range (RFC 9110, 14.1.2); `None` for the whole. Several ranges are answered with the whole.
fn range(header: &str, size: u64) -> Result<Option<(u64, u64)>, Error> {
    let Some(spec) = header
        .strip_prefix("bytes=")
        .filter(|spec| !spec.contains(','))
    else {
        return Ok(None);
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Ok(None);
    };
    let refused = || Error::RangeInvalid {
        upload: None,
        size: Some(size),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) || (first.is_empty() && last.is_empty()) {
        return Ok(None);
    }
    // More digits than a number has are a number too large.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    let (start, end) = match (first, last) {
        ("", last) => (size.saturating_sub(number(last)), size.saturating_sub(1)),
        (first, "") => (number(first), size.saturating_sub(1)),
        // Others than Go's file server overlook such a range, but that is whom clients know.
        (first, last) if number(last) < number(first) => return Err(refused()),
        (first, last) => (number(first), number(last).min(size.saturating_sub(1))),
    };
    if start >= size || (first.is_empty() && number(last) == 0) {
        return Err(refused());
    }
    Ok(Some((start, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let of = |header: &str| range(header, 10).unwrap();
        assert_eq!(of(""), None);
        assert_eq!(of("bytes=0-0"), Some((0, 0)));
        assert_eq!(of("bytes=3-"), Some((3, 9)));
        assert_eq!(of("bytes=3-99"), Some((3, 9)));
        assert_eq!(of("bytes=-4"), Some((6, 9)));
        assert_eq!(of("bytes=-40"), Some((0, 9)));
        assert_eq!(of("bytes=1-2,4-5"), None);
        assert_eq!(of("bytes=a-b"), None);
        assert_eq!(of("items=0-1"), None);
        for bad in [
            "bytes=10-",
            "bytes=10-11",
            "bytes=5-3",
            "bytes=-0",
            "bytes=99999999999999999999-",
        ] {
            assert!(range(bad, 10).is_err(), "{bad}");
        }
        assert!(range("bytes=0-0", 0).is_err());
    }
}
