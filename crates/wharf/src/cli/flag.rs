//! Flags: what one is, and the parser of command lines.
//!
//! The tables of flags are the only source for parsing, help and completion. The rules are those of Docker's
//! parser (GNU style, `--flag=value`, `-abc`, `-p80:80`, `--rm=false`), and so are the texts of its errors, which
//! scripts match. That, and the time it takes to start, is why no general parser is used here.

use std::collections::HashMap;

use super::number::{parse_bool, parse_float, parse_int, parse_uint};
use crate::format::units;

/// What a flag's value must be.
#[derive(Clone, Copy)]
pub enum Kind {
    /// `--x`, `--x=false`
    Bool,
    /// Any text; the last one counts.
    Text,
    /// Signed number.
    Int,
    /// Unsigned number of so many bits.
    Uint(u32),
    /// `1h2m3.5s`
    Duration,
    /// `512m`
    Bytes,
    /// `512m` or `-1`
    Swap,
    /// Number of processors, `0.5`
    Decimal,
    /// May be given many times.
    List,
    /// Many times, each checked and maybe rewritten: type name for the help, check.
    Checked(&'static str, fn(&str) -> Result<String, String>),
}

/// One flag of a command.
#[derive(Clone, Copy)]
pub struct Flag {
    /// Name after `--`.
    pub long: &'static str,
    /// Letter after `-`, or NUL.
    pub short: char,
    /// What its value must be.
    pub kind: Kind,
    /// What it is for, for people.
    pub help: &'static str,
    /// What the help shows as its default, and what reading an absent flag gives.
    pub default: &'static str,
    /// Parsed but not shown (old spellings, other systems).
    pub hidden: bool,
    /// Stored under this name instead of `long` (`--net` is `--network`).
    pub same_as: &'static str,
}

/// A flag; refine it with the methods of [`Flag`].
pub const fn flag(long: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag {
        long,
        short: '\0',
        kind,
        help,
        default: "",
        hidden: false,
        same_as: "",
    }
}

/// A switch.
pub const fn switch(long: &'static str, help: &'static str) -> Flag {
    flag(long, Kind::Bool, help)
}

/// A text value.
pub const fn text(long: &'static str, help: &'static str) -> Flag {
    flag(long, Kind::Text, help)
}

/// A list value.
pub const fn list(long: &'static str, help: &'static str) -> Flag {
    flag(long, Kind::List, help)
}

impl Flag {
    /// With a one-letter name.
    pub const fn short(mut self, short: char) -> Flag {
        self.short = short;
        self
    }

    /// With a default.
    pub const fn default(mut self, default: &'static str) -> Flag {
        self.default = default;
        self
    }

    /// Not shown in the help.
    pub const fn hidden(mut self) -> Flag {
        self.hidden = true;
        self
    }

    /// Another spelling of flag `long`.
    pub const fn same_as(mut self, long: &'static str) -> Flag {
        self.same_as = long;
        self.hidden = true;
        self
    }

    /// The word for its value in the help; empty for a switch.
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Bool => "",
            Kind::Text => "string",
            Kind::Int => "int",
            Kind::Uint(16) => "uint16",
            Kind::Uint(_) => "uint",
            Kind::Duration => "duration",
            Kind::Bytes | Kind::Swap => "bytes",
            Kind::Decimal => "decimal",
            Kind::List => "list",
            Kind::Checked(name, _) => name,
        }
    }

    fn key(&self) -> &'static str {
        if self.same_as.is_empty() {
            self.long
        } else {
            self.same_as
        }
    }

    fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List | Kind::Checked(..))
    }

    fn check(&self, value: &str) -> Result<String, String> {
        match self.kind {
            Kind::Bool => parse_bool(value).map(|on| on.to_string()),
            Kind::Int => parse_int(value).map(|n| n.to_string()),
            Kind::Uint(bits) => parse_uint(value, bits).map(|n| n.to_string()),
            Kind::Duration => units::parse_duration(value).map(|n| n.to_string()),
            Kind::Bytes => wharf_go::ram_in_bytes(value).map(|n| n.to_string()),
            Kind::Swap if value == "-1" => Ok(value.to_owned()),
            Kind::Swap => wharf_go::ram_in_bytes(value).map(|n| n.to_string()),
            Kind::Decimal => parse_float(value).map(|n| n.to_string()),
            Kind::Text | Kind::List => Ok(value.to_owned()),
            Kind::Checked(_, check) => check(value),
        }
    }
}

