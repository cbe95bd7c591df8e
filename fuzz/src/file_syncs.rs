//! What must hold of what a client sends as its files, whatever the bytes. It panics if it does not.

use std::fs::{self, File};
use std::os::fd::OwnedFd;

use bollard_buildkit_proto::fsutil::types::Packet;
use prost::Message as _;
use wharf_sys::root::Root;

/// Packets, each with its length before it, change nothing outside of the folder.
pub(crate) fn file_sync(bytes: &[u8]) {
    let mut rest = bytes;
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let Ok(packet) = Packet::decode_length_delimited(&mut rest) else {
            break;
        };
        packets.push(packet);
    }
    let Ok(around) = tempfile::tempdir() else {
        return;
    };
    let path = |name: &str| around.path().join(name);
    let made = fs::create_dir(path("tree"))
        .and_then(|()| fs::create_dir(path("beside")))
        .and_then(|()| fs::write(path("outside"), "untouched"));
    let opened = made.and_then(|()| Ok((Root::open(&path("tree"))?, File::open(path("beside"))?)));
    let Ok((root, beside)) = opened else {
        return;
    };
    // What it says is refused, or done inside.
    let _ = wharf_buildkit::receive(root, OwnedFd::from(beside), packets);
    let names = fs::read_dir(around.path()).map(Iterator::count).ok();
    assert_eq!(names, Some(3), "something was made outside");
    let outside = fs::read(path("outside")).ok();
    assert_eq!(outside.as_deref(), Some(&b"untouched"[..]));
}
