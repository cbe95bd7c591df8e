//! The shim as an OCI runtime: runc's verbs, flags, answers and exit codes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Bundle, until, wait_for_end};
use serde_json::{Value, json};

#[test]
fn run_gives_output_and_code_and_leaves_nothing() {
    let bundle = Bundle::new(&["sh", "-c", "echo hello; exit 7"]);
    let output = bundle.shim(&["run", "one"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n");
    assert_eq!(output.status.code(), Some(7));
    assert!(!bundle.path("state/one").exists());
    bundle.change(|spec| spec["process"]["args"] = json!(["nope"]));
    let log = bundle.path("log");
    let output = bundle.shim(&[
        "--log",
        log.to_str().unwrap(),
        "--log-format",
        "json",
        "run",
        "one",
    ]);
    let expected = "runc run failed: unable to start container process: exec: \"nope\": executable file not found in $PATH";
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        format!("{expected}\n")
    );
    let line: Value = serde_json::from_slice(&std::fs::read(log).unwrap()).unwrap();
    assert_eq!(
        (&line["msg"], &line["level"]),
        (&json!(expected), &json!("error"))
    );
    assert!(
        bundle
            .text(&["run", "one"])
            .contains("level=error msg=\"runc run failed: unable to start")
    );
}

#[test]
fn the_verbs_of_a_life() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.change(|spec| spec["annotations"] = json!({"a.b": "c"}));
    bundle.leave(&["create", "--pid-file", "pid", "life"]);
    assert_eq!(bundle.status("life"), "created");
    // What becomes of the bundle's spec does not matter any more.
    bundle.change(|spec| spec["ociVersion"] = "bad".into());
    assert_eq!(bundle.text(&["start", "life"]), "");
    let state = bundle.state("life");
    let pid: i32 = std::fs::read_to_string(bundle.path("pid"))
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(state["status"], "running");
    assert_eq!(state["pid"], pid);
    assert_eq!(state["ociVersion"], "1.3.0");
    assert_eq!(state["annotations"]["a.b"], "c");
    assert_eq!(state["bundle"], bundle.0.path().to_str().unwrap());
    let refused = |words: &[&str], text: &str| {
        let output = bundle.shim(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(errors.contains(text), "{words:?}: {errors}");
    };
    refused(
        &["start", "life"],
        "cannot start an already running container",
    );
    refused(
        &["delete", "life"],
        "cannot delete container life that is not stopped: running",
    );
    refused(&["kill", "life", "NONE"], "unknown signal \\\"NONE\\\"");
    assert_eq!(bundle.text(&["kill", "life", "SIGKILL"]), "");
    wait_for_end(pid);
    assert_eq!(bundle.status("life"), "stopped");
    assert_eq!(bundle.state("life")["pid"], 0);
    refused(&["kill", "life"], "container not running");
    refused(
        &["start", "life"],
        "cannot start a container that has stopped",
    );
    assert_eq!(
        bundle.shim(&["exec", "life", "true"]).status.code(),
        Some(255)
    );
    assert_eq!(bundle.text(&["delete", "life"]), "");
    refused(&["state", "life"], "container does not exist");
    refused(&["delete", "life"], "container does not exist");
    assert_eq!(bundle.text(&["delete", "--force", "life"]), "");
}

#[test]
fn words_that_are_wrong_are_named() {
    let bundle = Bundle::new(&["true"]);
    let said = |words: &[&str]| {
        let output = bundle.shim(words);
        assert!(!output.status.success(), "{words:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(said(&["--nope"]).contains("flag provided but not defined: -nope"));
    assert!(said(&["state"]).contains("requires exactly 1 argument(s)"));
    assert!(said(&["state", "a/b"]).contains("invalid container ID format"));
    assert!(said(&["state", "--x", "a"]).contains("flag provided but not defined: -x"));
    assert!(said(&["--log-format", "x", "list"]).contains("invalid log-format: x"));
    assert!(
        said(&["--systemd-cgroup", "run", "x"]).contains("expected cgroupsPath to be of format")
    );
    assert!(said(&["list", "-f", "x"]).contains("invalid format option"));
    assert!(said(&["run", "-b", "/nope", "x"]).contains("chdir /nope: no such file or directory"));
    assert!(said(&["run", "--preserve-fds", "9", "x"]).contains("unable to stat preserved-fd"));
    assert!(said(&["create", "--console-socket", "s", "x"]).contains("cannot use console socket"));
    assert_eq!(bundle.shim(&["nope"]).status.code(), Some(3));
    bundle.change(|spec| spec["process"]["terminal"] = true.into());
    assert!(said(&["create", "x"]).contains("cannot allocate tty"));
    assert!(!bundle.path("state").exists(), "something was done");
}

#[test]
fn lists_as_table_json_and_names() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    assert_eq!(bundle.ok(&["list", "-f", "json"]), "null\n");
    bundle.leave(&["run", "-d", "one"]);
    assert_eq!(bundle.ok(&["list", "-q"]), "one\n");
    let listed: Value = serde_json::from_str(&bundle.ok(&["list", "-f", "json"])).unwrap();
    assert_eq!(listed[0]["id"], "one");
    assert_eq!(listed[0]["owner"], "root");
    let table = bundle.ok(&["list"]);
    let mut lines = table.lines();
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("ID          PID         STATUS      BUNDLE")
    );
    assert!(lines.next().unwrap().starts_with("one         "));
    assert_eq!(bundle.shim(&["run", "-d", "one"]).status.code(), Some(1));
    assert_eq!(bundle.status("one"), "running");
}

#[test]
fn a_paused_container_waits() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.leave(&["run", "-d", "one"]);
    bundle.ok(&["pause", "one"]);
    assert_eq!(bundle.status("one"), "paused");
    assert!(
        bundle
            .text(&["pause", "one"])
            .contains("container not running")
    );
    assert!(
        bundle
            .text(&["exec", "one", "true"])
            .contains("cannot exec in a paused container")
    );
    assert!(
        bundle
            .text(&["delete", "one"])
            .contains("that is not stopped: paused")
    );
    bundle.ok(&["resume", "one"]);
    assert!(
        bundle
            .text(&["resume", "one"])
            .contains("container not paused")
    );
    bundle.ok(&["exec", "one", "true"]);
    bundle.ok(&["pause", "one"]);
    bundle.ok(&["delete", "-f", "one"]);
}

