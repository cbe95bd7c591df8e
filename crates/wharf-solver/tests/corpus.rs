//! The cases of `corpus.md`, all on one engine.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../wharf-engine/tests/engine/world.rs"]
#[allow(dead_code, reason = "the engine's own tests use more of it")]
mod world;

#[path = "solve/client.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod client;

#[path = "solve/cases.rs"]
mod cases;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use client::{begin, dockerfile};
use serde_json::Value;
use wharf_solver::{Job, SolveError, SolveResult, Solver};
use world::isolated;

struct Case {
    name: String,
    text: String,
    lines: Vec<(String, String)>,
}

/// Cases with `KEY = VALUE` lines.
fn cases(text: &str) -> Vec<Case> {
    let all = cases::cases(text).into_iter();
    let all = all.map(|case| {
        let lines = case.lines.iter().map(|line| pair(&case.name, line));
        Case {
            lines: lines.collect(),
            name: case.name,
            text: case.dockerfile,
        }
    });
    all.collect()
}

fn pair(case: &str, line: &str) -> (String, String) {
    if let Some(path) = line.strip_prefix("gone ") {
        return ("gone".to_owned(), path.to_owned());
    }
    let pair = line.split_once(" = ");
    let pair = pair.or_else(|| Some((line.strip_suffix(" =")?, "")));
    let (key, value) = pair.unwrap_or_else(|| panic!("{case}: what is {line:?}?"));
    (key.to_owned(), value.replace("\\n", "\n"))
}

const FILES: &[(&str, &str)] = &[
    ("a.txt", "one\n"),
    ("b.txt", "two\n"),
    ("sub/c.txt", "three\n"),
    ("sub/deep/d.md", "four\n"),
    ("run.sh", "#!/bin/sh\n"),
    (".dockerignore", "*.skip\n"),
];

fn context(folder: &Path) {
    cases::context(folder, FILES);
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.join("run.sh"), mode).unwrap();
    let mut archive = tar::Builder::new(std::fs::File::create(folder.join("a.tar")).unwrap());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(7);
    archive
        .append_data(&mut header, "inside", &b"packed\n"[..])
        .unwrap();
    archive.finish().unwrap();
}

/// The line that an error is about.
fn line_of(error: &SolveError) -> Option<String> {
    let SolveError::At { sources, .. } = error else {
        return None;
    };
    let range = sources.first()?.ranges.first()?;
    Some(range.start?.line.to_string())
}

/// What is wrong with a case, if anything is.
async fn judge(job: &Job, case: &Case, result: Result<SolveResult, SolveError>) -> Option<String> {
    let expected = case.lines.iter().find(|(key, _)| key == "error");
    let result = match (expected, result) {
        (Some((_, part)), Err(error)) => {
            let text = error.to_string();
            if !text.contains(part) {
                return Some(format!("the error is {text}"));
            }
            let wanted = case.lines.iter().find(|(key, _)| key == "line");
            let (found, wanted) = (line_of(&error), wanted.map(|(_, line)| line.as_str()));
            return (wanted.is_some() && found.as_deref() != wanted)
                .then(|| format!("the error is at {found:?}"));
        }
        // What it said is not in the message of a command.
        (Some((_, part)), Ok(_)) => return Some(format!("no error, but {part} is expected")),
        (None, Err(error)) => return Some(error.to_string()),
        (None, Ok(result)) => result,
    };
    let Some(tree) = result.single else {
        return Some("no tree".to_owned());
    };
    let config: Value = serde_json::from_slice(&result.metadata["containerimage.config"]).unwrap();
    let own: Vec<&Value> = config["history"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["comment"] == "buildkit.dockerfile.v0")
        .collect();
    for (key, value) in &case.lines {
        let (word, rest) = key.split_once(' ').unwrap_or((key, ""));
        let found = match word {
            "file" | "starts" => match tree.read_file(job, rest, None).await {
                Ok(bytes) => String::from_utf8(bytes).unwrap().trim_end().to_owned(),
                Err(error) => return Some(error.to_string()),
            },
            "stat" => match tree.stat(job, rest).await {
                Ok(stat) => {
                    // The bits of Go that mean what Unix has further down.
                    let bits = [(23, 0o4000), (22, 0o2000), (20, 0o1000)].into_iter();
                    let special = bits.filter(|(bit, _)| stat.mode & (1 << bit) != 0);
                    let mode = special.fold(stat.mode & 0o777, |mode, (_, own)| mode | own);
                    format!("{mode:o} {}:{}", stat.uid, stat.gid)
                }
                Err(error) => return Some(error.to_string()),
            },
            "gone" => match tree.stat(job, value).await {
                Ok(_) => return Some(format!("{value} is there")),
                Err(_) => continue,
            },
            "config" => {
                let wanted: Value = serde_json::from_str(value).unwrap();
                let found = &config["config"][rest];
                match *found == wanted {
                    true => continue,
                    false => return Some(format!("{rest} is {found}")),
                }
            }
            "history" => own.len().to_string(),
            "last" => own.last().unwrap()["created_by"]
                .as_str()
                .unwrap()
                .to_owned(),
            _ => continue,
        };
        let fits = match word {
            "starts" => found.starts_with(value),
            _ => found == *value,
        };
        if !fits {
            return Some(format!("{key} is {found:?}"));
        }
    }
    None
}

/// Builds a case; what is wrong with it.
async fn build(solver: &Solver, folder: &Path, case: &Case) -> Option<String> {
    std::fs::write(folder.join("Dockerfile"), &case.text).unwrap();
    let build = begin(solver, folder, &case.name);
    let options = ["target", "build-arg:A", "label:a"];
    let given = case.lines.iter();
    let attrs: Vec<(&str, &str)> = given
        .filter(|(key, _)| options.contains(&key.as_str()) || key.starts_with("context:"))
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let result = dockerfile(&build.job, &attrs).await;
    let wrong = judge(&build.job, case, result).await;
    drop(build.job);
    build.said.await.unwrap();
    wrong
}

#[test]
fn all_cases_come_out_as_they_should() {
    isolated("all_cases_come_out_as_they_should", async |world| {
        let engine = world.open().await;
        let solver = Solver::open(engine.clone()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        context(folder.path());
        let cases = cases(include_str!("corpus.md"));
        assert!(cases.len() > 200);
        let mut failed = Vec::new();
        for case in &cases {
            if let Some(wrong) = build(&solver, folder.path(), case).await {
                failed.push(format!("{}: {wrong}", case.name));
            }
        }
        let all = (failed.len(), cases.len(), failed.join("\n"));
        assert!(failed.is_empty(), "{} of {}:\n{}", all.0, all.1, all.2);
        // What is not as expected is seen.
        for (key, value) in [
            ("file /x", "two"),
            ("error", "x"),
            ("gone", "/x"),
            ("history", "2"),
            ("config User", "\"u\""),
            ("stat /x", "644 1:0"),
        ] {
            let wrong = Case {
                name: key.to_owned(),
                text: "FROM scratch\nCOPY a.txt /x\n".to_owned(),
                lines: vec![(key.to_owned(), value.to_owned())],
            };
            assert!(
                build(&solver, folder.path(), &wrong).await.is_some(),
                "{key}"
            );
        }
        drop(solver);
        engine.shutdown().await;
    });
}
