//! Containers through their life, and how they are looked at.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use wharf_testkit::EngineKind;

use crate::Case;

/// Polls until `holds`, for a minute at most: a limit for a broken engine, nothing is measured by it.
pub(crate) fn until(mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds()? {
        ensure!(Instant::now() < deadline, "it does not come to hold");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn status(case: &Case, id: &str) -> Result<String> {
    case.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", id])
}

pub(crate) fn create_start_stop_kill(case: &mut Case) -> Result<()> {
    let id = case.ok(&["create", "--name", "c1", "busybox", "sleep", "1000"])?;
    ensure!(status(case, "c1")? == "created 0");
    case.prints(&["start", "c1"], "c1")?;
    ensure!(status(case, &id[..12])? == "running 0");
    case.prints(&["stop", "-t", "0", "c1"], "c1")?;
    ensure!(
        status(case, "c1")? == "exited 137",
        "{}",
        status(case, "c1")?
    );
    case.ok(&["start", "c1"])?;
    case.prints(&["restart", "-t", "0", "c1"], "c1")?;
    ensure!(status(case, "c1")? == "running 0");
    case.prints(&["kill", "-s", "9", "c1"], "c1")?;
    case.ok(&["wait", "c1"])?;
    ensure!(status(case, "c1")? == "exited 137");
    case.fails(&["kill", "c1"], 1, "is not running")?;
    case.fails(&["start", "nope"], 1, "No such container: nope")?;
    let stopped = case.api("POST", "/containers/c1/stop", None)?;
    ensure!(stopped.status == 304, "{}", stopped.status);
    case.ok(&["start", "c1"])?;
    let started = case.api("POST", "/containers/c1/start", None)?;
    ensure!(started.status == 304, "{}", started.status);
    let trap = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    case.ok(&["run", "-d", "--name", "t1", "busybox", "sh", "-c", trap])?;
    until(|| Ok(case.ok(&["logs", "t1"])? == "ready"))?;
    case.ok(&["stop", "t1"])?;
    ensure!(status(case, "t1")? == "exited 5", "{}", status(case, "t1")?);
    Ok(())
}

pub(crate) fn wait_conditions(case: &mut Case) -> Result<()> {
    case.ok(&["create", "--name", "c1", "busybox", "sh", "-c", "exit 3"])?;
    let socket = case.engine.socket();
    let next = std::thread::spawn(move || {
        wharf_testkit::api::request(
            &socket,
            "POST",
            "/v1.41/containers/c1/wait?condition=next-exit",
            None,
        )
    });
    case.ok(&["start", "c1"])?;
    case.prints(&["wait", "c1"], "3")?;
    let answer = case.expect(
        "POST",
        "/containers/c1/wait?condition=not-running",
        None,
        200,
    )?;
    ensure!(answer["StatusCode"] == 3, "{answer}");
    // The first may have come before or after the exit; a second start settles it.
    case.ok(&["start", "c1"])?;
    let next = next.join().map_err(|_| anyhow::anyhow!("wait"))??;
    ensure!(next.json()["StatusCode"] == 3, "{}", next.text());
    case.fails(&["wait", "nope"], 1, "No such container: nope")
}

pub(crate) fn exec_runs_in_the_container(case: &mut Case) -> Result<()> {
    case.ok(&[
        "run", "-d", "--name", "c1", "-e", "A=1", "busybox", "sleep", "1000",
    ])?;
    case.prints(
        &[
            "exec",
            "c1",
            "sh",
            "-c",
            "echo $A; ls /proc/1/exe >/dev/null && echo same",
        ],
        "1\nsame",
    )?;
    case.prints(
        &[
            "exec",
            "-e",
            "B=2",
            "-w",
            "/tmp",
            "-u",
            "nobody",
            "c1",
            "sh",
            "-c",
            "echo $B; pwd; id -u",
        ],
        "2\n/tmp\n65534",
    )?;
    let code = case.run(&["exec", "c1", "sh", "-c", "exit 9"])?.code;
    ensure!(code == 9, "{code}");
    execs_that_cannot_be(case)?;
    case.ok(&["exec", "-d", "c1", "touch", "/made"])?;
    until(|| Ok(case.run(&["exec", "c1", "test", "-e", "/made"])?.code == 0))?;
    case.ok(&["stop", "-t", "0", "c1"])?;
    case.fails(&["exec", "c1", "true"], 1, "is not running")
}

/// Why is said on standard output; the code is the same, whatever the reason.
fn execs_that_cannot_be(case: &Case) -> Result<()> {
    for (program, words, status) in [
        ("nosuchprogram", "executable file not found in $PATH", 400),
        (
            "/nosuchprogram",
            "stat /nosuchprogram: no such file or directory",
            400,
        ),
        // The words for a folder are those of the Go that runc is built with.
        ("/etc", "exec: \"/etc\": ", 400),
        (
            "/etc/passwd",
            "exec: \"/etc/passwd\": permission denied",
            400,
        ),
        (
            "/etc/passwd/x",
            "not a directory: unknown: Are you trying to mount a directory onto a file",
            400,
        ),
        ("/loop", "too many levels of symbolic links", 500),
    ] {
        case.ok(&["exec", "c1", "ln", "-sfn", "/loop", "/loop"])?;
        for terminal in ["-t=false", "-t"] {
            let run = case.run(&["exec", terminal, "c1", program])?;
            let said = format!("{}{}", run.stdout, run.stderr);
            ensure!(run.code == 126 && said.contains(words), "{run:?}");
        }
        let made = json!({"Cmd": [program]});
        let made = case.expect("POST", "/containers/c1/exec", Some(&made), 201)?;
        let path = format!("/exec/{}", made["Id"].as_str().unwrap_or_default());
        // dockerd 20.10 knows of 400 alone.
        if case.engine.kind != EngineKind::Dockerd {
            let detached = json!({"Detach": true});
            // Not all of these are in the description of the API.
            let start = format!("{path}/start");
            let answer = case.engine.api("POST", &start, Some(&detached))?;
            ensure!(answer.status == status, "{program}: {}", answer.status);
            let shown = case.expect("GET", &format!("{path}/json"), None, 200)?;
            ensure!(shown["ExitCode"] == 126, "{shown}");
        }
    }
    Ok(())
}

pub(crate) fn rename_and_top(case: &mut Case) -> Result<()> {
    case.ok(&["run", "-d", "--name", "old", "busybox", "sleep", "1234"])?;
    case.ok(&["rename", "old", "new"])?;
    case.fails(
        &["inspect", "--type", "container", "old"],
        1,
        "No such container: old",
    )?;
    let top = case.ok(&["top", "new"])?;
    let mut lines = top.lines();
    let head: Vec<_> = lines
        .next()
        .context("no head")?
        .split_whitespace()
        .collect();
    ensure!(
        head == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"],
        "{top}"
    );
    ensure!(
        lines
            .next()
            .is_some_and(|line| line.ends_with("sleep 1234")),
        "{top}"
    );
    Ok(())
}

pub(crate) fn ps_filters(case: &mut Case) -> Result<()> {
    case.ok(&[
        "run",
        "-d",
        "--name",
        "up",
        "-l",
        "tier=front",
        "busybox",
        "sleep",
        "1000",
    ])?;
    case.ok(&[
        "run",
        "--name",
        "down",
        "-l",
        "tier=back",
        "busybox",
        "sh",
        "-c",
        "exit 4",
    ])
    .err();
    case.ok(&["create", "--name", "fresh", "busybox"])?;
    let names = |filters: &[&str]| -> Result<String> {
        let mut args = vec!["ps", "-a", "--format", "{{.Names}}"];
        for filter in filters {
            args.extend(["--filter", filter]);
        }
        Ok(case.ok(&args)?.lines().collect::<Vec<_>>().join(" "))
    };
    for (filters, expected) in [
        (&["status=running"][..], "up"),
        (&["status=exited"], "down"),
        (&["status=created"], "fresh"),
        (&["exited=4"], "down"),
        (&["label=tier=front"], "up"),
        (&["label=tier"], "down up"),
        (&["name=own"], "down"),
        (&["ancestor=busybox", "status=exited"], "down"),
        (&["before=down"], "up"),
        (&["since=down"], "fresh"),
        (&[], "fresh down up"),
    ] {
        let found = names(filters)?;
        ensure!(found == expected, "{filters:?}: {found}, not {expected}");
    }
    case.prints(&["ps", "--format", "{{.Names}}"], "up")?;
    case.prints(&["ps", "-l", "--format", "{{.Names}}"], "fresh")?;
    case.prints(&["ps", "-n", "2", "--format", "{{.Names}}"], "fresh\ndown")?;
    case.fails(
        &["ps", "--filter", "nonsense=1"],
        1,
        "nvalid filter 'nonsense'",
    )
}

pub(crate) fn ps_formats(case: &mut Case) -> Result<()> {
    case.prints(
        &["ps"],
        "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES",
    )?;
    case.ok(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"])?;
    let table = case.ok(&[
        "ps",
        "--format",
        "table {{.Image}}\t{{.Command}}\t{{.Names}}",
    ])?;
    ensure!(
        table == "IMAGE     COMMAND        NAMES\nbusybox   \"sleep 1000\"   c1",
        "{table}"
    );
    let row: serde_json::Value = serde_json::from_str(&case.ok(&["ps", "--format", "json"])?)?;
    ensure!(row["Names"] == "c1" && row["State"] == "running", "{row}");
    let status = case.ok(&["ps", "--format", "{{.Status}}"])?;
    ensure!(status.starts_with("Up "), "{status}");
    let size = case.ok(&["ps", "-s", "--format", "{{.Size}}"])?;
    ensure!(size.starts_with("0B (virtual "), "{size}");
    Ok(())
}

pub(crate) fn inspect_formats(case: &mut Case) -> Result<()> {
    let create = [
        "create",
        "--name",
        "c1",
        "-e",
        "X=1",
        "-p",
        "8080:80",
        "--restart",
        "on-failure:3",
        "busybox",
        "echo",
        "hi",
    ];
    let id = case.ok(&create)?;
    let inspect = |format: &str| case.ok(&["inspect", "-f", format, "c1"]);
    ensure!(inspect("{{.Id}}")? == id);
    ensure!(inspect("{{json .Config.Cmd}}")? == r#"["echo","hi"]"#);
    ensure!(inspect("{{.Path}} {{join .Args \",\"}}")? == "echo hi");
    ensure!(
        inspect("{{(index (index .HostConfig.PortBindings \"80/tcp\") 0).HostPort}}")? == "8080"
    );
    ensure!(
        inspect(
            "{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}"
        )? == "on-failure:3"
    );
    ensure!(inspect("{{range .Config.Env}}{{println .}}{{end}}")?.starts_with("X=1"));
    ensure!(inspect("{{.State.StartedAt}}")? == "0001-01-01T00:00:00Z");
    case.fails(&["inspect", "nope"], 1, "No such object: nope")
}

pub(crate) fn remove_rules(case: &mut Case) -> Result<()> {
    case.ok(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"])?;
    case.fails(
        &["rm", "c1"],
        1,
        "container is running: stop the container before removing or force remove",
    )
    .or_else(|_| {
        // dockerd before 25 says it in other words.
        case.fails(
            &["rm", "c1"],
            1,
            "Stop the container before attempting removal or force remove",
        )
    })?;
    case.prints(&["rm", "-f", "c1"], "c1")?;
    case.fails(&["rm", "c1"], 1, "No such container: c1")?;
    case.prints(&["ps", "-aq"], "")
}

pub(crate) fn prune_takes_stopped(case: &mut Case) -> Result<()> {
    case.ok(&["run", "-d", "--name", "up", "busybox", "sleep", "1000"])?;
    let gone = case.ok(&["run", "-d", "busybox", "true"])?;
    case.ok(&["wait", &gone])?;
    let pruned = case.ok(&["container", "prune", "-f"])?;
    ensure!(
        pruned.starts_with(&format!(
            "Deleted Containers:\n{gone}\n\nTotal reclaimed space: "
        )),
        "{pruned}"
    );
    case.prints(&["ps", "-a", "--format", "{{.Names}}"], "up")
}

pub(crate) fn events_tell_the_story(case: &mut Case) -> Result<()> {
    case.ok(&[
        "run",
        "--rm",
        "--name",
        "c1",
        "--network",
        "none",
        "busybox",
        "true",
    ])?;
    let until = format!(
        "{}",
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_secs()
            + 1
    );
    let args = [
        "events",
        "--since",
        "1",
        "--until",
        &until,
        "--filter",
        "type=container",
        "--format",
        "{{.Action}} {{.Actor.Attributes.name}}",
    ];
    let story = case.ok(&args)?;
    let story: Vec<_> = story.lines().collect();
    ensure!(
        story == ["create c1", "attach c1", "start c1", "die c1", "destroy c1"],
        "{story:?}"
    );
    Ok(())
}

pub(crate) fn restart_policy(case: &mut Case) -> Result<()> {
    case.ok(&[
        "run",
        "-d",
        "--name",
        "c1",
        "--restart",
        "on-failure:2",
        "busybox",
        "false",
    ])?;
    until(|| {
        Ok(case.ok(&["inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "c1"])? == "2 exited")
    })?;
    case.ok(&[
        "run",
        "-d",
        "--name",
        "a1",
        "--restart",
        "always",
        "busybox",
        "sleep",
        "1000",
    ])?;
    case.ok(&["stop", "-t", "0", "a1"])?;
    ensure!(status(case, "a1")? == "exited 137");
    Ok(())
}

pub(crate) fn volumes_keep_data(case: &mut Case) -> Result<()> {
    case.ok(&[
        "run",
        "--rm",
        "-v",
        "data:/d",
        "busybox",
        "sh",
        "-c",
        "echo kept > /d/f",
    ])?;
    case.prints(
        &[
            "run",
            "--rm",
            "-v",
            "data:/d:ro",
            "busybox",
            "sh",
            "-c",
            "cat /d/f; touch /d/x 2>/dev/null || echo ro",
        ],
        "kept\nro",
    )?;
    case.prints(
        &[
            "run",
            "--rm",
            "-v",
            "new:/etc",
            "busybox",
            "sh",
            "-c",
            "head -n1 /etc/passwd | cut -d: -f1",
        ],
        "root",
    )?;
    case.ok(&["create", "--name", "c1", "-v", "data:/d", "busybox"])?;
    case.fails(&["volume", "rm", "data"], 1, "volume is in use")?;
    case.ok(&["rm", "c1"])?;
    case.prints(&["volume", "rm", "data"], "data")?;
    case.prints(&["volume", "ls", "-q"], "new")
}

pub(crate) fn bind_mounts(case: &mut Case) -> Result<()> {
    let folder = case.engine.world.path().join("host");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("f1"), "from the host\n")?;
    let bind = format!("{}:/h", folder.display());
    case.prints(
        &[
            "run",
            "--rm",
            "-v",
            &bind,
            "busybox",
            "sh",
            "-c",
            "cat /h/f1; echo back > /h/g",
        ],
        "from the host",
    )?;
    ensure!(std::fs::read_to_string(folder.join("g"))? == "back\n");
    let mount = format!("type=bind,src={}/missing,dst=/h", folder.display());
    let words = format!(
        "invalid mount config for type \"bind\": bind source path does not exist: {}/missing",
        folder.display()
    );
    case.fails(
        &["run", "--rm", "--mount", &mount, "busybox", "true"],
        125,
        &words,
    )?;
    let made = format!("{}/made:/h", folder.display());
    case.ok(&["run", "--rm", "-v", &made, "busybox", "true"])?;
    ensure!(folder.join("made").is_dir());
    Ok(())
}

pub(crate) fn logs_options(case: &mut Case) -> Result<()> {
    case.ok(&["run", "--name", "c1", "busybox", "seq", "10"])?;
    case.prints(&["logs", "-n", "2", "c1"], "9\n10")?;
    let stamped = case.ok(&["logs", "-t", "-n", "1", "c1"])?;
    let (time, line) = stamped.split_once(' ').context("no time")?;
    ensure!(
        line == "10" && time.ends_with('Z') && time.len() == 30,
        "{stamped}"
    );
    case.prints(&["logs", "--since", "1h", "-n", "1", "c1"], "10")?;
    case.prints(&["logs", "--until", "1h", "c1"], "")?;
    case.ok(&[
        "run",
        "-d",
        "--name",
        "f1",
        "busybox",
        "sh",
        "-c",
        "for i in 1 2 3; do echo $i; sleep 0.1; done",
    ])?;
    case.prints(&["logs", "-f", "f1"], "1\n2\n3")?;
    Ok(())
}

pub(crate) fn read_only_binds_and_what_is_below(case: &mut Case) -> Result<()> {
    let place = case.engine.world.path().join("bound").display().to_string();
    let below =
        format!("mkdir -p {place}/in; mount -t tmpfs none {place}/in; touch {place}/in/there");
    case.engine.world.sh(&below)?;
    let try_both = "touch /m/x 2>&1; touch /m/in/x 2>&1; ls /m/in; true";
    let run = |flags: &[&str]| {
        let command = ["busybox", "sh", "-c", try_both];
        case.ok(&[&["run", "--rm"], flags, &command].concat())
    };
    let refused = |path: &str| format!("touch: {path}: Read-only file system");
    let all = [refused("/m/x"), refused("/m/in/x"), "there".to_owned()].join("\n");
    let top = [refused("/m/x"), "there\nx".to_owned()].join("\n");
    let said = run(&["-v", &format!("{place}:/m:ro")])?;
    ensure!(said == all, "-v: {said}");
    let mount = |more: &str| format!("type=bind,source={place},target=/m,readonly{more}");
    for (more, wanted) in [
        ("", &all),
        (",bind-recursive=enabled", &all),
        (",bind-recursive=readonly,bind-propagation=rprivate", &all),
        (",bind-recursive=writable", &top),
    ] {
        let said = run(&["--mount", &mount(more)])?;
        ensure!(said == *wanted, "{more}: {said}");
    }
    let said = run(&["--mount", &mount(",bind-recursive=disabled")])?;
    ensure!(!said.contains("there"), "disabled: {said}");
    // Before 1.44 what is below could be written, and what is inspected says nothing of it.
    let mount = json!({ "Type": "bind", "Source": place, "Target": "/m", "ReadOnly": true });
    for (version, bound, wanted) in [
        ("1.41", json!({ "Binds": [format!("{place}:/m:ro")] }), &top),
        ("1.41", json!({ "Mounts": [mount] }), &top),
    ] {
        let body =
            json!({ "Image": "busybox", "Cmd": ["sh", "-c", try_both], "HostConfig": bound });
        let create = format!("/v{version}/containers/create?name=old");
        case.expect("POST", &create, Some(&body), 201)?;
        let said = case.ok(&["start", "-a", "old"])?;
        ensure!(said == *wanted, "{version} {bound}: {said}");
        let shown = case.expect("GET", "/containers/old/json", None, 200)?;
        let options = &shown["HostConfig"]["Mounts"][0]["BindOptions"];
        ensure!(options.is_null(), "{shown}");
        case.expect("DELETE", "/containers/old", None, 204)?;
    }
    case.engine
        .world
        .sh(&format!("umount {place}/in"))
        .map(drop)
}
