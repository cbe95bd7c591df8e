//! Properties that a spec asks for by annotations, as with runc: `org.systemd.property.NAME`, the value in GVariant's
//! text form (`uint64 5`, `'text'`, `['a', 'b']`, `true`; runc, `docs/systemd.md`).

use std::collections::HashMap;

use wharf_dbus::Value;

use super::Property;
use crate::CgroupError;

const PREFIX: &str = "org.systemd.property.";

/// All of them, in the order of their names.
pub(super) fn properties(
    annotations: Option<&HashMap<String, String>>,
) -> Result<Vec<Property>, CgroupError> {
    let mut found: Vec<_> = annotations
        .into_iter()
        .flatten()
        .filter_map(|(key, text)| Some((key.strip_prefix(PREFIX)?, key, text)))
        .collect();
    found.sort();
    found
        .into_iter()
        .map(|(name, key, text)| property(name, text).map_err(|why| bad(key, text, why)))
        .collect()
}

fn bad(key: &str, text: &str, why: &'static str) -> CgroupError {
    CgroupError::BadAnnotation {
        annotation: format!("{key}={text}"),
        why,
    }
}

fn property(name: &str, text: &str) -> Result<Property, &'static str> {
    let is_name = name.len() >= 3
        && name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.bytes().all(|byte| byte.is_ascii_alphabetic());
    if !is_name {
        return Err("name incorrect");
    }
    let value = value(text.trim()).ok_or("value parse error")?;
    // What is documented in seconds is set in microseconds.
    let stem = name.strip_suffix("Sec");
    match stem.filter(|stem| stem.ends_with(|last: char| last.is_ascii_lowercase())) {
        None => Ok((name.to_owned(), value)),
        Some(stem) => Ok((format!("{stem}USec"), microseconds(&value)?)),
    }
}

fn microseconds(seconds: &Value) -> Result<Value, &'static str> {
    let whole = match seconds {
        Value::Byte(number) => i64::from(*number),
        Value::Int16(number) => (*number).into(),
        Value::Uint16(number) => (*number).into(),
        Value::Int32(number) => (*number).into(),
        Value::Uint32(number) => (*number).into(),
        Value::Int64(number) => *number,
        Value::Uint64(number) => {
            return number
                .checked_mul(1_000_000)
                .map(Value::Uint64)
                .ok_or("seconds out of range");
        }
        Value::Double(number) => return Ok(Value::Uint64((number * 1e6) as u64)),
        _ => return Err("not a number of seconds"),
    };
    u64::try_from(whole)
        .ok()
        .and_then(|seconds| seconds.checked_mul(1_000_000))
        .map(Value::Uint64)
        .ok_or("seconds out of range")
}

fn value(text: &str) -> Option<Value> {
    if let Some(inside) = text.strip_prefix('[') {
        return texts(inside.strip_suffix(']')?).map(Value::Texts);
    }
    if text.starts_with(['\'', '"']) {
        let (word, rest) = quoted(text)?;
        return rest.is_empty().then_some(Value::Text(word));
    }
    match text {
        "true" => return Some(Value::Boolean(true)),
        "false" => return Some(Value::Boolean(false)),
        _ => {}
    }
    match text.split_once(char::is_whitespace) {
        None if text.contains(['.', 'e']) => text.parse().ok().map(Value::Double),
        // A bare number is one of 32 bits.
        None => text.parse().ok().map(Value::Int32),
        Some((kind, number)) => typed(kind, number.trim_start()),
    }
}

fn typed(kind: &str, number: &str) -> Option<Value> {
    match kind {
        "boolean" | "@b" => number.parse().ok().map(Value::Boolean),
        "byte" | "@y" => number.parse().ok().map(Value::Byte),
        "int16" | "@n" => number.parse().ok().map(Value::Int16),
        "uint16" | "@q" => number.parse().ok().map(Value::Uint16),
        "int32" | "@i" => number.parse().ok().map(Value::Int32),
        "uint32" | "@u" => number.parse().ok().map(Value::Uint32),
        "int64" | "@x" => number.parse().ok().map(Value::Int64),
        "uint64" | "@t" => number.parse().ok().map(Value::Uint64),
        "double" | "@d" => number.parse().ok().map(Value::Double),
        "string" | "@s" => match quoted(number)? {
            (word, "") => Some(Value::Text(word)),
            _ => None,
        },
        "@as" => texts(number.strip_prefix('[')?.strip_suffix(']')?).map(Value::Texts),
        _ => None,
    }
}

/// The texts of a list, between its brackets.
fn texts(inside: &str) -> Option<Vec<String>> {
    let mut rest = inside.trim();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (word, after) = quoted(rest)?;
        found.push(word);
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if after.is_empty() => after,
            None => return None,
        };
    }
    Some(found)
}

/// The text that begins with a quote, and what comes after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|first| "'\"".contains(*first))?;
    let mut word = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => word.push(letters.next()?.1),
            letter if letter == quote => return Some((word, &text[at + 1..])),
            letter => word.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_become_properties() {
        let made = |name: &str, text: &str| property(name, text);
        let same = |name: &str, value| Ok((name.to_owned(), value));
        assert_eq!(
            made("TimeoutStopUSec", "uint64 5"),
            same("TimeoutStopUSec", Value::Uint64(5))
        );
        assert_eq!(
            made("TimeoutStopSec", "123"),
            same("TimeoutStopUSec", Value::Uint64(123_000_000))
        );
        assert_eq!(
            made("CollectMode", "'inactive-or-failed'"),
            same("CollectMode", Value::Text("inactive-or-failed".to_owned()))
        );
        assert_eq!(
            made("After", "['a.service', \"b.service\"]"),
            same(
                "After",
                Value::Texts(vec!["a.service".to_owned(), "b.service".to_owned()])
            )
        );
        assert_eq!(
            made("Delegate", "false"),
            same("Delegate", Value::Boolean(false))
        );
        for (name, text) in [
            ("x", "1"),
            ("lower", "1"),
            ("Name", "'open"),
            ("Name", "['a' 'b']"),
            ("Name", "uint64 -1"),
            ("TimeoutStopSec", "-1"),
            ("TimeoutStopSec", "'1'"),
        ] {
            assert!(made(name, text).is_err(), "{name}={text}");
        }
    }
}
