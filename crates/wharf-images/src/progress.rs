//! What a pull or a load tells while it works: a closed set of events, and the text that Docker has for each.

use tokio::sync::mpsc;
use wharf_distribution::Source;
use wharf_oci::{Descriptor, Digest};

/// Where events go. Cheap to clone; a receiver that went away is no error, the work goes on.
///
/// The channel is unbounded, but what goes into it is thinned out to a few events per layer and second.
#[derive(Debug, Clone)]
pub struct ProgressSender(Option<mpsc::UnboundedSender<Progress>>);

impl ProgressSender {
    /// A sender and the receiver of its events.
    pub fn channel() -> (ProgressSender, mpsc::UnboundedReceiver<Progress>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (ProgressSender(Some(sender)), receiver)
    }

    /// A sender whose events nobody reads.
    pub fn discard() -> ProgressSender {
        ProgressSender(None)
    }

    /// Sends one event.
    pub fn send(&self, event: Progress) {
        if let Some(sender) = &self.0 {
            // The client may have hung up; the engine decides whether that cancels the work.
            let _ = sender.send(event);
        }
    }

    /// Tells what a registry wants its users to know.
    pub(crate) fn registry_warns(&self, registry: &Source) {
        for text in registry.take_warnings() {
            self.send(Progress::Warning(text));
        }
    }

    pub(crate) fn layer(&self, id: &str, state: LayerState) {
        self.send(Progress::Layer {
            id: id.to_owned(),
            state,
        });
    }
}

/// One step of a pull or a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A manifest was found and its layers come next.
    PullingFrom {
        /// The tag, or the whole reference if the pull is by digest.
        tag: String,
        /// The repository's path, without its registry: `library/debian`.
        repository: String,
    },
    /// A layer changed its state.
    Layer {
        /// Twelve digits: of the blob's digest in a pull, of the diff id in a load.
        id: String,
        /// The new state.
        state: LayerState,
    },
    /// The digest of what was pulled: of the index if there is one, else of the manifest.
    Digest(Digest),
    /// The end of a pull.
    Pulled {
        /// Familiar name with tag or digest.
        name: String,
        /// Whether the name now means another image than before.
        newer: bool,
    },
    /// No registry could be reached, and the built-in catalogue has the image.
    FromCatalogue {
        /// Familiar name with tag.
        name: String,
        /// Why the registry could not be used.
        reason: String,
    },
    /// Something that the user should know and that does not stop the work.
    Warning(String),
    /// A push begins.
    PushTo {
        /// Full name of the repository, with its registry.
        repository: String,
    },
    /// A layer was taken over from another repository of the same registry.
    Mounted {
        /// Twelve digits of the layer's diff id.
        id: String,
        /// The repository's path.
        from: String,
    },
    /// The end of one tag in a push. A program reads it as `aux`, after the line.
    PushedTag {
        /// The tag.
        tag: String,
        /// Digest of the manifest.
        digest: Digest,
        /// Bytes of the manifest.
        size: u64,
    },
    /// Of an image for several platforms only one was pushed, as the others are not here. Only programs read it.
    NotTheIndex {
        /// The index that the image came by.
        index: Box<Descriptor>,
        /// What was pushed.
        manifest: Box<Descriptor>,
    },
    /// A load takes a name away from the image that had it.
    RenamedOld {
        /// The name.
        name: String,
        /// The image that loses it.
        id: Digest,
    },
    /// The end of one name in a load.
    LoadedName(String),
    /// The end of one image without a name in a load.
    LoadedId(Digest),
}

