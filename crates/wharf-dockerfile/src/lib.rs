//! The Dockerfile language, as BuildKit's frontend 1.x reads it: logical lines with continuations and
//! here-documents, instructions with their flags, shell-like words with variables, and `.dockerignore` patterns.
//!
//! Pure: text comes in, closed types come out; nothing is read, run or resolved here.
//!
//! Source: the Dockerfile reference (docs.docker.com/reference/dockerfile) and the messages of
//! `moby/buildkit/frontend/dockerfile`.

mod error;
mod expand;
mod flags;
mod heredoc;
mod ignore;
mod instruction;
mod json;
mod lines;
mod parse;
mod pattern;
mod quote;
mod stages;
mod suggest;
mod words;

pub use error::{Mistake, ParseError};
pub use expand::{Expander, Variables};
pub use heredoc::Heredoc;
pub use ignore::{Ignore, PatternError};
pub use instruction::{
    Add, Arg, CommandLine, Copy, HealthTest, Healthcheck, Instruction, Located, MountFlag, Reset,
    Run, Setting, Source, Span,
};
pub use quote::quoted;
pub use stages::{Dockerfile, From, Stage};
pub use suggest::distance;
