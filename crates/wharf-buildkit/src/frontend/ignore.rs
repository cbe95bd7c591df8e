//! The patterns of a `.dockerignore`, as a client is told them (`patternmatcher/ignorefile`).

/// The patterns of a file.
pub(crate) fn patterns(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().filter_map(pattern).collect()
}

fn pattern(line: &str) -> Option<String> {
    // Only a `#` that begins the line begins a comment.
    if line.starts_with('#') {
        return None;
    }
    let line = line.trim();
    if line.is_empty() {
        return None;
    }
    let (not, rest) = match line.strip_prefix('!') {
        Some(rest) => ("!", rest.trim()),
        None => ("", line),
    };
    if rest.is_empty() {
        return Some(not.to_owned());
    }
    let clean = clean(rest);
    let clean = match clean.len() {
        2.. => clean.strip_prefix('/').unwrap_or(&clean).to_owned(),
        _ => clean,
    };
    Some(format!("{not}{clean}"))
}

/// Go's `path.Clean`.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|last| *last != "..") => drop(names.pop()),
            ".." if rooted => {}
            name => names.push(name),
        }
    }
    let joined = names.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_blanks_and_slashes() {
        let text = "\u{feff}# no\n\n  a/b/ \n!/c\n ! d\n# x\n/\n./e/../f\n";
        assert_eq!(patterns(text), ["a/b", "!c", "!d", "/", "f"]);
    }
}
