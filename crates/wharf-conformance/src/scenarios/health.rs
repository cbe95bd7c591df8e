//! Health checks.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::containers::until;
use crate::Case;
use crate::case::skip;

fn start(case: &Case, name: &str, check: &str, more: &[&str]) -> Result<()> {
    let first = [
        "run",
        "-d",
        "--name",
        name,
        "--health-cmd",
        check,
        "--health-interval",
        "100ms",
    ];
    let last = ["busybox", "sleep", "1000"];
    case.ok(&[&first, more, &last].concat()).map(drop)
}

fn status(case: &Case, name: &str) -> Result<String> {
    case.ok(&["inspect", "-f", "{{.State.Health.Status}}", name])
}

fn becomes(case: &Case, name: &str, wanted: &str) -> Result<()> {
    until(|| Ok(status(case, name)? == wanted))
}

fn health(case: &Case, name: &str) -> Result<Value> {
    let text = case.ok(&["inspect", "-f", "{{json .State.Health}}", name])?;
    Ok(serde_json::from_str(&text)?)
}

pub(crate) fn follows_its_probes(case: &mut Case) -> Result<()> {
    let since = case.engine.world.sh("date +%s.%N")?;
    start(case, "c1", "test -f /good", &["--health-retries", "2"])?;
    let row = |format: &str| case.ok(&["ps", "--filter", "name=c1", "--format", format]);
    becomes(case, "c1", "unhealthy")?;
    ensure!(
        row("{{.Status}}")?.ends_with("(unhealthy)"),
        "{}",
        row("{{.Status}}")?
    );
    case.ok(&["exec", "c1", "touch", "/good"])?;
    becomes(case, "c1", "healthy")?;
    ensure!(
        row("{{.Status}}")?.ends_with("(healthy)"),
        "{}",
        row("{{.Status}}")?
    );
    case.prints(&["ps", "-q", "--filter", "health=unhealthy"], "")?;
    ensure!(
        !case
            .ok(&["ps", "-q", "--filter", "health=healthy"])?
            .is_empty(),
        "the filter"
    );
    case.ok(&["exec", "c1", "rm", "/good"])?;
    becomes(case, "c1", "unhealthy")?;
    let streak = health(case, "c1")?["FailingStreak"].as_u64().unwrap_or(0);
    ensure!(streak >= 2, "{streak}");
    let now = case.engine.world.sh("date +%s.%N")?;
    let events = case.ok(&[
        "events",
        "--since",
        since.trim(),
        "--until",
        now.trim(),
        "--filter",
        "event=health_status",
        "--format",
        "{{.Action}}",
    ])?;
    let wanted = "health_status: unhealthy\nhealth_status: healthy\nhealth_status: unhealthy";
    ensure!(events == wanted, "events: {events}");
    case.ok(&["stop", "-t", "0", "c1"])?;
    ensure!(status(case, "c1")? == "unhealthy", "stopped");
    Ok(())
}

