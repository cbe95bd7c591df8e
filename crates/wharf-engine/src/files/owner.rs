//! Whom files belong to that are copied in by `cp -a`: the container's user.

use std::path::Path;

use wharf_sys::root::Root;

use crate::EngineError;

/// Larger files of users are an attack on our memory.
const LIMIT: u64 = 16 << 20;

/// The ids of `text` (`user[:group]`, names or numbers), looked up in the container's own files; none if it is empty.
///
/// # Errors
/// `Failed` for a name that is not there.
pub fn owner(root: &Root, text: &str) -> Result<Option<(u32, u32)>, EngineError> {
    if text.is_empty() {
        return Ok(None);
    }
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let entry = find(&read(root, "/etc/passwd"), user);
    let (uid, own_group) = match (entry, user.parse().ok()) {
        (Some((uid, gid)), _) => (uid, gid),
        (None, Some(uid)) => (uid, 0),
        (None, None) => {
            return Err(EngineError::Failed(format!(
                "unable to find user {user}: no matching entries in passwd file"
            )));
        }
    };
    let gid = match group {
        "" => own_group,
        group => match (find(&read(root, "/etc/group"), group), group.parse().ok()) {
            (Some((gid, _)), _) | (None, Some(gid)) => gid,
            (None, None) => {
                return Err(EngineError::Failed(format!(
                    "unable to find group {group}: no matching entries in group file"
                )));
            }
        },
    };
    Ok(Some((uid, gid)))
}

/// A file that is not there has no entries.
fn read(root: &Root, path: &str) -> String {
    let bytes = root.read_small(Path::new(path), LIMIT).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The two numbers of the entry with this name, or this number.
fn find(text: &str, wanted: &str) -> Option<(u32, u32)> {
    let entries = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let number = |fields: &[&str], at: usize| fields.get(at).and_then(|field| field.parse().ok());
    for fields in entries {
        if fields.first() == Some(&wanted) || fields.get(2) == Some(&wanted) {
            return Some((number(&fields, 2)?, number(&fields, 3).unwrap_or(0)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_in_the_containers_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(
            dir.path().join("etc/passwd"),
            "root:x:0:0::/:\napp:x:5:7::/:\n",
        )
        .unwrap();
        std::fs::write(dir.path().join("etc/group"), "staff:x:50:\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let of = |text: &str| owner(&root, text).unwrap();
        assert_eq!(of(""), None);
        assert_eq!(of("app"), Some((5, 7)));
        assert_eq!(of("5"), Some((5, 7)));
        assert_eq!(of("app:staff"), Some((5, 50)));
        assert_eq!(of("9:11"), Some((9, 11)));
        assert!(owner(&root, "nobody").is_err());
        assert!(owner(&root, "app:nobody").is_err());
    }
}
