//! BuildKit's protocol, through the stock buildx plugin.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use wharf_testkit::fixtures;

use super::containers::until;
use crate::Case;
use crate::case::Run;

/// A folder with files to build from, and the plugin's own.
struct Files {
    folder: TempDir,
    state: TempDir,
    plugins: PathBuf,
}

impl Files {
    fn new(files: &[(&str, &str)]) -> Result<Self> {
        let one = Self {
            folder: tempfile::tempdir()?,
            state: tempfile::tempdir()?,
            plugins: fixtures::cli_plugins()?,
        };
        for (name, text) in files {
            one.write(name, text)?;
        }
        Ok(one)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().context("a file without a folder")?)?;
        Ok(std::fs::write(path, text)?)
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn command(&self, case: &Case, args: &[&str]) -> Command {
        let mut command = case.command(args);
        command
            .env("DOCKER_CONFIG", &self.plugins)
            .env("BUILDX_CONFIG", self.state.path())
            .current_dir(self.folder.path());
        command
    }

    fn run(&self, case: &Case, args: &[&str]) -> Result<Run> {
        let output = self.command(case, args).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Ok(Run {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        })
    }

    /// Builds the folder; what the progress says.
    fn build(&self, case: &Case, args: &[&str]) -> Result<String> {
        let args = [&["buildx", "build", "--progress", "plain"], args, &["."]].concat();
        let run = self.run(case, &args)?;
        ensure!(
            run.code == 0,
            "{args:?} exits with {}: {}",
            run.code,
            run.stderr
        );
        Ok(run.stderr)
    }

    fn json(&self, name: &str) -> Result<Value> {
        let text = std::fs::read_to_string(self.folder.path().join(name))?;
        Ok(serde_json::from_str(&text)?)
    }
}

const STAGES: &[(&str, &str)] = &[
    (
        "Dockerfile",
        "FROM busybox AS first\nWORKDIR /w\nCOPY a b/ ./\nRUN cat a c > both\n\
         FROM busybox\nCOPY --from=first /w/both /both\nRUN echo said && cat /both\nCMD [\"cat\", \"/both\"]\n",
    ),
    ("a", "A\n"),
    ("b/c", "C\n"),
    ("unused", "x"),
    (".dockerignore", "ignored\n"),
    ("ignored", "x"),
];

pub(crate) fn images_are_built_and_used_again(case: &mut Case) -> Result<()> {
    let files = Files::new(STAGES)?;
    let said = files.build(case, &["-t", "made", "--iidfile", "iid"])?;
    for wanted in [
        "[internal] load build definition from Dockerfile",
        "[internal] load .dockerignore",
        "[internal] load metadata for docker.io/library/busybox:latest",
        "[internal] load build context",
        "[first 3/4] COPY a b/ ./",
        "[stage-1 3/3] RUN echo said && cat /both",
        " said\n",
        "exporting to image",
        "naming to docker.io/library/made",
    ] {
        ensure!(said.contains(wanted), "{wanted:?}: {said}");
    }
    case.prints(&["run", "--rm", "made"], "A\nC")?;
    let id = std::fs::read_to_string(files.path("iid"))?;
    case.prints(&["images", "-q", "--no-trunc", "made"], &id)?;
    let again = files.build(case, &["-t", "made", "--iidfile", "iid"])?;
    ensure!(again.matches("CACHED").count() >= 5, "{again}");
    ensure!(
        std::fs::read_to_string(files.path("iid"))? == id,
        "another image"
    );
    files.write("a", "B\n")?;
    let changed = files.build(case, &["-t", "made"])?;
    ensure!(changed.contains(" said\n"), "{changed}");
    case.prints(&["run", "--rm", "made"], "B\nC")
}

/// `docker build` takes the plugin where there is one.
pub(crate) fn build_goes_through_the_plugin(case: &mut Case) -> Result<()> {
    let files = Files::new(STAGES)?;
    let run = files.run(case, &["build", "-t", "made", "--target", "first", "."])?;
    ensure!(run.code == 0, "{run:?}");
    case.prints(&["run", "--rm", "made", "cat", "both"], "A\nC")
}

