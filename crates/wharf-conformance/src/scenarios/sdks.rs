//! The SDKs of other languages, as their users have them from their package registries. The programs in `sdks/` call every
//! method once; beside each lies what it prints against dockerd 26.1.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use wharf_testkit::{EngineKind, Registry, fixtures};

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
}

pub(crate) fn docker_py(case: &mut Case) -> Result<()> {
    check(
        case,
        &Program {
            interpreter: Interpreter::Python,
            path: "docker_py/main.py",
            wants_registry: true,
            printed: include_str!("../../sdks/docker_py.txt"),
        },
    )
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

fn check(case: &Case, program: &Program) -> Result<()> {
    let Some(sdks) = sdks(case)? else {
        return Ok(());
    };
    let mut args = vec![program.path.into()];
    let registry = program.wants_registry.then(|| registry(case)).transpose()?;
    if registry.is_some() {
        args.push(case.engine.socket().into_os_string());
        args.extend([REGISTRY.into(), VERSION.into()]);
    }
    let printed = run(case, &sdks, program.interpreter, &args)?;
    same(&printed, program.printed)
}

/// The folder that the SDKs are installed in; none where this scenario has nothing to say: for a second command line, as no
/// command line is used, for dockerd 20.10, which is too old, and where no package registry is reachable.
fn sdks(case: &Case) -> Result<Option<PathBuf>> {
    if case.client != Client::Docker || case.engine.kind == EngineKind::Dockerd {
        return Ok(None);
    }
    let found = fixtures::sdks()?;
    if found.is_none() {
        println!("skipped: no package registry is reachable, and the SDKs are not installed");
    }
    Ok(found)
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

/// What a program prints that runs where the daemon's ports are.
fn run(case: &Case, sdks: &Path, interpreter: Interpreter, args: &[OsString]) -> Result<String> {
    let program = match interpreter {
        Interpreter::Python => sdks.join("python/bin/python"),
        Interpreter::Node => PathBuf::from("node"),
    };
    let host = format!("unix://{}", case.engine.socket().display());
    let output = case
        .engine
        .world
        .command("env")
        .args(["-C", concat!(env!("CARGO_MANIFEST_DIR"), "/sdks")])
        .arg(&program)
        .args(args)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NODE_PATH", sdks.join("node/node_modules"))
        .env("DOCKER_HOST", host)
        .env("HOME", case.engine.world.path())
        // Its image is nowhere to be had here.
        .env("TESTCONTAINERS_RYUK_DISABLED", "true")
        .env("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
        .output()
        .with_context(|| format!("run {}", program.display()))?;
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
