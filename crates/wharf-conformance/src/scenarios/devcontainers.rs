//! The command of dev containers, which editors run: it builds, starts and enters containers with the stock `docker`.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use wharf_testkit::fixtures;

use super::buildx::{Files, run};
use crate::case::Run;
use crate::case::skip;
use crate::{Case, Client};

/// One of an image that is built, and one of a service of Compose.
const FOLDERS: &[(&str, &str)] = &[
    (
        "one/.devcontainer/devcontainer.json",
        r#"{
  "name": "one",
  "build": {"dockerfile": "Dockerfile", "args": {"A": "an argument"}},
  "remoteUser": "root", "updateRemoteUserUID": false,
  "containerEnv": {"X": "y"}, "remoteEnv": {"Z": "${containerEnv:X}z"},
  "mounts": ["source=kept,target=/kept,type=volume"],
  "runArgs": ["--hostname", "dev"],
  "postCreateCommand": "cp text /kept/created"
}"#,
    ),
    (
        "one/.devcontainer/Dockerfile",
        "FROM busybox\nARG A\nRUN echo $A > /built\n",
    ),
    ("one/text", "of the workspace\n"),
    (
        "two/.devcontainer/devcontainer.json",
        r#"{
  "name": "two", "dockerComposeFile": "compose.yaml", "service": "app", "workspaceFolder": "/workspace",
  "remoteUser": "root", "updateRemoteUserUID": false, "overrideCommand": true
}"#,
    ),
    (
        "two/.devcontainer/compose.yaml",
        "services:\n  app:\n    image: busybox\n    volumes: ['..:/workspace']\n    depends_on: [web]\n  \
         web:\n    image: busybox\n    command: httpd -f -p 80 -h /etc\n",
    ),
];

/// What the command says last is JSON.
fn said(run: &Run) -> Result<Value> {
    ensure!(run.code == 0, "{run:?}");
    let last = run.stdout.lines().last().context("no word")?;
    Ok(serde_json::from_str(last)?)
}

pub(crate) fn dev_containers_are_built_and_entered(case: &mut Case) -> Result<()> {
    if case.client == Client::Wharf {
        // It takes the stock command.
        return Ok(());
    }
    let Some(installed) = fixtures::sdks()? else {
        return skip("no package registry is reachable");
    };
    let files = Files::new(FOLDERS)?;
    let program = installed.join("node/node_modules/@devcontainers/cli/devcontainer.js");
    let run = |verb: &str, folder: &str, args: &[&str]| -> Result<Run> {
        let mut command = files.program(case, "node");
        command
            .arg(&program)
            .args([verb, "--workspace-folder", folder]);
        command.args(args).env("TMPDIR", case.engine.world.path());
        run(command)
    };
    let up = said(&run("up", "one", &[])?)?;
    ensure!(
        up["outcome"] == "success" && up["remoteUser"] == "root",
        "{up}"
    );
    let id = up["containerId"].as_str().context("no container")?;
    let script = "cat /built /kept/created; echo $X $Z; hostname; pwd; exit 3";
    let inside = run("exec", "one", &["sh", "-c", script])?;
    ensure!(
        inside.code == 3
            && inside.stdout == "an argument\nof the workspace\ny yz\ndev\n/workspaces/one",
        "{inside:?}"
    );
    // It is found again.
    let again = said(&run("up", "one", &[])?)?;
    ensure!(again["containerId"] == id, "{again}");
    let built = said(&run("build", "one", &["--image-name", "made:1"])?)?;
    ensure!(built["imageName"][0] == "made:1", "{built}");
    case.prints(&["run", "--rm", "made:1", "cat", "/built"], "an argument")?;

    let up = said(&run("up", "two", &[])?)?;
    ensure!(up["composeProjectName"] == "two_devcontainer", "{up}");
    let script =
        "ls -d .devcontainer; wget -q -O - http://web/hostname > /dev/null && echo reached";
    let inside = run("exec", "two", &["sh", "-c", script])?;
    ensure!(inside.stdout == ".devcontainer\nreached", "{inside:?}");
    Ok(())
}
