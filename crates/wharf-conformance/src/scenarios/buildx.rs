//! BuildKit's protocol, through the stock buildx plugin.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use wharf_testkit::fixtures;

use super::containers::until;
use crate::Case;
use crate::case::Run;
use crate::case::skip;

/// A folder with files to build from, and the plugin's own.
pub(super) struct Files {
    folder: TempDir,
    state: TempDir,
    plugins: PathBuf,
}

/// git's own server over the folder of files; it ends with this.
pub(super) struct GitServer(Child);

impl GitServer {
    /// Returns when it answers, at `git://127.0.0.1/`.
    pub(super) fn start(case: &Case, files: &Files) -> Result<Self> {
        let world = &case.engine.world;
        let base = format!("--base-path={}", files.folder.path().display());
        let mut command = world.command("git");
        command.args(["daemon", "--reuseaddr", "--listen=127.0.0.1"]);
        let server = Self(command.args(["--export-all", &base]).spawn()?);
        until(|| Ok(world.sh("bash -c '</dev/tcp/127.0.0.1/9418'").is_ok()))?;
        Ok(server)
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Files {
    pub(super) fn new(files: &[(&str, &str)]) -> Result<Self> {
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

    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().context("a file without a folder")?)?;
        Ok(std::fs::write(path, text)?)
    }

    fn write_bytes(&self, name: &str, bytes: &[u8]) -> Result<()> {
        Ok(std::fs::write(self.folder.path().join(name), bytes)?)
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub(super) fn command(&self, case: &Case, args: &[&str]) -> Command {
        let mut command = case.command(args);
        command
            .env("DOCKER_CONFIG", &self.plugins)
            .env("BUILDX_CONFIG", self.state.path())
            .current_dir(self.folder.path());
        command
    }

    /// Another program which runs the stock command, in the folder.
    pub(super) fn program(&self, case: &Case, name: &str) -> Command {
        let stock = self.command(case, &[]);
        let mut command = Command::new(name);
        let set = stock
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?)));
        command.envs(set).current_dir(self.folder.path());
        command.stdin(Stdio::null());
        command
    }

    pub(super) fn run(&self, case: &Case, args: &[&str]) -> Result<Run> {
        run(self.command(case, args))
    }

    /// Builds the folder; what the progress says.
    pub(super) fn build(&self, case: &Case, args: &[&str]) -> Result<String> {
        self.build_of(case, &[args, &["."]].concat())
    }

    /// Builds what the last argument says.
    fn build_of(&self, case: &Case, args: &[&str]) -> Result<String> {
        let args = [&["buildx", "build", "--progress", "plain"], args].concat();
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

/// What a command did, without what is blank at the ends of its streams.
pub(super) fn run(mut command: Command) -> Result<Run> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    Ok(Run {
        code: output.status.code().unwrap_or(-1),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    })
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

/// A builder of buildx' own that speaks to the daemon's socket, with every exporter that BuildKit has.
pub(super) fn remote(files: &Files, case: &Case) -> Result<()> {
    let address = format!("unix://{}", case.engine.socket().display());
    let args = [
        "buildx", "create", "--name", "far", "--driver", "remote", "--use", &address,
    ];
    let run = files.run(case, &args)?;
    ensure!(run.code == 0, "{run:?}");
    Ok(())
}

/// The documents of an OCI layout in an archive, by digest; and its index.
pub(super) fn layout(path: &str) -> Result<(std::collections::HashMap<String, Vec<u8>>, Value)> {
    use std::io::Read as _;
    let mut archive = tar::Archive::new(std::fs::File::open(path)?);
    let (mut blobs, mut index) = (std::collections::HashMap::new(), Value::Null);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        if let Some(hex) = name.strip_prefix("blobs/sha256/") {
            blobs.insert(format!("sha256:{hex}"), bytes);
        } else if name == "index.json" {
            index = serde_json::from_slice(&bytes)?;
        }
    }
    Ok((blobs, index))
}

pub(super) fn document(
    blobs: &std::collections::HashMap<String, Vec<u8>>,
    descriptor: &Value,
) -> Result<Value> {
    let digest = descriptor["digest"].as_str().context("no digest")?;
    let bytes = blobs
        .get(digest)
        .with_context(|| format!("no blob {digest}"))?;
    Ok(serde_json::from_slice(bytes)?)
}

