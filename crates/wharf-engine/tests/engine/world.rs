//! An engine in namespaces of its own, with one busybox image.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use wharf_engine::*;
use wharf_images::ProgressSender;

const INSIDE: &str = "WHARF_ENGINE_TEST_INSIDE";

/// Runs `test` in fresh mount and network namespaces: this program executes itself there again, for this test only.
pub(crate) fn isolated<F: Future<Output = ()>>(name: &str, test: impl FnOnce(World) -> F) {
    isolated_with(512, name, test);
}

/// As [`isolated`], with so many threads for what blocks.
pub(crate) fn isolated_with<F: Future<Output = ()>>(
    blocking_threads: usize,
    name: &str,
    test: impl FnOnce(World) -> F,
) {
    if std::env::var_os(INSIDE).is_none() {
        let status = Command::new("unshare")
            .args(["--mount", "--net", "--"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, "1")
            .status()
            .unwrap();
        assert!(status.success(), "{name}: see above");
        return;
    }
    let world = World::new();
    let cleanup = (world.root.path().to_owned(), world.cgroup.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(blocking_threads)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test(world));
    drop(runtime);
    clean(&cleanup.0, &cleanup.1);
}

/// What a failed engine would leave: its control groups.
fn clean(_root: &Path, cgroup: &str) {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    let below = hierarchies.map(|entry| entry.path().join(cgroup.trim_start_matches('/')));
    for folder in below.chain([Path::new("/sys/fs/cgroup").join(cgroup.trim_start_matches('/'))]) {
        let left = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let left: Vec<_> = left
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.path())
            .collect();
        assert!(left.is_empty(), "control groups are left: {left:?}");
        let _ = std::fs::remove_dir(folder);
    }
}

/// Where an engine's data is; engines may be opened on it one after the other.
pub(crate) struct World {
    pub(crate) root: tempfile::TempDir,
    cgroup: String,
}

impl World {
    fn new() -> Self {
        let root = tempfile::Builder::new()
            .prefix("wharf-engine-")
            .tempdir()
            .unwrap();
        let cgroup = format!("/wharf-engine-test-{}", std::process::id());
        Self { root, cgroup }
    }

    pub(crate) fn config(&self) -> EngineConfig {
        EngineConfig {
            data_root: self.root.path().join("data"),
            exec_root: self.root.path().join("exec"),
            shim: shim(),
            cgroup_driver: wharf_engine::CgroupDriver::Cgroupfs,
            cgroup_parent: self.cgroup.clone(),
            ..EngineConfig::default()
        }
    }

    /// Opens an engine, with the image `busybox` in it.
    pub(crate) async fn open(&self) -> Arc<Engine> {
        let engine = loop {
            match Engine::open(self.config()).await {
                // One that was killed here: its threads end when they can, and its locks with them.
                Err(EngineError::Locked { .. }) => tokio::task::yield_now().await,
                opened => break opened.unwrap(),
            }
        };
        if engine.images.store().resolve("busybox").is_err() {
            let archive = std::io::Cursor::new(archive());
            engine
                .images
                .load(archive, &[], ProgressSender::discard())
                .await
                .unwrap();
        }
        engine
    }
}

/// The shim, beside this test's program; built if it is not there.
fn shim() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap();
    let shim = folder.join("wharf-shim");
    if !shim.exists() {
        let status = Command::new(env!("CARGO"))
            .args(["build", "-p", "wharf-shim"])
            .status();
        assert!(status.unwrap().success());
    }
    shim
}

