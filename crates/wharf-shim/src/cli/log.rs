//! What is said besides the answer: to standard error, or to the file of `--log`, as text or as JSON, in the
//! form of runc's logger (containerd and Podman read the reason of a failure from there).

use std::io::Write as _;

use super::global::Global;

/// Whether what is to be said can be: the file of `--log` is there, or is made.
pub(crate) fn open(global: &Global) -> Result<(), String> {
    let Some(path) = &global.log else {
        return Ok(());
    };
    let opened = file(path).map(drop);
    opened.map_err(|error| format!("open {}: {error}", path.display()))
}

fn file(path: &std::path::Path) -> std::io::Result<std::fs::File> {
    std::fs::File::options()
        .create(true)
        .append(true)
        .open(path)
}

/// Says why a command failed. With a log file, people at the terminal hear it too.
pub(crate) fn error(global: &Global, message: &str) {
    if global.log.is_some() {
        eprintln!("{message}");
    }
    note(global, "error", message);
}

/// Says something that is odd but no failure.
pub(crate) fn warning(global: &Global, message: &str) {
    note(global, "warning", message);
}

/// Says what is done, under `--debug`.
pub(crate) fn debug(global: &Global, message: impl FnOnce() -> String) {
    if global.debug {
        note(global, "debug", &message());
    }
}

fn note(global: &Global, level: &str, message: &str) {
    let now = jiff::Timestamp::now();
    let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let line = if global.log_json {
        serde_json::json!({ "level": level, "msg": message, "time": time }).to_string()
    } else {
        format!("time=\"{time}\" level={level} msg={}", quoted(message))
    };
    let Some(path) = &global.log else {
        eprintln!("{line}");
        return;
    };
    let written = file(path).and_then(|mut file| writeln!(file, "{line}"));
    if let Err(error) = written {
        eprintln!("{}: {error}", path.display());
    }
}

/// As Go's `%q`, but only if it must be.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => quoted += "\\\"",
            '\\' => quoted += "\\\\",
            '\n' => quoted += "\\n",
            '\t' => quoted += "\\t",
            other if other.is_control() => quoted += &format!("\\x{:02x}", other as u32),
            other => quoted.push(other),
        }
    }
    quoted + "\""
}
