//! `/v2/<name>/blobs/uploads/`: blobs on their way in, whole, in pieces, or taken over from another repository.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;
use wharf_oci::{Algorithm, Digest};

use super::Context;
use super::answer::{Answer, CONTENT_DIGEST, UPLOAD_UUID, came};
use super::body::RequestBody;
use crate::Error;
use crate::names::{Name, UploadId, digest};
use crate::notify::{Event, Verb};
use crate::registry::blocking;
use crate::store::Upload;

/// Bytes that go to the disk at a time.
const BATCH: usize = 1 << 20;
/// A request that finds another one at the same upload waits so long for its end.
const PATIENCE: Duration = Duration::from_secs(10);

type Session = OwnedMutexGuard<Upload>;

/// `POST`: begins an upload, takes a blob over (`mount`), or takes one in whole (`digest`).
pub(super) async fn begin(
    context: &Context,
    name: Name,
    incoming: &mut RequestBody,
) -> Result<Answer, Error> {
    let query = &context.query;
    if let (Some(mount), Some(from)) = (query.get("mount"), query.get("from")) {
        // What cannot be taken over is uploaded.
        if let (Ok(digest), Ok(from)) = (digest(mount), Name::parse(from))
            && context.caller.may_pull(from.as_str())
        {
            let (store, to, source) = (context.shared.store.clone(), name.clone(), from.clone());
            if blocking(move || store.mount(&to, &source, &digest)).await? {
                context
                    .shared
                    .notify(context, || Event::mounted(&name, &from, digest));
                return Ok(created(context, &name, &digest));
            }
        }
    }
    let whole = query.get("digest").map(digest).transpose()?;
    let algorithm = match (&whole, query.get("digest-algorithm")) {
        (Some(digest), _) => digest.algorithm(),
        (None, Some("sha512")) => Algorithm::Sha512,
        (None, None | Some("sha256")) => Algorithm::Sha256,
        (None, Some(other)) => {
            return Err(Error::DigestInvalid(format!(
                "unsupported digest algorithm {other}"
            )));
        }
    };
    let (store, of) = (context.shared.store.clone(), name.clone());
    let upload = blocking(move || store.begin_upload(&of, algorithm)).await?;
    let session = context.shared.uploads.add(upload).await;
    let Some(digest) = whole else {
        return Ok(progress(context, StatusCode::ACCEPTED, &session));
    };
    let (session, received) = receive(context, session, incoming).await?;
    if let Err(error) = received {
        abandon(context, session).await;
        return Err(error);
    }
    complete(context, session, digest).await
}

/// `GET`: how far the upload came.
pub(super) async fn status(context: &Context, name: Name, id: UploadId) -> Result<Answer, Error> {
    let session = open(context, name, id).await?;
    Ok(progress(context, StatusCode::NO_CONTENT, &session))
}

/// `PATCH`: the next bytes.
pub(super) async fn patch(
    context: &Context,
    name: Name,
    id: UploadId,
    incoming: &mut RequestBody,
) -> Result<Answer, Error> {
    let session = open(context, name, id).await?;
    follows(context, &session)?;
    let session = take_in(context, session, incoming).await?;
    Ok(progress(context, StatusCode::ACCEPTED, &session))
}

/// `PUT`: the last bytes, if any are left, and the digest of all.
pub(super) async fn finish(
    context: &Context,
    name: Name,
    id: UploadId,
    incoming: &mut RequestBody,
) -> Result<Answer, Error> {
    let digest = match context.query.get("digest") {
        Some(text) => digest(text)?,
        None => return Err(Error::DigestInvalid("digest missing".to_owned())),
    };
    let session = open(context, name, id).await?;
    follows(context, &session)?;
    let session = take_in(context, session, incoming).await?;
    complete(context, session, digest).await
}

