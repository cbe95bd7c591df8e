//! What a build says while it works.

use tokio::sync::mpsc;
use wharf_images::Progress;
use wharf_oci::Digest;

/// One thing said.
#[derive(Clone, Debug)]
pub enum BuildEvent {
    /// Text of the classic builder, as its user is to see it.
    Stream(String),
    /// What a command says.
    Output {
        /// On its standard error.
        is_error: bool,
        /// What.
        text: String,
    },
    /// The image that a stage has become.
    Image(Digest),
    /// Of a pull.
    Progress(Progress),
}

/// Where it is said. It waits while the reader has enough, and forgets what is said when there is none any more:
/// whoever holds the build gives it up then.
#[derive(Clone, Debug)]
pub struct Output(mpsc::Sender<BuildEvent>);

impl Output {
    /// An output and what reads it.
    pub fn channel() -> (Self, mpsc::Receiver<BuildEvent>) {
        let (sender, receiver) = mpsc::channel(64);
        (Self(sender), receiver)
    }

    pub(crate) async fn send(&self, event: BuildEvent) {
        // The reader is gone: so will the build be.
        let _ = self.0.send(event).await;
    }

    pub(crate) async fn say(&self, text: impl Into<String>) {
        self.send(BuildEvent::Stream(text.into())).await;
    }
}
