//! What libraries and programs rely on without saying so: answers of dockerd 26.1 that are in no description.

use std::collections::BTreeSet;
use std::io::{BufRead as _, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wharf_testkit::api::{self, Answer};

use super::containers::until;
use super::events::story_since;
use crate::Case;
use crate::case::skip;

fn network(case: &Case, name: &str) -> Result<String> {
    let made = case.expect(
        "POST",
        "/networks/create",
        Some(&json!({ "Name": name })),
        201,
    )?;
    Ok(made["Id"].as_str().context("no id")?.to_owned())
}

fn names(networks: &Value) -> BTreeSet<&str> {
    let fields = networks.as_object().into_iter().flatten();
    fields.map(|(name, _)| name.as_str()).collect()
}

/// Settings for networks say which there are; the network mode does only if there are none.
pub(crate) fn networks_are_those_that_settings_are_given_for(case: &mut Case) -> Result<()> {
    let id = network(case, "one")?;
    network(case, "two")?;
    let cases: [(&str, Value, &[&str]); 8] = [
        ("default", json!({}), &["bridge"]),
        ("default", Value::Null, &["bridge"]),
        ("default", json!({ "one": {} }), &["one"]),
        ("", json!({ id.as_str(): {} }), &["one"]),
        ("bridge", json!({ "one": {} }), &["one"]),
        ("default", json!({ "default": {} }), &["bridge"]),
        ("one", json!({}), &["one"]),
        ("one", json!({ "two": { "Aliases": ["x"] } }), &["two"]),
    ];
    for (mode, settings, wanted) in cases {
        let body = json!({
            "Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": { "NetworkMode": mode },
            "NetworkingConfig": { "EndpointsConfig": settings }
        });
        // Clients of before 1.44 may name one network.
        for version in ["/v1.41", ""] {
            let target = format!("{version}/containers/create?name=netted");
            case.expect("POST", &target, Some(&body), 201)?;
            case.expect("POST", "/containers/netted/start", None, 204)?;
            let made = case.expect("GET", "/containers/netted/json", None, 200)?;
            let networks = &made["NetworkSettings"]["Networks"];
            let wanted: BTreeSet<&str> = wanted.iter().copied().collect();
            ensure!(names(networks) == wanted, "{version} {body}: {networks}");
            let addresses = networks.as_object().into_iter().flatten();
            ensure!(
                addresses.clone().all(|(_, one)| one["IPAddress"] != ""),
                "{networks}"
            );
            case.expect("DELETE", "/containers/netted?force=1", None, 204)?;
        }
    }
    let nothing =
        json!({ "Image": "busybox", "NetworkingConfig": { "EndpointsConfig": { "one": null } } });
    let answer = case.api("POST", "/containers/create", Some(&nothing))?;
    // 20.10 has other words.
    let words = "invalid config for network one: EndpointsConfig is nil";
    let old = case.engine.kind == wharf_testkit::EngineKind::Dockerd;
    ensure!(
        answer.status == 400 && (old || answer.message() == words),
        "{answer:?}"
    );
    Ok(())
}

/// What belongs to a network namespace cannot be had by one that uses another's.
pub(crate) fn a_shared_network_has_its_names(case: &mut Case) -> Result<()> {
    case.ok(&["run", "-d", "--name", "owner", "busybox", "sleep", "1000"])?;
    let refused = [
        (
            json!({ "Hostname": "x" }),
            json!({}),
            "hostname and the network mode",
        ),
        (
            json!({}),
            json!({ "Dns": ["192.0.2.1"] }),
            "dns and the network mode",
        ),
        (
            json!({}),
            json!({ "ExtraHosts": ["a:192.0.2.1"] }),
            "custom host-to-IP mapping and the network mode",
        ),
        (
            json!({ "ExposedPorts": { "80/tcp": {} } }),
            json!({}),
            "port exposing and the container type network mode",
        ),
        (
            json!({}),
            json!({ "PublishAllPorts": true }),
            "port publishing and the container type network mode",
        ),
    ];
    for (config, host, words) in refused {
        let mut body = config;
        body["Image"] = json!("busybox");
        body["HostConfig"] = host;
        body["HostConfig"]["NetworkMode"] = json!("container:owner");
        let answer = case.api("POST", "/containers/create", Some(&body))?;
        ensure!(
            answer.status == 400 && answer.message() == format!("conflicting options: {words}"),
            "{body}: {answer:?}"
        );
    }
    Ok(())
}

fn upload(case: &Case, target: &str, body: &[u8]) -> Result<Answer> {
    let kind = [("Content-Type", "application/x-tar")];
    api::raw(&case.engine.socket(), "POST", target, &kind, body)
}

/// A client of `load` reads a stream of messages, and finds what is wrong in its last line.
pub(crate) fn archives_that_cannot_be_loaded(case: &mut Case) -> Result<()> {
    for body in [b"nonsense".as_slice(), b"", &[0; 1024]] {
        let answer = upload(case, "/images/load", body)?;
        ensure!(answer.status == 200, "{answer:?}");
        let text = answer.text();
        let last = text.lines().last().context("no line")?;
        let last: Value = serde_json::from_str(last)?;
        let error = last["error"].as_str().context("no error")?;
        ensure!(
            !error.is_empty() && last["errorDetail"]["message"] == error,
            "{last}"
        );
    }
    case.fails(&["load", "-i", "/etc/hostname"], 1, "")
}

/// docker-py's `load_image` reads no answer if nobody asks for it, and hangs up when there is one.
pub(crate) fn what_was_sent_is_loaded(case: &mut Case) -> Result<()> {
    let archive = case.engine.world.path().join("sent.tar");
    case.ok(&["tag", "busybox", "sent"])?;
    case.ok(&["save", "-o", &archive.display().to_string(), "sent"])?;
    case.ok(&["rmi", "sent"])?;
    let archive = std::fs::read(archive)?;
    let mut connection = UnixStream::connect(case.engine.socket())?;
    let length = archive.len();
    write!(
        connection,
        "POST /images/load HTTP/1.1\r\nHost: docker\r\nContent-Type: application/x-tar\r\nContent-Length: {length}\r\n\r\n"
    )?;
    connection.write_all(&archive)?;
    connection.read_exact(&mut [0])?;
    drop(connection);
    until(|| Ok(case.run(&["image", "inspect", "sent"])?.code == 0))
}

pub(crate) fn rows_hold_addresses_alone(case: &mut Case) -> Result<()> {
    network(case, "rows")?;
    let body = json!({
        "Image": "busybox", "Cmd": ["sleep", "1000"],
        "NetworkingConfig": { "EndpointsConfig": { "rows": { "Aliases": ["alias"] } } }
    });
    case.expect("POST", "/containers/create?name=row", Some(&body), 201)?;
    case.expect("POST", "/containers/row/start", None, 204)?;
    let rows = case.expect("GET", "/containers/json", None, 200)?;
    let endpoint = &rows[0]["NetworkSettings"]["Networks"]["rows"];
    ensure!(
        endpoint["Aliases"].is_null() && endpoint["DNSNames"].is_null(),
        "{endpoint}"
    );
    let whole = case.expect("GET", "/containers/row/json", None, 200)?;
    let whole = &whole["NetworkSettings"]["Networks"]["rows"];
    ensure!(
        whole["IPAddress"] == endpoint["IPAddress"] && endpoint["IPAddress"] != "",
        "{endpoint}"
    );
    let networks = case.engine.api("GET", "/v1.41/networks", None)?.json();
    let mut networks = networks.as_array().into_iter().flatten();
    ensure!(
        networks.all(|network| network["Containers"] == json!({})),
        "rows of networks have no containers"
    );
    Ok(())
}

/// Before its first start a container has no files on the host that anybody could read.
pub(crate) fn what_was_never_started_has_no_files(case: &mut Case) -> Result<()> {
    case.ok(&["create", "--name", "fresh", "busybox", "true"])?;
    let fields = ["ResolvConfPath", "HostnamePath", "HostsPath", "LogPath"];
    let fresh = case.expect("GET", "/containers/fresh/json", None, 200)?;
    ensure!(fields.iter().all(|name| fresh[name] == ""), "{fresh}");
    case.ok(&["start", "-a", "fresh"])?;
    let ended = case.expect("GET", "/containers/fresh/json", None, 200)?;
    for name in fields {
        let path = ended[name].as_str().context("no path")?;
        ensure!(path.starts_with('/'), "{name}: {path}");
    }
    Ok(())
}

pub(crate) fn odd_requests(case: &mut Case) -> Result<()> {
    case.ok(&["create", "--name", "odd", "busybox", "true"])?;
    let ask = |target: &str| case.engine.api("GET", target, None);
    let moved = ask("/v1.41/containers/%2Fodd/json?size=1")?;
    ensure!(
        moved.status == 301
            && moved.header("location") == Some("/v1.41/containers/odd/json?size=1"),
        "{moved:?}"
    );
    let up = ask("/v1.41/containers/%2e%2e/json")?;
    ensure!(up.header("location") == Some("/v1.41/json"), "{up:?}");
    let half = ask("/v1.41/containers/%/json")?;
    ensure!(
        half.status == 400 && half.text() == "400 Bad Request",
        "{half:?}"
    );
    // A volume needs no settings, and no body to say so.
    let socket = case.engine.socket();
    let json = [("Content-Type", "application/json")];
    if case.engine.kind != wharf_testkit::EngineKind::Dockerd {
        let made = api::raw(&socket, "POST", "/volumes/create", &json, b"")?;
        ensure!(made.status == 201, "{made:?}");
        let upper = [("Content-Type", "application/JSON")];
        let made = api::raw(&socket, "POST", "/volumes/create", &upper, b"{}")?;
        ensure!(made.status == 201, "{made:?}");
        for target in ["/volumes/create", "/networks/create", "/containers/create"] {
            let list = api::raw(&socket, "POST", target, &json, b"[]")?;
            ensure!(
                list.status == 400 && list.message().contains("cannot unmarshal array"),
                "{target}: {list:?}"
            );
        }
    }
    Ok(())
}

/// systeminformation, for Node, asks so: with a scheme and no host, by HTTP/1.0.
pub(crate) fn a_scheme_without_a_host(case: &mut Case) -> Result<()> {
    for target in ["http:/_ping", "http:///v1.41/_ping", "unix:/_ping?a=b"] {
        let mut connection = UnixStream::connect(case.engine.socket())?;
        write!(connection, "GET {target} HTTP/1.0\r\n\r\n")?;
        let answer = api::read_answer(&mut std::io::BufReader::new(connection), false)?;
        ensure!(
            answer.status == 200 && answer.text() == "OK",
            "{target}: {answer:?}"
        );
    }
    Ok(())
}

/// docker-run, for Node, attaches on whatever connection its pool has, asks for no upgrade, and talks on.
pub(crate) fn a_stream_on_a_connection_that_was_used_before(case: &mut Case) -> Result<()> {
    case.ok(&["create", "-i", "--name", "cat", "busybox", "cat"])?;
    let mut connection = UnixStream::connect(case.engine.socket())?;
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    for _ in 0..2 {
        write!(connection, "GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")?;
        let head = api::read_head(&mut connection)?;
        ensure!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        connection.read_exact(&mut [0; 2])?;
    }
    let target = "/v1.41/containers/cat/attach?stream=1&stdin=1&stdout=1";
    write!(
        connection,
        "POST {target} HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n"
    )?;
    let head = api::read_head(&mut connection)?;
    ensure!(
        head == "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n",
        "{head}"
    );
    case.expect("POST", "/containers/cat/start", None, 204)?;
    connection.write_all(b"hello\n")?;
    connection.shutdown(Shutdown::Write)?;
    let mut heard = Vec::new();
    connection.read_to_end(&mut heard)?;
    ensure!(heard == b"\x01\0\0\0\0\0\0\x06hello\n", "{heard:?}");
    case.prints(&["wait", "cat"], "0")
}

/// dockerpty attaches to the streams one by one, and asks for the log with each.
pub(crate) fn a_stream_to_write_to_alone(case: &mut Case) -> Result<()> {
    case.ok(&["create", "-i", "--name", "cat", "busybox", "cat"])?;
    let mut connection = UnixStream::connect(case.engine.socket())?;
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    let target = "/v1.41/containers/cat/attach?stdin=1&stream=1&logs=1";
    let asked = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0";
    write!(
        connection,
        "POST {target} HTTP/1.1\r\nHost: docker\r\n{asked}\r\n\r\n"
    )?;
    let head = api::read_head(&mut connection)?;
    ensure!(head.starts_with("HTTP/1.1 101 "), "{head}");
    case.ok(&["start", "cat"])?;
    connection.write_all(b"hello\n")?;
    until(|| Ok(case.ok(&["logs", "cat"])? == "hello"))
}

/// docker-py's `push` sends a body that nobody wants, in a packet of its own, and then asks on.
pub(crate) fn a_connection_outlives_a_body_that_comes_late(case: &mut Case) -> Result<()> {
    let connection = UnixStream::connect(case.engine.socket())?;
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = std::io::BufReader::new(connection.try_clone()?);
    let mut writer = &connection;
    for _ in 0..2 {
        let head = "POST /v1.41/images/localhost:5000/nope/push?tag=x HTTP/1.1\r\nHost: docker\r\nX-Registry-Auth: e30=";
        write!(writer, "{head}\r\nContent-Length: 2\r\n\r\n")?;
        // The answer begins before the body is there, if it does not wait for it.
        connection.set_read_timeout(Some(Duration::from_millis(200)))?;
        let _ = reader.fill_buf();
        connection.set_read_timeout(Some(Duration::from_secs(30)))?;
        writer.write_all(b"{}")?;
        let answer = api::read_answer(&mut reader, false)?;
        let old = case.engine.kind.is_dockerd() && answer.status == 404;
        ensure!(answer.status == 200 || old, "{answer:?}");
        write!(writer, "GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")?;
        let answer = api::read_answer(&mut reader, false)?;
        ensure!(answer.status == 200 && answer.text() == "OK", "{answer:?}");
    }
    Ok(())
}

pub(crate) fn an_import_is_told_with_its_tag(case: &mut Case) -> Result<()> {
    case.ok(&["create", "--name", "from", "busybox", "true"])?;
    let archive = case.engine.api("GET", "/containers/from/export", None)?;
    let answer = upload(
        case,
        "/images/create?fromSrc=-&repo=imported&tag=1",
        &archive.body,
    )?;
    ensure!(answer.status == 200, "{answer:?}");
    let told = story_since(case, "1", &json!({ "event": ["tag", "import"] }))?;
    let said = |event: &Value| {
        let action = event["Action"].as_str().unwrap_or("").to_owned();
        let name = event["Actor"]["Attributes"]["name"].as_str().unwrap_or("");
        (action, name.to_owned(), event["Actor"]["ID"].clone())
    };
    let last: Vec<_> = told.iter().rev().take(2).map(said).collect();
    let [(second, id, actor), (first, name, _)] = last.as_slice() else {
        anyhow::bail!("{told:?}");
    };
    ensure!(
        (first.as_str(), name.as_str(), second.as_str()) == ("tag", "imported:1", "import")
            && actor == id,
        "{told:?}"
    );
    Ok(())
}

/// The beginning of a name or id is enough, whatever kind of thing has it; an image is named as the container was made from it.
pub(crate) fn events_are_asked_for_by_beginnings(case: &mut Case) -> Result<()> {
    network(case, "front-net")?;
    case.ok(&["create", "--name", "front-one", "busybox", "true"])?;
    case.ok(&["create", "--name", "other", "busybox", "true"])?;
    let told = |filters: Value| -> Result<Vec<String>> {
        let events = story_since(case, "1", &filters)?;
        let name = |event: &Value| {
            event["Actor"]["Attributes"]["name"]
                .as_str()
                .unwrap_or("")
                .to_owned()
        };
        Ok(events.iter().map(name).collect())
    };
    for kind in ["container", "network"] {
        let names = told(json!({ kind: ["front"] }))?;
        ensure!(names == ["front-net", "front-one"], "{kind}: {names:?}");
    }
    let by_image =
        told(json!({ "image": ["busybox"], "event": ["create"], "type": ["container"] }))?;
    ensure!(by_image == ["front-one", "other"], "{by_image:?}");
    let by_tag =
        told(json!({ "image": ["busybox:latest"], "event": ["create"], "type": ["container"] }))?;
    ensure!(by_tag.is_empty(), "{by_tag:?}");
    Ok(())
}

pub(crate) fn booleans_of_filters(case: &mut Case) -> Result<()> {
    for (target, key) in [
        ("/volumes", "dangling"),
        ("/images/json", "dangling"),
        ("/networks", "dangling"),
    ] {
        for (value, status) in [
            ("true", 200),
            ("1", 200),
            ("false", 200),
            ("0", 200),
            ("True", 400),
            ("t", 400),
            ("yes", 400),
        ] {
            let old = case.engine.kind == wharf_testkit::EngineKind::Dockerd;
            if old && matches!(value, "0" | "1") {
                // 20.10 reads them for some kinds of objects.
                continue;
            }
            // Both shapes of filters.
            for filters in [json!({ key: [value] }), json!({ key: { value: true } })] {
                let filters: String = filters
                    .to_string()
                    .bytes()
                    .map(|byte| format!("%{byte:02x}"))
                    .collect();
                let answer =
                    case.engine
                        .api("GET", &format!("{target}?filters={filters}"), None)?;
                ensure!(answer.status == status, "{target} {value}: {answer:?}");
            }
        }
    }
    if case.engine.kind != wharf_testkit::EngineKind::Dockerd {
        let answer = case.engine.api("POST", "/build/prune", None)?.json();
        ensure!(answer["CachesDeleted"].is_null(), "{answer}");
        let pruned = story_since(case, "1", &json!({ "type": ["builder"] }))?;
        ensure!(
            pruned.len() == 1 && pruned[0]["Action"] == "prune",
            "{pruned:?}"
        );
    }
    Ok(())
}

/// A port of the host is asked for by `publish`, one of the container by `expose`, while it runs.
pub(crate) fn ports_are_filtered_by_side(case: &mut Case) -> Result<()> {
    let published = "127.0.0.1:18191:81";
    case.ok(&[
        "run", "-d", "--name", "sided", "-p", published, "--expose", "99", "busybox", "sleep",
        "1000",
    ])?;
    let listed = |filter: &str| -> Result<bool> {
        let names = case.ok(&["ps", "-a", "--filter", filter, "--format", "{{.Names}}"])?;
        Ok(names == "sided")
    };
    for (filter, wanted) in [
        ("publish=18191", true),
        ("publish=18190-18195/tcp", true),
        ("publish=81", false),
        ("publish=99", false),
        ("expose=81", true),
        ("expose=99/tcp", true),
        ("expose=18191", false),
    ] {
        ensure!(listed(filter)? == wanted, "{filter}");
    }
    case.ok(&["kill", "sided"])?;
    case.ok(&["wait", "sided"])?;
    for filter in ["publish=18191", "expose=81", "expose=99"] {
        ensure!(!listed(filter)?, "{filter}");
    }
    Ok(())
}

/// Lines are cut to the width of a terminal, and to nothing else.
pub(crate) fn names_that_a_pipe_gets_whole(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("The tree needs API 1.47");
    }
    let long = format!("localhost:5000/{}/{}:tag", "a".repeat(60), "b".repeat(30));
    case.ok(&["tag", "busybox", &long])?;
    let tree = case.ok(&["images", "--tree"])?;
    ensure!(tree.lines().any(|line| line == long), "{tree}");
    Ok(())
}
