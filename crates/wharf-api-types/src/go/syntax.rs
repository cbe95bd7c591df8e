//! Whether a text is JSON, and if not, what Go's scanner says of the first character that does not belong.

use std::iter::Peekable;
use std::str::CharIndices;

/// Why it is none.
type Checked<T = ()> = Result<T, String>;

/// How deep Go goes.
const DEEPEST: usize = 10_000;

/// Where the first document of `text` ends.
///
/// # Errors
/// In Go's words, if it is none.
pub(super) fn check(text: &str) -> Checked<usize> {
    let mut scanner = Scanner {
        rest: text.char_indices().peekable(),
        length: text.len(),
    };
    scanner.document()?;
    Ok(scanner.position())
}

struct Scanner<'a> {
    rest: Peekable<CharIndices<'a>>,
    length: usize,
}

/// What is open.
enum Open {
    Object,
    Array,
}

impl Scanner<'_> {
    fn position(&mut self) -> usize {
        self.rest.peek().map_or(self.length, |(at, _)| *at)
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().map(|(_, next)| *next)
    }

    fn next(&mut self) -> Checked<char> {
        let next = self.rest.next();
        next.map(|(_, next)| next)
            .ok_or_else(|| "unexpected EOF".to_owned())
    }

    fn blanks(&mut self) {
        while self
            .rest
            .next_if(|(_, next)| matches!(next, ' ' | '\t' | '\r' | '\n'))
            .is_some()
        {}
    }

    /// The next character that is no blank.
    fn token(&mut self) -> Checked<char> {
        self.blanks();
        self.next()
    }

    /// One value. What is open is kept in a list, as a text may open more than a stack has room for.
    fn document(&mut self) -> Checked {
        let mut open = Vec::new();
        loop {
            match self.token()? {
                '{' => {
                    deeper(&mut open, Open::Object)?;
                    self.blanks();
                    if self.peek() == Some('}') {
                        self.next()?;
                        open.pop();
                    } else {
                        self.key()?;
                        continue;
                    }
                }
                '[' => {
                    deeper(&mut open, Open::Array)?;
                    self.blanks();
                    if self.peek() == Some(']') {
                        self.next()?;
                        open.pop();
                    } else {
                        continue;
                    }
                }
                first => self.scalar(first)?,
            }
            if self.ends(&mut open)? {
                return Ok(());
            }
        }
    }

    /// What follows a value. Whether it was the last one.
    fn ends(&mut self, open: &mut Vec<Open>) -> Checked<bool> {
        loop {
            match open.last() {
                None => return Ok(true),
                Some(Open::Object) => match self.token()? {
                    ',' => {
                        self.key()?;
                        return Ok(false);
                    }
                    '}' => drop(open.pop()),
                    other => return wrong(other, "after object key:value pair"),
                },
                Some(Open::Array) => match self.token()? {
                    ',' => return Ok(false),
                    ']' => drop(open.pop()),
                    other => return wrong(other, "after array element"),
                },
            }
        }
    }

    /// The name of a field, and the colon behind it.
    fn key(&mut self) -> Checked {
        match self.token()? {
            '"' => self.string()?,
            other => return wrong(other, "looking for beginning of object key string"),
        }
        match self.token()? {
            ':' => Ok(()),
            other => wrong(other, "after object key"),
        }
    }

    fn scalar(&mut self, first: char) -> Checked {
        match first {
            '"' => self.string(),
            '-' | '0'..='9' => self.number(first),
            't' => self.literal("true"),
            'f' => self.literal("false"),
            'n' => self.literal("null"),
            other => wrong(other, "looking for beginning of value"),
        }
    }

    fn literal(&mut self, word: &str) -> Checked {
        for expected in word.chars().skip(1) {
            let found = self.next()?;
            if found != expected {
                return wrong(
                    found,
                    &format!("in literal {word} (expecting {})", quoted(expected)),
                );
            }
        }
        Ok(())
    }

    fn string(&mut self) -> Checked {
        loop {
            match self.next()? {
                '"' => return Ok(()),
                '\\' => self.escape()?,
                other if other < ' ' => return wrong(other, "in string literal"),
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Checked {
        match self.next()? {
            '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => Ok(()),
            'u' => {
                for _ in 0..4 {
                    let digit = self.next()?;
                    if !digit.is_ascii_hexdigit() {
                        return wrong(digit, "in \\u hexadecimal character escape");
                    }
                }
                Ok(())
            }
            other => wrong(other, "in string escape code"),
        }
    }

    fn number(&mut self, first: char) -> Checked {
        let first = match first {
            '-' => self.digit("in numeric literal")?,
            first => first,
        };
        if first != '0' {
            self.digits();
        }
        if self.peek() == Some('.') {
            self.next()?;
            self.digit("after decimal point in numeric literal")?;
            self.digits();
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            self.next()?;
            if matches!(self.peek(), Some('+' | '-')) {
                self.next()?;
            }
            self.digit("in exponent of numeric literal")?;
            self.digits();
        }
        Ok(())
    }

    fn digit(&mut self, place: &str) -> Checked<char> {
        match self.next()? {
            digit @ '0'..='9' => Ok(digit),
            other => wrong(other, place),
        }
    }

    fn digits(&mut self) {
        while self
            .rest
            .next_if(|(_, next)| next.is_ascii_digit())
            .is_some()
        {}
    }
}

fn deeper(open: &mut Vec<Open>, next: Open) -> Checked {
    open.push(next);
    match open.len() > DEEPEST {
        true => Err("exceeded max depth".to_owned()),
        false => Ok(()),
    }
}

fn wrong<T>(found: char, place: &str) -> Checked<T> {
    Err(format!("invalid character {} {place}", quoted(found)))
}

/// A character as Go quotes it; its scanner reads bytes, and takes the first byte of a longer one.
fn quoted(one: char) -> String {
    match one {
        '\'' => r"'\''".to_owned(),
        '\n' => r"'\n'".to_owned(),
        '\r' => r"'\r'".to_owned(),
        '\t' => r"'\t'".to_owned(),
        '\\' => r"'\\'".to_owned(),
        one if one.is_ascii_control() => format!("'\\x{:02x}'", u32::from(one)),
        one if one.is_ascii() => format!("'{one}'"),
        one => {
            let mut bytes = [0; 4];
            let first = one.encode_utf8(&mut bytes).as_bytes()[0];
            format!("'{}'", char::from(first))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_is_no_json_is_told_as_go_does() {
        for (text, expected) in [
            (r#"{"a":}"#, "'}' looking for beginning of value"),
            ("{a:1}", "'a' looking for beginning of object key string"),
            (
                "{'a':1}",
                r"'\'' looking for beginning of object key string",
            ),
            (
                r#"{"a":1,}"#,
                "'}' looking for beginning of object key string",
            ),
            (r#"{"a":nil}"#, "'i' in literal null (expecting 'u')"),
            (r#"{"a":"\x"}"#, "'x' in string escape code"),
            (r#"{"a" 1}"#, "'1' after object key"),
            (r#"{"a":1 "b":2}"#, "'\"' after object key:value pair"),
            ("[1 2]", "'2' after array element"),
            (r#"{"a":01}"#, "'1' after object key:value pair"),
            (r#"{"a":1.}"#, "'}' after decimal point in numeric literal"),
            (r#"{"a":-}"#, "'}' in numeric literal"),
            (r#"{"a":1e}"#, "'}' in exponent of numeric literal"),
            (
                r#"{"a":"\u12"}"#,
                "'\"' in \\u hexadecimal character escape",
            ),
            ("{\"a\":\"\tx\"}", r"'\t' in string literal"),
            ("]", "']' looking for beginning of value"),
            ("{,}", "',' looking for beginning of object key string"),
            ("nonsense", "'o' in literal null (expecting 'u')"),
        ] {
            let expected = format!("invalid character {expected}");
            assert_eq!(check(text), Err(expected), "{text}");
        }
        for text in ["", "{", "[1,", r#"{"a":"b"#, "nul", "-"] {
            assert_eq!(check(text), Err("unexpected EOF".to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_too_deep_is_so_before_its_end() {
        let deepest = super::DEEPEST;
        for (opened, closed) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |depth: usize, inner: &str| {
                [&opened.repeat(depth), inner, &closed.repeat(depth)].concat()
            };
            let exceeded = Err("exceeded max depth".to_owned());
            assert!(check(&nested(deepest, "1")).is_ok());
            assert_eq!(check(&nested(deepest + 1, "1")), exceeded);
            assert_eq!(check(&nested(deepest, "[]")), exceeded);
            assert_eq!(check(&opened.repeat(deepest + 1)), exceeded);
        }
    }

    #[test]
    fn a_document_ends_where_it_ends() {
        for (text, end) in [
            ("{} x", 2),
            (r#" [1, -0.5e+3, "\u00e9é", null, {"a": [[], {}]}] "#, 48),
            ("12 ", 2),
            ("true}", 4),
        ] {
            assert_eq!(check(text), Ok(end), "{text}");
        }
    }
}
