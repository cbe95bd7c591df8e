//! OCI's `config.json`: what each part of it does to the container.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use common::{Bundle, is_empty};
use serde_json::{Value, json};

/// A hook that adds its name and the state to a file.
fn hook(bundle: &Bundle, name: &str) -> Value {
    let file = bundle.path("hooks");
    let script = format!("echo {name} $(cat) >> {}", file.display());
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"], "timeout": 10})
}

#[test]
fn hooks_run_in_order_with_the_state() {
    let bundle = Bundle::new(&["true"]);
    let inside =
        json!({"path": "/bin/sh", "args": ["sh", "-c", "cat > /tmp/state"], "env": ["PATH=/bin"]});
    bundle.change(|spec| {
        spec["annotations"] = json!({"a": "b"});
        for name in [
            "prestart",
            "createRuntime",
            "createContainer",
            "poststart",
            "poststop",
        ] {
            spec["hooks"][name] = json!([hook(&bundle, name)]);
        }
        spec["hooks"]["startContainer"] = json!([inside]);
    });
    let lines = || std::fs::read_to_string(bundle.path("hooks")).unwrap_or_default();
    bundle.leave(&["create", "one"]);
    assert_eq!(lines().lines().count(), 3);
    assert!(!bundle.rootfs().join("tmp/state").exists());
    bundle.ok(&["start", "one"]);
    bundle.ok(&["delete", "-f", "one"]);
    let said = lines();
    let mut points = Vec::new();
    for line in said.lines() {
        let (name, state) = line.split_once(' ').unwrap();
        let state: Value = serde_json::from_str(state).unwrap();
        assert_eq!(
            (&state["id"], &state["annotations"]["a"]),
            (&json!("one"), &json!("b"))
        );
        assert_eq!(state["bundle"], bundle.0.path().to_str().unwrap());
        points.push((
            name.to_owned(),
            state["status"].as_str().unwrap().to_owned(),
        ));
    }
    let expected = [
        ("prestart", "creating"),
        ("createRuntime", "creating"),
        ("createContainer", "creating"),
        ("poststart", "running"),
        ("poststop", "stopped"),
    ];
    assert_eq!(
        points,
        expected.map(|(name, status)| (name.to_owned(), status.to_owned()))
    );
    let state = std::fs::read(bundle.rootfs().join("tmp/state")).unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    assert_eq!(
        (&state["status"], &state["pid"]),
        (&json!("created"), &json!(1))
    );
}

