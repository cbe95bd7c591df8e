//! `commit`: an image of what a container has changed.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::Case;

const WORK: &str = "echo hi >/f; mkdir /d; rm /bin/vi; touch /etc/new; echo b >/vol/v";

pub(crate) fn commit_keeps_what_was_changed(case: &mut Case) -> Result<()> {
    let run = [
        "run", "--name", "c1", "-v", "vol:/vol", "busybox", "sh", "-c", WORK,
    ];
    case.ok(&run)?;
    let id = case.ok(&["commit", "-a", "me", "-m", "words", "c1", "img:t"])?;
    ensure!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    let fields = "{{.Author}} {{.Comment}} {{index .RepoTags 0}} {{.Id}}";
    case.prints(
        &["inspect", "-f", fields, "img:t"],
        &format!("me words img:t {id}"),
    )?;
    let parent = case.ok(&["inspect", "-f", "{{.Id}}", "busybox"])?;
    case.prints(&["inspect", "-f", "{{.Parent}}", "img:t"], &parent)?;
    let see = "cat /f; ls -d /d /etc/new; ls /vol; ls /bin/vi 2>/dev/null; true";
    case.prints(
        &["run", "--rm", "img:t", "sh", "-c", see],
        "hi\n/d\n/etc/new",
    )?;
    let history = case.expect("GET", "/images/img:t/history", None, 200)?;
    ensure!(
        history[0]["CreatedBy"] == format!("sh -c {WORK}"),
        "{history}"
    );
    ensure!(
        history[0]["Comment"] == "words" && history[1]["Id"] == json!(parent),
        "{history}"
    );
    // An image stays as long as one is made of it.
    case.ok(&["rm", "c1"])?;
    case.ok(&["rmi", "img:t"])?;
    case.ok(&["run", "--rm", "busybox", "true"]).map(drop)
}

pub(crate) fn commit_of_nothing_has_no_layer(case: &mut Case) -> Result<()> {
    case.ok(&["run", "--name", "c1", "busybox", "true"])?;
    let layers = |name: &str| case.ok(&["inspect", "-f", "{{len .RootFS.Layers}}", name]);
    let id = case.ok(&["commit", "c1"])?;
    if !case.engine.kind.is_dockerd() {
        // Debian's dockerd has the places of its own mounts in the layer where it cannot use overlay's difference.
        ensure!(layers(&id)? == layers("busybox")?);
    }
    case.ok(&["run", "--rm", &id, "true"]).map(drop)
}

