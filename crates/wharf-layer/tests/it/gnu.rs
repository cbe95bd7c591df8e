//! What GNU tar writes, in all its formats, unpacked by both: every attribute must be the same.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{self as unix, FileExt as _};
use std::path::Path;
use std::process::Command;

use rustix::fs::{
    CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, makedev, mknodat, utimensat,
};

use crate::build::unpack;
use crate::tree::tree;

/// One of everything.
fn make(root: &Path) {
    let path = |name: &str| root.join(name);
    fs::create_dir_all(path("dir/sub")).unwrap();
    fs::write(path("dir/file"), "hello").unwrap();
    fs::write(path("empty"), "").unwrap();
    fs::write(path("large"), vec![b'x'; 700_000]).unwrap();
    let long = "n".repeat(200);
    fs::write(path(&long), "long name").unwrap();
    let deep = ["d".repeat(90), "e".repeat(90), "f".repeat(90)].join("/");
    fs::create_dir_all(path(&deep)).unwrap();
    fs::write(path(&deep).join("leaf"), "leaf").unwrap();
    fs::write(
        root.join(std::ffi::OsStr::from_bytes(b"not-utf8-\xff\xfe")),
        "bytes",
    )
    .unwrap();
    fs::write(path("ünïcode"), "").unwrap();
    unix::symlink("dir/file", path("link")).unwrap();
    unix::symlink("/nowhere", path("dangling")).unwrap();
    unix::symlink("t".repeat(300), path("long-link")).unwrap();
    fs::hard_link(path("dir/file"), path("second")).unwrap();
    fs::hard_link(path("dir/file"), path("dir/sub/third")).unwrap();
    fs::hard_link(path("link"), path("link-second")).unwrap();
    let all = Mode::from_raw_mode(0o640);
    mknodat(CWD, path("fifo"), FileType::Fifo, all, 0).unwrap();
    mknodat(
        CWD,
        path("null"),
        FileType::CharacterDevice,
        all,
        makedev(1, 3),
    )
    .unwrap();
    mknodat(
        CWD,
        path("loop"),
        FileType::BlockDevice,
        all,
        makedev(7, 300),
    )
    .unwrap();
    let sparse = File::create(path("sparse")).unwrap();
    for at in [
        0, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000, 6_000_000,
    ] {
        sparse.write_all_at(b"data", at).unwrap();
    }
    sparse.set_len(9_000_001).unwrap();
    File::create(path("all-holes"))
        .unwrap()
        .set_len(1_000_000)
        .unwrap();
    unix::chown(path("dir/file"), Some(1000), Some(1001)).unwrap();
    unix::lchown(path("link"), Some(1002), Some(70_000)).unwrap();
    unix::chown(path("empty"), Some(3_000_000), Some(3_000_001)).unwrap();
    fs::write(path("setuid"), "").unwrap();
    unix::chown(path("setuid"), Some(5), Some(6)).unwrap();
    for (name, mode) in [
        ("setuid", 0o6755),
        ("dir", 0o3775),
        ("dir/file", 0o000),
        ("dir/sub", 0o500),
    ] {
        rustix::fs::chmod(path(name), Mode::from_raw_mode(mode)).unwrap();
    }
    // cap_net_raw+ep, as in an image with ping.
    let capability = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    rustix::fs::setxattr(
        path("large"),
        "security.capability",
        &capability,
        XattrFlags::empty(),
    )
    .unwrap();
    for name in ["empty", "dir/sub"] {
        rustix::fs::setxattr(path(name), "user.colour", b"blue\0", XattrFlags::empty()).unwrap();
    }
    set_times(root);
}

/// Times with nanoseconds everywhere, folders last.
fn set_times(dir: &Path) {
    for (seed, entry) in (1_i64..).zip(fs::read_dir(dir).unwrap()) {
        let path = entry.unwrap().path();
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            set_times(&path);
        }
        let time = Timespec {
            tv_sec: 1_000_000_000 + seed * 86_399,
            tv_nsec: seed * 12_345_678,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        utimensat(CWD, &path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn tar(arguments: &[&str], dir: &Path) {
    let output = Command::new("tar")
        .args(arguments)
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn compare(pack: &[&str]) {
    let top = tempfile::tempdir().unwrap();
    let [source, theirs, ours] = ["source", "theirs", "ours"].map(|name| top.path().join(name));
    for folder in [&source, &theirs, &ours] {
        fs::create_dir(folder).unwrap();
    }
    make(&source);
    let file = top.path().join("archive");
    let file_text = file.to_str().unwrap();
    tar(&[pack, &["-cf", file_text, "."]].concat(), &source);
    let attributes = [
        "--xattrs",
        "--xattrs-include=*",
        "--numeric-owner",
        "-xpf",
        file_text,
    ];
    tar(&attributes, &theirs);
    unpack(&fs::read(&file).unwrap(), &ours).unwrap();
    let (theirs, found) = (tree(&theirs), tree(&ours));
    for (path, text) in &theirs {
        assert_eq!(found.get(path), Some(text), "{} {pack:?}", path.display());
    }
    assert_eq!(found.len(), theirs.len());
    if pack.contains(&"-S") {
        use std::os::unix::fs::MetadataExt as _;
        assert!(fs::metadata(ours.join("sparse")).unwrap().blocks() * 512 < 1_000_000);
    }
}

#[test]
fn pax() {
    compare(&["--format=pax", "--xattrs", "--xattrs-include=*"]);
}

#[test]
fn pax_sparse_in_all_versions() {
    for version in ["0.0", "0.1", "1.0"] {
        let version = format!("--sparse-version={version}");
        compare(&[
            "--format=pax",
            "--xattrs",
            "--xattrs-include=*",
            "-S",
            &version,
        ]);
    }
}

#[test]
fn gnu() {
    compare(&["--format=gnu"]);
    compare(&["--format=gnu", "-S"]);
}

#[test]
fn old_gnu() {
    compare(&["--format=oldgnu", "-S"]);
}
