//! Attaching: several clients, by an upgraded connection and by a WebSocket, and leaving.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use anyhow::{Result, ensure};
use wharf_testkit::api::read_head;

use super::containers::until;
use crate::Case;

/// A connection that has stopped being HTTP.
fn open(case: &Case, method: &str, target: &str, headers: &str) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(case.engine.socket())?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30)))?;
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\n{headers}\r\n"
    )?;
    let head = read_head(&mut stream)?;
    ensure!(head.starts_with("HTTP/1.1 101"), "{head}");
    Ok(stream)
}

fn attach(case: &Case, target: &str) -> Result<UnixStream> {
    open(
        case,
        "POST",
        target,
        "Upgrade: tcp\r\nContent-Length: 0\r\n",
    )
}

/// A masked binary message of fewer than 126 bytes.
fn message(text: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut bytes = vec![0x82, 0x80 | u8::try_from(text.len()).unwrap_or(0)];
    bytes.extend(mask);
    bytes.extend(
        text.iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

/// The texts of messages, until `text` is whole.
fn receive(stream: &mut UnixStream, text: &str) -> Result<()> {
    let mut said = String::new();
    while said.len() < text.len() {
        let mut head = [0; 2];
        stream.read_exact(&mut head)?;
        ensure!(head[0] == 0x82 && head[1] < 126, "{head:?} after {said:?}");
        let mut bytes = vec![0; head[1].into()];
        stream.read_exact(&mut bytes)?;
        said.push_str(&String::from_utf8_lossy(&bytes));
    }
    ensure!(said == text, "{said:?}");
    Ok(())
}

pub(crate) fn by_a_websocket(case: &mut Case) -> Result<()> {
    case.ok(&[
        "run",
        "-d",
        "-i",
        "--name",
        "c1",
        "busybox",
        "sh",
        "-c",
        "while read line; do echo \"got $line\"; done; echo end >&2",
    ])?;
    let headers = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://docker\r\n";
    let target = "/v1.41/containers/c1/attach/ws?stream=1&stdin=1&stdout=1&stderr=1";
    let mut stream = open(case, "GET", target, headers)?;
    stream.write_all(&message(b"one\ntwo\n"))?;
    receive(&mut stream, "got one\ngot two\n")?;
    let missing = case.api("GET", "/v1.41/containers/nope/attach/ws?stream=1", None)?;
    ensure!(missing.status >= 400, "{}", missing.status);
    Ok(())
}

pub(crate) fn by_several_clients(case: &mut Case) -> Result<()> {
    case.ok(&["run", "-d", "-i", "-t", "--name", "c1", "busybox", "cat"])?;
    let target =
        "/v1.41/containers/c1/attach?stream=1&stdin=1&stdout=1&stderr=1&detachKeys=ctrl-a,x";
    let mut first = attach(case, target)?;
    let mut second = attach(case, "/v1.41/containers/c1/attach?stream=1&stdout=1")?;
    first.write_all(b"hello\n")?;
    for client in [&mut first, &mut second] {
        let mut said = [0; 14];
        client.read_exact(&mut said)?;
        // The terminal's echo, and what cat says.
        ensure!(
            &said == b"hello\r\nhello\r\n",
            "{:?}",
            String::from_utf8_lossy(&said)
        );
    }
    first.write_all(b"\x01x")?;
    let mut rest = Vec::new();
    first.read_to_end(&mut rest)?;
    case.prints(&["inspect", "-f", "{{.State.Status}}", "c1"], "running")?;
    let left = [
        "events",
        "--since",
        "1",
        "--until",
        "0s",
        "--filter",
        "event=detach",
        "--format",
        "{{.Action}}",
    ];
    until(|| Ok(case.ok(&left)? == "detach"))?;
    let wrong = "/v1.41/containers/c1/attach?stream=1&stdout=1&detachKeys=ctrl-";
    let wrong = case.api("POST", wrong, None)?;
    ensure!(wrong.status == 400, "{}: {}", wrong.status, wrong.text());
    Ok(())
}
