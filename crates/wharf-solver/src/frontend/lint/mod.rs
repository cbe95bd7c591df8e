//! Checks of a Dockerfile that break nothing (`frontend/dockerfile/linter`).

mod lines;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use serde_json::{Value, json};
use wharf_dockerfile::{CommandLine, Dockerfile, Instruction, Located, Span, Stage};
use wharf_oci::Platform;

use crate::{SolveError, SolveResult, Warning};

pub(super) use words::undefined;

/// One thing to be better done otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    rule: &'static str,
    description: &'static str,
    text: String,
    span: Span,
}

impl Finding {
    fn url(&self) -> String {
        let mut kebab = String::new();
        let letters: Vec<char> = self.rule.chars().collect();
        for (at, letter) in letters.iter().enumerate() {
            let after_small = at > 0 && letters[at - 1].is_lowercase();
            let before_small = letters.get(at + 1).is_some_and(|next| next.is_lowercase());
            if at > 0 && letter.is_uppercase() && (after_small || before_small) {
                kebab.push('-');
            }
            kebab.push(letter.to_ascii_lowercase());
        }
        format!("https://docs.docker.com/go/dockerfile/rule/{kebab}/")
    }

    /// As a build tells of it.
    pub(super) fn warning(&self, info: &bollard_buildkit_proto::pb::SourceInfo) -> Warning {
        Warning {
            level: 1,
            short: format!("{}: {}", self.rule, self.text),
            detail: vec![self.description.to_owned()],
            url: self.url(),
            source: Some(info.clone()),
            ranges: vec![crate::frontend::llb::range(self.span)],
            ..Warning::default()
        }
    }
}

/// What `# check=` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    skip_all: bool,
    skip: BTreeSet<String>,
    /// Rules that are looked at only if they are asked for; `all` for all of them.
    experimental: BTreeSet<String>,
    /// Findings are errors.
    error: bool,
}

impl Settings {
    /// `skip=Rule,Rule;error=true`.
    fn parse(text: &str) -> Result<Self, SolveError> {
        let mut settings = Self::default();
        for field in text.split(';').filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            match name.trim() {
                "skip" if value.trim() == "all" => settings.skip_all = true,
                "skip" => {
                    let rules = value.split(',').map(|rule| rule.trim().to_owned());
                    settings.skip.extend(rules);
                }
                "experimental" => {
                    let rules = value.split(',').map(|rule| rule.trim().to_owned());
                    settings.experimental.extend(rules);
                }
                "error" => settings.error = value.trim() == "true",
                other => {
                    return Err(SolveError::Invalid(format!(
                        "invalid check option {other:?}"
                    )));
                }
            }
        }
        Ok(settings)
    }

    /// Those of the build, else those of the file's first comments.
    ///
    /// # Errors
    /// If they are malformed.
    pub(super) fn read(setting: Option<&str>, text: &str) -> Result<Self, SolveError> {
        if let Some(setting) = setting {
            return Self::parse(setting);
        }
        let comments = text.lines().map_while(|line| line.trim().strip_prefix('#'));
        let directives = comments.filter_map(|line| line.split_once('='));
        let check = directives
            .filter(|(name, _)| name.trim().eq_ignore_ascii_case("check"))
            .map(|(_, value)| value.trim());
        check
            .last()
            .map_or_else(|| Ok(Self::default()), Self::parse)
    }

    /// What of it is to be told, in the order of the file.
    pub(super) fn keep(&self, mut found: Vec<Finding>) -> Vec<Finding> {
        found.retain(|one| !self.skip_all && !self.skip.contains(one.rule));
        found.sort_by_key(|one| one.span.start);
        found
    }

    /// Whether a build may go on.
    ///
    /// # Errors
    /// If findings are errors and there are some.
    pub(super) fn judge(&self, found: &[Finding]) -> Result<(), SolveError> {
        if !self.error || found.is_empty() {
            return Ok(());
        }
        let rules: BTreeSet<&str> = found.iter().map(|one| one.rule).collect();
        let rules = rules.into_iter().collect::<Vec<_>>().join(", ");
        Err(SolveError::Invalid(format!(
            "lint violation found for rules: {rules}"
        )))
    }

    fn asks_for(&self, rule: &str) -> bool {
        self.experimental.contains("all") || self.experimental.contains(rule)
    }
}