pub(crate) fn secrets_and_arguments(case: &mut Case) -> Result<()> {
    let files = Files::new(&[
        (
            "Dockerfile",
            "FROM busybox\nARG WHO=nobody\nRUN --mount=type=secret,id=key,required=true echo \"$WHO $(wc -c < /run/secrets/key)\" > /said\n",
        ),
        ("key", "do-not-tell"),
    ])?;
    files.build(
        case,
        &[
            "-t",
            "made",
            "--secret",
            "id=key,src=key",
            "--build-arg",
            "WHO=me",
            "--label",
            "l=v",
        ],
    )?;
    case.prints(&["run", "--rm", "made", "cat", "/said"], "me 11")?;
    case.prints(
        &["image", "inspect", "-f", "{{.Config.Labels.l}}", "made"],
        "v",
    )?;
    let history = case.ok(&["history", "--no-trunc", "made"])?;
    ensure!(!history.contains("do-not-tell"), "{history}");
    let run = files.run(case, &["buildx", "build", "."])?;
    ensure!(
        run.code != 0 && run.stderr.contains("secret key: not found"),
        "{run:?}"
    );
    Ok(())
}

pub(crate) fn errors_show_the_place(case: &mut Case) -> Result<()> {
    let files = Files::new(&[("Dockerfile", "FROM busybox\nRUN exit 7\nRUN true\n")])?;
    let run = files.run(case, &["buildx", "build", "--progress", "plain", "."])?;
    for wanted in [
        "Dockerfile:2",
        "   2 | >>> RUN exit 7",
        "process \"/bin/sh -c exit 7\" did not complete successfully: exit code: 7",
    ] {
        ensure!(run.stderr.contains(wanted), "{wanted:?}: {}", run.stderr);
    }
    ensure!(run.code != 0, "{run:?}");
    files.write("Dockerfile", "FROM busybox\nNONSENSE x\n")?;
    let run = files.run(case, &["buildx", "build", "."])?;
    ensure!(
        run.stderr.contains("unknown instruction: NONSENSE"),
        "{run:?}"
    );
    ensure!(run.stderr.contains("   2 | >>> NONSENSE x"), "{run:?}");
    let run = files.run(case, &["buildx", "build", "-f", "missing", "."])?;
    ensure!(run.code != 0 && run.stderr.contains("missing"), "{run:?}");
    Ok(())
}

/// What `dockerd` 26 has only with another image store.
pub(crate) fn results_go_where_they_are_wanted(case: &mut Case) -> Result<()> {
    let files = Files::new(STAGES)?;
    files.build(case, &["--target", "first", "-o", "type=local,dest=out"])?;
    let text = std::fs::read_to_string(files.path("out/w/both"))?;
    ensure!(text == "A\nC\n", "{text}");
    ensure!(
        Path::new(&files.path("out/bin/busybox")).exists(),
        "the base is missing"
    );
    files.build(case, &["-o", "type=tar,dest=out.tar"])?;
    let mut archive = tar::Archive::new(std::fs::File::open(files.path("out.tar"))?);
    let mut names = Vec::new();
    for entry in archive.entries()? {
        names.push(entry?.path()?.display().to_string());
    }
    ensure!(names.iter().any(|name| name == "both"), "{names:?}");
    for kind in ["docker", "oci"] {
        if case.engine.kind.is_dockerd() {
            continue;
        }
        let out = format!("type={kind},dest={kind}.tar");
        files.build(
            case,
            &["-t", "made:there", "-o", &out, "--metadata-file", "meta"],
        )?;
        let id = files.json("meta")?["containerimage.config.digest"]
            .as_str()
            .context("no digest")?
            .to_owned();
        case.ok(&["load", "-q", "-i", &files.path(&format!("{kind}.tar"))])?;
        case.prints(&["images", "-q", "--no-trunc", "made:there"], &id)?;
        case.ok(&["rmi", "-f", "made:there"])?;
    }
    Ok(())
}

pub(crate) fn other_contexts(case: &mut Case) -> Result<()> {
    let files = Files::new(&[
        (
            "Dockerfile",
            "FROM base\nCOPY --from=more f /f\nRUN --mount=from=more,target=/m cat /m/f > /g\n",
        ),
        ("other/f", "F\n"),
        ("other/.dockerignore", "no\n"),
        ("other/no", "x"),
    ])?;
    files.build(
        case,
        &[
            "-t",
            "made",
            "--build-context",
            "more=other",
            "--build-context",
            "base=docker-image://busybox",
        ],
    )?;
    case.prints(&["run", "--rm", "made", "cat", "/f", "/g"], "F\nF")
}

