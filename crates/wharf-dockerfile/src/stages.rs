//! A whole Dockerfile: what stands before the first stage, and the stages.

use crate::lines::{self, Line};
use crate::parse::{self, Parsed};
use crate::{Expander, Instruction, Located, ParseError, Span};

/// A Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The escape character: `\`, or what `# escape=` says.
    pub escape: char,
    /// What `# syntax=` says.
    pub syntax: Option<String>,
    /// `ARG` instructions before the first stage; only `FROM` sees them.
    pub args: Vec<Located>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// Instructions with an empty line within, as they were written: a later version may refuse them.
    pub empty_continuations: Vec<String>,
}

/// `FROM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// An image, `scratch` or an earlier stage; still to be expanded.
    pub base: String,
    /// Its name (`AS`), in lower case.
    pub name: Option<String>,
    /// `--platform`, still to be expanded.
    pub platform: Option<String>,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// What it begins from.
    pub from: From,
    /// Where its `FROM` stands.
    pub span: Span,
    /// `FROM` as it was written.
    pub original: String,
    /// What follows.
    pub instructions: Vec<Located>,
}

impl Dockerfile {
    /// Reads a Dockerfile.
    ///
    /// # Errors
    /// With the line and BuildKit's words for the first mistake.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let directives = lines::directives(text)?;
        let escape = directives.escape.unwrap_or('\\');
        let mut file = Self {
            escape,
            syntax: directives.syntax,
            args: Vec::new(),
            stages: Vec::new(),
            empty_continuations: Vec::new(),
        };
        for line in lines::logical(text, escape)? {
            if line.has_gap {
                file.empty_continuations.push(line.text.clone());
            }
            let parsed = parse::parse(&line, escape);
            let parsed = parsed.map_err(|fault| fault.on(line.span.start))?;
            file.take(line, parsed)?;
        }
        match file.stages.is_empty() {
            true if file.args.is_empty() => Err(ParseError::syntax(1, "file with no instructions")),
            true => Err(ParseError::order(
                1,
                "dockerfile contains no stages to build",
            )),
            false => Ok(file),
        }
    }

    /// Instructions without a `FROM`: triggers of `ONBUILD`, or the `changes` of commit and import.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn instructions(text: &str) -> Result<Vec<Located>, ParseError> {
        let mut found = Vec::new();
        for line in lines::logical(text, '\\')? {
            let at = line.span.start;
            match parse::parse(&line, '\\').map_err(|fault| fault.on(at))? {
                Parsed::From(_) => return Err(ParseError::order(at, "FROM isn't allowed here")),
                Parsed::Instruction(instruction) => found.push(located(line, instruction)),
            }
        }
        Ok(found)
    }

    /// What expands the words of this file.
    pub fn expander(&self) -> Expander {
        Expander::new(self.escape)
    }

    fn take(&mut self, line: Line, parsed: Parsed) -> Result<(), ParseError> {
        match (parsed, self.stages.last_mut()) {
            (Parsed::From(from), _) => self.stages.push(Stage {
                from,
                span: line.span,
                original: line.text,
                instructions: Vec::new(),
            }),
            (Parsed::Instruction(instruction), Some(stage)) => {
                stage.instructions.push(located(line, instruction));
            }
            (Parsed::Instruction(instruction @ Instruction::Arg(_)), None) => {
                self.args.push(located(line, instruction));
            }
            (Parsed::Instruction(_), None) => {
                return Err(ParseError::order(
                    line.span.start,
                    "no build stage in current context",
                ));
            }
        }
        Ok(())
    }
}

