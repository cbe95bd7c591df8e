//! HTTP by hand: hijacked streams, odd paths and bodies, what clients of other years see.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wharf_testkit::api;

use crate::Case;
use crate::case::skip;

/// How long a stream may stand still: a limit for a broken one, nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends the head of a request, with a JSON body if there is one, and reads the head of the answer.
fn open(case: &Case, line: &str, headers: &[&str], body: &str) -> Result<(UnixStream, String)> {
    let mut stream = UnixStream::connect(case.engine.socket())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = format!("{line}\r\nHost: docker\r\n");
    for header in headers {
        text.push_str(&format!("{header}\r\n"));
    }
    if line.starts_with("POST") {
        let length = body.len();
        text.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {length}\r\n"
        ));
    }
    stream.write_all(format!("{text}\r\n{body}").as_bytes())?;
    let head = api::read_head(&mut stream)?;
    Ok((stream, head))
}

/// Says it all, ends that half, and reads the other.
fn talk(mut stream: UnixStream, said: &[u8]) -> Result<Vec<u8>> {
    stream.write_all(said)?;
    stream.shutdown(Shutdown::Write)?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    Ok(heard)
}

const UPGRADE: &[&str] = &["Connection: Upgrade", "Upgrade: tcp"];
const RAW: &str = "Content-Type: application/vnd.docker.raw-stream";
const FRAMED: &[u8] = b"\x01\0\0\0\0\0\0\x06hello\n";

pub(crate) fn streams_with_and_without_an_upgrade(case: &mut Case) -> Result<()> {
    let cat = json!({ "Image": "busybox", "Cmd": ["cat"], "OpenStdin": true, "StdinOnce": true });
    let kinds: [(&str, &[&str], &str); 3] = [
        ("HTTP/1.1", UPGRADE, "HTTP/1.1 101 UPGRADED\r\n"),
        ("HTTP/1.1", &[], "HTTP/1.1 200 OK\r\n"),
        ("HTTP/1.0", &[], "HTTP/1.1 200 OK\r\n"),
    ];
    for (protocol, headers, status) in kinds {
        case.expect("POST", "/containers/create?name=cat", Some(&cat), 201)?;
        let line =
            format!("POST /v1.41/containers/cat/attach?stream=1&stdin=1&stdout=1 {protocol}");
        let (stream, head) = open(case, &line, headers, "")?;
        ensure!(head.starts_with(status) && head.contains(RAW), "{head}");
        case.expect("POST", "/containers/cat/start", None, 204)?;
        let heard = talk(stream, b"hello\n")?;
        ensure!(heard == FRAMED, "{protocol} {headers:?}: {heard:?}");
        case.expect("POST", "/containers/cat/wait", None, 200)?;
        case.expect("DELETE", "/containers/cat", None, 204)?;
    }
    let sleep = json!({ "Image": "busybox", "Cmd": ["sleep", "1000"] });
    case.expect("POST", "/containers/create?name=on", Some(&sleep), 201)?;
    case.expect("POST", "/containers/on/start", None, 204)?;
    for (protocol, headers, status) in kinds {
        let exec = json!({ "Cmd": ["cat"], "AttachStdin": true, "AttachStdout": true });
        let exec = case.expect("POST", "/containers/on/exec", Some(&exec), 201)?;
        let id = exec["Id"].as_str().context("no id")?;
        let line = format!("POST /v1.41/exec/{id}/start {protocol}");
        let (stream, head) = open(case, &line, headers, "{}")?;
        ensure!(head.starts_with(status) && head.contains(RAW), "{head}");
        let heard = talk(stream, b"hello\n")?;
        ensure!(heard == FRAMED, "{protocol} {headers:?}: {heard:?}");
    }
    // What is no stream ends as the client wants it to.
    for (line, headers) in [
        (
            "POST /containers/no/attach HTTP/1.1",
            &["Connection: close"][..],
        ),
        ("POST /exec/no/start HTTP/1.0", &[]),
    ] {
        let (mut stream, head) = open(case, line, headers, "")?;
        ensure!(head.contains(" 404 Not Found"), "{head}");
        stream.read_to_end(&mut Vec::new()).context(line)?;
    }
    Ok(())
}

