//! `userns-remap`: who containers' users are on the host (moby `daemon_unix.go`, `parseRemappedRoot` and `setupRemappedRoot`).
//!
//! `default`, `USER`, `UID`, `USER:GROUP` or `UID:GID`. The user's rows in /etc/subuid and /etc/subgid are the mapping, one
//! after the other.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use wharf_engine::{IdRange, Remap};

use super::accounts::{self, Database, Found, entry, read};

/// The user of `default`, made if he is not there.
const DEFAULT: &str = "dockremap";
/// How many ids a new user gets, and where the first of all begin.
const SIZE: u32 = 65_536;
const FIRST: u32 = 100_000;

/// The mapping that `text` stands for. `make`: whether the user of `default` may be made.
pub(super) fn resolve(text: Option<&str>, make: bool) -> Result<Option<Remap>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let (user, group) = match text.split(':').collect::<Vec<_>>()[..] {
        [user] => (user, None),
        [user, group] => (user, Some(group)),
        _ => bail!("Invalid user/group specification in --userns-remap: {text:?}"),
    };
    let user = if user == "default" { DEFAULT } else { user };
    if user == DEFAULT && make {
        make_default().context("couldn't create the user of userns-remap=default")?;
    }
    let found = known(Database::Users, user)?;
    if let Some(group) = group.filter(|group| !group.is_empty() && *group != "default") {
        known(Database::Groups, group)?;
    }
    if found.id == 0 {
        eprintln!("User namespaces: root cannot be remapped with itself; user namespaces are OFF");
        return Ok(None);
    }
    let rows = |file: &str| {
        let rows = ranges(&read(&format!("/etc/{file}"))?, &found);
        match rows.is_empty() {
            true => bail!(
                "Can't create ID mappings: no {file} ranges found for user {:?}",
                found.name
            ),
            false => Ok(rows),
        }
    };
    Ok(Some(Remap {
        users: rows("subuid")?,
        groups: rows("subgid")?,
    }))
}

/// In Docker's words.
fn known(database: Database, text: &str) -> Result<Found> {
    if let Some(found) = accounts::find(database, text)? {
        return Ok(found);
    }
    let none = format!(
        "getent unable to find entry {text:?} in {} database",
        database.name()
    );
    let (kind, number) = match database {
        Database::Users => ("uid", "Uid"),
        Database::Groups => ("gid", "Gid"),
    };
    match text.parse::<u32>() {
        Ok(_) => bail!("{number} {text} has no entry in /etc/passwd: {none}"),
        Err(_) => bail!("Error during {kind} lookup for {text:?}: {none}"),
    }
}

/// His rows of a file of subordinate ids (subuid(5)), numbered on from the container's root.
fn ranges(file: &str, user: &Found) -> Vec<IdRange> {
    let id = user.id.to_string();
    let mut next = 0u32;
    let mut rows = Vec::new();
    for (owner, first, size) in all(file) {
        if owner != user.name && owner != id {
            continue;
        }
        // A mapping that runs out of numbers ends there.
        let size = size.min(u32::MAX - next).min(u32::MAX - first);
        if size > 0 {
            rows.push(IdRange {
                on_disk: next,
                shown: first,
                size,
            });
            next += size;
        }
    }
    rows
}

/// `owner:first:size`; lines that are none are left out, as by `newuidmap`.
fn all(file: &str) -> impl Iterator<Item = (&str, u32, u32)> {
    file.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next().filter(|owner| !owner.starts_with('#'))?;
        let (first, size) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some((owner, first, size))
    })
}

/// Makes the user and his ranges, as dockerd does by the same programs: they know the machine's rules and locks.
fn make_default() -> Result<()> {
    if entry(&read("/etc/passwd")?, DEFAULT).is_none() {
        run(
            "useradd",
            &[
                "--system",
                "--user-group",
                "--no-create-home",
                "--shell",
                "/bin/false",
                DEFAULT,
            ],
        )?;
    }
    let user = entry(&read("/etc/passwd")?, DEFAULT).context("it is not in /etc/passwd")?;
    for (path, flag) in [
        ("/etc/subuid", "--add-subuids"),
        ("/etc/subgid", "--add-subgids"),
    ] {
        let file = read(path)?;
        if ranges(&file, &user).is_empty() {
            let first = free(&file).with_context(|| format!("{path} has no free range"))?;
            let range = format!("{first}-{}", first + (SIZE - 1));
            run("usermod", &[flag, &range, DEFAULT])?;
        }
    }
    Ok(())
}

/// The first id of a range that nobody has.
fn free(file: &str) -> Option<u32> {
    let mut taken: Vec<(u32, u32)> = all(file).map(|(_, first, size)| (first, size)).collect();
    taken.sort_unstable();
    let mut candidate = FIRST;
    for (first, size) in taken {
        let end = first.checked_add(size)?;
        if end > candidate && first < candidate.checked_add(SIZE)? {
            candidate = end;
        }
    }
    candidate.checked_add(SIZE).map(|_| candidate)
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("run {program}"))?;
    match output.status.success() {
        true => Ok(()),
        false => bail!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        resolve(Some(text), false).expect_err(text).to_string()
    }

    #[test]
    fn refusals_are_in_dockers_words() {
        assert_eq!(
            refusal("no-such-user"),
            "Error during uid lookup for \"no-such-user\": getent unable to find entry \"no-such-user\" in passwd database"
        );
        assert_eq!(
            refusal("4123456789"),
            "Uid 4123456789 has no entry in /etc/passwd: getent unable to find entry \"4123456789\" in passwd database"
        );
        assert_eq!(
            refusal("a:b:c"),
            "Invalid user/group specification in --userns-remap: \"a:b:c\""
        );
        assert_eq!(resolve(Some("root"), false).expect("root"), None);
        assert_eq!(resolve(Some(""), false).expect("nothing"), None);
    }

    #[test]
    fn ranges_follow_each_other() {
        let user = Found {
            name: "sub".to_owned(),
            id: 1000,
        };
        let file = "other:1:9\nsub:100000:65536\n#sub:5:5\n1000:300000:10\nsub:x:1\n";
        let row = |on_disk, shown, size| IdRange {
            on_disk,
            shown,
            size,
        };
        assert_eq!(
            ranges(file, &user),
            [row(0, 100_000, 65_536), row(65_536, 300_000, 10)]
        );
    }

    #[test]
    fn a_new_range_lies_beside_all_others() {
        assert_eq!(free(""), Some(100_000));
        assert_eq!(free("a:100000:65536\nb:165536:65536\n"), Some(231_072));
        assert_eq!(free("a:1000:10\nb:400000:65536\n"), Some(100_000));
        assert_eq!(free("b:120000:65536\na:90000:20000\n"), Some(185_536));
    }
}
