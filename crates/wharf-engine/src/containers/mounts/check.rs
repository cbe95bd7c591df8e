//! What can be said of mounts before anything is made for them.

use std::collections::BTreeSet;

use wharf_go::path::clean_from_top;

use crate::{EngineError, HostConfig, MountKind, MountRequest};

/// No path is a target twice.
pub(super) fn targets(host: &HostConfig) -> Result<(), EngineError> {
    let mut taken = BTreeSet::new();
    let mut once = |target: &str| match taken.insert(clean_from_top(target)) {
        true => Ok(()),
        false => Err(EngineError::Invalid(format!(
            "Duplicate mount point: {target}"
        ))),
    };
    let binds = host.binds.iter().map(|bind| &bind.target);
    for target in binds.chain(host.mounts.iter().map(|mount| &mount.target)) {
        once(target)?;
    }
    for target in host.tmpfs.keys() {
        self::target(target).map_err(EngineError::Invalid)?;
        once(target)?;
    }
    Ok(())
}

/// moby `linuxValidateAbsolute` and `linuxValidateNotRoot`.
pub(super) fn target(target: &str) -> Result<(), String> {
    if target.starts_with('/') && clean_from_top(target) == "/" {
        return Err("invalid specification: destination can't be '/'".to_owned());
    }
    match target.starts_with('/') {
        true => Ok(()),
        false => Err(format!(
            "invalid mount path: '{target}' mount path must be absolute"
        )),
    }
}

/// One `--mount`, before anything is made for any (moby `volume/mounts`, `validateMountConfigImpl`).
pub(super) fn mount(mount: &MountRequest) -> Result<(), EngineError> {
    let kind = mount.kind.name();
    let check = || match mount.target.as_str() {
        "" => Err("field Target must not be empty".to_owned()),
        target => self::target(target).and_then(|()| self::kind(mount)),
    };
    check().map_err(|text| {
        EngineError::Invalid(format!("invalid mount config for type \"{kind}\": {text}"))
    })
}

fn kind(mount: &MountRequest) -> Result<(), String> {
    match &mount.kind {
        MountKind::Bind {
            source,
            create_source,
            read_only_non_recursive,
            read_only_force_recursive,
            ..
        } => {
            let shown = source.display();
            if *read_only_non_recursive && *read_only_force_recursive {
                let text = "mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive";
                return Err(text.to_owned());
            }
            if source.as_os_str().is_empty() {
                return Err("field Source must not be empty".to_owned());
            }
            if !source.is_absolute() {
                return Err(format!(
                    "invalid mount path: '{shown}' mount path must be absolute"
                ));
            }
            if !create_source && std::fs::metadata(source).is_err() {
                return Err(format!("bind source path does not exist: {shown}"));
            }
            Ok(())
        }
        MountKind::Volume {
            source, subpath, ..
        } => {
            if source.is_empty() && !subpath.is_empty() {
                return Err("must not set Subpath when using anonymous volumes".to_owned());
            }
            if source.is_empty() && mount.read_only {
                return Err("must not set ReadOnly mode when using anonymous volumes".to_owned());
            }
            self::subpath(subpath)
        }
        MountKind::Image { source, subpath } => {
            if source.is_empty() {
                return Err("field Source must not be empty".to_owned());
            }
            self::subpath(subpath)
        }
        MountKind::Tmpfs(_) => Ok(()),
    }
}

/// Go's `filepath.IsLocal`: nothing absolute, and nothing that climbs out.
fn subpath(subpath: &str) -> Result<(), String> {
    let mut depth = 0_i32;
    let mut inside = !subpath.starts_with('/');
    for part in subpath.split('/') {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        inside &= depth >= 0;
    }
    match inside {
        true => Ok(()),
        false => Err("subpath must be a relative path within the volume".to_owned()),
    }
}

#[cfg(test)]
mod tests {

    #[test]
    fn subpaths_stay_inside() {
        for (subpath, inside) in [
            ("", true),
            ("a/../b", true),
            ("./a", true),
            ("..", false),
            ("a/../../b", false),
            ("/a", false),
        ] {
            assert_eq!(super::subpath(subpath).is_ok(), inside, "{subpath}");
        }
    }
}
