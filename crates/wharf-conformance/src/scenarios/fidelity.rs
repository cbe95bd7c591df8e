//! Answers word for word as dockerd 26.1 has them, where clients have been seen to look.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wharf_testkit::{EngineKind, Registry, api, fixtures};

use super::events::story_since;
use crate::Case;

/// Docker's clients read the operating system out of `Server`, and the rest out of headers of its own.
pub(crate) fn headers_of_answers(case: &mut Case) -> Result<()> {
    let version = case.engine.api("GET", "/version", None)?.json();
    let text = |name: &str| version[name].as_str().unwrap_or_default().to_owned();
    let server = format!("Docker/{} (linux)", text("Version"));
    let newest = text("ApiVersion");
    for (method, target, status) in [
        ("GET", "/_ping", 200),
        ("HEAD", "/_ping", 200),
        ("GET", "/version", 200),
        ("OPTIONS", "/info", 200),
        ("GET", "/containers/nope/json", 404),
        ("POST", "/containers/nope/start", 404),
        ("GET", "/events?since=1&until=2", 200),
        ("GET", "/v1.999/info", 400),
        ("GET", "/v1.1/_ping", 400),
        ("OPTIONS", "/v1.999/info", 400),
    ] {
        let answer = case.engine.api(method, target, None)?;
        ensure!(answer.status == status, "{method} {target}: {answer:?}");
        let has = |name: &str, value: Option<&str>| {
            let found = answer.header(name);
            ensure!(found == value, "{method} {target}: {name}: {found:?}");
            Ok(())
        };
        has("server", Some(&server))?;
        has("ostype", Some("linux"))?;
        has("api-version", Some(&newest))?;
        let experimental = (status != 400).then_some("false");
        has("docker-experimental", experimental)?;
    }
    for target in ["/nope", "//info"] {
        let answer = case.engine.api("GET", target, None)?;
        let ours = ["server", "ostype", "api-version", "docker-experimental"];
        let found = ours.iter().find(|name| answer.header(name).is_some());
        ensure!(found.is_none(), "{target}: {answer:?}");
    }
    Ok(())
}

/// The lines of a pull's stream, without what says how far something is.
fn pull(case: &Case, query: &str) -> Result<Vec<Value>> {
    let socket = case.engine.socket();
    let target = format!("/images/create?fromImage={query}");
    let answer = api::raw(&socket, "POST", &target, &[], &[])?;
    ensure!(answer.status == 200, "{query}: {answer:?}");
    let text = answer.text();
    let lines = text.lines().map(serde_json::from_str);
    let mut lines = lines.collect::<Result<Vec<Value>, _>>()?;
    lines.retain(|line| line["progressDetail"]["current"].is_null());
    Ok(lines)
}

fn statuses(lines: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let all = lines.iter().map(|line| match text(&line["id"]) {
        Some(id) => format!("{id}: {}", line["status"].as_str().unwrap_or_default()),
        None => text(&line["status"]).unwrap_or_else(|| line.to_string()),
    });
    all.collect()
}

pub(crate) fn pulls_are_told(case: &mut Case) -> Result<()> {
    let storage = fixtures::folder()?.join("registry");
    let _registry = Registry::serve(&case.engine.world, &storage, 5000)?;
    let name = "127.0.0.1:5000/library/debian";
    let first = statuses(&pull(case, name)?);
    let digest = first.iter().find_map(|line| line.strip_prefix("Digest: "));
    let digest = digest.unwrap_or_default().to_owned();
    // Both tags mean one image: the end is told once, and of the second nothing but its digest.
    let end = first.len().saturating_sub(3);
    let second = [
        "bookworm: Pulling from library/debian".to_owned(),
        format!("Digest: {digest}"),
        format!("Status: Downloaded newer image for {name}"),
    ];
    ensure!(
        first[0] == "latest: Pulling from library/debian",
        "{first:?}"
    );
    ensure!(first[end..] == second, "{first:?}");
    let ends = first.iter().filter(|line| line.starts_with("Status: "));
    ensure!(ends.count() == 1, "{first:?}");
    // Of an image that is here no layer is spoken of.
    let again = statuses(&pull(case, &format!("{name}&tag=bookworm"))?);
    let known = [
        second[0].clone(),
        second[1].clone(),
        format!("Status: Image is up to date for {name}:bookworm"),
    ];
    ensure!(again == known, "{again:?}");
    let by_digest = statuses(&pull(case, &format!("{name}@{digest}"))?);
    let expected = format!("{name}@{digest}: Pulling from library/debian");
    ensure!(by_digest[0] == expected, "{by_digest:?}");
    Ok(())
}

