//! What came with versions of the API that no dockerd here has yet: the API's history is the judge.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wharf_testkit::EngineKind;

use crate::Case;

fn is_wharf(case: &Case) -> bool {
    case.engine.kind == EngineKind::Wharf
}

/// 1.56: `HostConfig.Umask` is the mask of the container's processes, those of exec too.
pub(crate) fn umask_of_processes(case: &mut Case) -> Result<()> {
    if !is_wharf(case) {
        return Ok(());
    }
    let body = |umask: u32| {
        json!({
            "Image": "busybox",
            "Cmd": ["sh", "-c", "umask; exec sleep 1000"],
            "HostConfig": { "Umask": umask },
        })
    };
    let create = |name: &str, version: &str, umask: u32| {
        let target = format!("/v{version}/containers/create?name={name}");
        case.engine.api("POST", &target, Some(&body(umask)))
    };
    for (name, version, mask) in [("new", "1.56", "0077"), ("old", "1.55", "0022")] {
        let made = create(name, version, 0o77)?;
        ensure!(made.status == 201, "{}", made.text());
        case.ok(&["start", name])?;
        case.prints(&["exec", name, "sh", "-c", "umask"], mask)?;
        super::containers::until(|| Ok(case.ok(&["logs", name])? == mask))?;
    }
    let shown = |version: &str| -> Result<Value> {
        let target = format!("/v{version}/containers/new/json");
        let inspect = case.engine.api("GET", &target, None)?.json();
        Ok(inspect["HostConfig"]["Umask"].clone())
    };
    ensure!(shown("1.56")? == 0o77, "{}", shown("1.56")?);
    ensure!(shown("1.55")?.is_null(), "{}", shown("1.55")?);
    let refused = create("bad", "1.56", 0o1000)?;
    ensure!(refused.status == 400, "{}", refused.text());
    Ok(())
}

/// What a version does not know is passed over, and refused where it would be missed.
pub(crate) fn old_clients_ask_for_less(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        // Its newest is 1.41.
        return Ok(());
    }
    let ask = |target: &str, body: Value| case.engine.api("POST", target, Some(&body));
    let plain =
        json!({ "Image": "busybox", "Cmd": ["true"], "HostConfig": { "AutoRemove": true } });
    let made = ask(
        "/v1.24/containers/create?name=c1&platform=nope/a/b/c",
        plain,
    )?;
    ensure!(made.status == 201, "{}", made.text());
    ensure!(
        case.expect("GET", "/containers/c1/json", None, 200)?["HostConfig"]["AutoRemove"] == false
    );
    for (version, field, option, text) in [
        (
            "1.43",
            "BindOptions",
            "ReadOnlyForceRecursive",
            "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
        ),
        (
            "1.44",
            "VolumeOptions",
            "Subpath",
            "VolumeOptions.Subpath needs API v1.45 or newer",
        ),
    ] {
        let (kind, value) = match option {
            "Subpath" => ("volume", json!("x")),
            _ => ("bind", json!(true)),
        };
        let mount =
            json!({ "Type": kind, "Source": "/tmp", "Target": "/x", field: { option: value } });
        let body = json!({ "Image": "busybox", "HostConfig": { "Mounts": [mount] } });
        let refused = ask(&format!("/v{version}/containers/create"), body)?;
        ensure!(
            refused.status == 400 && refused.message() == text,
            "{}",
            refused.text()
        );
    }
    let script = "trap 'exit 4' INT; trap 'exit 5' TERM; while :; do sleep 0.1; done";
    for (version, code) in [("1.41", 5), ("1.42", 4)] {
        case.ok(&["run", "-d", "--name", "c2", "busybox", "sh", "-c", script])?;
        case.ok(&["exec", "c2", "sleep", "0.2"])?;
        let stopped = ask(
            &format!("/v{version}/containers/c2/stop?signal=INT"),
            json!({}),
        )?;
        ensure!(stopped.status == 204, "{}", stopped.text());
        ensure!(
            case.expect("GET", "/containers/c2/json", None, 200)?["State"]["ExitCode"] == code,
            "{version}"
        );
        case.ok(&["rm", "c2"])?;
    }
    let waited = ask("/v1.29/containers/c1/wait?condition=nope", json!({}))?;
    ensure!(waited.status == 200, "{}", waited.text());
    Ok(())
}