/// A `docker save` archive of an image that is a static busybox, with a folder `/data` and a volume on it.
fn archive() -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    for folder in ["bin", "etc", "tmp", "data", "proc", "dev", "sys"] {
        entry(
            &mut layer,
            folder,
            tar::EntryType::Directory,
            0o755,
            b"",
            None,
        );
    }
    let busybox = std::fs::read("/usr/bin/busybox").unwrap();
    entry(
        &mut layer,
        "bin/busybox",
        tar::EntryType::Regular,
        0o755,
        &busybox,
        None,
    );
    for applet in [
        "sh", "cat", "echo", "true", "false", "sleep", "ls", "id", "env", "pwd", "touch", "stty",
        "mount", "ip", "hostname",
    ] {
        entry(
            &mut layer,
            &format!("bin/{applet}"),
            tar::EntryType::Symlink,
            0o777,
            b"",
            Some("busybox"),
        );
    }
    entry(
        &mut layer,
        "etc/passwd",
        tar::EntryType::Regular,
        0o644,
        b"root:x:0:0::/:/bin/sh\napp:x:7:8::/:/bin/sh\n",
        None,
    );
    entry(
        &mut layer,
        "etc/group",
        tar::EntryType::Regular,
        0o644,
        b"root:x:0:\napp:x:8:\n",
        None,
    );
    entry(
        &mut layer,
        "data/file",
        tar::EntryType::Regular,
        0o640,
        b"from the image\n",
        None,
    );
    let layer = layer.into_inner().unwrap();
    let diff_id = wharf_oci::Digest::sha256(&layer);
    let config = format!(
        r#"{{"architecture":"{}","os":"linux","config":{{"Cmd":["sh"],"Env":["PATH=/bin"],"Labels":{{"made":"here"}}}},"rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}},"history":[{{"created_by":"test"}}]}}"#,
        wharf_oci::Platform::host().architecture
    );
    let name = format!(
        "{}.json",
        wharf_oci::Digest::sha256(config.as_bytes()).hex()
    );
    let manifest = format!(
        r#"[{{"Config":"{name}","RepoTags":["busybox:latest"],"Layers":["l/layer.tar"]}}]"#
    );
    let mut archive = tar::Builder::new(Vec::new());
    entry(
        &mut archive,
        &name,
        tar::EntryType::Regular,
        0o644,
        config.as_bytes(),
        None,
    );
    entry(
        &mut archive,
        "l/layer.tar",
        tar::EntryType::Regular,
        0o644,
        &layer,
        None,
    );
    entry(
        &mut archive,
        "manifest.json",
        tar::EntryType::Regular,
        0o644,
        manifest.as_bytes(),
        None,
    );
    archive.into_inner().unwrap()
}

fn entry(
    tar: &mut tar::Builder<Vec<u8>>,
    name: &str,
    kind: tar::EntryType,
    mode: u32,
    content: &[u8],
    link: Option<&str>,
) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(content.len() as u64);
    match link {
        Some(link) => tar.append_link(&mut header, name, link).unwrap(),
        None => tar.append_data(&mut header, name, content).unwrap(),
    }
}

/// A container of busybox that runs `command`, without a network.
pub(crate) fn container(name: &str, command: &[&str]) -> NewContainer {
    let mut new = NewContainer {
        name: Some(name.to_owned()),
        ..NewContainer::default()
    };
    new.config.image = "busybox".to_owned();
    new.config.cmd = Some(command.iter().map(|word| (*word).to_owned()).collect());
    new.host.network_mode = NetworkMode::None;
    new
}

/// `docker run --rm` without a terminal: exit code, stdout, stderr.
pub(crate) async fn run(
    engine: &Engine,
    mut new: NewContainer,
    input: Option<&[u8]>,
) -> (i32, String, String) {
    new.host.auto_remove = true;
    new.config.open_stdin = input.is_some();
    new.config.stdin_once = input.is_some();
    let tty = new.config.tty;
    let containers = &engine.containers;
    let id = containers.create(new).await.unwrap().id;
    let options = AttachOptions {
        stdin: input.is_some(),
        stdout: true,
        stderr: true,
        stream: true,
        ..AttachOptions::default()
    };
    let attachment = containers.attach(&id, options).await.unwrap();
    let waiter = containers.wait(&id, WaitCondition::Removed).unwrap();
    let (mut client, server) = UnixStream::pair().unwrap();
    let serve = tokio::spawn(attachment.serve(server, std::future::pending()));
    containers.start(&id).await.unwrap();
    if let Some(input) = input {
        client.write_all(input).await.unwrap();
        client.shutdown().await.unwrap();
    }
    let mut output = Vec::new();
    client.read_to_end(&mut output).await.unwrap();
    serve.await.unwrap();
    let code = waiter.wait().await.code;
    let (stdout, stderr) = if tty {
        (output, Vec::new())
    } else {
        unframe(&output)
    };
    (
        code,
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

/// Docker's frames taken apart.
pub(crate) fn unframe(mut bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut stdout, mut stderr): (Vec<u8>, Vec<u8>) = Default::default();
    while let Some((head, rest)) = bytes.split_at_checked(8) {
        let length = u32::from_be_bytes(head[4..].try_into().unwrap()) as usize;
        let (content, rest) = rest.split_at(length);
        match head[0] {
            1 => stdout.extend_from_slice(content),
            2 => stderr.extend_from_slice(content),
            stream => panic!("stream {stream}"),
        }
        bytes = rest;
    }
    assert!(bytes.is_empty(), "a torn frame");
    (stdout, stderr)
}