pub(crate) fn a_client_that_goes_stops_its_steps(case: &mut Case) -> Result<()> {
    let files = Files::new(&[("Dockerfile", "FROM busybox\nRUN sleep 1000\n")])?;
    let running = || case.ok(&["ps", "-aq"]);
    let before = running()?;
    ensure!(before.is_empty(), "{before}");
    let mut child = files.command(case, &["buildx", "build", "."]);
    let mut child = child
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let sleeps = || case.engine.world.sh("pgrep -f 'sleep 100[0]' || true");
    until(|| Ok(!sleeps()?.is_empty()))?;
    child.kill()?;
    child.wait()?;
    until(|| Ok(sleeps()?.is_empty()))
}

pub(crate) fn what_builds_keep(case: &mut Case) -> Result<()> {
    let files = Files::new(&[
        (
            "Dockerfile",
            "FROM busybox\nCOPY f /f\nRUN --mount=type=cache,target=/c cp /f /c/\n",
        ),
        ("f", "F\n"),
    ])?;
    files.build(case, &[])?;
    let ok = |args: &[&str]| -> Result<String> {
        let run = files.run(case, args)?;
        ensure!(run.code == 0, "{args:?}: {run:?}");
        Ok(run.stdout)
    };
    let list = ok(&["buildx", "ls"])?;
    ensure!(
        list.contains("default") && list.contains("running"),
        "{list}"
    );
    let inspect = ok(&["buildx", "inspect"])?;
    ensure!(
        inspect.contains("Driver:") && inspect.contains("linux/"),
        "{inspect}"
    );
    let used = ok(&["buildx", "du", "--verbose"])?;
    for wanted in ["source.local", "exec.cachemount", "Total:"] {
        ensure!(used.contains(wanted), "{wanted}: {used}");
    }
    ok(&["buildx", "prune", "-af"])?;
    let used = ok(&["buildx", "du", "--verbose"])?;
    ensure!(!used.contains("exec.cachemount"), "{used}");
    Ok(())
}

pub(crate) fn bake_builds_several(case: &mut Case) -> Result<()> {
    let files = Files::new(&[(
        "docker-bake.hcl",
        "group \"default\" { targets = [\"one\", \"two\"] }\n\
             target \"one\" {\n  dockerfile-inline = \"FROM busybox\\nRUN echo 1 > /n\\n\"\n  tags = [\"one\"]\n}\n\
             target \"two\" {\n  dockerfile-inline = \"FROM first\\nRUN echo 2 >> /n\\n\"\n  tags = [\"two\"]\n  contexts = { first = \"target:one\" }\n}\n",
    )])?;
    let run = files.run(case, &["buildx", "bake", "--progress", "plain"])?;
    ensure!(run.code == 0, "{}", run.stderr);
    case.prints(&["run", "--rm", "one", "cat", "/n"], "1")?;
    case.prints(&["run", "--rm", "two", "cat", "/n"], "1\n2")
}

pub(crate) fn compose_builds_and_comes_up(case: &mut Case) -> Result<()> {
    let files = Files::new(&[
        (
            "compose.yaml",
            "name: app\nservices:\n  web:\n    build: {context: ., args: {WORD: hello}}\n    command: cat /word\n",
        ),
        (
            "Dockerfile",
            "FROM busybox\nARG WORD\nRUN echo $WORD > /word\n",
        ),
    ])?;
    let compose = |args: &[&str]| -> Result<String> {
        let args = [&["compose"], args].concat();
        let run = files.run(case, &args)?;
        ensure!(run.code == 0, "{args:?}: {run:?}");
        Ok(run.stdout)
    };
    compose(&["build"])?;
    case.prints(&["run", "--rm", "app-web", "cat", "/word"], "hello")?;
    files.write(
        "Dockerfile",
        "FROM busybox\nARG WORD\nRUN echo $WORD again > /word\n",
    )?;
    let said = compose(&["up", "--build"])?;
    ensure!(said.contains("hello again"), "{said}");
    compose(&["down"]).map(drop)
}
