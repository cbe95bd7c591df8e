//! The archive that a client sends, unpacked.

use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;

use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;
use wharf_builder::{BuildError, Local, Scratch};
use wharf_layer::{ApplyOptions, LayerError, Plain, apply};
use wharf_sys::root::Root;
use wharf_sys::words::chain;

use crate::solver::Shared;

/// A folder that is removed when nobody has it any more, by a thread of its own: there may be much in it.
#[derive(Debug)]
struct Passing(Option<Scratch>);

impl Drop for Passing {
    fn drop(&mut self) {
        let folder = self.0.take();
        let thread = std::thread::Builder::new().name("remove".to_owned());
        // Where there is no thread to be had, it goes with the closure.
        let _ = thread.spawn(move || drop(folder));
    }
}

/// Unpacks an archive of plain files into a folder of its own. Nothing at all is an empty folder.
///
/// # Errors
/// If it is none, or the disk refuses.
pub(super) async fn unpack(
    archive: Box<dyn AsyncRead + Send + Unpin>,
    shared: Arc<Shared>,
) -> Result<Local, BuildError> {
    let mut archive = SyncIoBridge::new(archive);
    let work = move || {
        let unpacked = placed(&mut archive, &shared);
        if unpacked.is_err() {
            // A client that is still sending does not read why; and what it sends is not wanted any more.
            let _ = io::copy(&mut archive, &mut io::sink());
        }
        unpacked
    };
    let done = wharf_images::at_clients_pace(work).await;
    done.map_err(|error| BuildError::Failed(error.to_string()))?
}

fn placed(archive: &mut impl Read, shared: &Shared) -> Result<Local, BuildError> {
    let folder = shared.scratch()?;
    extract(archive, folder.path()).map_err(told)?;
    Ok(Local {
        folder: folder.path().to_owned(),
        keep: Arc::new(Passing(Some(folder))),
    })
}

fn options() -> ApplyOptions {
    ApplyOptions {
        skip_devices: true,
        plain: Some(Plain {
            keeps_contents: true,
            ..Plain::default()
        }),
        ..ApplyOptions::default()
    }
}

fn extract(archive: &mut impl Read, folder: &Path) -> Result<(), LayerError> {
    let root = Root::open(folder).map_err(LayerError::Read)?;
    let mut first = [0; 1];
    if archive.read(&mut first).map_err(LayerError::Read)? == 0 {
        return Ok(());
    }
    apply(first.chain(archive), root.as_fd(), &options()).map(drop)
}

fn unread(error: io::Error) -> BuildError {
    BuildError::Failed(format!("error reading the build context: {error}"))
}

fn told(error: LayerError) -> BuildError {
    BuildError::Failed(match error {
        // As Go's reader of archives says it.
        LayerError::Truncated => "unexpected EOF".to_owned(),
        LayerError::Header { .. } => "archive/tar: invalid tar header".to_owned(),
        LayerError::Read(error) => return unread(error),
        error => format!("Error processing tar file: {}", chain(&error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who reads a Dockerfile opens no device.
    #[test]
    fn devices_are_left_out() {
        let mut archive = tar::Builder::new(Vec::new());
        let mut add = |name: &str, kind: tar::EntryType, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_size(bytes.len() as u64);
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
            archive.append_data(&mut header, name, bytes).unwrap();
        };
        add("Dockerfile", tar::EntryType::Char, b"");
        add("disk", tar::EntryType::Block, b"");
        add("pipe", tar::EntryType::Fifo, b"");
        add("file", tar::EntryType::Regular, b"text");
        let archive = archive.into_inner().unwrap();
        let folder = tempfile::tempdir().unwrap();
        extract(&mut &archive[..], folder.path()).unwrap();
        let names = std::fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = names.map(|name| name.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["file", "pipe"]);
    }
}