#[test]
fn a_hook_that_fails_or_lingers_ends_the_container() {
    let bundle = Bundle::new(&["true"]);
    let fails = json!({"path": "/bin/sh", "args": ["sh", "-c", "echo no >&2; exit 3"]});
    for name in [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
    ] {
        bundle.change(|spec| spec["hooks"] = json!({name: [{"path": "/bin/true"}, fails]}));
        let expected = format!("error running {name} hook #1: exit status 3, stdout: , stderr: no");
        let said = bundle.refused();
        assert!(said.contains(&expected), "{said}");
    }
    bundle.change(|spec| {
        spec["hooks"] = json!({"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}]});
    });
    assert!(
        bundle
            .refused()
            .contains("hook ran past specified timeout of 1.0s")
    );
    bundle.change(|spec| spec["hooks"] = json!({"startContainer": [fails]}));
    bundle.leave(&["create", "one"]);
    assert!(
        bundle
            .text(&["start", "one"])
            .contains("error running startContainer hook #0")
    );
    assert_eq!(bundle.status("one"), "stopped", "it is there until deleted");
    bundle.ok(&["delete", "one"]);
    bundle.change(|spec| spec["hooks"] = json!({"poststop": [fails, hook(&bundle, "after")]}));
    bundle.ok(&["run", "two"]);
    assert!(
        bundle.path("hooks").exists(),
        "one that fails keeps no other from running"
    );
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_done() {
    let changes: &[(&str, Value, &str)] = &[
        ("/ociVersion", json!("1.0"), "invalid ociVersion"),
        ("/process/args", json!([]), "args must not be empty"),
        ("/process/cwd", json!("bin"), "Cwd must be an absolute path"),
        (
            "/process/selinuxLabel",
            json!("a:b:c:d"),
            "selinux is disabled",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_OTHER", "priority": 5}),
            "scheduler.priority",
        ),
        ("/root/path", json!("nope"), "invalid rootfs"),
        (
            "/linux/rootfsPropagation",
            json!("odd"),
            "rootfsPropagation=odd is not supported",
        ),
        (
            "/linux/sysctl",
            json!({"vm.swappiness": "1"}),
            "is not in a separate kernel namespace",
        ),
        (
            "/linux/uidMappings",
            json!([{"containerID": 0, "hostID": 1, "size": 1}]),
            "USER namespace isn't enabled",
        ),
        (
            "/linux/timeOffsets",
            json!({"boottime": {"secs": 1}}),
            "time namespace isn't enabled",
        ),
        (
            "/linux/intelRdt",
            json!({"l3CacheSchema": "x"}),
            "Intel RDT is not enabled",
        ),
        (
            "/linux/namespaces/0/path",
            json!("/proc/self/ns/net"),
            "is no mnt namespace",
        ),
        (
            "/linux/namespaces/0/path",
            json!("/nope"),
            "namespace path: lstat /nope: no such file or directory",
        ),
    ];
    for (pointer, value, words) in changes {
        let bundle = Bundle::new(&["true"]);
        bundle.change(|spec| {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            spec.pointer_mut(parent).unwrap()[name] = value.clone();
        });
        let said = bundle.refused();
        assert!(said.contains(words), "{pointer}: {said}");
    }
    let bundle = Bundle::new(&["true"]);
    bundle.namespace(json!({"type": "user"}));
    assert!(bundle.refused().contains("no user mapping found"));
    std::fs::write(bundle.path("config.json"), "{").unwrap();
    assert!(bundle.text(&["run", "x"]).contains("unexpected EOF"));
    std::fs::remove_file(bundle.path("config.json")).unwrap();
    assert!(
        bundle
            .text(&["run", "x"])
            .contains("JSON specification file config.json not found")
    );
}

#[test]
fn unknown_capabilities_are_warned_of() {
    let bundle = Bundle::new(&["true"]);
    bundle.change(|spec| {
        spec["process"]["capabilities"] =
            json!({"bounding": ["CAP_KILL", "CAP_ODD"], "effective": ["CAP_ODD"]});
    });
    let output = bundle.shim(&["run", "one"]);
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("level=warning") && said.contains("capabilities: [CAP_ODD]"),
        "{said}"
    );
}

fn in_user_namespace(bundle: &Bundle) {
    bundle.namespace(json!({"type": "user"}));
    bundle.change(|spec| {
        let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        spec["linux"]["uidMappings"] = maps.clone();
        spec["linux"]["gidMappings"] = maps;
    });
    // The mapped root may make nothing in a folder of the host's.
    std::fs::create_dir_all(bundle.rootfs().join("data")).unwrap();
    let mode = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(bundle.rootfs().join("tmp"), mode).unwrap();
}

#[test]
fn a_user_namespace_whose_root_is_nobody_here() {
    let bundle = Bundle::new(&[]);
    in_user_namespace(&bundle);
    // Its folders are out of the mapped root's reach: the runtime opens them.
    std::fs::create_dir(bundle.path("closed")).unwrap();
    std::fs::create_dir(bundle.path("closed/data")).unwrap();
    std::fs::write(bundle.path("closed/data/file"), "read").unwrap();
    std::fs::set_permissions(
        bundle.path("closed"),
        std::fs::Permissions::from_mode(0o700),
    )
    .unwrap();
    bundle.mount(json!({"destination": "/data", "type": "bind", "source": bundle.path("closed/data"), "options": ["rbind", "ro"]}));
    bundle.change(|spec| {
        spec["process"]["rlimits"] =
            json!([{"type": "RLIMIT_NOFILE", "hard": 2_000_000_u64.min(limit()), "soft": 1000}]);
        spec["process"]["oomScoreAdj"] = json!(10);
        spec["hostname"] = "mapped".into();
    });
    bundle.script("id -u; hostname; cat /data/file; echo; touch /tmp/made; echo x > /dev/null && stat -c %t:%T /dev/null; cat /proc/self/oom_score_adj; cat /proc/self/uid_map; sleep 1000");
    let output = {
        let mut child = bundle.spawn(&["run", "one"]);
        common::until(|| bundle.rootfs().join("tmp/made").exists());
        assert_eq!(
            bundle.ok(&[
                "exec",
                "one",
                "sh",
                "-c",
                "id -u; cat /proc/self/setgroups; echo $$ > /tmp/execed"
            ]),
            "0\nallow\n"
        );
        bundle.ok(&["kill", "one", "KILL"]);
        let output = child.stdout.take().unwrap();
        child.wait().unwrap();
        std::io::read_to_string(output).unwrap()
    };
    let lines: Vec<&str> = output.lines().map(str::trim).collect();
    assert_eq!(lines[..5], ["0", "mapped", "read", "1:3", "10"], "{output}");
    assert!(lines[5].ends_with("65536"), "{output}");
    for name in ["made", "execed"] {
        let made = std::fs::metadata(bundle.rootfs().join("tmp").join(name)).unwrap();
        assert_eq!((made.uid(), made.gid()), (100_000, 100_000), "{name}");
    }
}

/// As many open files as may be asked for here.
fn limit() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.maximum.unwrap_or(u64::MAX)
}

#[test]
fn namespaces_by_path_with_a_user_namespace() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    in_user_namespace(&bundle);
    bundle.leave(&["run", "-d", "one"]);
    let pid = bundle.state("one")["pid"].as_i64().unwrap();
    let own = |kind: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    let other = Bundle::new(&[]);
    // A network namespace of the host's root, and the other's user, pid and ipc namespaces.
    for (kind, name) in [
        ("user", "user"),
        ("pid", "pid"),
        ("ipc", "ipc"),
        ("network", "net"),
    ] {
        other.namespace(json!({"type": kind, "path": format!("/proc/{pid}/ns/{name}")}));
    }
    other.script("for kind in user pid ipc net mnt; do readlink /proc/self/ns/$kind; done; cat /proc/1/cmdline");
    let output = other.ok(&["run", "two"]);
    let lines: Vec<&str> = output.lines().collect();
    for (line, kind) in lines.iter().zip(["user", "pid", "ipc", "net"]) {
        assert_eq!(*line, own(kind).to_str().unwrap());
    }
    assert_ne!(lines[4], own("mnt").to_str().unwrap());
    assert!(lines[5].starts_with("sleep"), "{output}");
    // A new user namespace beside one that is joined, which belongs to the host.
    let third = Bundle::new(&["id", "-u"]);
    in_user_namespace(&third);
    third.namespace(json!({"type": "network", "path": "/proc/self/ns/net"}));
    third.change(|spec| {
        spec["mounts"] = json!([
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        ])
    });
    assert_eq!(third.ok(&["run", "three"]), "0\n");
}

