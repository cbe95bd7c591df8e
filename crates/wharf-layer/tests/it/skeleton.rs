//! Archives from their skeletons: the same bytes, whoever wrote them and whatever is in them.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use wharf_layer::{ApplyOptions, apply, read_skeleton, write_skeleton};

use crate::build::{Entry, archive, dir, entry, file, hard_link, symlink};

/// The archive unpacked, and its skeleton.
fn skeleton_of(archive: &[u8]) -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let opened = File::open(folder.path()).unwrap();
    apply(archive, opened.as_fd(), &ApplyOptions::default()).unwrap();
    let mut written = tempfile::tempfile().unwrap();
    written.write_all(archive).unwrap();
    let mut skeleton = Vec::new();
    write_skeleton(&written, opened.as_fd(), &mut skeleton).unwrap();
    (folder, skeleton)
}

fn again(folder: &Path, skeleton: &[u8]) -> Result<Vec<u8>, wharf_layer::LayerError> {
    let mut out = Vec::new();
    let folder = File::open(folder).unwrap();
    read_skeleton(skeleton, folder.as_fd(), &mut out).map(|()| out)
}

fn noise(length: usize) -> String {
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap())
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn give_the_same_bytes_and_keep_none_that_are_unpacked() {
    let large = noise(700_000);
    let long = format!("{}/{}", "d".repeat(90), "n".repeat(200));
    let all = archive(&[
        dir("usr/"),
        file("./usr/large", &large),
        file("/absolute", &noise(1000)),
        file("empty", ""),
        file("small", "a few bytes"),
        hard_link("usr/second", "usr/large"),
        symlink("link", "usr"),
        // By the link.
        file("link/through", &noise(2000)),
        entry(b'0', "usr/.wh.gone"),
        entry(b'0', "usr/.wh..wh..opq"),
        file("p", &noise(3000)).pax("path", long.as_bytes()),
        // What replaces another: the first one is nowhere else.
        file("twice", &noise(4000)),
        file("twice", &"second".repeat(1000)),
    ]);
    let (folder, skeleton) = skeleton_of(&all);
    assert!(again(folder.path(), &skeleton).unwrap() == all);
    // Of all that does not compress, only the first `twice` is not there in the folder.
    assert!(skeleton.len() < 4000 + 2000, "{}", skeleton.len());
}

#[test]
fn bytes_that_no_member_has_stay() {
    let mut all = archive(&[file("a", &noise(5000))]);
    all.extend(noise(3000).bytes());
    let (folder, skeleton) = skeleton_of(&all);
    assert!(again(folder.path(), &skeleton).unwrap() == all);
    // As some write them: without the end mark, and without the last padding.
    let mut all = archive(&[file("a", &noise(5000))]);
    all.truncate(512 + 5000);
    let (folder, skeleton) = skeleton_of(&all);
    assert!(again(folder.path(), &skeleton).unwrap() == all);
}

#[test]
fn files_that_are_not_as_they_were_are_told() {
    let all = archive(&[file("dir/a", &noise(5000)), file("b", &noise(5000))]);
    let (folder, skeleton) = skeleton_of(&all);
    let path = folder.path().join("dir/a");
    // Other bytes are for the digest to see.
    fs::write(&path, "x".repeat(5000)).unwrap();
    assert!(again(folder.path(), &skeleton).unwrap() != all);
    fs::write(&path, "shorter").unwrap();
    let refused = again(folder.path(), &skeleton).unwrap_err();
    assert_eq!(refused.to_string(), "read dir/a");
    // And what is elsewhere by now is not read.
    fs::remove_file(&path).unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), "x".repeat(5000)).unwrap();
    std::os::unix::fs::symlink(outside.path(), &path).unwrap();
    assert!(again(folder.path(), &skeleton).is_err());
    // Nor is a skeleton taken for whole that is not.
    assert!(again(folder.path(), &skeleton[..skeleton.len() - 3]).is_err());
    assert!(again(folder.path(), b"nonsense").is_err());
}

#[test]
fn holes_are_left_to_the_archive() {
    let sparse = Entry {
        data: noise(512).into_bytes(),
        ..file("sparse", "")
    };
    let sparse = sparse
        .pax("GNU.sparse.major", b"0")
        .pax("GNU.sparse.minor", b"1")
        .pax("GNU.sparse.size", b"4096")
        .pax("GNU.sparse.map", b"1024,512");
    let all = archive(&[sparse, file("b", &noise(5000))]);
    let (folder, skeleton) = skeleton_of(&all);
    assert_eq!(
        fs::metadata(folder.path().join("sparse")).unwrap().len(),
        4096
    );
    assert!(again(folder.path(), &skeleton).unwrap() == all);
}

#[test]
fn a_disk_that_takes_no_more_is_told() {
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let all = archive(&[file("a", &noise(5000))]);
    let (folder, skeleton) = skeleton_of(&all);
    let folder = File::open(folder.path()).unwrap();
    let failed = read_skeleton(&skeleton[..], folder.as_fd(), &mut Full).unwrap_err();
    assert!(
        matches!(failed, wharf_layer::LayerError::Write(_)),
        "{failed}"
    );
}
