//! Words as a shell reads them: quotes, escapes, `$VAR` and `${VAR}` with its modifiers.

/// Where values of variables come from.
pub trait Variables {
    /// The value of `name`, if it is set.
    fn get(&self, name: &str) -> Option<String>;
}

impl<F: Fn(&str) -> Option<String>> Variables for F {
    fn get(&self, name: &str) -> Option<String> {
        self(name)
    }
}

/// Expands words.
#[derive(Clone, Copy, Debug)]
pub struct Expander {
    escape: char,
}

impl Expander {
    /// With the escape character of the Dockerfile.
    pub fn new(escape: char) -> Self {
        Self { escape }
    }

    /// One word: quotes and escapes removed, variables replaced.
    ///
    /// # Errors
    /// BuildKit's words for a malformed substitution or a `${VAR:?}` that is not set.
    pub fn word(&self, text: &str, variables: &dyn Variables) -> Result<String, String> {
        let mut run = Run::new(text, self.escape, variables);
        run.all(None).map_err(|error| failed(text, &error))?;
        Ok(run.word)
    }

    /// Several words, as an unquoted variable's value may hold several.
    ///
    /// # Errors
    /// As [`Self::word`].
    pub fn words(&self, text: &str, variables: &dyn Variables) -> Result<Vec<String>, String> {
        let mut run = Run::new(text, self.escape, variables);
        run.split = true;
        run.all(None).map_err(|error| failed(text, &error))?;
        run.cut();
        Ok(run.words)
    }

    /// A text whose quotes are letters, as the body of a here-document: only variables and escapes count.
    ///
    /// # Errors
    /// As [`Self::word`].
    pub fn text(&self, text: &str, variables: &dyn Variables) -> Result<String, String> {
        let mut run = Run::new(text, self.escape, variables);
        run.raw_quotes = true;
        run.all(None).map_err(|error| failed(text, &error))?;
        Ok(run.word)
    }
}

fn failed(text: &str, error: &str) -> String {
    format!("failed to process {}: {error}", crate::quoted(text))
}

struct Run<'a> {
    letters: std::iter::Peekable<std::str::Chars<'a>>,
    escape: char,
    variables: &'a dyn Variables,
    word: String,
    words: Vec<String>,
    /// Whether `word` is one even if it is empty (it had quotes).
    in_word: bool,
    split: bool,
    raw_quotes: bool,
}

impl<'a> Run<'a> {
    fn new(text: &'a str, escape: char, variables: &'a dyn Variables) -> Self {
        Self {
            letters: text.chars().peekable(),
            escape,
            variables,
            word: String::new(),
            words: Vec::new(),
            in_word: false,
            split: false,
            raw_quotes: false,
        }
    }

