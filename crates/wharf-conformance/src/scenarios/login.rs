//! Registries that want to know who asks; and `import`, the other way to an image without a registry.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use wharf_testkit::Registry;

use crate::Case;
use crate::case::Run;

const SERVER: &str = "localhost:5000";

fn registry(case: &Case) -> Result<Registry> {
    let storage = case.engine.world.path().join("registry");
    std::fs::create_dir_all(&storage)?;
    Registry::serve_somebody(&case.engine.world, &storage, 5000)
}

/// Runs a command with a configuration of its own, and `input`.
fn run(case: &Case, config: &Path, args: &[&str], input: &str) -> Result<Run> {
    let path = format!("{}:{}", config.display(), std::env::var("PATH")?);
    let mut child = case
        .command(args)
        .env("DOCKER_CONFIG", config)
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("stdin")?
        .write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    Ok(Run {
        code: output.status.code().unwrap_or(-1),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    })
}

fn config_of(folder: &Path) -> Result<Value> {
    Ok(serde_json::from_str(&std::fs::read_to_string(
        folder.join("config.json"),
    )?)?)
}

const LOGIN: &[&str] = &["login", "-u", "somebody", "--password-stdin", SERVER];

pub(crate) fn opens_a_registry(case: &mut Case) -> Result<()> {
    let _registry = registry(case)?;
    let folder = tempfile::tempdir()?;
    let config = folder.path();
    case.ok(&["tag", "busybox", "localhost:5000/box"])?;
    let push = ["push", "-q", "localhost:5000/box"];
    let refused = run(case, config, &push, "")?;
    ensure!(refused.code == 1, "{refused:?}");
    ensure!(
        refused.stderr.contains("no basic auth credentials"),
        "{refused:?}"
    );
    let wrong = run(case, config, LOGIN, "wrong\n")?;
    ensure!(wrong.code == 1, "{wrong:?}");
    ensure!(
        wrong.stderr.contains(
            "login attempt to http://localhost:5000/v2/ failed with status: 401 Unauthorized"
        ),
        "{wrong:?}"
    );
    ensure!(
        !config.join("config.json").exists(),
        "a wrong password is kept"
    );
    let right = run(case, config, LOGIN, "secret\n")?;
    ensure!(
        right.code == 0 && right.stdout == "Login Succeeded",
        "{right:?}"
    );
    ensure!(config_of(config)?["auths"][SERVER]["auth"] == "c29tZWJvZHk6c2VjcmV0");
    let mode = std::fs::metadata(config.join("config.json"))?
        .permissions()
        .mode();
    ensure!(mode & 0o077 == 0, "{mode:o}");
    for command in [
        &push[..],
        &["rmi", "-f", "localhost:5000/box"],
        &["pull", "-q", "localhost:5000/box"],
    ] {
        let done = run(case, config, command, "")?;
        ensure!(done.code == 0, "{done:?}");
    }
    let again = run(case, config, &["login", SERVER], "")?;
    ensure!(
        again.code == 0 && again.stdout.contains("Login Succeeded"),
        "{again:?}"
    );
    let out = run(case, config, &["logout", SERVER], "")?;
    ensure!(
        out.stdout == "Removing login credentials for localhost:5000",
        "{out:?}"
    );
    ensure!(
        config_of(config)?["auths"].get(SERVER).is_none(),
        "still there"
    );
    ensure!(run(case, config, &push, "")?.code == 1, "still open");
    Ok(())
}

