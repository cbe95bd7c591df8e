//! Clients and registries, each with each: what one puts, all others get, byte for byte.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use wharf_testkit::{Registry, RegistryKind, World, fixtures};

use super::push::digest;
use crate::Case;

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
fn tool(world: &World, words: &[&str]) -> Result<String> {
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

fn podman(world: &World, words: &[&str]) -> Result<String> {
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