    fn cut(&mut self) {
        if self.in_word || !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
            self.in_word = false;
        }
    }

    /// Up to `stop` (consumed), or to the end.
    fn all(&mut self, stop: Option<char>) -> Result<(), String> {
        while let Some(&letter) = self.letters.peek() {
            if stop == Some(letter) {
                self.letters.next();
                return Ok(());
            }
            match letter {
                '\'' if !self.raw_quotes => self.single()?,
                '"' if !self.raw_quotes => self.double()?,
                '$' => {
                    let value = self.dollar()?;
                    self.value(&value);
                }
                _ if letter == self.escape => {
                    self.letters.next();
                    match self.letters.next() {
                        // The body of a here-document keeps an escape that escapes nothing.
                        Some(next) if self.raw_quotes && next != '$' && next != self.escape => {
                            self.word.extend([letter, next]);
                        }
                        Some(next) => self.word.push(next),
                        None if self.raw_quotes => self.word.push(letter),
                        None => {}
                    }
                }
                _ if self.split && letter.is_whitespace() => {
                    self.letters.next();
                    self.cut();
                }
                _ => {
                    self.letters.next();
                    self.word.push(letter);
                }
            }
        }
        match stop {
            None => Ok(()),
            Some(_) => Err("syntax error: missing '}'".to_owned()),
        }
    }

    /// An unquoted value: in `words` its blanks separate.
    fn value(&mut self, value: &str) {
        if !self.split {
            self.word.push_str(value);
            return;
        }
        for letter in value.chars() {
            match letter.is_whitespace() {
                true => self.cut(),
                false => self.word.push(letter),
            }
        }
    }

    fn single(&mut self) -> Result<(), String> {
        self.letters.next();
        self.in_word = true;
        loop {
            match self.letters.next() {
                Some('\'') => return Ok(()),
                Some(letter) => self.word.push(letter),
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching single-quote"
                            .to_owned(),
                    );
                }
            }
        }
    }

    fn double(&mut self) -> Result<(), String> {
        self.letters.next();
        self.in_word = true;
        loop {
            let Some(&letter) = self.letters.peek() else {
                return Err(
                    "unexpected end of statement while looking for matching double-quote"
                        .to_owned(),
                );
            };
            if letter == '$' {
                let value = self.dollar()?;
                self.word.push_str(&value);
                continue;
            }
            self.letters.next();
            if letter == '"' {
                return Ok(());
            }
            if letter != self.escape {
                self.word.push(letter);
                continue;
            }
            match self.letters.next() {
                Some(next) if next == '"' || next == '$' || next == self.escape => {
                    self.word.push(next);
                }
                Some(next) => self.word.extend([letter, next]),
                None => self.word.push(letter),
            }
        }
    }

    /// What a `$` stands for.
    fn dollar(&mut self) -> Result<String, String> {
        self.letters.next();
        if self.letters.peek() != Some(&'{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(self.variables.get(&name).unwrap_or_default());
        }
        self.letters.next();
        if self.letters.peek() == Some(&'}') {
            return Err("syntax error: bad substitution".to_owned());
        }
        let name = self.name();
        let value = self.variables.get(&name);
        match self.letters.next() {
            Some('}') => Ok(value.unwrap_or_default()),
            Some(':') => match self.letters.next() {
                Some(modifier @ ('+' | '-' | '?')) => self.default(&name, value, modifier, true),
                Some(other) => Err(format!("unsupported modifier ({other}) in substitution")),
                None => Err("syntax error: missing ':' in substitution".to_owned()),
            },
            Some(modifier @ ('+' | '-' | '?')) => self.default(&name, value, modifier, false),
            Some(modifier @ ('#' | '%')) => {
                let greedy = self.letters.next_if_eq(&modifier).is_some();
                let pattern = self.nested('}')?;
                let value = value.unwrap_or_default();
                Ok(match modifier {
                    '#' => trim_prefix(&value, &pattern, greedy),
                    _ => trim_suffix(&value, &pattern, greedy),
                })
            }
            Some('/') => {
                let all = self.letters.next_if_eq(&'/').is_some();
                let pattern = self.nested('/')?;
                let replacement = self.nested('}')?;
                let value = value.unwrap_or_default();
                Ok(replace(&value, &pattern, &replacement, all))
            }
            Some(other) => Err(format!("unsupported modifier ({other}) in substitution")),
            None => Err("syntax error: missing '}'".to_owned()),
        }
    }

    fn default(
        &mut self,
        name: &str,
        value: Option<String>,
        modifier: char,
        empty_is_unset: bool,
    ) -> Result<String, String> {
        let word = self.nested('}')?;
        let value = value.filter(|value| !(empty_is_unset && value.is_empty()));
        match (modifier, value) {
            ('+', Some(_)) | ('-', None) => Ok(word),
            ('+', None) => Ok(String::new()),
            ('?', None) => {
                let text = match (word.as_str(), empty_is_unset) {
                    ("", true) => "is not allowed to be empty",
                    ("", false) => "is not allowed to be unset",
                    (text, _) => text,
                };
                Err(format!("{name}: {text}"))
            }
            (_, Some(value)) => Ok(value),
            (_, None) => Ok(String::new()),
        }
    }

    /// The word of a substitution, itself expanded.
    fn nested(&mut self, stop: char) -> Result<String, String> {
        let outer = std::mem::take(&mut self.word);
        let split = std::mem::replace(&mut self.split, false);
        let result = self.all(Some(stop));
        self.split = split;
        let word = std::mem::replace(&mut self.word, outer);
        result.map(|()| word)
    }

    /// A name, a number, or one of the shell's special ones.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(&letter) = self.letters.peek() {
            let fits = match name.chars().next() {
                None => letter.is_alphanumeric() || letter == '_' || "@*#?-$!".contains(letter),
                Some(first) if first.is_ascii_digit() => letter.is_ascii_digit(),
                Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => false,
                Some(_) => letter.is_alphanumeric() || letter == '_',
            };
            if !fits {
                break;
            }
            name.push(letter);
            self.letters.next();
        }
        name
    }
}

