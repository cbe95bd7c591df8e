//! Clauses of the OCI runtime specification that no other test holds (docs/reference/runtime-spec.md lists all).

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::Bundle;
use serde_json::{Value, json};

/// `runtime.md`, operations: in a state that an operation is not for it is an error, and changes nothing.
#[test]
fn operations_in_the_wrong_state() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let fails = |words: &[&str], text: &str| {
        let output = bundle.shim(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = if words[0] == "exec" { 255 } else { 1 };
        assert_eq!(output.status.code(), Some(code), "{words:?}");
        assert!(said.contains(text), "{words:?}: {said}");
    };
    for verb in ["state", "start", "kill", "delete", "pause", "resume", "ps"] {
        fails(&[verb, "none"], "container does not exist");
        assert_eq!(bundle.shim(&[verb]).status.code(), Some(1), "without an id");
    }
    fails(&["exec", "none", "true"], "container does not exist");
    bundle.leave(&["create", "one"]);
    fails(&["create", "one"], "container with given ID already exists");
    assert_eq!(bundle.status("one"), "created");
    bundle.ok(&["start", "one"]);
    fails(
        &["start", "one"],
        "cannot start an already running container",
    );
    fails(&["delete", "one"], "that is not stopped: running");
    fails(&["resume", "one"], "not paused");
    assert_eq!(bundle.status("one"), "running");
    let pid = bundle.state("one")["pid"].as_i64().unwrap();
    bundle.ok(&["kill", "one", "KILL"]);
    common::wait_for_end(pid as i32);
    fails(&["kill", "one", "KILL"], "container not running");
    fails(&["start", "one"], "stopped");
    fails(&["exec", "one", "true"], "stopped container");
    fails(&["pause", "one"], "not running");
    bundle.ok(&["delete", "one"]);
    fails(&["state", "one"], "container does not exist");
}

/// `runtime.md`, create: what becomes of `config.json` afterwards has no effect; `delete` leaves what create has not
/// made.
#[test]
fn the_configuration_is_that_of_the_creation() {
    let bundle = Bundle::new(&["sh", "-c", "echo first > /tmp/said"]);
    bundle.change(|spec| spec["annotations"] = json!({"org.example.key": "value", "empty": ""}));
    bundle.leave(&["create", "one"]);
    bundle.change(|spec| {
        spec["process"]["args"] = json!(["sh", "-c", "echo second > /tmp/said"]);
        spec["annotations"] = json!({});
    });
    let state = bundle.state("one");
    assert_eq!(
        state["annotations"],
        json!({"org.example.key": "value", "empty": ""})
    );
    for (key, value) in [
        ("id", "one"),
        ("ociVersion", "1.3.0"),
        ("status", "created"),
    ] {
        assert_eq!(state[key], value);
    }
    assert_eq!(state["bundle"], bundle.0.path().to_str().unwrap());
    assert!(state["pid"].as_i64().unwrap() > 0);
    let said = bundle.rootfs().join("tmp/said");
    assert!(
        !said.exists(),
        "nothing of the program runs before the start"
    );
    bundle.ok(&["start", "one"]);
    common::until(|| bundle.status("one") == "stopped");
    assert_eq!(std::fs::read_to_string(&said).unwrap(), "first\n");
    std::fs::write(bundle.rootfs().join("tmp/ours"), "").unwrap();
    bundle.ok(&["delete", "one"]);
    assert!(bundle.rootfs().join("tmp/ours").exists() && bundle.path("config.json").exists());
}

/// `config.md`: properties that nobody knows are no error; values that nobody knows are.
#[test]
fn what_nobody_knows() {
    let bundle = Bundle::new(&["true"]);
    bundle.change(|spec| {
        spec["unknown"] = json!({"of": "everybody"});
        spec["process"]["unknown"] = json!(1);
        spec["linux"]["unknown"] = json!([]);
        spec["linux"]["resources"] = json!({"unknown": {}});
        spec["windows"] = json!({"layerFolders": ["x"]});
    });
    bundle.ok(&["run", "one"]);
    for (pointer, value) in [
        ("/linux/namespaces/0/type", json!("odd")),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_ODD", "soft": 1, "hard": 1}]),
        ),
        (
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_ODD", "priority": 1}),
        ),
        ("/process/scheduler", json!({"policy": "SCHED_ODD"})),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ODD"})),
        ("/linux/personality", json!({"domain": "ODD"})),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_ODD"})),
    ] {
        let bundle = Bundle::new(&["true"]);
        bundle.change(|spec| put(spec, pointer, value));
        let words = match pointer {
            "/linux/namespaces/0/type" => "does not exist",
            "/process/rlimits" => "wrong rlimit value: RLIMIT_ODD",
            "/linux/seccomp" => "string SCMP_ACT_ODD is not a valid action for seccomp",
            _ => "unknown value",
        };
        let said = bundle.refused();
        assert!(said.contains(words), "{pointer}: {said}");
    }
}