pub(crate) fn platforms_in_one_build(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip(
            "Its socket speaks no HTTP/2 from the first byte, which buildx' own builders need",
        );
    }
    let files = Files::new(&[
        (
            "Dockerfile",
            "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\nCMD [\"x\"]\n",
        ),
        ("amd64", "A\n"),
        ("arm64", "B\n"),
    ])?;
    remote(&files, case)?;
    let out = "type=oci,dest=both.tar";
    let platforms = "linux/amd64,linux/arm64";
    let args = ["--platform", platforms, "-o", out, "--provenance=false"];
    let said = files.build(case, &args)?;
    ensure!(said.contains("[linux/arm64 1/1] COPY "), "{said}");
    let (blobs, top) = layout(&files.path("both.tar"))?;
    let index = document(&blobs, &top["manifests"][0])?;
    let manifests = index["manifests"].as_array().context("no manifests")?;
    let found: Vec<&str> = manifests
        .iter()
        .filter_map(|one| one["platform"]["architecture"].as_str())
        .collect();
    ensure!(found == ["amd64", "arm64"], "{index}");
    for manifest in manifests {
        let own = document(&blobs, manifest)?;
        let config = document(&blobs, &own["config"])?;
        ensure!(
            config["architecture"] == manifest["platform"]["architecture"],
            "{config}"
        );
    }
    case.ok(&["load", "-i", &files.path("both.tar")])?;
    // Into the store, where names mean the best for this machine.
    files.build(
        case,
        &["--platform", platforms, "-t", "both", "-o", "type=image"],
    )?;
    let architecture = case.ok(&["image", "inspect", "-f", "{{.Architecture}}", "both"])?;
    ensure!(
        matches!(architecture.as_str(), "amd64" | "arm64"),
        "{architecture}"
    );
    // What holds one image can not hold two.
    let args = [
        "buildx",
        "build",
        "--platform",
        platforms,
        "-o",
        "type=docker,dest=d.tar",
        ".",
    ];
    let run = files.run(case, &args)?;
    ensure!(
        run.code != 0 && run.stderr.contains("manifest lists"),
        "{run:?}"
    );
    Ok(())
}

pub(crate) fn statements_and_annotations(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip(
            "Its socket speaks no HTTP/2 from the first byte, which buildx' own builders need",
        );
    }
    let files = Files::new(&[(
        "Dockerfile",
        "FROM busybox\nARG TOKEN\nRUN --network=none echo 1 > /x\n",
    )])?;
    remote(&files, case)?;
    let build = |mode: &str| -> Result<Value> {
        let provenance = format!("--provenance={mode}");
        files.build(
            case,
            &[
                "-o",
                "type=oci,dest=a.tar,annotation.who=me,annotation-index.all=us",
                "--build-arg",
                "TOKEN=for-me-alone",
                &provenance,
            ],
        )?;
        let (blobs, top) = layout(&files.path("a.tar"))?;
        let index = document(&blobs, &top["manifests"][0])?;
        ensure!(index["annotations"]["all"] == "us", "{index}");
        let (image, about) = (&index["manifests"][0], &index["manifests"][1]);
        ensure!(
            document(&blobs, image)?["annotations"]["who"] == "me",
            "{image}"
        );
        let annotations = &about["annotations"];
        ensure!(
            annotations["vnd.docker.reference.digest"] == image["digest"]
                && annotations["vnd.docker.reference.type"] == "attestation-manifest",
            "{about}"
        );
        let manifest = document(&blobs, about)?;
        let layer = &manifest["layers"][0];
        ensure!(
            layer["annotations"]["in-toto.io/predicate-type"] == "https://slsa.dev/provenance/v0.2",
            "{layer}"
        );
        let statement = document(&blobs, layer)?;
        let own = image["digest"].as_str().context("no digest")?;
        let subject = &statement["subject"][0]["digest"]["sha256"];
        ensure!(
            subject.as_str().is_some_and(|hex| own.ends_with(hex)),
            "{statement}"
        );
        Ok(statement)
    };
    let least = build("mode=min")?;
    ensure!(!least.to_string().contains("for-me-alone"), "{least}");
    ensure!(
        least["predicate"]["invocation"]["parameters"]["frontend"] == "dockerfile.v0",
        "{least}"
    );
    let most = build("mode=max")?;
    let args = &most["predicate"]["invocation"]["parameters"]["args"];
    ensure!(args["build-arg:TOKEN"] == "for-me-alone", "{most}");
    ensure!(
        !most["predicate"]["buildConfig"]["llbDefinition"].is_null(),
        "{most}"
    );
    Ok(())
}

