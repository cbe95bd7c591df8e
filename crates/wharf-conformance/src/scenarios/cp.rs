//! `cp`, `diff` and `export` by the command line: what ends where, and what is said.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use super::containers::until;
use crate::Case;

/// A folder of this machine for one scenario, with `t/a`, `t/sub/`, and links.
fn here(case: &Case) -> Result<PathBuf> {
    let folder = case.engine.world.path().join("here");
    std::fs::create_dir_all(folder.join("t/sub"))?;
    std::fs::write(folder.join("t/a"), "x\n")?;
    std::os::unix::fs::symlink("a", folder.join("t/link"))?;
    std::os::unix::fs::symlink("t", folder.join("tl"))?;
    std::os::unix::fs::symlink("hung", folder.join("hanging"))?;
    Ok(folder)
}

fn started(case: &Case) -> Result<()> {
    let make = "mkdir -p /d/e; echo hi >/d/f.txt; ln -s /d /dl; ln -s f.txt /d/fl; ln -s /d/new /hung; sleep 1000";
    let run = [
        "run",
        "-d",
        "--name",
        "r1",
        "-v",
        "vol:/vol:ro",
        "busybox",
        "sh",
        "-c",
        make,
    ];
    case.ok(&run)?;
    super::containers::until(|| Ok(case.run(&["exec", "r1", "test", "-L", "/hung"])?.code == 0))?;
    let sealed = [
        "run",
        "-d",
        "--name",
        "r2",
        "--read-only",
        "busybox",
        "sleep",
        "1000",
    ];
    case.ok(&sealed).map(drop)
}

/// Sorted paths below a folder of this machine, folders with a slash, links with their targets.
fn listing(top: &std::path::Path) -> Result<Vec<String>> {
    let mut all = Vec::new();
    let mut left = vec![top.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let mut name = entry.path().strip_prefix(top)?.display().to_string();
            let kind = entry.file_type()?;
            if kind.is_dir() {
                left.push(entry.path());
                name.push('/');
            }
            if kind.is_symlink() {
                name = format!("{name} -> {}", std::fs::read_link(entry.path())?.display());
            }
            all.push(name);
        }
    }
    all.sort();
    Ok(all)
}

pub(crate) fn into_a_container(case: &mut Case) -> Result<()> {
    let here = here(case)?;
    let path = |name: &str| format!("{}/{name}", here.display());
    started(case)?;
    let cp = |from: &str, to: &str| case.ok(&["cp", &path(from), to]).map(drop);
    cp("t", "r1:/new")?;
    cp("t", "r1:/d")?;
    cp("t/.", "r1:/d/e")?;
    cp("t/a", "r1:/d/b")?;
    cp("t/a", "r1:/dl/c")?;
    cp("t/a", "r1:/hung")?;
    cp("t/link", "r1:/d/kept")?;
    case.ok(&["cp", "-L", &path("t/link"), "r1:/d/followed"])?;
    case.ok(&["cp", "-L", &path("tl"), "r1:/followed"])?;
    let find = "cd / && find new d followed | sort; cat /d/new /d/followed; readlink /d/kept; readlink /new/link";
    let wanted = "d\nd/b\nd/c\nd/e\nd/e/a\nd/e/link\nd/e/sub\nd/f.txt\nd/fl\nd/followed\nd/kept\nd/new\n\
        d/t\nd/t/a\nd/t/link\nd/t/sub\nfollowed\nfollowed/a\nfollowed/link\nfollowed/sub\n\
        new\nnew/a\nnew/link\nnew/sub\nx\nx\na\na";
    case.prints(&["exec", "r1", "sh", "-c", find], wanted)?;
    let refused =
        |from: &str, to: &str, words: &str| case.fails(&["cp", &path(from), to], 1, words);
    refused(
        "t/a",
        "r1:/none/x",
        "Could not find the file /none in container r1",
    )?;
    refused("t/a", "r1:/none/", "no such directory")?;
    refused("t", "r1:/etc/passwd", "cannot copy directory")?;
    refused("t/a/", "r1:/etc", "not a directory")?;
    refused("none", "r1:/etc", "/none: no such file or directory")?;
    refused("t/a", "none:/etc", "No such container: none")?;
    refused("t/a", "r2:/tmp", "container rootfs is marked read-only")?;
    refused("t/a", "r1:/vol", "mounted volume is marked read-only")?;
    refused("t/a", "/x", "must specify at least one container source")?;
    case.fails(
        &["cp", "r1:/d", "r2:/d"],
        1,
        "copying between containers is not supported",
    )?;
    case.fails(&["cp", "", "r1:/d"], 1, "source can not be empty")?;
    case.fails(
        &["cp", "-", "r1:/etc/passwd"],
        1,
        "destination \"r1:/etc/passwd\" must be a directory",
    )?;
    let said = case.run(&["cp", "-q=false", &path("t/a"), "r1:/tmp"])?;
    ensure!(
        said.stderr == "Successfully copied 2.05kB to r1:/tmp",
        "{said:?}"
    );
    // A folder is not replaced by a file.
    case.ok(&["exec", "r1", "mkdir", "/tmp/d", "/tmp/d/a"])?;
    refused(
        "t/a",
        "r1:/tmp/d",
        "cannot overwrite directory \"/tmp/d/a\" with non-directory \"/tmp/d\"",
    )
}