#[test]
fn exec_with_all_that_it_can_be_told() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.leave(&["run", "-d", "one"]);
    let run = |words: &[&str]| bundle.ok(&[&["exec"], words].concat());
    assert_eq!(run(&["-e", "A=b", "one", "sh", "-c", "echo $A"]), "b\n");
    assert_eq!(run(&["--cwd", "/bin", "one", "sh", "-c", "pwd"]), "/bin\n");
    assert_eq!(
        run(&["-u", "5:6", "-g", "7", "one", "id"]),
        "uid=5 gid=6 groups=7\n"
    );
    let status = run(&[
        "--no-new-privs",
        "--cap",
        "CAP_KILL",
        "one",
        "cat",
        "/proc/self/status",
    ]);
    for line in [
        "NoNewPrivs:\t1",
        "CapEff:\t0000000000000020",
        "CapInh:\t0000000000000000",
    ] {
        assert!(status.contains(line), "{line}: {status}");
    }
    assert_eq!(
        bundle
            .shim(&["exec", "one", "sh", "-c", "exit 5"])
            .status
            .code(),
        Some(5)
    );
    assert_eq!(
        bundle
            .shim(&["exec", "one", "sh", "-c", "kill -9 $$"])
            .status
            .code(),
        Some(137)
    );
    let output = bundle.shim(&["exec", "one", "nope"]);
    assert_eq!(output.status.code(), Some(255));
    let process = json!({"args": ["echo", "said"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"]});
    std::fs::write(bundle.path("process.json"), process.to_string()).unwrap();
    assert_eq!(run(&["-p", "process.json", "one"]), "said\n");
    bundle.leave(&["exec", "-d", "--pid-file", "pid", "one", "sleep", "1000"]);
    let pid: i32 = std::fs::read_to_string(bundle.path("pid"))
        .unwrap()
        .parse()
        .unwrap();
    let pids: Vec<i32> = serde_json::from_str(&run_ps(&bundle)).unwrap();
    assert!(pids.contains(&pid) && pids.len() == 2, "{pids:?}");
    assert!(bundle.ok(&["ps", "one"]).contains("sleep 1000"));
}

fn run_ps(bundle: &Bundle) -> String {
    bundle.ok(&["ps", "-f", "json", "one"])
}

#[test]
fn limits_change_and_are_counted() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.leave(&["run", "-d", "one"]);
    bundle.ok(&["update", "--pids-limit", "17", "--memory", "32MiB", "one"]);
    let event: Value = serde_json::from_str(&bundle.ok(&["events", "--stats", "one"])).unwrap();
    assert_eq!(
        (&event["type"], &event["id"]),
        (&json!("stats"), &json!("one"))
    );
    assert_eq!(event["data"]["pids"]["limit"], 17);
    assert_eq!(event["data"]["memory"]["usage"]["limit"], 32 << 20);
    std::fs::write(bundle.path("r.json"), r#"{"pids": {"limit": 18}}"#).unwrap();
    bundle.ok(&["update", "-r", "r.json", "one"]);
    let event: Value = serde_json::from_str(&bundle.ok(&["events", "--stats", "one"])).unwrap();
    assert_eq!(event["data"]["pids"]["limit"], 18);
    for wrong in [
        ["--memory", "x"],
        ["--cpu-quota", "y"],
        ["--l3-cache-schema", "z"],
    ] {
        let words = ["update", wrong[0], wrong[1], "one"];
        assert_eq!(bundle.shim(&words).status.code(), Some(1), "{wrong:?}");
    }
}

#[test]
fn all_of_a_container_without_own_pids_is_killed() {
    let bundle = Bundle::new(&["sh", "-c", "sleep 1000 & sleep 1000; true"]);
    bundle.change(|spec| {
        let all = spec["linux"]["namespaces"].as_array_mut().unwrap();
        all.retain(|one| one["type"] != "pid");
    });
    bundle.leave(&["run", "-d", "one"]);
    until(|| run_ps(&bundle).matches(',').count() == 2);
    let pids: Vec<i32> = serde_json::from_str(&run_ps(&bundle)).unwrap();
    bundle.ok(&["kill", "one", "KILL"]);
    pids.into_iter().for_each(wait_for_end);
    assert_eq!(bundle.status("one"), "stopped");
    bundle.ok(&["delete", "one"]);
}

#[test]
fn signals_of_a_foreground_run_are_the_container_s() {
    let bundle = Bundle::new(&[]);
    bundle.script("trap 'exit 9' TERM; touch /tmp/up; while :; do sleep 0.01; done");
    let mut run = bundle.spawn(&["run", "one"]);
    until(|| bundle.rootfs().join("tmp/up").exists());
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(9));
    assert!(!bundle.path("state/one").exists());
}

#[test]
fn a_kept_container_is_there_after_its_end() {
    let bundle = Bundle::new(&["true"]);
    bundle.ok(&["run", "--keep", "one"]);
    assert_eq!(bundle.status("one"), "stopped");
    bundle.ok(&["delete", "one"]);
}

#[test]
fn what_spec_writes_runs() {
    let bundle = Bundle::new(&["true"]);
    assert!(
        bundle
            .text(&["spec"])
            .contains("File config.json exists. Remove it first")
    );
    std::fs::remove_file(bundle.path("config.json")).unwrap();
    bundle.ok(&["spec"]);
    bundle.change(|spec| {
        spec["process"]["terminal"] = false.into();
        spec["process"]["args"] = json!(["/bin/hostname"]);
        // The tests' own namespaces have no cgroup filesystem to look at.
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["type"] != "mqueue");
        spec["linux"]["cgroupsPath"] = "/wharf-test-cli-spec".into();
    });
    assert_eq!(bundle.ok(&["run", "one"]), "runc\n");
    let features: Value = serde_json::from_str(&bundle.ok(&["features"])).unwrap();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert_eq!(
        features["linux"]["mountExtensions"]["idmap"]["enabled"],
        true
    );
}

