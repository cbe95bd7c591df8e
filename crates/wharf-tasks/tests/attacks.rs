//! What a process with the right to trace finds in what comes near it. By way of the shim's task, as the daemon does it, and on
//! cgroup v2, where a process is born in its group: the command line's groups are entered otherwise.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod common;

use std::path::Path;

use common::{World, in_a_world};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use serde_json::{Value, json};
use wharf_tasks::{ExecConfig, Task, TaskConfig};

/// The test's mount namespace gets cgroup v2, whatever the machine has.
fn on_cgroup_v2() {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return;
    }
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).unwrap();
    mount(
        "cgroup2",
        "/sys/fs/cgroup",
        "cgroup2",
        MountFlags::empty(),
        None,
    )
    .unwrap();
}

/// Who stops everything of ours that it meets, looks at it at leisure, and lets it go. It tells of every descriptor, of each that
/// leads to the host's `secret`, and of each that the kernel's settings can be written through.
fn watcher(world: &World, secret: &Path) -> Value {
    let script = r#"
        look() {
          for f in $1/fd/* $1/cwd $1/root; do
            echo "found ${f##*/} $(readlink $f)"
            for up in . .. ../.. ../../.. ../../../.. ../../../../.. ../../../../../.. ../../../../../../..; do
              [ -e $f/$up$0 ] && echo "ESCAPE by ${f##*/} $(readlink $f) $up"
            done
            [ -e $f/sys/kernel/msgmax ] && [ ! $f -ef $1/root ] && echo "SETTINGS by ${f##*/} $(readlink $f)"
          done
        }
        echo up
        while [ ! -e /tmp/stop ]; do for p in /proc/[0-9]*; do
          case $p in /proc/1|/proc/$$) continue;; esac
          n=; read n < $p/comm || continue
          case $n in wharf-*) ;; *) continue;; esac
          kill -STOP ${p##*/}; echo met; look $p; kill -CONT ${p##*/}
        done; done 2>/dev/null
        echo end"#;
    let mut spec = world.spec(&["sh", "-c", script, secret.to_str().unwrap()]);
    let all = json!([
        "CAP_SYS_PTRACE",
        "CAP_DAC_OVERRIDE",
        "CAP_KILL",
        "CAP_CHOWN",
        "CAP_SETUID",
        "CAP_SETGID"
    ]);
    spec["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
    spec
}

async fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

fn secret(world: &World) -> std::path::PathBuf {
    let secret = world.folder.path().join("secret");
    std::fs::write(&secret, "").unwrap();
    secret
}

async fn watched(world: &World) -> Task {
    let config = world.config(watcher(world, &secret(world)));
    let (task, _) = world.start("watcher", config).await;
    until(|| world.logged().contains("up\n")).await;
    task
}

async fn run(task: &Task, process: Value, id: &str) {
    let config = ExecConfig {
        id: id.to_owned(),
        process: serde_json::from_value(process).unwrap(),
        user: "nobody".to_owned(),
        attach: None,
    };
    let exec = task.exec(config).await.unwrap();
    assert_eq!(exec.wait().await.code, 0);
}

/// Tells the watcher that it is enough, and says what it has seen.
async fn seen(world: &World, task: Task) -> String {
    let stop = world.spec(&["touch", "/tmp/stop"])["process"].clone();
    let config = ExecConfig {
        id: "stop".to_owned(),
        process: serde_json::from_value(stop).unwrap(),
        user: String::new(),
        attach: None,
    };
    task.exec(config).await.unwrap();
    task.wait().await;
    task.delete().await.unwrap();
    world.logged()
}

/// Nothing but what the process gets, and pipes and sockets of ours.
fn check(seen: &str) {
    for line in seen.lines() {
        assert!(
            !line.starts_with("ESCAPE"),
            "the host's files: {line}\n{seen}"
        );
        assert!(
            !line.starts_with("SETTINGS"),
            "an open procfs: {line}\n{seen}"
        );
        let Some((name, target)) = line
            .strip_prefix("found ")
            .and_then(|line| line.split_once(' '))
        else {
            continue;
        };
        // `fscontext`: of a procfs of processes that is being mounted, where the process's own score is written. Others are the
        // container's own.
        let kinds = [
            "pipe:",
            "socket:",
            "/dev/null",
            "/dev/pts",
            "/etc/",
            "anon_inode:[fscontext]",
        ];
        // In the container's own procfs, where it looks for the process itself.
        let own = target.starts_with("/proc/") && target.ends_with("/fd");
        let known = ["", "/"].contains(&target)
            || own
            || target.ends_with("/oom_score_adj")
            || kinds.iter().any(|kind| target.starts_with(kind));
        assert!(known, "{name} is {target}\n{seen}");
    }
}

/// CVE-2016-9962, CVE-2024-21626: between its birth among the container's processes and its program an exec has nothing open
/// that leads out: no folder of its group, no procfs, no root of the host.
#[test]
fn what_enters_holds_nothing_of_the_host() {
    in_a_world(async |world| {
        on_cgroup_v2();
        // That it takes its time: a user who is looked up in a long file, and a program along a long path.
        let passwd = "other:x:7776:7776::/:\n".repeat(20_000) + "nobody:x:7777:7777::/:\n";
        std::fs::write(world.rootfs().join("etc/passwd"), passwd).unwrap();
        let task = watched(world).await;
        let mut process = world.spec(&["true"])["process"].clone();
        process["env"] = json!([format!("PATH={}/bin", "/none:".repeat(2_000))]);
        process["oomScoreAdj"] = json!(100);
        // With and without a terminal, until enough of them were met on their way.
        for round in 0.. {
            process["terminal"] = json!(round % 2 == 1);
            run(&task, process.clone(), &format!("exec{round}")).await;
            if round > 4 && world.logged().matches("met\n").count() > 8 {
                break;
            }
        }
        let seen = seen(world, task).await;
        assert!(
            seen.contains("socket:"),
            "nothing was seen on its way in: {seen}"
        );
        check(&seen);
    });
}

/// The same of the first process of another container, who shares the pid namespace and waits for its start.
#[test]
fn what_waits_for_its_start_holds_nothing_of_the_host() {
    in_a_world(async |world| {
        on_cgroup_v2();
        let mut spec = watcher(world, &secret(world));
        let script = spec["process"]["args"][2].as_str().unwrap().to_owned();
        let script = script.replace(
            "echo up",
            "echo up; while [ ! -e /tmp/go ]; do sleep 0.02; done",
        );
        spec["process"]["args"][2] = script.into();
        let (task, _) = world.start("watcher", world.config(spec)).await;
        until(|| world.logged().contains("up\n")).await;
        let mut spec = world.spec(&["true"]);
        let pid = format!("/proc/{}/ns/pid", task.pid());
        spec["linux"]["namespaces"][3] = json!({"type": "pid", "path": pid});
        spec["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
        spec["process"]["oomScoreAdj"] = json!(100);
        let mut config: TaskConfig = world.config(spec);
        config.log = wharf_tasks::LogConfig::None;
        let waiting = world.tasks.create("waiting", config).await.unwrap();
        let go = world.spec(&["touch", "/tmp/go"])["process"].clone();
        let config = ExecConfig {
            id: "go".to_owned(),
            process: serde_json::from_value(go).unwrap(),
            user: String::new(),
            attach: None,
        };
        task.exec(config).await.unwrap();
        until(|| world.logged().matches("met\n").count() > 2).await;
        waiting.start().await.unwrap();
        assert_eq!(waiting.wait().await.code, 0);
        waiting.delete().await.unwrap();
        let seen = seen(world, task).await;
        assert!(seen.contains("socket:"), "it could not look: {seen}");
        check(&seen);
    });
}