/// A client that neither asks for an upgrade nor ends its body is shown the output all the same (`curl -T -`).
pub(crate) fn a_stream_does_not_wait_for_the_requests_end(case: &mut Case) -> Result<()> {
    let body = json!({ "Image": "busybox", "Cmd": ["sh", "-c", "echo hello; exec sleep 1000"] });
    case.expect("POST", "/containers/create?name=on", Some(&body), 201)?;
    case.expect("POST", "/containers/on/start", None, 204)?;
    let mut stream = UnixStream::connect(case.engine.socket())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"POST /v1.41/containers/on/attach?stream=1&logs=1&stdout=1 HTTP/1.1\r\nHost: docker\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    let mut heard = Vec::new();
    let mut piece = [0; 512];
    while !heard.windows(5).any(|bytes| bytes == b"hello") {
        let length = stream.read(&mut piece).context("the output")?;
        ensure!(length > 0, "{}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&piece[..length]);
    }
    ensure!(
        heard.starts_with(b"HTTP/1.1 200 OK\r\n"),
        "{}",
        String::from_utf8_lossy(&heard)
    );
    Ok(())
}

pub(crate) fn attach_over_a_websocket(case: &mut Case) -> Result<()> {
    let body = json!({
        "Image": "busybox", "OpenStdin": true,
        "Cmd": ["sh", "-c", "read x; echo got $x"],
    });
    case.expect("POST", "/containers/create?name=ws", Some(&body), 201)?;
    case.expect("POST", "/containers/ws/start", None, 204)?;
    let line = "GET /v1.45/containers/ws/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1";
    let headers = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Origin: http://localhost",
    ];
    let (mut stream, head) = open(case, line, &headers, "")?;
    // The key's answer is that of RFC 6455.
    ensure!(
        head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        "{head}"
    );
    // A text message, masked with zeros.
    stream.write_all(b"\x81\x86\0\0\0\0hello\n")?;
    let mut heard = [0; 12];
    stream.read_exact(&mut heard)?;
    ensure!(&heard == b"\x82\x0agot hello\n", "{heard:?}");
    let none = case.engine.api("GET", "/containers/ws/attach/ws", None)?;
    ensure!(none.status == 400, "{none:?}");
    let nobody = case.engine.api("GET", "/containers/no/attach/ws", None)?;
    ensure!(nobody.status == 404, "{nobody:?}");
    Ok(())
}

pub(crate) fn paths_and_methods(case: &mut Case) -> Result<()> {
    let api = |method: &str, target: &str| case.engine.api(method, target, None);
    let moved = api("GET", "/v1.41//containers/./json?all=1")?;
    ensure!(
        moved.status == 301 && moved.header("location") == Some("/v1.41/containers/json?all=1"),
        "{moved:?}"
    );
    // A path that is none is told of first, and by nobody in particular.
    for target in [
        "/v1.41/nope",
        "/v9.9/nope",
        "/v1.2/nope",
        "/containers/",
        "/Info",
    ] {
        let none = api("GET", target)?;
        ensure!(
            none.status == 404 && none.message() == "page not found",
            "{target}: {none:?}"
        );
        ensure!(none.header("api-version").is_none(), "{target}: {none:?}");
    }
    for (method, target) in [
        ("HEAD", "/info"),
        ("HEAD", "/containers/json"),
        ("PUT", "/info"),
    ] {
        let none = api(method, target)?;
        ensure!(none.status == 404, "{method} {target}: {none:?}");
    }
    let options = api("OPTIONS", "/v1.41/containers/json")?;
    ensure!(
        options.status == 200 && options.header("api-version").is_some(),
        "{options:?}"
    );
    let odd = api("GET", "/v1.41.9/_ping")?;
    ensure!(odd.status == 200, "{odd:?}");
    let list = api("GET", "/networks/")?;
    ensure!(list.json().is_array(), "{list:?}");
    Ok(())
}

