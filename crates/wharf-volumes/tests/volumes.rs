//! Volumes are made, found, refused and removed; kills in between lose nothing and leave nothing.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use wharf_records::{Db, RecordError};
use wharf_testkit::own::{in_own_mounts, in_own_process};
use wharf_volumes::{NewVolume, Volumes};

fn open(root: &Path) -> Volumes {
    let db = Db::open(&root.join("wharf.db")).unwrap();
    Volumes::open(&root.join("volumes"), db).unwrap()
}

fn named(name: &str) -> NewVolume {
    NewVolume {
        name: name.into(),
        ..Default::default()
    }
}

fn names(volumes: &Volumes) -> Vec<String> {
    volumes
        .list()
        .volumes
        .into_iter()
        .map(|volume| volume.name.into())
        .collect()
}

#[test]
fn a_volume_lives_over_a_restart_with_its_data() {
    let root = tempfile::tempdir().unwrap();
    let volume = open(root.path()).create(named("data")).unwrap().volume;
    std::fs::write(volume.mountpoint.join("file"), "kept").unwrap();
    let volumes = open(root.path());
    let again = volumes.create(named("data")).unwrap();
    assert!(!again.fresh);
    let again = again.volume;
    assert_eq!(again, volume);
    assert_eq!(
        std::fs::read_to_string(again.mountpoint.join("file")).unwrap(),
        "kept"
    );
    assert!(volumes.usage("data").unwrap() >= 512);
}

#[test]
fn refusals_are_in_dockers_words() {
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    let refused = |new: NewVolume| volumes.create(new).unwrap_err().to_string();
    assert!(
        refused(named("../x")).starts_with("create ../x: \"../x\" includes invalid characters")
    );
    assert!(refused(named("x")).contains("volume name is too short"));
    let foreign = NewVolume {
        driver: "nfs".into(),
        ..named("ab")
    };
    assert_eq!(
        refused(foreign),
        "create ab: error looking up volume plugin nfs: plugin \"nfs\" not found"
    );
    assert_eq!(
        volumes.get("nope").unwrap_err().to_string(),
        "get nope: no such volume"
    );
    volumes.create(named("used")).unwrap();
    let in_use = volumes
        .remove("used", |_| vec!["c1".into(), "c2".into()])
        .unwrap_err();
    assert_eq!(
        in_use.to_string(),
        "remove used: volume is in use - [c1, c2]"
    );
    assert_eq!(names(&volumes), ["used"]);
}

#[test]
fn removal_is_immediate_and_the_name_is_free_again() {
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    for round in 0..3 {
        let volume = volumes.create(named("again")).unwrap().volume;
        assert_eq!(
            std::fs::read_dir(&volume.mountpoint).unwrap().count(),
            0,
            "round {round}"
        );
        std::fs::write(volume.mountpoint.join("file"), "x").unwrap();
        volumes.remove("again", |_| Vec::new()).unwrap();
        assert!(!volume.mountpoint.exists());
    }
    let trash = root.path().join("volumes/.trash");
    assert_eq!(std::fs::read_dir(&trash).unwrap().count(), 3);
    volumes.empty_trash().unwrap();
    assert_eq!(std::fs::read_dir(&trash).unwrap().count(), 0);
    assert!(volumes.remove("again", |_| Vec::new()).is_err());
}

#[test]
fn a_folder_without_a_record_is_adopted_not_deleted() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("volumes/restored/_data")).unwrap();
    std::fs::write(root.path().join("volumes/restored/_data/f"), "backup").unwrap();
    assert_eq!(names(&open(root.path())), ["restored"]);
    assert_eq!(names(&open(root.path())), ["restored"]);
}

#[test]
fn who_is_about_to_use_a_volume_keeps_it() {
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    let reference = |name: &str| NewVolume {
        reference: Some("c1".into()),
        ..named(name)
    };
    volumes.create(named("old")).unwrap();
    assert!(!volumes.create(reference("old")).unwrap().fresh);
    assert!(volumes.create(reference("new")).unwrap().fresh);
    for name in ["old", "new"] {
        let refused = volumes.remove(name, |_| Vec::new()).unwrap_err();
        let words = format!("remove {name}: volume is in use - [c1]");
        assert_eq!(refused.to_string(), words);
    }
    volumes.release("c1");
    assert!(volumes.remove("old", |_| Vec::new()).is_ok());
    assert!(volumes.remove("new", |_| Vec::new()).is_ok());
}

#[test]
fn what_is_made_for_a_container_stays_only_with_it() {
    let root = tempfile::tempdir().unwrap();
    let anonymous = |name: &str| NewVolume {
        anonymous: true,
        reference: Some("c1".into()),
        ..named(name)
    };
    let volumes = open(root.path());
    for name in ["kept", "lost", "refused"] {
        assert!(volumes.create(anonymous(name)).unwrap().fresh);
        std::fs::write(root.path().join(format!("volumes/{name}/_data/f")), "x").unwrap();
    }
    volumes.create(named("own")).unwrap();
    assert_eq!(names(&volumes), ["kept", "lost", "own", "refused"]);
    volumes
        .keep::<RecordError>(&["kept", "own", "none"], |_| Ok(()))
        .unwrap();
    // What the container's record is refused with, the volume's is too.
    let refused = volumes.keep(&["refused"], |_| {
        Err(RecordError::TooNew {
            table: "containers",
            key: "c1".to_owned(),
            found: 2,
            known: 1,
        })
    });
    assert!(refused.is_err());
    let volumes = open(root.path());
    assert_eq!(names(&volumes), ["kept", "own"]);
    volumes.remove_forsaken().unwrap();
    volumes.empty_trash().unwrap();
    assert!(root.path().join("volumes/kept/_data/f").exists());
    assert!(!root.path().join("volumes/lost").exists());
}

