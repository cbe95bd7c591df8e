//! The SDKs of other languages, as their users have them from their package registries. The programs in `sdks/` call every
//! method once; beside each lies what it prints against dockerd 26.1.

use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use wharf_testkit::{EngineKind, Registry, fixtures};

use crate::case::skip;
use crate::{Case, Client};

const REGISTRY: &str = "127.0.0.1:5000";
/// The version that both engines have.
const VERSION: &str = "1.45";

/// A program of `sdks/`, and what dockerd makes it print.
struct Program {
    interpreter: Interpreter,
    path: &'static str,
    /// Whether it is told of the daemon's socket and of a registry; others find the daemon by `DOCKER_HOST`.
    wants_registry: bool,
    printed: &'static str,
}

#[derive(Clone, Copy)]
enum Interpreter {
    Python,
    Node,
    /// None: the program is built.
    Go,
    /// None: the program is built.
    Rust,
}

const DOCKER_PY: Program = Program {
    interpreter: Interpreter::Python,
    path: "docker_py/main.py",
    wants_registry: true,
    printed: include_str!("../../sdks/docker_py.txt"),
};

pub(crate) fn docker_py(case: &mut Case) -> Result<()> {
    check(case, &DOCKER_PY)
}

/// It asks for the newest version that there is, if it is not told of one: what it finds is the same, and more in a few places.
pub(crate) fn docker_py_by_the_newest_version(case: &mut Case) -> Result<()> {
    let Some(printed) = printed(case, &DOCKER_PY, "auto")? else {
        return Ok(());
    };
    let newest = case.engine.api("GET", "/version", None)?.json();
    let newest = newest["ApiVersion"].as_str().context("no version")?;
    let printed = printed.replace(&format!("/v{newest}/"), &format!("/v{VERSION}/"));
    let has_more = |line: &&str| {
        let (step, _) = line.split_once(':').unwrap_or((line, ""));
        matches!(
            step,
            "disk usage"
                | "images, low"
                | "what is said of its state"
                | "lists that ask for little"
                | "lists, low"
                | "network"
                | "network, low"
        )
    };
    let common = |text: &str| {
        let lines = text.lines().filter(|line| !has_more(line));
        lines.collect::<Vec<_>>().join("\n")
    };
    same(&common(&printed), &common(DOCKER_PY.printed))
}

pub(crate) fn dockerode(case: &mut Case) -> Result<()> {
    check(
        case,
        &Program {
            interpreter: Interpreter::Node,
            path: "dockerode/main.js",
            wants_registry: true,
            printed: include_str!("../../sdks/dockerode.txt"),
        },
    )
}

pub(crate) fn docker_go(case: &mut Case) -> Result<()> {
    check(
        case,
        &Program {
            interpreter: Interpreter::Go,
            path: "docker_go",
            wants_registry: true,
            printed: include_str!("../../sdks/docker_go.txt"),
        },
    )
}

pub(crate) fn aiodocker(case: &mut Case) -> Result<()> {
    check(
        case,
        &Program {
            interpreter: Interpreter::Python,
            path: "aiodocker/main.py",
            wants_registry: true,
            printed: include_str!("../../sdks/aiodocker.txt"),
        },
    )
}

pub(crate) fn python_on_whales(case: &mut Case) -> Result<()> {
    check(
        case,
        &Program {
            interpreter: Interpreter::Python,
            path: "on_whales/main.py",
            wants_registry: true,
            printed: include_str!("../../sdks/python_on_whales.txt"),
        },
    )
}

pub(crate) fn testcontainers_of_python(case: &mut Case) -> Result<()> {
    check(
        case,
        &Program {
            interpreter: Interpreter::Python,
            path: "testcontainers/main.py",
            wants_registry: false,
            printed: include_str!("../../sdks/testcontainers_py.txt"),
        },
    )
}

pub(crate) fn testcontainers_of_node(case: &mut Case) -> Result<()> {
    check(
        case,
        &Program {
            interpreter: Interpreter::Node,
            path: "testcontainers/main.js",
            wants_registry: false,
            printed: include_str!("../../sdks/testcontainers_js.txt"),
        },
    )
}