pub(crate) fn odd_bodies(case: &mut Case) -> Result<()> {
    let socket = case.engine.socket();
    let post = |target: &str, body: &str| {
        let headers = [("Content-Type", "application/json")];
        api::raw(&socket, "POST", target, &headers, body.as_bytes())
    };
    for empty in ["{}", "null"] {
        let answer = post("/containers/create", empty)?;
        ensure!(
            answer.status == 400
                && answer.message() == "config cannot be empty in order to create a container",
            "{answer:?}"
        );
    }
    let sleep = json!({ "Image": "busybox", "Cmd": ["sleep", "1000"] });
    case.expect("POST", "/containers/create?name=on", Some(&sleep), 201)?;
    let configured = post("/containers/on/start", r#"{"Binds": ["/tmp:/x"]}"#)?;
    ensure!(
        configured.status == 400 && configured.message().contains("non-empty request body"),
        "{configured:?}"
    );
    case.expect("POST", "/containers/on/start", None, 204)?;
    let none = post("/containers/on/exec", "{}")?;
    ensure!(
        none.status == 400
            && none
                .message()
                .eq_ignore_ascii_case("no exec command specified"),
        "{none:?}"
    );
    // Without a terminal there is nothing to resize.
    let resized = post("/containers/on/resize?h=10&w=10", "")?;
    ensure!(resized.status == 200, "{resized:?}");
    let killed = post("/containers/on/kill?signal=nope", "")?;
    let words = "cannot kill container: on: ";
    ensure!(
        killed.status == 400
            && killed
                .message()
                .to_lowercase()
                .contains("invalid signal: nope"),
        "{killed:?}"
    );
    ensure!(
        case.engine.kind != wharf_testkit::EngineKind::Wharf || killed.message().starts_with(words),
        "{killed:?}"
    );
    // What is given as null is not given.
    let list = case.expect("GET", "/containers/json?filters=null", None, 200)?;
    ensure!(
        list.as_array().is_some_and(|list| list.len() == 1),
        "{list}"
    );
    // Parameters of clients of long ago, which nobody hears.
    let list = case.expect("GET", "/containers/json?since=nope&before=nope", None, 200)?;
    ensure!(
        list.as_array().is_some_and(|list| list.len() == 1),
        "{list}"
    );
    Ok(())
}

pub(crate) fn volume_names_that_no_folder_can_have(case: &mut Case) -> Result<()> {
    let long = json!({ "Name": "v".repeat(256) });
    let answer = case.api("POST", "/volumes/create", Some(&long))?;
    ensure!(answer.status == 500, "{answer:?}");
    ensure!(
        answer
            .message()
            .to_lowercase()
            .contains("file name too long"),
        "{answer:?}"
    );
    let longest = json!({ "Name": "v".repeat(255) });
    case.expect("POST", "/volumes/create", Some(&longest), 201)?;
    // It must come up again.
    case.engine.stop()?;
    case.engine.launch()?;
    let volumes = case.expect("GET", "/volumes", None, 200)?;
    ensure!(
        volumes["Volumes"].as_array().map(Vec::len) == Some(1),
        "{volumes}"
    );
    Ok(())
}

pub(crate) fn clients_of_other_years(case: &mut Case) -> Result<()> {
    let body = json!({ "Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": { "NetworkMode": "years" } });
    case.expect(
        "POST",
        "/networks/create",
        Some(&json!({ "Name": "years" })),
        201,
    )?;
    let made = case.expect("POST", "/containers/create?name=year", Some(&body), 201)?;
    let id = made["Id"].as_str().context("no id")?;
    case.expect("POST", "/containers/year/start", None, 204)?;
    let newest = case.engine.api("GET", "/version", None)?.json();
    let newest: u32 = newest["ApiVersion"]
        .as_str()
        .and_then(|version| version.strip_prefix("1.")?.parse().ok())
        .context("no version")?;
    let ask = |minor: u32, path: &str| -> Result<Value> {
        Ok(case
            .engine
            .api("GET", &format!("/v1.{minor}{path}"), None)?
            .json())
    };
    for minor in [24, 40, 43, 44, 45, 47, 49, 51, 52, 56] {
        if minor > newest {
            break;
        }
        let inspect = ask(minor, "/containers/year/json")?;
        let settings = &inspect["NetworkSettings"];
        let endpoint = &settings["Networks"]["years"];
        ensure!(settings.get("Gateway").is_some(), "1.{minor}: {settings}");
        ensure!(
            endpoint.get("GwPriority").is_some() == (minor >= 48),
            "1.{minor}: {endpoint}"
        );
        let has_short = endpoint["Aliases"]
            .as_array()
            .is_some_and(|names| names.contains(&json!(&id[..12])));
        if newest >= 44 {
            ensure!(endpoint.get("DNSNames").is_some(), "1.{minor}: {endpoint}");
            ensure!(has_short == (minor < 45), "1.{minor}: {endpoint}");
        }
        let info = ask(minor, "/info")?;
        let nf = info.get("BridgeNfIptables").is_some();
        ensure!(nf == (minor < 50), "1.{minor}: {info}");
        let expected = info["RuncCommit"].get("Expected").is_some();
        ensure!(
            expected == (minor < 49),
            "1.{minor}: {}",
            info["RuncCommit"]
        );
        if minor == 24 {
            ensure!(
                info["SecurityOptions"][0]
                    .as_str()
                    .is_some_and(|one| !one.contains('=')),
                "{info}"
            );
        }
    }
    Ok(())
}

pub(crate) fn kinds_of_event_streams(case: &mut Case) -> Result<()> {
    let version = case.engine.api("GET", "/version", None)?.json();
    let negotiates = version["ApiVersion"]
        .as_str()
        .and_then(|version| version.strip_prefix("1.")?.parse::<u32>().ok())
        .is_some_and(|minor| minor >= 53);
    case.expect(
        "POST",
        "/networks/create",
        Some(&json!({ "Name": "told" })),
        201,
    )?;
    let target = "/events?since=1&until=2999999999&filters=%7B%22type%22%3A%5B%22network%22%5D%7D";
    for (accept, kind, first) in [
        ("", "application/json", b'{'),
        ("*/*", "application/json", b'{'),
        ("application/x-ndjson", "application/x-ndjson", b'{'),
        ("application/jsonl", "application/jsonl", b'{'),
        ("application/json-seq", "application/json-seq", 0x1e),
    ] {
        let accept = format!("Accept: {accept}");
        let (mut stream, head) = open(case, &format!("GET {target} HTTP/1.1"), &[&accept], "")?;
        let mut chunk = [0; 64];
        let count = stream.read(&mut chunk)?;
        let text = &chunk[..count];
        let start = text
            .windows(2)
            .position(|two| two == b"\r\n")
            .context("no chunk")?
            + 2;
        let (kind, first) = if negotiates {
            (kind, first)
        } else {
            ("application/json", b'{')
        };
        ensure!(head.contains(&format!("{kind}\r\n")), "{accept}: {head}");
        ensure!(text[start] == first, "{accept}: {text:?}");
    }
    let answer = case.engine.api("GET", "/events?since=2&until=1", None)?;
    ensure!(
        answer.status == 400 && answer.message().contains("cannot be after `until` time"),
        "{answer:?}"
    );
    Ok(())
}

/// docker-py and others say `null` for what they do not set.
pub(crate) fn nulls_are_what_is_not_said(case: &mut Case) -> Result<()> {
    let body = json!({
        "Image": "busybox", "Cmd": ["true"], "Hostname": null, "Env": null, "Labels": null, "Entrypoint": null,
        "Healthcheck": { "Test": ["CMD", "true"], "Interval": null, "Timeout": null, "Retries": 3, "StartPeriod": null },
        "HostConfig": {
            "Binds": null, "Memory": null, "RestartPolicy": null, "LogConfig": null, "PortBindings": null,
            "Ulimits": null, "NetworkMode": null,
            "Mounts": [{ "Type": "tmpfs", "Source": null, "Target": "/t", "ReadOnly": null, "TmpfsOptions": null }],
            "DeviceRequests": null, "Devices": [{ "PathOnHost": "/dev/null", "PathInContainer": "/dev/n", "CgroupPermissions": null }]
        },
        "NetworkingConfig": { "EndpointsConfig": null }
    });
    case.expect("POST", "/containers/create?name=nil", Some(&body), 201)?;
    let made = case.expect("GET", "/containers/nil/json", None, 200)?;
    let health = &made["Config"]["Healthcheck"];
    ensure!(
        *health == json!({ "Test": ["CMD", "true"], "Retries": 3 }),
        "{health}"
    );
    Ok(())
}

/// Some clients (docker-py) read the head of an answer with a buffer and the rest without: what comes with it is lost to them.
pub(crate) fn a_stream_begins_when_its_head_is_read(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It promises nothing: it is only slow to start a process");
    }
    let sleep = json!({ "Image": "busybox", "Cmd": ["sleep", "1000"] });
    case.expect("POST", "/containers/create?name=on", Some(&sleep), 201)?;
    case.expect("POST", "/containers/on/start", None, 204)?;
    let mut lost = 0;
    for _ in 0..20 {
        let exec = json!({ "Cmd": ["echo", "hello"], "AttachStdout": true });
        let exec = case.expect("POST", "/containers/on/exec", Some(&exec), 201)?;
        let id = exec["Id"].as_str().context("no id")?;
        let mut stream = UnixStream::connect(case.engine.socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = format!(
            "POST /v1.41/exec/{id}/start HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        stream.write_all(head.as_bytes())?;
        let mut buffer = [0; 8192];
        let count = stream.read(&mut buffer)?;
        lost += usize::from(!buffer[..count].ends_with(b"\r\n\r\n"));
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard)?;
    }
    ensure!(lost == 0, "{lost} of 20 streams came with their heads");
    Ok(())
}

/// A client (dockerode's `run`) starts a container and then waits for it, however short it is.
pub(crate) fn a_wait_for_one_that_removed_itself(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It promises nothing: it is only slow to remove a container");
    }
    let body = json!({
        "Image": "busybox", "Cmd": ["sh", "-c", "exit 3"], "HostConfig": { "AutoRemove": true },
    });
    let made = case.expect("POST", "/containers/create?name=brief", Some(&body), 201)?;
    let id = made["Id"].as_str().context("no id")?;
    case.expect("POST", &format!("/containers/{id}/start"), None, 204)?;
    let gone = format!(
        "/events?since=1&filters={}",
        "%7B%22event%22%3A%5B%22destroy%22%5D%7D"
    );
    let (mut stream, _) = open(case, &format!("GET {gone} HTTP/1.1"), &[], "")?;
    ensure!(stream.read(&mut [0; 1])? == 1, "no event");
    let code = case.expect("POST", &format!("/containers/{id}/wait"), None, 200)?;
    ensure!(code == json!({ "StatusCode": 3 }), "{code}");
    case.expect("POST", "/containers/brief/wait", None, 404)?;
    case.expect("GET", &format!("/containers/{id}/json"), None, 404)?;
    Ok(())
}

