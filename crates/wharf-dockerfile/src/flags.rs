//! `--flag` and `--flag=value` before an instruction's arguments.

use crate::{suggest, words};

/// The flags of one instruction, taken out one by one; what is left is unknown.
pub(crate) struct Flags {
    left: Vec<String>,
    /// The names that were asked for.
    known: Vec<&'static str>,
}

impl Flags {
    /// Takes the leading flags off `text`; the rest.
    pub(crate) fn take(text: &str, escape: char) -> (Self, &str) {
        let mut left = Vec::new();
        let mut rest = text.trim_start();
        while rest.starts_with("--") {
            let end = word_end(rest, escape);
            let (word, after) = rest.split_at(end);
            rest = after.trim_start();
            if word == "--" {
                break;
            }
            left.push(words::unquote(word, escape));
        }
        let known = Vec::new();
        (Self { left, known }, rest)
    }

    /// The value of `--name=value`; given twice or without a value, an error.
    pub(crate) fn value(&mut self, name: &'static str) -> Result<Option<String>, String> {
        let mut values = self.values(name)?;
        if values.len() > 1 {
            return Err(format!("duplicate flag specified: --{name}"));
        }
        Ok(values.pop())
    }

    /// As [`Flags::value`]; an empty one is none.
    pub(crate) fn some(&mut self, name: &'static str) -> Result<Option<String>, String> {
        Ok(self.value(name)?.filter(|value| !value.is_empty()))
    }

    /// All values of a flag that may be repeated.
    pub(crate) fn values(&mut self, name: &'static str) -> Result<Vec<String>, String> {
        self.known.push(name);
        let mut values = Vec::new();
        let mut error = None;
        self.left.retain(|flag| match flag[2..].split_once('=') {
            Some((key, value)) if key == name => {
                values.push(value.to_owned());
                false
            }
            None if &flag[2..] == name => {
                error = Some(format!("missing a value on flag: --{name}"));
                false
            }
            _ => true,
        });
        error.map_or(Ok(values), Err)
    }

    /// A switch: `--name`, `--name=true`, `--name=false`.
    pub(crate) fn switch(&mut self, name: &'static str) -> Result<bool, String> {
        self.known.push(name);
        let Some(at) = self
            .left
            .iter()
            .position(|flag| flag[2..].split('=').next() == Some(name))
        else {
            return Ok(false);
        };
        match self.left.remove(at)[2..].split_once('=') {
            None | Some((_, "true")) => Ok(true),
            Some((_, "false")) => Ok(false),
            Some((_, other)) => Err(format!(
                "expecting boolean value for flag --{name}, not: {other}"
            )),
        }
    }

    /// Refuses what nobody took.
    pub(crate) fn end(self) -> Result<(), String> {
        match self.left.first() {
            None => Ok(()),
            Some(flag) => {
                let name = flag.split('=').next().unwrap_or_default();
                let near = suggest::nearest(&name[2..], &self.known);
                let hint = near.map(suggest::question).unwrap_or_default();
                Err(format!("unknown flag: {name}{hint}"))
            }
        }
    }
}

fn word_end(text: &str, escape: char) -> usize {
    let mut quote = None;
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match quote {
            None if letter.is_whitespace() => return at,
            None if letter == '\'' || letter == '"' => quote = Some(letter),
            Some(open) if letter == open => quote = None,
            _ if letter == escape => {
                letters.next();
            }
            _ => {}
        }
    }
    text.len()
}
