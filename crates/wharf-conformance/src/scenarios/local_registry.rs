//! The daemon's own images as a registry, and images that go to another machine by way of it. Ours alone.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use wharf_testkit::{Engine, EngineOptions, Registry, fixtures};

use crate::Case;
use crate::case::skip;

/// `serve-local` on a port of the case's world; it ends with the value.
struct Serving(Child);

impl Serving {
    fn start(case: &Case, addr: &str) -> Result<Serving> {
        let mut child = case
            .engine
            .wharf(["registry", "serve-local", "--addr", addr])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line.trim_end().ends_with(addr), "{line}");
        Ok(Serving(child))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn curl(case: &Case, words: &str) -> Result<String> {
    case.engine
        .world
        .sh(&format!("curl -sS --max-time 30 {words}"))
}

pub(crate) fn the_daemons_images_are_served(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("only Wharf has this");
    }
    let storage = fixtures::folder()?.join("registry");
    let _origin = Registry::serve(&case.engine.world, &storage, 5000)?;
    let pulled = "127.0.0.1:5000/library/debian:bookworm";
    case.ok(&["pull", "-q", pulled])?;
    let digest = case.ok(&["inspect", "-f", "{{index .RepoDigests 0}}", pulled])?;
    let digest = digest.split('@').nth(1).context("no digest")?;
    let serving = Serving::start(case, "127.0.0.1:5055")?;
    let base = "http://127.0.0.1:5055/v2";
    // What was pulled has its digest; what was loaded has a manifest that all its blobs are here for.
    let heads = curl(
        case,
        &format!("-I {base}/127.0.0.1_5000/library/debian/manifests/bookworm"),
    )?;
    ensure!(heads.contains(digest), "{heads}");
    let list = curl(case, &format!("{base}/_catalog"))?;
    let list: Value = serde_json::from_str(&list)?;
    ensure!(
        list["repositories"] == serde_json::json!(["127.0.0.1_5000/library/debian", "busybox"]),
        "{list}"
    );
    // A page of somebody's that has pointed its name here (DNS rebinding).
    for (header, status) in [
        ("Host: evil.test", "403"),
        ("Origin: http://evil.test", "403"),
        ("Host: localhost:5055", "200"),
    ] {
        let words = format!("-o /dev/null -w '%{{http_code}}' -H '{header}' {base}/_catalog");
        let found = curl(case, &words)?;
        ensure!(found == status, "{header}: {found}");
    }
    // Docker Hub's, though it looks like another registry's.
    case.ok(&["tag", "busybox", "docker.io/a.b/c:1"])?;
    for (repository, status) in [("docker.io/a.b/c", "200"), ("a.b/c", "404")] {
        let words = format!("-o /dev/null -w '%{{http_code}}' {base}/{repository}/manifests/1");
        let found = curl(case, &words)?;
        ensure!(found == status, "{repository}: {found}");
    }
    let list = curl(case, &format!("{base}/_catalog"))?;
    ensure!(list.contains(r#""docker.io/a.b/c""#), "{list}");
    case.ok(&["rmi", "docker.io/a.b/c:1"])?;
    let tags = curl(case, &format!("{base}/library/busybox/tags/list"))?;
    ensure!(tags.contains(r#""tags":["latest"]"#), "{tags}");
    let manifest: Value =
        serde_json::from_str(&curl(case, &format!("{base}/busybox/manifests/latest"))?)?;
    let layer = manifest["layers"][0]["digest"]
        .as_str()
        .context("no layer")?;
    let part = curl(
        case,
        &format!(
            "-r 0-9 -o /dev/null -w '%{{http_code}} %{{size_download}}' {base}/busybox/blobs/{layer}"
        ),
    )?;
    ensure!(part == "206 10", "{part}");
    let beyond = curl(
        case,
        &format!("-r 99999999999- -o /dev/null -w '%{{http_code}}' {base}/busybox/blobs/{layer}"),
    )?;
    ensure!(beyond == "416", "{beyond}");
    let sum = curl(case, &format!("{base}/busybox/blobs/{layer} | sha256sum"))?;
    ensure!(sum.trim_end() == format!("{}  -", &layer[7..]), "{sum}");
    for refused in [
        "-X POST .../blobs/uploads/",
        "-X PUT .../manifests/x",
        "-X DELETE .../manifests/latest",
    ] {
        let words = refused.replace("...", &format!("{base}/busybox"));
        let status = curl(case, &format!("-o /dev/null -w '%{{http_code}}' {words}"))?;
        ensure!(status == "405", "{refused}: {status}");
    }
    let missing = curl(case, &format!("{base}/busybox/manifests/nope"))?;
    ensure!(missing.contains("MANIFEST_UNKNOWN"), "{missing}");
    // Another program takes an image from it.
    let to = case.engine.world.path().join("copy").display().to_string();
    case.engine.world.sh(&format!(
        "HOME=/tmp skopeo copy -q --src-tls-verify=false docker://127.0.0.1:5055/busybox:latest oci:{to}:x"
    ))?;
    // It ends with the command.
    drop(serving);
    case.engine.world.sh(
        "for i in $(seq 300); do curl -s -o /dev/null http://127.0.0.1:5055/v2/ || exit 0; sleep 0.1; done; exit 1",
    )?;
    Ok(())
}

/// Stands for ssh between two worlds: -R makes a port in the other one's network that leads to one in ours.
const SSH: &str = r#"#!/usr/bin/env python3
import ctypes, os, socket, subprocess, sys, threading
words = sys.argv[1:]
forward = words[words.index("-R") + 1].split(":")
assert words[-3:] == [os.environ["OTHER_NAME"], "sh", "-s"], words
libc = ctypes.CDLL(None, use_errno=True)

def enter(pid):
    with open(f"/proc/{pid}/ns/net") as file:
        if libc.setns(file.fileno(), 0):
            raise OSError(ctypes.get_errno(), "setns")

enter(os.environ["OTHER_PID"])
server = socket.create_server((forward[0], int(forward[1])))

def pump(one, other):
    try:
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass

def accept():
    enter(os.environ["OWN_PID"])
    while True:
        client, _ = server.accept()
        target = socket.create_connection((forward[2], int(forward[3])))
        for pair in ((client, target), (target, client)):
            threading.Thread(target=pump, args=pair, daemon=True).start()

threading.Thread(target=accept, daemon=True).start()
environment = dict(os.environ, DOCKER_HOST=os.environ["OTHER_HOST"])
sys.exit(subprocess.run(["sh", "-s"], env=environment).returncode)
"#;

fn send(case: &Case, other: &Engine, images: &[&str]) -> Result<String> {
    let ssh = case.engine.world.path().join("ssh");
    std::fs::write(&ssh, SSH)?;
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755))?;
    let output = case
        .engine
        .wharf(["image", "send", "--ssh"])
        .arg(&ssh)
        .arg("somebody@other")
        .args(images)
        .env("OTHER_NAME", "somebody@other")
        .env("OTHER_PID", other.pid()?.to_string())
        .env("OTHER_HOST", format!("unix://{}", other.socket().display()))
        .env("OWN_PID", case.engine.pid()?.to_string())
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "send {images:?}: {stderr}");
    Ok(String::from_utf8(output.stdout)?)
}

pub(crate) fn images_are_sent_to_another_machine(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("only Wharf has this");
    }
    let other = Engine::start(case.engine.kind, EngineOptions::default())?;
    let id = case.ok(&["images", "-q", "--no-trunc", "busybox"])?;
    let said = send(case, &other, &["busybox"])?;
    ensure!(said.contains(": Pull complete"), "{said}");
    ensure!(said.ends_with("Sent busybox:latest\n"), "{said}");
    let there = other.docker_ok(&[
        "images",
        "--no-trunc",
        "--format",
        "{{.Repository}}:{{.Tag}} {{.ID}}",
    ])?;
    ensure!(there == format!("busybox:latest {id}"), "{there}");
    let ran = other.docker_ok(&["run", "--rm", "busybox", "echo", "sent"])?;
    ensure!(ran == "sent", "{ran}");
    // On top of it: only what is new goes.
    let folder = tempfile::tempdir()?;
    std::fs::write(
        folder.path().join("Dockerfile"),
        "FROM busybox\nRUN echo more > /more\n",
    )?;
    let path = folder.path().display().to_string();
    case.ok(&["build", "-q", "-t", "reg.test:5000/made:2", &path])?;
    let said = send(case, &other, &["reg.test:5000/made:2"])?;
    let count = |words: &str| said.lines().filter(|line| line.ends_with(words)).count();
    ensure!(
        count(": Already exists") == 1 && count(": Pull complete") == 1,
        "{said}"
    );
    let ran = other.docker_ok(&["run", "--rm", "reg.test:5000/made:2", "cat", "/more"])?;
    ensure!(ran == "more", "{ran}");
    let unknown = case
        .engine
        .wharf(["image", "send", "host", "nope"])
        .output()?;
    let stderr = String::from_utf8_lossy(&unknown.stderr);
    ensure!(
        unknown.status.code() == Some(1) && stderr.contains("No such image: nope:latest"),
        "{stderr}"
    );
    Ok(())
}
