//! Keeps what clients and a daemon say to each other, as it is on the wire, for `cargo xtask coverage`.
//!
//! It stands between both and understands nothing of it: bytes go through at once, and the first part of each
//! direction of each connection goes into a file beside. So it cannot change what a test sees.

use std::fs::File;
use std::io::{Read, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The variable that names the folder to record into; nothing is recorded without it.
const FOLDER: &str = "WHARF_RECORD_API";
/// How much of each direction of a connection is kept, in bytes: archives and logs say nothing new after that.
const KEPT: usize = 256 << 10;

static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// Where recordings go, if they are wanted.
pub(crate) fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Listens at `front` for as long as this process lives, and passes what comes on to `back`.
pub(crate) fn start(front: &Path, back: &Path, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let listener = UnixListener::bind(front)?;
    let (back, folder) = (back.to_owned(), folder.to_owned());
    std::thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            // A daemon that is not there ends the connection, as it would without us.
            let Ok(daemon) = UnixStream::connect(&back) else {
                continue;
            };
            let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
            let stem = folder.join(format!("{}-{number}", std::process::id()));
            let _ = pass(&client, &daemon, stem.with_extension("request"));
            let _ = pass(&daemon, &client, stem.with_extension("answer"));
        }
    });
    Ok(())
}

/// Passes one direction on, with the half-close at its end.
fn pass(from: &UnixStream, to: &UnixStream, kept: PathBuf) -> std::io::Result<()> {
    let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
    let mut file = File::create(kept)?;
    std::thread::spawn(move || {
        let mut room = KEPT;
        let mut buffer = vec![0; 32 << 10];
        loop {
            let bytes = match from.read(&mut buffer) {
                Ok(count) if count > 0 => buffer.get(..count).unwrap_or_default(),
                _ => break,
            };
            let keep = bytes.get(..room.min(bytes.len())).unwrap_or_default();
            room -= keep.len();
            // What is not recorded counts as not exercised.
            let _ = file.write_all(keep);
            if to.write_all(bytes).is_err() {
                // The other side has had enough; so has this one.
                let _ = from.shutdown(Shutdown::Read);
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    Ok(())
}
