//! `kill -9` of the registry at any point: what was acknowledged is there afterwards, and nothing is half.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use wharf_oci::Digest;
use wharf_registry::{Config, Registry};

use crate::client::{MANIFEST, manifest, try_send};

const ROOT: &str = "WHARF_TEST_REGISTRY_ROOT";

/// Not a test: the process that is killed. It collects garbage all the time.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn serves_until_it_is_killed() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let config = Config::simple(Some("127.0.0.1:0"), Some(Path::new(&root))).unwrap();
        let registry = Registry::start(config).await.unwrap();
        println!("serving {}", registry.addr());
        loop {
            registry
                .collect(Duration::from_millis(200), true)
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

struct Victim {
    child: Child,
    addr: SocketAddr,
}

impl Victim {
    fn start(root: &Path) -> Victim {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "kill::serves_until_it_is_killed",
                "--ignored",
                "--nocapture",
            ])
            .env(ROOT, root)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let addr = lines.find_map(|line| {
            line.unwrap()
                .split_once("serving ")
                .and_then(|(_, addr)| addr.parse().ok())
        });
        Victim {
            child,
            addr: addr.expect("the registry comes up"),
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// An image whose manifest was acknowledged.
struct Pushed {
    path: String,
    digest: Digest,
    manifest: Value,
}

/// Pushes one image in pieces; `None` as soon as the registry is gone. What comes back was acknowledged.
fn push(addr: SocketAddr, number: usize) -> Option<Option<Pushed>> {
    let name = format!("r{}", number % 3);
    let layer = vec![number as u8; 3000 + number];
    let config = format!("{{\"number\":{number}}}");
    for bytes in [layer.as_slice(), config.as_bytes(), b"shared by all"] {
        let digest = Digest::sha256(bytes);
        let path = format!("/v2/{name}/blobs/uploads/");
        let begun = try_send(addr, "POST", &path, &[], b"")?.expect(202);
        let location = begun.header("location");
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        try_send(addr, "PATCH", location, &[], first)?.expect(202);
        let end = format!("{location}?digest={digest}");
        try_send(addr, "PUT", &end, &[], rest)?.expect(201);
    }
    let manifest = manifest(config.as_bytes(), &[&layer, b"shared by all"]);
    let path = format!("/v2/{name}/manifests/t{}", number % 7);
    let bytes = manifest.to_string();
    let put = try_send(
        addr,
        "PUT",
        &path,
        &[("Content-Type", MANIFEST)],
        bytes.as_bytes(),
    )?;
    // With so short a grace, the collector may have been faster than we were.
    if put.status == 400 && put.text().contains("MANIFEST_BLOB_UNKNOWN") {
        return Some(None);
    }
    assert_eq!(put.status, 201, "{}", put.text());
    Some(Some(Pushed {
        path,
        digest: Digest::sha256(bytes.as_bytes()),
        manifest,
    }))
}

fn is_whole(addr: SocketAddr, pushed: &Pushed) {
    let name = pushed.path.split("/manifests/").next().unwrap();
    let answer = try_send(addr, "GET", &pushed.path, &[], b"").unwrap();
    assert_eq!(
        (answer.status, answer.header("docker-content-digest")),
        (200, pushed.digest.to_string().as_str()),
        "{}",
        pushed.path
    );
    let blobs = pushed.manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .chain([&pushed.manifest["config"]]);
    for blob in blobs {
        let digest = blob["digest"].as_str().unwrap();
        let answer = try_send(addr, "GET", &format!("{name}/blobs/{digest}"), &[], b"").unwrap();
        assert_eq!(
            (
                answer.status,
                Digest::sha256(&answer.body).to_string().as_str()
            ),
            (200, digest)
        );
    }
}

/// A few rounds; `WHARF_KILL_ROUNDS` for more.
#[test]
fn at_any_point() {
    let rounds: usize = std::env::var("WHARF_KILL_ROUNDS").map_or(8, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut number = 0;
    // What each tag meant when it was last acknowledged; the push that was cut off may or may not have moved its own.
    let mut acknowledged = std::collections::BTreeMap::<String, Pushed>::new();
    let mut cut = None;
    for round in 0..rounds {
        let victim = Victim::start(dir.path());
        if let Some(path) = cut.take() {
            acknowledged.remove(&path);
        }
        acknowledged
            .values()
            .for_each(|pushed| is_whole(victim.addr, pushed));
        // From the first bytes of a push to several pushes later; the first time, after one that was acknowledged.
        let life = Duration::from_micros(rand_below(1_000_000));
        let addr = victim.addr;
        let (pushed_one, first) = std::sync::mpsc::channel();
        let killer = std::thread::spawn(move || {
            if round == 0 {
                let _ = first.recv_timeout(Duration::from_secs(60));
            }
            std::thread::sleep(life);
            victim.kill();
        });
        let begun = Instant::now();
        while let Some(pushed) = push(addr, number) {
            if let Some(pushed) = pushed {
                acknowledged.insert(pushed.path.clone(), pushed);
                let _ = pushed_one.send(());
            }
            number += 1;
            assert!(
                begun.elapsed() < Duration::from_secs(100),
                "it does not die"
            );
        }
        cut = Some(format!("/v2/r{}/manifests/t{}", number % 3, number % 7));
        number += 1;
        killer.join().unwrap();
        let faults = wharf_registry::check(dir.path()).unwrap();
        assert!(faults.is_empty(), "round {round}: {faults:?}");
    }
    assert!(!acknowledged.is_empty());
}

fn rand_below(limit: u64) -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0) % limit
}
