//! Clients and registries, each with each: what one puts, all others get, byte for byte.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use wharf_testkit::liar::{Liar, LiarImage, Reply};
use wharf_testkit::{EngineKind, Registry, RegistryKind, World, fixtures};

use super::push::digest;
use crate::Case;
use crate::case::skip;

const KINDS: [(RegistryKind, u16); 2] = [(RegistryKind::Wharf, 5000), (RegistryKind::Docker, 5001)];

fn storage(world: &World, name: &str) -> Result<PathBuf> {
    let storage = world.path().join(name);
    std::fs::create_dir_all(&storage)?;
    Ok(storage)
}

fn serve(world: &World, kind: RegistryKind, port: u16) -> Result<Registry> {
    let storage = storage(world, &format!("registry-{port}"))?;
    Registry::serve_kind(world, kind, &storage, port, "")
}

/// A program other than the client, in the case's world; its stdout.
pub(super) fn tool(world: &World, words: &[&str]) -> Result<String> {
    let mut command = world.command(words[0]);
    let home = world.path().join("home");
    std::fs::create_dir_all(&home)?;
    let output = command.args(&words[1..]).env("HOME", &home).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{words:?}: {stderr}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn skopeo_digest(world: &World, image: &str) -> Result<String> {
    let image = format!("docker://{image}");
    let words = [
        "skopeo",
        "inspect",
        "--tls-verify=false",
        "--format",
        "{{.Digest}}",
        &image,
    ];
    tool(world, &words)
}

pub(super) fn podman(world: &World, words: &[&str]) -> Result<String> {
    let folder = world.path().join("podman");
    let (root, run) = (folder.join("root"), folder.join("run"));
    let (root, run) = (root.display().to_string(), run.display().to_string());
    let mut all = vec![
        "podman",
        "--root",
        &root,
        "--runroot",
        &run,
        "--storage-driver",
        "vfs",
    ];
    all.extend(["--events-backend", "none", "--cgroup-manager", "cgroupfs"]);
    all.extend(words);
    tool(world, &all)
}

/// Pulls an image that is not there yet; the digest that the client names.
fn pull(case: &Case, image: &str) -> Result<String> {
    let said = case.ok(&["pull", image])?;
    let line = said.lines().find_map(|line| line.strip_prefix("Digest: "));
    Ok(line.with_context(|| said.clone())?.to_owned())
}

pub(crate) fn every_client_with_every_registry(case: &mut Case) -> Result<()> {
    for (kind, port) in KINDS {
        let world = &case.engine.world;
        let _registry = serve(world, kind, port)?;
        let name = |repository: &str| format!("localhost:{port}/{repository}:one");
        let (first, second, third) = (name("a/box"), name("b/box"), name("c/box"));
        case.ok(&["tag", "busybox", &first])?;
        let said = case.ok(&["push", &first])?;
        let pushed = digest(&said).with_context(|| said.clone())?.to_owned();
        ensure!(
            skopeo_digest(world, &first)? == pushed,
            "{kind:?}: skopeo sees another digest"
        );
        let (from, to) = (format!("docker://{first}"), format!("docker://{second}"));
        let copy = [
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            "--preserve-digests",
        ];
        tool(
            world,
            &["skopeo", "copy", copy[0], copy[1], copy[2], &from, &to],
        )?;
        ensure!(
            skopeo_digest(world, &second)? == pushed,
            "{kind:?}: skopeo's copy is another"
        );
        case.ok(&["rmi", "-f", &first])?;
        ensure!(
            pull(case, &second)? == pushed,
            "{kind:?}: the copy is pulled as another"
        );
        podman(world, &["pull", "-q", "--tls-verify=false", &second])?;
        let seen = podman(
            world,
            &["image", "inspect", "--format", "{{.Digest}}", &second],
        )?;
        ensure!(
            seen == pushed,
            "{kind:?}: podman pulls {seen}, not {pushed}"
        );
        // podman compresses anew, so that this is another image; from here on all agree on it.
        let file = world.path().join("digest").display().to_string();
        podman(
            world,
            &[
                "push",
                "-q",
                "--tls-verify=false",
                "--digestfile",
                &file,
                &second,
                &third,
            ],
        )?;
        let pushed = std::fs::read_to_string(&file)?;
        ensure!(
            skopeo_digest(world, &third)? == pushed.trim(),
            "{kind:?}: skopeo sees another than podman pushed"
        );
        ensure!(
            pull(case, &third)? == pushed.trim(),
            "{kind:?}: another is pulled than podman pushed"
        );
        case.prints(&["run", "--rm", &third, "echo", "hi"], "hi")?;
        case.ok(&["rmi", "-f", &second, &third])?;
    }
    Ok(())
}

pub(crate) fn a_storage_folder_is_taken_over(case: &mut Case) -> Result<()> {
    let world = &case.engine.world;
    let folder = storage(world, "shared")?;
    let _docker = Registry::serve_kind(world, RegistryKind::Docker, &folder, 5001, "")?;
    case.ok(&["tag", "busybox", "localhost:5001/a/box:one"])?;
    let said = case.ok(&["push", "localhost:5001/a/box:one"])?;
    let _wharf = Registry::serve_kind(world, RegistryKind::Wharf, &folder, 5000, "")?;
    let there = Some(pull(case, "localhost:5000/a/box:one")?);
    ensure!(there.as_deref() == digest(&said), "{there:?}: {said}");
    // And back: what ours took in, the other one gives out.
    case.ok(&["tag", "busybox", "localhost:5000/b/box:two"])?;
    let said = case.ok(&["push", "localhost:5000/b/box:two"])?;
    let back = Some(pull(case, "localhost:5001/b/box:two")?);
    ensure!(back.as_deref() == digest(&said), "{back:?}: {said}");
    Ok(())
}

pub(crate) fn a_cache_of_another_registry(case: &mut Case) -> Result<()> {
    let world = &case.engine.world;
    let _origin = Registry::serve(world, &fixtures::folder()?.join("registry"), 5001)?;
    let cache = storage(world, "cache")?;
    let proxy = "proxy: {remoteurl: 'http://127.0.0.1:5001'}\n";
    let _cache = Registry::serve_kind(world, RegistryKind::Wharf, &cache, 5000, proxy)?;
    let image = "localhost:5000/library/busybox:latest";
    let pulled = pull(case, image)?;
    ensure!(
        pulled == skopeo_digest(world, "localhost:5001/library/busybox:latest")?,
        "{pulled}"
    );
    case.prints(&["run", "--rm", image, "echo", "hi"], "hi")?;
    // Without the other one, it is there still.
    world.sh("kill $(pidof docker-registry)")?;
    case.ok(&["rmi", "-f", image])?;
    ensure!(
        pull(case, image)? == pulled,
        "another image comes from the cache"
    );
    Ok(())
}

pub(crate) fn repositories_are_searched(case: &mut Case) -> Result<()> {
    let _registry = serve(&case.engine.world, RegistryKind::Wharf, 5000)?;
    for name in ["team/toolbox", "other"] {
        let image = format!("localhost:5000/{name}");
        case.ok(&["tag", "busybox", &image])?;
        case.ok(&["push", "-q", &image])?;
    }
    let found = case.ok(&["search", "--format", "{{.Name}}", "localhost:5000/box"])?;
    ensure!(
        found.lines().count() == 1 && found.ends_with("team/toolbox"),
        "{found}"
    );
    case.prints(
        &["search", "--format", "{{.Name}}", "localhost:5000/nothing"],
        "",
    )
}

/// The registry's name is known to the proxy alone.
pub(crate) fn by_way_of_a_proxy(case: &mut Case) -> Result<()> {
    // Of before the setting.
    if case.engine.kind == EngineKind::Dockerd {
        return Ok(());
    }
    let config = json!({
        "proxies": {
            "http-proxy": "http://me:secret@127.0.0.1:3128",
            "https-proxy": "http://me:secret@127.0.0.1:3128",
            "no-proxy": "elsewhere.test",
        },
        "insecure-registries": ["registry.test:5000"],
    });
    let case = Case::with(case.engine.kind, case.client, Some(config.to_string()))?;
    let image = LiarImage::new(&[b"by proxy"])?;
    let proxy = Liar::start_inside(case.engine.pid()?, 3128, move |request| {
        // No tunnel: the registry has no TLS.
        if request.method == "CONNECT" {
            return Reply::status(502, "");
        }
        let Some(path) = request.path.strip_prefix("http://registry.test:5000") else {
            return Reply::status(400, "");
        };
        if path == "/v2/" {
            return Reply::ok("");
        }
        image.answer(request)
    })?;
    pull(&case, "registry.test:5000/app:1")?;
    let seen = proxy.requests("registry.test");
    ensure!(seen.iter().any(|request| request.method == "CONNECT"));
    for request in seen {
        let shown = request.header("proxy-authorization");
        ensure!(shown == Some("Basic bWU6c2VjcmV0"), "{request:?}");
    }
    let info = case.expect("GET", "/info", None, 200)?;
    ensure!(
        info["HttpProxy"] == "http://xxxxx:xxxxx@127.0.0.1:3128"
            && info["NoProxy"] == "elsewhere.test",
        "{info}"
    );
    case.fails(
        &["pull", "elsewhere.test:5000/app:1"],
        1,
        "dial tcp: lookup elsewhere.test",
    )
}

/// Puts an artifact about the manifest `subject` into a repository; its digest and size. By Python in the world, as no client at hand does so.
const ARTIFACT: &str = r#"
import hashlib, http.client, json, sys
port, name, subject, size = sys.argv[1:]
connection = http.client.HTTPConnection("127.0.0.1", int(port))

def ask(method, path, body=b"", kind="application/octet-stream"):
    connection.request(method, path, body, {"Content-Type": kind})
    answer = connection.getresponse()
    answer.read()
    assert answer.status in (201, 202), (path, answer.status)
    return answer.headers

def blob(data, kind):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    place = ask("POST", f"/v2/{name}/blobs/uploads/")["Location"]
    ask("PUT", place + ("&" if "?" in place else "?") + "digest=" + digest, data)
    return {"mediaType": kind, "digest": digest, "size": len(data)}

manifest = json.dumps({
    "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": "application/x-signature",
    "config": blob(b"{}", "application/vnd.oci.empty.v1+json"), "layers": [blob(b"signed by me", "text/plain")],
    "subject": {"mediaType": "application/vnd.docker.distribution.manifest.v2+json", "digest": subject, "size": int(size)},
    "annotations": {"by": "me"},
}).encode()
digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
ask("PUT", f"/v2/{name}/manifests/{digest}", manifest, "application/vnd.oci.image.manifest.v1+json")
print(digest, len(manifest))
"#;

/// With a flag of ours; other clients leave such things where they are.
pub(crate) fn what_is_said_of_an_image_goes_along(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("only Wharf has this");
    }
    let world = &case.engine.world;
    let (ours, other) = (KINDS[0], KINDS[1]);
    let _ours = serve(world, ours.0, ours.1)?;
    let _other = serve(world, other.0, other.1)?;
    let first = "localhost:5000/a/box:one";
    case.ok(&["tag", "busybox", first])?;
    let said = case.ok(&["push", first])?;
    let line = said.lines().find(|line| line.contains(": digest: "));
    let words: Vec<_> = line.with_context(|| said.clone())?.split(' ').collect();
    let (subject, size) = (words[2], words[4]);
    let attach = |subject: &str, size: &str| -> Result<(String, String)> {
        let words = ["python3", "-c", ARTIFACT, "5000", "a/box", subject, size];
        let said = tool(world, &words)?;
        let (digest, size) = said.split_once(' ').context("no size")?;
        Ok((digest.to_owned(), size.to_owned()))
    };
    let (artifact, size) = attach(subject, size)?;
    // And one about that.
    let (second, _) = attach(&artifact, &size)?;
    case.ok(&["rmi", "-f", first])?;
    case.engine
        .wharf_ok(&["pull", "-q", "--referrers", first])?;
    for port in [5000, 5001] {
        let target = format!("localhost:{port}/b/box:two");
        case.ok(&["tag", first, &target])?;
        let pushed = case.engine.wharf_ok(&["push", "--referrers", &target])?;
        ensure!(digest(&pushed) == Some(subject), "another image: {pushed}");
        let base = format!("http://127.0.0.1:{port}/v2/b/box");
        let accept = "Accept: application/vnd.oci.image.index.v1+json";
        let list = |subject: &str| {
            let list = match port {
                5000 => format!("referrers/{subject}"),
                // Of before such lists: the tag that stands for one.
                _ => format!("manifests/{}", subject.replace(':', "-")),
            };
            tool(
                world,
                &["curl", "-sS", "-H", accept, &format!("{base}/{list}")],
            )
        };
        let listed = list(subject)?;
        for (listed, digest) in [(&listed, &artifact), (&list(&artifact)?, &second)] {
            let listed: serde_json::Value = serde_json::from_str(listed)?;
            let entry = &listed["manifests"][0];
            ensure!(
                entry["digest"] == digest.as_str()
                    && entry["artifactType"] == "application/x-signature"
                    && entry["annotations"] == json!({"by": "me"}),
                "{port}: {listed}"
            );
        }
        let blob = tool(
            world,
            &[
                "sh",
                "-c",
                "printf 'signed by me' | sha256sum | cut -d' ' -f1",
            ],
        )?;
        let signed = tool(
            world,
            &["curl", "-sS", &format!("{base}/blobs/sha256:{blob}")],
        )?;
        ensure!(signed == "signed by me", "{port}: {signed}");
        // Once more changes nothing.
        case.engine
            .wharf_ok(&["push", "-q", "--referrers", &target])?;
        let again = list(subject)?;
        ensure!(again == listed, "{port}: {again}");
    }
    case.engine.wharf_ok(&["system", "check"])?;
    Ok(())
}

