//! A daemon that replays answers in dockerd's shape and notes what it is asked.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses its part of it"
)]
#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

/// A daemon in a directory of its own.
pub struct Fake {
    pub dir: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
    bodies: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    pub fn start(answer: fn(&str) -> Option<(u16, &'static str)>) -> Fake {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = asked.clone();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let sent = bodies.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (notes, sent) = (notes.clone(), sent.clone());
                std::thread::spawn(move || serve(stream, &notes, &sent, answer));
            }
        });
        Fake { dir, asked, bodies }
    }

    /// Runs `wharf` with these words.
    pub fn wharf(&self, words: &[&str], input: &str) -> Output {
        self.run(Command::new(env!("CARGO_BIN_EXE_wharf")).args(words), input)
    }

    /// Where it listens.
    pub fn host(&self) -> String {
        format!("unix://{}/s", self.dir.path().display())
    }

    /// Writes `config.json`.
    pub fn configure(&self, config: serde_json::Value) {
        let path = self.dir.path().join("config.json");
        std::fs::write(path, config.to_string()).unwrap();
    }

    /// Runs `wharf`, and Docker's own client if it is here: both must say and ask the same, but for their names.
    pub fn both(&self, words: &[&str], input: &str) -> Output {
        let said = |output: &Output| {
            let (out, err) = texts(output);
            // That there is no buildx here.
            let err = match err.split_once("https://docs.docker.com/go/buildx/\n\n") {
                Some((_, rest)) => rest.to_owned(),
                None => err,
            };
            let err = err.replace("docker", "wharf").replace("Docker", "Wharf");
            (out, err, output.status.code())
        };
        let forget = || self.asked.lock().unwrap().clear();
        forget();
        if is_docker_28() {
            let docker = self.run(Command::new("docker").args(words), input);
            let asked = sorted(&self.asked());
            forget();
            let wharf = self.wharf(words, input);
            assert_eq!(said(&wharf), said(&docker), "{words:?}");
            assert_eq!(sorted(&self.asked()), asked, "{words:?}");
            return wharf;
        }
        self.wharf(words, input)
    }

    /// Runs a client of this daemon.
    pub fn run(&self, command: &mut Command, input: &str) -> Output {
        let mut child = command
            .env("WHARF_HOST", self.host())
            .env("DOCKER_HOST", self.host())
            .env("DOCKER_CONFIG", self.dir.path())
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that reads no input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// The last body that was sent, as JSON.
    pub fn sent(&self) -> serde_json::Value {
        let bodies = self.bodies.lock().unwrap();
        let last = bodies.iter().rev().find(|body| !body.is_empty());
        serde_json::from_str(last.unwrap()).unwrap()
    }

    /// What was asked for, without the version and without pings.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(
    stream: UnixStream,
    notes: &Mutex<Vec<String>>,
    bodies: &Mutex<Vec<String>>,
    answer: fn(&str) -> Option<(u16, &'static str)>,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or_default() == 0 {
            return;
        }
        let request = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            if header.trim().is_empty() {
                break;
            }
            if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let request = unversioned(&request);
        let is_head = request.starts_with("HEAD ");
        if request.ends_with(" /_ping") {
            let ping = "HTTP/1.1 200 OK\r\nApi-Version: 1.50\r\nOstype: linux\r\nContent-Length: 2\r\n\r\n";
            writer.write_all(ping.as_bytes()).unwrap();
            if !is_head {
                writer.write_all(b"OK").unwrap();
            }
            continue;
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        bodies.lock().unwrap().push(body);
        notes.lock().unwrap().push(request.clone());
        if request.contains("/attach") {
            return attach(reader, writer, request.contains("stdout=1"));
        }
        let (status, text) =
            answer(&request).unwrap_or((404, r#"{"message":"No such container: nope"}"#));
        let head = format!(
            "HTTP/1.1 {status} X\r\nApi-Version: 1.50\r\nContent-Type: application/json\r\n"
        );
        let length = if status == 204 {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", text.len())
        };
        writer
            .write_all(format!("{head}{length}\r\n{text}").as_bytes())
            .unwrap();
    }
}

/// Requests with the parameters of their queries in an order, spelt alike, and without empty ones.
fn sorted(asked: &[String]) -> Vec<String> {
    let one = |request: &String| {
        let (path, query) = request.split_once('?').unwrap_or((request, ""));
        let query = query.replace("%3A", ":").replace("%2C", ",");
        let mut parameters: Vec<&str> = query.split('&').collect();
        parameters.retain(|parameter| !parameter.is_empty() && !parameter.ends_with('='));
        parameters.sort_unstable();
        format!("{path}?{}", parameters.join("&"))
    };
    asked.iter().map(one).collect()
}

/// `GET /v1.51/info` is `GET /info`.
fn unversioned(request: &str) -> String {
    let (method, uri) = request.split_once(' ').unwrap();
    let uri = match uri.strip_prefix("/v1.").and_then(|rest| rest.find('/')) {
        Some(at) => &uri["/v1.".len() + at..],
        None => uri,
    };
    format!("{method} {uri}")
}

/// Whether Docker's client is here in the version that the texts were taken from.
fn is_docker_28() -> bool {
    let version = Command::new("docker").arg("--version").output();
    version.is_ok_and(|said| said.stdout.starts_with(b"Docker version 28.2."))
}

// Echoes standard input as standard output until its end, then says a word on standard error.
fn attach(mut reader: BufReader<UnixStream>, mut writer: UnixStream, is_shown: bool) {
    writer
        .write_all(b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        .unwrap();
    let mut input = Vec::new();
    reader.read_to_end(&mut input).unwrap();
    if !is_shown {
        // As a container that goes on: the connection stays open for as long as the test runs.
        std::mem::forget(writer);
        return;
    }
    let frame = |kind: u8, bytes: &[u8]| {
        let mut frame = vec![kind, 0, 0, 0];
        frame.extend((bytes.len() as u32).to_be_bytes());
        frame.extend(bytes);
        frame
    };
    let mut all = frame(1, &input);
    all.extend(frame(2, b"err\n"));
    // In pieces that respect no frame.
    for piece in all.chunks(3) {
        writer.write_all(piece).unwrap();
    }
}

/// Standard output and standard error.
pub fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}