/// What is found in a file, without a look at what it stands on. `ignore` is what its context leaves out.
pub(super) fn check(
    text: &str,
    file: &Dockerfile,
    settings: &Settings,
    ignore: &[String],
) -> Vec<Finding> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = stages(file);
    found.extend(casing(file));
    found.extend(words::bases(file, &Platform::host()));
    for stage in &file.stages {
        found.extend(instructions(stage));
        let all = stage.instructions.iter();
        found.extend(all.flat_map(|one| lines::written(one, &lines, ignore)));
    }
    if settings.asks_for("InvalidDefinitionDescription") {
        found.extend(lines::descriptions(file, &lines));
    }
    found
}

fn stages(file: &Dockerfile) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut names = BTreeSet::new();
    for stage in &file.stages {
        let mut add = |rule, description, text| {
            found.push(Finding {
                rule,
                description,
                text,
                span: stage.span,
            });
        };
        let words: Vec<&str> = stage.original.split_whitespace().collect();
        let written = words.last().copied().unwrap_or_default();
        if let Some(name) = &stage.from.name {
            if written != name.as_str() {
                let text = format!("Stage name '{written}' should be lowercase");
                add("StageNameCasing", "Stage names should be lowercase", text);
            }
            if !names.insert(name) {
                let text = format!("Duplicate stage name {name:?}, stage names should be unique");
                add("DuplicateStageName", "Stage names should be unique", text);
            }
            if matches!(name.as_str(), "context" | "scratch") {
                let text =
                    format!("Stage name should not use the same name as reserved stage {name:?}");
                let description = "Reserved words should not be used as stage names";
                add("ReservedStageName", description, text);
            }
            let from = words.first().copied().unwrap_or_default();
            let keyword = words.iter().rev().nth(1).copied().unwrap_or_default();
            let small = |word: &str| word.chars().all(char::is_lowercase);
            if small(from) != small(keyword) {
                let text = format!("'{keyword}' and '{from}' keywords' casing do not match");
                let description = "The 'as' keyword should match the case of the 'from' keyword";
                add("FromAsCasing", description, text);
            }
        }
        if let Some(platform) = &stage.from.platform {
            let bare = platform.trim_start_matches('$').trim_matches(['{', '}']);
            if bare == "TARGETPLATFORM" {
                let text = format!(
                    "Setting platform to predefined {platform} in FROM is redundant as this is the default behavior"
                );
                let description = "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior";
                add("RedundantTargetPlatform", description, text);
            } else if !platform.contains('$') {
                let text =
                    format!("FROM --platform flag should not use constant value {platform:?}");
                let description = "FROM --platform flag should not use a constant value";
                add("FromPlatformFlagConstDisallowed", description, text);
            }
        }
    }
    found
}

/// Keywords in small and in capital letters beside each other.
fn casing(file: &Dockerfile) -> Vec<Finding> {
    let begins = file.stages.iter().map(|one| (&one.original, one.span));
    let others = file.stages.iter().flat_map(|one| &one.instructions);
    let others = file.args.iter().chain(others);
    let others = others.map(|one| (&one.original, one.span));
    let words = begins.chain(others).filter_map(|(text, span)| {
        let word = text.split_whitespace().next()?;
        Some((word.to_owned(), span))
    });
    let words: Vec<(String, Span)> = words.collect();
    let is_small = |word: &str| word.chars().all(char::is_lowercase);
    let is_large = |word: &str| word.chars().all(char::is_uppercase);
    let small = words.iter().filter(|(word, _)| is_small(word)).count();
    let large = words.iter().filter(|(word, _)| is_large(word)).count();
    let mostly_small = small > large;
    let wrong = words.into_iter().filter(|(word, _)| match mostly_small {
        true => !is_small(word),
        false => !is_large(word),
    });
    let majority = if mostly_small {
        "lowercase"
    } else {
        "uppercase"
    };
    let found = wrong.map(|(word, span)| Finding {
        rule: "ConsistentInstructionCasing",
        description: "All commands within the Dockerfile should use the same casing (either upper or lower)",
        text: format!("Command '{word}' should match the case of the command majority ({majority})"),
        span,
    });
    found.collect()
}

