//! Limits that are asked for: they hold, or it is said that they do not.

use anyhow::{Context as _, Result, ensure};

use super::containers::until;
use super::resources::limit;
use crate::Case;
use crate::case::skip;

pub(crate) fn nonsense_is_refused(case: &mut Case) -> Result<()> {
    let refused = [
        (&["-m", "1m"][..], "inimum memory limit allowed is 6MB"),
        (
            &["-m", "10m", "--memory-swap", "8m"][..],
            "inimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            &["--memory-swap", "80m"][..],
            "ou should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (
            &["--memory-reservation", "1m"][..],
            "inimum memory reservation allowed is 6MB",
        ),
        (
            &["-m", "10m", "--memory-reservation", "20m"][..],
            "inimum memory limit can not be less than memory reservation limit, see usage",
        ),
        (&["--cpus", "1000"][..], "ange of CPUs is from 0.01 to "),
        (
            &["--cpus", "1", "--cpu-quota", "5000"][..],
            "onflicting options: Nano CPUs and CPU Quota cannot both be set",
        ),
        (
            &["--cpu-period", "5"][..],
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        (
            &["--cpuset-cpus", "4000"][..],
            "equested CPUs are not available - requested 4000, available: ",
        ),
        (
            &["--cpuset-mems", "99"][..],
            "equested memory nodes are not available - requested 99, available: ",
        ),
        (
            &["--cpuset-cpus", "0-x"][..],
            "nvalid value 0-x for cpuset cpus",
        ),
        (
            &["--oom-score-adj", "2000"][..],
            "nvalid value 2000, range for oom score adj is [-1000, 1000]",
        ),
        (&["--cgroupns", "other"][..], "invalid"),
    ];
    for (flags, words) in refused {
        let args = [&["create"], flags, &["busybox", "true"]].concat();
        let run = case.run(&args)?;
        ensure!(
            run.code != 0 && run.stderr.contains(words),
            "{args:?}: {run:?}"
        );
    }
    // Which of the two depends on the kernel.
    let real_time = ["--cpu-rt-period", "1000", "--cpu-rt-runtime", "2000"];
    let run = case.run(&[&["create"], &real_time[..], &["busybox", "true"]].concat())?;
    let either = [
        "cpu real-time runtime cannot be higher than cpu real-time period",
        "ernel does not support CPU real-time scheduler",
    ];
    ensure!(
        either.iter().any(|words| run.stderr.contains(words)),
        "{run:?}"
    );
    case.prints(
        &[
            "run",
            "--rm",
            "--oom-score-adj",
            "321",
            "busybox",
            "cat",
            "/proc/self/oom_score_adj",
        ],
        "321",
    )?;
    let kill = case.run(&["run", "--rm", "--oom-kill-disable", "busybox", "true"])?;
    ensure!(
        kill.code == 0 && kill.stderr.contains("WARNING: "),
        "{kill:?}"
    );
    Ok(())
}

pub(crate) fn devices_are_filtered(case: &mut Case) -> Result<()> {
    // A device number that nobody has: the filter speaks before anybody notices that.
    let open = "mknod /tmp/x c 250 250 && : < /tmp/x";
    let denied = case.run(&["run", "--rm", "busybox", "sh", "-c", open])?;
    ensure!(
        denied.stderr.contains("Operation not permitted"),
        "{denied:?}"
    );
    let rule = ["--device-cgroup-rule", "c 250:* rw"];
    let args = [&["run", "--rm"], &rule[..], &["busybox", "sh", "-c", open]].concat();
    let allowed = case.run(&args)?;
    ensure!(
        allowed.stderr.contains("No such device or address"),
        "{allowed:?}"
    );
    let read_only = ": < /dev/x && ! (: > /dev/x) 2>/dev/null && echo readable";
    case.prints(
        &[
            "run",
            "--rm",
            "--cap-add",
            "SYSLOG",
            "--device",
            "/dev/kmsg:/dev/x:r",
            "busybox",
            "sh",
            "-c",
            read_only,
        ],
        "readable",
    )?;
    let bad = [
        "run",
        "--rm",
        "--device-cgroup-rule",
        "c 1:11",
        "busybox",
        "true",
    ];
    ensure!(case.run(&bad)?.code == 125);
    let missing = [
        "run",
        "--rm",
        "--device-read-bps",
        "/dev/nosuchdevice:1mb",
        "busybox",
        "true",
    ];
    let run = case.run(&missing)?;
    let words = "/dev/nosuchdevice: no such file or directory";
    ensure!(run.code != 0 && run.stderr.contains(words), "{run:?}");
    let parent = [
        "run",
        "--rm",
        "--cgroup-parent",
        "/outer",
        "--cgroupns",
        "host",
        "busybox",
        "cat",
        "/proc/self/cgroup",
    ];
    let groups = case.ok(&parent)?;
    ensure!(
        groups.lines().any(|line| line.contains("/outer/")),
        "{groups}"
    );
    // No parent leads out of the hierarchy.
    let outside = case.engine.world.path().join("outside");
    let up = format!("/../../../../../..{}", outside.display());
    case.ok(&["run", "--rm", "--cgroup-parent", &up, "busybox", "true"])?;
    ensure!(
        !outside.exists(),
        "a folder was made outside of the hierarchy"
    );
    let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    case.ok(&["create", "--name", "d1", "busybox", "true"])?;
    let default = if v2 { "private" } else { "host" };
    case.prints(
        &["inspect", "-f", "{{.HostConfig.CgroupnsMode}}", "d1"],
        default,
    )?;
    let own = case.ok(&[
        "run",
        "--rm",
        "--cgroupns",
        "private",
        "busybox",
        "cat",
        "/proc/self/cgroup",
    ])?;
    ensure!(
        own.lines()
            .filter(|line| !line.contains("unified") && !line.starts_with("0::"))
            .all(|line| line.ends_with(":/")),
        "{own}"
    );
    Ok(())
}

pub(crate) fn they_outlive_the_daemon(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It kills containers when it starts again, unless told to leave them alive");
    }
    let gate = case.engine.world.path().join("gate");
    std::fs::create_dir(&gate)?;
    let bind = format!("{}:/gate", gate.display());
    // Who eats says to the kernel that it is to be killed before the shell, whatever the shell holds at that moment.
    let eat = "until [ -e /gate/open ]; do usleep 20000; done; (echo 1000 > /proc/self/oom_score_adj; head -c 200m /dev/zero | tail -c 200m >/dev/null); touch /gate/done; exec sleep 1000";
    let start = [
        "run",
        "-d",
        "--name",
        "c1",
        "-v",
        &bind,
        "-m",
        "64m",
        "--memory-swap",
        "64m",
        "busybox",
        "sh",
        "-c",
        eat,
    ];
    case.ok(&start)?;
    case.ok(&[
        "update",
        "-m",
        "32m",
        "--memory-swap",
        "32m",
        "--pids-limit",
        "77",
        "c1",
    ])?;
    case.engine.kill_9()?;
    std::fs::write(gate.join("open"), "")?;
    let processes = || {
        case.engine
            .world
            .sh("ps -eo pid,stat,wchan:20,args")
            .unwrap_or_default()
    };
    until(|| Ok(gate.join("done").exists()))
        .with_context(|| format!("the end of the meal\n{}", processes()))?;
    case.engine.launch()?;
    let memory = limit(case, "c1", "memory/memory.limit_in_bytes", "memory.max")?;
    ensure!(memory == (32 << 20).to_string(), "{memory}");
    ensure!(limit(case, "c1", "pids/pids.max", "pids.max")? == "77");
    let oom = [
        "inspect",
        "-f",
        "{{.State.OOMKilled}} {{.State.Running}}",
        "c1",
    ];
    until(|| Ok(case.ok(&oom)? == "true true")).with_context(|| {
        let state = case.ok(&["inspect", "-f", "{{json .State}}", "c1"]);
        format!("{state:?}\n{}", case.engine.log())
    })?;
    let stats = case.expect(
        "GET",
        "/containers/c1/stats?stream=false&one-shot=true",
        None,
        200,
    )?;
    ensure!(stats["memory_stats"]["limit"] == 32 << 20, "{stats}");
    case.ok(&["update", "--pids-limit", "88", "c1"])?;
    ensure!(limit(case, "c1", "pids/pids.max", "pids.max")? == "88");
    case.ok(&["pause", "c1"])?;
    case.engine.kill_9()?;
    case.engine.launch()?;
    case.prints(&["inspect", "-f", "{{.State.Status}}", "c1"], "paused")?;
    case.ok(&["unpause", "c1"])?;
    case.prints(&["exec", "c1", "echo", "on"], "on")
}

