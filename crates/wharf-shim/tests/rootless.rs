//! For a user who is not root and has nothing but his own number.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::Bundle;
use serde_json::{Value, json};

const USER: u32 = 4711;

/// A bundle that belongs to the user, with a copy of the program where he may reach it.
fn bundle(script: &str) -> Bundle {
    let bundle = Bundle::new(&[]);
    std::fs::copy(env!("CARGO_BIN_EXE_wharf-shim"), bundle.path("shim")).unwrap();
    std::fs::remove_file(bundle.path("config.json")).unwrap();
    give(bundle.0.path());
    assert_eq!(said(&by_user(&bundle, &["spec", "--rootless"])), "");
    bundle.change(|spec| {
        spec["process"]["terminal"] = false.into();
        spec["process"]["args"] = json!(["sh", "-c", script]);
        spec["process"]["env"] = json!(["PATH=/bin"]);
    });
    bundle
}

fn give(path: &Path) {
    std::os::unix::fs::lchown(path, Some(USER), Some(USER)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        std::fs::read_dir(path)
            .unwrap()
            .flatten()
            .for_each(|entry| give(&entry.path()));
    }
}

fn command(bundle: &Bundle, words: &[&str]) -> Command {
    let mut command = Command::new(bundle.path("shim"));
    command.arg("--root").arg(bundle.path("state")).args(words);
    command
        .current_dir(bundle.0.path())
        .uid(USER)
        .gid(USER)
        .stdin(Stdio::null());
    command
}

fn by_user(bundle: &Bundle, words: &[&str]) -> Output {
    command(bundle, words).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8([output.stdout.as_slice(), &output.stderr].concat()).unwrap()
}

#[test]
fn a_life_without_root() {
    let bundle =
        bundle("id; echo x > /dev/null && read a b c < /proc/self/uid_map && echo $a $b $c");
    let run = by_user(&bundle, &["run", "one"]);
    assert_eq!(said(&run), format!("uid=0 gid=0\n0 {USER} 1\n"));
    bundle.change(|spec| spec["process"]["args"] = json!(["sleep", "1000"]));
    let status = command(&bundle, &["create", "two"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    assert_eq!(said(&by_user(&bundle, &["start", "two"])), "");
    let state: Value = serde_json::from_slice(&by_user(&bundle, &["state", "two"]).stdout).unwrap();
    assert_eq!(state["status"], "running");
    assert_eq!(
        said(&by_user(&bundle, &["exec", "two", "id"])),
        "uid=0 gid=0\n"
    );
    let terminal = by_user(&bundle, &["exec", "-t", "two", "tty"]);
    assert_eq!(said(&terminal), "/dev/pts/0\r\n");
    assert!(
        said(&by_user(&bundle, &["pause", "two"])).contains("the container has no control group")
    );
    assert_eq!(said(&by_user(&bundle, &["kill", "two", "KILL"])), "");
    common::wait_for_end(state["pid"].as_i64().unwrap() as i32);
    assert_eq!(said(&by_user(&bundle, &["delete", "two"])), "");
}

/// A limit is kept or refused.
#[test]
fn limits_without_a_control_group() {
    let bundle = bundle("true");
    let none = by_user(&bundle, &["--rootless=false", "run", "one"]);
    assert!(said(&none).contains("permission denied"), "{}", said(&none));
    bundle.change(|spec| {
        spec["linux"]["resources"] =
            json!({"devices": [{"allow": false, "access": "rwm"}], "pids": {"limit": 0}});
    });
    assert_eq!(said(&by_user(&bundle, &["run", "one"])), "");
    bundle.change(|spec| spec["linux"]["resources"] = json!({"memory": {"limit": 10_000_000}}));
    let refused = by_user(&bundle, &["run", "one"]);
    let words = "cannot set memory limit: container could not join or create cgroup";
    assert!(said(&refused).contains(words), "{}", said(&refused));
    assert!(!bundle.path("state/one").exists());
}
