//! Transactions are whole or absent, versions are honoured, and a killed writer loses nothing committed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::Command;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use serde::{Deserialize, Serialize};
use serde_json::json;
use wharf_records::{Db, RecordError, Table};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Boat {
    name: String,
}

const BOATS: Table<Boat> = Table::new("boats", 1);

fn boat(name: &str) -> Boat {
    Boat { name: name.into() }
}

#[test]
fn a_transaction_is_whole_or_absent() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&dir.path().join("r.db")).unwrap();
    db.write(|tx| BOATS.put(tx, "a", &boat("Argo"))).unwrap();
    let failed: Result<(), RecordError> = db.write(|tx| {
        BOATS.put(tx, "b", &boat("Beagle"))?;
        BOATS.delete(tx, "a")?;
        Err(RecordError::TooNew {
            table: "boats",
            key: "x".into(),
            found: 2,
            known: 1,
        })
    });
    assert!(failed.is_err());
    let all = db.read(|tx| BOATS.all(tx)).unwrap();
    assert_eq!(all, [("a".to_owned(), boat("Argo"))]);
    assert!(!db.write(|tx| BOATS.delete(tx, "nothing")).unwrap());
}

#[test]
fn an_older_document_is_upgraded_and_a_newer_one_named() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Named {
        title: String,
    }
    const NEWER: Table<Named> =
        Table::new("boats", 2).upgraded_by(|_, old| json!({ "title": old["name"] }));
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&dir.path().join("r.db")).unwrap();
    db.write(|tx| BOATS.put(tx, "a", &boat("Argo"))).unwrap();
    let lifted = db.read(|tx| NEWER.get(tx, "a")).unwrap();
    assert_eq!(
        lifted,
        Some(Named {
            title: "Argo".into()
        })
    );
    db.write(|tx| {
        NEWER.put(
            tx,
            "a",
            &Named {
                title: "Argo II".into(),
            },
        )
    })
    .unwrap();
    let error = db.read(|tx| BOATS.get(tx, "a")).unwrap_err();
    assert!(
        error.to_string().contains("boats/a has version 2"),
        "{error}"
    );
}

/// The child commits numbered documents and reports each; it is killed with SIGKILL in the middle. Every
/// reported one must be there afterwards.
#[test]
fn what_was_committed_survives_kill_9() {
    use std::io::{BufRead, BufReader};
    if let Ok(path) = std::env::var("WHARF_RECORDS_CHILD") {
        let db = Db::open(path.as_ref()).unwrap();
        for n in 0u32.. {
            db.write(|tx| BOATS.put(tx, &format!("{n:08}"), &boat("x")))
                .unwrap();
            println!("committed {n}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.db");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "what_was_committed_survives_kill_9",
            "--nocapture",
        ])
        .env("WHARF_RECORDS_CHILD", &path)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut reported = 0;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(Ok(line)) = lines.next() {
        if let Some((_, n)) = line.split_once("committed ") {
            reported = n.parse().unwrap();
        }
        if reported >= 200 {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let db = Db::open(&path).unwrap();
    let all = db.read(|tx| BOATS.all(tx)).unwrap();
    assert!(all.len() > reported, "{} of {reported}", all.len());
}

/// A disk of its own that no other process sees.
#[expect(
    deprecated,
    reason = "its replacement is unsafe for flags that are not used here"
)]
fn small_disk(folder: &Path) {
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS).unwrap();
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .unwrap();
    let size = Some(c"size=16m");
    mount("none", folder, "tmpfs", MountFlags::empty(), size).unwrap();
}

/// What is in the way on a full disk can be removed, also by the daemon that comes after a clean stop.
#[test]
fn a_full_disk_takes_records_after_a_clean_stop() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    small_disk(&disk);
    let path = disk.join("r.db");
    let db = Db::open(&path).unwrap();
    db.write(|tx| BOATS.put(tx, "a", &boat("Argo"))).unwrap();
    drop(db);
    let mut filler = File::create(disk.join("filler")).unwrap();
    let filled = (0..).find_map(|_| filler.write_all(&[1; 4096]).err());
    assert_eq!(filled.unwrap().kind(), ErrorKind::StorageFull);
    let db = Db::open(&path).unwrap();
    db.write(|tx| BOATS.delete(tx, "a")).unwrap();
    db.write(|tx| BOATS.put(tx, "b", &boat("Beagle"))).unwrap();
    let all = db.read(|tx| BOATS.all(tx)).unwrap();
    assert_eq!(all, [("b".to_owned(), boat("Beagle"))]);
    drop((db, filler));
    rustix::mount::unmount(&disk, rustix::mount::UnmountFlags::empty()).unwrap();
}