/// A limit that this host has works; one that it lacks is discarded, and that is said. Never neither.
pub(crate) fn they_work_or_are_discarded_aloud(case: &mut Case) -> Result<()> {
    let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let weight = v2 || std::path::Path::new("/sys/fs/cgroup/blkio/blkio.weight").exists();
    let limits = [
        (
            &["--memory-swappiness", "10"][..],
            !v2,
            "memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.",
        ),
        (
            &["-m", "64m", "--oom-kill-disable"][..],
            !v2,
            "OomKillDisable. OomKillDisable discarded.",
        ),
        (
            &["--blkio-weight", "300"][..],
            weight,
            "Block I/O weight or the cgroup is not mounted. Weight discarded.",
        ),
        (
            &["--blkio-weight-device", "/dev/null:300"][..],
            weight,
            "Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.",
        ),
    ];
    for (flags, there, words) in limits {
        let run = case.run(&[&["create"], flags, &["busybox", "true"]].concat())?;
        let said = run
            .stderr
            .contains(&format!("Your kernel does not support {words}"));
        ensure!(run.code == 0 && said != there, "{flags:?}: {run:?}");
    }
    if !v2 {
        let script = "cat /sys/fs/cgroup/memory/memory.swappiness; grep oom_kill_disable /sys/fs/cgroup/memory/memory.oom_control";
        let flags = [
            "run",
            "--rm",
            "-m",
            "64m",
            "--memory-swappiness",
            "10",
            "--oom-kill-disable",
            "busybox",
            "sh",
            "-c",
            script,
        ];
        case.prints(&flags, "10\noom_kill_disable 1")?;
    }
    let device = case.engine.world.sh("for d in /sys/block/*; do n=/dev/${d##*/}; [ -b $n ] && echo $n $(cat $d/dev) && break; done; :")?;
    if let Some((node, number)) = device.trim().split_once(' ') {
        let rate = |flag: &str, rate: &str| [flag.to_owned(), format!("{node}:{rate}")];
        let flags: Vec<String> = [
            rate("--device-read-bps", "1mb"),
            rate("--device-write-bps", "2mb"),
            rate("--device-read-iops", "30"),
            rate("--device-write-iops", "40"),
        ]
        .concat();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let script = "cat /sys/fs/cgroup/io.max 2>/dev/null || { cd /sys/fs/cgroup/blkio && cat blkio.throttle.read_bps_device blkio.throttle.write_bps_device blkio.throttle.read_iops_device blkio.throttle.write_iops_device; }";
        let printed = case.ok(&[
            &["run", "--rm"],
            &flags[..],
            &["busybox", "sh", "-c", script],
        ]
        .concat())?;
        let expected = match v2 {
            true => format!("{number} rbps=1048576 wbps=2097152 riops=30 wiops=40"),
            false => ["1048576", "2097152", "30", "40"]
                .map(|rate| format!("{number} {rate}"))
                .join("\n"),
        };
        ensure!(printed.starts_with(&expected), "{printed}");
    }
    // Old clients could ask for a limit of kernel memory.
    let body = serde_json::json!({"Image": "busybox", "HostConfig": {"KernelMemory": 67_108_864}});
    let answer = case
        .engine
        .api("POST", "/v1.41/containers/create", Some(&body))?;
    ensure!(answer.status == 201, "{}", answer.text());
    let bandwidth =
        serde_json::json!({"Image": "busybox", "HostConfig": {"IOMaximumBandwidth": 5}});
    let answer = case
        .engine
        .api("POST", "/containers/create", Some(&bandwidth))?;
    let words = "nvalid QoS settings: linux does not support configuration of maximum bandwidth";
    ensure!(
        answer.status >= 400 && answer.text().contains(words),
        "{} {}",
        answer.status,
        answer.text()
    );
    Ok(())
}