/// What has one platform comes all the same, but is not what was asked for.
pub(crate) fn pulls_of_another_platform(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        return Ok(()); // 20.10 only warns.
    }
    let storage = fixtures::folder()?.join("registry");
    let _registry = Registry::serve(&case.engine.world, &storage, 5000)?;
    let name = "127.0.0.1:5000/busybox:latest";
    let lines = pull(case, &format!("{name}&platform=linux/arm64"))?;
    let words = format!(
        "image with reference {name} was found but does not match the specified platform: wanted linux/arm64, actual: linux/amd64"
    );
    let error = json!({ "error": words, "errorDetail": { "message": words } });
    ensure!(lines.last() == Some(&error), "{lines:?}");
    let told = statuses(&lines);
    let status = format!("Status: Downloaded newer image for {name}");
    ensure!(told.contains(&status), "{told:?}");
    case.expect("GET", &format!("/images/{name}/json"), None, 200)?;
    Ok(())
}

/// A layer's progress is told as numbers and as text.
pub(crate) fn pulls_show_bars(case: &mut Case) -> Result<()> {
    let storage = fixtures::folder()?.join("registry");
    let _registry = Registry::serve(&case.engine.world, &storage, 5000)?;
    let socket = case.engine.socket();
    let target = "/images/create?fromImage=127.0.0.1:5000/library/debian&tag=bookworm";
    let answer = api::raw(&socket, "POST", target, &[], &[])?;
    let text = answer.text();
    let lines = text.lines().map(serde_json::from_str);
    let lines = lines.collect::<Result<Vec<Value>, _>>()?;
    let mut bars = 0;
    for line in &lines {
        let has_detail = line["progressDetail"]["current"].is_u64();
        let bar = line["progress"].as_str();
        ensure!(has_detail == bar.is_some(), "{line}");
        let is_whole = bar.is_none_or(|bar| bar.starts_with('[') && bar.contains("B/"));
        ensure!(is_whole, "{line}");
        bars += usize::from(bar.is_some());
    }
    ensure!(bars > 0, "{text}");
    Ok(())
}

pub(crate) fn hardware_addresses(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        return Ok(()); // Endpoints have theirs since 25.0.
    }
    let wide = "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty";
    let other = "if a container-wide MAC address is supplied, HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks";
    let mode = "conflicting options: mac-address and the network mode";
    let bad = "invalid config for network bridge: invalid MAC address x";
    let endpoint =
        |name: &str, mac: &str| json!({ "EndpointsConfig": { name: { "MacAddress": mac } } });
    let (one, two) = ("02:42:ac:11:00:97", "02:42:ac:11:00:98");
    for (version, body, words) in [
        ("1.43", json!({ "MacAddress": "x" }), bad),
        ("1.44", json!({ "MacAddress": "x" }), bad),
        (
            "1.44",
            json!({ "NetworkingConfig": endpoint("bridge", "x") }),
            bad,
        ),
        (
            "1.44",
            json!({ "MacAddress": one, "NetworkingConfig": endpoint("bridge", two) }),
            wide,
        ),
        (
            "1.44",
            json!({ "MacAddress": one, "HostConfig": { "NetworkMode": "n" }, "NetworkingConfig": endpoint("bridge", two) }),
            other,
        ),
        (
            "1.43",
            json!({ "MacAddress": one, "HostConfig": { "NetworkMode": "none" } }),
            mode,
        ),
    ] {
        let mut body = body;
        body["Image"] = json!("busybox");
        let target = format!("/v{version}/containers/create");
        let answer = case.engine.api("POST", &target, Some(&body))?;
        ensure!(
            answer.status == 400 && answer.message() == words,
            "{version} {body}: {answer:?}"
        );
    }
    // Before 1.44 nobody heard an endpoint's.
    for (body, mac) in [(json!({}), ""), (json!({ "MacAddress": one }), one)] {
        let mut body = body;
        body["Image"] = json!("busybox");
        body["NetworkingConfig"] = endpoint("bridge", two);
        let made = case
            .engine
            .api("POST", "/v1.43/containers/create", Some(&body))?;
        ensure!(made.status == 201, "{made:?}");
        let id = made.json()["Id"].as_str().unwrap_or_default().to_owned();
        let shown = case
            .engine
            .api("GET", &format!("/v1.44/containers/{id}/json"), None)?
            .json();
        let shown = &shown["NetworkSettings"]["Networks"]["bridge"]["MacAddress"];
        ensure!(shown == mac, "{body}: {shown}");
    }
    let sleep = json!({ "Image": "busybox", "Cmd": ["sleep", "1000"] });
    case.expect("POST", "/containers/create?name=c1", Some(&sleep), 201)?;
    case.expect(
        "POST",
        "/networks/create",
        Some(&json!({ "Name": "n1" })),
        201,
    )?;
    let body = json!({ "Container": "c1", "EndpointConfig": { "MacAddress": "02:42" } });
    let refused = case.expect("POST", "/networks/n1/connect", Some(&body), 400)?;
    ensure!(
        refused["message"] == "invalid MAC address 02:42",
        "{refused}"
    );
    Ok(())
}

