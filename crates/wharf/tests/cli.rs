//! The command line as a program, against a daemon that replays answers in dockerd's shape and notes what it is asked.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{Fake, texts};

const ID: &str = "4f5e8a7b9c0d1e2f3a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9012";

fn happy(request: &str) -> Option<(u16, &'static str)> {
    let created = r#"{"Id":"4f5e8a7b9c0d1e2f3a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9012","Warnings":["be careful"]}"#;
    match request {
        r if r.starts_with("POST /containers/create") => Some((201, created)),
        r if r.contains("/wait") => Some((200, "{\"StatusCode\":7}\n")),
        r if r.ends_with("/start") => Some((204, "")),
        "GET /containers/json" => Some((
            200,
            r#"[{"Id":"4f5e8a7b9c0d1e2f","Names":["/web"],"Image":"nginx","ImageID":"sha256:0","Command":"nginx","Created":0,"Ports":[],"Labels":{},"State":"running","Status":"Up 2 hours","NetworkSettings":{"Networks":{}},"Mounts":[]}]"#,
        )),
        _ => None,
    }
}

#[test]
fn run_attaches_and_waits_before_it_starts() {
    let fake = Fake::start(happy);
    let output = fake.wharf(&["run", "-i", "--rm", "img", "cat"], "hello\n");
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(
        texts(&output),
        ("hello\n".into(), "WARNING: be careful\nerr\n".into())
    );
    let asked = fake.asked();
    assert_eq!(asked[0], "POST /containers/create");
    let mut middle = asked[1..3].to_vec();
    middle.sort();
    assert_eq!(
        middle,
        [
            format!("POST /containers/{ID}/attach?stream=1&stdin=1&stdout=1&stderr=1"),
            format!("POST /containers/{ID}/wait?condition=removed"),
        ]
    );
    assert_eq!(asked[3], format!("POST /containers/{ID}/start"));
    assert_eq!(asked.len(), 4, "no round trip more than needed");
}

#[test]
fn a_detached_run_prints_the_id() {
    let fake = Fake::start(happy);
    let output = fake.wharf(&["run", "-d", "img"], "");
    assert_eq!(texts(&output).0, format!("{ID}\n"));
    assert_eq!(fake.asked().len(), 2);
}

