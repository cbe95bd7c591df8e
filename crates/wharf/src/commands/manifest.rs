//! `wharf manifest …`: lists of images for several platforms, put together on the client's side.
//!
//! As with Docker's, no daemon takes part: the lists lie in `manifests/` of the client's folder, in Docker's format, and
//! registries are asked from here.

mod annotate;
mod create;
mod entry;
mod inspect;
mod push;
mod remote;
mod rm;
mod store;

use wharf_oci::Reference;

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::{Command, Exit, Outcome};

/// Manage image manifests and manifest lists
pub static COMMAND: Command = Command {
    name: "manifest",
    about: "Manage image manifests and manifest lists",
    commands: &[
        &annotate::COMMAND,
        &create::COMMAND,
        &inspect::COMMAND,
        &push::COMMAND,
        &rm::COMMAND,
    ],
    ..EMPTY
};

const INSECURE_HELP: &str = "Speak with a registry without TLS or with any certificate";

/// A whole name, with the tag `latest` if it has neither tag nor digest.
fn name(text: &str) -> Outcome<Reference> {
    named(text, "")
}

/// As [`name`]; an error says first what the name is of.
fn named(text: &str, of: &str) -> Outcome<Reference> {
    Reference::parse_normalized(text)
        .map(Reference::with_default_tag)
        .map_err(|error| Exit::new(format!("{of}{error}")))
}