/// As Go's flags and runc's commands have them.
#[test]
fn words_that_are_odd() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let fails = |words: &[&str], code: i32, text: &str| {
        let output = bundle.shim(words);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(text), "{words:?}: {said}");
    };
    fails(&["help", "nonsense"], 3, "No help topic for 'nonsense'");
    fails(
        &["exec"],
        1,
        "Incorrect Usage.\n\nNAME:\n   wharf-shim exec - ",
    );
    fails(
        &["exec", "--nonsense"],
        1,
        "Incorrect Usage: flag provided but not defined: -nonsense",
    );
    fails(
        &["exec", "--preserve-fds", "x", "one", "true"],
        1,
        "for flag -preserve-fds: parse error",
    );
    fails(
        &["exec", "-g", "x", "one", "true"],
        1,
        "for flag -g: strconv.ParseInt: parsing",
    );
    fails(
        &["events", "--interval", "5", "one"],
        1,
        "for flag -interval: parse error",
    );
    fails(
        &["--log", "/none/log", "list"],
        1,
        "open /none/log: no such file or directory",
    );
    fails(&["checkpoint", "one"], 1, "container does not exist");
    for help in [&["state", "one", "--help"], &["checkpoint", "-h", "x"]] {
        assert!(bundle.ok(help).starts_with("NAME:\n   wharf-shim "));
    }
    bundle.leave(&["run", "-d", "one"]);
    fails(&["checkpoint", "one"], 1, "checkpointing is not supported");
    fails(&["restore", "two"], 1, "checkpointing is not supported");
    fails(
        &["kill", "one", "-1"],
        1,
        "unable to signal init: invalid argument",
    );
    fails(&["kill", "one", "--nonsense"], 1, "unknown signal");
    fails(
        &["exec", "--cgroup", "nonsense:/", "one", "true"],
        255,
        "unknown controller nonsense",
    );
    assert_eq!(bundle.status("one"), "running");
    // Flags may stand behind the id.
    bundle.ok(&["kill", "one", "KILL", "--all"]);
    common::until(|| bundle.status("one") == "stopped");
    // Nobody reads: no reason to fail.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let listed = bundle.command(&["list", "-q"]).stdout(writer).status();
    assert!(listed.unwrap().success());
    bundle.ok(&["delete", "one", "-f"]);
}

