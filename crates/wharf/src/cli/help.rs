//! `--help`: usage, aliases, verbs and flags, wrapped to 80 columns.

use std::io::Write;

use super::{Command, Flag};

const WIDTH: usize = 80;

/// Prints the help of a command to standard output.
pub fn print(command: &Command, path: &str) -> std::io::Result<()> {
    std::io::stdout().write_all(render(command, path).as_bytes())
}

/// The help of a command.
pub fn render(command: &Command, path: &str) -> String {
    let mut out = match command.run {
        Some(_) => format!("Usage:  {}\n\n", command.usage_line(path)),
        None => format!("Usage:  {path} COMMAND\n\n"),
    };
    out.push_str(command.about);
    out.push('\n');
    if !command.also.is_empty() {
        out.push_str(&format!("\nAliases:\n  {}\n", command.also));
    }
    let flags = flags(command.flags);
    if !flags.is_empty() {
        out.push_str("\nOptions:\n");
        out.push_str(&flags);
    }
    if !command.commands.is_empty() {
        out.push_str("\nCommands:\n");
        out.push_str(&commands(command.commands));
        out.push_str(&format!(
            "\nRun '{path} COMMAND --help' for more information on a command.\n"
        ));
    }
    out
}

/// Names and sentences of verbs, one a line.
pub fn commands(commands: &[&Command]) -> String {
    let width = commands
        .iter()
        .map(|command| command.name.len())
        .max()
        .unwrap_or_default();
    let line = |command: &&Command| format!("  {:width$}  {}\n", command.name, command.about);
    commands.iter().map(line).collect()
}

/// The flags of a command, by name, wrapped.
pub fn flags(tables: &[&[Flag]]) -> String {
    let mut shown: Vec<&Flag> = tables
        .iter()
        .copied()
        .flatten()
        .filter(|flag| !flag.hidden)
        .collect();
    shown.sort_by_key(|flag| flag.long);
    let heads: Vec<String> = shown.iter().map(|flag| head(flag)).collect();
    let indent = heads.iter().map(String::len).max().unwrap_or_default() + 3;
    let mut out = String::new();
    for (flag, head) in shown.iter().zip(heads) {
        out.push_str(&format!("{head:indent$}"));
        out.push_str(&wrap(&body(flag), indent));
        out.push('\n');
    }
    out
}

fn head(flag: &Flag) -> String {
    let short = match flag.short {
        '\0' => "    ".to_owned(),
        letter => format!("-{letter}, "),
    };
    let word = flag.type_name();
    let space = if word.is_empty() { "" } else { " " };
    format!("  {short}--{}{space}{word}", flag.long)
}

fn body(flag: &Flag) -> String {
    match (flag.default, flag.type_name()) {
        ("" | "false", _) => flag.help.to_owned(),
        (default, "string") => format!("{} (default {default:?})", flag.help),
        (default, _) => format!("{} (default {default})", flag.help),
    }
}

fn wrap(text: &str, indent: usize) -> String {
    let room = WIDTH.saturating_sub(indent).max(24);
    let mut out = String::new();
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
        }
        let mut used = 0;
        for word in line.split(' ') {
            let length = word.chars().count();
            if used > 0 && used + 1 + length > room {
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                used = 0;
            } else if used > 0 {
                out.push(' ');
                used += 1;
            }
            out.push_str(word);
            used += length;
        }
    }
    out
}
