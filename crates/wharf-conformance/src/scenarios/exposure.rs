//! What others can do to the daemon or through it: those of the host that are not root, containers, images, and who
//! speaks HTTP/2 to it in bad faith.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use wharf_testkit::EngineKind;

use crate::Case;
use crate::case::skip;

/// How long an attacked daemon may take to say no: a limit for a broken one, nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(30);

fn mode(path: &Path) -> Result<u32> {
    let found = std::fs::metadata(path).with_context(|| format!("look at {path:?}"))?;
    Ok(found.permissions().mode() & 0o7777)
}

/// CVE-2021-41091: who is not root gets to no set-user-id program of an image, and to no container's log.
pub(crate) fn folders_are_closed_to_others(case: &mut Case) -> Result<()> {
    case.ok(&["volume", "create", "v1"])?;
    case.ok(&["create", "-v", "v1:/data", "busybox", "true"])?;
    let data = case.engine.data_root();
    ensure!(mode(&data)? == 0o710, "{data:?}: {:o}", mode(&data)?);
    let containers = mode(&data.join("containers"))?;
    ensure!(containers & 0o007 == 0, "containers: {containers:o}");
    ensure!(mode(&data.join("volumes"))? & 0o006 == 0);
    let socket = mode(&case.engine.socket())?;
    ensure!(socket == 0o660, "the socket: {socket:o}");
    Ok(())
}

/// CVE-2025-9074 and CVE-2020-15257: a container finds neither the API nor metrics nor a shim, in its own network or the
/// host's.
pub(crate) fn containers_find_no_api(case: &mut Case) -> Result<()> {
    let config = json!({"metrics-addr": "127.0.0.1:9323", "experimental": true});
    let case = Case::with(case.engine.kind, case.client, Some(config.to_string()))?;
    case.ok(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"])?;
    let pid = case.engine.pid()?;
    let table = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/net/{name}"));
    let abstract_names = table("unix")?;
    let mut abstract_names = abstract_names
        .lines()
        .filter_map(|line| line.split_whitespace().nth(7));
    let found = abstract_names.find(|name| name.starts_with('@'));
    ensure!(found.is_none(), "an abstract socket: {found:?}");
    // 0A: it listens.
    let listeners = [table("tcp")?, table("tcp6")?].concat();
    let listeners: Vec<&str> = listeners
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.get(3) == Some(&"0A"))
        .filter_map(|fields| fields.get(1).copied())
        .collect();
    ensure!(listeners == ["0100007F:246B"], "listeners: {listeners:?}");
    let gateway = "$(ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p')";
    for address in ["127.0.0.1", gateway] {
        let line = format!("wget -q -T 3 -O - http://{address}:9323/metrics");
        let asked = case.run(&["exec", "c1", "sh", "-c", &line])?;
        ensure!(asked.code != 0 && asked.stdout.is_empty(), "{asked:?}");
    }
    Ok(())
}

/// Busybox by another name, its configuration changed.
fn changed_image(case: &Case, name: &str, change: impl Fn(&mut Value)) -> Result<()> {
    let saved = case.engine.api("GET", "/images/busybox/get", None)?;
    ensure!(saved.status == 200, "{}", saved.text());
    let mut members = Vec::new();
    for entry in tar::Archive::new(&saved.body[..]).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        members.push((path, bytes));
    }
    let member = |path: &str| -> Result<Value> {
        let found = members.iter().find(|(name, _)| name == path);
        let (_, bytes) = found.with_context(|| format!("{path} of the archive"))?;
        Ok(serde_json::from_slice(bytes)?)
    };
    let mut manifest = member("manifest.json")?;
    let mut config = member(manifest[0]["Config"].as_str().unwrap_or_default())?;
    change(&mut config["config"]);
    manifest[0]["Config"] = json!("changed.json");
    manifest[0]["RepoTags"] = json!([name]);
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, bytes)
    };
    let others = ["manifest.json", "index.json", "oci-layout", "repositories"];
    for (path, bytes) in &members {
        if !bytes.is_empty() && !others.contains(&path.as_str()) {
            add(path, bytes)?;
        }
    }
    add("changed.json", &serde_json::to_vec(&config)?)?;
    add("manifest.json", &serde_json::to_vec(&manifest)?)?;
    let archive = case.engine.world.path().join("changed.tar");
    std::fs::write(&archive, tar.into_inner()?)?;
    let archive = archive.display().to_string();
    case.engine.docker_ok(&["load", "-q", "-i", &archive])?;
    Ok(())
}

