//! Words as a shell reads them: quotes, escapes, `$VAR` and `${VAR}` with its modifiers (BuildKit's `frontend/dockerfile/shell`).

use crate::pattern::{Length, Pattern, TOO_LONG};

/// Substitutions in substitutions: each is a call in a call, and who writes the Dockerfile may mean harm.
const DEEPEST: usize = 50;
/// Bytes that all values in a word may have together: `ENV A=$A$A` doubles each time.
const MOST_VALUES: usize = 1 << 20;

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

    /// A text whose quotes are letters, as the body of a here-document: only variables and escapes count, and these by a `\`,
    /// whatever the Dockerfile's other lines are escaped by.
    ///
    /// # Errors
    /// As [`Self::word`].
    pub fn text(text: &str, variables: &dyn Variables) -> Result<String, String> {
        let mut run = Run::new(text, '\\', variables);
        run.no_quotes = true;
        run.all(None).map_err(|error| failed(text, &error))?;
        Ok(run.word)
    }
}

/// What ends a substitution, or its pattern, is not there.
fn missing(end: char) -> String {
    match end {
        '/' => "syntax error: missing '/' in ${}".to_owned(),
        _ => format!("syntax error: missing '{end}'"),
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
    split: bool,
    no_quotes: bool,
    /// Whether escapes stay: the word is a pattern.
    raw: bool,
    depth: usize,
    /// Bytes of values that there is room for.
    room: usize,
}

impl<'a> Run<'a> {
    fn new(text: &'a str, escape: char, variables: &'a dyn Variables) -> Self {
        Self {
            letters: text.chars().peekable(),
            escape,
            variables,
            word: String::new(),
            words: Vec::new(),
            split: false,
            no_quotes: false,
            raw: false,
            depth: 0,
            room: MOST_VALUES,
        }
    }

    fn cut(&mut self) {
        if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    /// Up to `stop` (consumed), or to the end; whether it was there.
    fn all(&mut self, stop: Option<char>) -> Result<bool, String> {
        while let Some(&letter) = self.letters.peek() {
            if stop == Some(letter) {
                self.letters.next();
                return Ok(true);
            }
            match letter {
                '\'' if !self.no_quotes => self.single()?,
                '"' if !self.no_quotes => self.double()?,
                '$' => {
                    let value = self.dollar()?;
                    self.value(&value);
                }
                _ if letter == self.escape => {
                    self.letters.next();
                    if self.raw {
                        self.word.push(letter);
                    }
                    self.word.extend(self.letters.next());
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
        Ok(stop.is_none())
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
            if letter == self.escape {
                if self.raw {
                    self.word.push(letter);
                }
                match self.letters.peek() {
                    Some(&next) if next == '"' || next == '$' || next == self.escape => {
                        self.letters.next();
                        self.word.push(next);
                        continue;
                    }
                    Some(_) => {}
                    None => continue,
                }
            }
            self.word.push(letter);
        }
    }

    /// What a `$` stands for.
    fn dollar(&mut self) -> Result<String, String> {
        self.letters.next();
        let value = if self.letters.next_if_eq(&'{').is_some() {
            self.substitution()?
        } else {
            match self.name() {
                name if name.is_empty() => "$".to_owned(),
                name => self.variables.get(&name).unwrap_or_default(),
            }
        };
        let left = self.room.checked_sub(value.len());
        self.room = left.ok_or(TOO_LONG)?;
        Ok(value)
    }

    /// The rest of a `${…}`.
    fn substitution(&mut self) -> Result<String, String> {
        match self.letters.peek() {
            None => return Err(missing('}')),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".to_owned()),
            Some(_) => {}
        }
        let name = self.name();
        let unsupported =
            |modifier: &str| Err(format!("unsupported modifier ({modifier}) in substitution"));
        match self.letters.next() {
            Some('}') => Ok(self.variables.get(&name).unwrap_or_default()),
            Some(':') => {
                let Some(modifier) = self.letters.next() else {
                    return Err(missing('}'));
                };
                match modifier {
                    '+' | '-' | '?' | '#' | '%' => self.modified(&name, modifier, true),
                    _ => {
                        self.nested('}')?;
                        unsupported(&format!(":{modifier}"))
                    }
                }
            }
            Some(modifier @ ('+' | '-' | '?' | '#' | '%')) => self.modified(&name, modifier, false),
            Some('/') => {
                let all = self.letters.next_if_eq(&'/').is_some();
                let pattern = self.raw('/')?;
                let replacement = self.raw('}')?;
                let value = self.variables.get(&name).unwrap_or_default();
                Pattern::parse(&pattern)?.replace(&value, &replacement, all, self.room)
            }
            Some(other) => unsupported(&other.to_string()),
            None => Err(missing('}')),
        }
    }

    /// What a modifier makes of a value; `:` makes an empty one count as none.
    fn modified(
        &mut self,
        name: &str,
        modifier: char,
        empty_is_unset: bool,
    ) -> Result<String, String> {
        let word = match modifier {
            '#' | '%' => self.raw('}')?,
            _ => self.nested('}')?,
        };
        let value = self.variables.get(name);
        let is_set = value.is_some();
        let value = value.filter(|value| !(empty_is_unset && value.is_empty()));
        match (modifier, value) {
            ('+', Some(_)) | ('-', None) => Ok(word),
            ('?', None) if word.is_empty() => Err(match is_set {
                true => format!("{name}: is not allowed to be empty"),
                false => format!("{name}: is not allowed to be unset"),
            }),
            ('?', None) => Err(format!("{name}: {word}")),
            ('#' | '%', value) => {
                let (pattern, length) = match word.strip_prefix(modifier) {
                    Some(pattern) => (pattern, Length::Longest),
                    None => (word.as_str(), Length::Shortest),
                };
                let (pattern, value) = (Pattern::parse(pattern)?, value.unwrap_or_default());
                match modifier {
                    '#' => pattern.trim_start(&value, length),
                    _ => pattern.trim_end(&value, length),
                }
            }
            ('+', None) => Ok(String::new()),
            (_, value) => Ok(value.unwrap_or_default()),
        }
    }

    /// The pattern of a substitution, or what it is replaced by: expanded, with its escapes.
    fn raw(&mut self, stop: char) -> Result<String, String> {
        let raw = std::mem::replace(&mut self.raw, true);
        let word = self.nested(stop);
        self.raw = raw;
        word
    }

    /// The word of a substitution, itself expanded.
    fn nested(&mut self, stop: char) -> Result<String, String> {
        if self.depth == DEEPEST {
            return Err(format!("more than {DEEPEST} substitutions in another one"));
        }
        let outer = std::mem::take(&mut self.word);
        let split = std::mem::replace(&mut self.split, false);
        self.depth += 1;
        let ended = self.all(Some(stop));
        self.depth -= 1;
        self.split = split;
        let word = std::mem::replace(&mut self.word, outer);
        match ended {
            Ok(true) => Ok(word),
            Ok(false) => Err(missing(stop)),
            Err(error) => Err(error),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        let value = match name {
            "A" => "hello",
            "EMPTY" => "",
            "TWO" => "x y",
            "FILE" => "/a/b.tar.gz",
            "STAR" => "*\\b",
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
            ("${FILE%%.*g*}", "/a/b"),
            ("${STAR#\\*}", "\\b"),
            ("${STAR#*\\\\}", "b"),
            ("${FILE//\\//-}", "-a-b.tar.gz"),
            ("${FILE:#*/}", "a/b.tar.gz"),
            ("${A/l/\\l}", "he\\llo"),
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

    /// Neither the stack nor the memory is the Dockerfile's to use up.
    #[test]
    fn hostile_words_are_refused() {
        let deep = format!("{}x{}", "${NO:-".repeat(100_000), "}".repeat(100_000));
        let error = Expander::new('\\').word(&deep, &env).unwrap_err();
        let words = "more than 50 substitutions in another one";
        assert!(error.ends_with(words), "{}", &error[error.len() - 99..]);
        let few = format!("{}x{}", "${NO:-".repeat(50), "}".repeat(50));
        assert_eq!(Expander::new('\\').word(&few, &env).as_deref(), Ok("x"));

        let long = |_: &str| Some("a".repeat(1 << 19));
        let word = |text: &str| Expander::new('\\').word(text, &long);
        assert_eq!(word("$A$A").map(|word| word.len()), Ok(1 << 20));
        assert!(word("$A$A$A").unwrap_err().ends_with(TOO_LONG));
        assert!(word("${A//a/$A}").unwrap_err().ends_with(TOO_LONG));
    }

    #[test]
    fn splits_unquoted_values() {
        let words = Expander::new('\\').words("$TWO \"$TWO\" ''", &env).unwrap();
        assert_eq!(words, ["x", "y", "x y"]);
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
        assert!(error("${NO:?}").ends_with("NO: is not allowed to be unset"));
        assert!(error("${EMPTY:?}").ends_with("EMPTY: is not allowed to be empty"));
        assert!(error("${A:x}").ends_with("unsupported modifier (:x) in substitution"));
        assert!(error("${A/l}").ends_with("missing '/' in ${}"));
        assert!(error("${A/\\l/x}").ends_with("(\\l) in substitution: invalid escape '\\l'"));
        assert!(error("${:-x}").ends_with("bad substitution"));
        assert!(error("${}").ends_with("bad substitution"));
    }

    #[test]
    fn a_text_keeps_its_quotes() {
        let text = Expander::text("'$A' \"\\$A\" \\n \\\\n", &env);
        assert_eq!(text.as_deref(), Ok("'hello' \"$A\" n \\n"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = Expander::new('\\').words(&text, &env);
            let _ = Expander::new('`').word(&text, &env);
            let _ = Expander::text(&text, &env);
        }
    }
}
