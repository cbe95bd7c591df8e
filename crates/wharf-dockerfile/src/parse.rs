//! One logical line to one instruction.

use crate::error::{Fault, Mistake};
use crate::flags::Flags;
use crate::heredoc::{self, Heredoc};
use crate::lines::Line;
use crate::stages::From;
use crate::{
    Add, Arg, CommandLine, Copy, HealthTest, Healthcheck, Instruction, MountFlag, Reset, Run,
    Setting, Source, json, quoted, suggest, words,
};

/// A line of a Dockerfile: a stage's begin, or something in it.
pub(crate) enum Parsed {
    From(From),
    Instruction(Instruction),
}

/// Reads one line; BuildKit's words if it cannot be.
pub(crate) fn parse(line: &Line, escape: char) -> Result<Parsed, Fault> {
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
) -> Result<Instruction, Fault> {
    let (mut flags, rest) = Flags::take(rest, escape);
    let parsed = match name {
        "ADD" => Instruction::Add(add(&mut flags, rest, heredocs)?),
        "ARG" => Instruction::Arg(args(rest, escape)?),
        "CMD" => Instruction::Cmd(command(rest)?),
        "COPY" => Instruction::Copy(copy(&mut flags, rest, heredocs)?),
        "ENTRYPOINT" => Instruction::Entrypoint(command(rest)?),
        "ENV" => Instruction::Env(pairs(name, rest, escape)?),
        "EXPOSE" => Instruction::Expose(at_least_one(name, blank_separated(rest))?),
        "HEALTHCHECK" => Instruction::Healthcheck(healthcheck(&mut flags, rest)?),
        "LABEL" => Instruction::Label(pairs(name, rest, escape)?),
        "MAINTAINER" => Instruction::Maintainer(exactly_one(name, rest)?),
        "ONBUILD" => return onbuild(rest, heredocs, escape),
        "RESET" => Instruction::Reset(reset(rest, escape)?),
        "RUN" => Instruction::Run(run(&mut flags, rest, heredocs)?),
        "SHELL" => Instruction::Shell(shell(rest)?),
        "STOPSIGNAL" => Instruction::StopSignal(exactly_one(name, rest)?),
        "USER" => Instruction::User(exactly_one(name, rest)?),
        "VOLUME" => Instruction::Volume(volume(rest)?),
        "WORKDIR" => Instruction::Workdir(exactly_one(name, rest)?),
        _ => return Err(unknown(name, keyword).into()),
    };
    flags.end()?;
    Ok(parsed)
}

/// The instructions of BuildKit's language, and ours behind them: of two that are as near, theirs was meant.
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
    "RESET",
];

/// BuildKit's words for a typing mistake, with what was probably meant.
fn unknown(name: &str, keyword: &str) -> String {
    let hint = suggest::nearest(name, INSTRUCTIONS).map(|meant| match keyword == name {
        true => suggest::question(meant),
        false => suggest::question(&meant.to_ascii_lowercase()),
    });
    format!("unknown instruction: {keyword}{}", hint.unwrap_or_default())
}

