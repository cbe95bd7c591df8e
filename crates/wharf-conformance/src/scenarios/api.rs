//! The API as it is on the wire: headers, versions, errors, answers as described.

use anyhow::{Result, ensure};
use serde_json::json;
use wharf_testkit::EngineKind;

use crate::Case;

pub(crate) fn ping_and_version(case: &mut Case) -> Result<()> {
    let ping = case.engine.api("GET", "/_ping", None)?;
    ensure!(ping.status == 200 && ping.body == b"OK", "{ping:?}");
    ensure!(
        ping.header("ostype") == Some("linux") && ping.header("api-version").is_some(),
        "{ping:?}"
    );
    ensure!(
        ping.header("docker-experimental") == Some("false"),
        "{ping:?}"
    );
    let head = case.engine.api("HEAD", "/_ping", None)?;
    ensure!(head.status == 200 && head.body.is_empty());
    let version = case.expect("GET", "/version", None, 200)?;
    ensure!(
        version["Os"] == "linux" && version["ApiVersion"].is_string(),
        "{version}"
    );
    case.ok(&["version"])?;
    Ok(())
}

pub(crate) fn info_is_as_described(case: &mut Case) -> Result<()> {
    let info = case.expect("GET", "/info", None, 200)?;
    ensure!(info["Images"] == 1 && info["Containers"] == 0, "{info}");
    ensure!(info["OSType"] == "linux" && info["NCPU"].as_u64().is_some_and(|count| count > 0));
    let text = case.ok(&["info"])?;
    ensure!(
        text.contains("Storage Driver: overlay2") || text.contains("Storage Driver:"),
        "{text}"
    );
    Ok(())
}

pub(crate) fn container_answers_are_as_described(case: &mut Case) -> Result<()> {
    let body = json!({ "Image": "busybox", "Cmd": ["sleep", "1000"], "Tty": false });
    let made = case.expect("POST", "/containers/create?name=c1", Some(&body), 201)?;
    ensure!(
        made["Id"].is_string() && made["Warnings"].is_array(),
        "{made}"
    );
    case.expect("POST", "/containers/c1/start", None, 204)?;
    let list = case.expect("GET", "/containers/json?all=1&size=1", None, 200)?;
    ensure!(
        list[0]["Names"] == json!(["/c1"]) && list[0]["State"] == "running",
        "{list}"
    );
    case.expect("GET", "/containers/c1/json?size=1", None, 200)?;
    case.expect("GET", "/containers/c1/top", None, 200)?;
    let exec = json!({ "Cmd": ["true"], "AttachStdout": true });
    let exec = case.expect("POST", "/containers/c1/exec", Some(&exec), 201)?;
    let id = exec["Id"].as_str().unwrap_or_default().to_owned();
    case.expect("GET", &format!("/exec/{id}/json"), None, 200)?;
    case.expect("POST", "/containers/c1/rename?name=d1", None, 204)?;
    case.expect("POST", "/containers/d1/kill", None, 204)?;
    case.expect("POST", "/containers/d1/wait", None, 200)?;
    case.expect("DELETE", "/containers/d1?v=1", None, 204)?;
    case.expect("GET", "/volumes", None, 200)?;
    case.expect("GET", "/networks", None, 200)?;
    case.expect("GET", "/networks/bridge", None, 200)?;
    Ok(())
}

/// Settings that do not go together, and starts that fail.
pub(crate) fn odd_settings_have_their_answers(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        // Annotations came later.
        return Ok(());
    }
    let create = |name: &str, host: serde_json::Value, more: serde_json::Value| {
        let mut body = json!({ "Image": "busybox", "Cmd": ["/nope"], "HostConfig": host });
        for (field, value) in more.as_object().into_iter().flatten() {
            body[field] = value.clone();
        }
        let target = format!("/v1.45/containers/create?name={name}");
        case.engine.api("POST", &target, Some(&body))
    };
    let empty = create("x", json!({ "Annotations": { "": "x" } }), json!({}))?;
    let text = "invalid Annotations: the empty string is not permitted as an annotation key";
    ensure!(
        empty.status == 400 && empty.message() == text,
        "{}",
        empty.text()
    );
    let policy = json!({ "RestartPolicy": { "Name": "always", "MaximumRetryCount": -1 } });
    let negative = create("x", policy, json!({}))?;
    ensure!(
        negative.message().ends_with("and cannot be negative"),
        "{}",
        negative.text()
    );
    create(
        "c1",
        json!({ "Privileged": true, "SecurityOpt": ["no-new-privileges"] }),
        json!({}),
    )?;
    let options =
        case.expect("GET", "/containers/c1/json", None, 200)?["HostConfig"]["SecurityOpt"].clone();
    ensure!(
        options == json!(["no-new-privileges", "label=disable"]),
        "{options}"
    );
    let address = json!({ "MacAddress": "02:42:ac:11:00:77" });
    let made = create("c2", json!({ "NetworkMode": "container:c1" }), address)?;
    ensure!(
        made.status == 201 && made.json()["Warnings"][0].is_string(),
        "{}",
        made.text()
    );
    // Who waits for what could not be started is told why.
    let start = case.engine.api("POST", "/containers/c1/start", None)?;
    ensure!(start.status == 400, "{}", start.text());
    let waited = case.expect("POST", "/containers/c1/wait", None, 200)?;
    ensure!(
        waited["StatusCode"] == 127 && waited["Error"]["Message"].is_string(),
        "{waited}"
    );
    case.ok(&["run", "-d", "--name", "c3", "busybox", "sleep", "1000"])?;
    let session = || -> Result<String> {
        let exec = json!({ "Cmd": ["/nope"], "AttachStdout": true, "Tty": true });
        let exec = case.expect("POST", "/containers/c3/exec", Some(&exec), 201)?;
        Ok(format!("/exec/{}", exec["Id"].as_str().unwrap_or_default()))
    };
    let (failed, idle) = (session()?, session()?);
    let start = json!({ "Detach": true, "Tty": true });
    case.engine
        .api("POST", &format!("{failed}/start"), Some(&start))?;
    let resized = case
        .engine
        .api("POST", &format!("{failed}/resize?h=2&w=2"), None)?;
    ensure!(
        resized.status == 400 && resized.message() == "exec process is not started",
        "{}",
        resized.text()
    );
    case.ok(&["kill", "c3"])?;
    case.expect("POST", "/containers/c3/wait", None, 200)?;
    case.expect("GET", &format!("{idle}/json"), None, 404)?;
    // The log of no stream is empty.
    let log = case
        .engine
        .api("POST", "/containers/c1/attach?logs=1", None)?;
    ensure!(log.status == 200 && log.body.is_empty(), "{log:?}");
    Ok(())
}

