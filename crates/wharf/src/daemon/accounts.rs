//! Users and groups of the host: the files, and behind them what else the machine knows accounts from (LDAP, systemd), which
//! `getent` asks, as dockerd does: a statically linked program has no NSS.

use std::fs;
use std::io::ErrorKind;
use std::process::Command;

use anyhow::{Context as _, Result};

/// A file of accounts, and a database of NSS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Database {
    Users,
    Groups,
}

impl Database {
    /// What `getent` calls it, and the name of its file in `/etc`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Users => "passwd",
            Self::Groups => "group",
        }
    }
}

/// A user or group of the host.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) id: u32,
}

/// The group's number, if it is in `/etc/group`.
pub(super) fn group(name: &str) -> Option<u32> {
    let entries = read("/etc/group").ok()?;
    entry(&entries, name).map(|found| found.id)
}

/// The same, or what `getent` knows.
pub(super) fn group_of_any_source(name: &str) -> Option<u32> {
    find(Database::Groups, name)
        .ok()
        .flatten()
        .map(|found| found.id)
}

/// Who has that name, or that number.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn find(database: Database, text: &str) -> Result<Option<Found>> {
    let file = read(&format!("/etc/{}", database.name()))?;
    Ok(entry(&file, text).or_else(|| entry(&getent(database, text)?, text)))
}

/// A file; empty if it is not there.
pub(super) fn read(path: &str) -> Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        other => other.with_context(|| format!("read {path}")),
    }
}

/// The entry of that name, or of that number.
pub(super) fn entry(entries: &str, text: &str) -> Option<Found> {
    let number = text.parse::<u32>().ok();
    entries.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?.parse().ok()?);
        let found = match number {
            Some(number) => number == id,
            None => name == text,
        };
        found.then(|| Found {
            name: name.to_owned(),
            id,
        })
    })
}

/// A machine without `getent` has the files alone.
fn getent(database: Database, text: &str) -> Option<String> {
    let asked = Command::new("getent")
        .args(["--", database.name(), text])
        .output();
    let output = asked.ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}
