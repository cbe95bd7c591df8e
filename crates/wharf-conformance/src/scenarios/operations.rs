//! Operations on containers and execs through the API: every setting of a new container, and what is not there.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::Case;

/// What every container of this file runs.
const SLEEP: [&str; 2] = ["sleep", "1000"];

/// Settings that the command line has flags for, or none, all at once.
fn settings() -> Value {
    json!({
        "Image": "busybox", "Cmd": SLEEP, "Hostname": "h1", "Domainname": "d.example",
        "StopSignal": "SIGTERM", "StopTimeout": 7, "Shell": ["/bin/sh", "-c"], "OnBuild": ["RUN true"],
        "Volumes": { "/anonymous": {} },
        "Healthcheck": {
            "Test": ["NONE"], "StartPeriod": 1_000_000_000_i64, "StartInterval": 1_000_000_000_i64,
        },
        "HostConfig": {
            "Annotations": { "com.example.note": "one" }, "CapDrop": ["CHOWN"], "CpuShares": 512,
            "Dns": ["192.0.2.53"], "DnsOptions": ["ndots:3"], "DnsSearch": ["search.example"],
            "ExtraHosts": ["other:192.0.2.7"], "GroupAdd": ["4242"], "IpcMode": "shareable",
            "LogConfig": { "Type": "json-file", "Config": { "max-size": "1m" } },
            "MaskedPaths": ["/proc/kcore"], "ReadonlyPaths": ["/proc/sys"],
            "Sysctls": { "net.ipv4.ip_default_ttl": "77" },
            "Ulimits": [{ "Name": "nofile", "Soft": 77, "Hard": 99 }],
            "Devices": [{ "PathOnHost": "/dev/null", "PathInContainer": "/dev/other", "CgroupPermissions": "r" }],
            "Mounts": [
                { "Type": "tmpfs", "Target": "/t", "TmpfsOptions": { "SizeBytes": 65536, "Mode": 448 } },
                { "Type": "volume", "Source": "v1", "Target": "/v",
                  "VolumeOptions": { "NoCopy": true, "Labels": { "a": "b" }, "DriverConfig": { "Name": "local" } } },
                { "Type": "bind", "Source": "/tmp/made/here", "Target": "/b",
                  "BindOptions": { "CreateMountpoint": true } },
            ],
        },
    })
}

pub(crate) fn every_setting_is_kept_and_holds(case: &mut Case) -> Result<()> {
    let target = "/containers/create?name=c1&platform=linux";
    case.expect("POST", target, Some(&settings()), 201)?;
    case.expect("POST", "/containers/c1/start", None, 204)?;
    let shown = case.expect("GET", "/containers/c1/json", None, 200)?;
    let asked = settings();
    for key in [
        "Hostname",
        "Domainname",
        "StopSignal",
        "StopTimeout",
        "Shell",
        "OnBuild",
    ] {
        ensure!(
            shown["Config"][key] == asked[key],
            "{key}: {}",
            shown["Config"]
        );
    }
    for key in [
        "Annotations",
        "CapDrop",
        "CpuShares",
        "Dns",
        "DnsOptions",
        "DnsSearch",
        "ExtraHosts",
        "GroupAdd",
        "IpcMode",
        "LogConfig",
        "MaskedPaths",
        "ReadonlyPaths",
        "Sysctls",
        "Ulimits",
        "Devices",
    ] {
        let (is, was) = (&shown["HostConfig"][key], &asked["HostConfig"][key]);
        // dockerd writes capabilities out.
        let same = is == was || key == "CapDrop" && *is == json!(["CAP_CHOWN"]);
        // Of before API 1.46.
        let old = case.engine.kind.is_dockerd() && key == "Annotations" && is.is_null();
        ensure!(same || old, "{key}: {is} instead of {was}");
    }
    let runtime = &case.expect("GET", "/info", None, 200)?["DefaultRuntime"];
    let init = json!({ "Image": "busybox", "HostConfig": { "Init": true, "Runtime": runtime } });
    case.expect("POST", "/containers/create?name=c2", Some(&init), 201)?;
    let shown = case.expect("GET", "/containers/c2/json", None, 200)?;
    ensure!(
        shown["HostConfig"]["Init"] == json!(true) && shown["HostConfig"]["Runtime"] == *runtime,
        "{shown}"
    );
    let listed = case.expect("GET", "/containers/json", None, 200)?;
    ensure!(listed[0]["Names"] == json!(["/c1"]), "{listed}");
    for (command, says) in [
        ("cat /proc/sys/net/ipv4/ip_default_ttl", "77"),
        ("grep -c '^192.0.2.7.other$' /etc/hosts", "1"),
        (
            "grep -c -e 'nameserver 192.0.2.53' -e 'search search.example' -e 'options ndots:3' /etc/resolv.conf",
            "3",
        ),
        ("id -G | grep -c 4242", "1"),
        ("hostname -f", "h1.d.example"),
        (
            "stat -c %a /t && df -k /t | tail -n 1 | awk '{print $2}'",
            "700\n64",
        ),
        ("cat /dev/other && echo there", "there"),
        ("ulimit -Sn; ulimit -Hn", "77\n99"),
        ("echo 12345678 > /written", ""),
        ("touch /v/f /b/f /anonymous/f && echo made", "made"),
        ("chown 1:1 /v/f 2>/dev/null || echo refused", "refused"),
        (
            "(echo 1 >/proc/sys/net/ipv4/ip_forward) 2>/dev/null || echo refused",
            "refused",
        ),
    ] {
        case.prints(&["exec", "c1", "sh", "-c", command], says)?;
    }
    let listed = case.expect("GET", "/containers/json?size=1", None, 200)?;
    ensure!(listed[0]["SizeRw"].as_u64() >= Some(9), "{listed}");
    case.expect("DELETE", "/containers/c1?force=1&v=1", None, 204)?;
    Ok(())
}

