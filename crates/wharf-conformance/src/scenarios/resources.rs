//! Limits, what is used of them, and what happens at them.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::Case;
use crate::case::skip;

pub(crate) fn stats_of_a_container(case: &mut Case) -> Result<()> {
    let busy = "while :; do :; done";
    case.ok(&[
        "run",
        "-d",
        "--name",
        "c1",
        "-m",
        "64m",
        "--pids-limit",
        "50",
        "busybox",
        "sh",
        "-c",
        busy,
    ])?;
    let stats = case.expect("GET", "/containers/c1/stats?stream=false", None, 200)?;
    let number = |path: &str| {
        stats
            .pointer(path)
            .and_then(Value::as_u64)
            .unwrap_or_default()
    };
    ensure!(stats["name"] == "/c1" && stats["id"].as_str().is_some_and(|id| id.len() == 64));
    ensure!(number("/memory_stats/limit") == 64 << 20, "{stats}");
    ensure!(number("/memory_stats/usage") > 0, "{stats}");
    ensure!(number("/pids_stats/current") == 1, "{stats}");
    ensure!(number("/pids_stats/limit") == 50, "{stats}");
    ensure!(number("/cpu_stats/online_cpus") > 0, "{stats}");
    for field in ["cpu_usage/total_usage", "system_cpu_usage"] {
        let (now, before) = (
            number(&format!("/cpu_stats/{field}")),
            number(&format!("/precpu_stats/{field}")),
        );
        ensure!(now > before && before > 0, "{field}: {before} to {now}");
    }
    ensure!(stats["networks"]["eth0"]["rx_bytes"].is_u64(), "{stats}");
    ensure!(stats["networks"].get("lo").is_none(), "{stats}");
    let once = case.expect(
        "GET",
        "/containers/c1/stats?stream=false&one-shot=true",
        None,
        200,
    )?;
    ensure!(once["preread"] == "0001-01-01T00:00:00Z", "{once}");
    ensure!(once["cpu_stats"]["cpu_usage"]["total_usage"].as_u64() > Some(0));
    // The API's description does not mention this answer.
    let both = case
        .engine
        .api("GET", "/containers/c1/stats?one-shot=true", None)?;
    ensure!(
        both.status == 400
            && both
                .text()
                .contains("cannot have stream=true and one-shot=true"),
        "{}",
        both.text()
    );
    case.expect("GET", "/containers/nope/stats", None, 404)?;
    case.ok(&["kill", "c1"])?;
    case.ok(&["wait", "c1"])?;
    let stopped = case.expect("GET", "/containers/c1/stats?stream=false", None, 200)?;
    ensure!(stopped["read"] == "0001-01-01T00:00:00Z", "{stopped}");
    ensure!(
        stopped["memory_stats"] == serde_json::json!({}),
        "{stopped}"
    );
    Ok(())
}

pub(crate) fn stats_stream_and_table(case: &mut Case) -> Result<()> {
    case.ok(&[
        "run", "-d", "--name", "c1", "-m", "64m", "busybox", "sleep", "1000",
    ])?;
    case.ok(&["create", "--name", "c2", "busybox", "true"])?;
    let table = case.ok(&["stats", "--no-stream"])?;
    let mut lines = table.lines();
    let head = lines.next().unwrap_or_default();
    let titles: Vec<_> = head
        .split("  ")
        .map(str::trim)
        .filter(|one| !one.is_empty())
        .collect();
    ensure!(
        titles
            == [
                "CONTAINER ID",
                "NAME",
                "CPU %",
                "MEM USAGE / LIMIT",
                "MEM %",
                "NET I/O",
                "BLOCK I/O",
                "PIDS"
            ],
        "{head}"
    );
    let rows: Vec<_> = lines.collect();
    ensure!(
        rows.len() == 1 && rows[0].contains("c1") && rows[0].contains("/ 64MiB"),
        "{table}"
    );
    let format = "{{.Container}} {{.Name}} {{.PIDs}} {{.MemUsage}}";
    let both = case.ok(&["stats", "--no-stream", "-a", "--format", format])?;
    ensure!(both.lines().count() == 2, "{both}");
    ensure!(
        both.lines().any(|line| line.contains(" c2 0 0B / 0B")),
        "{both}"
    );
    let named = case.ok(&["stats", "--no-stream", "--format", format, "c1"])?;
    ensure!(
        named.starts_with("c1 c1 1 ") && named.ends_with(" / 64MiB"),
        "{named}"
    );
    case.fails(
        &["stats", "--no-stream", "nope"],
        1,
        "No such container: nope",
    )?;
    // A stream goes on until it is stopped.
    let mut stream = case
        .command(&["stats", "--no-trunc", "--format", "json", "c1"])
        .stdout(Stdio::piped())
        .spawn()?;
    let output = stream.stdout.take().context("stdout")?;
    let samples = BufReader::new(output).lines().map_while(Result::ok);
    let samples = samples.filter(|line| line.contains("\"CPUPerc\":\"0."));
    ensure!(samples.take(3).count() == 3, "the stream has ended");
    stream.kill()?;
    stream.wait()?;
    Ok(())
}

