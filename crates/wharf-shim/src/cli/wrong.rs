//! What is wrong with a JSON document that has another form than it should: where, and in JSON's own words.

use serde_json::error::Category;

/// The error for people: the property by its path, and what it is instead of what.
pub(super) fn said(text: &[u8], error: &serde_json::Error) -> String {
    let full = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let message = full.strip_suffix(&place).unwrap_or(&full);
    match error.classify() {
        Category::Data => {
            let path = path_at(text, offset(text, error.line(), error.column()));
            let path = if path.is_empty() { "document" } else { &path };
            in_seccomp(path, message).unwrap_or_else(|| format!("{path}: {}", in_json(message)))
        }
        _ => format!(
            "line {}, column {}: {message}",
            error.line(),
            error.column()
        ),
    }
}

/// runc's words for the words of a filter that it does not know (`libcontainer/seccomp/config.go`).
fn in_seccomp(path: &str, message: &str) -> Option<String> {
    let below = path.strip_prefix("linux.seccomp.")?;
    let (value, _) = message.strip_prefix("unknown variant `")?.split_once('`')?;
    let what = match below.rsplit('.').next()? {
        "defaultAction" | "action" => "action",
        "op" => "operator",
        word if word.starts_with("architectures[") => "arch",
        _ => return None,
    };
    Some(format!("string {value} is not a valid {what} for seccomp"))
}

/// serde speaks of Rust's types.
fn in_json(message: &str) -> String {
    if let Some(rest) = message.strip_prefix("missing field `") {
        let name = rest.trim_end_matches('`');
        return format!("the property \"{name}\" is missing");
    }
    if let Some((value, known)) = message
        .strip_prefix("unknown variant `")
        .and_then(|rest| rest.split_once("`, expected "))
    {
        let known = known.strip_prefix("one of ").unwrap_or(known);
        return format!(
            "unknown value \"{value}\", known are {}",
            known.replace('`', "")
        );
    }
    let is_not = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .and_then(|rest| rest.rsplit_once(", expected "));
    match is_not {
        Some((found, wanted)) => format!(
            "json: cannot unmarshal {} where {} is expected",
            found_kind(found),
            wanted_kind(wanted)
        ),
        None => message.to_owned(),
    }
}

fn found_kind(found: &str) -> String {
    let (kind, value) = found.split_once(' ').unwrap_or((found, ""));
    match kind {
        "integer" => format!("number {}", value.replace('`', "")),
        "floating" => format!(
            "number {}",
            value.trim_start_matches("point ").replace('`', "")
        ),
        "boolean" => "bool".to_owned(),
        "string" => format!("string {value}"),
        "map" => "object".to_owned(),
        "sequence" => "array".to_owned(),
        _ => found.to_owned(),
    }
}

fn wanted_kind(wanted: &str) -> String {
    let kind = wanted.split(' ').next().unwrap_or_default();
    match (wanted, kind) {
        (_, "struct") | ("a map", _) => "an object".to_owned(),
        ("a sequence", _) => "an array".to_owned(),
        ("a boolean", _) => "a bool".to_owned(),
        ("path string", _) => "a string".to_owned(),
        (_, "enum" | "variant") => "a string".to_owned(),
        (_, "i8" | "i16" | "i32" | "i64" | "isize" | "u8" | "u16" | "u32" | "u64" | "usize") => {
            let sign = if kind.starts_with('u') { "uint" } else { "int" };
            format!("a number of type {sign}{}", &kind[1..])
        }
        _ => wanted.to_owned(),
    }
}

/// Where a line and a column are, as `serde_json` counts: lines from 1, columns in bytes.
fn offset(text: &[u8], line: usize, column: usize) -> usize {
    let before = text.split_inclusive(|byte| *byte == b'\n');
    let before: usize = before.take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    before + column
}

/// A step on the way to a value.
enum Step {
    /// A property; `None` until its name is read.
    Name(Option<String>),
    Index(usize),
}

/// The path of the value that has begun or ended last at `end`, as `process.args[0]`. The text is JSON.
fn path_at(text: &[u8], end: usize) -> String {
    let (mut steps, mut found, mut at) = (Vec::new(), String::new(), 0);
    while let Some(byte) = text.get(at).filter(|_| at <= end) {
        let next = match byte {
            b'"' => string_end(text, at),
            _ => at + 1,
        };
        let is_name = matches!(steps.last(), Some(Step::Name(None)));
        match byte {
            b'"' if is_name => {
                let name = text.get(at + 1..next - 1).unwrap_or_default();
                let name = String::from_utf8_lossy(name).into_owned();
                steps.pop();
                steps.push(Step::Name(Some(name)));
            }
            b'{' | b'[' => {
                found = shown(&steps);
                steps.push(match byte {
                    b'{' => Step::Name(None),
                    _ => Step::Index(0),
                });
            }
            b'}' | b']' if next <= end => {
                steps.pop();
                found = shown(&steps);
            }
            b',' => match steps.last_mut() {
                Some(Step::Index(number)) => *number += 1,
                Some(Step::Name(name)) => *name = None,
                None => {}
            },
            b':' | b' ' | b'\t' | b'\r' | b'\n' | b'}' | b']' => {}
            _ => found = shown(&steps),
        }
        at = next;
    }
    found
}

fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

fn shown(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Name(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name.as_deref().unwrap_or_default());
            }
            Step::Index(number) => path.push_str(&format!("[{number}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Spec;

    use super::*;

    #[test]
    fn the_property_is_named_with_what_it_is_and_should_be() {
        let wrong = |text: &str| {
            let error = serde_json::from_str::<Spec>(text).expect_err(text);
            said(text.as_bytes(), &error)
        };
        let spec = |more: &str| format!("{{\n  \"ociVersion\": \"1.0.0\",\n  {more}\n}}");
        for (text, words) in [
            (
                "{\"ociVersion\": 7}".to_owned(),
                "ociVersion: json: cannot unmarshal number 7 where a string is expected",
            ),
            (
                spec(r#""process": {"cwd": "/", "user": {"uid": 0, "gid": 0}, "args": ["a", 5]}"#),
                "process.args[1]: json: cannot unmarshal number 5 where a string is expected",
            ),
            (
                spec(r#""process": {"cwd": "/", "user": {"uid": -1, "gid": 0}}"#),
                "process.user.uid: json: cannot unmarshal number -1 where a number of type uint32 is expected",
            ),
            (
                spec(
                    r#""mounts": [{"destination": "/a, \"{"}, {"destination": "/b", "options": "ro"}]"#,
                ),
                "mounts[1].options: json: cannot unmarshal string \"ro\" where an array is expected",
            ),
            (
                spec(r#""hostname": {"a": 1}"#),
                "hostname: json: cannot unmarshal object where a string is expected",
            ),
            (
                spec(r#""mounts": [{"source": "x"}]"#),
                "mounts[0]: the property \"destination\" is missing",
            ),
            (
                spec(
                    r#""linux": {"devices": [{"path": "/x", "type": "q", "major": 1, "minor": 1}]}"#,
                ),
                "linux.devices[0].type: unknown value \"q\", known are a, b, c, u, p",
            ),
            (
                spec(r#""linux": {"seccomp": {"defaultAction": "X"}}"#),
                "string X is not a valid action for seccomp",
            ),
            (
                "7".to_owned(),
                "document: json: cannot unmarshal number 7 where an object is expected",
            ),
        ] {
            assert_eq!(wrong(&text), words, "{text}");
        }
    }
}