#[test]
fn owner_and_mode_are_those_asked_for() {
    use std::os::unix::fs::MetadataExt as _;
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    let pairs = [("uid", "1000"), ("gid", "1001"), ("mode", "2770")];
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let new = NewVolume {
        options: Some(pairs.into()),
        ..named("owned")
    };
    let folder = volumes.create(new).unwrap().volume.mountpoint;
    let found = std::fs::metadata(folder).unwrap();
    let found = (found.uid(), found.gid(), found.mode() & 0o7777);
    assert_eq!(found, (1000, 1001, 0o2770));
    assert!(volumes.owns_its_folder("owned"));
    assert!(!volumes.is_mounted_on_use("owned"));
}

#[test]
fn nobody_removes_what_was_just_found() {
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    let over = std::sync::atomic::AtomicBool::new(false);
    let over = &over;
    std::thread::scope(|scope| {
        let remover = volumes.clone();
        scope.spawn(move || {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = remover.remove("shared", |_| Vec::new());
            }
        });
        for round in 0..300 {
            let new = NewVolume {
                reference: Some(format!("c{round}")),
                ..named("shared")
            };
            let made = volumes.create(new).unwrap().volume;
            let there = made.mountpoint.is_dir() && volumes.get("shared").is_ok();
            volumes.release(&format!("c{round}"));
            if !there {
                over.store(true, std::sync::atomic::Ordering::Relaxed);
                panic!("gone in round {round}");
            }
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn usage_counts_files_once_and_follows_no_link() {
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    let folder = volumes.create(named("data")).unwrap().volume.mountpoint;
    let empty = volumes.usage("data").unwrap();
    std::fs::create_dir_all(folder.join("a/b")).unwrap();
    std::fs::write(folder.join("a/b/file"), vec![1; 1 << 20]).unwrap();
    std::fs::hard_link(folder.join("a/b/file"), folder.join("again")).unwrap();
    std::os::unix::fs::symlink("/", folder.join("out")).unwrap();
    let full = volumes.usage("data").unwrap() - empty;
    assert!((1 << 20..(1 << 20) + 65536).contains(&full), "{full}");
}

#[test]
fn the_longest_name_can_be_removed() {
    let root = tempfile::tempdir().unwrap();
    let name = "a".repeat(255);
    let volumes = open(root.path());
    volumes.create(named(&name)).unwrap();
    volumes.remove(&name, |_| Vec::new()).unwrap();
    volumes.empty_trash().unwrap();
    assert!(names(&open(root.path())).is_empty());
}

#[test]
fn a_volume_that_cannot_be_removed_keeps_nobody_from_the_others() {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    for name in ["stuck", "fine"] {
        volumes.create(named(name)).unwrap();
    }
    let folder = std::fs::File::open(root.path().join("volumes/stuck")).unwrap();
    // Only root may, and not every file system can.
    let Ok(flags) = ioctl_getflags(&folder) else {
        return;
    };
    if ioctl_setflags(&folder, flags | IFlags::IMMUTABLE).is_err() {
        return;
    }
    let removed = volumes.remove("stuck", |_| Vec::new());
    let again = Volumes::open(
        &root.path().join("volumes"),
        Db::open(&root.path().join("wharf.db")).unwrap(),
    );
    let seen = again.as_ref().map(names);
    let made = again
        .as_ref()
        .map(|again| again.create(named("stuck")).is_err());
    ioctl_setflags(&folder, flags).unwrap();
    assert!(removed.is_err());
    assert_eq!(seen.unwrap(), ["fine"]);
    // It is not found half removed, with its old files.
    assert!(made.unwrap());
    let later = open(root.path());
    assert_eq!(names(&later), ["fine"]);
    assert!(later.create(named("stuck")).unwrap().fresh);
}

#[test]
fn a_deep_volume_is_measured_and_deleted() {
    // The limit is the whole process's.
    if !in_own_process("a_deep_volume_is_measured_and_deleted") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    let folder = volumes.create(named("deep")).unwrap().volume.mountpoint;
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW;
    let mode = rustix::fs::Mode::RWXU;
    let mut at = rustix::fs::open(&folder, flags, mode).unwrap();
    for _ in 0..2000 {
        rustix::fs::mkdirat(&at, "a", mode).unwrap();
        at = rustix::fs::openat(&at, "a", flags, mode).unwrap();
    }
    drop(at);
    let mut few = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    few.current = Some(few.maximum.map_or(900, |most| most.min(900)));
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    assert!(volumes.usage("deep").unwrap() > 0);
    volumes.remove("deep", |_| Vec::new()).unwrap();
    volumes.empty_trash().unwrap();
    let trash = root.path().join("volumes/.trash");
    assert_eq!(std::fs::read_dir(&trash).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_deleted_keeps_nothing_else_from_it() {
    if !in_own_mounts("what_cannot_be_deleted_keeps_nothing_else_from_it") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let volumes = open(root.path());
    let trash = root.path().join("volumes/.trash");
    for name in ["0", "1", "2"] {
        std::fs::create_dir_all(trash.join(name).join("_data/held")).unwrap();
    }
    let held = trash.join("1/_data/held");
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &held, "tmpfs", flags, None).unwrap();
    std::fs::write(held.join("of somebody else"), "").unwrap();
    assert!(volumes.empty_trash().is_err());
    assert!(!trash.join("0").exists() && !trash.join("2").exists());
    assert!(held.join("of somebody else").exists());
    rustix::mount::unmount(&held, rustix::mount::UnmountFlags::empty()).unwrap();
    volumes.empty_trash().unwrap();
    assert_eq!(std::fs::read_dir(&trash).unwrap().count(), 0);
}