/// What the kernel has, seen from within: the container's group is the root there.
pub(super) fn limit(case: &Case, id: &str, v1: &str, v2: &str) -> Result<String> {
    let script = format!("cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2}");
    case.ok(&["exec", id, "sh", "-c", &script])
}

pub(crate) fn update_changes_what_runs(case: &mut Case) -> Result<()> {
    case.ok(&[
        "run", "-d", "--name", "c1", "-m", "64m", "busybox", "sleep", "1000",
    ])?;
    let memory = |case: &Case| limit(case, "c1", "memory/memory.limit_in_bytes", "memory.max");
    ensure!(memory(case)? == (64 << 20).to_string());
    // Up: both limits must grow, memory's below the other at every moment. And down again.
    case.prints(
        &["update", "-m", "128m", "--memory-swap", "256m", "c1"],
        "c1",
    )?;
    ensure!(memory(case)? == (128 << 20).to_string());
    case.ok(&["update", "-m", "32m", "--memory-swap", "32m", "c1"])?;
    ensure!(memory(case)? == (32 << 20).to_string());
    case.prints(
        &[
            "inspect",
            "-f",
            "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}",
            "c1",
        ],
        "33554432 33554432",
    )?;
    // A quota alone keeps the period, and the other way round.
    let quota = |case: &Case| -> Result<(String, String)> {
        match limit(case, "c1", "cpu/cpu.cfs_quota_us", "cpu.max")?.split_once(' ') {
            Some((quota, period)) => Ok((quota.to_owned(), period.to_owned())),
            None => Ok((
                limit(case, "c1", "cpu/cpu.cfs_quota_us", "")?,
                limit(case, "c1", "cpu/cpu.cfs_period_us", "")?,
            )),
        }
    };
    let is = |quota: &str, period: &str| (quota.to_owned(), period.to_owned());
    case.ok(&["update", "--cpu-period", "50000", "c1"])?;
    case.ok(&["update", "--cpu-quota", "25000", "c1"])?;
    ensure!(quota(case)? == is("25000", "50000"), "{:?}", quota(case)?);
    case.ok(&["update", "--cpu-period", "100000", "c1"])?;
    ensure!(quota(case)? == is("25000", "100000"), "{:?}", quota(case)?);
    case.ok(&["update", "--pids-limit", "33", "c1"])?;
    ensure!(limit(case, "c1", "pids/pids.max", "pids.max")? == "33");
    case.ok(&["update", "--pids-limit", "-1", "c1"])?;
    ensure!(limit(case, "c1", "pids/pids.max", "pids.max")? == "max");
    case.ok(&["update", "--cpuset-cpus", "0", "c1"])?;
    ensure!(limit(case, "c1", "cpuset/cpuset.cpus", "cpuset.cpus")? == "0");
    case.ok(&["update", "--restart", "on-failure:3", "c1"])?;
    let policy =
        "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}";
    case.prints(&["inspect", "-f", policy, "c1"], "on-failure 3")?;
    // It holds for the next run as well.
    case.ok(&["restart", "-t", "0", "c1"])?;
    ensure!(memory(case)? == (32 << 20).to_string());
    ensure!(quota(case)? == is("25000", "100000"), "{:?}", quota(case)?);
    // And for one that does not run.
    case.ok(&["create", "--name", "c2", "busybox", "sleep", "1000"])?;
    case.ok(&["update", "--pids-limit", "44", "c2"])?;
    case.ok(&["start", "c2"])?;
    ensure!(limit(case, "c2", "pids/pids.max", "pids.max")? == "44");
    Ok(())
}

