//! Layers and writable layers from the outside.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use wharf_oci::{ChainId, Digest};
use wharf_snapshots::{SnapshotError, Snapshots};
use wharf_testkit::own::in_own_mounts;

fn chain(texts: &[&str]) -> Vec<ChainId> {
    let diff_ids: Vec<_> = texts
        .iter()
        .map(|text| Digest::sha256(text.as_bytes()))
        .collect();
    ChainId::from_diff_ids(&diff_ids)
}

/// A layer with one file.
fn add(snapshots: &Snapshots, chain: &ChainId, file: &str) {
    let stage = snapshots.stage_layer().unwrap();
    let flags = OFlags::CREATE | OFlags::WRONLY;
    let fd = rustix::fs::openat(stage.dirfd(), file, flags, Mode::RUSR).unwrap();
    rustix::io::write(fd, b"12345").unwrap();
    stage.commit(chain, 5).unwrap();
}

fn count(dir: &Path, folder: &str) -> usize {
    fs::read_dir(dir.join(folder)).unwrap().count()
}

#[test]
fn layers_stay_and_stages_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(dir.path()).unwrap();
    let ids = chain(&["a", "b"]);
    add(&snapshots, &ids[0], "one");
    add(&snapshots, &ids[0], "other");
    assert!(snapshots.has(&ids[0]) && !snapshots.has(&ids[1]));
    assert_eq!(snapshots.layer_usage(&ids[0]).unwrap(), 5);
    assert!(matches!(
        snapshots.layer_usage(&ids[1]),
        Err(SnapshotError::NoLayer(_))
    ));
    let path = snapshots.layer_path(&ids[0]).unwrap();
    assert!(path.join("one").exists() && !path.join("other").exists());
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o755
    );
    fs::create_dir(dir.path().join("layers/nameless")).unwrap();
    // A stage that is forgotten stands for a kill.
    std::mem::forget(snapshots.stage_layer().unwrap());
    let again = Snapshots::open(dir.path()).unwrap();
    again.sweep_trash().unwrap();
    assert_eq!(again.layers(), [(ids[0], 5)]);
    assert_eq!(
        (count(dir.path(), "stage"), count(dir.path(), "trash")),
        (0, 0)
    );
}

#[test]
fn writable_layers_hold_their_layers() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(dir.path()).unwrap();
    let ids = chain(&["a", "b"]);
    let other = chain(&["c"]);
    assert!(matches!(
        snapshots.create_rw("x", &ids),
        Err(SnapshotError::NoLayer(_))
    ));
    add(&snapshots, &ids[0], "one");
    add(&snapshots, &ids[1], "two");
    add(&snapshots, &other[0], "three");
    let rootfs = snapshots.create_rw("x", &ids).unwrap();
    assert!(rootfs.lowers[0].join("two").exists() && rootfs.lowers[1].join("one").exists());
    assert!(rootfs.upper.is_dir() && rootfs.work.is_dir());
    assert!(matches!(
        snapshots.create_rw("x", &ids),
        Err(SnapshotError::RwExists(_))
    ));
    for bad in ["", ".", "..", "a/b", ".x"] {
        assert!(
            matches!(snapshots.create_rw(bad, &ids), Err(SnapshotError::BadId(_))),
            "{bad}"
        );
    }
    assert_eq!(snapshots.collect(&HashSet::new()).unwrap(), 5);
    assert!(!snapshots.has(&other[0]));

    let again = Snapshots::open(dir.path()).unwrap();
    assert_eq!(again.rootfs("x").unwrap(), rootfs);
    assert_eq!(again.list_rw().unwrap(), ["x"]);
    again.remove_rw("x").unwrap();
    again.remove_rw("x").unwrap();
    assert!(matches!(again.rootfs("x"), Err(SnapshotError::NoRw(_))));
    assert_eq!(again.collect(&HashSet::from([ids[0]])).unwrap(), 5);
    assert_eq!(again.layers(), [(ids[0], 5)]);
    again.sweep_trash().unwrap();
    assert_eq!(
        (count(dir.path(), "layers"), count(dir.path(), "rw")),
        (1, 0)
    );
}

#[test]
fn an_image_without_layers_has_an_empty_lower() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(dir.path()).unwrap();
    let rootfs = snapshots.create_rw("x", &[]).unwrap();
    assert_eq!(rootfs.lowers, [dir.path().join("empty")]);
}

#[test]
fn usage_counts_each_file_once() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(dir.path()).unwrap();
    let upper = snapshots.create_rw("x", &[]).unwrap().upper;
    assert_eq!(snapshots.rw_usage("x").unwrap(), 0);
    fs::create_dir(upper.join("d")).unwrap();
    fs::write(upper.join("d/a"), [0; 1000]).unwrap();
    fs::hard_link(upper.join("d/a"), upper.join("b")).unwrap();
    symlink("/etc", upper.join("l")).unwrap();
    assert_eq!(snapshots.rw_usage("x").unwrap(), 1004);
    assert!(matches!(
        snapshots.rw_usage("y"),
        Err(SnapshotError::NoRw(_))
    ));
}