pub(crate) fn a_helper_keeps_the_secret(case: &mut Case) -> Result<()> {
    let _registry = registry(case)?;
    let folder = tempfile::tempdir()?;
    let config = folder.path();
    let helper = config.join("docker-credential-test");
    let place = config.join("kept");
    let script = format!(
        "#!/bin/sh\nread -r line\ncase $1 in\nstore) cat > /dev/null; printf %s \"$line\" > {0} ;;\nget) [ -e {0} ] && cat {0} || {{ echo credentials not found in native keychain; exit 1; }} ;;\nerase) rm -f {0} ;;\nlist) echo '{{}}' ;;\nesac\n",
        place.display()
    );
    std::fs::write(&helper, script)?;
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755))?;
    std::fs::write(config.join("config.json"), "{\"credsStore\": \"test\"}")?;
    let done = run(case, config, LOGIN, "secret\n")?;
    ensure!(done.code == 0, "{done:?}");
    let text = std::fs::read_to_string(config.join("config.json"))?;
    ensure!(!text.contains("c29tZWJvZHk6c2VjcmV0"), "{text}");
    ensure!(place.exists(), "the helper was not asked");
    case.ok(&["tag", "busybox", "localhost:5000/box"])?;
    let pushed = run(case, config, &["push", "-q", "localhost:5000/box"], "")?;
    ensure!(pushed.code == 0, "{pushed:?}");
    let out = run(case, config, &["logout", SERVER], "")?;
    ensure!(out.code == 0 && !place.exists(), "{out:?}");
    Ok(())
}

pub(crate) fn names_are_looked_up_in_their_registry(case: &mut Case) -> Result<()> {
    let storage = case.engine.world.path().join("open");
    std::fs::create_dir_all(&storage)?;
    let _registry = Registry::serve(&case.engine.world, &storage, 5000)?;
    case.ok(&["tag", "busybox", "localhost:5000/a/box:one"])?;
    let pushed = case.ok(&["push", "localhost:5000/a/box:one"])?;
    let found = case.expect(
        "GET",
        "/distribution/localhost:5000/a/box:one/json",
        None,
        200,
    )?;
    let digest = found["Descriptor"]["digest"].as_str().unwrap_or_default();
    ensure!(
        pushed.contains(digest) && digest.starts_with("sha256:"),
        "{found}"
    );
    ensure!(
        found["Descriptor"]["size"]
            .as_u64()
            .is_some_and(|size| size > 100),
        "{found}"
    );
    ensure!(found["Platforms"][0]["os"] == "linux", "{found}");
    // 404, which the description has not.
    let missing = case
        .engine
        .api("GET", "/distribution/localhost:5000/a/nope/json", None)?;
    ensure!(missing.status == 404, "{}", missing.status);
    Ok(())
}

pub(crate) fn files_are_imported_as_an_image(case: &mut Case) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let archive = folder.path().join("files.tar").display().to_string();
    case.ok(&["create", "--name", "c1", "busybox"])?;
    case.ok(&["export", "-o", &archive, "c1"])?;
    let id = case.ok(&[
        "import",
        "-c",
        "CMD [\"echo\", \"imported\"]",
        "-c",
        "ENV A=1",
        "-m",
        "by hand",
        &archive,
        "made:one",
    ])?;
    ensure!(id.starts_with("sha256:"), "{id}");
    case.prints(&["run", "--rm", "made:one"], "imported")?;
    case.prints(
        &["image", "inspect", "-f", "{{json .Config.Env}}", "made:one"],
        "[\"A=1\"]",
    )?;
    case.prints(
        &["history", "--format", "{{.Comment}}", "made:one"],
        "by hand",
    )?;
    let compressed = folder.path().join("files.tgz").display().to_string();
    case.engine
        .world
        .sh(&format!("gzip -c {archive} > {compressed}"))?;
    case.ok(&["import", &compressed, "made:two"])?;
    case.prints(&["run", "--rm", "made:two", "echo", "hi"], "hi")?;
    case.prints(
        &["history", "--format", "{{.Comment}}", "made:two"],
        "Imported from -",
    )?;
    let text = folder.path().join("text").display().to_string();
    std::fs::write(&text, "this is no archive\n".repeat(100))?;
    ensure!(
        case.run(&["import", &text])?.code == 1,
        "a text is imported"
    );
    case.fails(
        &["import", "-c", "RUN x", &archive],
        1,
        "RUN is not a valid change command",
    )
}
