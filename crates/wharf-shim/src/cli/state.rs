//! `state`.

use std::io::Write as _;

use serde::Serialize;

use super::Outcome;
use super::container::Container;
use super::flags::{Command, Said};
use super::global::Global;

pub(crate) const STATE: Command = Command {
    name: "state",
    about: "output the state of a container",
    usage: "<container-id>",
    words: (1, Some(1)),
    flags: &[],
    stops: false,
};

/// A container as `state` and `list` show it: OCI's fields, then runc's.
#[derive(Serialize)]
pub(crate) struct Shown<'a> {
    #[serde(rename = "ociVersion")]
    oci_version: &'a str,
    pub(crate) id: &'a str,
    pub(crate) pid: i32,
    pub(crate) status: &'static str,
    pub(crate) bundle: &'a std::path::Path,
    rootfs: &'a std::path::Path,
    pub(crate) created: &'a str,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    annotations: &'a std::collections::BTreeMap<String, String>,
    pub(crate) owner: String,
}

impl<'a> Shown<'a> {
    pub(crate) fn of(container: &'a Container, owner: String) -> Self {
        let status = container.status();
        Self {
            oci_version: &container.oci_version,
            id: &container.id,
            pid: if status.lives() { container.pid } else { 0 },
            status: status.word(),
            bundle: &container.bundle,
            rootfs: &container.rootfs,
            created: &container.created,
            annotations: &container.annotations,
            owner,
        }
    }
}

/// Prints the container's state as the OCI runtime specification has it.
pub(crate) fn state(global: &Global, said: &Said) -> Outcome {
    let container = Container::load(global, said)?;
    let shown = Shown::of(&container, String::new());
    let text = serde_json::to_string_pretty(&shown).map_err(|error| error.to_string())?;
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map(|()| 0).map_err(|error| error.to_string())
}
