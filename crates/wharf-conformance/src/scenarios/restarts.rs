//! Restarts: by health, and with the daemon.

use anyhow::{Result, ensure};
use serde_json::json;

use super::containers::until;
use super::events::story_since;
use crate::Case;
use crate::case::skip;

pub(crate) fn unhealthy_ones_are_started_again(case: &mut Case) -> Result<()> {
    let run = |restart: &str, name: &str| {
        let check = "test ! -e /ill";
        case.run(&[
            "run",
            "-d",
            "--name",
            name,
            "--restart",
            restart,
            "--health-cmd",
            check,
            "--health-interval",
            "50ms",
            "--health-retries",
            "1",
            "--stop-timeout",
            "0",
            "busybox",
            "sh",
            "-c",
            "rm -f /ill; exec sleep 1000",
        ])
    };
    let started = run("on-unhealthy:2", "c1")?;
    if case.engine.kind.is_dockerd() {
        // It has no such policy.
        ensure!(started.code != 0, "{started:?}");
        return Ok(());
    }
    ensure!(started.code == 0, "{started:?}");
    case.prints(
        &[
            "inspect",
            "-f",
            "{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}",
            "c1",
        ],
        "on-unhealthy:2",
    )?;
    case.ok(&["exec", "c1", "touch", "/ill"])?;
    let state = "{{.RestartCount}} {{.State.Status}} {{.State.Health.Status}}";
    until(|| Ok(case.ok(&["inspect", "-f", state, "c1"])? == "1 running healthy"))?;
    // A stop by hand is the end of it.
    case.ok(&["exec", "c1", "touch", "/ill"])?;
    case.ok(&["stop", "-t", "0", "c1"])?;
    until(|| Ok(case.ok(&["inspect", "-f", "{{.State.Status}}", "c1"])? == "exited"))?;
    // Another policy leaves the ill alone.
    run("always", "c2")?;
    case.ok(&["exec", "c2", "touch", "/ill"])?;
    until(|| Ok(case.ok(&["inspect", "-f", "{{.State.Health.Status}}", "c2"])? == "unhealthy"))?;
    case.prints(
        &[
            "inspect",
            "-f",
            "{{.RestartCount}} {{.State.Running}}",
            "c2",
        ],
        "0 true",
    )
}

pub(crate) fn who_is_needed_starts_first(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It knows the order of links alone");
    }
    let run = |name: &str, more: &[&str]| {
        let start = [
            "run",
            "-d",
            "--restart",
            "always",
            "--stop-timeout",
            "0",
            "--name",
            name,
        ];
        case.ok(&[&start, more, &["busybox", "sleep", "1000"]].concat())
    };
    // Names are in the wrong order on purpose.
    let service = |name: &str| {
        [
            format!("com.docker.compose.service={name}"),
            "com.docker.compose.project=p".to_owned(),
        ]
    };
    let (db, web) = (service("db"), service("web"));
    let check = ["--health-cmd", "true", "--health-interval", "50ms"];
    run(
        "z-db",
        &[&["-l", &db[0], "-l", &db[1]], &check[..]].concat(),
    )?;
    let depends = "com.docker.compose.depends_on=db:service_healthy:false";
    run("b-web", &["-l", &web[0], "-l", &web[1], "-l", depends])?;
    run("a-side", &["--network", "container:b-web"])?;
    run("c-link", &["--link", "z-db:db"])?;
    case.engine.stop()?;
    let stopped = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    case.engine.launch()?;
    let running = ["ps", "-q", "--filter", "status=running"];
    until(|| Ok(case.ok(&running)?.lines().count() == 4))?;
    let since = format!("{}.{:09}", stopped.as_secs(), stopped.subsec_nanos());
    let story = story_since(case, &since, &json!({"type": {"container": true}}))?;
    let line = |event: &serde_json::Value| {
        let name = &event["Actor"]["Attributes"]["name"];
        format!(
            "{} {}",
            event["Action"].as_str().unwrap_or(""),
            name.as_str().unwrap_or("")
        )
    };
    let story: Vec<String> = story.iter().map(line).collect();
    let at = |line: &str| story.iter().position(|one| one == line);
    let order = [
        at("start z-db"),
        at("health_status: healthy z-db"),
        at("start b-web"),
        at("start a-side"),
    ];
    ensure!(
        order.iter().all(Option::is_some) && order.is_sorted(),
        "{order:?} {story:#?}"
    );
    ensure!(at("start z-db") < at("start c-link"), "{story:#?}");
    Ok(())
}

pub(crate) fn a_stop_goes_on_under_the_next_daemon(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It ends with its daemon");
    }
    let stubborn = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    case.ok(&[
        "run",
        "-d",
        "--name",
        "c1",
        "--stop-timeout",
        "1",
        "busybox",
        "sh",
        "-c",
        stubborn,
    ])?;
    until(|| Ok(case.ok(&["logs", "c1"])? == "ready"))?;
    let mut stop = case.command(&["stop", "-t", "100", "c1"]).spawn()?;
    let told = [
        "events",
        "--since",
        "1",
        "--until",
        "0s",
        "--filter",
        "event=kill",
        "--format",
        "{{.Action}}",
    ];
    until(|| Ok(!case.ok(&told)?.is_empty()))?;
    case.engine.kill_9()?;
    let _ = stop.wait()?;
    case.engine.launch()?;
    until(|| {
        Ok(case.ok(&[
            "inspect",
            "-f",
            "{{.State.Status}} {{.State.ExitCode}}",
            "c1",
        ])? == "exited 137")
    })
}