fn instructions(stage: &Stage) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut seen: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    let mut before = Before::default();
    for located in &stage.instructions {
        one(located, &mut before, &mut found);
        let name = located.instruction.name();
        if matches!(name, "CMD" | "ENTRYPOINT" | "HEALTHCHECK") {
            seen.entry(name).or_default().push(located.span);
        }
    }
    for (name, spans) in seen {
        let Some((_, earlier)) = spans.split_last() else {
            continue;
        };
        found.extend(earlier.iter().map(|span| Finding {
            rule: "MultipleInstructionsDisallowed",
            description: "Multiple instructions of the same type should not be used in the same stage",
            text: format!(
                "Multiple {name} instructions should not be used in the same stage because only the last one will be used"
            ),
            span: *span,
        }));
    }
    found
}

/// What the instructions before have set.
#[derive(Default)]
struct Before {
    /// An absolute working directory.
    folder: bool,
    /// A shell that somebody chose.
    shell: bool,
}

fn one(located: &Located, before: &mut Before, found: &mut Vec<Finding>) {
    let mut add = |rule, description, text| {
        found.push(Finding {
            rule,
            description,
            text,
            span: located.span,
        });
    };
    let name = located.instruction.name();
    let secret = |name: &str, key: &str| {
        let text =
            format!("Do not use ARG or ENV instructions for sensitive data ({name} {key:?})");
        is_secret(key).then_some(text)
    };
    let secrets = "Sensitive data should not be used in the ARG or ENV commands";
    match &located.instruction {
        Instruction::Maintainer(_) => add(
            "MaintainerDeprecated",
            "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
            "Maintainer instruction is deprecated in favor of using label".to_owned(),
        ),
        Instruction::Cmd(CommandLine::Shell(_))
        | Instruction::Entrypoint(CommandLine::Shell(_))
            if !before.shell =>
        {
            add(
                "JSONArgsRecommended",
                "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
                format!(
                    "JSON arguments recommended for {name} to prevent unintended behavior related to OS signals"
                ),
            );
        }
        Instruction::Shell(_) => before.shell = true,
        Instruction::Workdir(path) => {
            if !path.starts_with(['/', '$']) && !before.folder {
                add(
                    "WorkdirRelativePath",
                    "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
                    format!(
                        "Relative workdir {path:?} can have unexpected results if the base image changes"
                    ),
                );
            }
            before.folder |= path.starts_with('/');
        }
        Instruction::Arg(args) => {
            for text in args.iter().filter_map(|arg| secret(name, &arg.name)) {
                add("SecretsUsedInArgOrEnv", secrets, text);
            }
        }
        Instruction::Env(pairs) => {
            for text in pairs.iter().filter_map(|(key, _)| secret(name, key)) {
                add("SecretsUsedInArgOrEnv", secrets, text);
            }
        }
        _ => {}
    }
}