#[test]
fn a_missing_image_is_pulled_and_its_failure_is_125() {
    let fake = Fake::start(|request| match request {
        "POST /containers/create" => Some((404, r#"{"message":"No such image: img:latest"}"#)),
        "POST /images/create?fromImage=img&tag=latest" => {
            Some((404, r#"{"message":"pull access denied"}"#))
        }
        _ => None,
    });
    let output = fake.wharf(&["run", "img"], "");
    assert_eq!(output.status.code(), Some(125));
    let expected = "Unable to find image 'img:latest' locally\nwharf: Error response from daemon: pull access denied\n\nRun 'wharf run --help' for more information\n";
    assert_eq!(texts(&output).1, expected);
}

#[test]
fn a_failed_start_tells_by_its_code_why() {
    fn answer(request: &str) -> Option<(u16, &'static str)> {
        if request.ends_with("/start") {
            return Some((
                400,
                r#"{"message":"exec: \"nope\": executable file not found in $PATH"}"#,
            ));
        }
        happy(request)
    }
    let fake = Fake::start(answer);
    assert_eq!(
        fake.wharf(&["run", "-d", "img", "nope"], "").status.code(),
        Some(127)
    );
}

#[test]
fn ps_draws_dockers_table() {
    let fake = Fake::start(happy);
    let (out, _) = texts(&fake.wharf(
        &[
            "ps",
            "--format",
            "table {{.ID}}\\t{{.Command}}\\t{{.Status}}\\t{{.Names}}",
        ],
        "",
    ));
    let expected = "CONTAINER ID   COMMAND   STATUS       NAMES\n4f5e8a7b9c0d   \"nginx\"   Up 2 hours   web\n";
    assert_eq!(out, expected);
}

#[test]
fn every_failure_of_several_is_told() {
    let fake = Fake::start(|_| None);
    let output = fake.wharf(&["rm", "nope", "nope"], "");
    assert_eq!(output.status.code(), Some(1));
    let line = "Error response from daemon: No such container: nope\n";
    assert_eq!(texts(&output).1, format!("{line}{line}"));
}

#[test]
fn without_a_daemon_a_named_host_is_an_error() {
    let fake = Fake::start(|_| None);
    let output = fake.wharf(&["-H", "unix:///nowhere.sock", "ps"], "");
    assert_eq!(output.status.code(), Some(1));
    let expected = "Cannot connect to the Wharf daemon at unix:///nowhere.sock. Is the wharf daemon running?\n";
    assert_eq!(texts(&output).1, expected);
}

#[test]
fn wrong_command_lines() {
    let fake = Fake::start(|_| None);
    let check = |words: &[&str], code: i32, start: &str| {
        let output = fake.wharf(words, "");
        assert_eq!(output.status.code(), Some(code), "{words:?}");
        assert!(
            texts(&output).1.starts_with(start),
            "{words:?}: {}",
            texts(&output).1
        );
    };
    check(
        &["run"],
        1,
        "wharf: 'wharf run' requires at least 1 argument\n\nUsage:  wharf run [OPTIONS] IMAGE",
    );
    check(
        &["run", "--foo"],
        125,
        "unknown flag: --foo\n\nUsage:  wharf run",
    );
    check(&["ps", "-x"], 125, "unknown shorthand flag: 'x' in -x\n");
    let group =
        "\n\nUsage:  wharf container\n\nRun 'wharf container --help' for more information\n";
    for (word, code, error) in [
        ("-", 1, "wharf: unknown command: wharf container -"),
        ("-é", 125, "unknown shorthand flag: 'é' in -é"),
        ("-xé", 125, "unknown shorthand flag: 'x' in -xé"),
        ("--x=y", 125, "unknown flag: --x"),
        ("--=y", 125, "bad flag syntax: --=y"),
    ] {
        check(&["container", word], code, &format!("{error}{group}"));
    }
    check(&["--foo", "ps"], 125, "unknown flag: --foo\n");
    check(&["foo"], 1, "wharf: unknown command: wharf foo\n");
    check(
        &["container", "foo"],
        1,
        "wharf: unknown command: wharf container foo\n",
    );
    check(&["ps", "a"], 1, "wharf: 'wharf ps' accepts no arguments\n");
    check(
        &["tag", "a"],
        1,
        "wharf: 'wharf tag' requires 2 arguments\n",
    );
    check(&["run", "-it", "x"], 1, "the input device is not a TTY\n");
    check(
        &["run", "-p", "x", "img"],
        125,
        "wharf: invalid containerPort: x\n",
    );
    check(
        &["-c", "other", "ps"],
        1,
        "Failed to initialize: unable to resolve docker endpoint: context \"other\": context not found: ",
    );
    check(
        &["-H", "ftp://x", "ps"],
        1,
        "unable to parse wharf host `ftp://x`\n",
    );
    assert!(fake.asked().is_empty(), "nothing of it needs the daemon");
}

#[test]
fn every_command_has_help() {
    let fake = Fake::start(|_| None);
    for command in wharf::commands::root::commands() {
        let inner: Vec<&str> = match command.commands {
            [] => vec![""],
            list => list.iter().map(|command| command.name).collect(),
        };
        for word in inner {
            let mut words = vec![command.name];
            words.extend(Some(word).filter(|word| !word.is_empty()));
            words.push("--help");
            let output = fake.wharf(&words, "");
            assert!(output.status.success(), "{words:?}");
            let (out, _) = texts(&output);
            assert!(out.starts_with("Usage:"), "{words:?}");
        }
    }
}

/// What `make install` puts below a folder fits together: the unit starts the program that is there, the shim is beside it.
#[test]
fn what_is_installed_fits_together() {
    let root = Path::new(env!("WHARF_ROOT"));
    let folder = tempfile::tempdir().unwrap();
    let programs = folder.path().join("programs");
    std::fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_wharf"), programs.join("wharf")).unwrap();
    std::fs::write(programs.join("wharf-shim"), "").unwrap();
    let installed = folder.path().join("root");
    let status = Command::new("bash")
        .arg(root.join("scripts/install.sh"))
        .args([&programs, &installed])
        .env("PREFIX", "/opt/wharf")
        .status()
        .unwrap();
    assert!(status.success());
    let at = |path: &str| installed.join(path);
    let unit = std::fs::read_to_string(at("opt/wharf/lib/systemd/system/wharf.service")).unwrap();
    let starts = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart=/"));
    let program = starts.unwrap().split(' ').next().unwrap();
    let version = Command::new(at(program)).arg("--version").output().unwrap();
    assert!(version.status.success(), "{program}");
    assert!(at(program).with_file_name("wharf-shim").exists());
    for completion in [
        "bash-completion/completions/wharf",
        "zsh/vendor-completions/_wharf",
        "fish/vendor_completions.d/wharf.fish",
    ] {
        let script = std::fs::read_to_string(at("opt/wharf/share").join(completion)).unwrap();
        assert!(script.contains("wharf"), "{completion}");
    }
    for page in ["man1/wharf.1", "man8/wharf-shim.8"] {
        assert!(at("opt/wharf/share/man").join(page).exists(), "{page}");
    }
}

#[test]
fn a_daemon_that_finds_another_one_says_so_by_its_code() {
    let root = tempfile::tempdir().unwrap();
    let lock = std::fs::File::create(root.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let path = |name: &str| root.path().join(name).display().to_string();
    let socket = format!("unix://{}", path("s"));
    std::fs::write(path("daemon.json"), "{}").unwrap();
    // Should it not see the lock, it must not work on this machine.
    let output = Command::new("unshare")
        .args(["--mount", "--net", "--", env!("CARGO_BIN_EXE_wharf")])
        .args(["daemon", "-H", &socket, "--data-root", &path("")])
        .args(["--exec-root", &path("exec"), "--pidfile", &path("pid")])
        .args(["--config-file", &path("daemon.json")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(75), "{output:?}");
}