pub(crate) fn names_are_filtered_by_expressions(case: &mut Case) -> Result<()> {
    for name in ["web-1", "web-2", "db-1"] {
        case.ok(&["create", "--name", name, "busybox", "true"])?;
    }
    for (pattern, names) in [
        ("^/?web-[0-9]+$", "web-2\nweb-1"),
        ("^(db|web)-1$", "db-1\nweb-1"),
        ("b-1", "db-1\nweb-1"),
        ("^/db", "db-1"),
        ("(", ""),
    ] {
        let filter = format!("name={pattern}");
        case.prints(
            &["ps", "-a", "--format", "{{.Names}}", "--filter", &filter],
            names,
        )?;
    }
    Ok(())
}

/// All that stands between the kind of an object and the verb is its name, whatever it looks like.
pub(crate) fn names_with_slashes_and_words(case: &mut Case) -> Result<()> {
    let is = |method: &str, target: &str, words: &str| {
        let answer = case.engine.api(method, target, None)?;
        ensure!(
            answer.status == 404 && answer.message() == words,
            "{method} {target}: {} {}",
            answer.status,
            answer.text()
        );
        Ok(())
    };
    let word = match case.engine.kind {
        // 20.10 begins errors with one of its own.
        wharf_testkit::EngineKind::Dockerd => return Ok(()),
        _ => "No such container",
    };
    is("GET", "/containers/a/b/json", &format!("{word}: a/b"))?;
    is(
        "POST",
        "/v1.41/containers/a/b/start",
        &format!("{word}: a/b"),
    )?;
    is("DELETE", "/containers/a/b?force=1", &format!("{word}: a/b"))?;
    is("DELETE", "/containers/json", &format!("{word}: json"))?;
    is("POST", "/exec/a/b/start", "No such exec instance: a/b")?;
    is("GET", "/volumes/a/b", "get a/b: no such volume")?;
    is("DELETE", "/networks/a/b", "network a/b not found")?;
    is("POST", "/containers/a/b", "page not found")?;
    // An object may have a word of the API for its name.
    let body = json!({ "Image": "busybox" });
    case.expect("POST", "/containers/create?name=json", Some(&body), 201)?;
    let removed = case.engine.api("DELETE", "/containers/json", None)?;
    ensure!(removed.status == 204, "{}", removed.text());
    let volume = json!({ "Name": "create" });
    case.expect("POST", "/volumes/create", Some(&volume), 201)?;
    // The API's description takes these for what is not in it.
    for (method, status) in [("GET", 200), ("DELETE", 204)] {
        let answer = case.engine.api(method, "/volumes/create", None)?;
        ensure!(answer.status == status, "{}", answer.text());
    }
    case.ok(&["tag", "busybox", "get"])?;
    let removed = case.engine.api("DELETE", "/images/get", None)?;
    ensure!(removed.status == 200, "{}", removed.text());
    Ok(())
}

