//! A group below our own: made, limited, entered, frozen, killed, removed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::{Child, Command};

use wharf_cgroups::Cgroup;

/// A path of our own in every hierarchy. On v1 our own group differs between hierarchies, so the test's group
/// is made at the top of each, under a name that only this test uses.
fn path(name: &str) -> String {
    format!("/wharf-cgroups-{name}-{}", std::process::id())
}

fn sleeper() -> Child {
    Command::new("sleep").arg("1000").spawn().unwrap()
}

#[test]
fn processes_are_listed_frozen_killed_and_the_group_goes() {
    let group = Cgroup::create(&path("life")).unwrap();
    let mut child = sleeper();
    let pid = i32::try_from(child.id()).unwrap();
    group.add(pid).unwrap();
    assert_eq!(group.processes().unwrap(), [pid]);
    group.freeze().unwrap();
    group.thaw().unwrap();
    group.kill_all().unwrap();
    child.wait().unwrap();
    group.remove().unwrap();
    assert!(group.processes().unwrap().is_empty());
    group.remove().unwrap();
}

#[test]
fn limits_are_written_and_a_refused_value_is_named() {
    let group = Cgroup::create(&path("limits")).unwrap();
    let resources = r#"{"memory":{"limit":67108864},"pids":{"limit":50},
        "devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}]}"#;
    let applied = group.apply(&serde_json::from_str(resources).unwrap());
    let refused = group.apply(&serde_json::from_str(r#"{"cpu":{"cpus":"9999"}}"#).unwrap());
    group.remove().unwrap();
    applied.unwrap();
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("write \"9999\" to")
    );
}
