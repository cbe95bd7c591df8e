//! The push side: blobs that are there already, blobs taken over from another repository, uploads that go on after
//! a cut, and the manifest at the end (distribution specification, "Push").

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderMap, HeaderValue, Method, Uri};
use wharf_oci::{Descriptor, Digest};

use crate::answer::{RegistryAnswer, escape};
use crate::http_client::{Call, join};
use crate::send_body::FileBody;
use crate::{Client, RegistryError, Slot, Source};

/// What a blob is read from. A registry may want it again from any byte.
#[derive(Clone)]
pub struct Content {
    /// The file; its own position is not used.
    pub file: Arc<File>,
    /// Told, as often as a piece goes out, how many bytes are on their way.
    pub progress: Arc<dyn Fn(u64) + Send + Sync>,
}

/// How a blob came to be in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobPushed {
    /// It was there.
    Exists,
    /// The registry took it from this repository of its own (path without the registry's name).
    Mounted(String),
    /// It was sent.
    Uploaded,
}

impl Client {
    /// Whether a blob is in the repository.
    ///
    /// # Errors
    /// If the registry refuses to say.
    pub async fn has_blob(&self, target: &Source, digest: &Digest) -> Result<bool, RegistryError> {
        let uri = self.address(target, &format!("blobs/{digest}")).await?;
        let response = self
            .send(target, Call::new(Method::HEAD, uri.clone()))
            .await?;
        match response.status().as_u16() {
            200..300 => Ok(true),
            404 => Ok(false),
            _ => Err(self.refusal(&uri, response).await),
        }
    }

    /// Brings a blob into the repository. `mounts` are repositories of the same registry that may have it; others have `slot` while
    /// this waits to try again.
    ///
    /// # Errors
    /// If the registry refuses, or the transfer breaks more often than it is tried again.
    pub async fn push_blob(
        &self,
        target: &Source,
        blob: &Descriptor,
        mounts: &[String],
        content: &Content,
        slot: Option<&mut Slot>,
    ) -> Result<BlobPushed, RegistryError> {
        // A registry that does not answer at all is no broken transfer: its user is told at once.
        target.endpoint.reach(&self.0.http).await?;
        let mut tries = Tries::new(slot);
        loop {
            let pushed = self.push_blob_once(target, blob, mounts, content, &mut tries);
            match pushed.await {
                Err(error) if self.again(&mut tries, &error).await => {}
                pushed => return pushed,
            }
        }
    }

    /// Waits until something that failed is to be tried again; `false` if that would change nothing, or was done often enough.
    async fn again(&self, tries: &mut Tries<'_>, error: &RegistryError) -> bool {
        let config = self.0.http.config();
        if !error.is_transient() || tries.failures >= config.retries {
            return false;
        }
        tries.failures += 1;
        tracing::debug!(%error, "trying again");
        let wait = (config.retry_delay * tries.failures).max(error.retry_after());
        match &mut tries.slot {
            Some(slot) => slot.sleep(wait).await,
            None => tokio::time::sleep(wait).await,
        }
        true
    }

    async fn push_blob_once(
        &self,
        target: &Source,
        blob: &Descriptor,
        mounts: &[String],
        content: &Content,
        tries: &mut Tries<'_>,
    ) -> Result<BlobPushed, RegistryError> {
        if self.has_blob(target, &blob.digest).await? {
            return Ok(BlobPushed::Exists);
        }
        let mut upload = None;
        for from in mounts {
            match self.begin(target, &mount(&blob.digest, from)).await? {
                Begun::Mounted => return Ok(BlobPushed::Mounted(from.clone())),
                Begun::Upload(uri) => upload = Some(uri),
            }
        }
        let uri = match upload {
            // A mount that the registry could not do has begun an ordinary upload.
            Some(uri) => uri,
            None => match self.begin(target, "blobs/uploads/").await? {
                Begun::Upload(uri) => uri,
                Begun::Mounted => return Ok(BlobPushed::Uploaded),
            },
        };
        let end = self.upload(target, blob, content, uri, tries).await?;
        self.finish(target, &blob.digest, end).await?;
        Ok(BlobPushed::Uploaded)
    }

