//! `manifest`: lists that the client puts together; the registry is the only other party.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use wharf_testkit::{Registry, RegistryKind};

use crate::Case;
use crate::case::Run;

const PORT: u16 = 5000;

fn name(rest: &str) -> String {
    format!("127.0.0.1:{PORT}/{rest}")
}

fn skopeo(case: &Case, format: &str, to: &str) -> Result<()> {
    let archive = wharf_testkit::fixtures::folder()?.join("busybox.tar");
    let home = case.engine.world.path().join("home");
    std::fs::create_dir_all(&home)?;
    let output = case
        .engine
        .world
        .command("skopeo")
        .args(["copy", "-q", "--dest-tls-verify=false", "-f", format])
        .arg(format!("docker-archive:{}", archive.display()))
        .arg(format!("docker://{to}"))
        .env("HOME", home)
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "skopeo: {stderr}");
    Ok(())
}

/// The client in the case's world, where the registry is, with a folder of its own.
fn manifest(case: &Case, config: &Path, words: &[&str]) -> Result<Run> {
    let client = case.command(&[]);
    let mut command = case.engine.world.command(client.get_program());
    let output = command
        .arg("manifest")
        .args(words)
        .env("DOCKER_CONFIG", config)
        .output()?;
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.strip_suffix('\n').unwrap_or(&text).to_owned()
    };
    Ok(Run {
        code: output.status.code().unwrap_or(-1),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    })
}

fn ok(case: &Case, config: &Path, words: &[&str]) -> Result<String> {
    let run = manifest(case, config, words)?;
    ensure!(run.code == 0, "{words:?}: {}", run.stderr);
    Ok(run.stdout)
}

fn fails(case: &Case, config: &Path, words: &[&str], text: &str) -> Result<()> {
    let run = manifest(case, config, words)?;
    ensure!(
        run.code == 1 && run.stderr == text,
        "{words:?}: {} {:?}, not {text:?}",
        run.code,
        run.stderr
    );
    Ok(())
}

/// A registry with an image in it, by Docker's type and by OCI's.
fn serve(case: &Case, kind: RegistryKind) -> Result<Registry> {
    let storage = case.engine.world.path().join("registry");
    std::fs::create_dir_all(&storage)?;
    let world = &case.engine.world;
    let registry = Registry::serve_kind(world, kind, &storage, PORT, "")?;
    skopeo(case, "v2s2", &name("a/box:docker"))?;
    skopeo(case, "oci", &name("a/box:oci"))?;
    Ok(registry)
}

const LIST: &str = r#"{
   "schemaVersion": 2,
   "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
   "manifests": [
      {
         "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
         "size": 427,
         "digest": "DIGEST",
         "platform": {
            "architecture": "amd64",
            "os": "linux"
         }
      },
      {
         "mediaType": "application/vnd.oci.image.manifest.v1+json",
         "size": 405,
         "digest": "OTHER",
         "platform": {
            "architecture": "arm64",
            "os": "linux",
            "os.version": "1.2",
            "os.features": [
               "a",
               "b"
            ],
            "variant": "v8"
         }
      }
   ]
}"#;

pub(crate) fn a_list_is_made_and_pushed(case: &mut Case) -> Result<()> {
    let _registry = serve(case, RegistryKind::Docker)?;
    let folder = tempfile::tempdir()?;
    let config = folder.path();
    let (docker, oci) = (name("a/box:docker"), name("a/box:oci"));
    let list = name("b/list:1");
    let run = |words: &[&str]| ok(case, config, words);
    let said = run(&["create", "--insecure", &list, &docker, &oci])?;
    ensure!(said == format!("Created manifest list {list}"), "{said}");
    run(&[
        "annotate",
        "--arch",
        "arm64",
        "--os",
        "linux",
        "--variant",
        "v8",
        "--os-version",
        "1.2",
        "--os-features",
        "a,b",
        &list,
        &oci,
    ])?;
    let verbose: Value = serde_json::from_str(&run(&["inspect", "-v", &list])?)?;
    let digest = |at: usize| {
        verbose[at]["Descriptor"]["digest"]
            .as_str()
            .map(str::to_owned)
    };
    let first = digest(0).context("no digest")?;
    let second = digest(1).context("no digest")?;
    ensure!(
        verbose[0]["Ref"] == docker && verbose[1]["OCIManifest"]["layers"].is_array(),
        "{verbose}"
    );
    let wanted = LIST.replace("DIGEST", &first).replace("OTHER", &second);
    let shown = run(&["inspect", &list])?;
    ensure!(shown == wanted, "{shown}");
    let pushed = run(&["push", "--purge", &list])?;
    let lines: Vec<_> = pushed.lines().collect();
    let target = name("b/list");
    ensure!(
        lines.len() == 3
            && lines[0] == format!("Pushed ref {target}@{first} with digest: {first}")
            && lines[1] == format!("Pushed ref {target}@{second} with digest: {second}")
            && lines[2].starts_with("sha256:"),
        "{pushed}"
    );
    ensure!(!config.join("manifests/127.0.0.1-5000_b_list-1").exists());
    // What the registry has now is what was shown, to the byte.
    let there = run(&["inspect", "--insecure", &list])?;
    ensure!(there == wanted, "{there}");
    let again = run(&["inspect", "--insecure", "-v", &list])?;
    let again: Value = serde_json::from_str(&again)?;
    ensure!(again[0]["Ref"] == format!("{list}@{first}"), "{again}");
    // The daemon takes the one for this machine.
    case.ok(&["pull", &list])?;
    case.prints(&["run", "--rm", &list, "echo", "hi"], "hi")
}

