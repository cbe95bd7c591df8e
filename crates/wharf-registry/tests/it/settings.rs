//! What the settings change: addresses, headers, the page of numbers, who is told what.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Server, send};

/// An address that nobody has.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[test]
fn one_process_a_folder() {
    let server = Server::new();
    // What the one has on its way is not the other's to clear.
    let way = server.path().join(".wharf/tmp/on its way");
    std::fs::write(&way, b"x").unwrap();
    let config = wharf_registry::Config::simple(Some("127.0.0.1:0"), Some(server.path())).unwrap();
    let second = server
        .runtime
        .block_on(wharf_registry::Registry::start(config));
    let error = second.err().unwrap().to_string();
    assert!(error.contains("in use by another registry"), "{error}");
    assert!(wharf_registry::check(server.path()).is_err());
    assert!(way.exists());
}

#[test]
fn whole_addresses_if_wanted() {
    let host = |more: &str| {
        let server = Server::listening(more, "");
        let headers = [
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "outside"),
        ];
        let answer = server
            .send("POST", "/v2/a/blobs/uploads/", &headers, b"")
            .expect(202);
        answer.header("location").to_owned()
    };
    assert!(host("relativeurls: true").starts_with("/v2/a/blobs/uploads/"));
    assert!(host("relativeurls: false").starts_with("https://outside/v2/a/"));
    assert!(host("host: 'https://name:1/'").starts_with("https://name:1/v2/a/"));
}

#[test]
fn numbers_and_health() {
    let debug = free();
    let server = Server::listening(
        &format!(
            "headers: {{X-Mine: [yes]}}, debug: {{addr: '{debug}', prometheus: {{enabled: true}}}}"
        ),
        "",
    );
    assert_eq!(server.get("/v2/").header("x-mine"), "yes");
    let page = send(debug, "GET", "/metrics", &[], b"").expect(200).text();
    assert!(
        page.contains(r#"registry_http_requests_total{method="get",handler="base",code="200"} 1"#),
        "{page}"
    );
    send(debug, "GET", "/debug/health", &[], b"").expect(200);
    send(debug, "POST", "/debug/collect", &[], b"").expect(200);
    server.get("/metrics").expect(404);
}

/// Takes in what is posted; the first answer is a failure.
fn receiver() -> (SocketAddr, mpsc::Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for (index, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut bytes = Vec::new();
            let mut buffer = [0; 4096];
            let (head, body) = loop {
                let count = stream.read(&mut buffer).unwrap();
                bytes.extend_from_slice(&buffer[..count]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n")
                    && let Ok(json) = serde_json::from_str::<Value>(body)
                {
                    break (head.to_owned(), json);
                }
            };
            let status = if index == 0 { "500 No" } else { "200 OK" };
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            if index > 0 && sender.send((head, body)).is_err() {
                return;
            }
        }
    });
    (addr, receiver)
}

#[test]
fn webhooks_tell_in_order_and_try_again() {
    let (addr, events) = receiver();
    let server = Server::with(&format!(
        "notifications:\n endpoints:\n - {{name: test, url: 'http://{addr}/hook', headers: {{Authorization: [Bearer x]}}, timeout: 5s, ignore: {{mediatypes: [application/octet-stream]}}}}"
    ));
    let image = server.push_image("a/b", "one", b"layer");
    server.get("/v2/a/b/manifests/one").expect(200);
    server
        .send("DELETE", "/v2/a/b/manifests/one", &[], b"")
        .expect(202);
    let next = || events.recv_timeout(Duration::from_secs(20)).unwrap();
    let (head, event) = next();
    let head = head.to_lowercase();
    assert!(
        head.starts_with("post /hook http/1.1") && head.contains("authorization: bearer x"),
        "{head}"
    );
    assert!(
        head.contains("content-type: application/vnd.docker.distribution.events.v1+json"),
        "{head}"
    );
    let event = &event["events"][0];
    assert_eq!(
        (event["action"].as_str(), event["target"]["tag"].as_str()),
        (Some("push"), Some("one"))
    );
    assert_eq!(event["target"]["digest"], json!(image.digest));
    assert_eq!(event["target"]["repository"], "a/b");
    assert!(
        event["target"]["url"]
            .as_str()
            .unwrap()
            .ends_with(&format!("/v2/a/b/manifests/{}", image.digest))
    );
    assert_eq!(
        (event["request"]["method"].as_str(), event["actor"].clone()),
        (Some("PUT"), json!({}))
    );
    assert_eq!(next().1["events"][0]["action"], "pull");
    let event = next().1["events"][0].clone();
    assert_eq!(
        (event["action"].as_str(), event["target"].clone()),
        (Some("delete"), json!({"repository": "a/b", "tag": "one"}))
    );
}