#[test]
fn clocks_with_an_offset() {
    let bundle = Bundle::new(&["cat", "/proc/uptime"]);
    bundle.namespace(json!({"type": "time"}));
    bundle.change(|spec| {
        spec["linux"]["timeOffsets"] =
            json!({"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 1_000_000}});
    });
    let uptime: f64 = bundle
        .ok(&["run", "one"])
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(uptime > 1_000_000.0);
    bundle.script("sleep 1000");
    bundle.leave(&["run", "-d", "one"]);
    let uptime: f64 = bundle
        .ok(&["exec", "one", "cat", "/proc/uptime"])
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(uptime > 1_000_000.0);
}

#[test]
fn mounts_with_mapped_owners() {
    let bundle = Bundle::new(&["stat", "-c", "%u:%g", "/data/file", "/data/below/file"]);
    let data = bundle.path("data");
    std::fs::create_dir_all(data.join("below")).unwrap();
    for name in ["file", "below/file"] {
        std::fs::write(data.join(name), "").unwrap();
        std::os::unix::fs::chown(data.join(name), Some(10), Some(20)).unwrap();
    }
    let maps = |host: u32| json!([{"containerID": 0, "hostID": host, "size": 1000}]);
    bundle.mount(json!({"destination": "/data", "type": "bind", "source": data, "options": ["rbind", "ridmap"],
        "uidMappings": maps(5000), "gidMappings": maps(6000)}));
    assert_eq!(bundle.ok(&["run", "one"]), "5010:6020\n5010:6020\n");
    // Without mappings of its own it gets those of the container: what is the host's root's is its root's.
    in_user_namespace(&bundle);
    bundle.change(|spec| {
        let mount = &mut spec["mounts"][2];
        for key in ["uidMappings", "gidMappings"] {
            mount.as_object_mut().unwrap().remove(key);
        }
    });
    assert_eq!(bundle.ok(&["run", "one"]), "10:20\n10:20\n");
}

#[test]
fn mount_options() {
    let bundle = Bundle::new(&["cat", "/proc/self/mountinfo"]);
    let data = bundle.path("data");
    std::fs::create_dir(&data).unwrap();
    for (target, options) in [
        ("/plain", json!(["bind"])),
        ("/ro", json!(["bind", "ro", "nosuid", "nodev", "noexec"])),
        ("/rro", json!(["rbind", "rro", "rnosuid"])),
        ("/times", json!(["bind", "noatime", "nodiratime"])),
        ("/links", json!(["bind", "nosymfollow"])),
        ("/shared", json!(["bind", "rshared"])),
        ("/slave", json!(["bind", "rslave"])),
    ] {
        bundle.mount(
            json!({"destination": target, "type": "bind", "source": data, "options": options}),
        );
    }
    bundle.mount(json!({"destination": "/small", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "mode=700", "ro"]}));
    bundle.mount(json!({"destination": "/plain", "type": "none", "source": "none", "options": ["remount", "bind", "nodev"]}));
    let output = bundle.ok(&["run", "one"]);
    let line = |target: &str| {
        let found = output
            .lines()
            .find(|line| line.split(' ').nth(4) == Some(target));
        found
            .unwrap_or_else(|| panic!("{target}: {output}"))
            .to_owned()
    };
    let flags = |target: &str| line(target).split(' ').nth(5).unwrap().to_owned();
    assert_eq!(flags("/plain"), "rw,nodev,relatime");
    assert_eq!(flags("/ro"), "ro,nosuid,nodev,noexec,relatime");
    assert_eq!(flags("/rro"), "ro,nosuid,relatime");
    assert_eq!(flags("/times"), "rw,noatime,nodiratime");
    assert!(flags("/links").contains("nosymfollow"));
    assert!(line("/shared").contains("shared:"));
    assert!(flags("/small").starts_with("ro") && line("/small").contains("size=64k,mode=700"));
}

#[test]
fn tmpcopyup_begins_with_what_is_there() {
    let bundle = Bundle::new(&[]);
    let etc = bundle.rootfs().join("etc");
    std::fs::create_dir_all(etc.join("below")).unwrap();
    std::fs::write(etc.join("below/file"), "text").unwrap();
    std::os::unix::fs::symlink("/nowhere", etc.join("link")).unwrap();
    std::os::unix::fs::chown(etc.join("below/file"), Some(7), Some(8)).unwrap();
    std::fs::set_permissions(etc.join("below"), std::fs::Permissions::from_mode(0o1711)).unwrap();
    bundle.mount(json!({"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "ro"]}));
    bundle.script("cat /etc/below/file; echo; readlink /etc/link; stat -c %u:%g /etc/below/file; stat -c %a /etc/below; touch /etc/x || echo closed");
    let output = bundle.ok(&["run", "one"]);
    assert_eq!(output, "text\n/nowhere\n7:8\n1711\nclosed\n");
    assert!(!etc.join("x").exists());
}

#[test]
fn devices_masks_settings_and_the_process() {
    let bundle = Bundle::new(&[]);
    std::fs::create_dir(bundle.rootfs().join("hidden")).unwrap();
    std::fs::write(bundle.rootfs().join("hidden/file"), "").unwrap();
    bundle.change(|spec| {
        spec["hostname"] = "name".into();
        spec["domainname"] = "domain".into();
        spec["root"]["readonly"] = true.into();
        spec["linux"]["devices"] = json!([
            {"type": "c", "path": "/dev/mine", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4},
            {"type": "p", "path": "/dev/pipe"},
        ]);
        spec["linux"]["maskedPaths"] = json!(["/hidden", "/proc/kcore", "/not/there"]);
        spec["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
        spec["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"});
        spec["linux"]["personality"] = json!({"domain": "LINUX32"});
        spec["process"]["user"] = json!({"uid": 0, "gid": 0, "umask": 0o077, "additionalGids": [5, 6]});
        spec["process"]["oomScoreAdj"] = json!(100);
        spec["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "hard": 123, "soft": 100}]);
        spec["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5});
        spec["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
    });
    bundle.mount(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
    bundle.script(
        "hostname; cat /proc/sys/kernel/domainname; stat -c '%a %u:%g %t:%T' /dev/mine; stat -c %F /dev/pipe; ls /hidden | wc -l; \
         cat /proc/sys/net/ipv4/ip_forward; uname -m; cat /proc/self/oom_score_adj; ulimit -n; ulimit -Hn; umask; id -G; \
         touch /x 2>/dev/null || echo readonly; ip -o link show lo | grep -c UP; stat -c %N /dev/fd",
    );
    let output = bundle.ok(&["run", "one"]);
    let lines: Vec<&str> = output.lines().map(str::trim).collect();
    let machine = if cfg!(target_arch = "x86_64") {
        "i686"
    } else {
        "armv8l"
    };
    let expected = [
        "name",
        "domain",
        "640 3:4 1:5",
        "fifo",
        "0",
        "1",
        machine,
        "100",
        "100",
        "123",
        "0077",
        "0 5 6",
        "readonly",
        "1",
        "'/dev/fd' -> '/proc/self/fd'",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_filter_that_somebody_listens_to() {
    let bundle = Bundle::new(&["mkdir", "/tmp/made"]);
    let socket = bundle.path("listener");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    bundle.change(|spec| {
        spec["process"]["noNewPrivileges"] = true.into();
        spec["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": socket,
            "listenerMetadata": "words",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
        });
    });
    let run = bundle.spawn(&["run", "one"]);
    let (connection, _) = listener.accept().unwrap();
    let mut buffer = [0; 4096];
    let (length, descriptors) = wharf_sys::socket::receive(&connection, &mut buffer).unwrap();
    let state: Value = serde_json::from_slice(&buffer[..length]).unwrap();
    assert_eq!(
        (&state["fds"], &state["metadata"]),
        (&json!(["seccompFd"]), &json!("words"))
    );
    assert_eq!(
        (&state["state"]["id"], &state["pid"]),
        (&json!("one"), &state["state"]["pid"])
    );
    assert_eq!(descriptors.len(), 1);
    // Nobody answers any more: the call fails.
    drop((descriptors, connection));
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!bundle.rootfs().join("tmp/made").exists());
    bundle.change(|spec| spec["linux"]["seccomp"]["syscalls"][0]["names"] = json!(["write"]));
    assert!(
        bundle
            .refused()
            .contains("SCMP_ACT_NOTIFY cannot be used for the write syscall")
    );
    bundle.change(|spec| spec["linux"]["seccomp"]["defaultAction"] = json!("SCMP_ACT_NOTIFY"));
    assert!(
        bundle
            .refused()
            .contains("cannot be used as default action")
    );
}

#[test]
fn control_groups_by_path() {
    for (path, expected) in [
        ("wharf-cli-a/b", "wharf-cli-a/b"),
        ("/../../wharf-cli-c", "wharf-cli-c"),
    ] {
        let bundle = Bundle::new(&["sleep", "1000"]);
        let unique = format!("{}-{}", expected, std::process::id());
        bundle.change(|spec| {
            spec["linux"]["cgroupsPath"] = format!("{path}-{}", std::process::id()).into()
        });
        bundle.leave(&["run", "-d", "one"]);
        let pid = bundle.state("one")["pid"].as_i64().unwrap();
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        assert!(groups.contains(&format!("/{unique}\n")), "{groups}");
        let again = bundle.text(&["run", "two"]);
        assert!(
            again.contains("container's cgroup is not empty: 1 process(es) found"),
            "{again}"
        );
        bundle.ok(&["delete", "-f", "one"]);
        assert!(!bundle.path("state/one").exists());
    }
}

#[test]
fn descriptors_that_are_to_be_kept() {
    use std::os::fd::AsRawFd as _;
    let bundle = Bundle::new(&[]);
    bundle.script("cat <&3; cd /proc/self/fd; echo *");
    let file = bundle.path("kept");
    std::fs::write(&file, "kept\n").unwrap();
    let run = |words: &str| {
        let script = format!(
            "exec 3<{} 4<{}; exec \"$0\" --root state {words}",
            file.display(),
            file.display()
        );
        let output = std::process::Command::new("/bin/bash")
            .args(["-c", &script, env!("CARGO_BIN_EXE_wharf-shim")])
            .current_dir(bundle.0.path())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let said = run("run --preserve-fds 1 one");
    assert!(said.starts_with("kept\n0 1 2 3"), "{said}");
    bundle.script("sleep 1000");
    bundle.leave(&["run", "-d", "one"]);
    let said = run("exec --preserve-fds 1 one cat /proc/self/fd/3");
    assert_eq!(said, "kept\n");
    assert!(std::fs::File::open(&file).unwrap().as_raw_fd() > 0);
}

#[test]
fn without_pivot_the_root_is_changed_nevertheless() {
    let bundle = Bundle::new(&["ls", "/"]);
    let seen = bundle.ok(&["run", "--no-pivot", "one"]);
    assert!(seen.contains("bin\n") && !seen.contains("home\n"), "{seen}");
    assert!(is_empty(&bundle.path("state")));
}

#[test]
fn another_session_keyring() {
    let bundle = Bundle::new(&["cat", "/proc/keys"]);
    let seen = bundle.ok(&["run", "keyed"]);
    assert!(seen.contains("_ses.keyed"), "{seen}");
    let seen = bundle.ok(&["run", "--no-new-keyring", "plain"]);
    assert!(!seen.contains("_ses.plain"), "{seen}");
}

#[test]
fn a_read_only_dev_and_tmpfs_take_what_is_mounted_in_them() {
    let bundle = Bundle::new(&[]);
    bundle.change(|spec| spec["mounts"][1]["options"] = json!(["mode=755", "ro"]));
    for (target, kind, options) in [
        (
            "/dev/pts",
            "devpts",
            json!(["newinstance", "ptmxmode=0666"]),
        ),
        ("/tmp", "tmpfs", json!(["ro", "size=64k"])),
        ("/tmp/below", "tmpfs", json!(["size=64k"])),
    ] {
        bundle.mount(
            json!({"destination": target, "type": kind, "source": kind, "options": options}),
        );
    }
    bundle.script(
        "ls /dev/null /dev/pts/ptmx; for at in /dev /tmp /tmp/below; do touch $at/x && echo $at; done; true",
    );
    assert_eq!(
        bundle
            .text(&["run", "one"])
            .lines()
            .filter(|line| line.starts_with('/'))
            .collect::<Vec<_>>(),
        ["/dev/null", "/dev/pts/ptmx", "/tmp/below"]
    );
}

#[test]
fn devices_stand_where_the_spec_has_them() {
    let device = |path: &str, minor: u32| json!({"path": path, "type": "c", "major": 1, "minor": minor, "fileMode": 0o640});
    let bundle = Bundle::new(&["stat", "-c", "%t:%T %a", "/dev/zero", "/dev/two", "/kept"]);
    // One in place of the usual one, two at one path, of which the first stays, and one that the image has.
    bundle.change(|spec| {
        spec["linux"]["devices"] = json!([
            device("/dev/zero", 3),
            device("/dev/two", 3),
            device("/dev/two", 5),
            device("/kept", 3)
        ]);
    });
    let kept = bundle.rootfs().join("kept");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &kept,
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::from_raw_mode(0o600),
        rustix::fs::makedev(1, 3),
    )
    .unwrap();
    assert_eq!(bundle.ok(&["run", "one"]), "1:3 640\n1:3 640\n1:3 600\n");
    // Another file is there: an error (config-linux.md, devices).
    std::fs::remove_file(&kept).unwrap();
    std::fs::write(&kept, "").unwrap();
    let said = bundle.refused();
    assert!(
        said.contains("/kept") && said.contains("is not this device"),
        "{said}"
    );
}

/// As runc: `-v /dev/null:/dev/kmsg` beside `--privileged`, which lists all devices of the host's.
#[test]
fn what_is_mounted_over_a_device_stays() {
    let bundle = Bundle::new(&["cat", "/dev/one", "/dev/folder/two"]);
    let files = bundle.rootfs().join("files");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("two"), "mounted\n").unwrap();
    let mount = |target: &str, source: &std::path::Path| json!({"destination": target, "type": "bind", "source": source, "options": ["bind"]});
    bundle.change(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.push(mount("/dev/one", &files.join("two")));
        mounts.push(mount("/dev/folder", &files));
        spec["linux"]["devices"] = json!([
            {"path": "/dev/one", "type": "c", "major": 1, "minor": 11},
            {"path": "/dev/folder/two", "type": "c", "major": 1, "minor": 3}
        ]);
    });
    assert_eq!(bundle.ok(&["run", "one"]), "mounted\nmounted\n");
}

#[test]
fn what_says_nothing_or_too_much_is_refused() {
    let filter = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    for (pointer, value, words) in [
        (
            "/linux/seccomp",
            filter(json!({"names": ["mkdir"], "action": "SCMP_ACT_KILL", "errnoRet": 5})),
            "takes no errnoRet",
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 5}),
            "takes no defaultErrnoRet",
        ),
        (
            "/linux/seccomp",
            filter(json!({"names": ["mkdir"], "action": "SCMP_ACT_NOPE"})),
            "string SCMP_ACT_NOPE is not a valid action for seccomp",
        ),
        (
            "/linux/personality",
            json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}),
            "unsupported personality flags",
        ),
        (
            "/linux/resources",
            json!({"rdma": {"mlx5_1": {}}}),
            "neither hcaHandles nor hcaObjects",
        ),
        (
            "/linux/resources",
            json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 0}]}}),
            "neither weight nor leafWeight",
        ),
        (
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "c", "major": -1, "minor": 0}]),
            "cannot mkdev() device with wildcards",
        ),
        (
            "/process/args",
            json!(["true", 7]),
            "process.args[1]: json: cannot unmarshal number 7 where a string is expected",
        ),
    ] {
        let bundle = Bundle::new(&["true"]);
        bundle.change(|spec| {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            spec.pointer_mut(parent).unwrap()[name] = value.clone();
        });
        let said = bundle.refused();
        assert!(said.contains(words), "{pointer}: {said}");
    }
    // Without a call to ask about, nobody is asked.
    let bundle = Bundle::new(&["true"]);
    bundle.change(|spec| {
        spec["linux"]["seccomp"] =
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nobody"});
    });
    bundle.ok(&["run", "one"]);
}

