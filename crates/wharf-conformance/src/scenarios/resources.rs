//! Limits, what is used of them, and what happens at them.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::Case;

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