/// Clients that name no version, or the newest that the daemon has, are of all years: what 1.52 took out is beside the new.
pub(crate) fn answers_have_old_fields(case: &mut Case) -> Result<()> {
    let mac = "02:42:c0:00:02:01";
    let sleep =
        json!({ "Image": "busybox", "Cmd": ["sleep", "1000"], "MacAddress": mac, "Labels": {} });
    let newest = case.engine.api("GET", "/version", None)?.json();
    let newest = newest["ApiVersion"].as_str().context("no version")?;
    for version in ["", "/v1.44", "/v1.52", &format!("/v{newest}")] {
        if version == "/v1.52" && case.engine.kind.is_dockerd() {
            continue;
        }
        let ask = |method: &str, path: &str, body: Option<&Value>, status: u16| {
            case.expect(method, &format!("{version}{path}"), body, status)
        };
        ask("POST", "/containers/create?name=c1", Some(&sleep), 201)?;
        ask("POST", "/containers/c1/start", None, 204)?;
        let usage = ask("GET", "/system/df", None, 200)?;
        for list in ["Images", "Containers", "Volumes"] {
            ensure!(usage[list].is_array(), "{version} {list}: {usage}");
        }
        ensure!(usage.get("BuildCache").is_some(), "{usage}");
        ensure!(usage["LayersSize"].is_u64(), "{usage}");
        let inspect = ask("GET", "/containers/c1/json", None, 200)?;
        let settings = &inspect["NetworkSettings"];
        for field in ["IPAddress", "Gateway", "MacAddress"] {
            let of_bridge = &settings["Networks"]["bridge"][field];
            ensure!(
                settings[field].is_string() && settings[field] == *of_bridge,
                "{version} {field}: {inspect}"
            );
        }
        ensure!(settings["MacAddress"] == mac, "{version}: {settings}");
        let image = ask("GET", "/images/busybox/json", None, 200)?;
        for field in ["Entrypoint", "Labels", "Volumes"] {
            ensure!(image["Config"].get(field).is_some(), "{version}: {image}");
        }
        for field in ["Author", "Parent"] {
            ensure!(image[field] == "", "{version}: {image}");
        }
        let networks = ask("GET", "/networks", None, 200)?;
        ensure!(networks[0]["Containers"].is_object(), "{networks}");
        ask("DELETE", "/containers/c1?force=1", None, 204)?;
    }
    let told = story_since(
        case,
        "1",
        &json!({ "type": ["container"], "event": ["create"] }),
    )?;
    for event in &told {
        ensure!(
            event["status"] == "create" && event["from"] == "busybox",
            "{event}"
        );
        ensure!(event["id"] == event["Actor"]["ID"], "{event}");
    }
    ensure!(told.len() >= 3, "{told:?}");
    Ok(())
}