pub(crate) fn bollard(case: &mut Case) -> Result<()> {
    check(
        case,
        &Program {
            interpreter: Interpreter::Rust,
            path: "bollard",
            wants_registry: true,
            printed: include_str!("../../sdks/bollard.txt"),
        },
    )
}

pub(crate) fn testcontainers_of_rust(case: &mut Case) -> Result<()> {
    check(
        case,
        &Program {
            interpreter: Interpreter::Rust,
            path: "testcontainers",
            wants_registry: false,
            printed: include_str!("../../sdks/testcontainers_rs.txt"),
        },
    )
}

fn check(case: &Case, program: &Program) -> Result<()> {
    match printed(case, program, VERSION)? {
        Some(printed) => same(&printed, program.printed),
        None => Ok(()),
    }
}

/// What a program prints that asks for `version`; none where it is not for this engine and client.
fn printed(case: &Case, program: &Program, version: &str) -> Result<Option<String>> {
    // No command line is used, and dockerd 20.10 is too old.
    if case.client != Client::Docker || case.engine.kind == EngineKind::Dockerd {
        return Ok(None);
    }
    let Some(mut command) = command(case, program)? else {
        return skip("no package registry is reachable, and the SDKs are not installed");
    };
    let registry = program.wants_registry.then(|| registry(case)).transpose()?;
    if registry.is_some() {
        command.arg(case.engine.socket()).args([REGISTRY, version]);
    }
    run(command).map(Some)
}

/// The program where the daemon's ports are; none where what it is made with is not to be had.
fn command(case: &Case, program: &Program) -> Result<Option<Command>> {
    let installed = match program.interpreter {
        Interpreter::Python | Interpreter::Node => fixtures::sdks()?,
        Interpreter::Go => Some(fixtures::go_programs()?),
        Interpreter::Rust => fixtures::rust_programs()?,
    };
    let Some(folder) = installed else {
        return Ok(None);
    };
    let mut command = case.engine.world.command("env");
    command.args([
        "-C",
        concat!(env!("WHARF_ROOT"), "/crates/wharf-conformance/sdks"),
    ]);
    match program.interpreter {
        Interpreter::Python => command.arg(folder.join("python/bin/python")),
        Interpreter::Node => command.arg("node"),
        Interpreter::Go | Interpreter::Rust => &mut command,
    };
    match program.interpreter {
        Interpreter::Python | Interpreter::Node => command.arg(program.path),
        Interpreter::Go | Interpreter::Rust => command.arg(folder.join(program.path)),
    };
    command
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NODE_PATH", folder.join("node/node_modules"))
        .env(
            "DOCKER_HOST",
            format!("unix://{}", case.engine.socket().display()),
        )
        .env("HOME", case.engine.world.path())
        // Its image is nowhere to be had here.
        .env("TESTCONTAINERS_RYUK_DISABLED", "true")
        .env("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1");
    Ok(Some(command))
}

/// A registry with `busybox`, and nothing of it in the daemon.
fn registry(case: &Case) -> Result<Registry> {
    let storage = case.engine.world.path().join("registry");
    std::fs::create_dir_all(&storage)?;
    let registry = Registry::serve(&case.engine.world, &storage, 5000)?;
    let name = format!("{REGISTRY}/busybox");
    case.ok(&["tag", "busybox", &name])?;
    case.ok(&["push", "-q", &name])?;
    case.ok(&["rmi", &name])?;
    Ok(registry)
}

/// What a program prints.
fn run(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {stderr}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Line by line, so that all differences are seen at once.
fn same(printed: &str, wanted: &str) -> Result<()> {
    let (mut printed, mut wanted) = (printed.lines(), wanted.lines());
    let mut differences = Vec::new();
    loop {
        match (printed.next(), wanted.next()) {
            (None, None) => break,
            (found, judged) if found == judged => {}
            (found, judged) => differences.push(format!(
                "it says {:?}\n  dockerd {:?}",
                found.unwrap_or_default(),
                judged.unwrap_or_default()
            )),
        }
    }
    match differences.is_empty() {
        true => Ok(()),
        false => bail!("{}", differences.join("\n")),
    }
}
