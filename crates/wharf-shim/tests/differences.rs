//! What runc and crun do and this runtime once did not, as `scripts/differ/runtime.py` has found it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::Bundle;
use serde_json::{Value, json};

fn shell(text: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", text]})
}

/// The container's group in a hierarchy of v1, made; `None` on v2.
fn group_of_v1(bundle: &Bundle, controller: &str) -> Option<PathBuf> {
    let text = std::fs::read_to_string(bundle.path("config.json")).unwrap();
    let spec: Value = serde_json::from_str(&text).unwrap();
    let path = spec["linux"]["cgroupsPath"].as_str().unwrap().to_owned();
    let folder = PathBuf::from(format!("/sys/fs/cgroup/{controller}{path}"));
    std::fs::create_dir(&folder).ok().map(|()| folder)
}

/// Hooks look for the root where it lies on the host: what they mount there is the container's, and they see its mounts.
#[test]
fn hooks_find_the_container_s_root_in_its_folder() {
    for (name, propagation, flag) in [
        ("one", "", None),
        ("two", "shared", None),
        ("three", "private", Some("--no-pivot")),
    ] {
        let bundle = Bundle::new(&["cat", "/tmp/hook", "/bin/runtime-s", "/bin/beside"]);
        let source = bundle.path("source");
        for file in ["source/hook", "source/tmp/hook"] {
            std::fs::create_dir_all(bundle.path(file).parent().unwrap()).unwrap();
            std::fs::write(bundle.path(file), "of a hook\n").unwrap();
        }
        let (root, source) = (bundle.rootfs(), source.display().to_string());
        std::fs::write(root.join("bin/runtime-s"), "").unwrap();
        std::fs::write(root.join("bin/beside"), "").unwrap();
        bundle.mount(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
        let root = root.display();
        let inside = format!(
            "test $(pwd) = {root} && grep -q ' {root}/tmp ' /proc/self/mountinfo \
             && touch {root}/tmp/hook && mount --bind {source}/hook {root}/tmp/hook \
             && mount --bind {source}/hook bin/beside"
        );
        let outside = format!(
            "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/') && nsenter -m -t $pid \
             mount --bind {source}/hook {root}/bin/runtime-s"
        );
        bundle.change(|spec| {
            spec["linux"]["rootfsPropagation"] = json!(propagation);
            spec["hooks"] =
                json!({"createRuntime": [shell(&outside)], "createContainer": [shell(&inside)]});
        });
        let words: Vec<&str> = ["run"].into_iter().chain(flag).chain([name]).collect();
        assert_eq!(bundle.ok(&words), "of a hook\n".repeat(3), "{name}");
        assert!(
            std::fs::read(bundle.rootfs().join("bin/beside"))
                .unwrap()
                .is_empty(),
            "nothing of it is seen outside"
        );
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&root.to_string()), "{mounts}");
    }
}

/// Where the root is attached for hooks gives nothing to the host, and gets from it still; and so does what is bound from there.
#[test]
fn a_slave_from_beside_the_root_stays_one_with_hooks() {
    let bundle = Bundle::new(&["grep", " /tmp ", "/proc/self/mountinfo"]);
    bundle.mount(json!({
        "destination": "/tmp", "type": "bind", "source": bundle.path(""), "options": ["rbind", "rslave"]
    }));
    bundle.change(|spec| spec["hooks"] = json!({"createContainer": [shell("true")]}));
    let command = bundle.command(&["run", "one"]);
    let own_mount = "mount --bind . . && mount --make-rshared / && cd \"$PWD\" && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", own_mount, "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(bundle.path(""))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mount = String::from_utf8(output.stdout).unwrap();
    assert!(mount.contains(" master:"), "{mount}");
}

