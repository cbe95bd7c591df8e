//! A container's files: `cp`, `diff`, `export`, and what hostile containers and archives try with them.

use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use wharf_testkit::api::{self, Answer};

use crate::Case;

/// Makes files of all kinds in a container `name` that has ended.
const FILES: &str = "mkdir /d; echo hi >/d/f.txt; chown 5:6 /d/f.txt; ln /d/f.txt /d/g; ln -s /d /dl; \
    ln -s nowhere /broken; mkdir -p /x/y; ln -s ../../d/f.txt /x/up; rm /bin/vi; touch /etc/new; echo b >/vol/v";

fn made(case: &Case, name: &str) -> Result<()> {
    let args = ["run", "--name", name, "-v", "vol:/vol", "busybox"];
    case.ok(&[&args[..], &["sh", "-c", FILES]].concat())
        .map(drop)
}

/// The header with the stat, as JSON.
fn stat(answer: &Answer) -> Result<Value> {
    let header = answer.header("x-docker-container-path-stat");
    let text = header.context("there is no stat in the headers")?;
    Ok(serde_json::from_slice(&unbase64(text)?)?)
}

fn unbase64(text: &str) -> Result<Vec<u8>> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = DIGITS.iter().position(|one| *one == digit);
        bits = bits << 6 | u32::try_from(value.context("base64")?)?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Ok(bytes)
}

/// Names (and targets of links) in an archive.
fn names(archive: &[u8]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in tar::Archive::new(archive).entries()? {
        let entry = entry?;
        let name = entry.path()?.display().to_string();
        let slash = String::from_utf8_lossy(&entry.path_bytes()).ends_with('/');
        let name = if slash && !name.ends_with('/') {
            format!("{name}/")
        } else {
            name
        };
        names.push(match entry.link_name()? {
            Some(link) => format!("{name} -> {}", link.display()),
            None => name,
        });
    }
    Ok(names)
}

/// An archive of one file, in the root of which stands `name`.
fn archive(entries: &[(&str, Entry<'_>)]) -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, entry) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        // Not by the library's own check of names: these are hostile.
        let bytes = name.as_bytes();
        header.as_old_mut().name[..bytes.len()].copy_from_slice(bytes);
        let data: &[u8] = match entry {
            Entry::File(text) => text.as_bytes(),
            Entry::Folder => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o755);
                b""
            }
            Entry::Link(kind, target) => {
                header.set_entry_type(*kind);
                header.set_link_name_literal(target)?;
                b""
            }
        };
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data)?;
    }
    Ok(builder.into_inner()?)
}

