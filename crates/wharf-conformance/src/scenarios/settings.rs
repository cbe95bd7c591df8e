//! Settings of the daemon: what it begins with, and what it takes while it runs.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use wharf_testkit::{Engine, EngineOptions, fixtures};

use crate::Case;
use crate::case::skip;

/// Writes another daemon.json, and has the daemon read it.
fn reload(case: &Case, config: &str) -> Result<()> {
    let folder = case.engine.world.path();
    std::fs::write(folder.join("daemon.json"), config)?;
    let pid = std::fs::read_to_string(folder.join("engine.pid"))?;
    case.engine
        .world
        .sh(&format!("kill -HUP {}", pid.trim()))
        .map(drop)
}

/// How often the daemon has told of new settings, and the last time what they are.
fn reloads(case: &Case) -> Result<(usize, Value)> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
    let filter = r#"{"type":["daemon"],"event":["reload"]}"#;
    let filter: String = filter.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let target = format!("/events?since=1&until={until}&filters={filter}");
    let answer = case.engine.api("GET", &target, None)?;
    let text = answer.text();
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let last = lines.last().map(|line| serde_json::from_str(line));
    Ok((lines.len(), last.transpose()?.unwrap_or_default()))
}

pub(crate) fn new_settings_without_a_new_daemon(case: &mut Case) -> Result<()> {
    let config = json!({
        "labels": ["a=b", "c=d"], "debug": true, "live-restore": true, "shutdown-timeout": 33,
        "registry-mirrors": ["https://mirror.example/"], "insecure-registries": ["10.9.0.0/16"],
        "max-concurrent-downloads": 7, "max-concurrent-uploads": 8, "max-download-attempts": 9,
        "runtimes": {"other": {"path": "/usr/bin/other"}}, "default-runtime": "other", "features": {"buildkit": false},
        "default-shm-size": "8M", "default-ipc-mode": "shareable", "default-cgroupns-mode": "host",
    });
    reload(case, &config.to_string())?;
    let (count, event) = loop {
        let (count, event) = reloads(case)?;
        if count > 0 {
            break (count, event);
        }
    };
    ensure!(count == 1 && event["Type"] == "daemon", "{event}");
    for (key, value) in [
        ("labels", r#"["a=b","c=d"]"#),
        ("debug", "true"),
        ("live-restore", "true"),
        ("shutdown-timeout", "33"),
        ("registry-mirrors", r#"["https://mirror.example/"]"#),
        ("max-concurrent-downloads", "7"),
        ("max-concurrent-uploads", "8"),
        ("max-download-attempts", "9"),
        ("default-runtime", "other"),
        ("features", "map[buildkit:false]"),
        ("default-shm-size", "8388608"),
        ("default-ipc-mode", "shareable"),
        ("default-cgroupns-mode", "host"),
    ] {
        ensure!(event["Actor"]["Attributes"][key] == value, "{key}: {event}");
    }
    let runtimes = &event["Actor"]["Attributes"]["runtimes"];
    ensure!(
        runtimes
            .as_str()
            .is_some_and(|text| text.contains("other:/usr/bin/other")),
        "{event}"
    );
    let info = case.expect("GET", "/info", None, 200)?;
    ensure!(
        info["DefaultRuntime"] == "other" && info["Runtimes"]["other"]["path"] == "/usr/bin/other",
        "{info}"
    );
    let ping = case.api("GET", "/_ping", None)?;
    ensure!(ping.header("builder-version") == Some("1"), "{ping:?}");
    ensure!(info["Labels"] == json!(["a=b", "c=d"]), "{info}");
    ensure!(
        info["Debug"] == true && info["LiveRestoreEnabled"] == true,
        "{info}"
    );
    let registry = &info["RegistryConfig"];
    ensure!(
        registry["Mirrors"] == json!(["https://mirror.example/"]),
        "{registry}"
    );
    let insecure = registry["InsecureRegistryCIDRs"].to_string();
    ensure!(insecure.contains("10.9.0.0/16"), "{registry}");
    // What makes no sense changes nothing; what comes behind it does.
    reload(case, "{ this is no JSON")?;
    reload(case, r#"{"labels": ["e=f"], "debug": false}"#)?;
    while reloads(case)?.0 < 2 {}
    let info = case.expect("GET", "/info", None, 200)?;
    ensure!(
        info["Labels"] == json!(["e=f"]) && info["Debug"] == false,
        "{info}"
    );
    Ok(())
}

pub(crate) fn log_driver_of_containers_to_come(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("only Wharf has this");
    }
    case.ok(&["create", "--name", "old", "busybox", "true"])?;
    reload(
        case,
        r#"{"log-driver": "local", "log-opts": {"max-size": "1m", "max-file": "2"}}"#,
    )?;
    while case.ok(&["info", "-f", "{{.LoggingDriver}}"])? != "local" {}
    case.ok(&["create", "--name", "new", "busybox", "true"])?;
    let format =
        "{{.HostConfig.LogConfig.Type}} {{index .HostConfig.LogConfig.Config \"max-size\"}}";
    case.prints(&["inspect", "-f", format, "new"], "local 1m")?;
    let kind = "{{.HostConfig.LogConfig.Type}}";
    case.prints(&["inspect", "-f", kind, "old"], "json-file")
}

pub(crate) fn log_driver_of_the_daemon(case: &mut Case) -> Result<()> {
    let (kind, client) = (case.engine.kind, case.client);
    let start = |config: &str| {
        let options = EngineOptions {
            config: Some(config.to_owned()),
            ..EngineOptions::default()
        };
        Engine::start(kind, options)
    };
    let words = "unknown log opt 'nonsense' for json-file log driver";
    let failure = start(r#"{"log-opts": {"nonsense": "1"}}"#).err();
    let failure = failure
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    ensure!(failure.contains(words), "{failure}");
    let config =
        r#"{"log-driver": "local", "log-opts": {"max-size": "1m", "cache-disabled": "true"}}"#;
    let other = Case {
        engine: start(config)?,
        client,
    };
    let archive = fixtures::folder()?.join("busybox.tar");
    let archive = archive.display().to_string();
    other.ok(&["load", "-q", "-i", &archive])?;
    other.prints(&["info", "-f", "{{.LoggingDriver}}"], "local")?;
    for (name, options, expected) in [
        (
            "c1",
            &[][..],
            r#"{"cache-disabled":"true","max-size":"1m"}"#,
        ),
        (
            "c2",
            &["--log-opt", "max-size=2m"],
            r#"{"cache-disabled":"true","max-size":"2m"}"#,
        ),
        // Options of another driver are none of it, but for those of what is kept.
        (
            "c3",
            &["--log-driver", "json-file"],
            r#"{"cache-disabled":"true"}"#,
        ),
    ] {
        let mut args = vec!["create", "--name", name];
        args.extend(options);
        args.extend(["busybox", "true"]);
        other.ok(&args)?;
        let format = "{{json .HostConfig.LogConfig.Config}}";
        other.prints(&["inspect", "-f", format, name], expected)?;
    }
    Ok(())
}

/// An authority, and certificates of a daemon and of a client, in the folder.
const CERTIFICATES: &str = r#"
set -e
mkdir -p "$0" && cd "$0"
new() { openssl req -newkey rsa:2048 -nodes -keyout "$1-key.pem" -subj "/CN=$1" "${@:2}" 2> /dev/null; }
new ca -x509 -days 2 -out ca.pem
new other-ca -x509 -days 2 -out other-ca.pem
printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' > server.ext
printf 'extendedKeyUsage=clientAuth\n' > client.ext
for name in server client; do
    new $name | openssl x509 -req -days 2 -CA ca.pem -CAkey ca-key.pem -CAcreateserial \
        -extfile $name.ext -out $name.pem 2> /dev/null
done
"#;

/// Makes `ca.pem`, `other-ca.pem`, and `server.pem` (of 127.0.0.1) and `client.pem` with their keys.
pub(super) fn certificates(folder: &std::path::Path) -> Result<()> {
    let made = std::process::Command::new("bash")
        .args(["-c", CERTIFICATES])
        .arg(folder)
        .status()?;
    ensure!(made.success(), "certificates");
    Ok(())
}

pub(crate) fn clients_over_tls(case: &mut Case) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    certificates(folder.path())?;
    let mut args = vec!["-H".to_owned(), "tcp://127.0.0.1:2376".to_owned()];
    args.push("--tlsverify".to_owned());
    for (flag, file) in [
        ("tlscacert", "ca"),
        ("tlscert", "server"),
        ("tlskey", "server-key"),
    ] {
        args.extend([format!("--{flag}"), path(&format!("{file}.pem"))]);
    }
    let options = EngineOptions {
        args,
        ..EngineOptions::default()
    };
    let engine = Engine::start(case.engine.kind, options)?;
    let program = match case.client {
        crate::Client::Docker => std::path::PathBuf::from("docker"),
        crate::Client::Wharf => wharf_testkit::engine::program("wharf"),
    };
    // Inside, as only there is the daemon's loopback.
    let run = |flags: &[String]| -> Result<(bool, String)> {
        let mut command = engine.world.command(&program);
        command.env("HOME", folder.path());
        command.args(["-H", "tcp://127.0.0.1:2376"]).args(flags);
        let output = command.args(["info", "-f", "{{.OSType}}"]).output()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok((output.status.success(), text))
    };
    let identity = [
        format!("--tlscert={}", path("client.pem")),
        format!("--tlskey={}", path("client-key.pem")),
    ];
    let authority = |file: &str| {
        [
            format!("--tlscacert={}", path(file)),
            "--tlsverify".to_owned(),
        ]
    };
    let (good, text) = run(&[&identity[..], &authority("ca.pem")].concat())?;
    ensure!(good && text.trim() == "linux", "{text}");
    let anybody = [
        "--tls".to_owned(),
        format!("--tlscacert={}", path("other-ca.pem")),
    ];
    let (good, text) = run(&[&identity[..], &anybody].concat())?;
    ensure!(good && text.trim() == "linux", "{text}");
    // The daemon is not who it should be; the client says nothing of who it is; no TLS at all.
    let (good, text) = run(&[&identity[..], &authority("other-ca.pem")].concat())?;
    ensure!(!good && text.contains("ertificate"), "{text}");
    let (_, text) = run(&authority("ca.pem"))?;
    ensure!(!text.contains("linux"), "{text}");
    let (_, text) = run(&[])?;
    ensure!(!text.contains("linux"), "{text}");
    Ok(())
}