/// Who else is on the machine learns nothing of the containers.
#[test]
fn folders_of_the_state_are_closed() {
    use std::os::unix::fs::PermissionsExt as _;
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.leave(&["create", "one"]);
    let mode = |name: &str| {
        std::fs::metadata(bundle.path(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode("state"), mode("state/one")), (0o700, 0o711));
}

/// runc's `SkipDevices`: who sends all limits again, as kubelet does, does not mean to take the devices away.
#[test]
fn an_update_leaves_the_devices_as_they_are() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.leave(&["run", "-d", "one"]);
    let resources = r#"{"devices": [{"allow": false, "access": "rwm"}], "pids": {"limit": 19}}"#;
    std::fs::write(bundle.path("r.json"), resources).unwrap();
    bundle.ok(&["update", "-r", "r.json", "one"]);
    bundle.ok(&["exec", "one", "sh", "-c", "echo > /dev/null"]);
}

#[test]
fn a_process_from_a_file_has_what_the_first_one_has() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let own = json!(["CAP_KILL", "CAP_CHOWN"]);
    bundle.change(|spec| {
        spec["process"]["capabilities"] =
            json!({"bounding": own, "effective": own, "permitted": own});
        spec["process"]["oomScoreAdj"] = json!(321);
        spec["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 77}]);
    });
    bundle.leave(&["run", "-d", "one"]);
    let look = "grep CapEff /proc/self/status; cat /proc/self/oom_score_adj; ulimit -n";
    let mut process = json!({"args": ["sh", "-c", look], "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"]});
    let run = |process: &Value| {
        std::fs::write(bundle.path("process.json"), process.to_string()).unwrap();
        bundle.ok(&["exec", "-p", "process.json", "one"])
    };
    assert_eq!(run(&process), "CapEff:\t0000000000000021\n321\n77\n");
    process["capabilities"] = json!({"bounding": [], "effective": [], "permitted": []});
    process["oomScoreAdj"] = json!(400);
    assert_eq!(run(&process), "CapEff:\t0000000000000000\n400\n77\n");
}

/// What the program says to its service manager goes through us, as with runc.
#[test]
fn a_service_manager_is_told_that_the_program_is_ready() {
    use std::os::unix::net::UnixDatagram;
    let bundle = Bundle::new(&[]);
    bundle.script(
        "echo $NOTIFY_SOCKET > /tmp/name; [ -S $NOTIFY_SOCKET ] && echo > /tmp/there; sleep 1000",
    );
    let manager = UnixDatagram::bind(bundle.path("manager")).unwrap();
    let begin = |words: &[&str]| {
        let mut command = bundle.command(words);
        command.env("NOTIFY_SOCKET", bundle.path("manager"));
        command.stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    let heard = || {
        let mut buffer = [0; 64];
        let (length, fds) = wharf_sys::socket::receive(&manager, &mut buffer).unwrap();
        (String::from_utf8_lossy(&buffer[..length]).into_owned(), fds)
    };
    assert!(begin(&["create", "one"]).wait().unwrap().success());
    for (id, words, tells_pid) in [
        ("one", &["start", "one"][..], true),
        ("two", &["run", "-d", "two"], true),
        ("three", &["run", "three"], false),
    ] {
        let mut started = begin(words);
        common::until(|| bundle.rootfs().join("tmp/there").exists());
        let name = std::fs::read_to_string(bundle.rootfs().join("tmp/name")).unwrap();
        assert_eq!(name, "/run/notify/notify.sock\n");
        let program = UnixDatagram::unbound().unwrap();
        let socket = bundle.path("state").join(id).join("notify/notify.sock");
        program.send_to(b"STATUS=soon", &socket).unwrap();
        program.send_to(b"READY=1\nSTATUS=up", &socket).unwrap();
        assert_eq!(heard().0, "READY=1\n");
        if tells_pid {
            let pid = bundle.state(id)["pid"].as_i64().unwrap();
            assert_eq!(heard().0, format!("MAINPID={pid}\n"));
        }
        let (word, fds) = heard();
        assert_eq!((word.as_str(), fds.len()), ("BARRIER=1", 1));
        drop(fds);
        bundle.ok(&["kill", id, "KILL"]);
        let code = started.wait().unwrap().code();
        assert_eq!(code, Some(if tells_pid { 0 } else { 137 }));
        if tells_pid {
            // The next one has the same control group, which must be empty.
            common::until(|| bundle.status(id) == "stopped");
            bundle.ok(&["delete", id]);
        }
        std::fs::remove_file(bundle.rootfs().join("tmp/there")).unwrap();
    }
}
