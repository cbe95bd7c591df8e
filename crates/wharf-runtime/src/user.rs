//! Who the process is: numbers of the spec, or names looked up in the container's own files.
//!
//! The rules are those of moby's `user.GetExecUser`. The files are read inside the root, to a limit, by our own
//! code: no library of the host's or the container's has a part in it (CVE-2019-14271).

use std::path::Path;

use oci_spec::runtime::Process;
use wharf_sys::root::Root;

use crate::Failure;

/// Larger passwd and group files are an attack on our memory.
const LIMIT: u64 = 16 * 1024 * 1024;
/// Docker's highest id.
const HIGHEST: u32 = i32::MAX as u32;

/// Who the process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its user's number.
    pub uid: u32,
    /// Its group's number.
    pub gid: u32,
    /// Its further groups; the first one among them, if it was found by name.
    pub groups: Vec<u32>,
    /// For `HOME`, if the process's environment has none.
    pub home: String,
}

/// Finds out who `text` (`user[:group]`, or empty for the spec's numbers) and `groups` are, in this process's
/// root.
pub(crate) fn resolve(
    process: &Process,
    text: &str,
    groups: &[String],
) -> Result<Identity, Failure> {
    identify(Path::new("/"), process, text, groups)
}

/// Finds out who `text` and `groups` are in the root file system at `root`.
///
/// # Errors
/// In runc's words, if a name is not known there.
pub fn identify(
    root: &Path,
    process: &Process,
    text: &str,
    groups: &[String],
) -> Result<Identity, Failure> {
    let root = Root::open(root).map_err(Failure::at(format!("open {}", root.display())))?;
    let passwd = read(&root, "/etc/passwd");
    let group = read(&root, "/etc/group");
    let user = process.user();
    let more = user.additional_gids().clone().unwrap_or_default();
    let mut identity = match text.is_empty() {
        true => Identity {
            uid: user.uid(),
            gid: user.gid(),
            groups: Vec::new(),
            home: home_of(&passwd, user.uid()),
        },
        false => by_text(text, &passwd, &group)?,
    };
    // The primary group is among them, as in moby: a file that shuts its group out shuts out every member
    // (CVE-2022-36109). Who gives numbers gets those.
    if !text.is_empty() {
        identity.groups.insert(0, identity.gid);
    }
    identity.groups.extend(more);
    for name in groups {
        // Docker's own word begins with a capital letter here.
        let found = group_by_text(name, &group);
        identity.groups.push(found.map_err(|failure| {
            Failure::other(failure.message.replacen("unable to", "Unable to", 1))
        })?);
    }
    // To the kernel it means "as it is": root.
    let mut ids = [identity.uid, identity.gid].into_iter();
    if ids.any(|id| id == u32::MAX) || identity.groups.contains(&u32::MAX) {
        let text = format!(
            "unable to setup user: {} is no id of a user or group",
            u32::MAX
        );
        return Err(Failure::other(text));
    }
    let mut seen = Vec::new();
    identity.groups.retain(|gid| {
        let new = !seen.contains(gid);
        seen.push(*gid);
        new
    });
    Ok(identity)
}