/// Values of wrong types are told of in Go's words, with the names of dockerd's types.
pub(crate) fn wrong_types(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        return Ok(()); // Built by a Go that said less.
    }
    let sleep = json!({ "Image": "busybox", "Cmd": ["sleep", "1000"] });
    case.expect("POST", "/containers/create?name=c1", Some(&sleep), 201)?;
    case.expect("POST", "/containers/c1/start", None, 204)?;
    let wrapper = "ContainerConfigWrapper";
    for (target, body, words) in [
        ("/containers/create", json!({ "Image": 1 }), format!("number into Go struct field {wrapper}.Config.Image of type string")),
        ("/containers/create", json!({ "Cmd": [1] }), format!("array into Go struct field {wrapper}.Config.Cmd of type string")),
        ("/containers/create", json!({ "ExposedPorts": [] }), format!("array into Go struct field {wrapper}.Config.ExposedPorts of type nat.PortSet")),
        ("/containers/create", json!({ "HostConfig": { "Memory": "x" } }), "string into Go struct field HostConfig.HostConfig.Resources.Memory of type int64".to_owned()),
        ("/containers/create", json!({ "HostConfig": { "Ulimits": {} } }), "object into Go struct field HostConfig.HostConfig.Resources.Ulimits of type []*units.Ulimit".to_owned()),
        ("/containers/create", json!({ "HostConfig": { "PortBindings": { "80/tcp": [{ "HostPort": 80 }] } } }), "number into Go struct field PortBinding.HostConfig.PortBindings.HostPort of type string".to_owned()),
        ("/containers/create", json!([]), "array into Go value of type runconfig.ContainerConfigWrapper".to_owned()),
        ("/containers/c1/update", json!({ "RestartPolicy": { "Name": 1 } }), "number into Go struct field RestartPolicy.RestartPolicy.Name of type container.RestartPolicyMode".to_owned()),
        ("/containers/c1/update", json!({ "Memory": "x" }), "string into Go struct field UpdateConfig.Resources.Memory of type int64".to_owned()),
        ("/containers/c1/exec", json!({ "Cmd": "x" }), "string into Go struct field ExecConfig.Cmd of type []string".to_owned()),
        ("/volumes/create", json!({ "Labels": [] }), "array into Go struct field CreateOptions.Labels of type map[string]string".to_owned()),
        ("/networks/create", json!({ "IPAM": { "Config": [1] } }), "number into Go struct field IPAM.NetworkCreate.IPAM.Config of type network.IPAMConfig".to_owned()),
        ("/networks/bridge/connect", json!({ "EndpointConfig": 1 }), "number into Go struct field NetworkConnect.EndpointConfig of type network.EndpointSettings".to_owned()),
        ("/networks/bridge/disconnect", json!({ "Force": 1 }), "number into Go struct field NetworkDisconnect.Force of type bool".to_owned()),
        ("/commit?container=c1", json!({ "Env": "x" }), format!("string into Go struct field {wrapper}.Config.Env of type []string")),
    ] {
        let answer = case.engine.api("POST", target, Some(&body))?;
        let words = format!("invalid JSON: json: cannot unmarshal {words}");
        let is_so = answer.status == 400 && answer.message() == words;
        ensure!(is_so, "{target} {body}: {answer:?}");
    }
    Ok(())
}

/// A container that does not run is asked twice into a network: what was asked first holds.
pub(crate) fn networks_asked_for_twice(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        return Ok(()); // It has no `DNSNames`.
    }
    let sleep = json!({ "Image": "busybox", "Cmd": ["sleep", "1000"] });
    case.expect("POST", "/containers/create?name=c1", Some(&sleep), 201)?;
    case.expect(
        "POST",
        "/networks/create",
        Some(&json!({ "Name": "n1" })),
        201,
    )?;
    for alias in ["one", "two"] {
        let body = json!({ "Container": "c1", "EndpointConfig": { "Aliases": [alias] } });
        case.expect("POST", "/networks/n1/connect", Some(&body), 200)?;
    }
    let shown = |case: &Case| -> Result<Value> {
        let inspect = case.expect("GET", "/v1.45/containers/c1/json", None, 200)?;
        Ok(inspect["NetworkSettings"]["Networks"]["n1"].clone())
    };
    let endpoint = shown(case)?;
    ensure!(endpoint["Aliases"] == json!(["one"]), "{endpoint}");
    ensure!(endpoint["NetworkID"] == "", "{endpoint}");
    let filter = "/containers/json?all=1&filters=%7B%22network%22%3A%5B%22n1%22%5D%7D";
    let found = case.expect("GET", filter, None, 200)?;
    ensure!(found[0]["Names"] == json!(["/c1"]), "{found}");
    case.expect("POST", "/containers/c1/start", None, 204)?;
    let endpoint = shown(case)?;
    let network = case.expect("GET", "/networks/n1", None, 200)?;
    ensure!(endpoint["NetworkID"] == network["Id"], "{endpoint}");
    ensure!(endpoint["DNSNames"][1] == "one", "{endpoint}");
    Ok(())
}
