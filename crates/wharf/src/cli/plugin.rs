//! Plugins of the `docker` command, `docker compose` before all: programs called `docker-NAME` that speak the Engine
//! API themselves. They are run as `docker` runs them, pointed at the same daemon.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::contexts::DEFAULT;
use super::{Context, Exit};
use crate::format::json;

/// Where Docker looks for plugins, behind the user's own folder.
const FOLDERS: &[&str] = &[
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// The program of the plugin `name`, if it is installed: in the user's own folder, those of `cliPluginsExtraDirs`, or the
/// system's.
pub fn find(name: &str, context: &Context) -> Option<PathBuf> {
    let plain =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if name.is_empty() || !name.chars().all(plain) {
        return None;
    }
    let own = context.config_dir().join("cli-plugins");
    let further = json::texts(&context.config, "cliPluginsExtraDirs");
    let folders = std::iter::once(own)
        .chain(further.into_iter().map(PathBuf::from))
        .chain(FOLDERS.iter().map(PathBuf::from));
    let mut programs = folders.map(|folder| folder.join(format!("docker-{name}")));
    programs.find(|program| {
        let meta = std::fs::metadata(program);
        meta.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

/// Becomes the plugin, with `flags` before its `words`; it returns only if that fails.
pub fn become_it(program: &Path, flags: &[String], words: &[String], context: &Context) -> Exit {
    let mut command = Command::new(program);
    command
        .args(flags)
        .args(words)
        .env("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", "docker")
        .env("DOCKER_CONFIG", context.config_dir());
    // A context has its own certificates: the plugin reads it as we did.
    match context.name() {
        DEFAULT => command
            .env("DOCKER_HOST", context.host())
            .env_remove("DOCKER_CONTEXT"),
        name => command
            .env("DOCKER_CONTEXT", name)
            .env_remove("DOCKER_HOST"),
    };
    let error = command.exec();
    Exit::new(format!("run {}: {error}", program.display()))
}