    /// Takes a blob over from another repository of the same registry; whether the registry did so, or had it.
    ///
    /// # Errors
    /// If the registry refuses.
    pub async fn mount_blob(
        &self,
        target: &Source,
        digest: &Digest,
        from: &str,
    ) -> Result<bool, RegistryError> {
        if self.has_blob(target, digest).await? {
            return Ok(true);
        }
        let begun = self.begin(target, &mount(digest, from)).await?;
        Ok(matches!(begun, Begun::Mounted))
    }

    async fn begin(&self, target: &Source, rest: &str) -> Result<Begun, RegistryError> {
        let uri = self.address(target, rest).await?;
        let mut call = Call::new(Method::POST, uri.clone());
        call.headers
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let response = self.send(target, call).await?;
        match response.status().as_u16() {
            201 => Ok(Begun::Mounted),
            200 | 202 => Ok(Begun::Upload(location(&uri, response.headers())?)),
            _ => Err(self.refusal(&uri, response).await),
        }
    }

    /// Sends the bytes, and after a cut those that are missing; where the upload is to be finished.
    async fn upload(
        &self,
        target: &Source,
        blob: &Descriptor,
        content: &Content,
        mut uri: Uri,
        tries: &mut Tries<'_>,
    ) -> Result<Uri, RegistryError> {
        let mut offset = 0;
        while offset < blob.size {
            let error = match self.patch(target, blob, content, &uri, offset).await {
                Ok(next) => return Ok(next),
                Err(error) => error,
            };
            if !self.again(tries, &error).await {
                return Err(error);
            }
            // Where the registry stands; if it does not know, the whole upload begins anew.
            let Ok((next, stands)) = self.standing(target, &uri).await else {
                return Err(error);
            };
            if stands > blob.size {
                return Err(RegistryError::Protocol {
                    url: uri.to_string(),
                    message: "says that it has more than was sent".to_owned(),
                });
            }
            (uri, offset) = (next, stands);
            tries.came_to(offset);
        }
        Ok(uri)
    }

    async fn patch(
        &self,
        target: &Source,
        blob: &Descriptor,
        content: &Content,
        uri: &Uri,
        offset: u64,
    ) -> Result<Uri, RegistryError> {
        let mut call = Call::new(Method::PATCH, uri.clone());
        let size = blob.size - offset;
        call.file = Some(FileBody {
            file: content.file.clone(),
            offset,
            size,
            progress: content.progress.clone(),
        });
        let octets = HeaderValue::from_static("application/octet-stream");
        call.headers.insert(CONTENT_TYPE, octets);
        call.headers.insert(CONTENT_LENGTH, size.into());
        if offset > 0 {
            let range = format!("{offset}-{}", blob.size - 1);
            let range = HeaderValue::from_str(&range).ok();
            call.headers
                .extend(range.map(|range| (CONTENT_RANGE, range)));
        }
        let response = self.send(target, call).await?;
        match response.status().as_u16() {
            200..300 => location(uri, response.headers()),
            _ => Err(self.refusal(uri, response).await),
        }
    }

    async fn standing(&self, target: &Source, uri: &Uri) -> Result<(Uri, u64), RegistryError> {
        let response = self.send(target, Call::get(uri.clone())).await?;
        if !response.status().is_success() {
            return Err(self.refusal(uri, response).await);
        }
        // `Range: 0-99` means that 100 bytes are there; none is `0-0`, or no such header.
        let range = response.headers().get(RANGE);
        let last = range
            .and_then(|range| range.to_str().ok()?.rsplit_once('-')?.1.parse::<u64>().ok())
            .unwrap_or(0);
        let next = location(uri, response.headers()).unwrap_or_else(|_| uri.clone());
        Ok((next, if last == 0 { 0 } else { last + 1 }))
    }

