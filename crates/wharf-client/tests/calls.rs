//! Calls against a socket that answers by hand.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap")]

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use wharf_client::{Client, Endpoint, Error, Method, Url};

/// A client, and the listener at its other end.
fn pair() -> (tempfile::TempDir, Client, UnixListener) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    (dir, Client::new(Endpoint::Unix(path)), listener)
}

async fn read_head(stream: &mut UnixStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn one_connection_serves_calls_in_a_row() {
    let (_dir, client, listener) = pair();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for number in 0..2 {
            let head = read_head(&mut stream).await;
            assert!(head.starts_with("GET /v1.51/info HTTP/1.1\r\n"), "{head}");
            let body = format!("{{\"n\":{number}}}");
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    assert_eq!(
        client.get::<Value>(Url::new(["info"])).await.unwrap(),
        json!({"n": 0})
    );
    assert_eq!(
        client.get::<Value>(Url::new(["info"])).await.unwrap(),
        json!({"n": 1})
    );
    server.await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn a_refusal_carries_the_daemons_words() {
    let (_dir, client, listener) = pair();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        let body = "{\"message\":\"No such container: x\"}";
        let answer = format!(
            "HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let error = client
        .get::<Value>(Url::new(["containers", "x", "json"]))
        .await
        .unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(
        error.to_string(),
        "Error response from daemon: No such container: x"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn documents_of_a_stream_may_be_cut_anywhere() {
    let (_dir, client, listener) = pair();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await
            .unwrap();
        for piece in ["{\"a\"", ":1}{\"a\":2}\r\n{", "\"a\":3}\n"] {
            stream
                .write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes())
                .await
                .unwrap();
            stream.flush().await.unwrap();
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    });
    let mut stream = client
        .stream(Method::GET, Url::new(["events"]), None::<&()>)
        .await
        .unwrap();
    let mut seen = Vec::new();
    while let Some(document) = stream.next::<Value>().await.unwrap() {
        seen.push(document["a"].as_i64().unwrap());
    }
    assert_eq!(seen, [1, 2, 3]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_hijacked_stream_can_be_closed_by_half() {
    let (_dir, client, listener) = pair();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.to_lowercase().contains("upgrade: tcp"));
        // The first bytes come in the same packet as the head.
        stream
            .write_all(
                b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nfirst ",
            )
            .await
            .unwrap();
        let mut input = Vec::new();
        stream.read_to_end(&mut input).await.unwrap();
        stream.write_all(&input).await.unwrap();
    });
    let mut stream = client
        .hijack(Url::new(["containers", "x", "attach"]), None::<&()>)
        .await
        .unwrap();
    stream.write_all(b"second").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut output = String::new();
    stream.read_to_string(&mut output).await.unwrap();
    assert_eq!(output, "first second");
}

#[tokio::test(flavor = "current_thread")]
async fn nobody_listens() {
    let client = Client::new("unix:///nowhere/s".parse().unwrap());
    let error = client.connect().await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }));
    assert!(
        error
            .to_string()
            .starts_with("Cannot connect to the Wharf daemon at unix:///nowhere/s.")
    );
}

/// Answers one request, and gives its first line.
async fn answer(stream: &mut UnixStream, status: &str, body: &str) -> String {
    let head = read_head(stream).await;
    let length = body.len();
    let text = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await.unwrap();
    head.lines().next().unwrap_or_default().to_owned()
}

const TOO_NEW: &str =
    r#"{"message":"client version 1.51 is too new. Maximum supported API version is 1.41"}"#;

#[tokio::test(flavor = "current_thread")]
async fn an_older_daemon_is_asked_again_in_its_version() {
    let (_dir, client, listener) = pair();
    let server = tokio::spawn(async move {
        let mut asked = Vec::new();
        let (mut stream, _) = listener.accept().await.unwrap();
        asked.push(answer(&mut stream, "400", TOO_NEW).await);
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            asked.push(answer(&mut stream, "200", "{}").await);
        }
        asked
    });
    for _ in 0..2 {
        client.get::<Value>(Url::new(["info"])).await.unwrap();
    }
    let asked = server.await.unwrap();
    let (old, new) = ("GET /v1.41/info HTTP/1.1", "GET /v1.51/info HTTP/1.1");
    assert_eq!(asked, [new, old, old]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_version_that_was_asked_for_is_kept() {
    let (_dir, client, listener) = pair();
    let client = client.with_version("1.99");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = answer(&mut stream, "400", TOO_NEW).await;
        assert_eq!(head, "GET /v1.99/info HTTP/1.1");
    });
    let error = client.get::<Value>(Url::new(["info"])).await.unwrap_err();
    assert!(error.to_string().contains("is too new"), "{error}");
}
