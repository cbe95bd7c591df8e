//! The session in which `wharf build` offers its folder: what the daemon has of it from earlier builds is not sent again.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::task::AbortOnDropHandle;
use wharf_buildkit::{OFFERED, Offer};
use wharf_client::Client;
use wharf_oci::Digest;

use super::build_context;
use crate::cli::Outcome;

/// A session that is open. Dropping it ends it.
pub(super) struct Session {
    /// What the daemon knows it by.
    pub(super) id: String,
    sent: Arc<AtomicU64>,
    _served: AbortOnDropHandle<()>,
}

impl Session {
    /// Bytes of files that have been sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// Offers a folder; `None` if the daemon takes an archive only.
pub(super) async fn open(client: &Client, folder: &Path, offer: Offer) -> Outcome<Option<Session>> {
    let place = std::fs::canonicalize(folder)?;
    let id = build_context::random_name().replace(".dockerfile.", "wharf-");
    let headers = [
        ("x-docker-expose-session-uuid", id.clone()),
        ("x-docker-expose-session-name", "wharf".to_owned()),
        ("x-docker-expose-session-sharedkey", key_of(&place)),
        ("x-docker-expose-session-grpc-method", OFFERED.to_owned()),
    ];
    let Some(stream) = client.session(&headers).await? else {
        return Ok(None);
    };
    let sent = offer.sent();
    let served = AbortOnDropHandle::new(tokio::spawn(offer.serve(stream)));
    Ok(Some(Session {
        id,
        sent,
        _served: served,
    }))
}

/// By what the daemon knows the folder again: it may have clients on several machines.
fn key_of(folder: &Path) -> String {
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    // Machines of one image have one id, and their folders one name.
    let inode = std::fs::metadata(folder).map_or((0, 0), |of| (of.dev(), of.ino()));
    Digest::sha256(format!("{machine}\0{inode:?}\0{}", folder.display()).as_bytes()).hex()
}