pub(crate) fn what_is_not_there(case: &mut Case) -> Result<()> {
    let gone = "No such container: nope";
    for operation in [
        "kill",
        "pause",
        "unpause",
        "rename?name=other",
        "restart",
        "stop",
        "start",
        "wait",
        "resize?h=1&w=1",
    ] {
        let target = format!("/containers/nope/{operation}");
        let answer = case.expect("POST", &target, None, 404)?;
        // Some say more in front.
        let words = answer["message"].as_str().unwrap_or_default();
        ensure!(words.ends_with(gone), "{operation}: {answer}");
    }
    for operation in [
        "logs?stdout=1",
        "top",
        "stats?stream=0",
        "changes",
        "export",
        "json",
    ] {
        let target = format!("/containers/nope/{operation}");
        let answer = case.expect("GET", &target, None, 404)?;
        ensure!(answer["message"] == gone, "{operation}: {answer}");
    }
    // dockerd's answer is no JSON.
    case.expect("POST", "/containers/nope/attach", None, 404)?;
    let exec = json!({ "Cmd": ["true"] });
    let answer = case.expect("POST", "/containers/nope/exec", Some(&exec), 404)?;
    ensure!(answer["message"] == gone, "{answer}");
    let gone = "No such exec instance: nope";
    for (method, target) in [
        ("GET", "/exec/nope/json"),
        ("POST", "/exec/nope/start"),
        ("POST", "/exec/nope/resize?h=1&w=1"),
    ] {
        let body = (method == "POST").then(|| json!({ "Detach": true }));
        let answer = case.expect(method, target, body.as_ref(), 404)?;
        ensure!(answer["message"] == gone, "{target}: {answer}");
    }
    Ok(())
}

pub(crate) fn what_makes_no_sense(case: &mut Case) -> Result<()> {
    let body = json!({ "Image": "busybox", "Cmd": SLEEP });
    for name in ["c1", "c2"] {
        let target = format!("/containers/create?name={name}");
        case.expect("POST", &target, Some(&body), 201)?;
    }
    let taken = case.expect("POST", "/containers/c1/rename?name=c2", None, 409)?;
    let words = taken["message"].as_str().unwrap_or_default();
    ensure!(
        words.contains("The container name \"/c2\" is already in use"),
        "{words}"
    );
    case.expect("POST", "/containers/c1/wait?condition=never", None, 400)?;
    let exec = json!({ "Cmd": ["true"] });
    let refused = case.expect("POST", "/containers/c1/exec", Some(&exec), 409)?;
    let words = refused["message"].as_str().unwrap_or_default();
    ensure!(
        words.starts_with("container ") && words.ends_with(" is not running"),
        "{words}"
    );
    // An exec of a container that has ended since, and one that has run.
    case.expect("POST", "/containers/c1/start", None, 204)?;
    let id = |answer: &Value| answer["Id"].as_str().unwrap_or_default().to_owned();
    let made = case.expect("POST", "/containers/c1/exec", Some(&exec), 201)?;
    let (start, detached) = (
        format!("/exec/{}/start", id(&made)),
        json!({ "Detach": true }),
    );
    case.expect("POST", &start, Some(&detached), 200)?;
    case.expect("POST", &start, Some(&detached), 409)?;
    Ok(())
}