pub(crate) fn errors_are_json(case: &mut Case) -> Result<()> {
    let missing = case.expect("GET", "/containers/nope/json", None, 404)?;
    ensure!(missing["message"] == "No such container: nope", "{missing}");
    let body = json!({ "Image": "nope", "Cmd": ["x"] });
    let missing = case.expect("POST", "/containers/create", Some(&body), 404)?;
    ensure!(
        missing["message"] == "No such image: nope:latest",
        "{missing}"
    );
    let headers = [("Content-Type", "application/json")];
    let socket = case.engine.socket();
    let bad = wharf_testkit::api::raw(
        &socket,
        "POST",
        "/containers/create",
        &headers,
        b"{nonsense",
    )?;
    // dockerd 20.10 answers 500 here, newer ones 400.
    let status = if case.engine.kind == EngineKind::Dockerd {
        500
    } else {
        400
    };
    ensure!(bad.status == status && !bad.message().is_empty(), "{bad:?}");
    let bad = case.api(
        "POST",
        "/containers/create?name=b%20d",
        Some(&json!({ "Image": "busybox" })),
    )?;
    ensure!(
        bad.status == 400 && bad.message().contains("Invalid container name"),
        "{}",
        bad.text()
    );
    case.expect("POST", "/containers/nope/start", None, 404)?;
    case.expect("GET", "/images/nope/json", None, 404)?;
    case.expect("GET", "/volumes/nope", None, 404)?;
    case.expect("GET", "/networks/nope", None, 404)?;
    case.expect("GET", "/exec/nope/json", None, 404)?;
    Ok(())
}

pub(crate) fn unknown_routes(case: &mut Case) -> Result<()> {
    let answer = case.engine.api("GET", "/v1.41/no/such/page", None)?;
    ensure!(
        answer.status == 404 && answer.message() == "page not found",
        "{}",
        answer.text()
    );
    Ok(())
}

pub(crate) fn version_limits(case: &mut Case) -> Result<()> {
    let answer = case.engine.api("GET", "/v9.99/containers/json", None)?;
    ensure!(answer.status == 400, "{}", answer.status);
    ensure!(
        answer
            .message()
            .contains("client version 9.99 is too new. Maximum supported API version is "),
        "{}",
        answer.text()
    );
    let answer = case.engine.api("GET", "/v1.24/containers/json", None)?;
    ensure!(answer.status == 200, "{}", answer.text());
    Ok(())
}

pub(crate) fn image_answers_are_as_described(case: &mut Case) -> Result<()> {
    let list = case.expect("GET", "/images/json", None, 200)?;
    ensure!(list[0]["RepoTags"] == json!(["busybox:latest"]), "{list}");
    let image = case.expect("GET", "/images/busybox/json", None, 200)?;
    ensure!(image["Os"] == "linux", "{image}");
    case.expect("GET", "/images/busybox/history", None, 200)?;
    case.expect("POST", "/images/busybox/tag?repo=x&tag=y", None, 201)?;
    // The parameter's tag takes the place of the name's.
    case.expect("POST", "/images/busybox/tag?repo=x:a&tag=b", None, 201)?;
    case.expect("GET", "/images/x:a/json", None, 404)?;
    case.expect("DELETE", "/images/x:b", None, 200)?;
    let deleted = case.expect("DELETE", "/images/x:y", None, 200)?;
    ensure!(deleted == json!([{ "Untagged": "x:y" }]), "{deleted}");
    case.expect("GET", "/system/df", None, 200)?;
    Ok(())
}

pub(crate) fn without_swarm_and_plugins(case: &mut Case) -> Result<()> {
    let ping = case.engine.api("GET", "/_ping", None)?;
    ensure!(ping.header("swarm") == Some("inactive"), "{ping:?}");
    ensure!(ping.header("builder-version").is_some(), "{ping:?}");
    for target in ["swarm", "nodes", "services", "tasks", "secrets", "configs"] {
        let answer = case.expect("GET", &format!("/{target}"), None, 503)?;
        let text = answer["message"].as_str().unwrap_or_default();
        ensure!(
            text.starts_with("This node is not a swarm manager."),
            "{text}"
        );
    }
    let leave = case.expect("POST", "/swarm/leave", None, 503)?;
    ensure!(
        leave["message"] == "This node is not part of a swarm",
        "{leave}"
    );
    let plugins = case.expect("GET", "/plugins", None, 200)?;
    ensure!(plugins == json!([]), "{plugins}");
    let none = case.expect("GET", "/plugins/no/such:1/json", None, 404)?;
    ensure!(
        none["message"]
            .as_str()
            .is_some_and(|text| text.contains("not found")),
        "{none}"
    );
    Ok(())
}