#[test]
fn hooks_have_the_caller_s_umask_and_no_signal_blocked() {
    let bundle = Bundle::new(&["true"]);
    let file = bundle.path("masks");
    let script = format!(
        "umask >> {0}; grep SigBlk /proc/self/status >> {0}",
        file.display()
    );
    let look =
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]);
    bundle.change(|spec| {
        spec["hooks"] = json!({"createRuntime": look, "createContainer": look, "poststart": look});
    });
    // In the foreground, where the caller takes signals for the container.
    bundle.ok(&["run", "one"]);
    let said = std::fs::read_to_string(&file).unwrap();
    assert_eq!(said, "0022\nSigBlk:\t0000000000000000\n".repeat(3));
}

#[test]
fn a_joined_host_name_is_set_and_joined_mounts_are_not_touched() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.leave(&["run", "-d", "one"]);
    let pid = bundle.state("one")["pid"].as_i64().unwrap();
    let other = Bundle::new(&["hostname"]);
    other.namespace(json!({"type": "uts", "path": format!("/proc/{pid}/ns/uts")}));
    other.change(|spec| spec["hostname"] = json!("joined"));
    assert_eq!(other.ok(&["run", "two"]), "joined\n");
    assert_eq!(bundle.ok(&["exec", "one", "hostname"]), "joined\n");
    let third = Bundle::new(&["true"]);
    third.namespace(json!({"type": "mount", "path": format!("/proc/{pid}/ns/mnt")}));
    let said = third.refused();
    assert!(
        said.contains("need a mount namespace of the container's own"),
        "{said}"
    );
}

