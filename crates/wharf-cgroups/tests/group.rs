//! A group below our own: made, limited, entered, frozen, killed, removed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::{Child, Command};

use wharf_cgroups::{Cgroup, Wanted};

/// A path of our own in every hierarchy. On v1 our own group differs between hierarchies, so the test's group
/// is made at the top of each, under a name that only this test uses.
fn path(name: &str) -> String {
    format!("/wharf-cgroups-{name}-{}", std::process::id())
}

fn create(name: &str) -> Cgroup {
    Cgroup::create(&path(name), Wanted::default()).unwrap()
}

fn sleeper() -> Child {
    Command::new("sleep").arg("1000").spawn().unwrap()
}

#[test]
fn processes_are_listed_frozen_killed_and_the_group_goes() {
    let group = create("life");
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

/// Somebody else has made the one above, and was not yet there to give it processors.
#[test]
fn a_cpuset_of_v1_below_an_empty_one_takes_processes() {
    let above = path("unfilled");
    if std::fs::create_dir(format!("/sys/fs/cgroup/cpuset{above}")).is_err() {
        return; // v2: they are never empty.
    }
    let group = Cgroup::create(&format!("{above}/below"), Wanted::default()).unwrap();
    let mut child = sleeper();
    let pid = i32::try_from(child.id()).unwrap();
    group.add(pid).unwrap();
    group.kill_all().unwrap();
    child.wait().unwrap();
    group.remove().unwrap();
    Cgroup::open(&above).unwrap().remove().unwrap();
}

/// Somebody has made the group itself, in this hierarchy.
#[test]
fn a_cpuset_of_v1_that_is_there_and_empty_takes_processes() {
    let name = path("empty");
    if std::fs::create_dir(format!("/sys/fs/cgroup/cpuset{name}")).is_err() {
        return; // v2: they are never empty.
    }
    let group = Cgroup::create(&name, Wanted::default()).unwrap();
    let mut child = sleeper();
    group.add(i32::try_from(child.id()).unwrap()).unwrap();
    group.kill_all().unwrap();
    child.wait().unwrap();
    group.remove().unwrap();
}

#[test]
fn a_thread_of_v1_enters_by_itself() {
    let group = create("enter");
    // On v2 there is no such way.
    if let Some(entrance) = group.entrance().unwrap() {
        let entered = std::thread::scope(|scope| {
            let enter = || {
                entrance.enter().unwrap();
                std::fs::read_to_string("/proc/thread-self/cgroup").unwrap()
            };
            scope.spawn(enter).join().unwrap()
        });
        let of_memory = entered.lines().find(|line| line.contains(":memory:"));
        assert!(of_memory.unwrap().ends_with(group.path()), "{entered}");
    }
    group.remove().unwrap();
}

#[test]
fn limits_are_written_and_a_refused_value_is_named() {
    let group = create("limits");
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
            .contains("failed to write \"9999\": write")
    );
}

#[test]
fn limits_change_while_processes_run_in_any_direction() {
    let group = create("change");
    let set = |json: &str| group.apply(&serde_json::from_str(json).unwrap());
    let steps = [
        r#"{"memory":{"limit":67108864,"swap":134217728}}"#,
        r#"{"memory":{"limit":268435456,"swap":536870912}}"#,
        r#"{"memory":{"limit":33554432,"swap":33554432}}"#,
        r#"{"memory":{"limit":-1,"swap":-1}}"#,
        r#"{"cpu":{"quota":50000,"period":100000}}"#,
        r#"{"cpu":{"period":200000}}"#,
        r#"{"cpu":{"quota":20000}}"#,
        r#"{"pids":{"limit":0}}"#,
    ];
    let done: Vec<_> = steps.iter().map(|step| set(step)).collect();
    let stats = group.stats();
    group.remove().unwrap();
    for (step, done) in steps.iter().zip(done) {
        done.unwrap_or_else(|error| panic!("{step}: {error}"));
    }
    let stats = stats.unwrap();
    assert_eq!(stats.pids.limit, None);
    assert!(
        group.stats().is_err(),
        "a group that has gone has no numbers"
    );
}