/// A file that is not there, or no file, has no entries.
fn read(root: &Root, path: &str) -> String {
    let bytes = root.read_small(Path::new(path), LIMIT).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn by_text(text: &str, passwd: &str, group: &str) -> Result<Identity, Failure> {
    let (user, own_group) = match text.split_once(':') {
        Some((user, group)) => (user, group),
        None => (text, ""),
    };
    let number = user.parse::<i64>().ok();
    let entry = entries(passwd).find(|entry| {
        entry.name() == user || number.is_some() && entry.number(2).map(i64::from) == number
    });
    // An empty user is root's number.
    let entry = if user.is_empty() {
        entries(passwd).find(|entry| entry.number(2) == Some(0))
    } else {
        entry
    };
    let mut identity = match (&entry, number) {
        (Some(entry), _) => Identity {
            uid: entry.number(2).unwrap_or(0),
            gid: entry.number(3).unwrap_or(0),
            groups: Vec::new(),
            home: entry.field(5).to_owned(),
        },
        (None, Some(number)) => Identity {
            uid: in_range(number)?,
            home: "/".into(),
            ..Identity::default()
        },
        (None, None) if user.is_empty() => Identity {
            home: "/".into(),
            ..Identity::default()
        },
        (None, None) => {
            let text = format!("unable to find user {user}: no matching entries in passwd file");
            return Err(Failure::other(text));
        }
    };
    if !own_group.is_empty() {
        identity.gid = group_by_text(own_group, group)?;
    } else if let Some(entry) = &entry {
        let member = |group: &Entry<'_>| group.field(3).split(',').any(|name| name == entry.name());
        identity.groups = entries(group)
            .filter(member)
            .filter_map(|group| group.number(2))
            .collect();
    }
    Ok(identity)
}

fn group_by_text(text: &str, group: &str) -> Result<u32, Failure> {
    let number = text.parse::<i64>().ok();
    let entry = entries(group).find(|entry| {
        entry.name() == text || number.is_some() && entry.number(2).map(i64::from) == number
    });
    match (entry.and_then(|entry| entry.number(2)), number) {
        (Some(gid), _) => Ok(gid),
        (None, Some(number)) => in_range(number),
        (None, None) => {
            let text = format!("unable to find group {text}: no matching entries in group file");
            Err(Failure::other(text))
        }
    }
}

fn in_range(number: i64) -> Result<u32, Failure> {
    let id = u32::try_from(number).ok().filter(|id| *id <= HIGHEST);
    id.ok_or_else(|| Failure::other("uids and gids must be in range 0-2147483647"))
}

fn home_of(passwd: &str, uid: u32) -> String {
    let entry = entries(passwd).find(|entry| entry.number(2) == Some(uid));
    match entry.map(|entry| entry.field(5)) {
        None | Some("") => "/".to_owned(),
        Some(home) => home.to_owned(),
    }
}

/// A line of passwd(5) or group(5).
struct Entry<'a>(&'a str);

impl<'a> Entry<'a> {
    fn field(&self, number: usize) -> &'a str {
        self.0.split(':').nth(number).unwrap_or("").trim()
    }

    fn name(&self) -> &'a str {
        self.field(0)
    }

    fn number(&self, field: usize) -> Option<u32> {
        self.field(field).parse().ok()
    }
}

fn entries(text: &str) -> impl Iterator<Item = Entry<'_>> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(Entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\n# none:x:9:9::/:\nweb:x:33:34::/var/www:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\naudio:x:29:web,root\nvideo:x:44:web\n";

    fn find(text: &str) -> Result<Identity, String> {
        by_text(text, PASSWD, GROUP).map_err(|failure| failure.to_string())
    }

    #[test]
    fn users_by_name_and_number_with_their_groups() {
        let web = Identity {
            uid: 33,
            gid: 34,
            groups: vec![29, 44],
            home: "/var/www".into(),
        };
        assert_eq!(find("web"), Ok(web.clone()));
        assert_eq!(find("33"), Ok(web));
        let alone = Identity {
            uid: 33,
            gid: 44,
            groups: vec![],
            home: "/var/www".into(),
        };
        assert_eq!(find("web:video"), Ok(alone));
        let unknown = Identity {
            uid: 1000,
            gid: 0,
            groups: vec![],
            home: "/".into(),
        };
        assert_eq!(find("1000"), Ok(unknown.clone()));
        assert_eq!(find("1000:77"), Ok(Identity { gid: 77, ..unknown }));
    }

    #[test]
    fn unknown_names_in_docker_s_words() {
        assert_eq!(
            find("x").unwrap_err(),
            "unable to find user x: no matching entries in passwd file"
        );
        assert_eq!(
            find("web:x").unwrap_err(),
            "unable to find group x: no matching entries in group file"
        );
        assert_eq!(
            find("4294967295").unwrap_err(),
            "uids and gids must be in range 0-2147483647"
        );
        for text in ["-1", "4294967296", "0:-1"] {
            assert_eq!(
                find(text).unwrap_err(),
                "uids and gids must be in range 0-2147483647"
            );
        }
    }
}
