//! The builder's events as steps of BuildKit's progress.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard_buildkit_proto::google::protobuf::Timestamp;
use tokio::sync::{mpsc, watch};
use wharf_builder::BuildEvent;
use wharf_dockerfile::Span;
use wharf_images::{LayerState, Progress};

use crate::progress::{Status, Step, Trace};
use crate::time::now;

/// How often a transfer says how far it has come.
const OFTEN: Duration = Duration::from_millis(100);

/// What the builder has said.
pub(crate) struct Said {
    trace: Arc<Trace>,
    step: Option<Step>,
    cached: bool,
    /// When the layers of a pull were first heard of.
    layers: HashMap<String, Timestamp>,
    /// Steps that several stages have in common, and that are named once.
    shared: HashSet<String>,
    /// The instruction it has come to.
    at: Option<Span>,
}

impl Said {
    pub(crate) fn new(trace: Arc<Trace>) -> Self {
        Self {
            trace,
            step: None,
            cached: false,
            layers: HashMap::new(),
            shared: HashSet::new(),
            at: None,
        }
    }

    /// Passes on what is said, until the end.
    pub(crate) async fn follow(mut self, mut events: mpsc::Receiver<BuildEvent>) -> Self {
        while let Some(event) = events.recv().await {
            self.take(event);
        }
        self
    }

    fn take(&mut self, event: BuildEvent) {
        match event {
            BuildEvent::At(span) => self.at = Some(span),
            BuildEvent::Begin(name) => {
                self.cached = false;
                let is_new = match shared(&name) {
                    Some(shared) => self.shared.insert(shared.to_owned()),
                    None => true,
                };
                self.step = is_new.then(|| self.trace.begin(name));
            }
            BuildEvent::Cached => self.cached = true,
            BuildEvent::End => match (self.step.take(), self.cached) {
                (Some(step), true) => step.cached(),
                (Some(step), false) => step.done(),
                (None, _) => {}
            },
            BuildEvent::Output { is_error, text } => {
                if let Some(step) = &mut self.step {
                    step.log(is_error, text.as_bytes());
                }
            }
            BuildEvent::Progress(progress) => self.pull(&progress),
            // The words of the classic builder.
            BuildEvent::Stream(_) | BuildEvent::Image(_) => {}
        }
    }

    fn pull(&mut self, progress: &Progress) {
        let (Some(step), Progress::Layer { id, state }) = (&self.step, progress) else {
            return;
        };
        let started = *self.layers.entry(id.clone()).or_insert_with(now);
        let mut status = Status::new(id, started);
        match state {
            LayerState::Downloading { current, total } => {
                (status.current, status.total) = (*current, *total);
                status.name = "downloading";
            }
            LayerState::PullComplete | LayerState::AlreadyExists => status.done = true,
            _ => return,
        }
        step.status(&status);
    }

    /// The build has failed; so has the step that was being done. The instruction that it had come to.
    pub(crate) fn failed(self, error: &str) -> Option<Span> {
        if let Some(step) = self.step {
            step.failed(error);
        }
        self.at
    }

    /// The build has ended well.
    pub(crate) fn done(self) {
        if let Some(step) = self.step {
            step.done();
        }
    }
}

/// Whether other stages have the same step: the look at an image, or the begin from one.
fn shared(name: &str) -> Option<&str> {
    if name.starts_with("[internal] load metadata for ") {
        return Some(name);
    }
    let (_, text) = name.split_once("] ")?;
    text.starts_with("FROM ").then_some(text)
}

/// A transfer, which says how far it has come.
pub(crate) struct Transfer<'a> {
    step: &'a Step,
    id: &'a str,
    started: Timestamp,
}

impl<'a> Transfer<'a> {
    pub(crate) fn new(step: &'a Step, id: &'a str) -> Self {
        Self {
            step,
            id,
            started: now(),
        }
    }

    /// Until the other end of `bytes` is gone.
    pub(crate) async fn follow(self, mut bytes: watch::Receiver<u64>) {
        let mut said = Instant::now();
        while bytes.changed().await.is_ok() {
            if said.elapsed() >= OFTEN {
                said = Instant::now();
                let now = *bytes.borrow_and_update();
                self.say(now, false);
            }
        }
        let last = *bytes.borrow();
        self.say(last, true);
    }

    fn say(&self, current: u64, done: bool) {
        self.step.status(&Status {
            current,
            done,
            ..Status::new(self.id, self.started)
        });
    }
}
