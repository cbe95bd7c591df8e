//! Plugins of the `docker` command, `docker compose` before all: programs called `docker-NAME` that speak the Engine
//! API themselves. They are run as `docker` runs them, pointed at the same daemon.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Context, Exit};

/// Where Docker looks for plugins, behind the user's own folder.
const FOLDERS: &[&str] = &[
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// The program of the plugin `name`, if it is installed.
pub fn find(name: &str, config: &Path) -> Option<PathBuf> {
    let plain =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if name.is_empty() || !name.chars().all(plain) {
        return None;
    }
    let own = config.join("cli-plugins");
    let folders = std::iter::once(own).chain(FOLDERS.iter().map(PathBuf::from));
    let mut programs = folders.map(|folder| folder.join(format!("docker-{name}")));
    programs.find(|program| {
        let meta = std::fs::metadata(program);
        meta.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

/// Becomes the plugin; it returns only if that fails.
pub fn become_it(program: &Path, words: &[String], context: &Context) -> Exit {
    let mut command = Command::new(program);
    command
        .args(words)
        .env("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", "docker")
        .env("DOCKER_CONFIG", context.config_dir())
        .env("DOCKER_HOST", context.host())
        .env_remove("DOCKER_CONTEXT");
    let error = command.exec();
    Exit::new(format!("run {}: {error}", program.display()))
}