/// CVE-2026-57231: a variable without a value, or a pattern, means nothing of the daemon's own environment.
pub(crate) fn variables_of_images_are_texts(case: &mut Case) -> Result<()> {
    let environment = std::fs::read(format!("/proc/{}/environ", case.engine.pid()?))?;
    let environment = String::from_utf8_lossy(&environment).into_owned();
    let common = ["PATH", "HOME", "HOSTNAME", "TERM"];
    let names = environment
        .split('\0')
        .filter_map(|one| one.split('=').next());
    let names: Vec<&str> = names
        .filter(|name| !name.is_empty() && !common.contains(name))
        .collect();
    ensure!(!names.is_empty(), "the daemon has no variables");
    changed_image(case, "odd:latest", |config| {
        let mut all = vec!["PATH=/bin", "A=b", "*", "*=*"];
        all.extend(&names);
        config["Env"] = json!(all);
    })?;
    let seen = case.ok(&["run", "--rm", "odd", "env"])?;
    ensure!(seen.lines().any(|line| line == "A=b"), "{seen}");
    for name in &names {
        let leaked = |line: &str| line.split('=').next() == Some(*name);
        ensure!(!seen.lines().any(leaked), "{name}: {seen}");
    }
    Ok(())
}

/// CVE-2026-94603: what an image says of itself changes no setting of a container.
pub(crate) fn labels_of_images_steer_nothing(case: &mut Case) -> Result<()> {
    changed_image(case, "odd:latest", |config| {
        config["Labels"] = json!({
            "io.podman.annotations.privileged": "TRUE",
            "io.podman.annotations.init": "TRUE",
            "io.podman.annotations.seccomp": "unconfined",
            "io.podman.annotations.apparmor": "unconfined",
            "io.podman.annotations.label": "disable",
            "io.podman.annotations.volumes-from": "c1:z",
            "io.containers.capabilities": "sys_admin",
            "io.kubernetes.cri-o.userns-mode": "host",
            "run.oci.hooks.stdout": "/tmp/out",
            "run.oci.seccomp.plugins": "/tmp/plugin",
            "run.oci.handler": "krun",
            "org.systemd.property.ExecStartPre": "['/bin/touch']",
            "RUN": "sh -c true",
        });
        config["Annotations"] = json!({"run.oci.handler": "krun"});
    })?;
    let line = "grep -e Cap -e Seccomp -e NoNewPrivs /proc/self/status; cat /proc/1/comm";
    let status = |image| case.ok(&["run", "--rm", "--name", "c1", image, "sh", "-c", line]);
    let (plain, odd) = (status("busybox")?, status("odd")?);
    ensure!(plain == odd, "{plain}\n{odd}");
    let settings = |image: &str| -> Result<Value> {
        let new = json!({"Image": image, "Cmd": ["true"]});
        let id = case.expect("POST", "/containers/create", Some(&new), 201)?;
        let id = id["Id"].as_str().unwrap_or_default().to_owned();
        let one = case.expect("GET", &format!("/containers/{id}/json"), None, 200)?;
        Ok(json!([
            one["HostConfig"],
            one["AppArmorProfile"],
            one["Mounts"]
        ]))
    };
    let (plain, odd) = (settings("busybox")?, settings("odd")?);
    ensure!(plain == odd, "{plain}\n{odd}");
    Ok(())
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `POST http /grpc`-like pseudo-headers (RFC 7541, static table 3, 6 and 4 with a value).
fn request() -> Vec<u8> {
    let mut block = vec![0x83, 0x86, 0x44, 5];
    block.extend(b"/some");
    block.extend([0x41, 1, b'x']);
    block
}

/// Says `frames` again and again until the daemon hangs up; it must do so before it has taken `most` bytes.
fn until_hung_up(
    case: &Case,
    first: &[u8],
    frames: impl Fn(u32) -> Vec<u8>,
    most: usize,
) -> Result<()> {
    let mut stream = UnixStream::connect(case.engine.socket())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    said.extend(frame(SETTINGS, 0, 0, &[]));
    said.extend(first);
    stream.write_all(&said)?;
    let mut reader = stream.try_clone()?;
    let heard = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let mut taken = 0;
    for round in 0.. {
        let next = frames(round);
        taken += next.len();
        match stream.write_all(&next).map_err(|error| error.kind()) {
            Ok(()) => {}
            Err(ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("it neither listens nor hangs up after {taken} bytes")
            }
            Err(_) => break,
        }
        ensure!(taken < most, "it still listens after {taken} bytes");
    }
    // It may be gone already.
    let _ = stream.shutdown(std::net::Shutdown::Both);
    match heard.join() {
        Ok(_) => Ok(()),
        Err(_) => bail!("the reader panicked"),
    }
}

fn resident(case: &Case) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", case.engine.pid()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.context("VmRSS")
}

