//! Builds. What a Dockerfile means is in the folder `builds`, as data.

use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use wharf_testkit::EngineKind;

use super::containers::until;
use crate::{Case, corpus};

pub(crate) fn settings(case: &mut Case) -> Result<()> {
    corpus::run(case, include_str!("../../builds/settings.md"))
}

pub(crate) fn files(case: &mut Case) -> Result<()> {
    corpus::run(case, include_str!("../../builds/files.md"))
}

pub(crate) fn commands(case: &mut Case) -> Result<()> {
    corpus::run(case, include_str!("../../builds/commands.md"))
}

pub(crate) fn stages(case: &mut Case) -> Result<()> {
    corpus::run(case, include_str!("../../builds/stages.md"))
}

pub(crate) fn mistakes(case: &mut Case) -> Result<()> {
    corpus::run(case, include_str!("../../builds/mistakes.md"))
}

pub(crate) fn words(case: &mut Case) -> Result<()> {
    corpus::run(case, include_str!("../../builds/words.md"))
}

pub(crate) fn contexts(case: &mut Case) -> Result<()> {
    corpus::run(case, include_str!("../../builds/contexts.md"))
}

pub(crate) fn edges(case: &mut Case) -> Result<()> {
    corpus::run(case, include_str!("../../builds/edges.md"))
}

/// A context with these files.
fn context(files: &[(&str, &str)]) -> Result<(TempDir, String)> {
    let folder = tempfile::tempdir()?;
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().context("a file without a folder")?)?;
        std::fs::write(path, text)?;
    }
    let path = folder.path().display().to_string();
    Ok((folder, path))
}

fn archive(files: &[(&str, &str)]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o640);
        header.set_uid(12);
        header.set_gid(34);
        archive.append_data(&mut header, name, text.as_bytes())?;
    }
    Ok(archive.into_inner()?)
}

pub(crate) fn archives_are_unpacked(case: &mut Case) -> Result<()> {
    let file = "FROM busybox\nADD a.tar text /x/\nADD a.tar /y\n";
    let (folder, path) = context(&[("Dockerfile", file), ("text", "T\n")])?;
    std::fs::write(folder.path().join("a.tar"), archive(&[("d/f", "F\n")])?)?;
    case.ok(&["build", "-q", "-t", "made", &path])?;
    let script = "cat /x/d/f /x/text /y/d/f; stat -c '%a %u:%g' /x/d/f";
    case.prints(
        &["run", "--rm", "made", "sh", "-c", script],
        "F\nT\nF\n640 12:34",
    )
}

/// The arrow of `FROM` points at what the triggers have made.
pub(crate) fn triggers_come_before_the_arrow(case: &mut Case) -> Result<()> {
    let (_folder, path) = context(&[("Dockerfile", "FROM busybox\nONBUILD ENV A=b\n")])?;
    case.ok(&["build", "-q", "-t", "base", &path])?;
    let (_folder, path) = context(&[("Dockerfile", "FROM base\n")])?;
    let said = case.ok(&["build", "-t", "made", &path])?;
    let starts = [
        "Step 1/1 : FROM base",
        "# Executing 1 build trigger",
        " ---> Running in ",
        " ---> Removed intermediate container ",
        " ---> ",
        "Successfully built ",
    ];
    let from = said.lines().skip_while(|line| !line.starts_with("Step"));
    let lines: Vec<&str> = from.take(starts.len()).collect();
    let mut pairs = lines.iter().zip(starts);
    let as_dockerd = pairs.all(|(line, start)| line.starts_with(start));
    ensure!(as_dockerd && !lines[4].contains("Running"), "{said}");
    // It is the image's own.
    let id = case.ok(&["images", "-q", "made"])?;
    ensure!(lines[4].ends_with(&id), "{said}");
    Ok(())
}

pub(crate) fn added_archives_stay_inside(case: &mut Case) -> Result<()> {
    let file = "FROM busybox\nRUN ln -s / /y\nADD a.tar /x\n";
    let (folder, path) = context(&[("Dockerfile", file)])?;
    let mut tar = tar::Builder::new(Vec::new());
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    tar.append_link(&mut link, "out", "../../../../../../../../tmp")?;
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    tar.append_data(&mut header, "out/wharf-was-here", &b"x"[..])?;
    std::fs::write(folder.path().join("a.tar"), tar.into_inner()?)?;
    // Refused or kept inside: either way nothing is outside of the image.
    case.run(&["build", "-q", "-t", "made", &path])?;
    ensure!(!std::path::Path::new("/tmp/wharf-was-here").exists());
    Ok(())
}

