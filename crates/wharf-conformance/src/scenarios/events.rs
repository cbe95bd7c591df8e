//! Events: which there are, what they say, and how far back they go.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::Case;
use crate::case::skip;

/// All events until now, as API documents.
fn story(case: &Case, filters: &Value) -> Result<Vec<Value>> {
    story_since(case, "1", filters)
}

/// Those from a time on.
pub(super) fn story_since(case: &Case, since: &str, filters: &Value) -> Result<Vec<Value>> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let filters: String = filters
        .to_string()
        .bytes()
        .map(|byte| format!("%{byte:02x}"))
        .collect();
    let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
    let answer = case.engine.api(
        "GET",
        &format!("/events?since={since}&until={until}&filters={filters}"),
        None,
    )?;
    let text = answer.text();
    let lines = text.lines().filter(|line| !line.is_empty());
    Ok(lines.map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn actions(events: &[Value]) -> Vec<String> {
    let action = |event: &Value| {
        format!(
            "{} {}",
            event["Type"].as_str().unwrap_or(""),
            event["Action"].as_str().unwrap_or("")
        )
    };
    events.iter().map(action).collect()
}

pub(crate) fn what_they_say(case: &mut Case) -> Result<()> {
    case.ok(&[
        "run",
        "-d",
        "--name",
        "c1",
        "-l",
        "tier=front",
        "-v",
        "v1:/d",
        "busybox",
        "sleep",
        "1000",
    ])?;
    case.ok(&["exec", "c1", "true"])?;
    case.ok(&["exec", "c1", "echo", "a", "b"])?;
    case.ok(&["top", "c1"])?;
    case.ok(&["pause", "c1"])?;
    case.ok(&["unpause", "c1"])?;
    case.ok(&["rename", "c1", "c2"])?;
    case.ok(&["kill", "-s", "USR1", "c2"])?;
    case.ok(&["cp", "c2:/etc/hostname", "-"])?;
    case.ok(&["export", "c2"])?;
    case.expect("POST", "/containers/c2/resize?h=3&w=4", None, 200)
        .ok();
    case.ok(&["rm", "-f", "c2"])?;
    let events = story(case, &json!({"container": {"c2": true}}))?;
    let names = actions(&events);
    ensure!(
        names
            == [
                "container rename",
                "container kill",
                "container archive-path",
                "container export",
                "container resize",
                "container kill",
                "container die",
                "container destroy"
            ],
        "{names:?}"
    );
    ensure!(
        events[0]["Actor"]["Attributes"]["oldName"] == "/c1",
        "{}",
        events[0]
    );
    ensure!(
        events[1]["Actor"]["Attributes"]["signal"] == "10",
        "{}",
        events[1]
    );
    ensure!(
        events[1]["Actor"]["Attributes"]["tier"] == "front",
        "{}",
        events[1]
    );
    let of = |filters: Value| -> Result<Vec<String>> { Ok(actions(&story(case, &filters)?)) };
    ensure!(
        of(json!({"event": {"exec_create": true}}))?
            == [
                "container exec_create: true ",
                "container exec_create: echo a b"
            ]
    );
    ensure!(
        of(json!({"label": {"tier=front": true}, "event": {"create": true}}))?
            == ["container create"]
    );
    ensure!(of(json!({"label": {"tier=back": true}}))?.is_empty());
    ensure!(of(json!({"network": {"bridge": true}}))? == ["network connect", "network disconnect"]);
    ensure!(
        of(json!({"image": {"busybox": true}, "event": {"start": true}}))? == ["container start"]
    );
    ensure!(of(json!({"scope": {"swarm": true}}))?.is_empty());
    let volume = story(case, &json!({"volume": {"v1": true}}))?;
    ensure!(
        actions(&volume) == ["volume create", "volume mount", "volume unmount"],
        "{volume:#?}"
    );
    let mounted = &volume[1]["Actor"]["Attributes"];
    ensure!(
        mounted["destination"] == "/d"
            && mounted["read/write"] == "true"
            && mounted["driver"] == "local",
        "{mounted}"
    );
    Ok(())
}

pub(crate) fn times(case: &mut Case) -> Result<()> {
    case.ok(&["create", "--name", "c1", "busybox"])?;
    case.fails(
        &[
            "events",
            "--since",
            "2040-01-01T00:00:00Z",
            "--until",
            "2039-01-01T00:00:00Z",
        ],
        1,
        "`since` time (2208988800.000000000) cannot be after `until` time (2177452800.000000000)",
    )?;
    // The first of all times stands for none, but ends the stream behind what there is.
    for query in ["until=0", "since=0&until=0"] {
        let past = case.engine.api("GET", &format!("/events?{query}"), None)?;
        ensure!(
            past.status == 200 && past.text().contains("\"create\""),
            "{past:?}"
        );
    }
    // A time to come: the stream goes on until then, and then ends.
    let soon = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_secs()
        + 2;
    let soon = soon.to_string();
    let follow = case.command(&[
        "events",
        "--until",
        &soon,
        "--filter",
        "event=destroy",
        "--format",
        "{{.Actor.Attributes.name}}",
    ]);
    let mut follow = follow_up(follow)?;
    case.ok(&["rm", "c1"])?;
    let mut said = String::new();
    std::io::Read::read_to_string(&mut follow.stdout.take().expect("a pipe"), &mut said)?;
    ensure!(follow.wait()?.success() && said.trim() == "c1", "{said}");
    Ok(())
}

fn follow_up(mut command: std::process::Command) -> Result<std::process::Child> {
    let child = command.stdout(std::process::Stdio::piped()).spawn()?;
    Ok(child)
}

pub(crate) fn history_outlives_the_daemon(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("Its history is its own life's");
    }
    case.ok(&["create", "--name", "c1", "busybox"])?;
    let before = story(case, &json!({}))?;
    ensure!(
        actions(&before).contains(&"container create".to_owned()),
        "{before:#?}"
    );
    case.engine.kill_9()?;
    case.engine.launch()?;
    case.ok(&["rm", "c1"])?;
    let after = story(case, &json!({}))?;
    ensure!(
        after.starts_with(&before)
            && actions(&after)
                .last()
                .is_some_and(|last| last == "container destroy"),
        "{after:#?}"
    );
    Ok(())
}