pub(crate) fn commit_changes(case: &mut Case) -> Result<()> {
    case.ok(&["run", "--name", "c1", "-e", "A=1", "busybox", "true"])?;
    let mut args = vec!["commit"];
    for change in [
        "ENV A=2 B=$A",
        "CMD [\"x\"]",
        "EXPOSE 80",
        "LABEL l=1 m=2",
        "ONBUILD RUN x",
        "USER u",
        "VOLUME /v",
        "WORKDIR w",
        "ENTRYPOINT foo $A",
        "HEALTHCHECK --interval=5s CMD true",
        "STOPSIGNAL 9",
    ] {
        args.extend(["-c", change]);
    }
    args.extend(["c1", "img"]);
    case.ok(&args)?;
    let text = case.ok(&["inspect", "-f", "{{json .Config}}", "img"])?;
    let config: Value = serde_json::from_str(&text).context(text)?;
    for (key, wanted) in [
        ("Env", json!(["A=2", "B=1"])),
        ("Cmd", json!(["x"])),
        ("ExposedPorts", json!({"80/tcp": {}})),
        ("Labels", json!({"l": "1", "m": "2"})),
        ("OnBuild", json!(["RUN x"])),
        ("User", json!("u")),
        ("Volumes", json!({"/v": {}})),
        ("WorkingDir", json!("/w")),
        ("Entrypoint", json!(["/bin/sh", "-c", "foo $A"])),
        (
            "Healthcheck",
            json!({"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000_i64}),
        ),
        ("StopSignal", json!("9")),
    ] {
        ensure!(config[key] == wanted, "{key}: {config}");
    }
    for (change, words) in [
        ("RUN x", "RUN is not a valid change command"),
        ("NONSENSE x", "NONSENSE is not a valid change command"),
        ("EXPOSE x", "Invalid containerPort: x"),
    ] {
        case.fails(&["commit", "-c", change, "c1"], 1, words)?;
    }
    case.fails(&["commit", "nope"], 1, "No such container: nope")?;
    case.fails(&["commit", "c1", "Bad:x"], 1, "must be lowercase")
}

pub(crate) fn commit_api(case: &mut Case) -> Result<()> {
    case.ok(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"])?;
    let body = json!({ "Cmd": ["z"], "Env": ["Q=1"] });
    let made = case.expect(
        "POST",
        "/commit?container=c1&repo=r&tag=t",
        Some(&body),
        201,
    )?;
    let id = made["Id"].as_str().unwrap_or_default().to_owned();
    ensure!(id.starts_with("sha256:"), "{made}");
    case.prints(
        &[
            "inspect",
            "-f",
            "{{json .Config.Cmd}} {{json .Config.Env}}",
            "r:t",
        ],
        "[\"z\"] [\"Q=1\"]",
    )?;
    // It ran, was paused, and goes on.
    case.prints(&["inspect", "-f", "{{.State.Status}}", "c1"], "running")?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let target = format!(
        "/events?since=1&until={}.{:09}&filters=%7B%22event%22%3A%5B%22commit%22%5D%7D",
        now.as_secs(),
        now.subsec_nanos()
    );
    let event = case.engine.api("GET", &target, None)?.json();
    ensure!(event["Actor"]["Attributes"]["imageID"] == id, "{event}");
    for (query, status, words) in [
        ("container=nope", 404, "No such container: nope"),
        ("repo=r", 400, "invalid name or ID supplied: \"\""),
        ("container=c1&repo=Bad", 400, "must be lowercase"),
        (
            "container=c1&changes=FROM%20x",
            400,
            "FROM is not a valid change command",
        ),
    ] {
        // Not by the description, which lacks the 400 that dockerd answers.
        let answer = case.engine.api("POST", &format!("/commit?{query}"), None)?;
        ensure!(
            answer.status == status && answer.message().contains(words),
            "{answer:?}"
        );
    }
    Ok(())
}

/// What an image can keep of a container's settings is kept; the rest is taken, and left out.
pub(crate) fn commit_with_all_settings(case: &mut Case) -> Result<()> {
    case.ok(&["create", "--name", "c1", "busybox", "true"])?;
    let kept = json!({
        "User": "1:2", "Env": ["A=b"], "Cmd": ["c"], "Entrypoint": ["e"], "WorkingDir": "/w", "Labels": {"l": "m"},
        "Volumes": {"/v": {}}, "ExposedPorts": {"80/tcp": {}}, "OnBuild": ["RUN true"], "StopSignal": "SIGINT",
        "Shell": ["/bin/sh", "-c"],
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000_000, "Timeout": 2_000_000_000,
            "StartPeriod": 3_000_000_000_u64, "StartInterval": 4_000_000_000_u64, "Retries": 5},
    });
    let mut body = kept.clone();
    for (name, value) in [
        ("Hostname", json!("h")),
        ("Domainname", json!("d")),
        ("Image", json!("busybox")),
        ("AttachStdin", json!(true)),
        ("AttachStdout", json!(true)),
        ("AttachStderr", json!(true)),
        ("OpenStdin", json!(true)),
        ("StdinOnce", json!(true)),
        ("Tty", json!(true)),
        ("StopTimeout", json!(7)),
    ] {
        body[name] = value;
    }
    let query = "container=c1&repo=all&tag=1&pause=false&author=me&comment=by%20hand";
    case.expect("POST", &format!("/commit?{query}"), Some(&body), 201)?;
    let image = case.expect("GET", "/images/all:1/json", None, 200)?;
    ensure!(
        image["Author"] == "me" && image["Comment"] == "by hand",
        "{image}"
    );
    for (name, value) in kept.as_object().into_iter().flatten() {
        let mut found = image["Config"][name].clone();
        // Of Docker 25 and later.
        let old = case.engine.kind == wharf_testkit::EngineKind::Dockerd;
        let mut value = value.clone();
        if old && name == "Healthcheck" {
            for health in [&mut found, &mut value] {
                health
                    .as_object_mut()
                    .map(|health| health.remove("StartInterval"));
            }
        }
        ensure!(found == value, "{name}: {found}, not {value}");
    }
    Ok(())
}

/// As many layers as images have, and more than their names would fit into one word for the kernel: seen by what runs, by who
/// copies out of a container that does not, and by a fresh volume.
pub(crate) fn many_layers_are_one_root(case: &mut Case) -> Result<()> {
    const COUNT: usize = 24;
    let mut image = "busybox".to_owned();
    for number in 0..COUNT {
        let make = format!("mkdir -p /data && echo {number} | tee /data/{number} > /data/last");
        case.ok(&["run", "--name", "c1", &image, "sh", "-c", &make])?;
        image = case.ok(&["commit", "c1"])?;
        case.ok(&["rm", "c1"])?;
    }
    let list = "ls /data | wc -l; cat /data/0 /data/last";
    let expected = format!("{}\n0\n{}", COUNT + 1, COUNT - 1);
    case.prints(&["run", "--rm", &image, "sh", "-c", list], &expected)?;
    let fresh = ["run", "--rm", "-v", "fresh:/data", &image, "sh", "-c", list];
    case.prints(&fresh, &expected)?;
    case.ok(&["create", "--name", "still", &image])?;
    let copied = case.engine.world.path().join("copied");
    case.ok(&["cp", "still:/data/last", &copied.to_string_lossy()])?;
    let copied = std::fs::read_to_string(&copied)?;
    ensure!(copied.trim() == (COUNT - 1).to_string(), "{copied}");
    Ok(())
}
