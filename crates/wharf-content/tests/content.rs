//! Blobs from the outside: written, resumed, damaged, collected.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::Path;

use wharf_content::{Content, ContentError};
use wharf_oci::{Algorithm, Digest, Hasher};

fn put(content: &Content, bytes: &[u8]) -> Digest {
    let digest = Digest::sha256(bytes);
    let mut ingest = content.ingest(&digest, Some(bytes.len() as u64)).unwrap();
    ingest.write(bytes).unwrap();
    ingest.commit().unwrap();
    digest
}

fn blob_path(dir: &Path, digest: &Digest) -> std::path::PathBuf {
    dir.join("blobs").join("sha256").join(digest.hex())
}

#[test]
fn what_goes_in_comes_out() {
    let dir = tempfile::tempdir().unwrap();
    let content = Content::open(dir.path()).unwrap();
    let digest = Digest::sha256(b"hello");
    assert!(!content.contains(&digest));
    assert!(matches!(
        content.open_blob(&digest),
        Err(ContentError::NotFound(_))
    ));
    assert!(matches!(
        content.size(&digest),
        Err(ContentError::NotFound(_))
    ));
    put(&content, b"hello");
    let mut text = String::new();
    content
        .open_blob(&digest)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "hello");
    assert_eq!(content.size(&digest).unwrap(), 5);
    assert_eq!(content.read_small(&digest, 5).unwrap(), b"hello");
    assert!(matches!(
        content.read_small(&digest, 4),
        Err(ContentError::TooLarge { .. })
    ));
    assert!(matches!(
        content.ingest(&digest, None),
        Err(ContentError::Exists(_))
    ));
    assert_eq!(content.list().unwrap(), [(digest, 5)]);
    assert!(content.usage().unwrap() >= 5);

    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(b"x");
    let long = hasher.finish();
    let mut ingest = content.ingest(&long, None).unwrap();
    ingest.write(b"x").unwrap();
    ingest.commit().unwrap();
    assert_eq!(content.read_small(&long, 9).unwrap(), b"x");
}

#[test]
fn goes_on_where_it_was_left() {
    let dir = tempfile::tempdir().unwrap();
    let digest = Digest::sha256(b"hello world");
    {
        let content = Content::open(dir.path()).unwrap();
        let mut ingest = content.ingest(&digest, Some(11)).unwrap();
        assert_eq!(ingest.offset(), 0);
        ingest.write(b"hello ").unwrap();
        assert!(matches!(
            content.ingest(&digest, Some(11)),
            Err(ContentError::Busy(_))
        ));
        assert!(matches!(
            ingest.commit(),
            Err(ContentError::SizeMismatch { found: 6, .. })
        ));
    }
    // As after a kill of the daemon.
    let content = Content::open(dir.path()).unwrap();
    let mut ingest = content.ingest(&digest, Some(11)).unwrap();
    assert_eq!(ingest.offset(), 6);
    let mut text = String::new();
    ingest.partial().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello ");
    ingest.write(b"world").unwrap();
    ingest.commit().unwrap();
    assert_eq!(content.read_small(&digest, 99).unwrap(), b"hello world");
    assert_eq!(fs::read_dir(dir.path().join("ingest")).unwrap().count(), 0);
}

#[test]
fn lies_do_not_get_in() {
    let dir = tempfile::tempdir().unwrap();
    let content = Content::open(dir.path()).unwrap();
    let digest = Digest::sha256(b"truth");
    let mut ingest = content.ingest(&digest, Some(5)).unwrap();
    ingest.write(b"trash").unwrap();
    match ingest.commit() {
        Err(ContentError::DigestMismatch { found, .. }) => {
            assert_eq!(found, Digest::sha256(b"trash").to_string())
        }
        other => panic!("{other:?}"),
    }
    let mut ingest = content.ingest(&digest, Some(5)).unwrap();
    assert_eq!(ingest.offset(), 0, "wrong bytes are not gone on with");
    assert!(matches!(
        ingest.write(b"truth!"),
        Err(ContentError::SizeMismatch { found: 6, .. })
    ));
    drop(ingest);
    let mut ingest = content.ingest(&digest, None).unwrap();
    ingest.write(b"tr").unwrap();
    ingest.restart().unwrap();
    ingest.write(b"truth").unwrap();
    ingest.commit().unwrap();
    assert!(content.contains(&digest));
}