pub(crate) fn steps_are_used_again(case: &mut Case) -> Result<()> {
    let file = "FROM busybox\nARG A=1\nCOPY f /f\nRUN cat /f > /g\nCMD [\"cat\", \"/g\"]\n";
    let (folder, path) = context(&[("Dockerfile", file), ("f", "one\n")])?;
    let build = |more: &[&str]| {
        let args = [&["build", "-t", "made"], more, &[path.as_str()]].concat();
        case.ok(&args)
    };
    let hits = |said: &str| said.matches(" ---> Using cache").count();
    ensure!(hits(&build(&[])?) == 0, "the first build");
    let id = case.ok(&["images", "-q", "--no-trunc", "made"])?;
    // Times do not count.
    let touched = std::fs::File::options()
        .write(true)
        .open(folder.path().join("f"))?;
    touched.set_modified(std::time::SystemTime::UNIX_EPOCH)?;
    ensure!(hits(&build(&[])?) == 4, "the same again");
    ensure!(
        case.ok(&["images", "-q", "--no-trunc", "made"])? == id,
        "another image"
    );
    ensure!(hits(&build(&["--no-cache"])?) == 0, "--no-cache");
    std::fs::write(folder.path().join("f"), "two\n")?;
    ensure!(hits(&build(&[])?) == 1, "another file");
    case.prints(&["run", "--rm", "made"], "two")?;
    ensure!(
        hits(&build(&["--build-arg", "A=2"])?) <= 2,
        "another argument"
    );
    Ok(())
}

pub(crate) fn steps_of_another_image(case: &mut Case) -> Result<()> {
    let file = "FROM busybox\nRUN echo x > /x\nENV A=1\n";
    let (_folder, path) = context(&[("Dockerfile", file)])?;
    case.ok(&["build", "-q", "-t", "made", &path])?;
    let keep = tempfile::NamedTempFile::new()?;
    let archive = keep.path().display().to_string();
    case.engine.docker_ok(&["save", "-o", &archive, "made"])?;
    case.ok(&["rmi", "-f", "made"])?;
    let left = case.ok(&["images", "-aq", "--filter", "dangling=true"])?;
    ensure!(left.is_empty(), "steps are left: {left}");
    case.ok(&["load", "-q", "-i", &archive])?;
    let said = case.ok(&["build", "--cache-from", "made", "-t", "again", &path])?;
    ensure!(said.matches(" ---> Using cache").count() == 2, "{said}");
    let id = |name: &str| case.ok(&["images", "-q", name]);
    ensure!(id("made")? == id("again")?, "another image");
    let said = case.ok(&["build", "--cache-from", "nobody", "-t", "other", &path])?;
    ensure!(!said.contains(" ---> Using cache"), "{said}");
    Ok(())
}

/// Nothing is left of a classic build when its image is gone: no cache, and nothing that a next build could use.
pub(crate) fn what_is_removed_is_forgotten(case: &mut Case) -> Result<()> {
    let file = "FROM busybox\nCOPY f /f\nRUN cat /f > /g\nWORKDIR /w\n";
    let (_folder, path) = context(&[("Dockerfile", file), ("f", "one\n")])?;
    case.ok(&["build", "-q", "-t", "made", &path])?;
    let cache = || case.ok(&["system", "df", "--format", "{{.Type}} {{.TotalCount}}"]);
    // Our command's folder is kept, so that it is not sent again; of the steps nothing is.
    let kept =
        usize::from(case.client == crate::Client::Wharf && case.engine.kind == EngineKind::Wharf);
    let wanted = format!("Build Cache {kept}");
    ensure!(cache()?.contains(&wanted), "{}", cache()?);
    case.ok(&["rmi", "made"])?;
    let said = case.ok(&["build", "-t", "made", &path])?;
    ensure!(!said.contains(" ---> Using cache"), "{said}");
    Ok(())
}