#[test]
fn deep_and_linked_trees_are_deleted_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("keep"), "").unwrap();
    let snapshots = Snapshots::open(dir.path()).unwrap();
    let upper = snapshots.create_rw("x", &[]).unwrap().upper;
    symlink(outside.path(), upper.join("link")).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut at = rustix::fs::open(&upper, flags, Mode::empty()).unwrap();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "d", flags, Mode::empty()).unwrap();
    }
    snapshots.remove_rw("x").unwrap();
    snapshots.sweep_trash().unwrap();
    assert_eq!(
        (count(dir.path(), "trash"), count(dir.path(), "rw")),
        (0, 0)
    );
    assert!(outside.path().join("keep").exists());
}

#[test]
fn a_power_cut_takes_what_was_new() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(dir.path()).unwrap();
    let ids = chain(&["a", "b"]);
    add(&snapshots, &ids[0], "one");
    add(&snapshots, &ids[1], "two");
    let rootfs = snapshots.create_rw("x", &ids).unwrap();
    let name = ids[1].digest().hex()[..16].to_owned();
    fs::write(dir.path().join("unsettled").join(name), "another boot").unwrap();
    let again = Snapshots::open(dir.path()).unwrap();
    assert!(again.has(&ids[0]) && !again.has(&ids[1]));
    assert!(matches!(again.rootfs("x"), Err(SnapshotError::NoLayer(id)) if id == ids[1]));
    // Unpacked again, the container is whole again.
    add(&again, &ids[1], "two");
    assert_eq!(again.rootfs("x").unwrap(), rootfs);
}

fn about_of_layer(dir: &Path, chain: &ChainId) -> std::path::PathBuf {
    let name = chain.digest().hex()[..16].to_owned();
    dir.join("layers").join(name).join("about")
}

#[test]
fn a_layer_that_a_container_needs_stays_whatever_is_said_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(dir.path()).unwrap();
    let (ids, other) = (chain(&["a", "b"]), chain(&["c"]));
    add(&snapshots, &ids[0], "one");
    add(&snapshots, &ids[1], "two");
    add(&snapshots, &other[0], "three");
    let rootfs = snapshots.create_rw("x", &ids).unwrap();
    fs::write(about_of_layer(dir.path(), &ids[0]), "").unwrap();
    fs::remove_file(about_of_layer(dir.path(), &ids[1])).unwrap();
    fs::write(about_of_layer(dir.path(), &other[0]), "").unwrap();
    let again = Snapshots::open(dir.path()).unwrap();
    assert_eq!(again.rootfs("x").unwrap(), rootfs);
    assert!(rootfs.lowers[0].join("two").exists() && rootfs.lowers[1].join("one").exists());
    assert_eq!(again.layer_usage(&ids[0]).unwrap(), 5);
    // Nobody needs this one: it can be unpacked again.
    assert!(!again.has(&other[0]));
    assert_eq!(count(dir.path(), "layers"), 2);
}

#[test]
fn what_cannot_be_read_now_is_not_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(dir.path()).unwrap();
    let ids = chain(&["a"]);
    add(&snapshots, &ids[0], "one");
    let about = about_of_layer(dir.path(), &ids[0]);
    fs::remove_file(&about).unwrap();
    // Stands for a disk or a process that cannot read for the moment.
    fs::create_dir(&about).unwrap();
    let again = Snapshots::open(dir.path()).unwrap();
    assert!(!again.has(&ids[0]) && about.with_file_name("fs/one").exists());
    add(&again, &ids[0], "other");
    assert!(again.layer_path(&ids[0]).unwrap().join("other").exists());
}

