//! Commands: one static [`Command`] per verb, and the way from words to its `run`.

use std::future::Future;
use std::pin::Pin;

use super::{Context, Exit, Flag, Matches, Outcome, help};

/// How many words that are no flags a command takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// None.
    None,
    /// So many.
    Exactly(usize),
    /// So many or more.
    AtLeast(usize),
    /// Between two numbers.
    Between(usize, usize),
    /// No more than so many.
    AtMost(usize),
}

/// What runs a command.
pub type Run = for<'a> fn(&'a Context, &'a Matches) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// One verb of the command line, or a group of verbs.
pub struct Command {
    /// The word.
    pub name: &'static str,
    /// Other words for it.
    pub aliases: &'static [&'static str],
    /// One sentence.
    pub about: &'static str,
    /// What follows the name in the usage line.
    pub usage: &'static str,
    /// Full spellings to show under "Aliases".
    pub also: &'static str,
    /// Tables of flags, shared ones among them.
    pub flags: &'static [&'static [Flag]],
    /// How many words it takes.
    pub arity: Arity,
    /// Whether flags may follow words. False where the words are a command of their own.
    pub interspersed: bool,
    /// Exit code when the command line is wrong.
    pub usage_code: i32,
    /// What it does; `None` for a group.
    pub run: Option<Run>,
    /// Verbs of a group.
    pub commands: &'static [&'static Command],
}

/// A command with nothing set; for `..COMMAND`.
pub const COMMAND: Command = Command {
    name: "",
    aliases: &[],
    about: "",
    usage: "",
    also: "",
    flags: &[],
    arity: Arity::None,
    interspersed: true,
    usage_code: 125,
    run: None,
    commands: &[],
};

impl Command {
    /// The verb of a group with this name.
    pub fn find(&self, name: &str) -> Option<&'static Command> {
        self.commands
            .iter()
            .copied()
            .find(|command| command.name == name || command.aliases.contains(&name))
    }

    /// The usage line for the full spelling `path` (`wharf container run`).
    pub fn usage_line(&self, path: &str) -> String {
        match self.usage {
            "" => path.to_owned(),
            usage => format!("{path} {usage}"),
        }
    }

    /// Parses `words`, and runs the verb they name. `path` is how the user got here.
    pub async fn dispatch(&self, context: &Context, path: &str, words: &[String]) -> Outcome {
        let Some(run) = self.run else {
            return self.group(context, path, words).await;
        };
        let matches = Matches::parse(self.flags, words, self.interspersed).map_err(|error| {
            let usage = self.usage_line(path);
            let text =
                format!("{error}\n\nUsage:  {usage}\n\nRun '{path} --help' for more information");
            Exit::with_code(self.usage_code, text)
        })?;
        if matches.help {
            return Ok(help::print(self, path)?);
        }
        self.check_arity(path, matches.args.len())?;
        run(context, &matches).await
    }

    async fn group(&self, context: &Context, path: &str, words: &[String]) -> Outcome {
        // Up to the verb: what follows is the verb's.
        let matches = Matches::parse(self.flags, words, false).map_err(|error| {
            let text =
                format!("{error}\n\nUsage:  {path}\n\nRun '{path} --help' for more information");
            Exit::with_code(125, text)
        })?;
        let Some((word, rest)) = matches.args.split_first() else {
            return Ok(help::print(self, path)?);
        };
        if matches.help || word == "help" {
            return Ok(help::print(self, path)?);
        }
        if let Some(command) = self.find(word) {
            let path = format!("{path} {}", command.name);
            return Box::pin(command.dispatch(context, &path, rest)).await;
        }
        Err(Exit::new(format!(
            "wharf: unknown command: {path} {word}\n\nUsage:  {path}\n\nRun '{path} --help' for more information"
        )))
    }

    fn check_arity(&self, path: &str, count: usize) -> Outcome {
        let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
        let wish = match self.arity {
            Arity::None if count > 0 => {
                let text = format!(
                    "wharf: '{path}' accepts no arguments\n\nUsage:  {}\n\nRun '{path} --help' for more information",
                    self.usage_line(path)
                );
                return Err(Exit::new(text));
            }
            Arity::Exactly(n) if count != n => format!("{n} {}", plural(n)),
            Arity::AtLeast(n) if count < n => format!("at least {n} {}", plural(n)),
            Arity::AtMost(n) if count > n => format!("at most {n} {}", plural(n)),
            Arity::Between(low, high) if count < low || count > high => {
                format!("at least {low} and at most {high} {}", plural(high))
            }
            _ => return Ok(()),
        };
        // Docker says "See" here and "Run" everywhere else.
        let see = if matches!(self.arity, Arity::AtLeast(_)) {
            "See"
        } else {
            "Run"
        };
        Err(Exit::new(format!(
            "wharf: '{path}' requires {wish}\n\nUsage:  {}\n\n{see} '{path} --help' for more information",
            self.usage_line(path)
        )))
    }
}