/// A hook that says nothing of an environment has the runtime's; one that says what it has has that.
#[test]
fn hooks_have_an_environment() {
    let bundle = Bundle::new(&["true"]);
    let said = bundle.path("said").display().to_string();
    for (env, words) in [
        (None, "ours"),
        (Some(json!([])), ""),
        (Some(json!(["WHOSE=its"])), "its"),
    ] {
        let mut hook = shell(&format!("echo \"$WHOSE\" > {said}"));
        if let Some(env) = env {
            hook["env"] = env;
        }
        bundle.change(|spec| spec["hooks"] = json!({"prestart": [hook]}));
        let ran = bundle
            .command(&["run", "one"])
            .env("WHOSE", "ours")
            .status();
        assert!(ran.unwrap().success());
        assert_eq!(
            std::fs::read_to_string(&said).unwrap(),
            format!("{words}\n")
        );
    }
    bundle.change(|spec| spec["hooks"] = json!({"prestart": [shell("kill -9 $$")]}));
    let refused = bundle.refused();
    assert!(refused.contains("signal: killed"), "{refused}");
}

/// A pipe of the caller's, who has no id in the container's user namespace, can be opened there by name.
#[test]
fn streams_are_the_user_s_in_a_user_namespace() {
    let bundle = Bundle::new(&["sh", "-c", "echo in > /dev/stdout"]);
    for path in [bundle.0.path(), &bundle.rootfs()] {
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, readable).unwrap();
    }
    bundle.namespace(json!({"type": "user"}));
    bundle.change(|spec| {
        let ids = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
        spec["linux"]["uidMappings"] = ids.clone();
        spec["linux"]["gidMappings"] = ids;
        spec["process"]["user"] = json!({"uid": 33, "gid": 34});
    });
    assert_eq!(bundle.ok(&["run", "one"]), "in\n");
}

/// The highest number means "as it is" to the kernel: root, that is.
#[test]
fn an_id_that_is_none_is_refused() {
    let bundle = Bundle::new(&["true"]);
    for user in [
        json!({"uid": u32::MAX, "gid": 0}),
        json!({"uid": 0, "gid": u32::MAX}),
        json!({"uid": 0, "gid": 0, "additionalGids": [u32::MAX]}),
    ] {
        bundle.change(|spec| spec["process"]["user"] = user);
        let said = bundle.refused();
        assert!(said.contains("unable to setup user"), "{said}");
    }
}

#[test]
fn a_pid_file_is_where_the_caller_is() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = bundle.0.path().to_str().unwrap();
    let mut create = bundle.command(&["create", "-b", folder, "--pid-file", "none/../pid", "one"]);
    let made = create.current_dir(elsewhere.path()).stdout(Stdio::null());
    assert!(made.stderr(Stdio::null()).status().unwrap().success());
    let pid = std::fs::read_to_string(elsewhere.path().join("pid")).unwrap();
    assert_eq!(pid, bundle.state("one")["pid"].to_string());
    bundle.ok(&["delete", "-f", "one"]);
}

/// An empty path is none.
#[test]
fn paths_that_are_empty() {
    let bundle = Bundle::new(&["echo", "in"]);
    let words = [
        "run",
        "--pid-file",
        "",
        "--console-socket",
        "",
        "-b",
        "",
        "one",
    ];
    assert_eq!(bundle.ok(&words), "in\n");
}

/// The exit code is the program's, even if its group cannot be removed, as somebody else is in it.
#[test]
fn a_group_that_stays_does_not_hide_how_the_program_ended() {
    let bundle = Bundle::new(&["sh", "-c", "exit 7"]);
    let Some(group) = group_of_v1(&bundle, "pids") else {
        return;
    };
    let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
    std::fs::write(group.join("cgroup.procs"), other.id().to_string()).unwrap();
    let ran = bundle.shim(&["run", "one"]);
    other.kill().unwrap();
    other.wait().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(7), "{said}");
    assert!(
        said.contains("unable to remove container's cgroup"),
        "{said}"
    );
    bundle.ok(&["delete", "one"]);
    assert!(!group.exists());
}