/// The states of a layer, in the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// It will have to be fetched.
    PullingFsLayer,
    /// It waits until fewer downloads are running.
    Waiting,
    /// The connection broke and is tried again.
    Retrying {
        /// Seconds until then.
        seconds: u64,
    },
    /// Bytes are coming in (and are unpacked at the same time).
    Downloading {
        /// Compressed bytes so far.
        current: u64,
        /// Compressed bytes in all.
        total: u64,
    },
    /// All bytes are here and their digest is compared.
    VerifyingChecksum,
    /// The digest is right.
    DownloadComplete,
    /// Files are being written.
    Extracting {
        /// Compressed bytes so far.
        current: u64,
        /// Compressed bytes in all.
        total: u64,
    },
    /// The layer is in the store.
    PullComplete,
    /// The layer was in the store before.
    AlreadyExists,
    /// It will be looked for at the registry.
    Preparing,
    /// Bytes are going out.
    Pushing {
        /// Bytes so far.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The registry has it now.
    Pushed,
    /// The registry had it.
    AtRegistry,
    /// A layer of a loaded archive is being unpacked.
    LoadingLayer {
        /// Bytes of the archive's member so far.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
}

/// One line of Docker's progress stream (`jsonmessage.JSONMessage`), still without JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// `id`: what the line is about; a terminal keeps one line per id.
    pub id: Option<String>,
    /// `status`; empty when `stream` is set.
    pub status: String,
    /// `progressDetail` as (current, total) in bytes.
    pub detail: Option<(u64, u64)>,
    /// `stream`: text to be printed as it is, with its own line end.
    pub stream: Option<String>,
}

impl Progress {
    /// The line that dockerd sends for this event, byte for byte.
    pub fn line(&self) -> Line {
        match self {
            Progress::PullingFrom { tag, repository } => Line {
                id: Some(tag.clone()),
                status: format!("Pulling from {repository}"),
                ..Line::default()
            },
            Progress::Layer { id, state } => Line {
                id: Some(id.clone()),
                status: state.status(),
                detail: state.detail(),
                stream: None,
            },
            Progress::Digest(digest) => Line::status(format!("Digest: {digest}")),
            Progress::Pulled { name, newer: true } => {
                Line::status(format!("Status: Downloaded newer image for {name}"))
            }
            Progress::Pulled { name, newer: false } => {
                Line::status(format!("Status: Image is up to date for {name}"))
            }
            Progress::FromCatalogue { name, reason } => Line::status(format!(
                "No registry could be reached ({reason}): taking {name} from the built-in catalogue"
            )),
            Progress::Warning(text) => Line::status(format!("WARNING: {text}")),
            Progress::PushTo { repository } => {
                Line::status(format!("The push refers to repository [{repository}]"))
            }
            Progress::Mounted { id, from } => Line {
                id: Some(id.clone()),
                status: format!("Mounted from {from}"),
                ..Line::default()
            },
            Progress::PushedTag { tag, digest, size } => {
                Line::status(format!("{tag}: digest: {digest} size: {size}"))
            }
            Progress::NotTheIndex { .. } => Line::default(),
            Progress::RenamedOld { name, id } => Line::stream(format!(
                "The image {name} already exists, renaming the old one with ID {id} to empty string\n"
            )),
            Progress::LoadedName(name) => Line::stream(format!("Loaded image: {name}\n")),
            Progress::LoadedId(id) => Line::stream(format!("Loaded image ID: {id}\n")),
        }
    }
}

impl Line {
    fn status(status: String) -> Line {
        Line {
            status,
            ..Line::default()
        }
    }

    fn stream(text: String) -> Line {
        Line {
            stream: Some(text),
            ..Line::default()
        }
    }
}

impl LayerState {
    fn status(self) -> String {
        match self {
            LayerState::PullingFsLayer => "Pulling fs layer".to_owned(),
            LayerState::Waiting => "Waiting".to_owned(),
            LayerState::Retrying { seconds } => format!(
                "Retrying in {seconds} second{}",
                if seconds == 1 { "" } else { "s" }
            ),
            LayerState::Downloading { .. } => "Downloading".to_owned(),
            LayerState::VerifyingChecksum => "Verifying Checksum".to_owned(),
            LayerState::DownloadComplete => "Download complete".to_owned(),
            LayerState::Extracting { .. } => "Extracting".to_owned(),
            LayerState::PullComplete => "Pull complete".to_owned(),
            LayerState::AlreadyExists => "Already exists".to_owned(),
            LayerState::Preparing => "Preparing".to_owned(),
            LayerState::Pushing { .. } => "Pushing".to_owned(),
            LayerState::Pushed => "Pushed".to_owned(),
            LayerState::AtRegistry => "Layer already exists".to_owned(),
            LayerState::LoadingLayer { .. } => "Loading layer".to_owned(),
        }
    }

    fn detail(self) -> Option<(u64, u64)> {
        match self {
            LayerState::Downloading { current, total }
            | LayerState::Extracting { current, total }
            | LayerState::Pushing { current, total }
            | LayerState::LoadingLayer { current, total } => Some((current, total)),
            _ => None,
        }
    }
}