pub(crate) fn options(case: &mut Case) -> Result<()> {
    let file = "FROM busybox\nRUN cat /etc/hosts | grep named; df -m /dev/shm | tail -n 1; ulimit -n; ls /sys/class/net\n";
    let (folder, path) = context(&[
        ("Dockerfile", file),
        (".dockerignore", "big\n"),
        ("big", "x"),
    ])?;
    let iid = folder.path().join("iid").display().to_string();
    let said = case.ok(&[
        "build",
        "--add-host",
        "named:192.0.2.9",
        "--shm-size",
        "3m",
        "--ulimit",
        "nofile=77:88",
        "--network",
        "none",
        "-m",
        "64m",
        "--iidfile",
        &iid,
        "-t",
        "made:one",
        "-t",
        "made:two",
        &path,
    ])?;
    for wanted in ["192.0.2.9\tnamed", " 3 ", "\n77\n", "\nlo\n"] {
        ensure!(said.contains(wanted), "{wanted:?}: {said}");
    }
    ensure!(!said.contains("eth0"), "{said}");
    let id = std::fs::read_to_string(&iid)?;
    case.prints(&["images", "-q", "--no-trunc", "made:two"], &id)?;
    case.prints(
        &[
            "build",
            "-q",
            "--add-host",
            "named:192.0.2.9",
            "--shm-size",
            "3m",
            "--ulimit",
            "nofile=77:88",
            "--network",
            "none",
            "-m",
            "64m",
            &path,
        ],
        &id,
    )
}

pub(crate) fn containers_of_steps(case: &mut Case) -> Result<()> {
    let (_folder, path) = context(&[("Dockerfile", "FROM busybox\nRUN true\n")])?;
    case.ok(&["build", "-q", &path])?;
    case.prints(&["ps", "-aq"], "")?;
    case.ok(&["build", "--no-cache", "-q", "--rm=false", &path])?;
    ensure!(case.ok(&["ps", "-aq"])?.lines().count() == 1);
    case.ok(&["container", "prune", "-f"])?;
    let (_folder, path) = context(&[("Dockerfile", "FROM busybox\nRUN exit 7\n")])?;
    let run = case.run(&["build", &path])?;
    ensure!(run.code == 7, "{run:?}");
    ensure!(
        case.ok(&["ps", "-aq"])?.lines().count() == 1,
        "kept for a look"
    );
    case.ok(&["container", "prune", "-f"])?;
    let run = case.run(&["build", "--force-rm", &path])?;
    ensure!(run.code == 7, "{run:?}");
    until(|| Ok(case.ok(&["ps", "-aq"])?.is_empty()))
}

