//! Physical lines to logical ones: directives, comments, continuations, here-documents.

use crate::heredoc::{self, Heredoc};
use crate::{ParseError, Span};

/// One instruction's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Continuations joined, comments dropped, without the bodies of here-documents.
    pub(crate) text: String,
    pub(crate) span: Span,
    pub(crate) heredocs: Vec<Heredoc>,
    /// Whether one of its lines was empty.
    pub(crate) has_gap: bool,
}

/// `# syntax=`, `# escape=` and `# check=` of the head of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    pub(crate) syntax: Option<String>,
    pub(crate) escape: Option<char>,
    pub(crate) check: Option<String>,
}

/// Reads the directives: comments of the form `# key=value` before anything else.
pub(crate) fn directives(text: &str) -> Result<Directives, ParseError> {
    let mut found = Directives::default();
    let mut seen: Vec<String> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some((key, value)) = directive(line) else {
            break;
        };
        let key = key.to_ascii_lowercase();
        // What is no directive is a comment, and none comes behind a comment.
        if !["syntax", "escape", "check"].contains(&key.as_str()) {
            break;
        }
        if seen.contains(&key) {
            let text = format!("only one {key} parser directive can be used");
            return Err(ParseError::syntax(index + 1, text));
        }
        match key.as_str() {
            "syntax" => found.syntax = Some(value.to_owned()),
            "check" => found.check = Some(value.to_owned()),
            _ => found.escape = Some(escape(value, index + 1)?),
        }
        seen.push(key);
    }
    Ok(found)
}

fn escape(value: &str, line: usize) -> Result<char, ParseError> {
    match value {
        "\\" => Ok('\\'),
        "`" => Ok('`'),
        other => Err(ParseError::syntax(
            line,
            format!("invalid escape token '{other}' does not match ` or \\"),
        )),
    }
}

fn directive(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix('#')?.trim_start();
    let (key, value) = rest.split_once('=')?;
    let (key, value) = (key.trim_end(), value.trim());
    let mut letters = key.chars();
    let word = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric());
    (word && !value.is_empty()).then_some((key, value))
}

/// The longest line, of Go's `bufio.Scanner` that BuildKit reads lines with.
const LONGEST: usize = 64 * 1024 - 1;

/// Joins lines to instructions.
pub(crate) fn logical(text: &str, escape: char) -> Result<Vec<Line>, ParseError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let physical: Vec<&str> = text
        .split('\n')
        .map(|l| l.strip_suffix('\r').unwrap_or(l))
        .collect();
    if let Some(at) = physical.iter().position(|line| line.len() > LONGEST) {
        let text = format!("dockerfile line greater than max allowed size of {LONGEST}");
        return Err(ParseError::syntax(at + 1, text));
    }
    let mut lines = Vec::new();
    let mut at = 0;
    while at < physical.len() {
        let first = physical[at].trim_start();
        if first.is_empty() || first.starts_with('#') {
            at += 1;
            continue;
        }
        let start = at + 1;
        let (joined, next, has_gap) = join(&physical, at, escape);
        at = next;
        let mut line = Line {
            text: joined.trim_end().to_owned(),
            span: Span { start, end: at },
            heredocs: Vec::new(),
            has_gap,
        };
        if heredoc::may_have(&line.text) {
            at = bodies(&physical, at, &mut line)?;
        }
        if !line.text.is_empty() {
            lines.push(line);
        }
    }
    Ok(lines)
}

/// The instruction that begins at `at`, where the next line is, and whether there was an empty one within.
fn join(physical: &[&str], at: usize, escape: char) -> (String, usize, bool) {
    let mut joined = String::new();
    let mut gap = false;
    let mut has_gap = false;
    let mut at = at;
    let mut first = true;
    while let Some(line) = physical.get(at) {
        at += 1;
        let trimmed = line.trim_start();
        // Between continued lines, comments and (with a warning in BuildKit) empty lines do not count.
        if !first && (trimmed.starts_with('#') || trimmed.is_empty()) {
            gap |= trimmed.is_empty();
            continue;
        }
        // One at the end is none: the instruction has ended.
        has_gap |= gap;
        let line = if first { trimmed } else { line };
        first = false;
        match continued(line, escape) {
            Some(part) => joined.push_str(part),
            None => {
                joined.push_str(line);
                break;
            }
        }
    }
    (joined, at, has_gap)
}

/// The line without its continuation mark, if it has one: an escape that is not itself escaped, at the end.
fn continued(line: &str, escape: char) -> Option<&str> {
    let before = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!before.ends_with(escape)).then_some(before)
}

/// Reads the bodies of a line's here-documents; where the next line is.
fn bodies(physical: &[&str], at: usize, line: &mut Line) -> Result<usize, ParseError> {
    let mut at = at;
    for mut document in heredoc::of_line(&line.text) {
        loop {
            let Some(text) = physical.get(at) else {
                return Err(ParseError::syntax(line.span.start, "unterminated heredoc"));
            };
            at += 1;
            let ends = match document.chomp {
                true => text.trim_start_matches('\t'),
                false => text,
            };
            if ends == document.name {
                break;
            }
            document
                .content
                .push_str(if document.chomp { ends } else { text });
            document.content.push('\n');
        }
        line.heredocs.push(document);
    }
    line.span.end = at;
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let lines = logical(text, '\\').unwrap();
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn joins_lines_and_drops_comments_between_them() {
        let text = "# c\nFROM a\nRUN x \\\n  # inner\n\n  y\\  \nz\n\nRUN c\\\\\n";
        assert_eq!(texts(text), ["FROM a", "RUN x   yz", "RUN c\\\\"]);
    }

    #[test]
    fn takes_bodies_of_here_documents_out() {
        let text = "RUN <<A cat && 3<<-'B' cat\na\nA\n\tb $x\n\tB\nCMD x\n";
        let lines = logical(text, '\\').unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].span, Span { start: 1, end: 5 });
        let [a, b] = &lines[0].heredocs[..] else {
            panic!("{lines:?}")
        };
        assert_eq!(
            (a.content.as_str(), a.expand, a.descriptor),
            ("a\n", true, 0)
        );
        assert_eq!(
            (b.content.as_str(), b.expand, b.descriptor),
            ("b $x\n", false, 3)
        );
        assert_eq!(
            logical("RUN <<A\nx", '\\').unwrap_err().message,
            "unterminated heredoc"
        );
    }

    #[test]
    fn reads_directives() {
        let found =
            directives("# escape=`\n#syntax = a/b:1 \n# other=1\n# check=skip=all").unwrap();
        let expected = Directives {
            syntax: Some("a/b:1".to_owned()),
            escape: Some('`'),
            check: None,
        };
        assert_eq!(found, expected);
        let twice = directives("# escape=`\n# escape=\\\n").unwrap_err();
        assert_eq!(
            twice.message,
            "only one escape parser directive can be used"
        );
        assert!(directives("# escape=x\n").is_err());
        assert_eq!(
            texts("FROM a\r\nRUN b \\\r\n c\r\n"),
            ["FROM a", "RUN b  c"]
        );
    }
}