    async fn finish(
        &self,
        target: &Source,
        digest: &Digest,
        uri: Uri,
    ) -> Result<(), RegistryError> {
        let mark = if uri.query().is_some() { '&' } else { '?' };
        let text = format!("{uri}{mark}digest={}", escape(&digest.to_string()));
        let uri: Uri = text.parse().map_err(|_| RegistryError::Protocol {
            url: text.clone(),
            message: "not an address".to_owned(),
        })?;
        let mut call = Call::new(Method::PUT, uri.clone());
        call.headers
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let response = self.send(target, call).await?;
        match response.status().as_u16() {
            200..300 => Ok(()),
            _ => Err(self.refusal(&uri, response).await),
        }
    }

    /// Puts a manifest at a tag or a digest, when all that it names is there; whether the registry lists it with its subject.
    ///
    /// # Errors
    /// If the registry refuses, or says that it is another one.
    pub async fn push_manifest(
        &self,
        target: &Source,
        which: &str,
        manifest: &Descriptor,
        bytes: &Bytes,
    ) -> Result<bool, RegistryError> {
        let uri = self.address(target, &format!("manifests/{which}")).await?;
        let mut call = Call::new(Method::PUT, uri.clone());
        call.body = bytes.clone();
        let kind = HeaderValue::from_str(&manifest.media_type).ok();
        call.headers.extend(kind.map(|kind| (CONTENT_TYPE, kind)));
        let mut tries = Tries::new(None);
        let response = loop {
            let error = match self.send(target, call.clone()).await {
                Ok(response) if response.status().is_success() => break response,
                Ok(response) => self.refusal(&uri, response).await,
                Err(error) => error,
            };
            if !self.again(&mut tries, &error).await {
                return Err(error);
            }
        };
        let said = response
            .headers()
            .get("docker-content-digest")
            .and_then(|value| value.to_str().ok());
        match said {
            Some(said) if said != manifest.digest.to_string() => {
                Err(RegistryError::DigestMismatch {
                    what: "manifest",
                    expected: manifest.digest,
                    found: said.to_owned(),
                })
            }
            _ => Ok(response.headers().contains_key("oci-subject")),
        }
    }

    async fn refusal(
        &self,
        uri: &Uri,
        response: http::Response<hyper::body::Incoming>,
    ) -> RegistryError {
        match RegistryAnswer::read(&self.0.http, uri, response).await {
            Ok(answer) => answer.into_error(),
            Err(error) => error,
        }
    }
}

fn mount(digest: &Digest, from: &str) -> String {
    format!(
        "blobs/uploads/?mount={}&from={}",
        escape(&digest.to_string()),
        escape(from)
    )
}

/// How often something was tried in vain since it last came further.
struct Tries<'a> {
    failures: u32,
    /// Bytes of the blob that the registry had at most.
    reached: u64,
    /// The right to an upload, if it is held.
    slot: Option<&'a mut Slot>,
}

impl<'a> Tries<'a> {
    fn new(slot: Option<&'a mut Slot>) -> Self {
        Self {
            failures: 0,
            reached: 0,
            slot,
        }
    }

    fn came_to(&mut self, offset: u64) {
        if offset > self.reached {
            (self.failures, self.reached) = (0, offset);
        }
    }
}

enum Begun {
    Mounted,
    Upload(Uri),
}

fn location(base: &Uri, headers: &HeaderMap) -> Result<Uri, RegistryError> {
    let target = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let uri = target.and_then(|target| join(base, target));
    let downgrade =
        |uri: &Uri| base.scheme_str() == Some("https") && uri.scheme_str() != Some("https");
    uri.filter(|uri| !downgrade(uri))
        .ok_or_else(|| RegistryError::Protocol {
            url: base.to_string(),
            message: "answers with no usable Location for the upload".to_owned(),
        })
}