/// Archives on standard input, a Dockerfile there, another Dockerfile and repositories.
pub(crate) fn what_a_context_may_be(case: &mut Case) -> Result<()> {
    let files = Files::new(&[
        ("Dockerfile", "FROM busybox\nCOPY f /f\n"),
        ("f", "F\n"),
        ("other/f", "G\n"),
        ("other/Dockerfile", "FROM busybox\nCOPY f /g\n"),
    ])?;
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all(".", files.path("other"))?;
    files.write_bytes("context.tar", &archive.into_inner()?)?;
    let feed = |input: &str, args: &[&str]| -> Result<()> {
        let mut command = files.command(case, &[&["buildx", "build"], args].concat());
        let output = command
            .stdin(std::fs::File::open(files.path(input))?)
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{args:?}: {error}");
        Ok(())
    };
    feed("context.tar", &["-t", "sent", "-"])?;
    case.prints(&["run", "--rm", "sent", "cat", "/g"], "G")?;
    feed("other/Dockerfile", &["-t", "piped", "-f", "-", "."])?;
    case.prints(&["run", "--rm", "piped", "cat", "/g"], "F")?;
    let repository = files.path("repository");
    let script = format!(
        "mkdir -p {repository} && cd {repository} && git init -q -b main && cp -r ../other . && git add . \
         && git -c user.name=n -c user.email=e@x commit -qm one && git update-server-info",
    );
    case.engine.world.sh(&script)?;
    let git = GitServer::start(case, &files)?;
    files.build_of(
        case,
        &["-t", "git", "git://127.0.0.1/repository#main:other"],
    )?;
    case.prints(&["run", "--rm", "git", "cat", "/g"], "G")?;
    let files_of = "more=git://127.0.0.1/repository#main:other";
    files.write("Dockerfile", "FROM busybox\nCOPY --from=more f /n\n")?;
    files.build(case, &["-t", "named", "--build-context", files_of])?;
    case.prints(&["run", "--rm", "named", "cat", "/n"], "G")?;
    drop(git);
    Ok(())
}

pub(crate) fn progress_as_asked(case: &mut Case) -> Result<()> {
    let files = Files::new(STAGES)?;
    let run = files.run(case, &["buildx", "build", "--progress", "rawjson", "."])?;
    ensure!(run.code == 0, "{run:?}");
    let mut names = Vec::new();
    let from = run.stderr.find('{').context("no document")?;
    let documents = serde_json::Deserializer::from_str(&run.stderr[from..]);
    // What follows the last document is words for people.
    for said in documents.into_iter::<Value>().map_while(Result::ok) {
        for vertex in said["vertexes"].as_array().into_iter().flatten() {
            names.extend(vertex["name"].as_str().map(str::to_owned));
        }
    }
    ensure!(
        names
            .iter()
            .any(|name| name == "[stage-1 3/3] RUN echo said && cat /both"),
        "{names:?}: {}",
        run.stderr
    );
    // On a terminal: `script` gives it one.
    let inner = format!(
        "cd {} && DOCKER_CONFIG={} BUILDX_CONFIG={} docker -H unix://{} buildx build --progress tty --no-cache .",
        files.folder.path().display(),
        files.plugins.display(),
        files.state.path().display(),
        case.engine.socket().display(),
    );
    let output = Command::new("script")
        .args(["-qec", &inner, "/dev/null"])
        .stdin(std::process::Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}");
    ensure!(
        said.contains("FINISHED") && said.contains("[stage-1 3/3] RUN"),
        "{said}"
    );
    Ok(())
}

/// Caches that go with an image, and those that a registry keeps.
pub(crate) fn caches_in_a_registry(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip(
            "Its socket speaks no HTTP/2 from the first byte, which buildx' own builders need",
        );
    }
    let files = Files::new(&[
        (
            "Dockerfile",
            "FROM busybox AS tool\nRUN --network=none echo tool > /tool\nFROM busybox\nCOPY f /f\n\
             COPY --from=tool /tool /tool\nRUN --network=none cat /f > /g\n",
        ),
        ("f", "F\n"),
    ])?;
    remote(&files, case)?;
    let storage = case.engine.world.path().join("registry");
    std::fs::create_dir_all(&storage)?;
    let _registry = wharf_testkit::Registry::serve(&case.engine.world, &storage, 5000)?;
    case.ok(&["tag", "busybox", "localhost:5000/busybox"])?;
    case.ok(&["push", "-q", "localhost:5000/busybox"])?;
    let forget = || -> Result<()> {
        let run = files.run(case, &["buildx", "prune", "-af"])?;
        ensure!(run.code == 0, "{run:?}");
        Ok(())
    };
    let out = "type=image,push=true,name=localhost:5000/made";
    let cached = |said: &str| said.matches("CACHED").count();
    files.build(
        case,
        &["-o", out, "--cache-to", "type=inline", "--provenance=false"],
    )?;
    forget()?;
    let from = "type=registry,ref=localhost:5000/made";
    let said = files.build(case, &["-o", "type=cacheonly", "--cache-from", from])?;
    ensure!(
        cached(&said) >= 3 && said.contains("importing cache manifest"),
        "{said}"
    );
    let to = "type=registry,ref=localhost:5000/cache:max,mode=max";
    files.build(
        case,
        &["-o", "type=cacheonly", "--no-cache", "--cache-to", to],
    )?;
    forget()?;
    let from = "type=registry,ref=localhost:5000/cache:max";
    let said = files.build(case, &["-o", "type=cacheonly", "--cache-from", from])?;
    ensure!(cached(&said) >= 4, "{said}");
    // What has changed is done again, what has not is not.
    forget()?;
    files.write("f", "G\n")?;
    let said = files.build(case, &["-o", out, "--cache-from", from])?;
    ensure!((1..4).contains(&cached(&said)), "{said}");
    case.ok(&["pull", "localhost:5000/made"])?;
    case.prints(
        &["run", "--rm", "localhost:5000/made", "cat", "/g", "/tool"],
        "G\ntool",
    )?;
    let missing = "type=registry,ref=localhost:5000/nothing";
    files.build(case, &["-o", "type=cacheonly", "--cache-from", missing])?;
    Ok(())
}