#[test]
fn a_read_only_filesystem_is_one_and_not_its_mount_alone() {
    let bundle = Bundle::new(&["grep", "/tmp/ro", "/proc/self/mountinfo"]);
    bundle.mount(json!({"destination": "/tmp/ro", "type": "ramfs", "source": "r", "options": ["ro", "nosuid"]}));
    let line = bundle.ok(&["run", "one"]);
    let (mount, filesystem) = line.trim().split_once(" - ").unwrap();
    assert!(mount.contains(" ro,nosuid"), "{line}");
    assert!(
        filesystem
            .split(' ')
            .next_back()
            .unwrap()
            .split(',')
            .any(|option| option == "ro"),
        "{line}"
    );
}

/// The last word is the root's alone: a bind has its own.
#[test]
fn the_root_s_propagation_is_not_that_of_what_is_mounted_in_it() {
    let bundle = Bundle::new(&["grep", "-E", " (/|/tmp/b) ", "/proc/self/mountinfo"]);
    let source = bundle.path("source");
    std::fs::create_dir(&source).unwrap();
    bundle.mount(json!({"destination": "/tmp/b", "type": "bind", "source": source, "options": ["bind", "rshared"]}));
    bundle.change(|spec| spec["linux"]["rootfsPropagation"] = json!("rprivate"));
    let said = bundle.ok(&["run", "one"]);
    let line = |place: &str| {
        said.lines()
            .find(|line| line.contains(place))
            .unwrap()
            .to_owned()
    };
    assert!(line(" /tmp/b ").contains("shared:"), "{said}");
    assert!(!line(" / ").contains("shared:"), "{said}");
}