/// 1.56: rows are filtered by annotations, by key or by key and value.
pub(crate) fn rows_by_annotation(case: &mut Case) -> Result<()> {
    if !is_wharf(case) {
        return Ok(());
    }
    for (name, value) in [("c1", "x"), ("c2", "y")] {
        let body = json!({ "Image": "busybox", "HostConfig": { "Annotations": { "a": value } } });
        let target = format!("/v1.56/containers/create?name={name}");
        case.expect("POST", &target, Some(&body), 201)?;
    }
    let list = |version: &str, filter: &str| {
        let filters = format!("%7B%22annotation%22%3A%5B%22{filter}%22%5D%7D");
        let target = format!("/v{version}/containers/json?all=1&filters={filters}");
        case.engine.api("GET", &target, None)
    };
    for (filter, expected) in [("a", 2), ("a%3Dx", 1), ("a%3Dz", 0), ("b", 0)] {
        let rows = list("1.56", filter)?.json();
        let rows = rows.as_array().context("no list")?;
        ensure!(rows.len() == expected, "{filter}: {rows:?}");
    }
    let older = list("1.55", "a")?;
    ensure!(
        older.status == 400 && older.message() == "invalid filter 'annotation'",
        "{}",
        older.text()
    );
    Ok(())
}

/// 1.56: a prune tells of each object as it goes, and its report comes last.
pub(crate) fn prunes_as_a_stream(case: &mut Case) -> Result<()> {
    if !is_wharf(case) {
        return Ok(());
    }
    for name in ["c1", "c2"] {
        case.ok(&["create", "--name", name, "busybox"])?;
    }
    let stream = |version: &str, kind: &str| {
        let target = format!("/v{version}/{kind}/prune?stream=1");
        case.engine.api("POST", &target, None)
    };
    let told = stream("1.56", "containers")?;
    ensure!(
        told.header("content-type") == Some("application/jsonl"),
        "{told:?}"
    );
    let lines: Vec<Value> = told
        .text()
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let (last, gone) = lines.split_last().context("no line")?;
    let deleted = last["aux"]["ContainersDeleted"].as_array();
    let deleted = deleted.context("no report")?;
    ensure!(gone.len() == 2 && deleted.len() == 2, "{lines:?}");
    for one in gone {
        ensure!(
            one["status"] == "Deleted" && deleted.contains(&one["id"]),
            "{one}"
        );
    }
    for kind in ["containers", "images", "networks", "volumes", "build"] {
        let nothing = stream("1.56", kind)?;
        let only: Value = serde_json::from_str(nothing.text().trim())?;
        ensure!(only["aux"].is_object(), "{kind}: {only}");
        let older = stream("1.55", kind)?;
        ensure!(
            older.header("content-type") == Some("application/json"),
            "{kind}: {older:?}"
        );
    }
    let wrong = case.engine.api(
        "POST",
        "/v1.56/containers/prune?stream=1&filters=%7B%22x%22%3A%5B%22y%22%5D%7D",
        None,
    )?;
    ensure!(
        wrong.status == 400 && wrong.message() == "invalid filter 'x'",
        "{}",
        wrong.text()
    );
    Ok(())
}

/// 1.48: inspect and rows name the manifest of the image that a container was made from.
pub(crate) fn manifests_of_containers(case: &mut Case) -> Result<()> {
    if !is_wharf(case) {
        return Ok(());
    }
    case.ok(&["create", "--name", "c1", "busybox"])?;
    let of = |version: &str| -> Result<(Value, Value)> {
        let row = format!("/v{version}/containers/json?all=1");
        let row = case.engine.api("GET", &row, None)?.json();
        let inspect = format!("/v{version}/containers/c1/json");
        let inspect = case.engine.api("GET", &inspect, None)?.json();
        let name = "ImageManifestDescriptor";
        Ok((row[0][name].clone(), inspect[name].clone()))
    };
    let (row, inspect) = of("1.48")?;
    ensure!(
        row == inspect && row["platform"]["os"] == "linux",
        "{row} {inspect}"
    );
    let older = of("1.47")?;
    ensure!(older == (Value::Null, Value::Null), "{older:?}");
    Ok(())
}
