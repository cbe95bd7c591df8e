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

    /// Whether there are exceptions: something in a folder that is ignored may not be ignored.
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.exception)
    }

    /// Whether an exception names something in the folder `path`, so that it has to be looked into though it is ignored. As
    /// Docker's client tells it: by the letters of the exception, wildcards or not.
    pub fn has_exception_in(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let is_below = |pattern: &Pattern| {
            pattern.parts.len() >= parts.len()
                && pattern.parts.iter().zip(&parts).all(|(a, b)| a == b)
        };
        let mut exceptions = self.patterns.iter().filter(|pattern| pattern.exception);
        exceptions.any(is_below)
    }

    /// Whether `path` (relative, with `/`) is ignored, itself or by a folder above it.
    pub fn ignores(&self, path: &str) -> bool {
        self.ignores_any(&[path])
    }

    /// Whether what has all of these paths is ignored: the last pattern that fits one of them decides.
    pub fn ignores_any(&self, paths: &[&str]) -> bool {
        let parts = paths.iter().map(|path| path.split('/'));
        let parts = parts.map(|parts| parts.filter(|part| !part.is_empty()).collect());
        let paths: Vec<Vec<&str>> = parts.collect();
        let mut ignored = false;
        for pattern in &self.patterns {
            let fits = |path: &Vec<&str>| pattern.matches_or_is_above(path);
            if pattern.exception == ignored && paths.iter().any(fits) {
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
        // What leads above the top fits nothing in it.
        let parts = wharf_go::path::names(text).into_iter();
        let parts: Vec<String> = parts.map(str::to_owned).collect();
        if parts.iter().any(|part| !well_formed(part)) {
            return Err(PatternError);
        }
        Ok(Self { parts, exception })
    }

    /// Part for part, for all beginnings of the path at once: no pattern takes more steps than there are parts in both.
    fn matches_or_is_above(&self, path: &[&str]) -> bool {
        // Which beginnings fit what was read of the pattern, by how many parts they have.
        let mut fits = vec![false; path.len() + 1];
        fits[0] = true;
        for (at, part) in self.parts.iter().enumerate() {
            let mut next = vec![false; path.len() + 1];
            let starts = (0..=path.len()).filter(|start| fits[*start]);
            if part == "**" {
                // At the end, everything below; else any number of folders.
                let least = usize::from(at + 1 == self.parts.len());
                let first = starts.min().map_or(usize::MAX, |start| start + least);
                for (end, fits) in next.iter_mut().enumerate() {
                    *fits = end >= first;
                }
            } else {
                let pattern = letters(part);
                for start in starts.filter(|start| *start < path.len()) {
                    next[start + 1] = glob(&pattern, &letters(path[start]));
                }
            }
            fits = next;
        }
        fits[1..].contains(&true)
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

fn letters(text: &str) -> Vec<char> {
    text.chars().collect()
}

/// Go's `filepath.Match` for one part of a path. Only the last `*` is ever tried again, so that no pattern takes long.
fn glob(pattern: &[char], text: &[char]) -> bool {
    let (mut at, mut here) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while here < text.len() {
        if pattern.get(at) == Some(&'*') {
            at += 1;
            star = Some((at, here));
            continue;
        }
        if let Some(length) = element(&pattern[at..], text[here]) {
            (at, here) = (at + length, here + 1);
            continue;
        }
        // The star takes one letter more.
        let Some((behind, taken)) = star else {
            return false;
        };
        star = Some((behind, taken + 1));
        (at, here) = (behind, taken + 1);
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

/// How long the first element of a pattern is, if it takes the letter.
fn element(pattern: &[char], letter: char) -> Option<usize> {
    match pattern {
        [] => None,
        ['?', ..] => Some(1),
        ['\\', escaped, ..] => (*escaped == letter).then_some(2),
        ['[', rest @ ..] => {
            let end = rest.iter().position(|letter| *letter == ']')?;
            in_class(&rest[..end], letter).then_some(end + 2)
        }
        [plain, ..] => (*plain == letter).then_some(1),
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

    /// What took ages is done at once: each star was tried against each other one.
    #[test]
    fn hostile_patterns_are_no_work() {
        let of = |pattern: &str| Ignore::new([pattern]).unwrap();
        let stars = of(&format!("{}b", "*a".repeat(40)));
        assert!(!stars.ignores(&"a".repeat(200)));
        assert!(stars.ignores(&format!("{}b", "a".repeat(200))));
        let folders = of(&format!("{}b", "**/a/".repeat(40)));
        assert!(!folders.ignores(&["a"; 200].join("/")));
        assert!(folders.ignores(&format!("{}/b/c", ["a"; 200].join("/"))));
    }

    #[test]
    fn a_folder_is_looked_into_for_an_exception_in_it() {
        let ignore = Ignore::new(["*", "!a/b/c", "!d*/e"]).unwrap();
        for (path, is_in) in [
            ("a", true),
            ("a/b", true),
            ("a/c", false),
            ("d1", false),
            ("z", false),
        ] {
            assert_eq!(ignore.has_exception_in(path), is_in, "{path}");
        }
    }

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
        let above = Ignore::parse("../x\na/../../y\n/../z\nb/../c\n").unwrap();
        assert!(!above.ignores("x") && !above.ignores("y"));
        assert!(above.ignores("z") && above.ignores("c"));
        assert!(Ignore::parse("[a").is_err());
        assert!(Ignore::new(["a[b-d]"]).unwrap().ignores("ac"));
    }
}