/// `DELETE`: gives the upload up.
pub(super) async fn cancel(context: &Context, name: Name, id: UploadId) -> Result<Answer, Error> {
    let session = open(context, name, id).await?;
    abandon(context, session).await;
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

/// The upload, for this request alone.
async fn open(context: &Context, name: Name, id: UploadId) -> Result<Session, Error> {
    let uploads = &context.shared.uploads;
    let shared = match uploads.get(&id) {
        Some(shared) => shared,
        None => {
            let (store, of, which) = (context.shared.store.clone(), name.clone(), id.clone());
            let upload = blocking(move || store.resume_upload(&of, &which)).await?;
            uploads.share(upload)
        }
    };
    let session = tokio::time::timeout(PATIENCE, shared.lock_owned())
        .await
        .map_err(|_| {
            Error::UploadInvalid("another request is writing to this upload".to_owned())
        })?;
    // Whoever had it before us may have ended it.
    if session.name != name || uploads.get(&id).is_none() {
        return Err(Error::UploadUnknown);
    }
    Ok(session)
}

/// Whether the bytes of the request go on where the upload is.
fn follows(context: &Context, session: &Session) -> Result<(), Error> {
    let header = context.header(CONTENT_RANGE);
    if header.is_empty() {
        return Ok(());
    }
    let spec = header
        .strip_prefix("bytes")
        .unwrap_or(header)
        .trim_start_matches(['=', ' ']);
    let spec = spec.split('/').next().unwrap_or_default();
    let parsed = spec.split_once('-').and_then(|(start, end)| {
        Some((
            start.trim().parse::<u64>().ok()?,
            end.trim().parse::<u64>().ok()?,
        ))
    });
    let Some((start, end)) = parsed else {
        return Err(Error::UploadInvalid(format!(
            "malformed Content-Range {header:?}"
        )));
    };
    let length = context.header(CONTENT_LENGTH).parse::<u64>().ok();
    let refused = || Error::RangeInvalid {
        upload: Some((location(context, session), session.offset())),
        size: None,
    };
    if start != session.offset() || end < start {
        return Err(refused());
    }
    match length {
        Some(length) if end - start != length.wrapping_sub(1) => Err(Error::SizeInvalid(format!(
            "Content-Range {header:?} with {length} bytes"
        ))),
        _ => Ok(()),
    }
}

/// Takes the body in; what came is kept if it breaks off, but for an upload that the disk or a quota has no room for: it would only be
/// in the way of others.
async fn take_in(
    context: &Context,
    session: Session,
    incoming: &mut RequestBody,
) -> Result<Session, Error> {
    let (session, received) = receive(context, session, incoming).await?;
    match received {
        Ok(()) => Ok(session),
        Err(error) => {
            if error.is_full() || matches!(error, Error::Quota(_)) {
                abandon(context, session).await;
            }
            Err(error)
        }
    }
}

type Written = JoinHandle<(Session, Result<(), Error>)>;

/// Takes the body in. While one batch goes to the disk, the next one comes from the network. The outer error: the
/// upload is lost to this request.
async fn receive(
    context: &Context,
    session: Session,
    incoming: &mut RequestBody,
) -> Result<(Session, Result<(), Error>), Error> {
    let mut held = Held::Here(session);
    let mut result = Ok(());
    loop {
        let (batch, end) = gather(incoming).await;
        let (session, written) = held.settle().await?;
        // What did come is kept, whatever came after it.
        result = result.and(written);
        if result.is_err() {
            return Ok((session, result));
        }
        held = match batch.is_empty() {
            true => Held::Here(session),
            false => {
                context
                    .shared
                    .metrics
                    .received(batch.iter().map(|piece| piece.len() as u64).sum());
                let store = context.shared.store.clone();
                Held::Writing(tokio::task::spawn_blocking(move || {
                    let mut session = session;
                    let written = store.append(&mut session, &batch);
                    (session, written)
                }))
            }
        };
        if let Some(end) = end {
            let (session, written) = held.settle().await?;
            return Ok((session, written.and(end)));
        }
    }
}

/// An upload between two batches.
enum Held {
    Here(Session),
    Writing(Written),
}

impl Held {
    async fn settle(self) -> Result<(Session, Result<(), Error>), Error> {
        match self {
            Held::Here(session) => Ok((session, Ok(()))),
            Held::Writing(written) => written
                .await
                .map_err(|error| Error::UploadInvalid(error.to_string())),
        }
    }
}

/// The next bytes, and whether (and how) the body ended behind them.
async fn gather(incoming: &mut RequestBody) -> (Vec<Bytes>, Option<Result<(), Error>>) {
    let mut batch = Vec::new();
    let mut size = 0;
    while size < BATCH {
        match incoming.next().await {
            Ok(Some(piece)) => {
                size += piece.len();
                batch.push(piece);
            }
            Ok(None) => return (batch, Some(Ok(()))),
            Err(error) => return (batch, Some(Err(error))),
        }
    }
    (batch, None)
}

/// Makes the upload a blob.
async fn complete(context: &Context, session: Session, digest: Digest) -> Result<Answer, Error> {
    let store = context.shared.store.clone();
    let (session, finished) = blocking(move || {
        let mut session = session;
        let finished = store.finish_upload(&mut session, &digest);
        Ok((session, finished))
    })
    .await?;
    match finished {
        Ok(size) => {
            context.shared.uploads.remove(&session.id);
            context.shared.notify(context, || {
                Event::blob(Verb::Push, &session.name, digest, size)
            });
            Ok(created(context, &session.name, &digest))
        }
        Err(error) => {
            // As docker-registry: wrong bytes are no beginning of right ones.
            if matches!(error, Error::DigestInvalid(_)) {
                abandon(context, session).await;
            }
            Err(error)
        }
    }
}

async fn abandon(context: &Context, session: Session) {
    let (store, uploads) = (context.shared.store.clone(), context.shared.uploads.clone());
    let dropped = blocking(move || {
        uploads.remove(&session.id);
        store.drop_upload(&session.name, &session.id)
    });
    if let Err(error) = dropped.await {
        tracing::warn!(%error, "remove an upload");
    }
}

fn location(context: &Context, session: &Upload) -> String {
    context.address(&format!(
        "/v2/{}/blobs/uploads/{}",
        session.name,
        session.id.as_str()
    ))
}

fn progress(context: &Context, status: StatusCode, session: &Upload) -> Answer {
    Answer::empty(status)
        .with(LOCATION, location(context, session))
        .with(RANGE, came(session.offset()))
        .with(UPLOAD_UUID, session.id.as_str())
}

fn created(context: &Context, name: &Name, digest: &Digest) -> Answer {
    Answer::empty(StatusCode::CREATED)
        .with(
            LOCATION,
            context.address(&format!("/v2/{name}/blobs/{digest}")),
        )
        .with(CONTENT_DIGEST, digest.to_string())
}