enum Entry<'a> {
    File(&'a str),
    Folder,
    Link(tar::EntryType, &'a str),
}

fn put(case: &Case, container: &str, query: &str, body: &[u8]) -> Result<Answer> {
    let target = format!("/containers/{container}/archive?{query}");
    let headers = [("Content-Type", "application/x-tar")];
    api::raw(&case.engine.socket(), "PUT", &target, &headers, body)
}

pub(crate) fn archive_api(case: &mut Case) -> Result<()> {
    made(case, "c1")?;
    let head = |path: &str| {
        let target = format!("/containers/c1/archive?path={path}");
        case.engine.api("HEAD", &target, None)
    };
    for (path, name, mode, link) in [
        ("/d", "d", 1_u64 << 31 | 0o755, ""),
        ("/d/.", ".", 1 << 31 | 0o755, ""),
        ("/dl", "dl", 1 << 27 | 0o777, "/d"),
        ("/dl/", "dl", 1 << 31 | 0o755, ""),
        ("/broken", "broken", 1 << 27 | 0o777, "/nowhere"),
        ("/x/up", "up", 1 << 27 | 0o777, "/d/f.txt"),
        ("d/f.txt", "f.txt", 0o644, ""),
        ("/tmp", "tmp", 1 << 31 | 1 << 20 | 0o777, ""),
        ("/", "/", 1 << 31 | 0o755, ""),
        ("/vol/v", "v", 0o644, ""),
    ] {
        let stat = stat(&head(path)?).context(path)?;
        let found = (&stat["name"], &stat["mode"], &stat["linkTarget"]);
        ensure!(
            found == (&json!(name), &json!(mode), &json!(link)),
            "{path}: {stat}"
        );
    }
    ensure!(head("/nope")?.status == 404 && head("")?.status == 400);
    let get = |path: &str| {
        let target = format!("/containers/c1/archive?path={path}");
        case.engine.api("GET", &target, None)
    };
    for (path, wanted) in [
        ("/d", &["d/", "d/f.txt", "d/g -> d/f.txt"][..]),
        ("/d/.", &["./", "./f.txt", "./g -> ./f.txt"]),
        ("/dl", &["dl -> /d"]),
        ("/dl/", &["dl/", "dl/f.txt", "dl/g -> dl/f.txt"]),
        ("/d/f.txt", &["f.txt"]),
        ("/x", &["x/", "x/up -> ../../d/f.txt", "x/y/"]),
        ("/vol", &["vol/", "vol/v"]),
    ] {
        let answer = get(path)?;
        ensure!(answer.header("content-type") == Some("application/x-tar"));
        ensure!(
            names(&answer.body)? == wanted,
            "{path}: {:?}",
            names(&answer.body)?
        );
        stat(&answer)?;
    }
    let missing = get("/nope")?;
    ensure!(
        missing.message() == "Could not find the file /nope in container c1",
        "{missing:?}"
    );
    ensure!(get("/d/f.txt/x")?.message() == "lstat /d/f.txt/x: not a directory");
    write_rules(case)
}

fn write_rules(case: &Case) -> Result<()> {
    let running = [
        "run",
        "-d",
        "--name",
        "r1",
        "-v",
        "vol:/vol:ro",
        "busybox",
        "sleep",
        "1000",
    ];
    case.ok(&running)?;
    let sealed = [
        "run",
        "-d",
        "--name",
        "r2",
        "--read-only",
        "-v",
        "vol:/vol",
        "busybox",
    ];
    case.ok(&[&sealed[..], &["sleep", "1000"]].concat())?;
    let plain = archive(&[("a", Entry::File("x")), (".wh.b", Entry::File(""))])?;
    let folder = archive(&[("a", Entry::Folder)])?;
    let nowhere = Entry::Link(tar::EntryType::Link, "nowhere");
    let nowhere = archive(&[("b", nowhere)])?;
    for (container, query, body, words) in [
        ("r1", "path=/etc", &plain, ""),
        ("c1", "path=/d", &plain, ""),
        ("c1", "path=/dl", &plain, ""),
        ("c1", "path=/vol", &plain, ""),
        ("r2", "path=/vol", &plain, ""),
        (
            "r1",
            "path=/none",
            &plain,
            "Could not find the file /none in container r1",
        ),
        (
            "r1",
            "path=/etc/passwd",
            &plain,
            "extraction point is not a directory",
        ),
        (
            "r1",
            "path=/vol",
            &plain,
            "mounted volume is marked read-only",
        ),
        (
            "r2",
            "path=/etc",
            &plain,
            "container rootfs is marked read-only",
        ),
        (
            "r1",
            "path=/tmp",
            &nowhere,
            "Could not find the file /tmp in container r1",
        ),
        ("r1", "", &plain, "bad parameter: pathcannot be empty"),
        ("none", "path=/", &plain, "No such container: none"),
        ("r1", "path=/", &vec![7; 2000], "invalid tar header"),
    ] {
        let answer = put(case, container, query, body)?;
        ensure!(
            (answer.status == 200) == words.is_empty(),
            "{container} {query}: {answer:?}"
        );
        ensure!(
            answer.message().contains(words),
            "{container} {query}: {answer:?}"
        );
    }
    let refused = put(case, "r1", "path=/etc&noOverwriteDirNonDir=1", &folder)?;
    let words = "cannot overwrite non-directory \"/etc/a\" with directory \"/etc\"";
    ensure!(refused.message() == words, "{refused:?}");
    ensure!(put(case, "r1", "path=/etc", &folder)?.status == 200);
    // What was unpacked is what the container sees, and names of whiteouts are names.
    case.prints(
        &["exec", "r1", "sh", "-c", "ls -d /etc/a/ /etc/.wh.b"],
        "/etc/.wh.b\n/etc/a/",
    )?;
    case.prints(&["exec", "r2", "cat", "/vol/a"], "x")?;
    Ok(())
}

pub(crate) fn changes_api(case: &mut Case) -> Result<()> {
    made(case, "c1")?;
    let changes = case.expect("GET", "/containers/c1/changes", None, 200)?;
    let mut found: Vec<_> = changes
        .as_array()
        .context("no list")?
        .iter()
        .map(|change| {
            format!(
                "{} {}",
                change["Kind"],
                change["Path"].as_str().unwrap_or("")
            )
        })
        .collect();
    found.sort();
    let wanted = [
        "0 /bin",
        "0 /etc",
        "1 /broken",
        "1 /d",
        "1 /d/f.txt",
        "1 /d/g",
        "1 /dl",
        "1 /etc/new",
        "1 /vol",
        "1 /x",
        "1 /x/up",
        "1 /x/y",
        "2 /bin/vi",
    ];
    ensure!(found == wanted, "{found:#?}");
    // What the runtime makes to mount on is nobody's change.
    case.ok(&["run", "--name", "c2", "busybox", "true"])?;
    let none = case.engine.api("GET", "/containers/c2/changes", None)?;
    ensure!(none.status == 200 && none.json().is_null(), "{none:?}");
    case.expect("GET", "/containers/nope/changes", None, 404)
        .map(drop)
}

pub(crate) fn export_api(case: &mut Case) -> Result<()> {
    made(case, "c1")?;
    let run = [
        "run", "-d", "--name", "r1", "-v", "vol:/vol", "--tmpfs", "/d", "busybox",
    ];
    case.ok(&[&run[..], &["sh", "-c", "touch /d/hidden /seen; sleep 1000"]].concat())?;
    super::containers::until(|| Ok(case.run(&["exec", "r1", "ls", "/seen"])?.code == 0))?;
    for (container, there) in [
        ("c1", &["d/f.txt", "vol/", "bin/busybox"][..]),
        ("r1", &["seen", "d/"]),
    ] {
        let answer = case
            .engine
            .api("GET", &format!("/containers/{container}/export"), None)?;
        ensure!(answer.header("content-type") == Some("application/octet-stream"));
        let names = names(&answer.body)?;
        for name in there {
            ensure!(
                names.iter().any(|one| one == name),
                "{container} lacks {name}: {names:?}"
            );
        }
        // Nothing of volumes, of /proc, of a tmpfs.
        let foreign = |name: &&String| {
            ["vol/v", "d/hidden"].contains(&name.as_str()) || name.starts_with("proc/s")
        };
        ensure!(names.iter().find(foreign).is_none(), "{names:?}");
    }
    case.expect("GET", "/containers/nope/export", None, 404)
        .map(drop)
}

/// A folder of the host's, with a secret in it, that no container may see or change.
fn victim(case: &Case) -> Result<String> {
    let folder = case.engine.world.path().join("victim");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("secret"), "of the host")?;
    Ok(folder.display().to_string())
}

