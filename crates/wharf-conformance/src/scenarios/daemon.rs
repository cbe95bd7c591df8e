//! Flags of the daemon and keys of daemon.json: honoured, or refused with a clear word.

use anyhow::{Result, ensure};
use serde_json::json;
use wharf_testkit::{EngineKind, engine, fixtures};

use crate::Case;

/// A daemon.json, flags beside it, and what `--validate` says of both.
type Refused = (&'static str, &'static [&'static str], &'static str);

const REFUSED: &[Refused] = &[
    (
        r#"{"nope": 1}"#,
        &[],
        "the following directives don't match any configuration option: nope",
    ),
    (
        r#"{"debug": false, "labels": ["a=b"]}"#,
        &["--debug", "--label", "c=d"],
        "the following directives are specified both as a flag and in the configuration file: ",
    ),
    (
        r#"{"labels": ["a=b"]}"#,
        &["--label", "c=d"],
        "labels: (from flag: [c=d], from file: [a=b])",
    ),
    (r#"{"debug": "x"}"#, &[], "debug"),
    (
        r#"{"log-level": "x"}"#,
        &[],
        "validation from file and command line flags failed: invalid logging level: x",
    ),
    (r#"{"log-format": "x"}"#, &[], "invalid log format: x"),
    (r#"{"mtu": -1}"#, &[], "invalid default MTU: -1"),
    (
        r#"{"max-concurrent-downloads": -1}"#,
        &[],
        "invalid max concurrent downloads: -1",
    ),
    (
        r#"{"max-concurrent-uploads": -1}"#,
        &[],
        "invalid max concurrent uploads: -1",
    ),
    (r#"{"dns": ["x"]}"#, &[], "invalid IP address: x"),
    (
        r#"{"dns-search": ["a b"]}"#,
        &[],
        "a b is not a valid domain",
    ),
    (
        r#"{"default-ipc-mode": "host"}"#,
        &[],
        "IPC mode \"host\" is not supported as default value; use \"shareable\" or \"private\"",
    ),
    (
        r#"{"default-cgroupns-mode": "x"}"#,
        &[],
        "default cgroup namespace mode (x) is invalid",
    ),
];

/// What `--validate` says of this file and these flags: whether they are fine, and the words.
fn validate(case: &Case, config: &str, flags: &[&str]) -> Result<(bool, String)> {
    let file = case.engine.world.path().join("tried.json");
    std::fs::write(&file, config)?;
    let mut command = match case.engine.kind {
        EngineKind::Wharf => {
            let mut command = case.engine.world.command(engine::program("wharf"));
            command.arg("daemon");
            command
        }
        EngineKind::Dockerd => case.engine.world.command("dockerd"),
        EngineKind::Dockerd26 => {
            let folder = fixtures::dockerd_26()?;
            case.engine.world.command(folder.join("dockerd"))
        }
    };
    let output = command
        .arg("--validate")
        .arg("--config-file")
        .arg(&file)
        .args(flags)
        .output()?;
    let words = [output.stdout, output.stderr].concat();
    let words = String::from_utf8_lossy(&words).trim().to_owned();
    Ok((output.status.success(), words))
}

pub(crate) fn settings_are_checked(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        return Ok(()); // 20.10 cannot be asked.
    }
    let good = json!({
        "debug": true, "features": {"buildkit": true}, "labels": ["a=b"], "log-opts": {"max-size": "1m"},
        "runtimes": {"other": {"path": "/usr/bin/other", "runtimeArgs": ["--debug"]}},
        "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 5, "Soft": 4}},
    });
    let (fine, words) = validate(case, &good.to_string(), &["--init"])?;
    ensure!(fine && words == "configuration OK", "{words}");
    for (config, flags, expected) in REFUSED {
        let (fine, words) = validate(case, config, flags)?;
        ensure!(
            !fine && words.contains(expected),
            "{config} {flags:?}: {words}"
        );
        ensure!(
            words.contains("unable to configure the Docker daemon with file"),
            "{words}"
        );
    }
    if case.engine.kind.is_dockerd() {
        return Ok(()); // What follows it has, or finds out later.
    }
    for (config, flags, expected) in [
        (
            r#"{"containerd": "/run/x.sock"}"#,
            &[][..],
            "containerd (line 1) is not supported: ",
        ),
        (
            "{}",
            &["--containerd", "/run/x.sock"],
            "--containerd is not supported: ",
        ),
        (
            r#"{"default-runtime": "x"}"#,
            &[],
            "specified default runtime 'x' does not exist",
        ),
        (
            r#"{"runtimes": {"runc": {"path": "/x"}}}"#,
            &[],
            "runtime name 'runc' is reserved",
        ),
        (
            r#"{"seccomp-profile": "/nope"}"#,
            &[],
            "opening seccomp profile (/nope) failed",
        ),
        (
            r#"{"storage-driver": "vfs"}"#,
            &[],
            "storage driver vfs is not supported",
        ),
        (
            r#"{"exec-opts": ["x=y"]}"#,
            &[],
            "unknown option: exec-opt \"x\"",
        ),
        (r#"{"debug": ""}"#, &[], "debug (line 1): invalid type"),
        (r#"{"bip": "x"}"#, &[], "invalid CIDR address: x"),
        (r#"{"bip": "10.7.0.0/24"}"#, &[], "10.7.0.0/24"),
        (
            r#"{"bip": "10.7.0.1/24", "fixed-cidr": "10.8.0.0/25"}"#,
            &[],
            "fixed-cidr 10.8.0.0/25 is not within the bridge's subnet 10.7.0.0/24",
        ),
        (
            r#"{"bridge": "b", "bip": "10.7.0.1/24"}"#,
            &[],
            "You specified -b & --bip, mutually exclusive options",
        ),
        (
            r#"{"iptables": false, "icc": false}"#,
            &[],
            "You specified --iptables=false with --icc=false.",
        ),
        (
            r#"{"default-address-pools": [{"base": "10.0.0.0/16", "size": 8}]}"#,
            &[],
            "networks of size /8 do not fit into 10.0.0.0/16",
        ),
        (
            r#"{"log-opts": {"nope": "1"}}"#,
            &[],
            "failed to set log opts: ",
        ),
        (
            r#"{"hosts": ["tcp://192.0.2.1:2375"]}"#,
            &[],
            "use --tlsverify, or a loopback address",
        ),
        (
            r#"{"group": "no-such-group"}"#,
            &[],
            "group no-such-group not found",
        ),
        (
            r#"{"tls": true, "tlscert": "/nope", "tlskey": "/nope"}"#,
            &[],
            "could not load X509 key pair",
        ),
        (r#"{"metrics-addr": "x"}"#, &[], "invalid metrics-addr x"),
    ] {
        let (fine, words) = validate(case, config, flags)?;
        ensure!(
            !fine && words.contains(expected),
            "{config} {flags:?}: {words}"
        );
    }
    Ok(())
}

pub(crate) fn defaults_of_containers(case: &mut Case) -> Result<()> {
    let config = json!({
        "init": true, "default-shm-size": "8M", "default-ipc-mode": "shareable", "no-new-privileges": true,
        "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 333, "Soft": 222}},
        "log-driver": "none", "dns": ["10.1.2.3"], "dns-search": ["example.org"],
    });
    let case = Case::with(case.engine.kind, case.client, Some(config.to_string()))?;
    let look = "ulimit -n; ulimit -Hn; df -k /dev/shm | tail -n1 | tr -s ' ' | cut -d' ' -f2; \
        grep -c docker-init /proc/1/cmdline; grep NoNewPrivs /proc/self/status | tr -d '\\t'; grep -v '^#' /etc/resolv.conf | grep -E '10.1.2.3|example.org' | wc -l";
    let seen = case.ok(&["run", "--rm", "busybox", "sh", "-c", look])?;
    ensure!(seen == "222\n333\n8192\n1\nNoNewPrivs:1\n2", "{seen}");
    case.ok(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"])?;
    let format = "{{.HostConfig.IpcMode}} {{.HostConfig.LogConfig.Type}} {{.HostConfig.ShmSize}}";
    case.prints(&["inspect", "-f", format, "c1"], "shareable none 8388608")?;
    let own = [
        "run",
        "--rm",
        "--ulimit",
        "nofile=100:200",
        "busybox",
        "sh",
        "-c",
        "ulimit -n",
    ];
    case.prints(&own, "100")
}

pub(crate) fn metrics_are_served(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        return Ok(()); // 20.10 wants to be experimental for it.
    }
    let config = json!({"metrics-addr": "127.0.0.1:9323", "experimental": true}).to_string();
    let case = Case::with(case.engine.kind, case.client, Some(config))?;
    case.ok(&["run", "-d", "busybox", "sleep", "1000"])?;
    // By whatever name.
    let get = "exec 3<>/dev/tcp/127.0.0.1/9323; printf 'GET /metrics HTTP/1.1\\r\\nHost: node.example.com:9323\\r\\n\\r\\n' >&3; cat <&3";
    let output = case
        .engine
        .world
        .command("bash")
        .args(["-c", get])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(text.starts_with("HTTP/1.1 200"), "{text}");
    // A connection has one request.
    ensure!(text.contains("\r\nConnection: close\r\n"), "{text}");
    for line in [
        "engine_daemon_container_states_containers{state=\"running\"} 1",
        "# TYPE engine_daemon_engine_cpus_cpus gauge",
        "# TYPE engine_daemon_events_total counter",
    ] {
        ensure!(
            text.lines().any(|one| one.trim_end() == line),
            "{line}: {text}"
        );
    }
    case.prints(&["version", "-f", "{{.Server.Experimental}}"], "true")
}

/// A container that does not stop keeps the daemon for as long as it is asked to wait, but not against somebody who insists.
pub(crate) fn signals_of_the_daemon(case: &mut Case) -> Result<()> {
    case.engine.signal("USR1")?;
    let never = ["--stop-timeout", "1000000", "--name", "stays"];
    let script = "trap : TERM; touch /ready; while :; do sleep 1; done";
    let words = [&["run", "-d"], &never[..], &["busybox", "sh", "-c", script]].concat();
    case.ok(&words)?;
    super::containers::until(|| Ok(case.run(&["exec", "stays", "ls", "/ready"])?.code == 0))?;
    case.engine.insist_on_stop()?;
    case.engine.launch()?;
    case.prints(&["inspect", "-f", "{{.Name}}", "stays"], "/stays")?;
    case.ok(&["rm", "-f", "stays"]).map(drop)
}