#[test]
fn a_change_that_fails_changes_nothing() {
    let group = create("undo");
    let set = |json: &str| group.update(&serde_json::from_str(json).unwrap());
    let first = set(
        r#"{"memory":{"limit":67108864,"swap":134217728},"cpu":{"shares":512},"pids":{"limit":50}}"#,
    );
    let refused = set(
        r#"{"memory":{"limit":268435456,"swap":536870912},"cpu":{"shares":2048,"cpus":"9999"},"pids":{"limit":7}}"#,
    );
    let stats = group.stats();
    // Swap alone: the limit of memory beside it is the one that holds.
    let swap = set(r#"{"memory":{"swap":100663296}}"#);
    group.remove().unwrap();
    first.unwrap();
    swap.unwrap();
    assert!(refused.unwrap_err().to_string().contains("9999"));
    let stats = stats.unwrap();
    assert_eq!(
        (stats.memory.limit, stats.pids.limit),
        (67_108_864, Some(50))
    );
}

#[test]
fn an_oom_kill_is_told() {
    let group = create("oom");
    let limits = r#"{"memory":{"limit":8388608,"swap":8388608}}"#;
    group.apply(&serde_json::from_str(limits).unwrap()).unwrap();
    let mut watch = group.watch_oom().unwrap();
    assert_eq!(watch.take(), 0);
    // It waits until it is in the group, then takes more than it may.
    let mut child = Command::new("sh")
        .args([
            "-c",
            "read go; head -c 64m /dev/zero | tail -c 64m >/dev/null",
        ])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    group.add(i32::try_from(child.id()).unwrap()).unwrap();
    drop(child.stdin.take());
    let ended = child.wait();
    let told = watch.take();
    let kills = group.oom_kills();
    group
        .remove_when_empty(std::time::Duration::from_secs(10))
        .unwrap();
    ended.unwrap();
    assert!(told > 0 && kills > 0, "told {told}, counted {kills}");
}

#[test]
fn a_group_with_processes_is_emptied_and_removed() {
    let group = create("busy");
    let mut child = sleeper();
    group.add(i32::try_from(child.id()).unwrap()).unwrap();
    group.freeze().unwrap();
    assert!(group.is_frozen());
    let removed = group.remove_when_empty(std::time::Duration::from_secs(10));
    let _ = child.kill();
    child.wait().unwrap();
    removed.unwrap();
}

#[test]
fn device_rules_are_replaced_not_added() {
    let group = create("devices");
    let set = |rules: &str| {
        let resources = format!(r#"{{"devices":[{{"allow":false,"access":"rwm"}}{rules}]}}"#);
        group.apply(&serde_json::from_str(&resources).unwrap())
    };
    let reads = || {
        let mut child = Command::new("sh")
            .args(["-c", "read go; head -c 1 /dev/zero >/dev/null 2>&1"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        group.add(i32::try_from(child.id()).unwrap()).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap().success()
    };
    let null = r#",{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}"#;
    let zero = r#",{"allow":true,"type":"c","major":1,"minor":5,"access":"r"}"#;
    let first = set(null).map(|()| reads());
    let second = set(&format!("{null}{zero}")).map(|()| reads());
    let third = set(null).map(|()| reads());
    group
        .remove_when_empty(std::time::Duration::from_secs(10))
        .unwrap();
    let got = [first.unwrap(), second.unwrap(), third.unwrap()];
    assert_eq!(got, [false, true, false]);
}

/// The kernel takes the filter that the rules become: what is denied in part as well.
#[test]
fn rules_of_devices_are_taken() {
    let group = create("devices");
    let rules = r#"{"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "access": "rwm"},
        {"allow": false, "type": "c", "major": 1, "minor": 3, "access": "w"}, {"allow": true, "type": "b", "access": "m"}]}"#;
    group.apply(&serde_json::from_str(rules).unwrap()).unwrap();
    group.remove().unwrap();
}

/// What systemd does in a container: the group that it began in takes no processes any more.
#[test]
fn a_divided_group_of_v2_takes_processes_beside_the_first() {
    let group = create("divided");
    let top = std::path::Path::new("/sys/fs/cgroup").join(group.path());
    if group.birthplace().is_none() || !top.join("cgroup.subtree_control").exists() {
        return group.remove().unwrap(); // v1 has none such.
    }
    let (mut first, mut second) = (sleeper(), sleeper());
    let pid = |child: &Child| i32::try_from(child.id()).unwrap();
    let below = top.join("init");
    std::fs::create_dir(&below).unwrap();
    std::fs::write(below.join("cgroup.procs"), pid(&first).to_string()).unwrap();
    std::fs::write(top.join("cgroup.subtree_control"), "+pids").unwrap();
    group.add(pid(&second)).unwrap_err();
    group.add_beside(pid(&second), pid(&first)).unwrap();
    group.birthplace_beside(pid(&first)).unwrap();
    assert_eq!(group.processes().unwrap().len(), 2);
    let listed = std::fs::read_to_string(below.join("cgroup.procs")).unwrap();
    assert_eq!(listed.lines().count(), 2);
    group.kill_all().unwrap();
    first.wait().unwrap();
    second.wait().unwrap();
    group.remove().unwrap();
}

/// A threaded group has no list of processes, only of threads.
#[test]
fn processes_of_threaded_groups_of_v2_are_listed() {
    let group = create("threaded");
    let top = std::path::Path::new("/sys/fs/cgroup").join(group.path());
    if group.birthplace().is_none() {
        return group.remove().unwrap(); // v1 has none such.
    }
    let below = top.join("below");
    std::fs::create_dir(&below).unwrap();
    std::fs::write(below.join("cgroup.type"), "threaded").unwrap();
    let mut child = sleeper();
    let pid = i32::try_from(child.id()).unwrap();
    group.add(pid).unwrap();
    std::fs::write(below.join("cgroup.threads"), pid.to_string()).unwrap();
    assert_eq!(group.processes().unwrap(), [pid]);
    group.kill_all().unwrap();
    child.wait().unwrap();
    group
        .remove_when_empty(std::time::Duration::from_secs(5))
        .unwrap();
}
