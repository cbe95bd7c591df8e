//! Layers on their way: each is fetched and unpacked once, however many pulls want it.
//!
//! A flight is a task of its own. Those who wait for it hold it; when the last one lets go, it is given up. The
//! blocking thread that unpacks notices by the end of its channel, and holds the lock on the blob until it is
//! gone, so the next flight never meets a half-closed ingest.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedMutexGuard, broadcast, mpsc, watch};
use tokio::task::AbortHandle;
use wharf_distribution::{Blob, BlobEvent, Client, Source};
use wharf_oci::{ChainId, Digest};

use crate::unpack::{LayerPlan, Piece, PieceReader, SliceReader, Stores};
use crate::work::at_clients_pace;
use crate::{ImageError, LayerState, ProgressSender};

/// Pieces that wait for the unpacking thread; with the client's read buffer this bounds the memory of a layer.
const PIECES: usize = 8;
/// Time between two reports of a layer's progress.
const REPORT: Duration = Duration::from_millis(100);

type Outcome = Option<Result<(), Arc<ImageError>>>;

/// Where a layer's blob is.
#[derive(Clone)]
pub(crate) enum Feed {
    /// In a registry.
    Registry { client: Client, source: Box<Source> },
    /// In memory (the catalogue).
    Memory(Bytes),
    /// Here already, or nowhere: an image that lost an unpacked layer is being repaired.
    Here,
    /// In a part of a file (an archive that is being loaded).
    Spool { file: Arc<File>, offset: u64 },
}

/// All flights of the store.
#[derive(Default)]
pub(crate) struct Flights {
    layers: Mutex<HashMap<ChainId, Weak<Flight>>>,
    blobs: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
}

/// One layer on its way.
struct Flight {
    events: broadcast::Sender<LayerState>,
    outcome: watch::Receiver<Outcome>,
    task: AbortHandle,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Flights {
    /// Brings a layer into the stores, or waits for who is doing so, and reports.
    pub(crate) async fn fly(
        self: &Arc<Self>,
        stores: &Stores,
        plan: &LayerPlan,
        feed: Feed,
        label: &str,
        progress: &ProgressSender,
    ) -> Result<(), ImageError> {
        let (flight, mut events) = self.board(stores, plan, feed);
        let mut outcome = flight.outcome.clone();
        loop {
            tokio::select! {
                // Reports first: all of them are out before the end is told.
                biased;
                event = events.recv() => match event {
                    Ok(state) => progress.layer(label, state),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => break,
                },
                changed = outcome.changed() => {
                    if changed.is_err() || outcome.borrow().is_some() {
                        break;
                    }
                }
            }
        }
        while let Ok(state) = events.try_recv() {
            progress.layer(label, state);
        }
        let result = outcome.borrow().clone();
        match result {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(ImageError::Shared(error)),
            // We hold the flight, so nobody has given it up.
            None => Err(ImageError::Panicked(format!("layer {label}"))),
        }
    }

    /// The flight that is under way, or a new one.
    fn board(
        self: &Arc<Self>,
        stores: &Stores,
        plan: &LayerPlan,
        feed: Feed,
    ) -> (Arc<Flight>, broadcast::Receiver<LayerState>) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = layers.get(&plan.chain).and_then(Weak::upgrade) {
            let events = flight.events.subscribe();
            // One that has failed is not joined: the reason may be gone.
            if flight.outcome.borrow().is_none() {
                return (flight, events);
            }
        }
        layers.retain(|_, flight| flight.strong_count() > 0);
        let (events, receiver) = broadcast::channel(256);
        let (end, outcome) = watch::channel(None);
        let job = Job {
            flights: self.clone(),
            stores: stores.clone(),
            plan: plan.clone(),
            feed,
            events: events.clone(),
        };
        let task = tokio::spawn(async move {
            let result = job.run().await.map_err(Arc::new);
            // Nobody waits any more if this fails.
            let _ = end.send(Some(result));
        });
        let flight = Arc::new(Flight {
            events,
            outcome,
            task: task.abort_handle(),
        });
        layers.insert(plan.chain, Arc::downgrade(&flight));
        (flight, receiver)
    }

    /// The right to fetch a blob: two layers of one image may be the same blob.
    pub(crate) async fn lock_blob(&self, digest: &Digest) -> OwnedMutexGuard<()> {
        self.blob_lock(digest).lock_owned().await
    }

    /// As [`Flights::lock_blob`], on a thread that may block.
    pub(crate) fn lock_blob_blocking(&self, digest: &Digest) -> OwnedMutexGuard<()> {
        self.blob_lock(digest).blocking_lock_owned()
    }

    fn blob_lock(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = blobs.get(digest).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        blobs.insert(*digest, Arc::downgrade(&lock));
        lock
    }
}

/// The work of a flight.
struct Job {
    flights: Arc<Flights>,
    stores: Stores,
    plan: LayerPlan,
    feed: Feed,
    events: broadcast::Sender<LayerState>,
}