pub(crate) fn either_client_reads_the_others_lists(case: &mut Case) -> Result<()> {
    let _registry = serve(case, RegistryKind::Wharf)?;
    let folder = tempfile::tempdir()?;
    let (docker, list) = (name("a/box:docker"), name("a/box:both"));
    ok(
        case,
        folder.path(),
        &["create", "--insecure", &list, &docker],
    )?;
    for client in [crate::Client::Docker, crate::Client::Wharf] {
        let other = case.client;
        case.client = client;
        let shown = ok(case, folder.path(), &["inspect", "-v", &list])?;
        ensure!(shown.contains(&docker), "{client:?}: {shown}");
        let one = ok(case, folder.path(), &["inspect", &list, &docker])?;
        ensure!(one.starts_with("{\n\t\"schemaVersion\": 2,"), "{one}");
        // In its own repository there is nothing to take over.
        let pushed = ok(case, folder.path(), &["push", &list])?;
        ensure!(pushed.starts_with("sha256:"), "{client:?}: {pushed}");
        case.client = other;
    }
    Ok(())
}

pub(crate) fn what_makes_no_list_is_refused(case: &mut Case) -> Result<()> {
    let _registry = serve(case, RegistryKind::Docker)?;
    let folder = tempfile::tempdir()?;
    let config = folder.path();
    let (docker, list, nope) = (name("a/box:docker"), name("b/list:1"), name("a/box:nope"));
    let fails = |words: &[&str], text: &str| fails(case, config, words, text);
    // Without TLS, and without a word that it may be so.
    fails(
        &["create", &list, &docker],
        &format!("no such manifest: {docker}"),
    )?;
    ok(case, config, &["create", "--insecure", &list, &docker])?;
    fails(
        &["create", "--insecure", &list, &docker],
        "refusing to amend an existing manifest list with no --amend flag",
    )?;
    fails(
        &["create", "--insecure", "--amend", &list, &nope],
        &format!("no such manifest: {nope}"),
    )?;
    fails(
        &["create", "x/UPPER", &docker],
        "error parsing name for manifest list x/UPPER: invalid reference format: repository name (x/UPPER) must be lowercase",
    )?;
    fails(
        &["annotate", "--arch", "foo", &list, &docker],
        "manifest entry for image has unsupported os/arch combination: /foo",
    )?;
    fails(
        &["annotate", "--arch", "arm64", &list, &nope],
        &format!("manifest for image {nope} does not exist in {list}"),
    )?;
    fails(
        &["inspect", "--insecure", &list, &nope],
        &format!("No such manifest: {nope}"),
    )?;
    fails(
        &["inspect", "--insecure", &nope],
        &format!("no such manifest: {nope}"),
    )?;
    fails(&["push", &nope], &format!("No such manifest: {nope}"))?;
    fails(
        &["rm", &nope, &name("x/y:1")],
        &format!(
            "No such manifest: {nope}\nNo such manifest: {}",
            name("x/y:1")
        ),
    )?;
    fails(
        &["inspect", "--insecure", "127.0.0.1:5999/x:1"],
        "failed to configure transport: error pinging v2 registry: Get \"https://127.0.0.1:5999/v2/\": dial tcp 127.0.0.1:5999: connect: connection refused",
    )?;
    ok(
        case,
        config,
        &["create", "--insecure", "elsewhere", &docker],
    )?;
    fails(
        &["push", "elsewhere"],
        "cannot use source images from a different registry than the target image: 127.0.0.1:5000 != docker.io",
    )?;
    ok(case, config, &["rm", &list]).map(drop)
}
