//! Connections of the API: clients that are gone, those of a daemon that stops, and those of foreign pages.

use std::io::{BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use wharf_testkit::api::{Answer, read_answer, read_head};
use wharf_testkit::{Engine, EngineOptions};

use super::containers::until;
use crate::Case;
use crate::case::skip;

const ATTACH: &str = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n";

fn connect(case: &Case) -> Result<UnixStream> {
    let stream = UnixStream::connect(case.engine.socket())?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(stream)
}

/// Sends a request, and reads the head of the answer.
fn open(case: &Case, line: &str, headers: &str) -> Result<UnixStream> {
    let mut stream = connect(case)?;
    write!(stream, "{line} HTTP/1.1\r\nHost: docker\r\n{headers}\r\n")?;
    let head = read_head(&mut stream)?;
    let is_good = head.starts_with("HTTP/1.1 200") || head.starts_with("HTTP/1.1 101");
    ensure!(is_good, "{line}: {head}");
    Ok(stream)
}

/// How many descriptors the daemon has.
fn descriptors(case: &Case) -> Result<usize> {
    let folder = format!("/proc/{}/fd", case.engine.pid()?);
    Ok(std::fs::read_dir(folder)?.count())
}

/// Nothing is ever said on these streams: they do not end by an answer that finds nobody.
pub(crate) fn clients_that_are_gone_are_noticed(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It keeps what attaches");
    }
    case.ok(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"])?;
    case.ok(&["create", "--name", "c2", "busybox", "true"])?;
    let socket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let silent = [
        ("GET /v1.41/events", ""),
        ("GET /v1.41/containers/c1/logs?stdout=1&follow=1", ""),
        ("POST /v1.41/containers/c1/wait", "Content-Length: 0\r\n"),
        ("POST /v1.41/containers/c1/attach?stream=1&stdout=1", ATTACH),
        (
            "POST /v1.41/containers/c1/attach?stream=1&stdout=1",
            "Content-Length: 0\r\n",
        ),
        (
            "GET /v1.41/containers/c1/attach/ws?stream=1&stdout=1",
            socket,
        ),
        // One that waits for the start.
        ("POST /v1.41/containers/c2/attach?stream=1&stdout=1", ATTACH),
    ];
    let before = descriptors(case)?;
    let mut streams = Vec::new();
    for (line, headers) in silent {
        // The head of an answer without a byte behind it may wait for one.
        let headers = headers.to_owned();
        for _ in 0..6 {
            streams.push(match line.contains("/logs") {
                true => send(case, line, &headers)?,
                false => open(case, line, &headers)?,
            });
        }
    }
    until(|| Ok(descriptors(case)? >= before + streams.len()))?;
    drop(streams);
    // A few of its own come and go.
    until(|| Ok(descriptors(case)? <= before + 4))
}

fn send(case: &Case, line: &str, headers: &str) -> Result<UnixStream> {
    let mut stream = connect(case)?;
    write!(stream, "{line} HTTP/1.1\r\nHost: docker\r\n{headers}\r\n")?;
    Ok(stream)
}

fn ask(stream: &mut UnixStream, line: &str) -> Result<Answer> {
    write!(
        stream,
        "{line} HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n"
    )?;
    read_answer(&mut BufReader::new(stream.try_clone()?), false)
}

/// Makes a container whose stdin is open, runs `script` in it, and attaches before the start.
fn with_input(case: &Case, name: &str, script: &str) -> Result<UnixStream> {
    let stream = before_the_start(case, name, script, Input::Once)?;
    case.ok(&["start", name])?;
    Ok(stream)
}

/// What a client's end is for a container's stdin.
#[derive(PartialEq)]
enum Input {
    /// Its end (`StdinOnce`).
    Once,
    /// Nothing.
    Kept,
}

/// Makes a container that is to run `script`, and attaches to it.
fn before_the_start(case: &Case, name: &str, script: &str, input: Input) -> Result<UnixStream> {
    let settings = json!({
        "Image": "busybox", "Cmd": ["sh", "-c", script],
        "OpenStdin": true, "StdinOnce": input == Input::Once, "AttachStdin": true,
    });
    let target = format!("/containers/create?name={name}");
    case.expect("POST", &target, Some(&settings), 201)?;
    let line = format!("POST /v1.41/containers/{name}/attach?stream=1&stdin=1&stdout=1");
    open(case, &line, ATTACH)
}

fn is(case: &Case, name: &str, status: &str) -> Result<bool> {
    Ok(case.ok(&["inspect", "-f", "{{.State.Status}}", name])? == status)
}

/// `StdinOnce`: the end of the client, however it comes, is the end of the container's stdin; that of the daemon is not.
pub(crate) fn input_ends_with_its_client_and_not_with_the_daemon(case: &mut Case) -> Result<()> {
    let mut stream = with_input(case, "silent", "cat > /got; exit 4")?;
    stream.write_all(b"said before\n")?;
    drop(stream);
    until(|| is(case, "silent", "exited"))?;
    case.prints(&["inspect", "-f", "{{.State.ExitCode}}", "silent"], "4")?;
    // Killed while it is being written to, with something left unread.
    let chatter = "while echo x; do :; done & cat > /got; exit 5";
    let mut stream = with_input(case, "chatter", chatter)?;
    stream.read_exact(&mut [0; 1000])?;
    drop(stream);
    until(|| is(case, "chatter", "exited"))?;
    if case.engine.kind.is_dockerd() {
        return Ok(()); // Its containers live on with live-restore only.
    }
    let _stream = with_input(case, "kept", "read line; echo \"got $line\"; cat; exit 6")?;
    case.engine.kill_9()?;
    case.engine.launch()?;
    ensure!(is(case, "kept", "running")?, "its input has ended");
    let line = "POST /v1.41/containers/kept/attach?stream=1&stdin=1&stdout=1";
    let mut stream = open(case, line, ATTACH)?;
    stream.write_all(b"hello\n")?;
    let mut said = [0; 18];
    stream.read_exact(&mut said)?;
    ensure!(said.ends_with(b"got hello\n"), "{said:?}");
    stream.shutdown(std::net::Shutdown::Write)?;
    until(|| is(case, "kept", "exited"))?;
    case.prints(&["inspect", "-f", "{{.State.ExitCode}}", "kept"], "6")
}

/// A client may have said all, and be gone, before the container is started.
pub(crate) fn input_before_the_start_is_kept(case: &mut Case) -> Result<()> {
    let ends = |name: &str, code: &str| {
        case.ok(&["start", name])?;
        until(|| is(case, name, "exited"))?;
        case.prints(&["inspect", "-f", "{{.State.ExitCode}}", name], code)
    };
    // More than is read at once, and it is answered while it comes.
    let said = "0123456789abcde\n".repeat(6000);
    let mut stream = before_the_start(case, "all", "cat; exit 4", Input::Once)?;
    stream.write_all(said.as_bytes())?;
    drop(stream);
    ends("all", "4")?;
    case.prints(&["logs", "all"], said.trim_end())?;
    let mut stream = before_the_start(case, "line", "read x; echo got $x; exit 5", Input::Kept)?;
    stream.write_all(b"early\n")?;
    drop(stream);
    ends("line", "5")?;
    case.prints(&["logs", "line"], "got early")?;
    // Nothing was said: that is the end of it, for one run.
    let before = descriptors(case)?;
    let script = "if [ -e /w ]; then read x; echo again $x; exit 7; fi; touch /w; cat; exit 6";
    let stream = before_the_start(case, "none", script, Input::Once)?;
    drop(stream);
    if !case.engine.kind.is_dockerd() {
        until(|| Ok(descriptors(case)? <= before + 1))?;
    }
    ends("none", "6")?;
    let line = "POST /v1.41/containers/none/attach?stream=1&stdin=1&stdout=1";
    let mut stream = open(case, line, ATTACH)?;
    case.ok(&["start", "none"])?;
    stream.write_all(b"hello\n")?;
    until(|| is(case, "none", "exited"))?;
    case.prints(&["logs", "none"], "again hello")
}

/// Who was there already gets the answer, and nobody else comes in.
pub(crate) fn a_daemon_that_stops_takes_no_requests(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("only Wharf has this");
    }
    let folder = case.engine.world.path().to_owned();
    let volume = format!("{}:/w", folder.display());
    let script = "trap 'while [ ! -e /w/go ]; do sleep 0.05; done; exit 3' TERM; touch /w/ready; while :; do sleep 0.05; done";
    case.ok(&[
        "run",
        "-d",
        "--stop-timeout",
        "100",
        "-v",
        &volume,
        "--name",
        "slow",
        "busybox",
        "sh",
        "-c",
        script,
    ])?;
    until(|| Ok(folder.join("ready").exists()))?;
    let wait = open(
        case,
        "POST /v1.41/containers/slow/wait",
        "Content-Length: 0\r\n",
    )?;
    let mut events = open(case, "GET /v1.41/events", "")?;
    let mut idle = connect(case)?;
    ensure!(ask(&mut idle, "GET /_ping")?.status == 200);
    case.engine.signal("TERM")?;
    until(|| Ok(UnixStream::connect(case.engine.socket()).is_err()))?;
    // One that was open is closed.
    ensure!(idle.read(&mut [0; 1])? == 0, "it is still open");
    ensure!(folder.join("engine.pid").exists(), "it does not wait");
    std::fs::write(folder.join("go"), "")?;
    let mut answer = String::new();
    BufReader::new(wait).read_to_string(&mut answer)?;
    ensure!(answer.contains("\"StatusCode\":3"), "{answer}");
    let mut told = String::new();
    events.read_to_string(&mut told)?;
    // Events end as a stream does that has been told to its end.
    ensure!(
        told.contains("\"die\"") && told.ends_with("0\r\n\r\n"),
        "{told}"
    );
    case.engine.insist_on_stop()?;
    case.engine.launch()?;
    case.prints(&["inspect", "-f", "{{.State.ExitCode}}", "slow"], "3")
}

/// A port in clear is on loopback, where a browser is, too.
pub(crate) fn requests_of_foreign_pages_are_refused(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("only Wharf has this");
    }
    let options = EngineOptions {
        args: ["-H", "tcp://127.0.0.1:2375"].map(str::to_owned).to_vec(),
        ..EngineOptions::default()
    };
    let engine = Engine::start(case.engine.kind, options)?;
    for (headers, status) in [
        ("Host: localhost:2375", "200"),
        (
            "Host: 127.0.0.1:2375\\r\\nOrigin: http://localhost:8080",
            "200",
        ),
        ("Host: evil.example:2375", "403"),
        ("Host: wpad:2375", "403"),
        (
            "Host: localhost:2375\\r\\nOrigin: http://evil.example",
            "403",
        ),
    ] {
        let get = format!(
            "exec 3<>/dev/tcp/127.0.0.1/2375; printf 'GET /info HTTP/1.1\\r\\n{headers}\\r\\nConnection: close\\r\\n\\r\\n' >&3; cat <&3"
        );
        let output = engine.world.command("bash").args(["-c", &get]).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            text.starts_with(&format!("HTTP/1.1 {status}")),
            "{headers}: {text}"
        );
    }
    Ok(())
}
