//! Checks of variables: those that are used and never were set.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use wharf_builder::Args;
use wharf_dockerfile::{Copy, Dockerfile, Expander, Instruction, Located, Source};
use wharf_oci::{Platform, Reference};

use super::Finding;

/// Variables that frontends read and nobody sets.
const OF_FRONTENDS: &[&str] = &["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];
/// A name that is further from another is no slip (`util/suggest`).
const NEAR: usize = 3;

/// Variables that an instruction uses, and that its stage does not know.
pub(in crate::frontend) fn undefined(
    located: &Located,
    seen: &BTreeMap<String, String>,
    args: &Args,
    escape: char,
) -> Vec<Finding> {
    let words = words(&located.instruction);
    let missing = missing(&words, escape, |name| {
        seen.contains_key(name) || args.declares(name)
    });
    let found = missing.into_iter().map(|name| {
        let near = nearest(&name, seen.keys());
        let hint = near.map(|near| format!(" (did you mean ${near}?)"));
        Finding {
            rule: "UndefinedVar",
            description: "Variables should be defined before their use",
            text: format!(
                "Usage of undefined variable '${name}'{}",
                hint.unwrap_or_default()
            ),
            span: located.span,
        }
    });
    found.collect()
}

/// What `FROM`s say with arguments that no `ARG` declares, or that mean no image unless they are given.
pub(super) fn bases(file: &Dockerfile, target: &Platform) -> Vec<Finding> {
    let mut args = Args::new(BTreeMap::new(), target);
    let mut declared = BTreeSet::new();
    let expander = Expander::new(file.escape);
    for located in &file.args {
        let Instruction::Arg(list) = &located.instruction else {
            continue;
        };
        for arg in list {
            let seen = args.global();
            let get = |name: &str| seen.get(name).cloned();
            let default = arg.default.as_deref();
            let default = default.and_then(|text| expander.word(text, &get).ok());
            args.declare_global(&arg.name, default);
            declared.insert(arg.name.clone());
        }
    }
    let seen = args.global();
    let known: BTreeSet<String> = seen.keys().cloned().chain(declared).collect();
    let mut found = Vec::new();
    for stage in &file.stages {
        let base = stage.from.base.as_str();
        let words: Vec<&str> = [Some(base), stage.from.platform.as_deref()]
            .into_iter()
            .flatten()
            .collect();
        let missing = missing(&words, file.escape, |name| known.contains(name));
        found.extend(missing.iter().map(|name| {
            let near = nearest(name, known.iter());
            let hint = near.map(|near| format!(" (did you mean {near}?)"));
            Finding {
                rule: "UndefinedArgInFrom",
                description: "FROM command must use declared ARGs",
                text: format!(
                    "FROM argument '{name}' is not declared{}",
                    hint.unwrap_or_default()
                ),
                span: stage.span,
            }
        }));
        let get = |name: &str| seen.get(name).cloned();
        let name = expander.word(base, &get).unwrap_or_default();
        let is_stage = || {
            file.stages
                .iter()
                .any(|one| one.from.name.as_deref() == Some(&name))
        };
        if base.contains('$')
            && missing.is_empty()
            && Reference::parse_normalized(&name).is_err()
            && !is_stage()
        {
            found.push(Finding {
                rule: "InvalidDefaultArgInFrom",
                description: "Default value for global ARG results in an empty or invalid base image name",
                text: format!("Default value for ARG {base} results in empty or invalid base image name"),
                span: stage.span,
            });
        }
    }
    found
}

/// The names in the words that are not known, and that no modifier stands in for.
fn missing(words: &[&str], escape: char, is_known: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut missing = BTreeSet::new();
    for word in words {
        let asked = RefCell::new(BTreeSet::new());
        let get = |name: &str| {
            asked.borrow_mut().insert(name.to_owned());
            None
        };
        // What cannot be expanded is an error of its own.
        let _ = Expander::new(escape).word(word, &get);
        let stands_in = |name: &str| {
            let modified = |mark: char| word.contains(&format!("${{{name}{mark}"));
            [':', '-', '+', '?'].into_iter().any(modified)
        };
        let asked = asked.into_inner().into_iter();
        missing.extend(asked.filter(|name| {
            !is_known(name)
                && !stands_in(name)
                && !OF_FRONTENDS.contains(&name.as_str())
                && !name.starts_with(|letter: char| letter.is_ascii_digit())
        }));
    }
    missing
}

/// The words of an instruction that are expanded.
fn words(instruction: &Instruction) -> Vec<&str> {
    match instruction {
        Instruction::Add(add) => of_copy(&add.copy),
        Instruction::Copy(copy) => of_copy(copy),
        Instruction::Arg(args) => args
            .iter()
            .filter_map(|arg| arg.default.as_deref())
            .collect(),
        Instruction::Env(pairs) | Instruction::Label(pairs) => {
            let pairs = pairs.iter();
            pairs
                .flat_map(|(key, value)| [key.as_str(), value])
                .collect()
        }
        Instruction::Expose(list) | Instruction::Volume(list) => {
            list.iter().map(String::as_str).collect()
        }
        Instruction::Reset(reset) => reset.names.iter().map(String::as_str).collect(),
        Instruction::StopSignal(text) | Instruction::User(text) | Instruction::Workdir(text) => {
            vec![text]
        }
        _ => Vec::new(),
    }
}

fn of_copy(copy: &Copy) -> Vec<&str> {
    let sources = copy.sources.iter().filter_map(|source| match source {
        Source::Path(path) => Some(path.as_str()),
        Source::Inline(_) => None,
    });
    let flags = [&copy.chown, &copy.chmod].into_iter();
    let flags = flags.filter_map(|flag| flag.as_deref());
    sources.chain(flags).chain([copy.target.as_str()]).collect()
}

/// The name that was meant, if one is near.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    let distances = known.map(|other| (wharf_dockerfile::distance(name, other), other.as_str()));
    let near = distances.filter(|(distance, _)| (1..NEAR).contains(distance));
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_line(line: &str) -> Vec<String> {
        let located = &Dockerfile::instructions(line).unwrap()[0];
        let seen = [
            ("PATH".to_owned(), "p".to_owned()),
            ("FOO".to_owned(), "f".to_owned()),
        ];
        let mut args = Args::default();
        args.declare("BARE", None);
        let found = undefined(located, &seen.into(), &args, '\\');
        found.into_iter().map(|one| one.text).collect()
    }

    #[test]
    fn variables_that_are_not_set_are_found() {
        assert!(of_line("ENV A=$FOO B=${PATH} C=${X:-d} D=\\$X E='$X' F=$BARE").is_empty());
        assert_eq!(
            of_line("ENV A=$FO"),
            ["Usage of undefined variable '$FO' (did you mean $FOO?)"]
        );
        assert_eq!(
            of_line("WORKDIR /$somewhere"),
            ["Usage of undefined variable '$somewhere'"]
        );
        assert_eq!(of_line("COPY --chown=$u a$b /$c").len(), 3);
        assert!(of_line("RUN echo $X").is_empty() && of_line("CMD echo $X").is_empty());
    }

    #[test]
    fn arguments_of_bases_are_declared_and_mean_an_image() {
        let of = |text: &str| -> Vec<String> {
            let file = Dockerfile::parse(text).unwrap();
            let found = bases(&file, &Platform::host());
            found.into_iter().map(|one| one.text).collect()
        };
        assert!(
            of("ARG T=1\nFROM a:$T\nFROM --platform=$BUILDPLATFORM b\nFROM c:${X:-1}\n").is_empty()
        );
        assert_eq!(
            of("ARG KIND=1\nFROM a:$KINDS\n"),
            ["FROM argument 'KINDS' is not declared (did you mean KIND?)"]
        );
        assert_eq!(
            of("ARG T\nFROM a:$T\n"),
            ["Default value for ARG a:$T results in empty or invalid base image name"]
        );
    }
}