pub(crate) fn what_is_experimental(case: &mut Case) -> Result<()> {
    if case.engine.kind == wharf_testkit::EngineKind::Dockerd {
        return Ok(()); // It has other words.
    }
    case.ok(&["create", "--name", "c1", "busybox", "true"])?;
    let words = "This experimental feature is disabled by default. Start the Docker daemon in experimental mode in order to enable it.";
    for (method, target) in [
        ("GET", "/containers/c1/checkpoints"),
        ("POST", "/containers/nope/checkpoints"),
        ("DELETE", "/containers/c1/checkpoints/x"),
    ] {
        let answer = case.engine.api(method, target, None)?;
        ensure!(
            answer.status == 501 && answer.message() == words,
            "{}",
            answer.text()
        );
    }
    for (query, status, words) in [
        (
            "checkpoint=x",
            400,
            "checkpoint is only supported in experimental mode",
        ),
        (
            "checkpoint-dir=/x",
            403,
            "custom checkpointdir is not supported",
        ),
    ] {
        let target = format!("/containers/c1/start?{query}");
        let answer = case.engine.api("POST", &target, None)?;
        ensure!(
            answer.status == status && answer.message() == words,
            "{}",
            answer.text()
        );
    }
    let line = case.engine.api("GET", "/debug/pprof/cmdline", None)?;
    ensure!(
        line.status == 200 && line.text().contains("\0-H\0"),
        "{line:?}"
    );
    let vars = case.engine.api("GET", "/debug/vars", None)?.json();
    ensure!(vars["cmdline"][1].is_string(), "{vars}");
    let none = case.engine.api("GET", "/debug/pprof/nope", None)?;
    ensure!(
        none.status == 404 && none.text() == "Unknown profile\n",
        "{none:?}"
    );
    Ok(())
}

