//! Blobs as streams that survive a cut: what came stays, the rest is asked for by `Range`.

use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Response, Uri};
use hyper::body::Incoming;
use wharf_oci::Descriptor;

use crate::answer::RegistryAnswer;
use crate::http_client::Call;
use crate::lanes::{Lanes, Pace};
use crate::resolve::verified;
use crate::slot::Slot;
use crate::{Client, RegistryError, Source};

/// A blob on its way here.
///
/// The bytes come in order from the offset that it was opened at. Their digest is the receiver's to check: only it
/// has them all.
pub struct Blob {
    client: Client,
    source: Source,
    descriptor: Descriptor,
    /// Bytes of the blob that are here, those before the offset included.
    received: u64,
    /// Bytes that the registry sends again although we did not ask for them.
    skip: u64,
    body: Option<(Uri, Incoming)>,
    failures: u32,
    wait: Option<Duration>,
    pace: Pace,
    /// Several connections, when one is not enough.
    lanes: Option<Lanes>,
    slot: Slot,
}

/// What comes next of a blob.
#[derive(Debug)]
pub enum BlobEvent {
    /// The next bytes.
    Data(Bytes),
    /// The connection broke; the next call waits this long and then goes on where it was.
    Retrying(Duration),
}

impl Client {
    /// The stream of a blob from `offset` on. Nothing is sent before the first [`Blob::next`].
    pub fn blob(&self, source: &Source, descriptor: &Descriptor, offset: u64, slot: Slot) -> Blob {
        Blob {
            client: self.clone(),
            source: source.clone(),
            descriptor: descriptor.clone(),
            received: offset,
            skip: 0,
            body: None,
            failures: 0,
            wait: None,
            pace: Pace::new(),
            lanes: None,
            slot,
        }
    }

    /// A whole small blob, its digest checked.
    ///
    /// # Errors
    /// If it is announced as longer than `limit` bytes, does not come, or is another one.
    pub async fn small_blob(
        &self,
        source: &Source,
        descriptor: &Descriptor,
        what: &'static str,
        limit: u64,
    ) -> Result<Bytes, RegistryError> {
        if descriptor.size > limit {
            return Err(RegistryError::TooLong {
                digest: descriptor.digest,
                expected: limit,
            });
        }
        let slot = self.slot().await;
        let mut blob = self.blob(source, descriptor, 0, slot);
        let mut bytes = Vec::new();
        while let Some(event) = blob.next().await? {
            if let BlobEvent::Data(data) = event {
                bytes.extend_from_slice(&data);
            }
        }
        verified(what, &descriptor.digest, &bytes)?;
        Ok(bytes.into())
    }
}

impl Blob {
    /// Says, before [`Blob::next`], whether the receiver has nothing to do until it has more: then a large blob may be
    /// fetched over several connections.
    pub fn hungry(&mut self, hungry: bool) {
        self.pace.is_hungry(hungry);
    }

    /// What comes next; `None` when all announced bytes came.
    ///
    /// # Errors
    /// When the registry refuses, sends more than announced, or all retries failed.
    pub async fn next(&mut self) -> Result<Option<BlobEvent>, RegistryError> {
        if let Some(wait) = self.wait.take() {
            self.slot.sleep(wait).await;
        }
        match self.advance().await {
            Ok(event) => Ok(event.map(BlobEvent::Data)),
            Err(error) => self.retry(error).map(Some),
        }
    }