pub(crate) fn update_is_refused_as_a_whole(case: &mut Case) -> Result<()> {
    case.ok(&[
        "run", "-d", "--rm", "--name", "c1", "busybox", "sleep", "1000",
    ])?;
    let refused = [
        (
            &["-m", "64m"][..],
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ),
        (
            &["--restart", "always"][..],
            "Restart policy cannot be updated because AutoRemove is enabled for the container",
        ),
        (&["-m", "1m"][..], "inimum memory limit allowed is 6MB"),
        (
            &["--cpuset-cpus", "4000"][..],
            "equested CPUs are not available - requested 4000, available: ",
        ),
        (
            &["--cpu-quota", "5"][..],
            "CPU cfs quota can not be less than 1ms (i.e. 1000)",
        ),
    ];
    for (flags, words) in refused {
        let args = [&["update"], flags, &["c1"]].concat();
        case.fails(&args, 1, words)?;
    }
    case.fails(
        &["update", "c1"],
        1,
        "you must provide one or more flags when using this command",
    )?;
    case.fails(
        &["update", "--pids-limit", "9", "nope"],
        1,
        "No such container: nope",
    )?;
    case.ok(&["update", "--cpus", "0.5", "c1"])?;
    case.fails(
        &["update", "--cpu-quota", "5000", "c1"],
        1,
        "CPU Quota cannot be updated as NanoCPUs has already been set",
    )?;
    let body = serde_json::json!({"RestartPolicy": {"Name": "always"}});
    let answer = case
        .engine
        .api("POST", "/containers/c1/update", Some(&body))?;
    ensure!(answer.status == 409, "{} {}", answer.status, answer.text());
    case.prints(
        &[
            "inspect",
            "-f",
            "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.NanoCpus}}",
            "c1",
        ],
        "0 no 500000000",
    )
}

pub(crate) fn update_that_the_kernel_refuses(case: &mut Case) -> Result<()> {
    let flags = ["-m", "64m", "--memory-swap", "64m", "--shm-size", "64m"];
    let fill = "head -c 40m /dev/zero > /dev/shm/full; exec sleep 1000";
    let image = ["busybox", "sh", "-c", fill];
    case.ok(&[&["run", "-d", "--name", "c1"], &flags[..], &image[..]].concat())?;
    let full = ["exec", "c1", "stat", "-c", "%s", "/dev/shm/full"];
    super::containers::until(|| Ok(case.run(&full)?.stdout == (40 << 20).to_string()))?;
    if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return Ok(()); // v2 takes any limit, and kills.
    }
    let words = "unable to set memory limit to 16777216 (current usage: ";
    case.fails(
        &["update", "-m", "16m", "--memory-swap", "16m", "c1"],
        1,
        words,
    )?;
    let limits = "{{.HostConfig.Memory}} {{.State.Running}}";
    case.prints(&["inspect", "-f", limits, "c1"], "67108864 true")?;
    ensure!(limit(case, "c1", "memory/memory.limit_in_bytes", "")? == (64 << 20).to_string());
    case.ok(&["restart", "-t", "0", "c1"])?;
    Ok(())
}