pub(crate) fn out_of_a_container(case: &mut Case) -> Result<()> {
    let here = here(case)?;
    let path = |name: &str| format!("{}/{name}", here.display());
    started(case)?;
    std::fs::create_dir(here.join("o"))?;
    let cp = |from: &str, to: &str| case.ok(&["cp", from, &path(to)]).map(drop);
    cp("r1:/d", "o")?;
    cp("r1:/d/.", "o/content")?;
    cp("r1:/d", "o/named")?;
    cp("r1:/d/f.txt", "o")?;
    cp("r1:/d/f.txt", "o/g")?;
    cp("r1:/dl", "o/link")?;
    cp("r1:/dl/", "o/through")?;
    cp("r1:/d/f.txt", "hanging")?;
    case.ok(&["cp", "-L", "r1:/d/fl", &path("o")])?;
    case.ok(&["cp", "-L", "r1:/dl", &path("o")])?;
    let tree = |top: &str| ["e/", "f.txt", "fl -> f.txt"].map(|name| format!("{top}/{name}"));
    let mut wanted = vec![
        "content/".to_owned(),
        "d/".to_owned(),
        "dl/".to_owned(),
        "f.txt".to_owned(),
        "fl".to_owned(),
        "g".to_owned(),
        "link -> /d".to_owned(),
        "named/".to_owned(),
        "through/".to_owned(),
    ];
    for top in ["content", "d", "dl", "named", "through"] {
        wanted.extend(tree(top));
    }
    wanted.sort();
    let found = listing(&here.join("o"))?;
    ensure!(found == wanted, "{found:#?}");
    ensure!(std::fs::read_to_string(here.join("hung"))? == "hi\n");
    let refused =
        |from: &str, to: &str, words: &str| case.fails(&["cp", from, &path(to)], 1, words);
    refused("r1:/d/f.txt", "none/x", "invalid output path: directory")?;
    refused("r1:/d/f.txt", "none/", "no such directory")?;
    refused("r1:/d", "t/a", "cannot copy directory")?;
    refused(
        "r1:/none",
        "o",
        "Could not find the file /none in container r1",
    )?;
    refused("none:/x", "o", "No such container: none")?;
    // What a running container mounted itself is not seen, as with dockerd.
    refused(
        "r1:/dev/null",
        "o",
        "Could not find the file /dev/null in container r1",
    )?;
    let said = case.run(&["cp", "-q=false", "r1:/d/f.txt", &path("o")])?;
    let wanted = format!("Successfully copied 2.05kB to {}", path("o"));
    ensure!(said.stderr == wanted, "{said:?}");
    Ok(())
}

/// What a container has mounted itself, over the place of a volume or above it, is not seen; the volume is.
pub(crate) fn a_volume_that_is_hidden(case: &mut Case) -> Result<()> {
    let here = here(case)?;
    let file = format!("{}/t/a", here.display());
    let hide = "mount -t tmpfs none /a; touch /a/x; exec sleep 1000";
    let hide_and_fake = hide.replace("touch", "mkdir /a/b; touch /a/b/x");
    for (name, script) in [("c1", hide), ("c2", &*hide_and_fake)] {
        let volume = format!("{name}:/a/b");
        case.ok(&[
            "run",
            "-d",
            "--name",
            name,
            "--privileged",
            "-v",
            &volume,
            "busybox",
            "sh",
            "-c",
            script,
        ])?;
        until(|| Ok(case.run(&["exec", name, "test", "-e", "/a/x"])?.code == 0))?;
        case.ok(&["cp", &format!("{name}:/etc/passwd"), "-"])?;
        case.ok(&["cp", &file, &format!("{name}:/a/b/new")])?;
        let list = [
            "run",
            "--rm",
            "-v",
            &*format!("{name}:/v"),
            "busybox",
            "ls",
            "/v",
        ];
        case.prints(&list, "new")?;
        case.fails(
            &["cp", &format!("{name}:/a/x"), "-"],
            1,
            "Could not find the file /a/x",
        )?;
    }
    Ok(())
}

