//! The house rules: crate order, where `unsafe` may stand, module docs, sorted dependencies, no async below.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// Crates that run without an async runtime: words, kernel, and what the shim is made of.
const SYNC: &[&str] = &[
    "wharf-oci",
    "wharf-go",
    "wharf-api-types",
    "wharf-dockerfile",
    "wharf-shim-api",
    "wharf-sys",
    "wharf-dbus",
    "wharf-cgroups",
    "wharf-seccomp",
    "wharf-netlink",
    "wharf-layer",
    "wharf-tls",
    "wharf-records",
    "wharf-logs",
    "wharf-bundle",
    "wharf-runtime",
    "wharf-shim",
];

pub(crate) fn run() -> Result<()> {
    let root = root();
    let packages = packages(root)?;
    let mut faults = Vec::new();
    crate_order(root, &packages, &mut faults)?;
    files_of_the_map(root, &mut faults)?;
    no_runtime_below(&packages, &mut faults);
    for file in rust_files(root)? {
        source_rules(root, &file, &mut faults)?;
    }
    sorted_dependencies(root, &mut faults)?;
    dependencies_have_reasons(root, &mut faults)?;
    dependencies_are_used(root, &packages, &mut faults)?;
    fuzz_lock(root, &packages, &mut faults)?;
    if faults.is_empty() {
        println!("tidy: {} crates in order", packages.len());
        return Ok(());
    }
    bail!("tidy:\n  {}", faults.join("\n  "));
}

/// The workspace's folder (`.cargo/config.toml`).
pub(crate) fn root() -> &'static Path {
    Path::new(env!("WHARF_ROOT"))
}

/// Each crate of ours with the names of what it depends on (not for tests).
fn packages(root: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(root)
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let mut packages = BTreeMap::new();
    for package in metadata["packages"].as_array().context("packages")? {
        let name = package["name"].as_str().context("name")?.to_owned();
        let dependencies = package["dependencies"].as_array().context("dependencies")?;
        let normal = dependencies.iter().filter(|one| one["kind"].is_null());
        let names = normal.filter_map(|one| one["name"].as_str().map(str::to_owned));
        packages.insert(name, names.collect());
    }
    Ok(packages)
}

/// What to do about a lock that is out of date.
const MEND: &str = "`cargo metadata` in `fuzz` mends it";

/// Rule: the lock of `fuzz`, which is no member of the workspace, knows what our crates depend on.
fn fuzz_lock(
    root: &Path,
    packages: &BTreeMap<String, Vec<String>>,
    faults: &mut Vec<String>,
) -> Result<()> {
    let read = |name: &str| std::fs::read_to_string(root.join("fuzz").join(name));
    let (lock, own) = (read("Cargo.lock")?, read("Cargo.toml")?);
    let named = own.lines().filter_map(|line| line.split_once(" = "));
    for (name, _) in named.filter(|(name, _)| packages.contains_key(*name)) {
        if !lock.contains(&format!("\nname = \"{name}\"\n")) {
            faults.push(format!("fuzz/Cargo.lock lacks {name}: {MEND}"));
        }
    }
    for entry in lock.split("[[package]]") {
        let name = entry
            .lines()
            .find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
        let Some((name, needed)) = name.and_then(|name| packages.get_key_value(name)) else {
            continue;
        };
        let ours = needed.iter().filter(|one| packages.contains_key(*one));
        for lacking in ours.filter(|one| !entry.contains(&format!("\n \"{one}\",\n"))) {
            faults.push(format!("fuzz/Cargo.lock: {name} lacks {lacking}: {MEND}"));
        }
    }
    Ok(())
}

/// Rule: a crate depends only on crates above it in ARCHITECTURE.md's table.
fn crate_order(
    root: &Path,
    packages: &BTreeMap<String, Vec<String>>,
    faults: &mut Vec<String>,
) -> Result<()> {
    let page = std::fs::read_to_string(root.join("ARCHITECTURE.md"))?;
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with("## Crates"))
        .filter(|line| line.starts_with("| ") && line.contains('`'));
    let order: Vec<&str> = rows
        .filter_map(|row| row.split('|').nth(2))
        .filter_map(|cell| cell.trim().strip_prefix('`')?.strip_suffix('`'))
        .collect();
    let rank = |name: &str| order.iter().position(|&listed| listed == name);
    for (name, dependencies) in packages {
        let Some(own) = rank(name) else {
            faults.push(format!(
                "{name} is not in ARCHITECTURE.md's table of crates"
            ));
            continue;
        };
        for dependency in dependencies
            .iter()
            .filter(|one| packages.contains_key(*one))
        {
            if rank(dependency).is_none_or(|other| other >= own) {
                faults.push(format!(
                    "{name} depends on {dependency}, which is not above it"
                ));
            }
        }
    }
    let gone = order
        .iter()
        .filter(|listed| !packages.contains_key(**listed));
    faults.extend(gone.map(|listed| format!("ARCHITECTURE.md lists {listed}, which is no crate")));
    Ok(())
}