pub(crate) fn signals_sizes_and_filters(case: &mut Case) -> Result<()> {
    // It says which signal it was stopped with, and how large its terminal is.
    let script = "trap 'echo usr1; exit 3' USR1; trap 'echo term; exit 4' TERM; trap 'stty size' WINCH; echo up; while :; do sleep 0.1; done";
    let body = json!({ "Image": "busybox", "Cmd": ["sh", "-c", script], "Tty": true, "Labels": { "keep": "no" } });
    case.expect("POST", "/containers/create?name=c1", Some(&body), 201)?;
    let says = |text: &str| -> Result<()> {
        while !case.ok(&["logs", "c1"])?.replace('\r', "").contains(text) {}
        Ok(())
    };
    case.expect("POST", "/containers/c1/start", None, 204)?;
    says("up")?;
    case.expect("POST", "/containers/c1/resize?h=33&w=77", None, 200)?;
    says("33 77")?;
    case.expect("POST", "/containers/c1/restart?signal=SIGUSR1", None, 204)?;
    says("usr1\nup")?;
    case.expect("POST", "/containers/c1/stop?signal=SIGUSR1&t=30", None, 204)?;
    case.prints(&["inspect", "-f", "{{.State.ExitCode}}", "c1"], "3")?;
    let filters = |label: &str| {
        let text = json!({ "label": [label] }).to_string();
        let text: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        format!("/containers/prune?filters={text}")
    };
    let none = case.expect("POST", &filters("keep=yes"), None, 200)?;
    ensure!(
        none["ContainersDeleted"]
            .as_array()
            .is_none_or(Vec::is_empty),
        "{none}"
    );
    let one = case.expect("POST", &filters("keep=no"), None, 200)?;
    ensure!(
        one["ContainersDeleted"]
            .as_array()
            .is_some_and(|all| all.len() == 1),
        "{one}"
    );
    Ok(())
}

pub(crate) fn execs_with_terminals(case: &mut Case) -> Result<()> {
    let body = json!({ "Image": "busybox", "Cmd": SLEEP });
    case.expect("POST", "/containers/create?name=c1", Some(&body), 201)?;
    case.expect("POST", "/containers/c1/start", None, 204)?;
    let update = json!({ "CpuShares": 333 });
    case.expect("POST", "/containers/c1/update", Some(&update), 200)?;
    case.prints(&["inspect", "-f", "{{.HostConfig.CpuShares}}", "c1"], "333")?;
    // The size is there before the program is; a later one is told to it.
    let script = "trap 'stty size >/second; exit 5' WINCH; stty size >/first; grep CapEff /proc/self/status >/caps; while :; do sleep 0.1; done";
    let exec = json!({
        "Cmd": ["sh", "-c", script], "Tty": true, "Privileged": true, "ConsoleSize": [21, 42], "DetachKeys": "ctrl-x",
    });
    let made = case.expect("POST", "/containers/c1/exec", Some(&exec), 201)?;
    let id = made["Id"].as_str().unwrap_or_default().to_owned();
    let start = json!({ "Detach": true, "Tty": true, "ConsoleSize": [22, 44] });
    case.expect("POST", &format!("/exec/{id}/start"), Some(&start), 200)?;
    let read = |file: &str| {
        case.ok(&[
            "exec",
            "c1",
            "sh",
            "-c",
            &format!("cat {file} 2>/dev/null || true"),
        ])
    };
    while read("/caps")?.is_empty() {}
    // dockerd heeds the size of an exec from 20.10 on only where one is attached to it.
    if !case.engine.kind.is_dockerd() {
        ensure!(read("/first")? == "22 44", "{}", read("/first")?);
    }
    let plain = case.ok(&["exec", "c1", "grep", "CapEff", "/proc/self/status"])?;
    ensure!(read("/caps")? != plain, "{plain}");
    case.expect("POST", &format!("/exec/{id}/resize?h=11&w=55"), None, 200)?;
    while read("/second")?.is_empty() {}
    ensure!(read("/second")? == "11 55", "{}", read("/second")?);
    loop {
        let shown = case.expect("GET", &format!("/exec/{id}/json"), None, 200)?;
        if shown["Running"] == json!(false) {
            ensure!(shown["ExitCode"] == 5, "{shown}");
            return Ok(());
        }
    }
}
