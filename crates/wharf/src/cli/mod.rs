//! The shape of the command line: flags, commands, help, and how a run ends.

pub mod command;
pub mod complete;
pub mod context;
pub mod contexts;
pub mod credentials;
pub mod exit;
pub mod flag;
pub mod help;
pub mod number;
pub mod plugin;

pub use command::{Arity, Command};
pub use context::{Context, Wanted};
pub use exit::{Exit, Outcome};
pub use flag::{Flag, Kind, Matches, flag, list, switch, text};