fn unharmed(folder: &str) -> Result<()> {
    let names: Vec<_> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()?;
    ensure!(names == ["secret"], "the host has {names:?}");
    let text = std::fs::read_to_string(format!("{folder}/secret"))?;
    ensure!(text == "of the host", "the host's file is {text:?}");
    Ok(())
}

/// CopyEscape and its like: links in the archive itself, names that lead up, hard links out.
pub(crate) fn hostile_archives_stay_inside(case: &mut Case) -> Result<()> {
    let victim = victim(case)?;
    case.ok(&["run", "-d", "--name", "r1", "busybox", "sleep", "1000"])?;
    case.ok(&["create", "--name", "c1", "busybox", "true"])?;
    let up = format!("../../../../../../../../..{victim}");
    let (symlink, hard) = (tar::EntryType::Symlink, tar::EntryType::Link);
    let secret = format!("{victim}/secret");
    let climbing = format!("../../../../..{secret}");
    let inner = format!("l/{}", "written");
    let hostile = [
        archive(&[
            ("l", Entry::Link(symlink, &victim)),
            (&inner, Entry::File("evil")),
        ])?,
        archive(&[
            ("l", Entry::Link(symlink, &up)),
            (&inner, Entry::File("evil")),
        ])?,
        archive(&[(&climbing, Entry::File("evil"))])?,
        archive(&[
            ("h", Entry::Link(hard, &secret)),
            ("h", Entry::File("evil")),
        ])?,
        archive(&[
            ("h", Entry::Link(hard, &climbing)),
            ("h", Entry::File("evil")),
        ])?,
        archive(&[
            ("d", Entry::Folder),
            ("d", Entry::Link(symlink, &victim)),
            ("d/written", Entry::File("evil")),
        ])?,
    ];
    for body in &hostile {
        for container in ["r1", "c1"] {
            put(case, container, "path=/tmp", body)?;
            unharmed(&victim)?;
            let link = format!("/containers/{container}/archive?path=/tmp/l/secret");
            let read = case.engine.api("GET", &link, None)?;
            ensure!(
                !read.text().contains("of the host"),
                "the host's secret came out"
            );
        }
    }
    Ok(())
}

