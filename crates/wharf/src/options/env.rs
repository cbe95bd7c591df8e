//! Environment and label files.

/// Reads `KEY=VALUE` lines. With `inherit`, a line that is only a name takes the value of the client's environment,
/// and is dropped where there is none.
pub fn read_file(path: &str, inherit: bool) -> Result<Vec<String>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("open {path}: {}", reason(&error)))?;
    let mut pairs = Vec::new();
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = std::str::from_utf8(line).map_err(|_| {
            let text = String::from_utf8_lossy(line);
            format!(
                "invalid env file ({path}): invalid utf8 bytes at line {}: {text:?}",
                number + 1
            )
        })?;
        if let Some(pair) = read_line(line, inherit)
            .map_err(|error| format!("invalid env file ({path}): {error}"))?
        {
            pairs.push(pair);
        }
    }
    Ok(pairs)
}

fn read_line(line: &str, inherit: bool) -> Result<Option<String>, String> {
    let line = line.trim_start().trim_end_matches('\r');
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, value) = match line.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (line, None),
    };
    if name.trim().contains(char::is_whitespace) || name.ends_with(char::is_whitespace) {
        return Err(format!("variable '{name}' contains whitespaces"));
    }
    if name.is_empty() {
        return Err(format!("no variable name on line '{line}'"));
    }
    Ok(match (value, inherit) {
        (Some(value), _) => Some(format!("{name}={value}")),
        (None, true) => std::env::var(name)
            .ok()
            .map(|value| format!("{name}={value}")),
        (None, false) => Some(name.to_owned()),
    })
}

/// The system's words for an error, in lower case as Go prints them.
pub fn reason(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => "no such file or directory".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::AlreadyExists => "file exists".to_owned(),
        ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_file() {
        assert_eq!(read_line("  A=b c ", true), Ok(Some("A=b c ".into())));
        assert_eq!(read_line("# x", true), Ok(None));
        assert_eq!(read_line("WHARF_SURELY_UNSET", true), Ok(None));
        assert_eq!(read_line("label", false), Ok(Some("label".into())));
        assert!(read_line("A B=c", true).is_err());
        assert!(read_line("=c", true).is_err());
    }
}