/// Whether a variable's name says that it is nobody else's to see.
fn is_secret(name: &str) -> bool {
    const WORDS: &[&str] = &[
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    let lower = name.to_ascii_lowercase();
    let parts: Vec<&str> = lower.split('_').collect();
    parts.iter().any(|part| WORDS.contains(part)) && !parts.contains(&"public")
}

/// The answer to `frontend.lint`; `error` is why the file cannot be built.
pub(super) fn answer(
    found: &[Finding],
    error: Option<&SolveError>,
    filename: &str,
    text: &str,
) -> SolveResult {
    let warnings = found.iter().map(|one| {
        let position = |line: usize| json!({ "line": line, "character": 0 });
        json!({
            "ruleName": one.rule,
            "description": one.description,
            "url": one.url(),
            "detail": one.text,
            "location": { "sourceIndex": 0, "ranges": [
                { "start": position(one.span.start), "end": position(one.span.end) },
            ]},
        })
    });
    let warnings: Vec<Value> = warnings.collect();
    let data = base64::engine::general_purpose::STANDARD.encode(text);
    let mut value = json!({
        "warnings": warnings,
        "sources": [{ "filename": filename, "language": "Dockerfile", "data": data }],
    });
    if let Some(error) = error {
        value["buildError"] = json!({ "message": error.to_string() });
    }
    let said: String = found.iter().map(|one| shown(one, filename, text)).collect();
    let is_good = found.is_empty() && error.is_none();
    let status = if is_good { "0" } else { "1" };
    let metadata = [
        ("result.json".to_owned(), value.to_string().into_bytes()),
        ("result.txt".to_owned(), said.into_bytes()),
        ("result.statuscode".to_owned(), status.as_bytes().to_vec()),
        ("version".to_owned(), b"1.0.0".to_vec()),
    ];
    SolveResult {
        metadata: metadata.into(),
        ..SolveResult::default()
    }
}

/// With the lines it is about, and two before and after.
fn shown(one: &Finding, filename: &str, text: &str) -> String {
    let ruler = "--------------------\n";
    let mut said = format!("\nWARNING: {} - {}\n{}\n", one.rule, one.url(), one.text);
    said.push_str(&format!("{filename}:{}\n{ruler}", one.span.start));
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        if number + 2 >= one.span.start && number <= one.span.end + 2 {
            let is_meant = (one.span.start..=one.span.end).contains(&number);
            let mark = if is_meant { ">>>" } else { "   " };
            said.push_str(&format!(" {number:>3} | {mark} {line}\n"));
        }
    }
    said + ruler
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, setting: Option<&str>) -> Result<Vec<Finding>, SolveError> {
        let file = Dockerfile::parse(text).unwrap();
        let settings = Settings::read(setting, text)?;
        Ok(settings.keep(check(text, &file, &settings, &[])))
    }

    fn rules(text: &str) -> Vec<&'static str> {
        let found = found(text, None).unwrap();
        found.iter().map(|one| one.rule).collect()
    }

    #[test]
    fn what_could_be_better_is_found() {
        assert!(rules("FROM a AS b\nWORKDIR /w\nWORKDIR x\nCMD [\"x\"]\n").is_empty());
        assert_eq!(rules("FROM a\nMAINTAINER me\n"), ["MaintainerDeprecated"]);
        assert_eq!(rules("FROM a AS B\n"), ["StageNameCasing"]);
        assert_eq!(rules("FROM a as b\n"), ["FromAsCasing"]);
        assert_eq!(rules("FROM a AS b\nFROM c AS b\n"), ["DuplicateStageName"]);
        assert_eq!(rules("FROM a AS context\n"), ["ReservedStageName"]);
        assert_eq!(rules("FROM a\nCMD x\n"), ["JSONArgsRecommended"]);
        assert!(rules("FROM a\nSHELL [\"s\"]\nCMD x\n").is_empty());
        assert_eq!(rules("FROM a\nWORKDIR x\n"), ["WorkdirRelativePath"]);
        assert_eq!(
            rules("FROM a\nCMD [\"x\"]\nCMD [\"y\"]\n"),
            ["MultipleInstructionsDisallowed"]
        );
        assert_eq!(
            rules("FROM a\nENV API_TOKEN=x PUBLIC_KEY=y\n"),
            ["SecretsUsedInArgOrEnv"]
        );
        assert_eq!(
            rules("FROM --platform=linux/amd64 a\n"),
            ["FromPlatformFlagConstDisallowed"]
        );
        assert_eq!(
            rules("FROM --platform=$TARGETPLATFORM a\n"),
            ["RedundantTargetPlatform"]
        );
        assert_eq!(
            rules("FROM a\nrun x\nUSER y\n"),
            ["ConsistentInstructionCasing"]
        );
    }

    #[test]
    fn checks_are_left_out_and_made_errors() {
        let text = "# check=skip=MaintainerDeprecated;error=true\nFROM a AS B\nMAINTAINER me\n";
        assert_eq!(rules(text), ["StageNameCasing"]);
        let settings = Settings::read(None, text).unwrap();
        let error = settings.judge(&found(text, None).unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "lint violation found for rules: StageNameCasing"
        );
        assert!(found(text, Some("skip=all")).unwrap().is_empty());
        assert!(found(text, Some("x=y")).is_err());
        let asked = "# check=experimental=all\n\n# other\nFROM a AS b\n";
        assert_eq!(rules(asked), ["InvalidDefinitionDescription"]);
    }

    #[test]
    fn findings_are_shown_with_their_lines() {
        let text = "FROM a\nMAINTAINER me\n";
        let found = found(text, None).unwrap();
        let answer = answer(&found, None, "Dockerfile", text);
        let said = String::from_utf8(answer.metadata["result.txt"].clone()).unwrap();
        assert_eq!(
            said,
            "\nWARNING: MaintainerDeprecated - https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/\n\
             Maintainer instruction is deprecated in favor of using label\nDockerfile:2\n--------------------\n   \
             1 |     FROM a\n   2 | >>> MAINTAINER me\n--------------------\n"
        );
        assert_eq!(answer.metadata["result.statuscode"], b"1");
    }
}
