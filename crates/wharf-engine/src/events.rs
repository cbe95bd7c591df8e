//! Events: a broadcast with a bounded history that outlives the daemon (Docker's `/events`). Not a second truth: nothing
//! is ever read back from it but for those who ask what has happened.

mod history;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::Filters;
use history::{History, Older};

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// What builds keep.
    Builder,
    /// A container.
    Container,
    /// The daemon itself.
    Daemon,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
}

impl EventKind {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Builder => "builder",
            Self::Container => "container",
            Self::Daemon => "daemon",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What it is about.
    pub kind: EventKind,
    /// Docker's name of the action (`start`, `exec_create: sh`).
    pub action: String,
    /// Id of what it is about; the name for images and volumes.
    pub actor: String,
    /// Docker's attributes.
    pub attributes: BTreeMap<String, String>,
    /// When.
    pub time: Timestamp,
}

/// Which events are wanted.
#[derive(Clone, Debug, Default)]
pub struct EventOptions {
    /// From then on, out of the history.
    pub since: Option<Timestamp>,
    /// Until then; a stream that ends.
    pub until: Option<Timestamp>,
    /// Docker's filters: `type`, `event`, `container`, `image`, `label`, `network`, `volume`, `daemon`, `scope`.
    pub filters: Filters,
}

/// The broadcast. Clones share it.
#[derive(Clone)]
pub struct Events {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    history: History,
    sender: broadcast::Sender<Arc<Event>>,
}

/// Events for one listener.
pub struct EventStream {
    /// What has to be read from files first.
    older: Option<Older>,
    backlog: VecDeque<Arc<Event>>,
    receiver: broadcast::Receiver<Arc<Event>>,
    options: EventOptions,
}

impl Default for Events {
    fn default() -> Self {
        Self::with(History::default())
    }
}

impl Events {
    /// A broadcast whose history goes on in the file `path`, and one beside it.
    pub(crate) fn open(path: PathBuf) -> Self {
        Self::with(History::open(path))
    }

    fn with(history: History) -> Self {
        let (sender, _) = broadcast::channel(1024);
        Self {
            inner: Arc::new(Mutex::new(Inner { history, sender })),
        }
    }

    /// Tells everybody.
    pub fn publish(&self, event: Event) {
        let event = Arc::new(event);
        let mut inner = self.lock();
        inner.history.push(event.clone());
        // No listener is no error.
        let _ = inner.sender.send(event);
    }

    /// Tells everybody that `action` happened now.
    pub fn emit(
        &self,
        kind: EventKind,
        action: &str,
        actor: &str,
        attributes: BTreeMap<String, String>,
    ) {
        self.publish(Event {
            kind,
            action: action.to_owned(),
            actor: actor.to_owned(),
            attributes,
            time: Timestamp::now(),
        });
    }

    /// Begins to listen. Nothing published after this call is missed, and nothing in the history behind
    /// `since` comes twice.
    pub fn subscribe(&self, options: EventOptions) -> EventStream {
        let inner = self.lock();
        let from = options.since.or(options.until.map(|_| Timestamp::MIN));
        let older = from.and_then(|from| inner.history.older(from));
        let backlog = inner.history.recent().filter(|event| {
            // Docker gives history only if it is asked for a time.
            match (options.since, options.until) {
                (Some(since), _) => event.time >= since,
                (None, Some(_)) => true,
                (None, None) => false,
            }
        });
        EventStream {
            older,
            backlog: backlog.cloned().collect(),
            receiver: inner.sender.subscribe(),
            options,
        }
    }

    /// How many events there were on this data root.
    pub fn published(&self) -> u64 {
        self.lock().history.count()
    }

    /// How many listeners there are.
    pub fn listeners(&self) -> usize {
        self.lock().sender.receiver_count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventStream {
    /// The next wanted event; `None` when `until` has come. Cancel-safe once the first has come.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        self.read_older().await;
        loop {
            let event = match self.backlog.pop_front() {
                Some(event) => event,
                None => self.live().await?,
            };
            if self.options.until.is_some_and(|until| event.time > until) {
                return None;
            }
            if wanted(&event, &self.options.filters) {
                return Some(event);
            }
        }
    }

    /// Puts what files know before the rest.
    async fn read_older(&mut self) {
        let Some(older) = self.older.take() else {
            return;
        };
        let since = self.options.since.unwrap_or(Timestamp::MIN);
        let read = tokio::task::spawn_blocking(move || older.since(since)).await;
        // A panic of the reader is no reason to tell nothing.
        let mut read = read.unwrap_or_default();
        read.append(&mut self.backlog);
        self.backlog = read;
    }

    async fn live(&mut self) -> Option<Arc<Event>> {
        loop {
            let received = match self.options.until {
                None => self.receiver.recv().await,
                Some(until) => {
                    let left = Timestamp::now().duration_until(until);
                    let left = std::time::Duration::try_from(left).unwrap_or_default();
                    match tokio::time::timeout(left, self.receiver.recv()).await {
                        Ok(received) => received,
                        // What is queued already was published before `until`.
                        Err(_) => return self.receiver.try_recv().ok(),
                    }
                }
            };
            match received {
                Ok(event) => return Some(event),
                // A listener that does not keep up loses events, as with Docker.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// moby `daemon/events/filter.go`. As there, the beginning of an id or a name is enough, and the kind of the event is not looked at:
/// `container=web` is also told of what happens to a network `web`.
fn wanted(event: &Event, filters: &Filters) -> bool {
    let name = event.attributes.get("name").map_or("", String::as_str);
    let action =
        |wanted: &str| event.action == wanted || event.action.split(':').next() == Some(wanted);
    let actor = |wanted: &str| event.actor.starts_with(wanted) || name.starts_with(wanted);
    filters.any("event", action)
        && filters.any("type", |wanted| event.kind.as_str() == wanted)
        && filters.any("scope", |wanted| wanted == "local")
        && filters.any("image", |wanted| image(event, wanted))
        && filters.labels("label", &event.attributes)
        && ACTORS.iter().all(|key| filters.any(key, actor))
}

/// The filters that ask for what an event is about.
const ACTORS: [&str; 9] = [
    "config",
    "container",
    "daemon",
    "network",
    "node",
    "plugin",
    "secret",
    "service",
    "volume",
];

/// Whether an event is about an image, by its id, or its name with or without the tag; a container's event is about what its image is
/// called there.
fn image(event: &Event, wanted: &str) -> bool {
    let key = match event.kind {
        EventKind::Image => "name",
        _ => "image",
    };
    let name = event.attributes.get(key).map_or("", String::as_str);
    [event.actor.as_str(), name]
        .into_iter()
        .any(|text| text == wanted || without_tag(text) == wanted)
}

fn without_tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((base, tag)) if !tag.contains('/') => base,
        _ => name,
    }
}
