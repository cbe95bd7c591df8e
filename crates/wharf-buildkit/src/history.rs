//! Builds of the past, in memory: what `docker buildx` asks about a build that has ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bollard_buildkit_proto::moby::buildkit::v1::{
    BuildHistoryEvent, BuildHistoryEventType, BuildHistoryRecord, UpdateBuildHistoryRequest,
};
use tokio::sync::broadcast;

use crate::error::Error;
use crate::progress::Trace;

/// As many records are kept (dockerd's default).
const KEPT: usize = 50;
/// Of as many the whole progress is kept.
const TRACES: usize = 10;

/// The history. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct History(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    past: Mutex<VecDeque<Past>>,
    events: broadcast::Sender<BuildHistoryEvent>,
}

#[derive(Debug)]
struct Past {
    record: BuildHistoryRecord,
    trace: Option<Arc<Trace>>,
    active: bool,
}

impl Default for History {
    fn default() -> Self {
        let (events, _) = broadcast::channel(256);
        Self(Arc::new(Inner {
            past: Mutex::default(),
            events,
        }))
    }
}

impl History {
    fn past(&self) -> std::sync::MutexGuard<'_, VecDeque<Past>> {
        self.0.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, kind: BuildHistoryEventType, record: BuildHistoryRecord) {
        // Nobody may listen.
        let _ = self.0.events.send(event(kind, record));
    }

    /// A build has begun.
    pub(crate) fn begin(&self, record: BuildHistoryRecord, trace: &Arc<Trace>) {
        {
            let mut past = self.past();
            past.retain(|one| one.record.r#ref != record.r#ref);
            past.push_front(Past {
                record: record.clone(),
                trace: Some(trace.clone()),
                active: true,
            });
        }
        self.tell(BuildHistoryEventType::Started, record);
    }

    /// It has ended.
    pub(crate) fn end(&self, record: BuildHistoryRecord) {
        {
            let mut past = self.past();
            if let Some(one) = past.iter_mut().find(|one| one.record.r#ref == record.r#ref) {
                one.record = record.clone();
                one.active = false;
            }
            let mut number = 0;
            past.retain_mut(|one| {
                number += 1;
                if number > TRACES && !one.active {
                    one.trace = None;
                }
                number <= KEPT || one.active || one.record.pinned
            });
        }
        self.tell(BuildHistoryEventType::Complete, record);
    }

    /// What a build has said, if it is still known.
    pub(crate) fn trace(&self, id: &str) -> Option<Arc<Trace>> {
        let past = self.past();
        let one = past.iter().find(|one| one.record.r#ref == id)?;
        one.trace.clone()
    }

    /// What there is, and what comes.
    pub(crate) fn listen(
        &self,
        wanted: impl Fn(&BuildHistoryRecord) -> bool,
        active_only: bool,
    ) -> (
        Vec<BuildHistoryEvent>,
        broadcast::Receiver<BuildHistoryEvent>,
    ) {
        let past = self.past();
        let receiver = self.0.events.subscribe();
        let shown = past
            .iter()
            .filter(|one| wanted(&one.record) && (one.active || !active_only));
        let events = shown.map(|one| {
            let kind = match one.active {
                true => BuildHistoryEventType::Started,
                false => BuildHistoryEventType::Complete,
            };
            event(kind, one.record.clone())
        });
        (events.collect(), receiver)
    }

    /// Pins, unpins or deletes a record.
    ///
    /// # Errors
    /// If there is none of that id.
    pub(crate) fn update(&self, request: &UpdateBuildHistoryRequest) -> Result<(), Error> {
        let missing = || Error::NotFound(format!("no such build record: {}", request.r#ref));
        let changed = {
            let mut past = self.past();
            let at = past
                .iter()
                .position(|one| one.record.r#ref == request.r#ref);
            let at = at.ok_or_else(missing)?;
            if request.delete {
                past.remove(at).map(|one| (true, one.record))
            } else {
                past.get_mut(at).map(|one| {
                    if !request.finalize {
                        one.record.pinned = request.pinned;
                    }
                    (false, one.record.clone())
                })
            }
        };
        match changed {
            Some((true, record)) => self.tell(BuildHistoryEventType::Deleted, record),
            Some((false, record)) => self.tell(BuildHistoryEventType::Complete, record),
            None => return Err(missing()),
        }
        Ok(())
    }
}

fn event(kind: BuildHistoryEventType, record: BuildHistoryRecord) -> BuildHistoryEvent {
    BuildHistoryEvent {
        r#type: kind.into(),
        record: Some(record),
    }
}