/// Rule: a file of a crate that ARCHITECTURE.md leads to is there.
fn files_of_the_map(root: &Path, faults: &mut Vec<String>) -> Result<()> {
    let page = std::fs::read_to_string(root.join("ARCHITECTURE.md"))?;
    let named = page.split('`').skip(1).step_by(2);
    let files = named.filter(|word| word.starts_with("wharf") && word.ends_with(".rs"));
    let gone = files.filter(|file| !root.join("crates").join(file).exists());
    faults.extend(gone.map(|file| format!("ARCHITECTURE.md leads to {file}, which is not there")));
    Ok(())
}

/// Rule: no async runtime in words, kernel, bundle, runtime and shim.
fn no_runtime_below(packages: &BTreeMap<String, Vec<String>>, faults: &mut Vec<String>) {
    for name in SYNC {
        let dependencies = packages.get(*name).map_or(&[][..], Vec::as_slice);
        if dependencies
            .iter()
            .any(|one| one == "tokio" || one == "hyper")
        {
            faults.push(format!("{name} depends on an async runtime"));
        }
    }
}

fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "*.rs"])
        .current_dir(root)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let files = text.lines().map(|line| root.join(line));
    Ok(files.filter(|file| file.is_file()).collect())
}

fn source_rules(root: &Path, file: &Path, faults: &mut Vec<String>) -> Result<()> {
    let text = std::fs::read_to_string(file)?;
    let path = file.strip_prefix(root)?.display().to_string();
    if !text.starts_with("//!") && !path.ends_with("build.rs") {
        faults.push(format!("{path} does not begin with a module docstring"));
    }
    if !path.starts_with("crates/wharf-sys/") && text.contains(concat!("allow(", "unsafe_code)")) {
        faults.push(format!("{path} allows unsafe code outside of wharf-sys"));
    }
    let below_faces = ![
        "wharf-api-types",
        "wharf-client",
        "wharf-buildkit",
        "wharf-api-server",
        "wharf-conformance",
    ]
    .iter()
    .any(|face| path.starts_with(&format!("crates/{face}/")))
        && !path.starts_with("crates/wharf/")
        && !path.starts_with("xtask/");
    if below_faces && text.contains("wharf_api_types") {
        faults.push(format!("{path} knows the wire (wharf_api_types)"));
    }
    if ["wharf-engine", "wharf-api-server"]
        .iter()
        .all(|one| !path.starts_with(&format!("crates/{one}/")))
        && path.starts_with("crates/wharf/src/")
        && !path.starts_with("crates/wharf/src/daemon/")
        && text.contains("wharf_engine")
    {
        faults.push(format!(
            "{path}: the command line uses only the public API, not wharf_engine"
        ));
    }
    Ok(())
}

/// Rule: docs/dependencies.md says what each library is for.
fn dependencies_have_reasons(root: &Path, faults: &mut Vec<String>) -> Result<()> {
    let page = std::fs::read_to_string(root.join("docs/dependencies.md"))?;
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    let words: Vec<&str> = page.split(|letter| !is_part(letter)).collect();
    let manifest = std::fs::read_to_string(root.join("Cargo.toml"))?;
    let libraries = workspace_dependencies(&manifest)?.filter(|name| !name.starts_with("wharf-"));
    let silent = libraries.filter(|name| !words.contains(name));
    faults
        .extend(silent.map(|name| format!("docs/dependencies.md does not say what {name} is for")));
    Ok(())
}

/// Rule: what a crate depends on stands in its sources.
fn dependencies_are_used(
    root: &Path,
    packages: &BTreeMap<String, Vec<String>>,
    faults: &mut Vec<String>,
) -> Result<()> {
    let files = rust_files(root)?;
    for (name, dependencies) in packages {
        let folder = match name.as_str() {
            "xtask" => root.join(name),
            _ => root.join("crates").join(name),
        };
        let mut sources = String::new();
        for file in files.iter().filter(|file| file.starts_with(&folder)) {
            sources += &std::fs::read_to_string(file)?;
        }
        let library = |package: &str| match package {
            "rustls-webpki" => "webpki".to_owned(),
            other => other.replace('-', "_"),
        };
        let unused = dependencies
            .iter()
            .filter(|one| !sources.contains(&library(one)));
        faults.extend(unused.map(|one| format!("{name} does not use {one}")));
    }
    Ok(())
}

/// Rule: the workspace's dependency table is sorted.
fn sorted_dependencies(root: &Path, faults: &mut Vec<String>) -> Result<()> {
    let manifest = std::fs::read_to_string(root.join("Cargo.toml"))?;
    // Ours stand in the order of the architecture.
    let others = workspace_dependencies(&manifest)?.filter(|name| !name.starts_with("wharf-"));
    if !others.is_sorted() {
        faults.push("Cargo.toml: [workspace.dependencies] is not sorted".to_owned());
    }
    Ok(())
}

/// The names in the workspace's table of dependencies.
fn workspace_dependencies(manifest: &str) -> Result<impl Iterator<Item = &str>> {
    let table = manifest
        .split("[workspace.dependencies]")
        .nth(1)
        .and_then(|rest| rest.split("\n[").next())
        .context("no [workspace.dependencies]")?;
    Ok(table
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name))
}
