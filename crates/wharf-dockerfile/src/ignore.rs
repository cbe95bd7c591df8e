//! `.dockerignore`: which files of a context do not belong to it (`moby/patternmatcher`).

/// A pattern that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct PatternError;

/// The patterns of a `.dockerignore`, in order; the last that matches decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    parts: Vec<String>,
    exception: bool,
}

impl Ignore {
    /// Reads a file: a pattern a line, `#` begins a comment, `!` an exception.
    ///
    /// # Errors
    /// If a pattern is malformed.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self::new(lines)
    }

    /// From single patterns.
    ///
    /// # Errors
    /// If one is malformed.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, PatternError> {
        let patterns = patterns
            .into_iter()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        let patterns = patterns.map(Pattern::parse).collect::<Result<_, _>>()?;
        Ok(Self { patterns })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether exceptions exist, so that an ignored folder may hold files that are not.
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.exception)
    }

    /// Whether `path` (relative, with `/`) is ignored, itself or by a folder above it.
    pub fn ignores(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let mut ignored = false;
        for pattern in &self.patterns {
            if pattern.exception == ignored && pattern.matches_or_is_above(&parts) {
                ignored = !pattern.exception;
            }
        }
        ignored
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, PatternError> {
        let (exception, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, text),
        };
        if exception && text.is_empty() {
            return Err(PatternError);
        }
        let mut parts: Vec<String> = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                part => parts.push(part.to_owned()),
            }
        }
        if parts.iter().any(|part| !well_formed(part)) {
            return Err(PatternError);
        }
        Ok(Self { parts, exception })
    }

    fn matches_or_is_above(&self, path: &[&str]) -> bool {
        (1..=path.len()).any(|end| matches_parts(&self.parts, &path[..end]))
    }
}

fn well_formed(part: &str) -> bool {
    let mut letters = part.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if letters.next().is_none() => return false,
            '[' if !letters.by_ref().any(|letter| letter == ']') => return false,
            _ => {}
        }
    }
    true
}

fn matches_parts(pattern: &[String], path: &[&str]) -> bool {
    match pattern {
        [] => path.is_empty(),
        [first, rest @ ..] if first == "**" => {
            // At the end, everything below; else any number of folders.
            (rest.is_empty() && !path.is_empty())
                || (0..=path.len())
                    .any(|skip| !rest.is_empty() && matches_parts(rest, &path[skip..]))
        }
        [first, rest @ ..] => {
            let Some((part, below)) = path.split_first() else {
                return false;
            };
            glob(&letters(first), &letters(part)) && matches_parts(rest, below)
        }
    }
}

fn letters(text: &str) -> Vec<char> {
    text.chars().collect()
}

/// Go's `filepath.Match` for one part of a path.
fn glob(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|skip| glob(rest, &text[skip..])),
        ['?', rest @ ..] => !text.is_empty() && glob(rest, &text[1..]),
        ['\\', letter, rest @ ..] => text.first() == Some(letter) && glob(rest, &text[1..]),
        ['[', rest @ ..] => {
            let Some(end) = rest.iter().position(|letter| *letter == ']') else {
                return false;
            };
            let Some((letter, after)) = text.split_first() else {
                return false;
            };
            in_class(&rest[..end], *letter) && glob(&rest[end + 1..], after)
        }
        [letter, rest @ ..] => text.first() == Some(letter) && glob(rest, &text[1..]),
    }
}

fn in_class(class: &[char], letter: char) -> bool {
    let (negated, mut class) = match class {
        ['^' | '!', rest @ ..] => (true, rest),
        class => (false, class),
    };
    let mut found = false;
    while let [first, rest @ ..] = class {
        match rest {
            ['-', last, after @ ..] => {
                found |= (*first..=*last).contains(&letter);
                class = after;
            }
            rest => {
                found |= *first == letter;
                class = rest;
            }
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decides_as_docker_does() {
        let ignore =
            Ignore::parse("# c\n*.md\n!README.md\nnode_modules\n**/*.o\n/a/b/\ntemp?\n").unwrap();
        for path in [
            "x.md",
            "node_modules",
            "node_modules/a/b",
            "a.o",
            "d/e/a.o",
            "a/b",
            "a/b/c",
            "temp1",
        ] {
            assert!(ignore.ignores(path), "{path}");
        }
        for path in ["README.md", "d/x.md", "d/node_modules", "a/c", "temp", "a"] {
            assert!(!ignore.ignores(path), "{path}");
        }
        let all = Ignore::parse("**\n!keep").unwrap();
        assert!(all.ignores("x/y") && !all.ignores("keep") && !all.ignores("keep/z"));
        assert!(Ignore::parse("[a").is_err());
        assert!(Ignore::new(["a[b-d]"]).unwrap().ignores("ac"));
    }
}