/// Whether `text` as a whole matches a pattern of `*`, `?` and escaped letters. Only the last `*` is ever tried again, so
/// that no pattern takes more time than its length and the text's together make.
fn matches(pattern: &[char], text: &[char]) -> bool {
    let (mut at, mut here) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while here < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at + 1, here));
                at += 1;
                continue;
            }
            Some('\\') if pattern.get(at + 1) == text.get(here) => {
                (at, here) = (at + 2, here + 1);
                continue;
            }
            Some('?') => {
                (at, here) = (at + 1, here + 1);
                continue;
            }
            Some('\\') if at + 1 < pattern.len() => {}
            Some(letter) if *letter == text[here] => {
                (at, here) = (at + 1, here + 1);
                continue;
            }
            _ => {}
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

fn letters(text: &str) -> Vec<char> {
    text.chars().collect()
}

fn trim_prefix(value: &str, pattern: &str, greedy: bool) -> String {
    let (value, pattern) = (letters(value), letters(pattern));
    let fits = |end: &usize| matches(&pattern, &value[..*end]);
    let end = match greedy {
        true => (0..=value.len()).rev().find(fits),
        false => (0..=value.len()).find(fits),
    };
    value[end.unwrap_or(0)..].iter().collect()
}

fn trim_suffix(value: &str, pattern: &str, greedy: bool) -> String {
    let (value, pattern) = (letters(value), letters(pattern));
    let fits = |start: &usize| matches(&pattern, &value[*start..]);
    let start = match greedy {
        true => (0..=value.len()).find(fits),
        false => (0..=value.len()).rev().find(fits),
    };
    value[..start.unwrap_or(value.len())].iter().collect()
}

fn replace(value: &str, pattern: &str, replacement: &str, all: bool) -> String {
    let (value, pattern) = (letters(value), letters(pattern));
    let mut result = String::new();
    let mut at = 0;
    let mut done = false;
    while at < value.len() {
        let found = (at + 1..=value.len())
            .rev()
            .find(|end| !done && matches(&pattern, &value[at..*end]));
        match found {
            Some(end) => {
                result.push_str(replacement);
                at = end;
                done = !all;
            }
            None => {
                result.push(value[at]);
                at += 1;
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        let value = match name {
            "A" => "hello",
            "EMPTY" => "",
            "TWO" => "x y",
            "FILE" => "/a/b.tar.gz",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn expands_words() {
        let cases = [
            ("$A", "hello"),
            ("${A}x", "hellox"),
            ("'$A'", "$A"),
            ("\"$A\"", "hello"),
            ("\\$A", "$A"),
            ("\"\\$A\\n\"", "$A\\n"),
            ("${NO:-d$A}", "dhello"),
            ("${EMPTY:-d}", "d"),
            ("${EMPTY-d}", ""),
            ("${A:+y}", "y"),
            ("${NO+y}", ""),
            ("${FILE##*/}", "b.tar.gz"),
            ("${FILE#*/}", "a/b.tar.gz"),
            ("${FILE%.*}", "/a/b.tar"),
            ("${FILE%%.*}", "/a/b"),
            ("${A/l/L}", "heLlo"),
            ("${A//l/L}", "heLLo"),
            ("$$x", "x"),
            ("${FILE##*a*b*z}", ""),
            ("${FILE##*b*a/}", "/a/b.tar.gz"),
            ("${FILE%%.*g*}", "/a/b"),
            ("${A/l\\l/L}", "heLo"),
            ("$", "$"),
            ("a$", "a$"),
            ("${NO}", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(
                Expander::new('\\').word(text, &env).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn stars_do_not_multiply() {
        let long = "a".repeat(3000);
        let get = |_: &str| Some(long.clone());
        let pattern = format!("${{A#{}b}}", "*a".repeat(12));
        assert_eq!(Expander::new('\\').word(&pattern, &get), Ok(long.clone()));
    }

    #[test]
    fn splits_unquoted_values() {
        let words = Expander::new('\\').words("$TWO \"$TWO\" ''", &env).unwrap();
        assert_eq!(words, ["x", "y", "x y", ""]);
    }

    #[test]
    fn names_what_is_wrong() {
        let error = |text| Expander::new('\\').word(text, &env).unwrap_err();
        assert_eq!(
            error("${A"),
            "failed to process \"${A\": syntax error: missing '}'"
        );
        assert_eq!(
            error("${A^}"),
            "failed to process \"${A^}\": unsupported modifier (^) in substitution"
        );
        assert!(error("${NO:?gone}").ends_with("NO: gone"));
        assert!(error("${}").ends_with("bad substitution"));
    }

    #[test]
    fn a_text_keeps_its_quotes() {
        let text = Expander::new('\\').text("'$A' \\$A \\n", &env).unwrap();
        assert_eq!(text, "'hello' $A \\n");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = Expander::new('\\').words(&text, &env);
            let _ = Expander::new('`').text(&text, &env);
        }
    }
}
