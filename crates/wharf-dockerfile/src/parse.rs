//! One logical line to one instruction.

use crate::flags::Flags;
use crate::heredoc::{self, Heredoc};
use crate::lines::Line;
use crate::stages::From;
use crate::{
    Add, Arg, CommandLine, Copy, HealthTest, Healthcheck, Instruction, MountFlag, Run, Source,
    json, words,
};

/// A line of a Dockerfile: a stage's begin, or something in it.
pub(crate) enum Parsed {
    From(From),
    Instruction(Instruction),
}

/// Reads one line; BuildKit's message if it cannot be.
pub(crate) fn parse(line: &Line, escape: char) -> Result<Parsed, String> {
    let (keyword, rest) = split_keyword(&line.text);
    let name = keyword.to_ascii_uppercase();
    if name == "FROM" {
        return from(rest, escape).map(Parsed::From);
    }
    instruction(&name, keyword, rest, &line.heredocs, escape).map(Parsed::Instruction)
}

fn split_keyword(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((keyword, rest)) => (keyword, rest.trim()),
        None => (text, ""),
    }
}

fn instruction(
    name: &str,
    keyword: &str,
    rest: &str,
    heredocs: &[Heredoc],
    escape: char,
) -> Result<Instruction, String> {
    let (mut flags, rest) = Flags::take(rest, escape);
    let parsed = match name {
        "ADD" => Instruction::Add(add(&mut flags, rest, heredocs)?),
        "ARG" => Instruction::Arg(args(rest, escape)?),
        "CMD" => Instruction::Cmd(command(rest)),
        "COPY" => Instruction::Copy(copy(&mut flags, rest, heredocs)?),
        "ENTRYPOINT" => Instruction::Entrypoint(some(name, command(rest))?),
        "ENV" => Instruction::Env(pairs(name, rest, escape)?),
        "EXPOSE" => Instruction::Expose(at_least_one(name, blank_separated(rest))?),
        "HEALTHCHECK" => Instruction::Healthcheck(healthcheck(&mut flags, rest)?),
        "LABEL" => Instruction::Label(pairs(name, rest, escape)?),
        "MAINTAINER" => Instruction::Maintainer(exactly_one(name, rest)?),
        "ONBUILD" => return onbuild(keyword, rest, heredocs, escape),
        "RUN" => Instruction::Run(run(&mut flags, rest, heredocs)?),
        "SHELL" => Instruction::Shell(shell(rest)?),
        "STOPSIGNAL" => Instruction::StopSignal(exactly_one(name, rest)?),
        "USER" => Instruction::User(exactly_one(name, rest)?),
        "VOLUME" => Instruction::Volume(volume(rest)?),
        "WORKDIR" => Instruction::Workdir(exactly_one(name, rest)?),
        _ => return Err(unknown(name, keyword)),
    };
    flags.end()?;
    Ok(parsed)
}

/// The instructions of BuildKit's language.
const INSTRUCTIONS: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// BuildKit's words for a typing mistake, with what was probably meant (its `util/suggest`).
fn unknown(name: &str, keyword: &str) -> String {
    let near = INSTRUCTIONS
        .iter()
        .map(|one| (distance(name, one), one))
        .filter(|(distance, _)| *distance <= 2)
        .min_by_key(|(distance, _)| *distance);
    let Some((_, meant)) = near else {
        return format!("unknown instruction: {keyword}");
    };
    let meant = match keyword == name {
        true => (*meant).to_owned(),
        false => meant.to_ascii_lowercase(),
    };
    format!("unknown instruction: {keyword} (did you mean {meant}?)")
}

/// How many letters have to be put in, taken out or replaced (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let replaced = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(corner + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

