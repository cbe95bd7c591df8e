//! Folders for what somebody else fills.

use std::io;
use std::path::{Path, PathBuf};

use wharf_sys::trash::remove_tree;

/// A folder that is removed with all in it when it is dropped, however deep that is nested: what a client sends and a step makes
/// overflows the stack of who removes it by recursion.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one in `parent`, by a name that begins with `prefix`.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new_in(parent: &Path, prefix: &str) -> io::Result<Self> {
        let made = tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?;
        Ok(Self(made.keep()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        match remove_tree(&self.0) {
            // It may have been moved elsewhere.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %self.0.display(), "remove a folder of a build");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use rustix::fs::{Mode, OFlags};
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::*;

    /// Who goes down level by level has a descriptor open for each.
    #[test]
    fn what_is_nested_without_end_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let few = Rlimit {
            current: Some(400),
            maximum: getrlimit(Resource::Nofile).maximum,
        };
        setrlimit(Resource::Nofile, few).unwrap();
        let scratch = Scratch::new_in(dir.path(), "step-").unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut at: OwnedFd = std::fs::File::open(scratch.path()).unwrap().into();
        for _ in 0..2_000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "d", flags, Mode::empty()).unwrap();
        }
        drop(scratch);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
