//! Volumes are made, found, refused and removed; kills in between lose nothing and leave nothing.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use wharf_records::Db;
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
        .into_iter()
        .map(|volume| volume.name.into())
        .collect()
}

#[test]
fn a_volume_lives_over_a_restart_with_its_data() {
    let root = tempfile::tempdir().unwrap();
    let volume = open(root.path()).create(named("data")).unwrap();
    std::fs::write(volume.mountpoint.join("file"), "kept").unwrap();
    let volumes = open(root.path());
    let again = volumes.create(named("data")).unwrap();
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
        let volume = volumes.create(named("again")).unwrap();
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
