//! A large blob over several connections: segments that are asked for side by side, and handed on in order.
//!
//! It is tried only where it can help: when whoever takes the bytes has to wait for them (and not they for him), enough of
//! the blob is still to come, and the global limit has room. It is measured then, and given up if it does
//! not help: on a connection that is as fast as the disk, several are no faster than one.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http::header::RANGE;
use tokio::task::JoinHandle;
use wharf_oci::Descriptor;

use crate::blob::range_start;
use crate::http_client::Call;
use crate::slot::Slot;
use crate::{Client, RegistryError, Source};

/// Bytes of one request.
const SEGMENT: u64 = 2 << 20;
/// Bytes that are handed on at a time.
const PIECE: usize = 128 << 10;
/// Connections for one blob, at most.
const MOST: usize = 4;
/// Bytes over which the pace is measured.
const WATCHED: u64 = 8 << 20;
/// With fewer bytes to come, it is not worth a connection.
const WORTH: u64 = 32 << 20;
/// How much faster it must be, as a factor.
const GAIN: f64 = 1.2;

/// How fast the bytes come over one connection, and whether they are waited for.
pub(crate) struct Pace {
    since: Instant,
    bytes: u64,
    pieces: u32,
    hungry: u32,
    /// Several connections were of no use, or cannot be had.
    done: bool,
}

impl Pace {
    pub(crate) fn new() -> Pace {
        Pace {
            since: Instant::now(),
            bytes: 0,
            pieces: 0,
            hungry: 0,
            done: false,
        }
    }

    /// Whether the last piece was waited for.
    pub(crate) fn is_hungry(&mut self, hungry: bool) {
        self.hungry += u32::from(hungry);
    }

    pub(crate) fn saw(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.pieces += 1;
    }

    /// Several connections are not tried again.
    pub(crate) fn give_up(&mut self) {
        self.done = true;
    }

    /// Bytes in a second, if several connections are worth a try; each question begins a new measurement.
    pub(crate) fn wants_more(&mut self, to_come: u64) -> Option<f64> {
        if self.done || self.bytes < WATCHED {
            return None;
        }
        let starved = u64::from(self.hungry) * 10 >= u64::from(self.pieces) * 9;
        let rate = rate(self.bytes, self.since);
        *self = Pace::new();
        (starved && to_come >= WORTH).then_some(rate)
    }
}

fn rate(bytes: u64, since: Instant) -> f64 {
    bytes as f64 / since.elapsed().as_secs_f64().max(f64::EPSILON)
}

/// Several connections at work for one blob.
pub(crate) struct Lanes {
    going: VecDeque<Segment>,
    /// Where the next segment begins.
    next: u64,
    /// The rights to the connections beside the first one.
    extra: Vec<Slot>,
    /// What is left of the segment that is being handed on.
    current: Bytes,
    since: Instant,
    bytes: u64,
    /// Bytes in a second over one connection.
    before: f64,
    /// No more segments are begun.
    closing: bool,
}

/// A segment on its way; dropping it ends it.
struct Segment(JoinHandle<Result<Bytes, RegistryError>>);

impl Drop for Segment {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Lanes {
    /// As many as the limit has room for; `None` if there is no room for a second one.
    pub(crate) fn open(client: &Client, from: u64, before: f64) -> Option<Lanes> {
        let extra: Vec<Slot> = (1..MOST).map_while(|_| client.try_slot()).collect();
        (!extra.is_empty()).then(|| Lanes {
            going: VecDeque::new(),
            next: from,
            extra,
            current: Bytes::new(),
            since: Instant::now(),
            bytes: 0,
            before,
            closing: false,
        })
    }

    /// The next bytes; `None` when these lanes have ended, and one connection is to go on.
    ///
    /// # Errors
    /// The first segment's that failed. What was handed on until then is right.
    pub(crate) async fn next(
        &mut self,
        client: &Client,
        source: &Source,
        blob: &Descriptor,
    ) -> Result<Option<Bytes>, RegistryError> {
        if self.current.is_empty() {
            self.plan(client, source, blob);
            let Some(first) = self.going.front_mut() else {
                return Ok(None);
            };
            self.current = match (&mut first.0).await {
                Ok(result) => result?,
                Err(error) => return Err(RegistryError::Config(error.to_string())),
            };
            self.going.pop_front();
            self.measure(self.current.len() as u64);
        }
        let length = self.current.len().min(PIECE);
        Ok(Some(self.current.split_to(length)))
    }

    fn plan(&mut self, client: &Client, source: &Source, blob: &Descriptor) {
        // Another blob that waits for its only connection comes first.
        if client.is_waited_for() {
            self.extra.pop();
        }
        if self.extra.is_empty() {
            self.closing = true;
        }
        while !self.closing && self.going.len() <= self.extra.len() && self.next < blob.size {
            let (from, to) = (self.next, (self.next + SEGMENT).min(blob.size));
            let fetch = segment(client.clone(), source.clone(), blob.clone(), from, to);
            self.going.push_back(Segment(tokio::spawn(fetch)));
            self.next = to;
        }
    }

    fn measure(&mut self, bytes: u64) {
        self.bytes += bytes;
        if self.bytes >= 2 * WATCHED {
            self.closing |= rate(self.bytes, self.since) < self.before * GAIN;
            (self.bytes, self.since) = (0, Instant::now());
        }
    }
}

/// The bytes `from..to` of a blob, all of them.
async fn segment(
    client: Client,
    source: Source,
    blob: Descriptor,
    from: u64,
    to: u64,
) -> Result<Bytes, RegistryError> {
    let uri = client
        .address(&source, &format!("blobs/{}", blob.digest))
        .await?;
    let mut call = Call::get(uri.clone());
    if let Ok(range) = HeaderValue::from_str(&format!("bytes={from}-{}", to - 1)) {
        call.headers.insert(RANGE, range);
    }
    let response = client.send(&source, call).await?;
    if response.status() != 206 || range_start(response.headers()) != Some(from) {
        return Err(RegistryError::Protocol {
            url: uri.to_string(),
            message: "does not give parts of a blob".to_owned(),
        });
    }
    let mut body = response.into_body();
    let mut bytes = BytesMut::with_capacity((to - from) as usize);
    while let Some(chunk) = client.0.http.chunk(&uri, &mut body).await? {
        if (bytes.len() + chunk.len()) as u64 > to - from {
            return Err(RegistryError::TooLong {
                digest: blob.digest,
                expected: blob.size,
            });
        }
        bytes.extend_from_slice(&chunk);
    }
    if bytes.len() as u64 != to - from {
        return Err(RegistryError::TooShort {
            digest: blob.digest,
            expected: blob.size,
            received: from + bytes.len() as u64,
        });
    }
    Ok(bytes.freeze())
}
