//! The cases of `rebuild.md`: what is done again when something changes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../wharf-engine/tests/engine/world.rs"]
#[allow(dead_code, reason = "the engine's own tests use more of it")]
mod world;

#[path = "solve/client.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod client;

#[path = "solve/cases.rs"]
mod cases;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cases::{Case, cases, context};
use client::{begin, dockerfile};
use wharf_solver::{Progress, Solver};
use world::isolated;

const FILES: &[(&str, &str)] = &[
    ("a.txt", "one"),
    ("b.txt", "two"),
    ("sub/c.txt", "three"),
    ("sub/deep/d.md", "four"),
];

/// The steps of a vertex's name, if it is one of the file.
fn step(name: &str) -> Option<String> {
    let (place, step) = name.split_once("] ")?;
    let is_own = place.starts_with('[') && !place.starts_with("[internal");
    let is_step = !step.starts_with("FROM ") && !place.starts_with("[linked");
    (is_own && is_step).then(|| step.to_owned())
}

/// Builds; the steps that were done.
async fn build(
    solver: &Solver,
    folder: &Path,
    attrs: &BTreeMap<String, String>,
) -> Result<BTreeSet<String>, String> {
    let build = begin(solver, folder, "one");
    let attrs: Vec<(&str, &str)> = attrs
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let result = dockerfile(&build.job, &attrs).await;
    let result = result.map(drop).map_err(|error| error.to_string());
    drop(build.job);
    let said = build.said.await.unwrap();
    result?;
    let done = said.into_iter().filter_map(|event| match event {
        Progress::Vertex(vertex) if vertex.completed.is_some() && !vertex.cached => {
            step(&vertex.name)
        }
        _ => None,
    });
    Ok(done.collect())
}

/// What is wrong with a case, if anything is.
async fn judge(solver: &Solver, case: &Case) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    context(folder.path(), FILES);
    let mut text = case.dockerfile.clone();
    let mut attrs = BTreeMap::new();
    let at = |name: &str| folder.path().join(name);
    let write = |text: &str| std::fs::write(at("Dockerfile"), text).unwrap();
    write(&text);
    build(solver, folder.path(), &attrs).await?;
    for line in &case.lines {
        let (key, value) = line.split_once(" =").unwrap_or((line, ""));
        let value = value.trim_start();
        match key.split_once(' ').unwrap_or((key, "")) {
            ("change", file) => std::fs::write(at(file), value).unwrap(),
            ("mode", file) => {
                let mode = u32::from_str_radix(value, 8).unwrap();
                let mode = std::fs::Permissions::from_mode(mode);
                std::fs::set_permissions(at(file), mode).unwrap();
            }
            ("remove", file) => std::fs::remove_file(at(file)).unwrap(),
            ("edit", old) => {
                assert!(text.contains(old), "{}: no {old:?}", case.name);
                text = text.replace(old, value);
                write(&text);
            }
            ("with", option) => drop(attrs.insert(option.to_owned(), value.to_owned())),
            ("without", option) => drop(attrs.remove(option).unwrap()),
            ("again", "") => {
                let wanted = value.split(" | ").filter(|step| !step.is_empty());
                let wanted: BTreeSet<String> = wanted.map(str::to_owned).collect();
                let done = build(solver, folder.path(), &attrs).await?;
                if done != wanted {
                    return Err(format!("{line:?}: done were {done:?}"));
                }
            }
            other => panic!("{}: what is {other:?}?", case.name),
        }
    }
    Ok(())
}

#[test]
fn only_what_has_changed_is_done_again() {
    isolated("only_what_has_changed_is_done_again", async |world| {
        let engine = world.open().await;
        let solver = Solver::open(engine.clone()).unwrap();
        let all = cases(include_str!("rebuild.md"));
        assert!(all.len() > 20);
        let mut failed = Vec::new();
        for case in &all {
            // No case finds what another has left.
            let everything = wharf_solver::PruneOptions {
                all: true,
                ..Default::default()
            };
            solver.prune(&everything, Vec::new()).await.unwrap();
            if let Err(wrong) = judge(&solver, case).await {
                failed.push(format!("{}: {wrong}", case.name));
            }
        }
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        drop(solver);
        engine.shutdown().await;
    });
}