fn put(spec: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    spec.pointer_mut(parent).unwrap()[name] = value;
}

/// `config.md`, process: each is an error before anything is done.
#[test]
fn a_process_that_cannot_be() {
    for (pointer, value, words) in [
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}, {"type": "RLIMIT_CORE", "soft": 2, "hard": 2}]),
            "duplicated rlimit",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_NOFILE", "soft": 20, "hard": 10}]),
            "error setting rlimit type",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_OTHER", "nice": 30}),
            "invalid scheduler.nice",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_FIFO", "runtime": 5}),
            "SchedDeadline policy",
        ),
        ("/process/oomScoreAdj", json!(5000), "set the oom score"),
        ("/process/apparmorProfile", json!("nosuch"), "apparmor"),
        (
            "/process/args",
            json!(["/no/such/program"]),
            "no such file or directory",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "1-x"}),
            "invalid memoryPolicy.nodes",
        ),
        (
            "/linux/netDevices",
            json!({"a/b": {}}),
            "invalid network device name",
        ),
        (
            "/linux/netDevices",
            json!({"nosuch0": {}}),
            "no such network device",
        ),
        (
            "/linux/netDevices",
            json!({"a": {"name": "c"}, "b": {"name": "c"}}),
            "duplicated network device name",
        ),
    ] {
        let bundle = Bundle::new(&["true"]);
        bundle.change(|spec| put(spec, pointer, value));
        let said = bundle.refused();
        assert!(said.contains(words), "{pointer}: {said}");
    }
    let bundle = Bundle::new(&["true"]);
    bundle.change(|spec| {
        spec["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .retain(|one| one["type"] != "network");
        spec["linux"]["netDevices"] = json!({"lo": {}});
    });
    assert!(bundle.refused().contains("without a private NET namespace"));
}

/// `config-linux.md`, memory policy.
#[test]
fn memory_of_chosen_nodes() {
    let bundle = Bundle::new(&["cat", "/proc/self/numa_maps"]);
    bundle.change(|spec| {
        spec["linux"]["memoryPolicy"] =
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]});
    });
    let seen = bundle.ok(&["run", "one"]);
    assert!(seen.contains("bind=static:0"), "{seen}");
}

/// `config-linux.md`, network devices: moved, renamed, with their addresses, and up.
#[test]
fn network_devices_of_the_runtime_s_namespace() {
    let bundle = Bundle::new(&["sh", "-c", "ip -o link; ip -o addr"]);
    bundle.change(|spec| {
        spec["linux"]["netDevices"] = json!({"wd0": {"name": "inside"}, "wd1": {}});
    });
    // In a network namespace of the test's own.
    let script = "ip link add wd0 type veth peer name wd1 && \
        ip addr add 10.9.8.7/24 dev wd0 && ip link set wd0 up && \
        \"$0\" --root state run one && ip -o link";
    let output = std::process::Command::new("unshare")
        .args(["-n", "sh", "-c", script, env!("CARGO_BIN_EXE_wharf-shim")])
        .current_dir(bundle.0.path())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("inet 10.9.8.7/24"), "{said}");
    let line = |name: &str| {
        let found = said.lines().find(|line| line.contains(name));
        found.unwrap_or_else(|| panic!("{name}: {said}"))
    };
    assert!(
        line(" inside@").contains("UP") && line(" wd1@").contains("UP"),
        "{said}"
    );
    assert!(!said.contains(" wd0"), "{said}");
}