/// CVE-2023-44487, CVE-2024-27316 and their like: who abuses HTTP/2 loses the connection, and nobody else anything.
pub(crate) fn abuse_of_http2_ends_with_its_connection(case: &mut Case) -> Result<()> {
    if case.engine.kind != EngineKind::Wharf {
        return Ok(()); // The older ones speak no HTTP/2 on the socket.
    }
    let before = resident(case)?;
    let odd = |round: u32| 2 * round + 1;
    let reset = |round: u32| {
        let mut frames = frame(HEADERS, END_HEADERS | END_STREAM, odd(round), &request());
        frames.extend(frame(RST_STREAM, 0, odd(round), &8_u32.to_be_bytes()));
        frames
    };
    until_hung_up(case, &[], reset, 32 << 20).context("rapid reset")?;
    let endless = frame(HEADERS, END_STREAM, 1, &request());
    // Literal, not to be indexed: `a: xxx…`.
    let mut header = vec![0, 1, b'a', 0x7f, 0x81, 0x7f];
    header.resize(16 << 10, b'x');
    let continued = |_| frame(CONTINUATION, 0, 1, &header);
    until_hung_up(case, &endless, continued, 32 << 20).context("endless headers")?;
    // To be indexed, and then meant four thousand times: 4 KB that become 16 MB.
    let bomb = |round: u32| {
        let mut block = request();
        block.extend([0x40, 1, b'a', 0x7f, 0xa1, 0x1e]);
        block.extend([b'x'; 4000]);
        block.extend([0xbe; 4000]);
        frame(HEADERS, END_HEADERS | END_STREAM, odd(round), &block)
    };
    until_hung_up(case, &[], bomb, 64 << 20).context("a bomb of headers")?;
    let after = resident(case)?;
    ensure!(after < before + (64 << 10), "{before} KiB, then {after}");
    case.expect("GET", "/containers/json", None, 200)?;
    Ok(())
}

/// CVE-2018-15664 from the other side: who may write where a bind's source lies swaps it, and `cp` goes where the mount
/// of the running container leads.
pub(crate) fn cp_goes_where_a_bind_leads(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It looks the source up again");
    }
    let own = |name: &str| case.engine.world.path().join(name);
    for folder in ["shared/x", "secret"] {
        std::fs::create_dir_all(own(folder))?;
    }
    std::fs::write(own("shared/x/mine"), "ours")?;
    std::fs::write(own("secret/mine"), "theirs")?;
    let bind = |name: &str, to: &str| format!("{}:{to}", own(name).display());
    for (name, bind) in [
        ("c1", bind("shared", "/srv")),
        ("c2", bind("shared/x", "/data")),
    ] {
        let words = ["run", "-d", "--name", name, "-v", &bind];
        case.ok(&[&words[..], &["busybox", "sleep", "1000"]].concat())?;
    }
    let before = case.ok(&["cp", "c2:/data/mine", "-"])?;
    ensure!(before.contains("ours"), "{before}");
    let swap = format!(
        "mv /srv/x /srv/y && ln -s {} /srv/x",
        own("secret").display()
    );
    case.ok(&["exec", "c1", "sh", "-c", &swap])?;
    let got = case.ok(&["cp", "c2:/data/mine", "-"])?;
    ensure!(got.contains("ours") && !got.contains("theirs"), "{got}");
    let new = own("new").display().to_string();
    std::fs::write(&new, "new")?;
    case.ok(&["cp", &new, "c2:/data/new"])?;
    ensure!(own("shared/y/new").exists() && !own("secret/new").exists());
    Ok(())
}