/// What goes there stands still, and hears no signal.
#[test]
fn a_frozen_group_is_refused() {
    let bundle = Bundle::new(&["true"]);
    let Some(group) = group_of_v1(&bundle, "freezer") else {
        return;
    };
    std::fs::write(group.join("freezer.state"), "FROZEN").unwrap();
    let said = bundle.refused();
    std::fs::remove_dir(group).unwrap();
    assert!(said.contains("cgroup unexpectedly frozen"), "{said}");
}

#[test]
fn a_limit_that_no_process_can_start_with_is_named() {
    if !Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists() {
        return;
    }
    let bundle = Bundle::new(&["true"]);
    bundle.change(|spec| spec["linux"]["resources"] = json!({"memory": {"limit": 5}}));
    let said = bundle.refused();
    assert!(said.contains("memory limit too low?"), "{said}");
}

/// What nobody has allowed is denied, whether the spec speaks of limits or not.
#[test]
fn devices_are_denied_by_default() {
    for resources in [None, Some(json!({"pids": {"limit": 50}}))] {
        let bundle = Bundle::new(&[
            "sh",
            "-c",
            "busybox mknod /tmp/d c 1 11 && busybox dd if=/tmp/d count=0 2>&1; echo x > /dev/null; echo $?",
        ]);
        bundle.change(|spec| {
            let sets = ["bounding", "effective", "permitted"];
            for set in sets {
                spec["process"]["capabilities"][set] = json!(["CAP_MKNOD"]);
            }
            if let Some(resources) = resources {
                spec["linux"]["resources"] = resources;
            }
        });
        let said = bundle.ok(&["run", "one"]);
        assert!(
            said.contains("Operation not permitted") && said.ends_with("\n0\n"),
            "{said}"
        );
    }
}

/// An empty name or folder is none; what has no effect is refused.
#[test]
fn what_is_empty_is_not_there() {
    let bundle = Bundle::new(&["sh", "-c", "hostname; echo $HOME"]);
    bundle.change(|spec| {
        spec["hostname"] = json!("");
        spec["domainname"] = json!("");
        spec["process"]["env"] = json!(["PATH=/bin", "HOME="]);
    });
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(bundle.ok(&["run", "one"]), format!("{host}/\n"));
    bundle.change(|spec| spec["mounts"][0]["destination"] = json!(""));
    assert!(
        bundle
            .refused()
            .contains("the destination must not be empty")
    );
    bundle.change(|spec| {
        spec["mounts"][0]["destination"] = json!("/proc");
        spec["mounts"][1]["options"] = json!(["idmap=uids=0-1-10"]);
    });
    assert!(bundle.refused().contains("unsupported option"));
    bundle.change(|spec| {
        spec["mounts"][1]["options"] = json!([]);
        spec["linux"]["resources"] = json!({"devices": [{"allow": true, "type": "c", "major": 1}]});
    });
    assert!(
        bundle
            .refused()
            .contains("device access at 0 field cannot be empty")
    );
}

/// A service manager that does not listen keeps no container from running.
#[test]
fn a_manager_that_is_not_there() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    let mut run = bundle.command(&["run", "-d", "one"]);
    run.env("NOTIFY_SOCKET", "/none/socket")
        .stdout(Stdio::null());
    let errors = std::fs::File::create(bundle.path("errors")).unwrap();
    assert!(run.stderr(errors).status().unwrap().success());
    let said = std::fs::read_to_string(bundle.path("errors")).unwrap();
    assert!(
        said.contains("level=warning") && said.contains("NOTIFY_SOCKET"),
        "{said}"
    );
    assert_eq!(bundle.status("one"), "running");
    bundle.ok(&["delete", "-f", "one"]);
}

/// Nobody is asked who cannot answer.
#[test]
fn groups_by_systemd_where_there_is_none() {
    if Path::new("/run/systemd/system").exists() {
        return;
    }
    let bundle = Bundle::new(&["true"]);
    bundle.change(|spec| spec["linux"]["cgroupsPath"] = json!("system.slice:x:y"));
    let ran = bundle.shim(&["--systemd-cgroup", "run", "one"]);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1));
    assert!(said.contains("systemd not running on this host"), "{said}");
}