/// Names in any case, nulls anywhere, and what is no JSON in the words of Go's scanner.
pub(crate) fn documents_as_go_reads_them(case: &mut Case) -> Result<()> {
    let create = |text: &str| {
        let kind = [("Content-Type", "application/json")];
        let (socket, text) = (case.engine.socket(), text.as_bytes());
        api::raw(&socket, "POST", "/v1.41/containers/create", &kind, text)
    };
    let made = create(
        r#"{"image":"x","IMAGE":"busybox","cmd":"true","labels":{"Image":null,"a":"b"},"Env":["A=b"],
            "hostconfig":{"capadd":"NET_ADMIN","consolesize":[7],"logconfig":{"type":"none","config":null}}}"#,
    )?;
    ensure!(made.status == 201, "{}", made.text());
    let id = made.json()["Id"].as_str().context("no id")?.to_owned();
    let made = case
        .engine
        .api("GET", &format!("/containers/{id}/json"), None)?;
    let made = made.json();
    let (config, host) = (&made["Config"], &made["HostConfig"]);
    ensure!(
        config["Image"] == "busybox" && config["Cmd"] == json!(["true"]),
        "{config}"
    );
    ensure!(
        config["Labels"] == json!({ "Image": "", "a": "b" }),
        "{config}"
    );
    ensure!(
        host["CapAdd"][0]
            .as_str()
            .is_some_and(|name| name.ends_with("NET_ADMIN")),
        "{host}"
    );
    ensure!(host["LogConfig"]["Type"] == "none", "{host}");
    if case.engine.kind == wharf_testkit::EngineKind::Dockerd {
        return Ok(()); // It looks no further than the first document, and has other words.
    }
    for (text, words) in [
        (
            r#"{"Image":}"#,
            "invalid character '}' looking for beginning of value",
        ),
        (
            "{Image:1}",
            "invalid character 'I' looking for beginning of object key string",
        ),
        (
            r#"{"Image":"a" "b"}"#,
            "invalid character '\"' after object key:value pair",
        ),
        (
            r#"{"Image":nil}"#,
            "invalid character 'i' in literal null (expecting 'u')",
        ),
        (r#"{"Image":"#, "unexpected EOF"),
    ] {
        let answer = create(text)?;
        ensure!(
            answer.status == 400 && answer.message() == format!("invalid JSON: {words}"),
            "{text}: {}",
            answer.text()
        );
    }
    for (text, words) in [
        (
            r#"{"Image":1}"#,
            [
                "cannot unmarshal number into Go struct field ",
                ".Image of type string",
            ],
        ),
        (
            r#"{"HostConfig":{"Memory":1.5}}"#,
            [
                "cannot unmarshal number 1.5 into Go struct field ",
                ".Memory of type int64",
            ],
        ),
        (
            r#"{"Env":"A"}"#,
            [
                "cannot unmarshal string into Go struct field ",
                ".Env of type []string",
            ],
        ),
    ] {
        let answer = create(text)?;
        let said = answer.message();
        ensure!(
            answer.status == 400 && words.iter().all(|words| said.contains(words)),
            "{text}: {}",
            answer.text()
        );
    }
    Ok(())
}