#[test]
fn what_a_container_may_stand_on_is_not_in_the_way_of_its_layer() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(dir.path()).unwrap();
    let ids = chain(&["a"]);
    add(&snapshots, &ids[0], "one");
    snapshots.create_rw("x", &ids).unwrap();
    let of_rw = dir.path().join("rw/x/about");
    let whole = fs::read(&of_rw).unwrap();
    fs::write(&of_rw, "").unwrap();
    fs::write(about_of_layer(dir.path(), &ids[0]), "").unwrap();
    // Twice, as if a second damage came over what the first one left aside.
    for round in 1..3 {
        let again = Snapshots::open(dir.path()).unwrap();
        assert!(!again.has(&ids[0]));
        add(&again, &ids[0], "other");
        assert!(again.layer_path(&ids[0]).unwrap().join("other").exists());
        again.sweep_trash().unwrap();
        assert_eq!(count(dir.path(), "layers"), 1 + round);
        fs::write(about_of_layer(dir.path(), &ids[0]), "").unwrap();
    }
    let layers = fs::read_dir(dir.path().join("layers")).unwrap().flatten();
    let mut layers = layers.map(|layer| layer.path());
    assert!(layers.any(|layer| layer.join("fs/one").exists()));
    // It says again what it stands on.
    fs::write(&of_rw, whole).unwrap();
    let again = Snapshots::open(dir.path()).unwrap();
    again.sweep_trash().unwrap();
    assert!(again.has(&ids[0]));
    // But its container may run since before.
    assert_eq!(count(dir.path(), "layers"), 3);
    // One of them is of an earlier boot.
    let layers = fs::read_dir(dir.path().join("layers")).unwrap().flatten();
    let mut aside = layers
        .map(|layer| layer.path())
        .filter(|path| path.extension().is_some());
    let one = aside.next().unwrap();
    fs::rename(&one, one.with_file_name("1.another.aside")).unwrap();
    let again = Snapshots::open(dir.path()).unwrap();
    again.sweep_trash().unwrap();
    assert_eq!(count(dir.path(), "layers"), 2);
    again.remove_rw("x").unwrap();
    let again = Snapshots::open(dir.path()).unwrap();
    again.sweep_trash().unwrap();
    // With it goes the layer, which does not say what it is.
    assert_eq!(count(dir.path(), "layers"), 0);
}

#[test]
fn a_writable_layer_that_does_not_say_what_it_stands_on_can_be_removed() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(dir.path()).unwrap();
    let ids = chain(&["a", "b"]);
    add(&snapshots, &ids[0], "one");
    add(&snapshots, &ids[1], "two");
    let whole = fs::read_to_string({
        snapshots.create_rw("x", &ids).unwrap();
        dir.path().join("rw/x/about")
    });
    let whole = whole.unwrap();
    let cut = whole.lines().take(2).collect::<Vec<_>>().join("\n");
    for about in ["", "2 x", "1\nnonsense", "9 0", &cut] {
        fs::write(dir.path().join("rw/x/about"), about).unwrap();
        let again = Snapshots::open(dir.path()).unwrap();
        assert!(
            matches!(again.rootfs("x"), Err(SnapshotError::Damaged(_))),
            "{about}"
        );
        assert_eq!(again.list_rw().unwrap(), ["x"]);
        assert!(matches!(
            again.create_rw("x", &ids),
            Err(SnapshotError::RwExists(_))
        ));
        // It may stand on any of them.
        assert_eq!(again.collect(&HashSet::new()).unwrap(), 0);
    }
    // As older versions wrote it.
    fs::write(
        dir.path().join("rw/x/about"),
        format!("1\n{}\n{}\n", ids[0], ids[1]),
    )
    .unwrap();
    assert!(Snapshots::open(dir.path()).unwrap().rootfs("x").is_ok());
    fs::write(dir.path().join("rw/x/about"), &cut).unwrap();
    let again = Snapshots::open(dir.path()).unwrap();
    again.remove_rw("x").unwrap();
    assert_eq!(
        (count(dir.path(), "rw"), again.list_rw().unwrap().len()),
        (0, 0)
    );
    assert_eq!(again.collect(&HashSet::new()).unwrap(), 10);
}

#[test]
fn what_cannot_be_deleted_keeps_nothing_else_from_it() {
    if !in_own_mounts("what_cannot_be_deleted_keeps_nothing_else_from_it") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Snapshots::open(dir.path()).unwrap();
    // Filled elsewhere: what is begun in the trash, the sweep that an opening starts may take away.
    let (filled, trash) = (dir.path().join("filled"), dir.path().join("trash"));
    for name in ["a", "b", "c"] {
        fs::create_dir_all(filled.join(name).join("fs/held/below")).unwrap();
        fs::write(filled.join(name).join("fs/held/file"), "").unwrap();
    }
    let below = filled.join("b/fs/held/below");
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &below, "tmpfs", flags, None).unwrap();
    fs::write(below.join("of somebody else"), "").unwrap();
    for name in ["a", "b", "c"] {
        fs::rename(filled.join(name), trash.join(name)).unwrap();
    }
    let held = trash.join("b/fs/held/below");
    assert!(snapshots.sweep_trash().is_err());
    assert!(!trash.join("a").exists() && !trash.join("c").exists());
    assert!(!trash.join("b/fs/held/file").exists());
    assert!(held.join("of somebody else").exists());
    rustix::mount::unmount(&held, rustix::mount::UnmountFlags::empty()).unwrap();
    snapshots.sweep_trash().unwrap();
    assert_eq!(count(dir.path(), "trash"), 0);
}