/// BuildKit behind `POST /build`: as commands before Docker 23 ask, and as a program may that has an archive and no
/// session.
pub(crate) fn through_the_classic_request(case: &mut Case) -> Result<()> {
    let files = Files::new(&[
        (
            "Dockerfile",
            "FROM busybox\nCOPY f /f\nRUN --network=none --mount=type=cache,target=/c echo said; cat /f > /g\n",
        ),
        ("f", "F\n"),
    ])?;
    let old = Path::new("/usr/bin/docker");
    if old.exists() {
        let output = Command::new(old)
            .args(["-H", &format!("unix://{}", case.engine.socket().display())])
            .args(["build", "--progress", "plain", "-t", "old", "."])
            .env("DOCKER_BUILDKIT", "1")
            .env("DOCKER_CONFIG", files.state.path())
            .current_dir(files.folder.path())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{said}");
        ensure!(
            said.contains("3/3] RUN") && said.contains("naming to"),
            "{said}"
        );
        case.prints(&["run", "--rm", "old", "cat", "/g"], "F")?;
    }
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all(".", files.folder.path())?;
    let archive = archive.into_inner()?;
    let build = |query: &str| -> Result<Vec<Value>> {
        let answer = wharf_testkit::api::raw(
            &case.engine.socket(),
            "POST",
            &format!("/build?version=2&{query}"),
            &[("Content-Type", "application/x-tar")],
            &archive,
        )?;
        ensure!(answer.status == 200, "{}", answer.text());
        let text = answer.text();
        let lines = text.lines().map(serde_json::from_str);
        Ok(lines.collect::<Result<_, _>>()?)
    };
    let said = build("t=sent")?;
    let last = said.last().context("nothing")?;
    ensure!(last["id"] == "moby.image.id", "{last}");
    let id = last["aux"]["ID"].as_str().context("no id")?.to_owned();
    case.prints(&["images", "-q", "--no-trunc", "sent"], &id)?;
    ensure!(
        said.iter()
            .any(|line| line["id"] == "moby.buildkit.trace" && line["aux"].is_string()),
        "{said:?}"
    );
    let said = build("dockerfile=missing")?;
    let error = said.last().context("nothing")?["error"]
        .as_str()
        .unwrap_or_default();
    ensure!(error.contains("open missing: no such file"), "{said:?}");
    a_named_build_is_cancelled(case)
}

/// `buildid` is what a client cancels its build by. That there is none of it is no error: it may have ended.
fn a_named_build_is_cancelled(case: &Case) -> Result<()> {
    let files = Files::new(&[("Dockerfile", "FROM busybox\nRUN sleep 1000\n")])?;
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all(".", files.folder.path())?;
    let archive = archive.into_inner()?;
    let socket = case.engine.socket();
    let sleeps = || case.engine.world.sh("pgrep -f 'sleep 100[0]' || true");
    let cancel = |id: &str| {
        let target = format!("/build/cancel?id={id}");
        case.expect("POST", &target, None, 200)
    };
    cancel("nothing")?;
    let kind = [("Content-Type", "application/x-tar")];
    let send = || {
        let target = "/build?version=2&buildid=mine";
        wharf_testkit::api::raw(&socket, "POST", target, &kind, &archive)
    };
    std::thread::scope(|scope| {
        let build = scope.spawn(send);
        until(|| Ok(!sleeps()?.is_empty()))?;
        cancel("mine")?;
        let said = build
            .join()
            .map_err(|_| anyhow::anyhow!("the build panicked"))??
            .text();
        let last: Value = serde_json::from_str(said.lines().last().context("nothing")?)?;
        ensure!(last["error"] == "context canceled", "{last}");
        until(|| Ok(sleeps()?.is_empty()))
    })
}