    /// The next bytes out of several connections, if there are several now.
    async fn side_by_side(&mut self) -> Result<Option<Bytes>, RegistryError> {
        if self.lanes.is_none() {
            let to_come = self.descriptor.size - self.received;
            let Some(rate) = self.pace.wants_more(to_come) else {
                return Ok(None);
            };
            self.lanes = Lanes::open(&self.client, self.received, rate);
            if self.lanes.is_some() {
                self.body = None;
            }
        }
        let Some(lanes) = &mut self.lanes else {
            return Ok(None);
        };
        let next = lanes.next(&self.client, &self.source, &self.descriptor);
        match next.await {
            Ok(Some(data)) => {
                self.received += data.len() as u64;
                self.failures = 0;
                Ok(Some(data))
            }
            ended => {
                // One connection goes on, and it is not tried again.
                self.lanes = None;
                self.pace.give_up();
                match ended {
                    Err(error @ RegistryError::Protocol { .. }) => {
                        tracing::debug!(digest = %self.descriptor.digest, %error, "one connection");
                        Ok(None)
                    }
                    ended => ended,
                }
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<Bytes>, RegistryError> {
        if let Some(data) = self.side_by_side().await? {
            return Ok(Some(data));
        }
        loop {
            if self.body.is_none() {
                if self.received == self.descriptor.size {
                    return Ok(None);
                }
                self.body = Some(self.open().await?);
            }
            let Some((uri, body)) = &mut self.body else {
                continue;
            };
            let Some(mut data) = self.client.0.http.chunk(uri, body).await? else {
                self.body = None;
                if self.received == self.descriptor.size {
                    return Ok(None);
                }
                return Err(RegistryError::TooShort {
                    digest: self.descriptor.digest,
                    expected: self.descriptor.size,
                    received: self.received,
                });
            };
            let again = self.skip.min(data.len() as u64);
            data.advance(again as usize);
            self.skip -= again;
            if data.is_empty() {
                continue;
            }
            if data.len() as u64 > self.descriptor.size - self.received {
                return Err(self.too_long());
            }
            self.received += data.len() as u64;
            self.failures = 0;
            self.pace.saw(data.len());
            return Ok(Some(data));
        }
    }

    /// A transient failure becomes a retry while there are some left.
    fn retry(&mut self, error: RegistryError) -> Result<BlobEvent, RegistryError> {
        self.body = None;
        let config = self.client.0.http.config();
        if !error.is_transient() || self.failures >= config.retries {
            return Err(error);
        }
        self.failures += 1;
        tracing::debug!(digest = %self.descriptor.digest, received = self.received, %error, "retrying");
        let wait = (config.retry_delay * self.failures).max(error.retry_after());
        self.wait = Some(wait);
        Ok(BlobEvent::Retrying(wait))
    }

    async fn open(&mut self) -> Result<(Uri, Incoming), RegistryError> {
        let digest = self.descriptor.digest;
        let uri = self
            .client
            .address(&self.source, &format!("blobs/{digest}"))
            .await?;
        let mut call = Call::get(uri.clone());
        if self.received > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", self.received))
        {
            call.headers.insert(RANGE, range);
        }
        let response = self.client.send(&self.source, call).await?;
        let status = response.status().as_u16();
        self.skip = match status {
            206 if range_start(response.headers()) == Some(self.received) => 0,
            // A registry without ranges, or with a range that is not ours, starts anew; we leave out what we have.
            206 if range_start(response.headers()) == Some(0) => self.received,
            206 => {
                return Err(RegistryError::Protocol {
                    url: uri.to_string(),
                    message: "answers with another range than the one asked for".to_owned(),
                });
            }
            200..300 => self.received,
            _ => return Err(self.refused(&uri, response).await),
        };
        self.check_length(&response)?;
        Ok((uri, response.into_body()))
    }

    async fn refused(&self, uri: &Uri, response: Response<Incoming>) -> RegistryError {
        match RegistryAnswer::read(&self.client.0.http, uri, response).await {
            Ok(answer) if answer.status.as_u16() == 404 => {
                RegistryError::BlobUnknown(self.descriptor.digest)
            }
            Ok(answer) => answer.into_error(),
            Err(error) => error,
        }
    }

    /// A length that cannot fit is seen before the bytes come.
    fn check_length(&self, response: &Response<Incoming>) -> Result<(), RegistryError> {
        let length = response
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let expected = self.descriptor.size - self.received + self.skip;
        match length {
            Some(length) if length > expected => Err(self.too_long()),
            // It has another blob by this name: to ask again brings the same.
            Some(length) if length < expected => Err(RegistryError::OtherLength {
                digest: self.descriptor.digest,
                expected: self.descriptor.size,
                found: self.received - self.skip + length,
            }),
            _ => Ok(()),
        }
    }

    fn too_long(&self) -> RegistryError {
        RegistryError::TooLong {
            digest: self.descriptor.digest,
            expected: self.descriptor.size,
        }
    }
}

/// The first byte of `Content-Range: bytes 5-9/10`.
pub(crate) fn range_start(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let range = value.trim().strip_prefix("bytes")?.trim_start();
    range.split('-').next()?.trim().parse().ok()
}
