//! What a `kill -9` of the runtime leaves behind is removed by `delete -f`; what is said at once is said once.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use common::Bundle;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The container's groups that are there.
fn groups(bundle: &Bundle) -> Vec<PathBuf> {
    let name = format!(
        "wharf-test-cli{}",
        bundle.0.path().file_name().unwrap().to_string_lossy()
    );
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    let places = hierarchies
        .map(|one| one.path())
        .chain(["/sys/fs/cgroup".into()]);
    places
        .map(|place| place.join(&name))
        .filter(|place| place.exists())
        .collect()
}

/// Whether a process was started with the bundle's folder among its words, as every command here is.
fn is_alone(bundle: &Bundle) -> bool {
    let folder = bundle.0.path().to_string_lossy().into_owned();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines = processes.filter_map(|one| std::fs::read(one.path().join("cmdline")).ok());
    !lines.any(|line| String::from_utf8_lossy(&line).contains(&folder))
}

fn nothing_is_left(bundle: &Bundle, when: &str) {
    bundle.ok(&["delete", "-f", "one"]);
    assert!(!bundle.path("state/one").exists(), "{when}");
    assert_eq!(groups(bundle), Vec::<PathBuf>::new(), "{when}");
    common::until(|| is_alone(bundle));
}

/// Runs a command and kills it after a while.
fn kill_after(bundle: &Bundle, words: &[&str], wait: Duration) {
    let mut command = bundle.command(words);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Not for something to come: to be anywhere in its way.
    std::thread::sleep(wait);
    let _ = child.kill();
    child.wait().unwrap();
}

#[test]
fn whoever_is_killed_leaves_what_can_be_deleted() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    for step in 0..40 {
        let wait = Duration::from_micros(step * 400);
        kill_after(&bundle, &["create", "one"], wait);
        nothing_is_left(&bundle, &format!("create, {wait:?}"));
        bundle.leave(&["create", "one"]);
        kill_after(&bundle, &["start", "one"], wait / 4);
        nothing_is_left(&bundle, &format!("start, {wait:?}"));
        bundle.leave(&["run", "-d", "one"]);
        kill_after(&bundle, &["delete", "-f", "one"], wait / 2);
        nothing_is_left(&bundle, &format!("delete, {wait:?}"));
    }
}

/// A folder without a record, or with half of one.
#[test]
fn folders_that_are_half_there() {
    let bundle = Bundle::new(&["true"]);
    std::fs::create_dir_all(bundle.path("state/one")).unwrap();
    assert!(
        bundle
            .text(&["state", "one"])
            .contains("container does not exist")
    );
    assert!(
        bundle
            .text(&["create", "one"])
            .contains("container with given ID already exists")
    );
    nothing_is_left(&bundle, "empty");
    std::fs::create_dir_all(bundle.path("state/one")).unwrap();
    std::fs::write(bundle.path("state/one/record"), "{\"id\": ").unwrap();
    assert_eq!(bundle.ok(&["list", "-q"]), "");
    nothing_is_left(&bundle, "half");
    bundle.ok(&["run", "one"]);
}

/// The line of the process is cut off: its container has begun, and can be removed with its group.
#[test]
fn half_a_line_is_none() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.leave(&["create", "one"]);
    let path = bundle.path("state/one/record");
    let record = std::fs::read(&path).unwrap();
    assert_eq!(bundle.status("one"), "created");
    std::fs::write(&path, &record[..record.len() - 1]).unwrap();
    assert_eq!(bundle.status("one"), "creating");
    nothing_is_left(&bundle, "cut off");
}

#[test]
fn of_many_that_create_and_start_at_once_one_does() {
    let bundle = Bundle::new(&["sh", "-c", "echo once >> /tmp/said; sleep 1000"]);
    let at_once = |words: &[&str]| {
        let mut children: Vec<_> = (0..8)
            .map(|_| {
                let mut command = bundle.command(words);
                command
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let codes = children
            .iter_mut()
            .map(|child| child.wait().unwrap().code());
        codes.filter(|code| *code == Some(0)).count()
    };
    assert_eq!(at_once(&["create", "one"]), 1);
    assert_eq!(bundle.status("one"), "created");
    assert_eq!(at_once(&["start", "one"]), 1);
    common::until(|| bundle.rootfs().join("tmp/said").exists());
    assert_eq!(bundle.status("one"), "running");
    assert_eq!(
        std::fs::read_to_string(bundle.rootfs().join("tmp/said")).unwrap(),
        "once\n"
    );
    nothing_is_left(&bundle, "at once");
}

/// Without room for its records nothing is made.
#[test]
fn a_full_disk() {
    let bundle = Bundle::new(&["true"]);
    let state = bundle.path("state");
    std::fs::create_dir(&state).unwrap();
    let script = "mount -t tmpfs -o size=4k,nr_inodes=3 tmpfs \"$1\" && head -c 4096 /dev/zero > \"$1/full\" && shift && \
                  ! \"$@\"";
    let mut command = std::process::Command::new("unshare");
    command
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "full",
        ])
        .arg(&state);
    command
        .arg(env!("CARGO_BIN_EXE_wharf-shim"))
        .arg("--root")
        .arg(&state)
        .args(["run", "-b"]);
    let output = command.arg(bundle.0.path()).arg("one").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("no space left on device"), "{said}");
    assert_eq!(groups(&bundle), Vec::<PathBuf>::new());
}

fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(true)),
        Just(json!(-1)),
        Just(json!(u64::MAX)),
        Just(json!(1.5)),
        Just(json!("")),
        Just(json!("\u{0}")),
        Just(json!("../../..")),
        Just(json!("/")),
        Just(json!("x".repeat(5000))),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null])),
        Just(json!([{}])),
        Just(json!({"": ""})),
        "\\PC{0,20}".prop_map(Value::from),
    ]
}

/// Places of a spec; each is filled with something odd. Not the root: that could become the machine's.
const PLACES: &[&str] = &[
    "/ociVersion",
    "/root/readonly",
    "/hostname",
    "/domainname",
    "/annotations",
    "/hooks",
    "/mounts",
    "/hooks/createRuntime",
    "/hooks/poststop",
    "/process",
    "/process/args",
    "/process/args/0",
    "/process/env",
    "/process/env/0",
    "/process/cwd",
    "/process/user",
    "/process/user/uid",
    "/process/user/umask",
    "/process/user/additionalGids",
    "/process/rlimits",
    "/process/capabilities",
    "/process/capabilities/bounding",
    "/process/oomScoreAdj",
    "/process/scheduler",
    "/process/ioPriority",
    "/process/consoleSize",
    "/mounts/0/destination",
    "/mounts/0/type",
    "/mounts/0/source",
    "/mounts/0/options",
    "/mounts/1/options",
    "/mounts/1/uidMappings",
    "/linux",
    "/linux/namespaces",
    "/linux/namespaces/0/type",
    "/linux/namespaces/1/path",
    "/linux/uidMappings",
    "/linux/timeOffsets",
    "/linux/devices",
    "/linux/netDevices",
    "/linux/resources",
    "/linux/resources/memory",
    "/linux/resources/devices",
    "/linux/resources/unified",
    "/linux/sysctl",
    "/linux/seccomp",
    "/linux/rootfsPropagation",
    "/linux/maskedPaths",
    "/linux/readonlyPaths",
    "/linux/personality",
    "/linux/memoryPolicy",
    "/linux/cgroupsPath",
];

fn place(spec: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match spec.pointer_mut(parent) {
        Some(Value::Object(parent)) => drop(parent.insert(name.to_owned(), value)),
        Some(Value::Array(parent)) => {
            let place = name
                .parse()
                .ok()
                .and_then(|number: usize| parent.get_mut(number));
            if let Some(place) = place {
                *place = value;
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stands in a spec, it is run or refused, and a refusal leaves nothing.
    #[test]
    fn any_configuration_is_run_or_refused(changes in proptest::collection::vec((0..PLACES.len(), odd()), 1..4)) {
        let bundle = Bundle::new(&["true"]);
        bundle.change(|spec| {
            for (number, value) in changes {
                place(spec, PLACES[number], value);
            }
            // A group outside of the test's would stay behind.
            let group = spec.pointer("/linux/cgroupsPath").and_then(Value::as_str).unwrap_or_default();
            if !group.contains("wharf-test-cli") {
                let name = bundle.0.path().file_name().unwrap().to_string_lossy().into_owned();
                place(spec, "/linux/cgroupsPath", json!(format!("/wharf-test-cli{name}")));
            }
        });
        let output = bundle.shim(&["run", "one"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        prop_assert!(matches!(output.status.code(), Some(0 | 1 | 255)), "{:?} {said}", output.status);
        prop_assert!(!said.contains("panicked"), "{said}");
        prop_assert!(!bundle.path("state/one").exists(), "{said}");
        prop_assert_eq!(groups(&bundle), Vec::<PathBuf>::new(), "{}", said);
    }
}
