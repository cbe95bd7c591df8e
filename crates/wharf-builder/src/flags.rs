//! What the flags and the command of a `RUN` mean, for every builder.

use std::collections::BTreeMap;

use wharf_dockerfile::{CommandLine, Heredoc, MountFlag, Run};

use crate::BuildError;

/// One `--mount`, its words expanded.
pub struct Fields(BTreeMap<String, Option<String>>);

impl Fields {
    /// Of a flag; `word` expands a word of it.
    ///
    /// # Errors
    /// What `word` says.
    pub fn read<E>(flag: &MountFlag, word: impl Fn(&str) -> Result<String, E>) -> Result<Self, E> {
        let mut fields = BTreeMap::new();
        for (name, value) in &flag.fields {
            let value = value.as_ref().map(|value| word(value)).transpose()?;
            fields.insert(name.to_ascii_lowercase(), value);
        }
        Ok(Self(fields))
    }

    /// The value of the first of the names that has one.
    pub fn text(&self, names: &[&str]) -> Option<&str> {
        let found = names.iter().find_map(|name| self.0.get(*name)?.as_deref());
        found.filter(|text| !text.is_empty())
    }

    /// Whether one of the names is set; `None` if none of them is there.
    ///
    /// # Errors
    /// If its value is neither yes nor no.
    pub fn is_on(&self, names: &[&str]) -> Result<Option<bool>, BuildError> {
        for name in names {
            match self.0.get(*name) {
                None => {}
                Some(None) => return Ok(Some(true)),
                Some(Some(text)) => {
                    let invalid =
                        |_| BuildError::Invalid(format!("invalid value for {name}: {text}"));
                    return wharf_go::parse_bool(text).map(Some).map_err(invalid);
                }
            }
        }
        Ok(None)
    }

    /// A number.
    ///
    /// # Errors
    /// If it is none.
    pub fn number(&self, name: &str, radix: u32) -> Result<Option<u32>, BuildError> {
        let text = self.text(&[name]);
        let number = text.map(|text| u32::from_str_radix(text, radix));
        number.transpose().map_err(|_| {
            let text = text.unwrap_or_default();
            BuildError::Invalid(format!("invalid value {text} for {name}"))
        })
    }

    /// Where it is mounted, as it says.
    pub fn target(&self) -> Option<&str> {
        self.text(&["target", "dst", "destination"])
    }
}

/// A size, as `go-units` reads it.
///
/// # Errors
/// If it is none.
pub fn bytes(text: &str) -> Result<i64, BuildError> {
    wharf_go::ram_in_bytes(text).map_err(BuildError::Invalid)
}

/// What a `RUN` runs.
pub enum Command<'a> {
    /// These words.
    Words(Vec<String>),
    /// A here-document that names its own interpreter.
    Script(&'a Heredoc),
}

impl<'a> Command<'a> {
    /// The command, with the shell before it and its here-documents in it.
    pub fn of(run: &'a Run, shell: Vec<String>) -> Self {
        let text = match &run.command {
            CommandLine::Exec(words) => return Self::Words(words.clone()),
            CommandLine::Shell(text) => text,
        };
        let whole = match run.heredocs.as_slice() {
            [] => text.clone(),
            // Its variables are the shell's to expand.
            [only] if is_script(text, only) && only.content.starts_with("#!") => {
                return Self::Script(only);
            }
            [only] if is_script(text, only) => only.content.clone(),
            all => {
                let mut whole = text.clone();
                for document in all {
                    // The shell expands these itself.
                    whole.push_str(&format!("\n{}{}", document.content, document.name));
                }
                whole
            }
        };
        Self::Words([shell, vec![whole]].concat())
    }
}

/// Whether the command is nothing but the here-document.
fn is_script(text: &str, document: &Heredoc) -> bool {
    let dash = if document.chomp { "-" } else { "" };
    let word = text.trim().strip_prefix("<<");
    let name = word.and_then(|word| word.strip_prefix(dash));
    let name = name.map(|name| name.trim_matches(['"', '\'']));
    name == Some(document.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(bytes("2m").unwrap(), 2 << 20);
        assert_eq!(bytes("64MiB").unwrap(), 64 << 20);
        assert!(bytes("2x").is_err() && bytes("").is_err());
    }
}