impl Job {
    async fn run(self) -> Result<(), ImageError> {
        let guard = self.flights.lock_blob(&self.plan.blob.digest).await;
        if self.stores.snapshots.has(&self.plan.chain) {
            self.tell(LayerState::AlreadyExists);
            return Ok(());
        }
        let total = self.plan.blob.size;
        let (stores, plan) = (self.stores.clone(), self.plan.clone());
        if self.stores.content.contains(&self.plan.blob.digest) {
            self.blocking(guard, move || stores.unpack_local(&plan))
                .await?;
        } else {
            match &self.feed {
                Feed::Registry { client, source } => self.download(client, source, guard).await?,
                Feed::Here => {
                    return Err(ImageError::Content {
                        operation: "open",
                        message: format!(
                            "no blob for layer {}: pull the image again",
                            self.plan.diff_id
                        ),
                    });
                }
                Feed::Memory(bytes) => {
                    let bytes = bytes.clone();
                    self.local(guard, move |offset| {
                        let mut cursor = std::io::Cursor::new(bytes);
                        cursor.set_position(offset);
                        cursor
                    })
                    .await?;
                }
                Feed::Spool { file, offset } => {
                    let (file, start) = (file.clone(), *offset);
                    self.tell(LayerState::LoadingLayer { current: 0, total });
                    self.local(guard, move |offset| SliceReader {
                        file,
                        at: start + offset,
                        left: total.saturating_sub(offset),
                    })
                    .await?;
                    self.tell(LayerState::LoadingLayer {
                        current: total,
                        total,
                    });
                    return Ok(());
                }
            }
            self.tell(LayerState::VerifyingChecksum);
            self.tell(LayerState::DownloadComplete);
        }
        self.tell(LayerState::Extracting {
            current: total,
            total,
        });
        self.tell(LayerState::PullComplete);
        Ok(())
    }

    fn tell(&self, state: LayerState) {
        // Nobody listens when the last one who waited went away; then this task is about to be aborted.
        let _ = self.events.send(state);
    }

    /// Bytes that are at hand: what an earlier attempt left of the blob is skipped in the source.
    async fn local<R: std::io::Read>(
        &self,
        guard: OwnedMutexGuard<()>,
        open_at: impl FnOnce(u64) -> R + Send + 'static,
    ) -> Result<(), ImageError> {
        let (stores, plan) = (self.stores.clone(), self.plan.clone());
        self.blocking(guard, move || {
            let ingest = stores.begin(&plan.blob)?;
            let source = open_at(ingest.offset());
            stores.unpack(&plan, source, Some(ingest), |_| {})
        })
        .await
    }

    /// Network and unpacking at the same time; the channel between them holds a few pieces.
    async fn download(
        &self,
        client: &Client,
        source: &Source,
        guard: OwnedMutexGuard<()>,
    ) -> Result<(), ImageError> {
        let slot = match client.try_slot() {
            Some(slot) => slot,
            None => {
                self.tell(LayerState::Waiting);
                client.slot().await
            }
        };
        let ingest = self.stores.begin(&self.plan.blob)?;
        let offset = ingest.offset();
        let (sender, pieces) = mpsc::channel(PIECES);
        let (stores, plan) = (self.stores.clone(), self.plan.clone());
        let report = self.report_kept();
        // As fast as the registry sends.
        let work = at_clients_pace(move || {
            let _guard = guard;
            stores.unpack(&plan, PieceReader::new(pieces), Some(ingest), report)
        });
        let blob = client.blob(source, &self.plan.blob, offset, slot);
        let fetch = self.fetch(blob, sender);
        let (fetched, worked) = tokio::join!(fetch, work);
        // A reader whose bytes stop coming fails too; the network's reason is the real one.
        fetched?;
        worked.map_err(|error| ImageError::Panicked(error.to_string()))?
    }

    /// Tells of bytes once they are kept, not once they came: what was reported is not fetched again, whatever happens
    /// to this process.
    fn report_kept(&self) -> impl FnMut(u64) + Send + 'static {
        let (events, total) = (self.events.clone(), self.plan.blob.size);
        let mut reported: Option<Instant> = None;
        move |current| {
            if reported.is_none_or(|at| at.elapsed() >= REPORT) || current == total {
                reported = Some(Instant::now());
                // Nobody listens: see `tell`.
                let _ = events.send(LayerState::Downloading { current, total });
            }
        }
    }

    async fn fetch(&self, mut blob: Blob, sender: mpsc::Sender<Piece>) -> Result<(), ImageError> {
        loop {
            // Most of what was sent is taken: the unpacking thread waits for us. All of it need not be, as bytes come in bursts.
            blob.hungry(sender.capacity() > PIECES / 2);
            let Some(event) = blob.next().await? else {
                break;
            };
            match event {
                BlobEvent::Data(data) => {
                    if sender.send(Piece::Data(data)).await.is_err() {
                        // The unpacking thread has given up, and says why.
                        return Ok(());
                    }
                }
                BlobEvent::Retrying(wait) => self.tell(LayerState::Retrying {
                    seconds: wait.as_secs().max(1),
                }),
            }
        }
        // As above.
        let _ = sender.send(Piece::End).await;
        Ok(())
    }

    async fn blocking(
        &self,
        guard: OwnedMutexGuard<()>,
        work: impl FnOnce() -> Result<(), ImageError> + Send + 'static,
    ) -> Result<(), ImageError> {
        let work = move || {
            let _guard = guard;
            work()
        };
        crate::work::blocking(work).await
    }
}