fn located(line: Line, instruction: Instruction) -> Located {
    Located {
        span: line.span,
        original: line.text,
        instruction,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CommandLine, HealthTest, Source};

    fn only(text: &str) -> Instruction {
        let file = Dockerfile::parse(&format!("FROM scratch\n{text}")).unwrap();
        file.stages[0].instructions[0].instruction.clone()
    }

    fn error(text: &str) -> String {
        Dockerfile::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn reads_stages() {
        let text =
            "ARG V=1\nFROM --platform=$X a:$V AS Base\nRUN x\nfrom base\nCOPY --from=base /a /b\n";
        let file = Dockerfile::parse(text).unwrap();
        let Instruction::Arg(args) = &file.args[0].instruction else {
            panic!()
        };
        assert_eq!(args[0].default.as_deref(), Some("1"));
        assert_eq!(file.stages.len(), 2);
        assert_eq!(file.stages[0].from.name.as_deref(), Some("base"));
        assert_eq!(file.stages[0].from.platform.as_deref(), Some("$X"));
        let Instruction::Copy(copy) = &file.stages[1].instructions[0].instruction else {
            panic!()
        };
        assert_eq!(copy.from.as_deref(), Some("base"));
        assert_eq!(copy.sources, [Source::Path("/a".to_owned())]);
    }

    #[test]
    fn reads_forms() {
        let exec =
            |words: &[&str]| CommandLine::Exec(words.iter().map(|w| (*w).to_owned()).collect());
        assert_eq!(
            only("CMD [\"a\", \"b\"]"),
            Instruction::Cmd(exec(&["a", "b"]))
        );
        // As BuildKit's decoder, which stops behind the array.
        assert_eq!(only("CMD [\"a\"] b"), Instruction::Cmd(exec(&["a"])));
        assert_eq!(
            only("CMD [a]"),
            Instruction::Cmd(CommandLine::Shell("[a]".to_owned()))
        );
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            only("ENV a=b c=\"d e\""),
            Instruction::Env(vec![pair("a", "b"), pair("c", "\"d e\"")])
        );
        assert_eq!(only("ENV a  b c"), Instruction::Env(vec![pair("a", "b c")]));
        let Instruction::Healthcheck(check) =
            only("HEALTHCHECK --interval=5s --retries=2 CMD true")
        else {
            panic!()
        };
        assert_eq!(
            (check.interval, check.retries),
            (Some(5_000_000_000), Some(2))
        );
        assert_eq!(
            check.test,
            HealthTest::Command(CommandLine::Shell("true".to_owned()))
        );
        let Instruction::Copy(copy) = only("COPY <<A x /b/\nhi\nA") else {
            panic!()
        };
        assert!(matches!(&copy.sources[0], Source::Inline(document) if document.content == "hi\n"));
        let Instruction::Run(run) = only("RUN --mount=type=cache,target=/c --network=none x")
        else {
            panic!()
        };
        assert_eq!(
            run.mounts[0].fields[1],
            ("target".to_owned(), Some("/c".to_owned()))
        );
        assert_eq!(run.network.as_deref(), Some("none"));
    }

    #[test]
    fn names_mistakes_as_buildkit_does() {
        let cases = [
            ("", "file with no instructions"),
            ("RUN x", "no build stage in current context"),
            (
                "FROM a\nFOO x",
                "dockerfile parse error on line 2: unknown instruction: FOO (did you mean FROM?)",
            ),
            (
                "FROM a\nrun1 x",
                "dockerfile parse error on line 2: unknown instruction: run1 (did you mean run?)",
            ),
            (
                "FROM a\nSOMETHING x",
                "dockerfile parse error on line 2: unknown instruction: SOMETHING",
            ),
            (
                "FROM a b",
                "dockerfile parse error on line 1: FROM requires either one or three arguments",
            ),
            (
                "FROM a\nCOPY x",
                "dockerfile parse error on line 2: COPY requires at least two arguments, but only one was provided. Destination could not be determined",
            ),
            (
                "FROM a\nCOPY --x=1 a b",
                "dockerfile parse error on line 2: unknown flag: --x",
            ),
            (
                "FROM a\nCOPY --chwn=1 a b",
                "dockerfile parse error on line 2: unknown flag: --chwn (did you mean chown?)",
            ),
            (
                "FROM a\nCOPY --chown a b",
                "dockerfile parse error on line 2: missing a value on flag: --chown",
            ),
            (
                "FROM a\nCMD [\"a\", 1]",
                "when using JSON array syntax, arrays must be comprised of strings only",
            ),
            ("FROM a\nENV x", "ENV must have two arguments"),
            (
                "FROM a\nENV a=b c",
                "Syntax error - can't find = in \"c\". Must be of the form: name=value",
            ),
            (
                "FROM a\nONBUILD ONBUILD RUN x",
                "dockerfile parse error on line 2: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
            ),
            (
                "FROM a\nSHELL x",
                "dockerfile parse error on line 2: SHELL requires the arguments to be in JSON form",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(error(text), expected);
        }
        assert!(
            error("FROM a AS 1x").ends_with("name can't start with a number or contain symbols")
        );
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "(FROM|RUN|COPY|ADD|ENV|ARG|LABEL|HEALTHCHECK|ONBUILD|[ -~\n\\\\<\"'=]){0,30}") {
            let _ = Dockerfile::parse(&text);
            let _ = Dockerfile::parse(&format!("FROM a\n{text}"));
        }
    }
}
