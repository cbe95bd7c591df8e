//! The instructions, as closed types. Words are not expanded yet: that needs a stage's variables.

use crate::heredoc::Heredoc;

/// Lines of the file, from 1, both included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First.
    pub start: usize,
    /// Last.
    pub end: usize,
}

/// An instruction where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Its lines.
    pub span: Span,
    /// Its text as written, continuations joined.
    pub original: String,
    /// What it says.
    pub instruction: Instruction,
}

/// A command in shell form or exec form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandLine {
    /// For the shell.
    Shell(String),
    /// As it is.
    Exec(Vec<String>),
}

/// What an instruction says (Dockerfile reference).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// `ADD`.
    Add(Add),
    /// `ARG NAME[=value]...`.
    Arg(Vec<Arg>),
    /// `CMD`.
    Cmd(CommandLine),
    /// `COPY`.
    Copy(Copy),
    /// `ENTRYPOINT`.
    Entrypoint(CommandLine),
    /// `ENV`, in order.
    Env(Vec<(String, String)>),
    /// `EXPOSE`.
    Expose(Vec<String>),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `LABEL`, in order.
    Label(Vec<(String, String)>),
    /// `MAINTAINER`.
    Maintainer(String),
    /// `ONBUILD`: the text of the trigger, which has been checked.
    Onbuild(String),
    /// `RESET`: unsets what the base image or a line before it has set. Docker has no such.
    Reset(Reset),
    /// `RUN`.
    Run(Run),
    /// `SHELL`.
    Shell(Vec<String>),
    /// `STOPSIGNAL`.
    StopSignal(String),
    /// `USER`.
    User(String),
    /// `VOLUME`.
    Volume(Vec<String>),
    /// `WORKDIR`.
    Workdir(String),
}

impl Instruction {
    /// Its keyword.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Onbuild(_) => "ONBUILD",
            Self::Reset(_) => "RESET",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }
}

/// One name of `ARG`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    /// Its name.
    pub name: String,
    /// Its default.
    pub default: Option<String>,
}

/// `RESET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// What is unset.
    pub setting: Setting,
    /// Which of them, where there may be several; none for all of them.
    pub names: Vec<String>,
}

/// A setting of an image, by the instruction that sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `CMD`.
    Cmd,
    /// `ENTRYPOINT`.
    Entrypoint,
    /// `ENV`.
    Env,
    /// `EXPOSE`.
    Expose,
    /// `HEALTHCHECK`.
    Healthcheck,
    /// `LABEL`.
    Label,
    /// `SHELL`.
    Shell,
    /// `STOPSIGNAL`.
    StopSignal,
    /// `USER`.
    User,
    /// `VOLUME`.
    Volume,
    /// `WORKDIR`.
    Workdir,
}

impl Setting {
    /// All of them by their keywords.
    pub(crate) const ALL: &[(&str, Self)] = &[
        ("CMD", Self::Cmd),
        ("ENTRYPOINT", Self::Entrypoint),
        ("ENV", Self::Env),
        ("EXPOSE", Self::Expose),
        ("HEALTHCHECK", Self::Healthcheck),
        ("LABEL", Self::Label),
        ("SHELL", Self::Shell),
        ("STOPSIGNAL", Self::StopSignal),
        ("USER", Self::User),
        ("VOLUME", Self::Volume),
        ("WORKDIR", Self::Workdir),
    ];

    /// Its keyword.
    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(_, one)| *one == self)
            .map_or("", |(name, _)| name)
    }

    /// Whether an image has several, by name.
    pub(crate) fn has_names(self) -> bool {
        matches!(self, Self::Env | Self::Expose | Self::Label | Self::Volume)
    }
}

/// One source of `COPY` or `ADD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path, a pattern, or (for `ADD`) a URL.
    Path(String),
    /// The text of a here-document, and the file name it gets.
    Inline(Heredoc),
}

/// `COPY`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// What is copied.
    pub sources: Vec<Source>,
    /// Where to.
    pub target: String,
    /// `--from`: a stage, an image or a named context.
    pub from: Option<String>,
    /// `--chown`.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`.
    pub exclude: Vec<String>,
}

/// `ADD`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Add {
    /// What it has in common with `COPY`; `from` and `parents` are never set.
    pub copy: Copy,
    /// `--checksum`.
    pub checksum: Option<String>,
    /// `--keep-git-dir`.
    pub keep_git_dir: bool,
    /// `--unpack`; where it is not given, local archives are unpacked and fetched ones not.
    pub unpack: Option<bool>,
}

/// `RUN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The command; with here-documents, their first line.
    pub command: CommandLine,
    /// Its here-documents.
    pub heredocs: Vec<Heredoc>,
    /// `--mount`, in order.
    pub mounts: Vec<MountFlag>,
    /// `--network`: `default`, `none` or `host`.
    pub network: Option<String>,
    /// `--security`: `sandbox` or `insecure`.
    pub security: Option<String>,
}

/// One `--mount=` of `RUN`: its fields in order, still to be expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountFlag {
    /// `key=value`; a key alone has no value.
    pub fields: Vec<(String, Option<String>)>,
}

/// `HEALTHCHECK`. Durations are nanoseconds; `None` where they are not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healthcheck {
    /// What is run.
    pub test: HealthTest,
    /// `--interval`.
    pub interval: Option<i64>,
    /// `--timeout`.
    pub timeout: Option<i64>,
    /// `--start-period`.
    pub start_period: Option<i64>,
    /// `--start-interval`.
    pub start_interval: Option<i64>,
    /// `--retries`.
    pub retries: Option<i64>,
}

/// The probe of a health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthTest {
    /// `NONE`: none, not even the base image's.
    None,
    /// `CMD`.
    Command(CommandLine),
}