/// The distribution specification's "Warnings": shown, and nothing else. dockerd does not.
pub(crate) fn what_a_registry_warns_of_is_shown(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("only Wharf has this");
    }
    let image = LiarImage::new(&[b"old"])?;
    let _liar = Liar::start_inside(case.engine.pid()?, 5000, move |request| {
        image
            .answer(request)
            .with("Warning", "299 - \"This image is deprecated.\"")
    })?;
    let said = case.ok(&["pull", "localhost:5000/old:1"])?;
    let warned = said.matches("WARNING: This image is deprecated.").count();
    ensure!(warned == 1, "{said}");
    case.prints(
        &["pull", "-q", "localhost:5000/old:1"],
        "localhost:5000/old:1",
    )
}

/// Charts, signatures, plugins and whatever else: registries keep them, and no daemon takes one for an image.
pub(crate) fn artifacts_are_kept_and_no_images(case: &mut Case) -> Result<()> {
    for (kind, port) in KINDS {
        let world = &case.engine.world;
        let _registry = serve(world, kind, port)?;
        let script = include_str!("registries/artifacts.py");
        tool(world, &["python3", "-c", script, &port.to_string()])?;
        for (name, words) in [
            (
                "chart",
                "unsupported media type application/vnd.cncf.helm.config.v1+json",
            ),
            (
                "thing",
                "unsupported media type application/vnd.oci.empty.v1+json",
            ),
            (
                "nothing",
                "unsupported media type application/vnd.oci.empty.v1+json",
            ),
            (
                "bare",
                "unsupported media type application/vnd.oci.empty.v1+json",
            ),
            (
                "signature",
                "unsupported media type application/vnd.dev.cosign.simplesigning.v1+json",
            ),
            (
                "wasm",
                "unsupported media type application/vnd.wasm.config.v0+json",
            ),
            (
                "plugin",
                "Encountered remote \"application/vnd.docker.plugin.v1+json\"(plugin) when fetching",
            ),
            (
                "other",
                "Encountered remote \"application/x-other\"(unknown) when fetching",
            ),
        ] {
            // Debian's older one has words for Docker's types alone.
            if case.engine.kind == EngineKind::Dockerd && !matches!(name, "plugin" | "other") {
                continue;
            }
            case.fails(&["pull", &format!("localhost:{port}/{name}:1")], 1, words)?;
        }
        let images = case.ok(&["images", "--format", "{{.Repository}}"])?;
        ensure!(images == "busybox", "{images}");
    }
    Ok(())
}