pub(crate) fn what_probes_say(case: &mut Case) -> Result<()> {
    let check = "echo out; echo err >&2; exit 3";
    start(case, "c1", check, &["--health-retries", "1"])?;
    let first = || health(case, "c1").map(|health| health["Log"][0].clone());
    until(|| Ok(!first()?.is_null()))?;
    let result = first()?;
    ensure!(result["ExitCode"] == 3, "{result}");
    let output = result["Output"].as_str().unwrap_or_default().to_owned();
    ensure!(
        output.contains("out\n") && output.contains("err\n"),
        "{output}"
    );
    until(|| {
        Ok(health(case, "c1")?["Log"]
            .as_array()
            .is_some_and(|log| log.len() == 5))
    })?;
    start(case, "c2", "head -c 5000 /dev/zero | tr '\\0' x", &[])?;
    becomes(case, "c2", "healthy")?;
    let log = health(case, "c2")?["Log"][0]["Output"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    ensure!(log.len() == 4099 && log.ends_with("x..."), "{}", log.len());
    Ok(())
}

pub(crate) fn probes_that_take_too_long_or_cannot_run(case: &mut Case) -> Result<()> {
    start(
        case,
        "c1",
        "echo begun; sleep 1000",
        &["--health-timeout", "1s", "--health-retries", "1"],
    )?;
    becomes(case, "c1", "unhealthy")?;
    let result = health(case, "c1")?["Log"][0].clone();
    ensure!(result["ExitCode"] == -1, "{result}");
    let output = result["Output"].as_str().unwrap_or_default();
    ensure!(
        output == "Health check exceeded timeout (1s): begun\n",
        "{output}"
    );
    case.ok(&["kill", "c1"])?;
    let body = serde_json::json!({
        "Image": "busybox", "Cmd": ["sleep", "1000"],
        "Healthcheck": { "Test": ["CMD", "/nope"], "Interval": 100_000_000, "Retries": 1 },
    });
    case.expect("POST", "/containers/create?name=c2", Some(&body), 201)?;
    case.ok(&["start", "c2"])?;
    becomes(case, "c2", "unhealthy")?;
    let result = health(case, "c2")?["Log"][0].clone();
    ensure!(result["ExitCode"] == -1, "{result}");
    let output = result["Output"].as_str().unwrap_or_default();
    ensure!(
        output.contains("\"/nope\": stat /nope: no such file or directory"),
        "{output}"
    );
    Ok(())
}

pub(crate) fn of_images(case: &mut Case) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = "FROM busybox\nHEALTHCHECK --interval=100ms --retries=1 CMD test -f /good\n";
    std::fs::write(folder.path().join("Dockerfile"), file)?;
    let path = folder.path().display().to_string();
    case.ok(&["build", "-q", "-t", "checked", &path])?;
    case.ok(&["run", "-d", "--name", "c1", "checked", "sleep", "1000"])?;
    becomes(case, "c1", "unhealthy")?;
    let none = [
        "run",
        "-d",
        "--name",
        "c2",
        "--no-healthcheck",
        "checked",
        "sleep",
        "1000",
    ];
    case.ok(&none)?;
    case.prints(&["inspect", "-f", "{{json .State.Health}}", "c2"], "null")?;
    case.ok(&[
        "run",
        "-d",
        "--name",
        "c3",
        "--health-cmd",
        "true",
        "checked",
        "sleep",
        "1000",
    ])?;
    becomes(case, "c3", "healthy")?;
    case.fails(
        &[
            "run",
            "--no-healthcheck",
            "--health-cmd",
            "true",
            "busybox",
            "true",
        ],
        125,
        "--no-healthcheck conflicts with --health-* options",
    )?;
    let body = serde_json::json!({
        "Image": "busybox", "Healthcheck": { "Test": ["CMD", "true"], "Interval": 1 },
    });
    let refused = case.expect("POST", "/containers/create", Some(&body), 400)?;
    ensure!(
        refused["message"] == "Interval in Healthcheck cannot be less than 1ms",
        "{refused}"
    );
    Ok(())
}

pub(crate) fn stands_still_with_the_container(case: &mut Case) -> Result<()> {
    start(case, "c1", "date +%N >> /n", &[])?;
    becomes(case, "c1", "healthy")?;
    case.ok(&["pause", "c1"])?;
    let last = || health(case, "c1").map(|health| health["Log"].to_string());
    let before = last()?;
    ensure!(status(case, "c1")? == "unhealthy", "nobody looks");
    // Far more than its interval, in which a probe could come.
    case.ok(&["run", "--rm", "busybox", "sleep", "1"])?;
    ensure!(last()? == before, "a probe came");
    case.ok(&["unpause", "c1"])?;
    until(|| Ok(last()? != before))?;
    becomes(case, "c1", "healthy")
}

pub(crate) fn is_watched_by_the_next_daemon(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It ends its containers' health with itself");
    }
    start(case, "c1", "test -f /good", &["--health-retries", "1"])?;
    becomes(case, "c1", "unhealthy")?;
    case.engine.kill_9()?;
    case.engine.launch()?;
    ensure!(status(case, "c1")? == "unhealthy", "it is known still");
    case.ok(&["exec", "c1", "touch", "/good"])?;
    becomes(case, "c1", "healthy")
}
