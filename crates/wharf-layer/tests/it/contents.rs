//! What is kept of files' contents.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use wharf_layer::{ApplyOptions, Plain, kept_content};
use wharf_oci::Digest;

use crate::build::{archive, file, unpack_with};

fn kept(dir: &Path, size: u64) -> Option<Vec<u8>> {
    let dir = File::open(dir).unwrap();
    kept_content(dir.as_fd(), b"f", size).map(Vec::from)
}

fn options(keeps_contents: bool) -> ApplyOptions {
    let plain = Plain {
        keeps_contents,
        ..Plain::default()
    };
    ApplyOptions {
        plain: Some(plain),
        ..ApplyOptions::default()
    }
}

#[test]
fn a_file_keeps_the_digest_of_its_content() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    unpack_with(&archive(&[file("f", "text")]), dir.path(), &options(true)).unwrap();
    let digest = Digest::sha256(b"text").as_bytes().to_vec();
    assert_eq!(kept(dir.path(), 4), Some(digest));
    // A power cut has taken the rest of it.
    assert_eq!(kept(dir.path(), 3), None);
}

/// Else it could pass for another file.
#[test]
fn no_archive_brings_a_digest() {
    let mut said = 4_u64.to_le_bytes().to_vec();
    said.extend_from_slice(Digest::sha256(b"other").as_bytes());
    let member = file("f", "text").pax("SCHILY.xattr.trusted.wharf.content", &said);
    for options in [ApplyOptions::default(), options(false)] {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        unpack_with(
            &archive(std::slice::from_ref(&member)),
            dir.path(),
            &options,
        )
        .unwrap();
        assert_eq!(kept(dir.path(), 4), None);
    }
}

/// What an archive says of `/` is said of the folder that it goes into, and what it says of `.` is not, as Docker has it.
#[test]
fn the_top_of_an_archive() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let unpacked = |name: &str, options: &ApplyOptions| {
        let mode = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(dir.path(), mode).unwrap();
        let top = crate::build::Entry {
            mode: 0o750,
            ..crate::build::dir(name)
        };
        unpack_with(&archive(&[top]), dir.path(), options).unwrap();
        dir.path().metadata().unwrap().permissions().mode() & 0o7777
    };
    assert_eq!(unpacked("/", &options(false)), 0o750);
    for name in ["./", ".", "a/.."] {
        assert_eq!(unpacked(name, &options(false)), 0o711, "{name}");
    }
    // A layer's.
    assert_eq!(unpacked("/", &ApplyOptions::default()), 0o711);
}
