//! `RUN --mount=type=cache`: folders that stay from build to build.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::BuildError;

/// The folder of a cache below `base`; with `locked` after everyone else, with `private` one that nobody else uses now.
/// It is in use while the file lives. Blocks.
///
/// # Errors
/// If it cannot be made, or the sharing mode is none.
pub fn take(
    base: &Path,
    name: &str,
    sharing: &str,
    mode: u32,
    (uid, gid): (u32, u32),
) -> Result<(PathBuf, Option<std::fs::File>), BuildError> {
    let failed = BuildError::io("open a cache mount");
    let make = |name: &str| -> std::io::Result<(PathBuf, std::fs::File)> {
        let folder = base.join(name).join("data");
        std::fs::create_dir_all(base.join(name))?;
        match std::fs::create_dir(&folder) {
            Ok(()) => {
                std::os::unix::fs::chown(&folder, Some(uid), Some(gid))?;
                std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let lock = std::fs::File::create(base.join(name).join("lock"))?;
        Ok((folder, lock))
    };
    match sharing {
        "shared" => {
            let (folder, lock) = make(name).map_err(&failed)?;
            // Shared with others that mount it, not with a prune.
            rustix::fs::flock(&lock, FlockOperation::LockShared)
                .map_err(|error| failed(error.into()))?;
            Ok((folder, Some(lock)))
        }
        "locked" => {
            let (folder, lock) = make(name).map_err(&failed)?;
            rustix::fs::flock(&lock, FlockOperation::LockExclusive)
                .map_err(|error| failed(error.into()))?;
            Ok((folder, Some(lock)))
        }
        "private" => {
            let mut number = 0;
            loop {
                let (folder, lock) = make(&format!("{name}-{number}")).map_err(&failed)?;
                if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                    return Ok((folder, Some(lock)));
                }
                number += 1;
            }
        }
        other => Err(BuildError::Invalid(format!(
            "unsupported sharing value {other:?}"
        ))),
    }
}