/// What a command line says: flag values by long name, and the words that are no flags.
#[derive(Debug, Default)]
pub struct Matches {
    values: HashMap<&'static str, Vec<String>>,
    defaults: HashMap<&'static str, &'static str>,
    /// Words that are no flags, in order.
    pub args: Vec<String>,
    /// `--help` was there.
    pub help: bool,
}

impl Matches {
    /// Parses `words` by the tables. With `interspersed` false, the first word that is no flag ends the flags.
    pub fn parse(
        tables: &[&'static [Flag]],
        words: &[String],
        interspersed: bool,
    ) -> Result<Matches, String> {
        let mut matches = Matches::default();
        for flag in tables
            .iter()
            .copied()
            .flatten()
            .filter(|flag| !flag.default.is_empty())
        {
            matches.defaults.insert(flag.long, flag.default);
        }
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                matches.args.extend(words.by_ref().cloned());
            } else if let Some(long) = word.strip_prefix("--") {
                matches.long(tables, long, &mut words)?;
            } else if word.len() > 1 && word.starts_with('-') {
                matches.short(tables, &word[1..], &mut words)?;
            } else {
                matches.args.push(word.clone());
                if !interspersed {
                    matches.args.extend(words.by_ref().cloned());
                }
            }
            if matches.help {
                break;
            }
        }
        Ok(matches)
    }

    fn long<'a>(
        &mut self,
        tables: &[&'static [Flag]],
        word: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), String> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(format!("bad flag syntax: --{word}"));
        }
        let Some(flag) = tables
            .iter()
            .copied()
            .flatten()
            .find(|flag| flag.long == name)
        else {
            if name == "help" {
                self.help = true;
                return Ok(());
            }
            return Err(format!("unknown flag: --{name}"));
        };
        match (value, flag.kind) {
            (Some(value), _) => self.set(flag, value),
            (None, Kind::Bool) => self.set(flag, "true"),
            (None, _) => match rest.next() {
                Some(value) => self.set(flag, value),
                None => Err(format!("flag needs an argument: --{name}")),
            },
        }
    }

    fn short<'a>(
        &mut self,
        tables: &[&'static [Flag]],
        cluster: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), String> {
        let mut letters = cluster.chars();
        loop {
            // Errors quote what is left of the cluster, as Docker's parser does.
            let left = letters.as_str();
            let Some(letter) = letters.next() else {
                return Ok(());
            };
            let found = tables
                .iter()
                .copied()
                .flatten()
                .find(|flag| flag.short == letter);
            let Some(flag) = found else {
                if letter == 'h' {
                    self.help = true;
                    return Ok(());
                }
                return Err(format!("unknown shorthand flag: '{letter}' in -{left}"));
            };
            let attached = letters.as_str();
            match (flag.kind, attached.strip_prefix('=')) {
                (_, Some(value)) => return self.set(flag, value),
                (Kind::Bool, None) => self.set(flag, "true")?,
                (_, None) if !attached.is_empty() => return self.set(flag, attached),
                (_, None) => {
                    return match rest.next() {
                        Some(value) => self.set(flag, value),
                        None => Err(format!("flag needs an argument: '{letter}' in -{left}")),
                    };
                }
            }
        }
    }

    fn set(&mut self, flag: &Flag, value: &str) -> Result<(), String> {
        let checked = flag.check(value).map_err(|reason| {
            let short = match flag.short {
                '\0' => String::new(),
                letter => format!("-{letter}, "),
            };
            format!(
                "invalid argument {value:?} for \"{short}--{}\" flag: {reason}",
                flag.long
            )
        })?;
        let values = self.values.entry(flag.key()).or_default();
        if !flag.is_list() {
            values.clear();
        }
        values.push(checked);
        Ok(())
    }

    /// Whether the flag was written.
    pub fn given(&self, long: &str) -> bool {
        self.values.contains_key(long)
    }

    /// The value of a flag, or its default (`""` where there is none).
    pub fn text(&self, long: &str) -> &str {
        let written = self.values.get(long).and_then(|values| values.last());
        written
            .map(String::as_str)
            .or_else(|| self.defaults.get(long).copied())
            .unwrap_or_default()
    }

    /// The value of a flag that was written with some text.
    pub fn maybe(&self, long: &str) -> Option<&str> {
        Some(self.text(long)).filter(|value| !value.is_empty())
    }

    /// A switch.
    pub fn on(&self, long: &str) -> bool {
        self.text(long) == "true"
    }

    /// A number of any kind; 0 when absent. Checked while parsing.
    pub fn int(&self, long: &str) -> i64 {
        self.text(long).parse().unwrap_or_default()
    }

    /// All values of a list.
    pub fn list(&self, long: &str) -> &[String] {
        self.values.get(long).map(Vec::as_slice).unwrap_or_default()
    }
}