/// CVE-2018-15664: the container swaps a folder and a link while the daemon goes through it.
pub(crate) fn swapped_links_stay_inside(case: &mut Case) -> Result<()> {
    let victim = victim(case)?;
    let swap = format!(
        "mkdir -p /real{victim} && echo mine >/real{victim}/secret && cd / && ln -s /real one && ln -s / two && \
         ln -s ../../../../.. three && touch /ready && \
         while :; do for l in one two three; do cp -a $l s && mv -T s swap; done; done"
    );
    let volume = ["run", "-d", "--name", "r1", "-v", "shared:/v", "busybox"];
    case.ok(&[&volume[..], &["sh", "-c", &swap]].concat())?;
    super::containers::until(|| Ok(case.run(&["exec", "r1", "ls", "/ready", "/swap"])?.code == 0))?;
    let evil = archive(&[("written", Entry::File("evil"))])?;
    for _ in 0..60 {
        put(case, "r1", &format!("path=/swap{victim}"), &evil)?;
        unharmed(&victim)?;
        for path in [format!("/swap{victim}/secret"), format!("/swap{victim}")] {
            let target = format!("/containers/r1/archive?path={path}");
            let read = case.engine.api("GET", &target, None)?;
            ensure!(
                !read.text().contains("of the host"),
                "the host's secret came out"
            );
        }
    }
    Ok(())
}

/// A device or a pipe in a container is a name in an archive: nothing is read from it.
pub(crate) fn devices_are_not_read(case: &mut Case) -> Result<()> {
    let make = "mkdir /d; mknod /d/zero c 1 5; mkfifo /d/pipe; touch /ready; sleep 1000";
    case.ok(&["run", "-d", "--name", "r1", "busybox", "sh", "-c", make])?;
    super::containers::until(|| Ok(case.run(&["exec", "r1", "ls", "/ready"])?.code == 0))?;
    let read = case
        .engine
        .api("GET", "/containers/r1/archive?path=/d", None)?;
    ensure!(
        names(&read.body)? == ["d/", "d/pipe", "d/zero"],
        "{:?}",
        names(&read.body)?
    );
    for entry in tar::Archive::new(&read.body[..]).entries()? {
        let mut bytes = Vec::new();
        entry?.read_to_end(&mut bytes)?;
        ensure!(bytes.is_empty(), "something was read");
    }
    Ok(())
}