pub(crate) fn streams(case: &mut Case) -> Result<()> {
    let here = here(case)?;
    started(case)?;
    let output = case.command(&["cp", "r1:/d", "-"]).output()?;
    ensure!(output.status.success(), "{output:?}");
    let mut names = Vec::new();
    for entry in tar::Archive::new(&output.stdout[..]).entries()? {
        names.push(entry?.path()?.display().to_string());
    }
    ensure!(names == ["d/", "d/e/", "d/f.txt", "d/fl"], "{names:?}");
    // The same archive goes into a container that has stopped, compressed or not.
    case.ok(&["create", "--name", "c1", "busybox", "cat", "/tmp/d/f.txt"])?;
    std::fs::write(here.join("d.tar"), &output.stdout)?;
    for (program, to) in [("cat", "/tmp"), ("gzip -c", "/root"), ("zstd -qc", "/usr")] {
        let tar = here.join("d.tar").display().to_string();
        let packed = case
            .engine
            .world
            .sh(&format!("{program} {tar} > {tar}.x && echo {tar}.x"));
        let Ok(packed) = packed else {
            continue; // A machine without zstd.
        };
        let bytes = std::fs::read(packed.trim())?;
        let mut child = case
            .command(&["cp", "-", &format!("c1:{to}")])
            .stdin(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("stdin")?.write_all(&bytes)?;
        ensure!(child.wait()?.success(), "{program}");
    }
    case.prints(&["start", "-a", "c1"], "hi")?;
    let changes = case.ok(&["diff", "c1"])?;
    let mut changes: Vec<_> = changes
        .lines()
        .filter(|line| line.ends_with("f.txt"))
        .collect();
    changes.sort_unstable();
    ensure!(
        changes.starts_with(&["A /root/d/f.txt", "A /tmp/d/f.txt"]),
        "{changes:?}"
    );
    Ok(())
}

pub(crate) fn owners(case: &mut Case) -> Result<()> {
    let here = here(case)?;
    let file = here.join("t/a");
    std::os::unix::fs::chown(&file, Some(1000), Some(1001))?;
    case.ok(&[
        "run", "-d", "--name", "r1", "-u", "5:7", "busybox", "sleep", "1000",
    ])?;
    let file = file.display().to_string();
    case.ok(&["cp", &file, "r1:/tmp/plain"])?;
    let owner = |name: &str| case.ok(&["exec", "r1", "stat", "-c", "%u:%g", name]);
    ensure!(
        owner("/tmp/plain")? == "1000:1001",
        "{}",
        owner("/tmp/plain")?
    );
    if !case.engine.kind.is_dockerd() {
        // dockerd looks the user up among the host's, by a program that need not be there.
        case.ok(&["cp", "-a", &file, "r1:/tmp/archived"])?;
        ensure!(
            owner("/tmp/archived")? == "5:7",
            "{}",
            owner("/tmp/archived")?
        );
    }
    Ok(())
}

pub(crate) fn diff_and_export(case: &mut Case) -> Result<()> {
    let here = here(case)?;
    case.ok(&[
        "run",
        "--name",
        "c1",
        "busybox",
        "sh",
        "-c",
        "mkdir /d; echo hi >/d/f; rm /bin/vi",
    ])?;
    let diff = case.ok(&["diff", "c1"])?;
    let mut lines: Vec<_> = diff.lines().collect();
    lines.sort_unstable();
    ensure!(
        lines == ["A /d", "A /d/f", "C /bin", "D /bin/vi"],
        "{lines:?}"
    );
    case.fails(&["diff", "nope"], 1, "No such container: nope")?;
    let file = here.join("e.tar").display().to_string();
    case.prints(&["export", "-o", &file, "c1"], "")?;
    let stream = case.command(&["export", "c1"]).output()?.stdout;
    ensure!(stream == std::fs::read(&file)?, "the two ways differ");
    let mut found = false;
    for entry in tar::Archive::new(&stream[..]).entries()? {
        found |= entry?.path()?.display().to_string() == "d/f";
    }
    ensure!(found, "d/f is not in the archive");
    let none = here.join("none/x").display().to_string();
    case.fails(
        &["export", "-o", &none, "c1"],
        1,
        "failed to export container: invalid output path: stat",
    )?;
    case.fails(
        &["export", "-o", &file, "nope"],
        1,
        "No such container: nope",
    )
}
