//! The command line's table: every command and flag of `docker`, and whether `wharf` has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::reasons::Reasons;

/// Flags of each command, by the command's words.
type Commands = BTreeMap<String, BTreeSet<String>>;

pub(super) fn write(root: &Path) -> Result<()> {
    let wharf = match std::env::var_os("WHARF_BIN_DIR") {
        Some(folder) => Path::new(&folder).join("wharf"),
        None => "wharf".into(),
    };
    let reasons = Reasons::read(&root.join("xtask/coverage/cli.txt"))?;
    let docker = commands(Path::new("docker"))?;
    let wharf = commands(&wharf)?;
    let (page, unexplained) = page(&docker, &wharf, &reasons);
    let path = root.join("docs/reference/cli-coverage.md");
    std::fs::write(&path, page).with_context(|| format!("write {path:?}"))?;
    println!("{} commands: {}", docker.len(), path.display());
    if !unexplained.is_empty() {
        bail!(
            "missing without a reason in xtask/coverage/cli.txt:\n  {}",
            unexplained.join("\n  ")
        );
    }
    Ok(())
}

fn commands(program: &Path) -> Result<Commands> {
    let mut found = Commands::new();
    walk(program, &mut Vec::new(), &mut found)?;
    Ok(found)
}

fn walk(program: &Path, words: &mut Vec<String>, found: &mut Commands) -> Result<()> {
    let output = Command::new(program)
        .args(words.iter())
        .arg("--help")
        .env_remove("DOCKER_HOST")
        .output()
        .with_context(|| format!("run {program:?}"))?;
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    let (flags, names) = parse(&help);
    found.insert(words.join(" "), flags);
    for name in names {
        words.push(name);
        walk(program, words, found)?;
        words.pop();
    }
    Ok(())
}

/// Flags and commands of a help text.
fn parse(help: &str) -> (BTreeSet<String>, Vec<String>) {
    let (mut flags, mut names) = (BTreeSet::new(), Vec::new());
    let mut in_commands = false;
    for line in help.lines() {
        if !line.starts_with(' ') {
            if !line.is_empty() {
                in_commands = line.trim_end().ends_with("Commands:");
            }
            continue;
        }
        let word = line.split_whitespace().next().unwrap_or_default();
        if word.starts_with('-') {
            flags.extend(flag(line));
        } else if in_commands
            && line.starts_with("  ")
            && !line.starts_with("   ")
            && !word.ends_with('*')
        {
            names.push(word.to_owned());
        }
    }
    (flags, names)
}

/// `-a, --all` of `  -a, --all   Show …`; the type of a value says nothing.
fn flag(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().take(2).collect();
    match words.as_slice() {
        [short, long] if short.ends_with(',') && long.starts_with("--") => {
            Some(format!("{short} {long}"))
        }
        [long, ..] if long.starts_with("--") => Some((*long).to_owned()),
        _ => None,
    }
}

fn page(docker: &Commands, wharf: &Commands, reasons: &Reasons) -> (String, Vec<String>) {
    let mut page = String::from(HEAD);
    let mut unexplained = Vec::new();
    let none = BTreeSet::new();
    for (command, flags) in docker {
        let shown = format!("docker {command}");
        let Some(ours) = wharf.get(command) else {
            let reason = reasons.of(command);
            if reason.is_none() {
                unexplained.push(shown.clone());
            }
            let _ = writeln!(
                page,
                "| `{shown}` | – | | {} | |",
                reason.unwrap_or("missing")
            );
            continue;
        };
        let missing: Vec<&String> = flags.difference(ours).collect();
        let mut explained = Vec::new();
        for flag in &missing {
            let what = format!("{command} {flag}");
            match reasons.of(what.trim_start()) {
                Some(reason) => explained.push(format!("`{flag}`: {reason}")),
                None => unexplained.push(format!("{shown} {flag}")),
            }
        }
        let more: Vec<String> = ours
            .difference(flags)
            .map(|flag| format!("`{flag}`"))
            .collect();
        let _ = writeln!(
            page,
            "| `{shown}` | yes | {}/{} | {} | {} |",
            flags.len() - missing.len(),
            flags.len(),
            explained.join("; "),
            more.join(" ")
        );
    }
    page.push_str("\nCommands of `wharf` alone: ");
    let own: Vec<String> = wharf
        .keys()
        .filter(|name| docker.get(*name).unwrap_or(&none).is_empty() && !docker.contains_key(*name))
        .map(|name| format!("`wharf {name}`"))
        .collect();
    let _ = writeln!(page, "{}.", own.join(", "));
    (page, unexplained)
}

const HEAD: &str = "# Docker's commands and flags, and ours

Written by `cargo xtask coverage cli`, which walks `docker --help` (28.2.2) and `wharf --help`; do not edit. Reasons stand in
xtask/coverage/cli.txt.

| command | there | flags | what is missing, and why | flags of ours |
|---|---|---|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_texts_are_read() {
        let help = "Usage:  x\n\nCommon Commands:\n  run         Run it\n  buildx*     Plugin\n\nOptions:\n  -a, --all     All\n      --filter filter   Some\n                 --not-a-flag of a text\n";
        let (flags, names) = parse(help);
        assert_eq!(names, ["run"]);
        assert!(
            flags.contains("-a, --all") && flags.contains("--filter"),
            "{flags:?}"
        );
    }
}
