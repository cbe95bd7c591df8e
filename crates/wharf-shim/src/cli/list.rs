//! `list`.

use std::os::unix::fs::MetadataExt as _;

use super::Outcome;
use super::container::Container;
use super::flags::{Command, Said, Takes};
use super::global::Global;
use super::state::Shown;

pub(crate) const LIST: Command = Command {
    name: "list",
    about: "lists containers started by wharf-shim with the given root",
    usage: "[command options]",
    words: (0, Some(0)),
    flags: &[
        (
            "format",
            "f",
            Takes::Value,
            "select one of: table or json (default: \"table\")",
        ),
        ("quiet", "q", Takes::Nothing, "display only container IDs"),
    ],
    stops: false,
};

/// Prints all containers below the root.
pub(crate) fn list(global: &Global, said: &Said) -> Outcome {
    let containers = all(global)?;
    if said.has("quiet") {
        containers
            .iter()
            .for_each(|(container, _)| super::say(&format!("{}\n", container.id)));
        return Ok(0);
    }
    let shown: Vec<Shown<'_>> = containers
        .iter()
        .map(|(container, owner)| Shown::of(container, owner.clone()))
        .collect();
    let text = match said.value("format").unwrap_or("table") {
        "table" => table(&shown),
        "json" if shown.is_empty() => "null\n".to_owned(),
        "json" => serde_json::to_string(&shown).map_err(|error| error.to_string())? + "\n",
        _ => return Err("invalid format option".to_owned()),
    };
    super::say(&text);
    Ok(0)
}

/// Each container with the name of who owns it, by id.
fn all(global: &Global) -> Result<Vec<(Container, String)>, String> {
    let entries = match std::fs::read_dir(&global.root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| format!("{}: {error}", global.root.display()))?,
    };
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut containers = Vec::new();
    for entry in entries.flatten() {
        // What is made or removed at this moment is none.
        let Ok(container) = Container::open(&entry.path()) else {
            continue;
        };
        let uid = entry.metadata().map_or(0, |metadata| metadata.uid());
        containers.push((container, name_of(&passwd, uid)));
    }
    containers.sort_by(|one, other| one.0.id.cmp(&other.0.id));
    Ok(containers)
}

fn name_of(passwd: &str, uid: u32) -> String {
    let number = uid.to_string();
    let mut lines = passwd.lines().map(|line| line.split(':'));
    let name = lines.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1) == Some(&number)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("#{uid}"))
}

fn table(shown: &[Shown<'_>]) -> String {
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows = shown.iter().map(|one| {
        [
            one.id.to_owned(),
            one.pid.to_string(),
            one.status.to_owned(),
            one.bundle.display().to_string(),
            one.created.to_owned(),
            one.owner.clone(),
        ]
    });
    let rows: Vec<[String; 6]> = [head].into_iter().chain(rows).collect();
    let width = |column: usize| {
        let widest = rows.iter().map(|row| row[column].chars().count()).max();
        (widest.unwrap_or(0) + 3).max(12)
    };
    let widths: Vec<usize> = (0..5).map(width).collect();
    let line = |row: &[String; 6]| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += &format!("{cell:width$}");
        }
        line + &row[5] + "\n"
    };
    rows.iter().map(line).collect()
}