pub(crate) fn standard_input(case: &mut Case) -> Result<()> {
    let feed = |bytes: &[u8], args: &[&str]| -> Result<String> {
        let mut child = case
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("stdin")?.write_all(bytes)?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{args:?}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    feed(
        b"FROM busybox\nENV A=1\n",
        &["build", "-q", "-t", "made", "-"],
    )?;
    case.prints(
        &["image", "inspect", "-f", "{{index .Config.Env 1}}", "made"],
        "A=1",
    )?;
    let files = [("Dockerfile", "FROM busybox\nCOPY f /f\n"), ("f", "F\n")];
    feed(&archive(&files)?, &["build", "-q", "-t", "made", "-"])?;
    case.prints(&["run", "--rm", "made", "cat", "/f"], "F")?;
    let (_folder, path) = context(&[("f", "G\n")])?;
    let file = b"FROM busybox\nCOPY f /f\nCOPY . /all\n";
    feed(file, &["build", "-q", "-t", "made", "-f", "-", &path])?;
    case.prints(
        &["run", "--rm", "made", "sh", "-c", "cat /f; ls -A /all"],
        "G\nf",
    )
}

pub(crate) fn a_client_that_goes_stops_its_build(case: &mut Case) -> Result<()> {
    let (_folder, path) = context(&[("Dockerfile", "FROM busybox\nRUN sleep 1000\n")])?;
    let mut child = case
        .command(&["build", &path])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    until(|| Ok(!case.ok(&["ps", "-q"])?.is_empty()))?;
    child.kill()?;
    child.wait()?;
    until(|| Ok(case.ok(&["ps", "-q"])?.is_empty()))
}

pub(crate) fn squashed_into_one_layer(case: &mut Case) -> Result<()> {
    let text =
        "FROM busybox\nRUN echo x > /a; echo x > /b\nENV A=1\nRUN rm /b /bin/yes; echo y > /c\n";
    let (_folder, path) = context(&[("Dockerfile", text)])?;
    let config = Some(r#"{"experimental": true}"#.to_owned());
    let case = Case::with(case.engine.kind, case.client, config)?;
    let said = case.ok(&["build", "--squash", "-t", "made", &path])?;
    ensure!(said.contains("Successfully tagged made:latest"), "{said}");
    let layers = "{{len .RootFS.Layers}} {{json .Config.Env}}";
    let own = case.ok(&["image", "inspect", "-f", layers, "made"])?;
    ensure!(own.starts_with("2 ") && own.contains("A=1"), "{own}");
    let script = "ls /a /c; ls /b /bin/yes 2> /dev/null; echo end";
    case.prints(&["run", "--rm", "made", "sh", "-c", script], "/a\n/c\nend")?;
    let format = "{{.Comment}}|{{.CreatedBy}}";
    let history = case.ok(&["history", "--no-trunc", "--format", format, "made"])?;
    let first = history.lines().next().unwrap_or_default();
    ensure!(first.starts_with("merge sha256:"), "{history}");
    ensure!(history.lines().count() == 5, "{history}");
    let run = case.run(&["build", "--squash", "-q", &path])?;
    ensure!(run.code == 0, "{run:?}");
    Ok(())
}

pub(crate) fn a_client_that_goes_stops_only_its_steps(case: &mut Case) -> Result<()> {
    let text = "FROM busybox\nRUN until test -e /go; do sleep 0.05; done; echo done > /x\n";
    let (_folder, path) = context(&[("Dockerfile", text)])?;
    let begin = || {
        let mut command = case.command(&["build", "-t", "made", &path]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    };
    let run = || case.ok(&["ps", "-q"]);
    let mut first = begin()?;
    until(|| Ok(run()?.lines().count() == 1))?;
    let of_first = run()?;
    let mut second = begin()?;
    until(|| Ok(run()?.lines().count() == 2))?;
    first.kill()?;
    first.wait()?;
    until(|| Ok(run()?.lines().count() == 1))?;
    let left = run()?;
    ensure!(left != of_first, "the step of who has gone");
    case.ok(&["exec", left.trim(), "touch", "/go"])?;
    ensure!(second.wait()?.success(), "the other one's build");
    case.prints(&["run", "--rm", "made", "cat", "/x"], "done")?;
    until(|| Ok(case.ok(&["ps", "-aq"])?.is_empty()))
}

/// Our command offers its folder, and the daemon asks for what it has not got.
pub(crate) fn what_is_there_is_not_sent_again(case: &mut Case) -> Result<()> {
    if case.client == crate::Client::Docker || case.engine.kind != EngineKind::Wharf {
        return Ok(());
    }
    let file = "FROM busybox\nCOPY . /c/\nCMD cat /c/small /c/d/* 2>&1; ls -1A /c\n";
    let large = "x".repeat(300_000);
    let files = [
        ("Dockerfile", file),
        ("small", "one\n"),
        ("large", large.as_str()),
        ("d/gone", "G\n"),
    ];
    let (folder, path) = context(&files)?;
    let place = |name: &str| folder.path().join(name);
    std::fs::write(place(".dockerignore"), "large*\n!large\nDockerfile\n")?;
    std::fs::hard_link(place("small"), place("d/same"))?;
    std::os::unix::fs::symlink("small", place("link"))?;
    let sent = |wanted: &str, out: &str| -> Result<()> {
        let said = case.ok(&["build", "-t", "made", &path])?;
        let line = format!("Sending build context to Wharf daemon  {wanted}\n");
        ensure!(said.starts_with(&line), "{said}");
        case.prints(&["run", "--rm", "made"], out)
    };
    let names = ".dockerignore\nd\nlarge\nlink\nsmall";
    sent("300.1kB", &format!("one\nG\none\n{names}"))?;
    // The Dockerfile is hidden from the build, and so it is sent each time.
    sent("64B", &format!("one\nG\none\n{names}"))?;
    std::fs::write(place("small"), "two\n")?;
    std::fs::remove_file(place("d/gone"))?;
    sent("68B", &format!("two\ntwo\n{names}"))?;
    // What has no text as its name is told in an archive only.
    std::fs::write(
        place("d").join(std::ffi::OsStr::from_bytes(b"\xff")),
        "odd\n",
    )?;
    let said = case.ok(&["build", "-t", "made", &path])?;
    ensure!(
        said.contains("Sending build context to Wharf daemon  3"),
        "{said}"
    );
    case.prints(&["run", "--rm", "made"], &format!("two\ntwo\nodd\n{names}"))
}
