//! The patterns of `${name#pattern}`, `${name%pattern}` and `${name/pattern/text}`: `*`, `?` and `\` before one of these. As in
//! BuildKit (`frontend/dockerfile/shell`), which makes regular expressions of them, they match no end of a line.
//!
//! A pattern is read along with the text, all its places at once, so that none takes more time than its length and the text's
//! together make; and that is bounded.

/// Steps that a pattern and a text may take together.
const MOST_STEPS: usize = 1 << 24;

/// A pattern.
#[derive(Debug)]
pub(crate) struct Pattern(Vec<Part>);

#[derive(Clone, Copy, Debug)]
enum Part {
    /// Any letters.
    Any,
    /// Any letter.
    One,
    Letter(char),
}

/// How much is taken where there is a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Shortest,
    Longest,
}

/// No match is at this place.
const NONE: usize = usize::MAX;

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// BuildKit's words for a `\` before another letter.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            parts.push(match letter {
                '*' => Part::Any,
                '?' => Part::One,
                // These end a substitution: the `\` was for that, and is no part of the pattern.
                '\\' if matches!(letters.peek(), Some('}' | '/')) => continue,
                '\\' => match letters.next() {
                    Some(next @ ('*' | '?' | '\\')) => Part::Letter(next),
                    next => {
                        let next = next.unwrap_or(char::REPLACEMENT_CHARACTER);
                        return Err(format!(
                            "invalid pattern ({text}) in substitution: invalid escape '\\{next}'"
                        ));
                    }
                },
                letter => Part::Letter(letter),
            });
        }
        Ok(Self(parts))
    }

    /// The text without what matches at its beginning.
    ///
    /// # Errors
    /// If both are too long.
    pub(crate) fn trim_start(&self, text: &str, length: Length) -> Result<String, String> {
        let text: Vec<char> = text.chars().collect();
        self.check(text.len())?;
        let end = self.find(&text, 0, Some(length)).map_or(0, |(_, end)| end);
        Ok(text[end..].iter().collect())
    }

    /// The text without what matches at its end.
    ///
    /// # Errors
    /// If both are too long.
    pub(crate) fn trim_end(&self, text: &str, length: Length) -> Result<String, String> {
        let turned = Self(self.0.iter().rev().copied().collect());
        let text: String = text.chars().rev().collect();
        let rest = turned.trim_start(&text, length)?;
        Ok(rest.chars().rev().collect())
    }

    /// The text with the first match, or with all, replaced.
    ///
    /// # Errors
    /// If both are too long, or the result is longer than `room` bytes.
    pub(crate) fn replace(
        &self,
        text: &str,
        by: &str,
        all: bool,
        room: usize,
    ) -> Result<String, String> {
        let text: Vec<char> = text.chars().collect();
        self.check(text.len())?;
        let (mut result, mut copied, mut from) = (String::new(), 0, 0);
        while let Some((start, end)) = self.find(&text, from, None) {
            result.extend(&text[copied..start]);
            // A match of nothing right behind another match is none.
            if end > copied || start == 0 {
                result.push_str(by);
            }
            if result.len() > room {
                return Err(TOO_LONG.to_owned());
            }
            copied = end;
            from = end.max(from + 1);
            if !all || from > text.len() {
                break;
            }
        }
        result.extend(&text[copied..]);
        Ok(result)
    }

    fn check(&self, letters: usize) -> Result<(), String> {
        match self.0.len().saturating_mul(letters) {
            steps if steps > MOST_STEPS => Err(TOO_LONG.to_owned()),
            _ => Ok(()),
        }
    }

    /// Where the pattern matches: at `from`, so much of the text, or the first and longest match from there on.
    fn find(&self, text: &[char], from: usize, here: Option<Length>) -> Option<(usize, usize)> {
        let mut best: Option<(usize, usize)> = None;
        // For each place in the pattern, where the first match began that has come so far.
        let mut now = vec![NONE; self.0.len() + 1];
        let mut next = now.clone();
        for at in from..=text.len() {
            if best.is_none() && (here.is_none() || at == from) {
                now[0] = now[0].min(at);
            }
            for (place, part) in self.0.iter().enumerate() {
                // It may be of no letters.
                if matches!(part, Part::Any) {
                    now[place + 1] = now[place + 1].min(now[place]);
                }
            }
            let start = now[self.0.len()];
            if start != NONE && best.is_none_or(|(earlier, _)| start <= earlier) {
                best = Some((start, at));
                if here == Some(Length::Shortest) {
                    return best;
                }
            }
            let latest = best.map_or(NONE, |(start, _)| start);
            let Some(letter) = text.get(at) else {
                break;
            };
            next.fill(NONE);
            let mut goes_on = false;
            for (place, part) in self.0.iter().enumerate() {
                let start = now[place];
                let takes = match part {
                    Part::Any | Part::One => *letter != '\n',
                    Part::Letter(wanted) => wanted == letter,
                };
                if start == NONE || start > latest || !takes {
                    continue;
                }
                goes_on = true;
                let after = place + usize::from(!matches!(part, Part::Any));
                next[after] = next[after].min(start);
            }
            if !goes_on && (best.is_some() || here.is_some()) {
                break;
            }
            std::mem::swap(&mut now, &mut next);
        }
        best
    }
}

