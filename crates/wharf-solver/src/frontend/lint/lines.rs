//! Checks of how something is written.

use wharf_dockerfile::{Copy, Dockerfile, Ignore, Instruction, Located, Source, Span};

use super::Finding;
use crate::frontend::{comments_above, described};

/// All of an instruction.
pub(super) fn written(located: &Located, lines: &[&str], ignore: &[String]) -> Vec<Finding> {
    let mut found = empty_continuation(located, lines);
    match &located.instruction {
        Instruction::Env(_) | Instruction::Label(_) => found.extend(legacy_pair(located)),
        Instruction::Expose(ports) => {
            found.extend(ports.iter().filter_map(|text| port(text, located.span)))
        }
        Instruction::Copy(copy) if copy.from.is_none() => {
            found.extend(ignored(copy, "Copy", located.span, ignore));
        }
        Instruction::Add(add) => found.extend(ignored(&add.copy, "Add", located.span, ignore)),
        _ => {}
    }
    found
}

/// An empty line within a continued one.
fn empty_continuation(located: &Located, lines: &[&str]) -> Vec<Finding> {
    let Span { start, end } = located.span;
    let rest = lines.get(start..end).unwrap_or_default();
    // Lines of a here-document may be empty.
    let is_one = !located.original.contains("<<") && rest.iter().any(|line| line.trim().is_empty());
    let finding = Finding {
        rule: "NoEmptyContinuation",
        description: "Empty continuation lines will become errors in a future release",
        text: "Empty continuation line".to_owned(),
        span: Span { start: end, end },
    };
    if is_one { vec![finding] } else { Vec::new() }
}

/// `ENV key value`.
fn legacy_pair(located: &Located) -> Option<Finding> {
    let name = located.instruction.name();
    let first = located.original.split_whitespace().nth(1)?;
    (!first.contains('=')).then(|| Finding {
        rule: "LegacyKeyValueFormat",
        description: "Legacy key/value format with whitespace separator should not be used",
        text: format!(
            "\"{name} key=value\" should be used instead of legacy \"{name} key value\" format"
        ),
        span: located.span,
    })
}

fn port(text: &str, span: Span) -> Option<Finding> {
    if text.contains(':') {
        return Some(Finding {
            rule: "ExposeInvalidFormat",
            description: "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
            text: format!(
                "EXPOSE instruction should not define an IP address or host-port mapping, found '{text}'"
            ),
            span,
        });
    }
    let (_, protocol) = text.split_once('/')?;
    let is_small = protocol.starts_with('$') || protocol == protocol.to_ascii_lowercase();
    (!is_small).then(|| Finding {
        rule: "ExposeProtoCasing",
        description: "Protocol in EXPOSE instruction should be lowercase",
        text: format!("Defined protocol '{text}' in EXPOSE instruction should be lowercase"),
        span,
    })
}

/// Files that the context leaves out.
fn ignored(copy: &Copy, verb: &str, span: Span, ignore: &[String]) -> Vec<Finding> {
    let Ok(patterns) = Ignore::new(ignore.iter().map(String::as_str)) else {
        return Vec::new();
    };
    let paths = copy.sources.iter().filter_map(|source| match source {
        Source::Path(path) => Some(path),
        Source::Inline(_) => None,
    });
    let is_ignored = |path: &&String| {
        let clean = path.trim_start_matches('/').trim_start_matches("./");
        !clean.contains(['$', '*', '?', '['])
            && !clean.is_empty()
            && patterns.ignores(clean.trim_end_matches('/'))
    };
    let found = paths.filter(is_ignored).map(|path| Finding {
        rule: "CopyIgnoredFile",
        description: "Attempting to Copy file that is excluded by .dockerignore",
        text: format!("Attempting to {verb} file {path:?} that is excluded by .dockerignore"),
        span,
    });
    found.collect()
}

/// Comments above stages and arguments that describe them, but do not begin with their names. Only asked for.
pub(super) fn descriptions(file: &Dockerfile, lines: &[&str]) -> Vec<Finding> {
    let stages = file.stages.iter().filter_map(|stage| {
        let name = stage.from.name.clone()?;
        Some(("build stage", name, stage.span))
    });
    let args = file
        .args
        .iter()
        .filter_map(|located| match &located.instruction {
            Instruction::Arg(args) => Some(("argument", args.first()?.name.clone(), located.span)),
            _ => None,
        });
    let wrong = stages.chain(args).filter(|(_, name, span)| {
        let comments = comments_above(lines, *span);
        // Directives stand at the very top.
        let is_top = comments.len() + 1 == span.start;
        let is_directive = is_top && comments.iter().any(|line| line.contains('='));
        !comments.is_empty() && !is_directive && described(lines, *span, name).is_empty()
    });
    let found = wrong.map(|(kind, name, span)| Finding {
        rule: "InvalidDefinitionDescription",
        description: "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
        text: format!("Comment for {kind} should follow the format: `# {name} <description>`"),
        span,
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, ignore: &[&str]) -> Vec<String> {
        let lines: Vec<&str> = text.lines().collect();
        let file = Dockerfile::parse(text).unwrap();
        let ignore: Vec<String> = ignore.iter().map(|one| (*one).to_owned()).collect();
        let all = file.stages[0].instructions.iter();
        let found = all.flat_map(|one| written(one, &lines, &ignore));
        found
            .map(|one| format!("{} {}", one.span.start, one.text))
            .collect()
    }

    #[test]
    fn what_is_written_otherwise_is_found() {
        assert_eq!(
            of("FROM a\nRUN x \\\n\n  y\n", &[]),
            ["4 Empty continuation line"]
        );
        assert!(
            of(
                "FROM a\nRUN <<E\nx\n\ny\nE\nENV A=b\nEXPOSE 80/tcp 1-2\n",
                &[]
            )
            .is_empty()
        );
        assert_eq!(
            of("FROM a\nENV A b\n", &[]),
            ["2 \"ENV key=value\" should be used instead of legacy \"ENV key value\" format"]
        );
        assert_eq!(
            of("FROM a\nEXPOSE 80/TcP\n", &[]),
            ["2 Defined protocol '80/TcP' in EXPOSE instruction should be lowercase"]
        );
        assert_eq!(of("FROM a\nEXPOSE 127.0.0.1:80:80\n", &[]).len(), 1);
    }

    #[test]
    fn files_that_the_context_leaves_out_are_found() {
        let text = "FROM a\nCOPY ./tmp/x y /\nADD y /\nCOPY --from=b tmp/x /\n";
        assert_eq!(
            of(text, &["tmp", "!y"]),
            ["2 Attempting to Copy file \"./tmp/x\" that is excluded by .dockerignore"]
        );
    }

    #[test]
    fn descriptions_begin_with_a_name() {
        let of = |text: &str| {
            let lines: Vec<&str> = text.lines().collect();
            descriptions(&Dockerfile::parse(text).unwrap(), &lines).len()
        };
        assert_eq!(of("# b is built\nFROM a AS b\n"), 0);
        assert_eq!(of("# something\nFROM a AS b\n"), 1);
        assert_eq!(of("# something\n\nFROM a AS b\n"), 0);
        assert_eq!(of("# syntax=x\nFROM a AS b\n"), 0);
    }
}