/// `top` takes the words of ps, and says in its words what is wrong with them.
pub(crate) fn processes_as_ps_shows_them(case: &mut Case) -> Result<()> {
    case.ok(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"])?;
    let top = |words: &str| {
        let words = words.replace(' ', "%20");
        let target = format!("/containers/c1/top?ps_args={words}");
        case.engine.api("GET", &target, None)
    };
    for (words, titles, last) in [
        ("", "UID PID PPID C STIME TTY TIME CMD", "sleep 1000"),
        ("-e", "PID TTY TIME CMD", "sleep"),
        (
            "aux",
            "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND",
            "sleep 1000",
        ),
        (
            "-aux",
            "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND",
            "sleep 1000",
        ),
        (
            "-l",
            "F S UID PID PPID C PRI NI ADDR SZ WCHAN TTY TIME CMD",
            "sleep",
        ),
        ("-o pid,stat", "PID STAT", "Ss"),
        ("-o pid,comm=NAME", "PID NAME", "sleep"),
    ] {
        let found = top(words)?.json();
        let row = found["Processes"][0].as_array().context("no process")?;
        let names = found["Titles"].as_array().context("no titles")?;
        let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
        ensure!(names.join(" ") == titles, "{words}: {found}");
        ensure!(row.len() == names.len(), "{words}: {found}");
        ensure!(
            row.last().is_some_and(|text| *text == last),
            "{words}: {found}"
        );
    }
    for (words, error) in [
        (
            "nope",
            "error: unknown user-defined format specifier \"pe\"",
        ),
        ("-o", "error: format specification must follow -o"),
        ("xyz", "error: unsupported option (BSD syntax)"),
        ("-i", "error: unsupported SysV option"),
        ("-o comm", "Couldn't find PID field in ps output"),
    ] {
        let answer = top(words)?;
        ensure!(
            answer.status == 500 && answer.message().contains(error),
            "{words}: {}",
            answer.text()
        );
    }
    Ok(())
}

/// What curl sends of a command line as it was typed: JSON in the query, parameters as a form.
pub(crate) fn requests_as_they_are_typed(case: &mut Case) -> Result<()> {
    case.ok(&[
        "create", "--name", "c1", "--label", "a=é", "busybox", "true",
    ])?;
    let ask = |line: &str, headers: &[&str], body: &str| -> Result<(u16, String)> {
        let mut stream = UnixStream::connect(case.engine.socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let headers = headers.join("\r\n");
        let length = body.len();
        let text = format!(
            "{line} HTTP/1.1\r\nHost: x\r\n{headers}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes())?;
        let answer = api::read_answer(&mut std::io::BufReader::new(stream), false)?;
        Ok((answer.status, answer.text()))
    };
    let none = &["Accept: */*"];
    for (filters, there) in [
        (r#"{"label":["a"]}"#, true),
        (r#"{"label":["a=é"]}"#, true),
        (r#"{"name":["<c1>"]}"#, false),
        (r#"{"label":{"a":true}}"#, true),
    ] {
        let line = format!("GET /containers/json?all=1&filters={filters}");
        let (status, rows) = ask(&line, none, "")?;
        ensure!(
            status == 200 && rows.contains("/c1") == there,
            "{filters}: {status} {rows}"
        );
    }
    let form = &["Content-Type: application/x-www-form-urlencoded"];
    let (status, text) = ask("POST /containers/c1/rename?name=b", form, "name=renamed")?;
    ensure!(status == 204, "{status} {text}");
    case.expect("GET", "/containers/renamed/json", None, 200)?;
    let (status, text) = ask("POST /containers/create", form, r#"{"Image":"busybox"}"#)?;
    ensure!(status == 400 || status == 415, "{status} {text}");
    if case.engine.kind == wharf_testkit::EngineKind::Dockerd {
        return Ok(()); // It has other words.
    }
    for (query, words) in [
        ("all=1;limit=1", "invalid semicolon separator in query"),
        ("all=%zz", "invalid URL escape \\\"%zz\\\""),
    ] {
        let (status, text) = ask(&format!("GET /containers/json?{query}"), none, "")?;
        ensure!(status == 400 && text.contains(words), "{status} {text}");
    }
    Ok(())
}

/// A session's terminal is resized while it runs, and what has none is let be.
pub(crate) fn sessions_are_resized(case: &mut Case) -> Result<()> {
    if case.engine.kind == wharf_testkit::EngineKind::Dockerd {
        return Ok(()); // It waits for what has ended.
    }
    case.ok(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"])?;
    let session = |spec: Value| -> Result<String> {
        let made = case.expect("POST", "/containers/c1/exec", Some(&spec), 201)?;
        let id = made["Id"].as_str().unwrap_or_default().to_owned();
        let detached = json!({ "Detach": true, "Tty": spec["Tty"] });
        case.expect("POST", &format!("/exec/{id}/start"), Some(&detached), 200)?;
        Ok(id)
    };
    let resize = |id: &str, query: &str| {
        let target = format!("/exec/{id}/resize?{query}");
        case.engine.api("POST", &target, None)
    };
    let sleep = json!(["sleep", "1000"]);
    for tty in [true, false] {
        let id = session(json!({ "Cmd": sleep, "Tty": tty }))?;
        let resized = resize(&id, "h=10&w=20")?;
        ensure!(resized.status == 200, "{}", resized.text());
    }
    let ended = session(json!({ "Cmd": ["true"] }))?;
    while case.expect("GET", &format!("/exec/{ended}/json"), None, 200)?["Running"] == true {
        std::thread::yield_now();
    }
    for (id, query, status, words) in [
        (
            ended.as_str(),
            "h=1&w=1",
            404,
            format!("process does not exist {ended}: not found"),
        ),
        (
            "nope",
            "h=1&w=1",
            404,
            "No such exec instance: nope".to_owned(),
        ),
        (
            ended.as_str(),
            "h=a&w=1",
            400,
            "strconv.Atoi: parsing \"a\": invalid syntax".to_owned(),
        ),
    ] {
        let refused = resize(id, query)?;
        ensure!(
            refused.status == status && refused.message() == words,
            "{id}: {refused:?}"
        );
    }
    Ok(())
}

/// Go counts the bytes of headers, and not how many they are.
pub(crate) fn requests_with_many_headers(case: &mut Case) -> Result<()> {
    let names: Vec<String> = (0..5000).map(|number| format!("h{number}")).collect();
    for count in [90, 150, 5000] {
        let headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
        let answer = api::raw(
            &case.engine.socket(),
            "GET",
            "/_ping",
            &headers[..count],
            b"",
        )?;
        ensure!(answer.status == 200, "{count}: {}", answer.status);
    }
    let long = "x".repeat(500_000);
    let long = [("a", long.as_str())];
    let answer = api::raw(&case.engine.socket(), "GET", "/_ping", &long, b"")?;
    ensure!(answer.status == 200, "{}", answer.status);
    Ok(())
}

/// What is checked when it begins, and not when it is asked for.
pub(crate) fn settings_that_fail_at_the_start(case: &mut Case) -> Result<()> {
    if case.engine.kind == wharf_testkit::EngineKind::Dockerd {
        return Ok(()); // Its runtime has other words.
    }
    let shares = ["run", "--rm", "--cpu-shares=-1", "busybox", "true"];
    case.fails(&shares, 125, "shares: invalid argument")?;
    case.ok(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"])?;
    let run = case.run(&["exec", "-w", "x", "c1", "true"])?;
    let words = "OCI runtime exec failed: exec failed: Cwd must be an absolute path: unknown";
    let said = format!("{}{}", run.stdout, run.stderr);
    ensure!(run.code == 126 && said.contains(words), "{run:?}");
    let keys = json!({ "Cmd": ["true"], "DetachKeys": "abc" });
    let refused = case
        .engine
        .api("POST", "/containers/c1/exec", Some(&keys))?;
    ensure!(
        refused.message() == "Invalid escape keys (abc) provided",
        "{refused:?}"
    );
    let size = "/containers/c1/resize?h=4294967296&w=-1";
    case.expect("POST", size, None, 200)?;
    let long = "/containers/c1/resize?h=99999999999999999999&w=1";
    let refused = case.engine.api("POST", long, None)?;
    let words = "strconv.Atoi: parsing \"99999999999999999999\": value out of range";
    ensure!(
        refused.status == 400 && refused.message() == words,
        "{refused:?}"
    );
    Ok(())
}

/// Whether the output of a session comes in frames is said at its start, whatever it was made with: docker-py's `exec_start` takes
/// it for no terminal unless it is told otherwise.
pub(crate) fn sessions_are_read_as_is_asked(case: &mut Case) -> Result<()> {
    case.ok(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"])?;
    let heard = |spec: &Value, tty: bool| -> Result<(String, Vec<u8>)> {
        let made = case.expect("POST", "/containers/c1/exec", Some(spec), 201)?;
        let id = made["Id"].as_str().unwrap_or_default().to_owned();
        let line = format!("POST /v1.41/exec/{id}/start HTTP/1.1");
        let body = json!({ "Tty": tty }).to_string();
        let (mut stream, _) = open(case, &line, UPGRADE, &body)?;
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard)?;
        Ok((id, heard))
    };
    let cases: [(bool, bool, &[u8]); 4] = [
        (false, false, FRAMED),
        (false, true, b"hello\n"),
        (true, false, b"\x01\0\0\0\0\0\0\x07hello\r\n"),
        (true, true, b"hello\r\n"),
    ];
    for (tty, asked, expected) in cases {
        let spec = json!({ "Cmd": ["echo", "hello"], "AttachStdout": true, "Tty": tty });
        let (_, said) = heard(&spec, asked)?;
        ensure!(said == expected, "{tty} {asked}: {said:?}");
    }
    // Nothing of it is asked for, so that nobody waits for its end.
    let (_, said) = heard(&json!({ "Cmd": ["sleep", "1000"], "Tty": true }), true)?;
    ensure!(said.is_empty(), "{said:?}");
    if case.engine.kind == wharf_testkit::EngineKind::Dockerd {
        return Ok(()); // Its runtime has other words.
    }
    let nameless = json!({ "Cmd": ["true"], "AttachStdout": true, "Env": ["=x"] });
    let (id, said) = heard(&nameless, true)?;
    let said = String::from_utf8_lossy(&said).into_owned();
    let words = "environment variable name can't be empty: \"=x\": unknown\r\n";
    ensure!(said.ends_with(words), "{said}");
    let shown = case.expect("GET", &format!("/exec/{id}/json"), None, 200)?;
    ensure!(shown["ExitCode"] == 126, "{shown}");
    let refused = case
        .engine
        .api("POST", "/containers/c1/attach?detachKeys=nope", None)?;
    ensure!(
        refused.text() == "Invalid detach keys (nope) provided\r\n",
        "{refused:?}"
    );
    case.ok(&["pause", "c1"])?;
    let refused = case
        .engine
        .api("GET", "/containers/c1/attach/ws?stream=1", None)?;
    // What is frozen could not be ended.
    case.ok(&["unpause", "c1"])?;
    let words = "container c1 is paused, unpause the container before attach";
    ensure!(
        refused.status == 409 && refused.message() == words,
        "{refused:?}"
    );
    Ok(())
}

/// What a start that fails leaves, and what is told of it.
pub(crate) fn starts_that_fail_leave_what_they_had(case: &mut Case) -> Result<()> {
    if case.engine.kind == wharf_testkit::EngineKind::Dockerd {
        return Ok(()); // It has other words.
    }
    let body = json!({ "Image": "busybox", "Cmd": ["true"], "User": "4294967296" });
    case.expect("POST", "/containers/create?name=c1", Some(&body), 201)?;
    let refused = case.engine.api("POST", "/containers/c1/start", None)?;
    ensure!(
        refused.message() == "uids and gids must be in range 0-2147483647",
        "{refused:?}"
    );
    let shown = case.expect("GET", "/containers/c1/json", None, 200)?;
    for key in ["ResolvConfPath", "HostnamePath", "HostsPath"] {
        ensure!(shown[key] != "", "{key}: {shown}");
    }
    let told = super::events::story_since(case, "1", &json!({ "type": ["network"] }))?;
    let of_c1 = told
        .iter()
        .filter(|event| event["Actor"]["Attributes"]["container"] == shown["Id"]);
    let actions: Vec<_> = of_c1.filter_map(|event| event["Action"].as_str()).collect();
    ensure!(actions == ["connect", "disconnect"], "{actions:?}");
    // What the kernel makes of it is seen at the start.
    let shares = json!({ "Image": "busybox", "HostConfig": { "CpuShares": 1_i64 << 40 } });
    case.expect("POST", "/containers/create?name=c2", Some(&shares), 201)?;
    let shown = case.expect("GET", "/containers/c2/json", None, 200)?;
    ensure!(shown["HostConfig"]["CpuShares"] == 1_i64 << 40, "{shown}");
    Ok(())
}