fn from(rest: &str, escape: char) -> Result<From, Fault> {
    let (mut flags, rest) = Flags::take(rest, escape);
    let words = blank_separated(rest);
    let (base, name) = match &words[..] {
        [base] => (base, None),
        [base, r#as, name] if r#as.eq_ignore_ascii_case("as") => (base, Some(name)),
        _ => return Err("FROM requires either one or three arguments".into()),
    };
    let name = name.map(|name| stage_name(name)).transpose()?;
    let platform = flags.some("platform")?;
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
            "invalid name for build stage: {}, name can't start with a number or contain symbols",
            quoted(name)
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

fn command(rest: &str) -> Result<CommandLine, Fault> {
    Ok(match json::array(rest)? {
        Some(words) => CommandLine::Exec(words),
        None => CommandLine::Shell(rest.to_owned()),
    })
}

fn copy(flags: &mut Flags, rest: &str, heredocs: &[Heredoc]) -> Result<Copy, Fault> {
    let copy = Copy {
        from: flags.some("from")?,
        parents: flags.switch("parents")?,
        ..Copy::default()
    };
    common_copy("COPY", copy, flags, rest, heredocs)
}

fn add(flags: &mut Flags, rest: &str, heredocs: &[Heredoc]) -> Result<Add, Fault> {
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
) -> Result<Copy, Fault> {
    let mut words = json::array(rest)?.unwrap_or_else(|| blank_separated(rest));
    let Some(target) = words.pop().filter(|_| !words.is_empty()) else {
        return Err(format!(
            "{name} requires at least two arguments, but only one was provided. Destination could not be determined"
        )
        .into());
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
        chown: flags.some("chown")?,
        chmod: flags.some("chmod")?,
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
fn pairs(name: &str, rest: &str, escape: char) -> Result<Vec<(String, String)>, Fault> {
    let words = at_least_one(name, words::raw(rest, escape))?;
    if words.first().is_some_and(|word| !word.contains('=')) {
        let (key, value) = rest
            .split_once(char::is_whitespace)
            .ok_or_else(|| Fault::syntax(format!("{name} must have two arguments")))?;
        return Ok(vec![(key.to_owned(), value.trim_start().to_owned())]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some(("", _)) => Err(format!("{name} names can not be blank").into()),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(Fault::syntax(format!(
            "Syntax error - can't find = in {}. Must be of the form: name=value",
            quoted(&word)
        ))),
    };
    words.into_iter().map(pair).collect()
}

/// `RESET ENV NAME...`, or all that there is: `RESET ENV`.
fn reset(rest: &str, escape: char) -> Result<Reset, Fault> {
    let (keyword, rest) = split_keyword(rest);
    if keyword.is_empty() {
        return Err("RESET requires at least one argument".into());
    }
    let name = keyword.to_ascii_uppercase();
    let known = Setting::ALL.iter().find(|(known, _)| *known == name);
    let Some((_, setting)) = known else {
        let names: Vec<&str> = Setting::ALL.iter().map(|(name, _)| *name).collect();
        let hint = suggest::nearest(&name, &names).map(suggest::question);
        let hint = hint.unwrap_or_default();
        return Err(format!("RESET knows no setting {keyword}{hint}").into());
    };
    let names = json::array(rest)?.unwrap_or_else(|| words::raw(rest, escape));
    match names.is_empty() || setting.has_names() {
        true => Ok(Reset {
            setting: *setting,
            names,
        }),
        false => Err(format!("RESET {name} takes no arguments").into()),
    }
}

fn healthcheck(flags: &mut Flags, rest: &str) -> Result<Healthcheck, Fault> {
    let (kind, rest) = split_keyword(rest);
    if kind.is_empty() {
        return Err("HEALTHCHECK requires at least one argument".into());
    }
    let test = match kind.to_ascii_uppercase().as_str() {
        "NONE" if rest.is_empty() => HealthTest::None,
        "NONE" => return Err("HEALTHCHECK NONE takes no arguments".into()),
        "CMD" => match command(rest)? {
            CommandLine::Shell(text) if text.is_empty() => {
                return Err("Missing command after HEALTHCHECK CMD".into());
            }
            CommandLine::Exec(words) if words.is_empty() => {
                return Err("Missing command after HEALTHCHECK CMD".into());
            }
            command => HealthTest::Command(command),
        },
        other => {
            return Err(format!("Unknown type {} in HEALTHCHECK (try CMD)", quoted(other)).into());
        }
    };
    let mut duration = |name: &'static str| -> Result<Option<i64>, String> {
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
            "strconv.ParseInt: parsing {}: invalid syntax",
            quoted(&text)
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
    let nanos = duration(text).ok_or_else(|| format!("time: invalid duration {}", quoted(text)))?;
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
    let (mut rest, sign) = match text.strip_prefix('-') {
        Some(rest) => (rest, -1.0),
        None => (text.strip_prefix('+').unwrap_or(text), 1.0),
    };
    let is_some = !rest.is_empty();
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
    is_some.then_some((sign * total) as i64)
}

fn onbuild(rest: &str, heredocs: &[Heredoc], escape: char) -> Result<Instruction, Fault> {
    if rest.is_empty() {
        return Err("ONBUILD requires at least one argument".into());
    }
    let (trigger, arguments) = split_keyword(rest);
    let name = trigger.to_ascii_uppercase();
    match name.as_str() {
        "ONBUILD" => {
            return Err("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".into());
        }
        "MAINTAINER" | "FROM" => {
            return Err(format!("{name} isn't allowed as an ONBUILD trigger").into());
        }
        _ => {}
    }
    // Whether its instruction is one, only the build shows that has the image as its base.
    match instruction(&name, trigger, arguments, heredocs, escape) {
        Err(fault) if fault.mistake == Mistake::Syntax => return Err(fault),
        _ => {}
    }
    let mut text = rest.to_owned();
    for document in heredocs {
        text.push('\n');
        text.push_str(&document.content);
        text.push_str(&document.name);
    }
    Ok(Instruction::Onbuild(text))
}

fn run(flags: &mut Flags, rest: &str, heredocs: &[Heredoc]) -> Result<Run, Fault> {
    let mounts = flags.values("mount")?;
    Ok(Run {
        command: command(rest)?,
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

fn shell(rest: &str) -> Result<Vec<String>, Fault> {
    match json::array(rest)? {
        Some(words) if words.is_empty() => Err("SHELL requires at least one argument".into()),
        Some(words) => Ok(words),
        None if rest.is_empty() => Err("SHELL requires at least one argument".into()),
        None => Err("SHELL requires the arguments to be in JSON form".into()),
    }
}

fn volume(rest: &str) -> Result<Vec<String>, Fault> {
    let words = json::array(rest)?.unwrap_or_else(|| blank_separated(rest));
    let words = at_least_one("VOLUME", words)?;
    match words.iter().any(|word| word.trim().is_empty()) {
        true => Err("VOLUME specified can not be an empty string".into()),
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
        assert_eq!(duration("-1s"), Some(-1_000_000_000));
        assert_eq!([duration(""), duration("5"), duration("s")], [None; 3]);
        assert_eq!(duration("-"), None);
    }
}
