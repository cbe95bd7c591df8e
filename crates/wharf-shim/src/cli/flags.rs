//! The words of the command line, sorted as Go's `flag` package and `urfave/cli` sort them: `-name`, `--name`,
//! `--name=value`; a single letter is a short name; `--` ends them. Behind a word that is no flag only what the command
//! knows is one: `kill ID -9` has a signal.

/// What follows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing: it is a switch.
    Nothing,
    /// A value; said twice, the last counts.
    Value,
    /// A value each time.
    Many,
    /// A whole number.
    Number,
    /// A whole number each time.
    Numbers,
    /// A span of time, as Go writes it.
    Span,
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
#[derive(Clone, Debug, Default)]
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
            let behind = !said.words.is_empty();
            if !word.starts_with('-')
                || word == "-"
                || behind && find(flags, name_of(&word)).is_none()
            {
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
        let name = name_of(word);
        let given = word.split_once('=').map(|(_, value)| value.to_owned());
        let Some((long, _, takes, _)) = find(flags, name) else {
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
        takes.check(name, &value)?;
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

    /// A path; an empty one is none, as in Go.
    pub(crate) fn path(&self, flag: &str) -> Option<&str> {
        self.value(flag).filter(|path| !path.is_empty())
    }

    /// Each value of a flag.
    pub(crate) fn all<'a>(&'a self, flag: &str) -> impl Iterator<Item = &'a str> {
        let said = self.flags.iter().filter(move |(name, _)| *name == flag);
        said.map(|(_, value)| value.as_str())
    }

    /// With a path that stays the same when the folder is left, as Go cleans it.
    pub(crate) fn with_absolute(&self, flag: &str) -> Self {
        let mut said = self.clone();
        let named = said.flags.iter_mut().filter(|(name, _)| *name == flag);
        for (_, path) in named.filter(|(_, path)| !path.is_empty()) {
            if let Ok(absolute) = std::path::absolute(&*path) {
                *path = wharf_go::path::clean(&absolute.to_string_lossy());
            }
        }
        said
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

/// What a word that begins with a dash names.
fn name_of(word: &str) -> &str {
    let bare = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
    let bare = bare.unwrap_or(word);
    bare.split_once('=').map_or(bare, |(name, _)| name)
}

/// Every command has it.
const HELP: Flag = ("help", "h", Takes::Nothing, "show help");

fn find<'a>(flags: &'a [Flag], name: &str) -> Option<&'a Flag> {
    let known = |flag: &&Flag| flag.0 == name || !flag.1.is_empty() && flag.1 == name;
    flags
        .iter()
        .find(known)
        .or_else(|| Some(&HELP).filter(known))
}

impl Takes {
    /// As Go's `flag` says it.
    fn check(self, name: &str, value: &str) -> Result<(), String> {
        let (good, why) = match self {
            Self::Nothing | Self::Value | Self::Many => return Ok(()),
            Self::Number => (value.parse::<i64>().is_ok(), "parse error".to_owned()),
            Self::Numbers => (
                value.parse::<i64>().is_ok(),
                format!("strconv.ParseInt: parsing \"{value}\": invalid syntax"),
            ),
            Self::Span => (span(value).is_some(), "parse error".to_owned()),
        };
        match good {
            true => Ok(()),
            false => Err(format!("invalid value \"{value}\" for flag -{name}: {why}")),
        }
    }
}

/// Go's durations in seconds: `100ms`, `1m30s`, `-1.5h`.
pub(super) fn span(text: &str) -> Option<f64> {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some(0.0);
    }
    let mut total = 0.0;
    while !rest.is_empty() || total == 0.0 && text.len() < 2 {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
        let (number, after) = rest.split_at(digits?);
        let end = after.find(|letter: char| letter.is_ascii_digit() || letter == '.');
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * seconds;
        rest = after;
    }
    Some(if text.starts_with('-') { -total } else { total })
}

fn truth(name: &str, value: &str) -> Result<bool, String> {
    wharf_go::parse_bool(value)
        .map_err(|_| format!("invalid boolean value \"{value}\" for -{name}: parse error"))
}

impl Command {
    /// Whether there are as many words as the command wants, besides flags.
    pub(crate) fn count(&self, said: &Said) -> Result<(), String> {
        let count = said.words.len();
        let (least, most) = self.words;
        let wanted = match most {
            Some(most) if most == least && count != least => {
                format!("requires exactly {least} argument(s)")
            }
            _ if count < least => format!("requires a minimum of {least} argument(s)"),
            Some(most) if count > most => format!("requires a maximum of {most} argument(s)"),
            _ => return Ok(()),
        };
        let program = std::env::args_os().next().unwrap_or_default();
        let program = program.to_string_lossy();
        Err(format!("{program}: \"{}\" {wanted}", self.name))
    }

    /// What `--help` says.
    pub(crate) fn help(&self) -> String {
        let program = super::program();
        let mut text = format!(
            "NAME:\n   {program} {} - {}\n\nUSAGE:\n   {program} {} {}\n",
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
        let said = parse(false, &["id", "-9", "-t"]).expect("parsed");
        assert!(said.has("tty") && said.words == ["id", "-9"]);
        let said = parse(false, &["id", "-t=false", "--bundle", "b", "-b", "c"]).expect("parsed");
        assert!(!said.has("tty"));
        assert_eq!((said.value("bundle"), said.id()), (Some("c"), Ok("id")));
    }

    #[test]
    fn spans_of_time() {
        for (text, seconds) in [("100ms", 0.1), ("1m1.5s", 61.5), ("0", 0.0), ("-1s", -1.0)] {
            assert_eq!(span(text), Some(seconds), "{text}");
        }
        for bad in ["", "5", "s", "1y", "-", "1s2"] {
            assert_eq!(span(bad), None, "{bad}");
        }
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