pub(crate) fn groups_below_the_own_one(case: &mut Case) -> Result<()> {
    let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let folder = if v2 {
        "/sys/fs/cgroup/own"
    } else {
        "/sys/fs/cgroup/memory/own"
    };
    let plain = case.run(&["run", "--rm", "busybox", "mkdir", folder])?;
    ensure!(plain.stderr.contains("Read-only file system"), "{plain:?}");
    case.ok(&["run", "--rm", "--privileged", "busybox", "mkdir", folder])?;
    if case.engine.kind.is_dockerd() {
        return Ok(()); // The option is of 28.
    }
    let option = ["--security-opt", "writable-cgroups=true"];
    let asked =
        |rest: &[&'static str]| -> Vec<&str> { [&["run", "--rm"], &option[..], rest].concat() };
    if !v2 {
        return case.fails(
            &asked(&["busybox", "true"]),
            125,
            "writable-cgroups=true needs cgroup v2",
        );
    }
    case.fails(
        &asked(&["--cgroupns", "host", "busybox", "true"]),
        125,
        "private cgroup namespace",
    )?;
    // A group of its own it may make; its own limits it may not change.
    let script = "mkdir /sys/fs/cgroup/own && echo 0 > /sys/fs/cgroup/own/cgroup.procs && cat /proc/self/cgroup && ! echo max > /sys/fs/cgroup/memory.max";
    let run = case.run(&asked(&["-m", "64m", "busybox", "sh", "-c", script]))?;
    ensure!(run.code == 0 && run.stdout == "0::/own", "{run:?}");
    let closed = [
        "run",
        "--rm",
        "--privileged",
        "--security-opt",
        "writable-cgroups=false",
        "busybox",
        "mkdir",
        "/sys/fs/cgroup/own",
    ];
    ensure!(case.run(&closed)?.stderr.contains("Read-only file system"));
    case.fails(
        &["create", "--security-opt", "writable-cgroups=x", "busybox"],
        1,
        "invalid --security-opt 2: \"writable-cgroups=x\"",
    )
}

const CDI: &str = r#"
cdiVersion: 0.6.0
kind: example.com/thing
containerEdits: {env: [THING=every]}
devices:
- name: one
  containerEdits:
    env: [ONE=1]
    deviceNodes: [{path: /dev/thing, hostPath: /dev/zero}]
    mounts: [{hostPath: /etc/hostname, containerPath: /thing, options: [ro, bind]}]
    additionalGids: [1234]
"#;

pub(crate) fn devices_by_name(case: &mut Case) -> Result<()> {
    // There is no driver for these on a host without their hardware; that shows at the start only.
    case.ok(&["create", "--name", "g1", "--gpus", "all", "busybox", "true"])?;
    case.fails(
        &["start", "g1"],
        1,
        "could not select device driver \"\" with capabilities: [[gpu]]",
    )?;
    if case.engine.kind.is_dockerd() {
        return Ok(()); // CDI is on by default since 28.2.
    }
    // The world's own /var/run: nothing of this machine's is touched.
    let write =
        format!("mkdir -p /var/run/cdi && cat > /var/run/cdi/thing.yaml <<'END'\n{CDI}\nEND");
    case.engine.world.sh(&write)?;
    let show = "echo $THING $ONE; ls -l /dev/thing | cut -c1; test -s /thing && : < /dev/thing && ! touch /thing 2>/dev/null && id -G";
    let device = [
        "run",
        "--rm",
        "--device",
        "example.com/thing=one",
        "busybox",
        "sh",
        "-c",
        show,
    ];
    let printed = case.ok(&device)?;
    let lines: Vec<_> = printed.lines().collect();
    ensure!(
        lines.len() == 3 && lines[..2] == ["every 1", "c"] && lines[2].contains("1234"),
        "{printed}"
    );
    let unknown = [
        "run",
        "--rm",
        "--device",
        "example.com/thing=two",
        "busybox",
        "true",
    ];
    case.fails(
        &unknown,
        125,
        "CDI device injection failed: unresolvable CDI devices example.com/thing=two",
    )
}