/// `config.md`, process: it is optional until the start.
#[test]
fn a_container_without_a_process_cannot_be_started() {
    let bundle = Bundle::new(&["true"]);
    bundle.change(|spec| drop(spec.as_object_mut().unwrap().remove("process")));
    assert!(
        bundle
            .refused()
            .contains("process property must not be empty")
    );
    bundle.leave(&["create", "one"]);
    assert_eq!(bundle.status("one"), "created");
    let output = bundle.shim(&["start", "one"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("process property must not be empty"),
        "{said}"
    );
    assert_eq!(bundle.status("one"), "created", "nothing has changed");
    bundle.ok(&["delete", "one"]);
}

/// `config.md`: hooks have absolute paths, and timeouts greater than zero; so are refused what runc refuses too.
#[test]
fn values_that_cannot_be() {
    let hook = |hook: Value| json!({"poststop": [hook]});
    for (pointer, value, words) in [
        (
            "/hooks",
            hook(json!({"path": "true"})),
            "poststop hook #0: the path \"true\" is not absolute",
        ),
        (
            "/hooks",
            hook(json!({"path": "/bin/true", "timeout": 0})),
            "the timeout 0 is not greater than zero",
        ),
        (
            "/hooks",
            hook(json!({"path": "/bin/true", "timeout": -1})),
            "the timeout -1 is not greater than zero",
        ),
        (
            "/process/env",
            json!(["NONE"]),
            "invalid environment variable: \"NONE\"",
        ),
        (
            "/process/env",
            json!(["=x"]),
            "environment variable name can't be empty: \"=x\"",
        ),
        (
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "a"}]),
            "invalid device type \"a\"",
        ),
        (
            "/linux/resources",
            json!({"memory": {"swappiness": 101}}),
            "invalid memory swappiness value: 101",
        ),
    ] {
        let bundle = Bundle::new(&["true"]);
        bundle.change(|spec| put(spec, pointer, value));
        let said = bundle.refused();
        assert!(
            said.contains(&words.replace('"', "\\\"")),
            "{pointer}: {said}"
        );
    }
}

/// `config.md`, user: the groups are those that are listed; environment: the last word on a variable counts.
#[test]
fn groups_and_variables_as_they_are_given() {
    let bundle = Bundle::new(&[
        "sh",
        "-c",
        "grep Groups /proc/self/status; env | grep -e ONE -e TWO",
    ]);
    bundle.change(|spec| {
        spec["process"]["user"] = json!({"uid": 5, "gid": 6, "additionalGids": [8, 7]});
        spec["process"]["env"] = json!(["PATH=/none", "ONE=1", "TWO=", "PATH=/bin", "ONE=2"]);
    });
    let said = bundle.ok(&["run", "one"]);
    let mut lines: Vec<&str> = said.lines().map(str::trim_end).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["Groups:\t7 8", "ONE=2", "TWO="]);
    bundle.change(|spec| spec["process"]["user"] = json!({}));
    assert!(bundle.ok(&["run", "one"]).starts_with("Groups:\t \n"));
}

/// `config-linux.md`, seccomp: a filter that allows what a program and runc's own last steps need, and no more.
#[test]
fn a_filter_that_allows_little() {
    let few = "access arch_prctl brk capset chdir close execve exit_group faccessat faccessat2 fchdir fchown fcntl \
               fstat futex getcwd getpid getuid mmap mprotect munmap newfstatat open openat prctl prlimit64 read \
               rseq rt_sigaction rt_sigprocmask set_robust_list set_tid_address setgid setgroups setresgid \
               setresuid setuid stat umask uname write";
    let few: Vec<&str> = few.split_whitespace().collect();
    for quiet in [false, true] {
        let bundle = Bundle::new(&["echo", "in"]);
        bundle.change(|spec| {
            spec["process"]["noNewPrivileges"] = quiet.into();
            spec["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [{"names": few, "action": "SCMP_ACT_ALLOW"}],
            });
        });
        assert_eq!(bundle.ok(&["run", "one"]), "in\n", "no_new_privs {quiet}");
        bundle.leave(&["create", "one"]);
        bundle.ok(&["start", "one"]);
        bundle.ok(&["delete", "-f", "one"]);
        bundle.change(|spec| spec["process"]["args"] = json!(["none"]));
        assert!(
            bundle
                .refused()
                .contains("executable file not found in $PATH")
        );
    }
}