/// What is said of a substitution that would take too much.
pub(crate) const TOO_LONG: &str = "the substitution is too long";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pattern: &str) -> Pattern {
        Pattern::parse(pattern).unwrap()
    }

    #[test]
    fn the_first_and_longest_match_is_replaced() {
        for (pattern, text, all, expected) in [
            ("l", "hello", false, "heLlo"),
            ("l", "hello", true, "heLLo"),
            ("l*o", "lol lo", false, "L"),
            ("b*d", "abcbdd", false, "aL"),
            ("?", "abc", true, "LLL"),
            ("", "ab", true, "LaLbL"),
            ("*", "ab", true, "L"),
            ("x*y", "xxx", true, "xxx"),
            ("aab", "aaab", false, "aL"),
            ("a*", "ba\nca", true, "bL\ncL"),
            ("é", "aéb", true, "aLb"),
        ] {
            let found = of(pattern).replace(text, "L", all, 100);
            assert_eq!(found.as_deref(), Ok(expected), "{pattern} {text}");
        }
        assert_eq!(
            of("a").replace("aaa", "long", true, 5),
            Err(TOO_LONG.into())
        );
    }

    #[test]
    fn ends_are_trimmed() {
        use Length::{Longest, Shortest};
        let path = "/a/b.tar.gz";
        for (pattern, length, expected) in [
            ("*/", Shortest, "a/b.tar.gz"),
            ("*/", Longest, "b.tar.gz"),
            ("*a*b*z", Longest, ""),
            ("*b*a/", Longest, "/a/b.tar.gz"),
            ("?a", Shortest, "/b.tar.gz"),
        ] {
            let rest = of(pattern).trim_start(path, length);
            assert_eq!(rest.as_deref(), Ok(expected), "{pattern}");
        }
        for (pattern, length, expected) in [
            (".*", Shortest, "/a/b.tar"),
            (".*", Longest, "/a/b"),
            ("\\*", Longest, path),
            ("z", Shortest, "/a/b.tar.g"),
        ] {
            let rest = of(pattern).trim_end(path, length);
            assert_eq!(rest.as_deref(), Ok(expected), "{pattern}");
        }
    }

    #[test]
    fn an_escape_is_of_a_sign_or_none() {
        assert_eq!(
            of("a\\*\\?\\\\").replace("a*?\\", "", false, 9),
            Ok(String::new())
        );
        assert_eq!(of("\\/\\}").replace("/}", "", false, 9), Ok(String::new()));
        let error = Pattern::parse("a\\b").unwrap_err();
        assert_eq!(
            error,
            "invalid pattern (a\\b) in substitution: invalid escape '\\b'"
        );
        assert!(Pattern::parse("a\\").is_err());
    }

    /// What took its length to the fourth power is done at once, and what would take long is refused.
    #[test]
    fn hostile_patterns_are_no_work() {
        let text = "a".repeat(20_000);
        let stars = format!("{}b", "*a".repeat(50));
        let kept = of(&stars).replace(&text, "", true, text.len());
        assert_eq!(kept.as_ref(), Ok(&text));
        for length in [Length::Shortest, Length::Longest] {
            assert_eq!(of(&stars).trim_start(&text, length).as_ref(), Ok(&text));
            assert_eq!(of(&stars).trim_end(&text, length).as_ref(), Ok(&text));
        }
        let longer = "*a".repeat(10_000);
        assert_eq!(
            of(&longer).trim_start(&text, Length::Longest),
            Err(TOO_LONG.to_owned())
        );
    }
}
