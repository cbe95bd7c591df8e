//! The words of the command line, sorted as Go's `flag` package and `urfave/cli` sort them: `-name`, `--name`,
//! `--name=value`; a single letter is a short name; `--` ends them.

/// What follows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing: it is a switch.
    Nothing,
    /// A value; said twice, the last counts.
    Value,
    /// A value each time.
    Many,
}

/// A flag: long name, short name or empty, what it takes, and what it is for.
pub(crate) type Flag = (&'static str, &'static str, Takes, &'static str);

/// A command and its flags.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) usage: &'static str,
    /// Fewest and most words besides flags.
    pub(crate) words: (usize, Option<usize>),
    pub(crate) flags: &'static [Flag],
    /// The first word that is no flag ends the flags: what follows is another program's.
    pub(crate) stops: bool,
}

/// What was said.
#[derive(Debug, Default)]
pub(crate) struct Said {
    flags: Vec<(&'static str, String)>,
    /// What is no flag.
    pub(crate) words: Vec<String>,
}

impl Said {
    /// Sorts `words` by the flags that there are.
    pub(crate) fn parse(
        flags: &[Flag],
        stops: bool,
        words: &mut dyn Iterator<Item = String>,
    ) -> Result<Self, String> {
        let mut said = Self::default();
        while let Some(word) = words.next() {
            if word == "--" {
                said.words.extend(words);
                break;
            }
            if !word.starts_with('-') || word == "-" {
                said.words.push(word);
                if stops {
                    said.words.extend(words);
                    break;
                }
                continue;
            }
            said.take(flags, &word, words)?;
        }
        Ok(said)
    }

    fn take(
        &mut self,
        flags: &[Flag],
        word: &str,
        words: &mut dyn Iterator<Item = String>,
    ) -> Result<(), String> {
        let bare = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
        let (name, given) = match bare.unwrap_or(word).split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (bare.unwrap_or(word), None),
        };
        let known = flags
            .iter()
            .find(|flag| flag.0 == name || !flag.1.is_empty() && flag.1 == name);
        let Some((long, _, takes, _)) = known else {
            return Err(format!("flag provided but not defined: -{name}"));
        };
        let value = match (takes, given) {
            (Takes::Nothing, None) => "true".to_owned(),
            (Takes::Nothing, Some(value)) => truth(name, &value)?.to_string(),
            (_, Some(value)) => value,
            (_, None) => words
                .next()
                .ok_or_else(|| format!("flag needs an argument: -{name}"))?,
        };
        self.flags.push((long, value));
        Ok(())
    }

    /// Whether a switch is on.
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.value(flag) == Some("true")
    }

    /// A flag's last value.
    pub(crate) fn value(&self, flag: &str) -> Option<&str> {
        self.all(flag).last()
    }

    /// Each value of a flag.
    pub(crate) fn all<'a>(&'a self, flag: &str) -> impl Iterator<Item = &'a str> {
        let said = self.flags.iter().filter(move |(name, _)| *name == flag);
        said.map(|(_, value)| value.as_str())
    }

    /// A flag's value as a number.
    pub(crate) fn number<T: std::str::FromStr>(&self, flag: &str) -> Result<Option<T>, String> {
        let Some(value) = self.value(flag) else {
            return Ok(None);
        };
        let refused = || format!("invalid value \"{value}\" for flag -{flag}: parse error");
        value.parse().map(Some).map_err(|_| refused())
    }

    /// The container's id. It becomes a folder's name.
    pub(crate) fn id(&self) -> Result<&str, String> {
        let id = self.words.first().map_or("", String::as_str);
        if id.is_empty() {
            return Err("container id cannot be empty".to_owned());
        }
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
        if matches!(id, "." | "..") || !id.bytes().all(fine) {
            return Err("invalid container ID format".to_owned());
        }
        Ok(id)
    }
}

fn truth(name: &str, value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!(
            "invalid boolean value \"{value}\" for -{name}: parse error"
        )),
    }
}

impl Command {
    /// Sorts a command's words, and counts those that are no flags.
    pub(crate) fn parse(&self, words: &mut dyn Iterator<Item = String>) -> Result<Said, String> {
        let mut words = words.peekable();
        let said = Said::parse(self.flags, self.stops, &mut words)?;
        let count = said.words.len();
        let (least, most) = self.words;
        let wanted = match most {
            Some(most) if most == least && count != least => {
                format!("requires exactly {least} argument(s)")
            }
            _ if count < least => format!("requires a minimum of {least} argument(s)"),
            Some(most) if count > most => format!("requires a maximum of {most} argument(s)"),
            _ => return Ok(said),
        };
        Err(format!("wharf-shim: \"{}\" {wanted}", self.name))
    }

    /// What `--help` says.
    pub(crate) fn help(&self) -> String {
        let mut text = format!(
            "NAME:\n   wharf-shim {} - {}\n\nUSAGE:\n   wharf-shim {} {}\n",
            self.name, self.about, self.name, self.usage
        );
        if !self.flags.is_empty() {
            text += "\nOPTIONS:\n";
            text += &options(self.flags);
        }
        text
    }
}

/// One line for each flag.
pub(crate) fn options(flags: &[Flag]) -> String {
    let head = |flag: &Flag| {
        let value = if flag.2 == Takes::Nothing {
            ""
        } else {
            " value"
        };
        match flag.1 {
            "" => format!("--{}{value}", flag.0),
            short => format!("--{}{value}, -{short}{value}", flag.0),
        }
    };
    let width = flags.iter().map(|flag| head(flag).len()).max().unwrap_or(0);
    let line = |flag: &Flag| format!("   {:width$}  {}\n", head(flag), flag.3);
    flags.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        ("env", "e", Takes::Many, ""),
        ("tty", "t", Takes::Nothing, ""),
        ("bundle", "b", Takes::Value, ""),
    ];

    fn parse(stops: bool, words: &[&str]) -> Result<Said, String> {
        let mut words = words.iter().map(|word| (*word).to_owned());
        Said::parse(FLAGS, stops, &mut words)
    }

    #[test]
    fn flags_in_all_forms() {
        let said = parse(
            true,
            &["-e", "A=1", "--env=B=2", "-tty", "id", "ls", "-t", "--x"],
        )
        .expect("parsed");
        assert_eq!(said.all("env").collect::<Vec<_>>(), ["A=1", "B=2"]);
        assert!(said.has("tty"));
        assert_eq!(said.words, ["id", "ls", "-t", "--x"]);
        let said = parse(false, &["id", "-t=false", "--bundle", "b", "-b", "c"]).expect("parsed");
        assert!(!said.has("tty"));
        assert_eq!((said.value("bundle"), said.id()), (Some("c"), Ok("id")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |words: &[&str]| parse(false, words).expect_err("refused");
        assert_eq!(error(&["--no"]), "flag provided but not defined: -no");
        assert_eq!(error(&["-b"]), "flag needs an argument: -b");
        assert!(error(&["-t=maybe"]).starts_with("invalid boolean value"));
        for id in ["", ".", "..", "a/b", "a b"] {
            assert!(parse(false, &["--", id]).expect("parsed").id().is_err());
        }
    }
}
