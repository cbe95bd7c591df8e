//! Transactions are whole or absent, versions are honoured, and a killed writer loses nothing committed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

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