/// From 1.55 on; older clients' lists were ignored.
pub(crate) fn update_of_limits_for_devices(case: &mut Case) -> Result<()> {
    if case.engine.kind != wharf_testkit::EngineKind::Wharf {
        return Ok(());
    }
    let device = case.engine.world.sh("for d in /sys/block/*; do n=/dev/${d##*/}; [ -b $n ] && echo $n $(cat $d/dev) && break; done; :")?;
    let Some((node, number)) = device.trim().split_once(' ') else {
        return skip("no block device here");
    };
    let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let file = |case: &Case| {
        let script = "cat /sys/fs/cgroup/io.max 2>/dev/null || cat /sys/fs/cgroup/blkio/blkio.throttle.write_bps_device";
        case.ok(&["exec", "c1", "sh", "-c", script])
    };
    let is = |rate: &str| match v2 {
        true => format!("{number} rbps=max wbps={rate} riops=max wiops=max"),
        false => format!("{number} {rate}"),
    };
    let update = |case: &Case, version: &str, body: &Value| -> Result<()> {
        let target = format!("/v{version}/containers/c1/update");
        let answer = case.engine.api("POST", &target, Some(body))?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        Ok(())
    };
    let writes =
        |rate: u64| serde_json::json!({"BlkioDeviceWriteBps": [{"Path": node, "Rate": rate}]});
    case.ok(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"])?;
    update(case, "1.54", &writes(1 << 20))?;
    ensure!(file(case)?.is_empty(), "a client of 1.54 has changed it");
    update(case, "1.55", &writes(1 << 20))?;
    ensure!(file(case)? == is("1048576"), "{}", file(case)?);
    update(
        case,
        "1.55",
        &serde_json::json!({"CpuShares": 512, "BlkioDeviceWriteBps": null}),
    )?;
    ensure!(file(case)? == is("1048576"), "null takes it away");
    // It holds for the next run as well.
    case.ok(&["restart", "-t", "0", "c1"])?;
    update(case, "1.55", &writes(2 << 20))?;
    ensure!(file(case)? == is("2097152"), "{}", file(case)?);
    let body = serde_json::json!({"BlkioDeviceWriteBps": [{"Path": "/dev/nope", "Rate": 1}]});
    let answer = case
        .engine
        .api("POST", "/v1.55/containers/c1/update", Some(&body))?;
    ensure!(
        answer.status == 500
            && answer
                .message()
                .contains("stat /dev/nope: no such file or directory"),
        "{}",
        answer.text()
    );
    ensure!(
        file(case)? == is("2097152"),
        "a refused change has changed it"
    );
    update(
        case,
        "1.55",
        &serde_json::json!({"BlkioDeviceWriteBps": []}),
    )?;
    ensure!(file(case)?.is_empty(), "{}", file(case)?);
    let host = case.expect("GET", "/containers/c1/json", None, 200)?["HostConfig"].clone();
    ensure!(
        host["BlkioDeviceWriteBps"] == serde_json::json!([]) && host["CpuShares"] == 512,
        "{host}"
    );
    Ok(())
}

pub(crate) fn pause_stops_everything(case: &mut Case) -> Result<()> {
    let count =
        "while :; do echo x >> /tmp/count; usleep 1000; done & while :; do usleep 1000; done";
    case.ok(&["run", "-d", "--name", "c1", "busybox", "sh", "-c", count])?;
    super::containers::until(|| Ok(case.ok(&["exec", "c1", "wc", "-l", "/tmp/count"]).is_ok()))?;
    let pid = case.ok(&["inspect", "-f", "{{.State.Pid}}", "c1"])?;
    case.prints(&["pause", "c1"], "c1")?;
    case.prints(
        &[
            "inspect",
            "-f",
            "{{.State.Status}} {{.State.Paused}} {{.State.Running}}",
            "c1",
        ],
        "paused true true",
    )?;
    let size = || {
        case.engine
            .world
            .sh(&format!("stat -c %s /proc/{pid}/root/tmp/count"))
    };
    let before = size()?;
    case.fails(&["pause", "c1"], 1, "is already paused")?;
    case.fails(
        &["exec", "c1", "true"],
        1,
        "is paused, unpause the container before exec",
    )?;
    ensure!(size()? == before, "it has gone on");
    case.prints(&["unpause", "c1"], "c1")?;
    case.fails(&["unpause", "c1"], 1, "is not paused")?;
    super::containers::until(|| Ok(size()? != before))?;
    // Any number of times, with processes that come and go.
    for _ in 0..5 {
        case.ok(&["pause", "c1"])?;
        case.ok(&["unpause", "c1"])?;
    }
    case.ok(&["pause", "c1"])?;
    case.ok(&["rm", "-f", "c1"])?;
    Ok(())
}

pub(crate) fn oom_kills_are_seen(case: &mut Case) -> Result<()> {
    if case.engine.kind == wharf_testkit::EngineKind::Dockerd {
        return Ok(()); // Debian's containerd of its age does not hear of them on this kernel.
    }
    // A process beside the first one: the container goes on.
    case.ok(&[
        "run",
        "-d",
        "--name",
        "c1",
        "-m",
        "32m",
        "--memory-swap",
        "32m",
        "busybox",
        "sleep",
        "1000",
    ])?;
    case.prints(&["inspect", "-f", "{{.State.OOMKilled}}", "c1"], "false")?;
    let eat = "head -c 200m /dev/zero | tail -c 200m >/dev/null";
    // Which of the two the kernel takes, and so how the line ends, is its own choice.
    let eaten = case.run(&["exec", "c1", "sh", "-c", eat])?;
    ensure!(
        !matches!(eaten.code, 125..=127),
        "it has not run: {eaten:?}"
    );
    let oom = [
        "inspect",
        "-f",
        "{{.State.OOMKilled}} {{.State.Running}}",
        "c1",
    ];
    super::containers::until(|| Ok(case.ok(&oom)? == "true true"))?;
    let events = |name: &str| {
        let name = format!("container={name}");
        case.ok(&[
            "events",
            "--since",
            "1",
            "--until",
            "0s",
            "--filter",
            &name,
            "--filter",
            "event=oom",
            "--filter",
            "event=die",
            "--format",
            "{{.Action}}",
        ])
    };
    // The stock client cuts times to whole seconds, so what has just happened comes a moment later.
    super::containers::until(|| Ok(events("c1")?.lines().next() == Some("oom")))?;
    // The first one itself.
    let run = case.run(&[
        "run",
        "--name",
        "c2",
        "-m",
        "32m",
        "--memory-swap",
        "32m",
        "busybox",
        "sh",
        "-c",
        "exec tail -c 200m /dev/zero",
    ])?;
    ensure!(run.code == 137, "{run:?}");
    case.prints(
        &[
            "inspect",
            "-f",
            "{{.State.OOMKilled}} {{.State.ExitCode}}",
            "c2",
        ],
        "true 137",
    )?;
    super::containers::until(|| Ok(events("c2")?.lines().collect::<Vec<_>>() == ["oom", "die"]))?;
    case.ok(&["start", "c2"])?;
    case.ok(&["run", "--name", "c3", "-m", "32m", "busybox", "true"])?;
    case.prints(&["inspect", "-f", "{{.State.OOMKilled}}", "c3"], "false")
}
