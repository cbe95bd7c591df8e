//! User namespaces: `userns-remap`.

use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::Case;
use crate::case::skip;

/// The first id of containers on the host.
const FIRST: u32 = 200_000;

/// A daemon that maps its containers' ids, in a world whose /etc is its own.
fn remapped(case: &mut Case) -> Result<()> {
    case.engine.stop()?;
    let folder = case.engine.world.path().to_owned();
    let here = folder.display();
    case.engine.world.sh(&format!(
        "chmod 755 {here} && cp -a /etc {here}/etc && mount --bind {here}/etc /etc &&
         echo 'remapped:x:4711:4711::/:/bin/false' >>/etc/passwd && echo 'remapped:x:4711:' >>/etc/group &&
         echo 'remapped:{FIRST}:65536' >>/etc/subuid && echo 'remapped:{FIRST}:65536' >>/etc/subgid"
    ))?;
    set(case, "remapped:remapped")?;
    // dockerd has another data root now.
    case.load_busybox()
}

/// Starts the daemon with this setting.
fn set(case: &mut Case, remap: &str) -> Result<()> {
    let config = json!({ "userns-remap": remap }).to_string();
    case.engine.configure(config);
    case.engine.launch()
}

/// What the first map of a process says, in a container with these arguments.
fn map(case: &Case, arguments: &[&str]) -> Result<String> {
    let run = [
        &["run", "--rm"],
        arguments,
        &["busybox", "cat", "/proc/self/uid_map"],
    ];
    let text = case.ok(&run.concat())?;
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

pub(crate) fn ids_are_mapped(case: &mut Case) -> Result<()> {
    remapped(case)?;
    let info = case.ok(&["info", "-f", "{{.SecurityOptions}}"])?;
    ensure!(info.contains("name=userns"), "{info}");
    let mapped = format!("0 {FIRST} 65536");
    ensure!(map(case, &[])? == mapped);
    ensure!(map(case, &["--network", "none"])? == mapped);
    ensure!(map(case, &["--userns", "host"])?.starts_with("0 0 "));
    for (arguments, words) in [
        (
            &["--privileged"][..],
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode",
        ),
        (
            &["--network", "host"],
            "cannot share the host's network namespace when user namespaces are enabled",
        ),
        (
            &["--pid", "host"],
            "cannot share the host PID namespace when user namespaces are enabled",
        ),
        (
            &["--user", "70000"],
            "cannot set uid to unmapped user in user namespace",
        ),
    ] {
        let refused = [&["run", "--rm"], arguments, &["busybox", "true"]].concat();
        case.fails(&refused, 125, words)?;
        if !arguments.contains(&"--user") {
            let host = [
                &["run", "--rm", "--userns", "host"],
                arguments,
                &["busybox", "true"],
            ];
            case.ok(&host.concat())?;
        }
    }
    // It is root, among its own: its files, its terminal, its streams.
    for (arguments, command, says) in [
        (
            &[][..],
            "stat -c %u:%g / /etc/passwd /etc/hosts /dev/shm | sort -u",
            "0:0",
        ),
        (
            &[],
            "echo '192.0.2.1 x' >>/etc/hosts && tail -n 1 /etc/hosts",
            "192.0.2.1 x",
        ),
        (&["-u", "1000"], "echo out >/dev/stdout", "out"),
        (
            &["-t"],
            "stat -c %u /dev/console && echo x >/dev/tty",
            "0\r\nx\r",
        ),
        (&["--tmpfs", "/t:uid=7"], "stat -c %u /t", "7"),
        (
            &["--cap-add", "NET_ADMIN"],
            "ip link set lo mtu 1400 && echo set",
            "set",
        ),
        (
            &["--sysctl", "net.ipv4.ip_default_ttl=9"],
            "cat /proc/sys/net/ipv4/ip_default_ttl",
            "9",
        ),
        // What is the host's is nobody's, and nothing that it may change.
        (
            &[],
            "stat -c %u /dev/null && mknod /x b 7 0 2>/dev/null || echo refused",
            "65534\nrefused",
        ),
    ] {
        let run = [
            &["run", "--rm"],
            arguments,
            &["busybox", "sh", "-c", command],
        ];
        let run = case.run(&run.concat())?;
        ensure!(run.stdout == says, "{command}: {run:?}");
    }
    Ok(())
}

pub(crate) fn what_is_shared_has_one_namespace(case: &mut Case) -> Result<()> {
    remapped(case)?;
    case.ok(&[
        "run",
        "-d",
        "--name",
        "c1",
        "--ipc",
        "shareable",
        "busybox",
        "sleep",
        "1000",
    ])?;
    let own = case.ok(&["exec", "c1", "readlink", "/proc/self/ns/user"])?;
    for shared in ["--network", "--pid", "--ipc"] {
        let run = [
            "run",
            "--rm",
            shared,
            "container:c1",
            "--cap-add",
            "NET_ADMIN",
            "busybox",
            "sh",
            "-c",
        ];
        let command = "ip link set lo mtu 1400 && readlink /proc/self/ns/user";
        case.prints(&[&run[..], &[command]].concat(), &own)?;
    }
    let other = case.ok(&["run", "--rm", "busybox", "readlink", "/proc/self/ns/user"])?;
    ensure!(other != own, "two containers are in {own}");
    // Nobody gets into the host's by way of a container that is in it.
    case.ok(&[
        "run", "-d", "--name", "h1", "--userns", "host", "busybox", "sleep", "1000",
    ])?;
    let run = case.run(&[
        "run",
        "--rm",
        "--network",
        "container:h1",
        "busybox",
        "true",
    ])?;
    ensure!(run.code == 125, "{run:?}");
    Ok(())
}

pub(crate) fn files_belong_to_whom_the_container_says(case: &mut Case) -> Result<()> {
    remapped(case)?;
    let folder = case.engine.world.path().join("bound");
    let at = folder.display();
    case.engine.world.sh(&format!(
        "mkdir {at} && chmod 777 {at} && echo secret >{at}/secret && chmod 600 {at}/secret"
    ))?;
    let bind = format!("{at}:/b");
    case.ok(&[
        "run", "-d", "--name", "c1", "-v", "v1:/v", "-v", &bind, "busybox", "sleep", "1000",
    ])?;
    let script = "touch /own /v/f /b/f && chown 1000:1001 /own /v/f /b/f";
    case.ok(&["exec", "c1", "sh", "-c", script])?;
    // The host's files stay the host's (the point of it all).
    case.fails(&["exec", "c1", "cat", "/b/secret"], 1, "Permission denied")?;
    let found = std::fs::metadata(folder.join("f")).context("the bound file")?;
    ensure!(
        (found.uid(), found.gid()) == (FIRST + 1000, FIRST + 1001),
        "{found:?}"
    );
    let owners = |case: &Case, places: &str| {
        let command = format!("stat -c %u:%g {places} | sort -u");
        case.ok(&["exec", "c1", "sh", "-c", &command])
    };
    ensure!(owners(case, "/own /v/f /b/f")? == "1000:1001");
    // dockerd reads a mapped container's files with the host's ids, though it writes them with the container's.
    let shift = if case.engine.kind.is_dockerd() {
        FIRST
    } else {
        0
    };
    // In and out, while it runs and while it does not.
    let source = case.engine.world.path().join("source");
    std::fs::write(&source, "copied")?;
    std::os::unix::fs::chown(&source, Some(7), Some(8))?;
    let source = source.display().to_string();
    for (number, running) in [(1, true), (2, false)] {
        if !running {
            case.ok(&["stop", "-t", "0", "c1"])?;
        }
        for place in ["", "/v", "/b"] {
            case.ok(&["cp", "-a", &source, &format!("c1:{place}/in{number}")])?;
            let out = case.engine.api(
                "GET",
                &format!("/containers/c1/archive?path={place}/in{number}"),
                None,
            )?;
            ensure!(
                owner_in(&out.body) == (shift + 7, shift + 8),
                "{place} {number}: {:?}",
                owner_in(&out.body)
            );
        }
        let own = case
            .engine
            .api("GET", "/containers/c1/archive?path=/own", None)?;
        ensure!(
            owner_in(&own.body) == (shift + 1000, shift + 1001),
            "{:?}",
            owner_in(&own.body)
        );
    }
    case.ok(&["start", "c1"])?;
    ensure!(owners(case, "/in1 /in2 /v/in1 /v/in2 /b/in1 /b/in2")? == "7:8");
    // An image of it, for those who are mapped and those who are not.
    case.ok(&["commit", "c1", "made"])?;
    case.prints(
        &["run", "--rm", "made", "stat", "-c", "%u:%g", "/own"],
        "1000:1001",
    )?;
    if case.engine.kind.is_dockerd() {
        return Ok(());
    }
    // dockerd has the host's ids on disk, and a store of their own for those that are mapped.
    case.prints(
        &[
            "run", "--rm", "--userns", "host", "made", "stat", "-c", "%u:%g", "/own",
        ],
        "1000:1001",
    )?;
    case.prints(
        &[
            "run", "--rm", "--userns", "host", "-v", "v1:/v", "busybox", "stat", "-c", "%u:%g",
            "/v/f",
        ],
        "1000:1001",
    )
}

/// Owner and group of the first member of an archive.
fn owner_in(archive: &[u8]) -> (u32, u32) {
    let number = |from: usize| {
        let field = archive.get(from..from + 8).unwrap_or_default();
        let text = String::from_utf8_lossy(field);
        u32::from_str_radix(text.trim_matches(|c: char| !c.is_ascii_digit()), 8).unwrap_or(u32::MAX)
    };
    (number(108), number(116))
}

/// The setting comes and goes, and the daemon too; the containers stay, with their files.
pub(crate) fn the_setting_changes(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It has a data root for each");
    }
    remapped(case)?;
    case.ok(&[
        "run", "-d", "--name", "c1", "-v", "v1:/v", "busybox", "sleep", "1000",
    ])?;
    case.ok(&[
        "exec",
        "c1",
        "sh",
        "-c",
        "touch /own /v/f; chown 5:6 /own /v/f",
    ])?;
    case.engine.kill_9()?;
    case.engine.launch()?;
    // It lives, and so does its namespace.
    let command = [
        "exec",
        "c1",
        "sh",
        "-c",
        "cat /proc/self/uid_map | tr -s ' '; stat -c %u:%g /own /v/f | sort -u",
    ];
    case.prints(&command, &format!(" 0 {FIRST} 65536\n5:6"))?;
    case.ok(&[
        "create",
        "--name",
        "strong",
        "--userns",
        "host",
        "--privileged",
        "busybox",
        "true",
    ])?;
    case.ok(&["stop", "-t", "0", "c1"])?;
    case.engine.stop()?;
    set(case, "")?;
    case.ok(&["start", "c1", "strong"])?;
    case.prints(
        &[
            "exec",
            "c1",
            "sh",
            "-c",
            "stat -c %u:%g /own /v/f | sort -u",
        ],
        "5:6",
    )?;
    case.ok(&[
        "create",
        "--name",
        "late",
        "--privileged",
        "busybox",
        "true",
    ])?;
    case.ok(&["stop", "-t", "0", "c1"])?;
    case.engine.stop()?;
    set(case, "remapped")?;
    case.fails(
        &["start", "late"],
        1,
        "privileged mode is incompatible with user namespaces",
    )?;
    case.ok(&["start", "c1"])?;
    case.prints(&command, &format!(" 0 {FIRST} 65536\n5:6"))
}
