//! What is wrong with a Dockerfile.

use std::fmt;

/// Who notices a mistake: that decides how BuildKit words it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// The parser: the text is no sequence of instructions (`parser.Parse`).
    Syntax,
    /// An instruction does not take these words (`instructions.ParseInstruction`): told with its line.
    Instruction,
    /// Instructions do not stand where they may (`instructions.Parse`).
    Order,
}

/// A mistake in a Dockerfile, with the line it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Its first line, from 1.
    pub line: usize,
    /// BuildKit's words for it.
    pub message: String,
    /// Of what kind it is.
    pub mistake: Mistake,
}

impl ParseError {
    pub(crate) fn syntax(line: usize, message: impl Into<String>) -> Self {
        Self::new(line, message.into(), Mistake::Syntax)
    }

    pub(crate) fn order(line: usize, message: impl Into<String>) -> Self {
        Self::new(line, message.into(), Mistake::Order)
    }

    pub(crate) fn new(line: usize, message: String, mistake: Mistake) -> Self {
        Self {
            line,
            message,
            mistake,
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mistake == Mistake::Instruction {
            write!(f, "dockerfile parse error on line {}: ", self.line)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ParseError {}

/// A mistake in an instruction, before its line is known.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) mistake: Mistake,
}

impl Fault {
    pub(crate) fn syntax(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            mistake: Mistake::Syntax,
        }
    }

    pub(crate) fn on(self, line: usize) -> ParseError {
        ParseError::new(line, self.message, self.mistake)
    }
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self {
            message,
            mistake: Mistake::Instruction,
        }
    }
}

impl From<&str> for Fault {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}