#[test]
fn collects_what_nobody_holds() {
    let dir = tempfile::tempdir().unwrap();
    let content = Content::open(dir.path()).unwrap();
    let root = put(&content, b"root");
    let loose = put(&content, b"loose");
    let busy = Digest::sha256(b"busy");
    let mut ingest = content.ingest(&busy, None).unwrap();
    ingest.write(b"busy").unwrap();
    let roots = HashSet::from([root]);
    let trash = || fs::read_dir(dir.path().join("trash")).unwrap().count();
    let garbage = content.collect(&roots).unwrap();
    assert_eq!(garbage.freed(), 5);
    assert!(content.contains(&root) && !content.contains(&loose));
    // Who decides what goes does not wait for the disk; and the name is free at once.
    assert_eq!(trash(), 1);
    put(&content, b"loose");
    drop(garbage);
    assert!(content.contains(&loose));
    assert_eq!(trash(), 0);
    // A kill before the end.
    std::mem::forget(content.collect(&roots).unwrap());
    assert_eq!(trash(), 1);
    drop(content.collect(&roots).unwrap());
    assert_eq!(trash(), 0);
    ingest.commit().unwrap();
    assert!(content.contains(&busy));
}

#[test]
fn a_power_cut_leaves_no_half_blob() {
    let dir = tempfile::tempdir().unwrap();
    let content = Content::open(dir.path()).unwrap();
    let half = put(&content, b"half");
    let whole = put(&content, b"whole");
    // As if the machine had gone down: markers of another boot, and one file without its bytes.
    fs::write(blob_path(dir.path(), &half), b"").unwrap();
    for digest in [&half, &whole] {
        let marker = dir
            .path()
            .join("unsettled")
            .join(format!("sha256-{}", digest.hex()));
        assert!(marker.exists(), "new blobs are marked");
        fs::write(marker, "another boot").unwrap();
    }
    let content = Content::open(dir.path()).unwrap();
    assert!(!content.contains(&half));
    assert!(content.contains(&whole));
    put(&content, b"half");
    content.settle().unwrap();
    assert_eq!(
        fs::read_dir(dir.path().join("unsettled")).unwrap().count(),
        0
    );
}

/// A content with the blobs `one` and `two`, as another boot left it.
fn left_by_another_boot(dir: &Path) -> [Digest; 2] {
    let content = Content::open(dir).unwrap();
    let blobs = [put(&content, b"one"), put(&content, b"two")];
    content.settle().unwrap();
    for digest in &blobs {
        let marker = format!("unsettled/sha256-{}", digest.hex());
        fs::write(dir.join(marker), "another boot").unwrap();
    }
    blobs
}

fn markers(dir: &Path) -> usize {
    fs::read_dir(dir.join("unsettled")).unwrap().count()
}

#[test]
fn a_blob_that_cannot_be_read_after_a_power_cut_is_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = left_by_another_boot(dir.path());
    let paths = blobs.map(|digest| blob_path(dir.path(), &digest));
    // One cannot be opened; the other one not be read, and not be removed.
    for path in &paths {
        fs::remove_file(path).unwrap();
    }
    std::os::unix::fs::symlink(&paths[0], &paths[0]).unwrap();
    fs::create_dir(&paths[1]).unwrap();
    let content = Content::open(dir.path()).unwrap();
    assert!(paths[0].symlink_metadata().is_err());
    assert!(!blobs.iter().any(|blob| content.contains(blob)));
    assert!(content.open_blob(&blobs[1]).is_err());
    put(&content, b"one");
    content.settle().unwrap();
    assert!(content.contains(&blobs[0]));
    assert_eq!(markers(dir.path()), 1);
    // What can be looked at later is.
    fs::remove_dir(&paths[1]).unwrap();
    put(&content, b"two");
    content.settle().unwrap();
    assert!(content.contains(&blobs[1]));
    assert_eq!(markers(dir.path()), 0);
}

#[test]
fn damage_is_seen_where_it_decides() {
    let dir = tempfile::tempdir().unwrap();
    let content = Content::open(dir.path()).unwrap();
    let digest = put(&content, b"manifest");
    fs::write(blob_path(dir.path(), &digest), b"manifesT").unwrap();
    assert!(matches!(
        content.read_small(&digest, 99),
        Err(ContentError::DigestMismatch { .. })
    ));
}