fn from(rest: &str, escape: char) -> Result<From, String> {
    let (mut flags, rest) = Flags::take(rest, escape);
    let words = blank_separated(rest);
    let (base, name) = match &words[..] {
        [base] => (base, None),
        [base, r#as, name] if r#as.eq_ignore_ascii_case("as") => (base, Some(name)),
        _ => return Err("FROM requires either one or three arguments".to_owned()),
    };
    let name = name.map(|name| stage_name(name)).transpose()?;
    let platform = flags.value("platform")?;
    flags.end()?;
    Ok(From {
        base: base.clone(),
        name,
        platform,
    })
}

fn stage_name(name: &str) -> Result<String, String> {
    let lower = name.to_ascii_lowercase();
    let mut letters = lower.chars();
    let good = letters.next().is_some_and(|c| c.is_ascii_lowercase())
        && letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
    match good {
        true => Ok(lower),
        false => Err(format!(
            "invalid name for build stage: {name:?}, name can't start with a number or contain symbols"
        )),
    }
}

fn blank_separated(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

fn at_least_one(name: &str, words: Vec<String>) -> Result<Vec<String>, String> {
    match words.is_empty() {
        true => Err(format!("{name} requires at least one argument")),
        false => Ok(words),
    }
}

fn exactly_one(name: &str, rest: &str) -> Result<String, String> {
    match rest.is_empty() {
        true => Err(format!("{name} requires exactly one argument")),
        false => Ok(rest.to_owned()),
    }
}

fn command(rest: &str) -> CommandLine {
    match json::array(rest) {
        Some(words) => CommandLine::Exec(words),
        None => CommandLine::Shell(rest.to_owned()),
    }
}

fn some(name: &str, command: CommandLine) -> Result<CommandLine, String> {
    match &command {
        CommandLine::Shell(text) if text.is_empty() => {
            Err(format!("{name} requires at least one argument"))
        }
        _ => Ok(command),
    }
}

fn copy(flags: &mut Flags, rest: &str, heredocs: &[Heredoc]) -> Result<Copy, String> {
    let copy = Copy {
        from: flags.value("from")?,
        parents: flags.switch("parents")?,
        ..Copy::default()
    };
    common_copy("COPY", copy, flags, rest, heredocs)
}

fn add(flags: &mut Flags, rest: &str, heredocs: &[Heredoc]) -> Result<Add, String> {
    let checksum = flags.value("checksum")?;
    let keep_git_dir = flags.switch("keep-git-dir")?;
    let unpack = match flags.value("unpack") {
        Ok(None) => None,
        Ok(Some(value)) => Some(value == "true"),
        Err(_) => Some(true),
    };
    Ok(Add {
        copy: common_copy("ADD", Copy::default(), flags, rest, heredocs)?,
        checksum,
        keep_git_dir,
        unpack,
    })
}

fn common_copy(
    name: &str,
    copy: Copy,
    flags: &mut Flags,
    rest: &str,
    heredocs: &[Heredoc],
) -> Result<Copy, String> {
    let mut words = json::array(rest).unwrap_or_else(|| blank_separated(rest));
    let target = match words.len() {
        0 => return Err(format!("{name} requires at least one argument")),
        1 => {
            return Err(format!(
                "{name} requires at least two arguments, but only one was provided. Destination could not be determined."
            ));
        }
        _ => words.pop().unwrap_or_default(),
    };
    let mut inline = heredocs.iter();
    let sources = words.into_iter().map(|word| match heredoc::parse(&word) {
        Some(_) => inline
            .next()
            .cloned()
            .map_or(Source::Path(word), Source::Inline),
        None => Source::Path(word),
    });
    Ok(Copy {
        sources: sources.collect(),
        target,
        chown: flags.value("chown")?,
        chmod: flags.value("chmod")?,
        link: flags.switch("link")?,
        exclude: flags.values("exclude")?,
        ..copy
    })
}

fn args(rest: &str, escape: char) -> Result<Vec<Arg>, String> {
    let words = at_least_one("ARG", words::raw(rest, escape))?;
    let arg = |word: String| {
        let (name, default) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        match name.is_empty() {
            true => Err("ARG names can not be blank".to_owned()),
            false => Ok(Arg { name, default }),
        }
    };
    words.into_iter().map(arg).collect()
}

/// `name=value ...`, or the old `name value`.
fn pairs(name: &str, rest: &str, escape: char) -> Result<Vec<(String, String)>, String> {
    let words = at_least_one(name, words::raw(rest, escape))?;
    if words.first().is_some_and(|word| !word.contains('=')) {
        let (key, value) = rest
            .split_once(char::is_whitespace)
            .ok_or_else(|| format!("{name} must have two arguments"))?;
        return Ok(vec![(key.to_owned(), value.trim_start().to_owned())]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some(("", _)) => Err(format!("{name} names can not be blank")),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(format!(
            "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
        )),
    };
    words.into_iter().map(pair).collect()
}

fn healthcheck(flags: &mut Flags, rest: &str) -> Result<Healthcheck, String> {
    let (kind, rest) = split_keyword(rest);
    if kind.is_empty() {
        return Err("HEALTHCHECK requires at least one argument".to_owned());
    }
    let test = match kind.to_ascii_uppercase().as_str() {
        "NONE" if rest.is_empty() => HealthTest::None,
        "NONE" => return Err("HEALTHCHECK NONE takes no arguments".to_owned()),
        "CMD" => match command(rest) {
            CommandLine::Shell(text) if text.is_empty() => {
                return Err("missing command after HEALTHCHECK CMD".to_owned());
            }
            CommandLine::Exec(words) if words.is_empty() => {
                return Err("missing command after HEALTHCHECK CMD".to_owned());
            }
            command => HealthTest::Command(command),
        },
        other => {
            return Err(format!("unknown type {other:?} in HEALTHCHECK (try CMD)"));
        }
    };
    let mut duration = |name: &str| -> Result<Option<i64>, String> {
        flags
            .value(name)?
            .map(|text| interval(name, &text))
            .transpose()
    };
    let (interval, timeout) = (duration("interval")?, duration("timeout")?);
    let (start_period, start_interval) = (duration("start-period")?, duration("start-interval")?);
    let retries = flags.value("retries")?;
    let retries = retries.map(|text| match text.parse::<i64>() {
        Ok(count) if count >= 0 => Ok(count),
        Ok(count) => Err(format!("--retries cannot be negative ({count})")),
        Err(_) => Err(format!(
            "strconv.ParseInt: parsing {text:?}: invalid syntax"
        )),
    });
    Ok(Healthcheck {
        test,
        interval,
        timeout,
        start_period,
        start_interval,
        retries: retries.transpose()?,
    })
}

fn interval(name: &str, text: &str) -> Result<i64, String> {
    let nanos = duration(text).ok_or_else(|| format!("time: invalid duration {text:?}"))?;
    match nanos {
        0 => Ok(0),
        1_000_000.. => Ok(nanos),
        _ => Err(format!("Interval {name:?} cannot be less than 1ms")),
    }
}

/// Go's `time.ParseDuration`; nanoseconds.
fn duration(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total = 0f64;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .filter(|end| *end > 0)?;
        let (number, after) = rest.split_at(digits);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let scale = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        rest = next;
    }
    (!text.is_empty()).then_some(total as i64)
}

fn onbuild(
    keyword: &str,
    rest: &str,
    heredocs: &[Heredoc],
    escape: char,
) -> Result<Instruction, String> {
    if rest.is_empty() {
        return Err("ONBUILD requires at least one argument".to_owned());
    }
    let (trigger, arguments) = split_keyword(rest);
    match trigger.to_ascii_uppercase().as_str() {
        "ONBUILD" => {
            return Err("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned());
        }
        name @ ("MAINTAINER" | "FROM") => {
            return Err(format!("{name} isn't allowed as an ONBUILD trigger"));
        }
        name => instruction(name, keyword, arguments, heredocs, escape)
            .map_err(|error| error.replace(&format!(": {keyword}"), &format!(": {trigger}")))?,
    };
    let mut text = rest.to_owned();
    for document in heredocs {
        text.push('\n');
        text.push_str(&document.content);
        text.push_str(&document.name);
    }
    Ok(Instruction::Onbuild(text))
}

fn run(flags: &mut Flags, rest: &str, heredocs: &[Heredoc]) -> Result<Run, String> {
    let mounts = flags.values("mount")?;
    Ok(Run {
        command: some("RUN", command(rest))?,
        heredocs: heredocs.to_vec(),
        mounts: mounts.iter().map(|text| mount(text)).collect(),
        network: flags.value("network")?,
        security: flags.value("security")?,
    })
}

fn mount(text: &str) -> MountFlag {
    let field = |field: &str| match field.split_once('=') {
        Some((key, value)) => (key.trim().to_ascii_lowercase(), Some(value.to_owned())),
        None => (field.trim().to_ascii_lowercase(), None),
    };
    MountFlag {
        fields: text.split(',').map(field).collect(),
    }
}

fn shell(rest: &str) -> Result<Vec<String>, String> {
    match json::array(rest) {
        Some(words) if words.is_empty() => Err("SHELL requires at least one argument".to_owned()),
        Some(words) => Ok(words),
        None => Err("SHELL requires the arguments to be in JSON form".to_owned()),
    }
}

fn volume(rest: &str) -> Result<Vec<String>, String> {
    let words = json::array(rest).unwrap_or_else(|| blank_separated(rest));
    let words = at_least_one("VOLUME", words)?;
    match words.iter().any(|word| word.trim().is_empty()) {
        true => Err("VOLUME specified can not be an empty string".to_owned()),
        false => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_go_durations() {
        assert_eq!(duration("1m30s"), Some(90_000_000_000));
        assert_eq!(duration("1.5s"), Some(1_500_000_000));
        assert_eq!(duration("0"), Some(0));
        assert_eq!([duration(""), duration("5"), duration("s")], [None; 3]);
    }
}
