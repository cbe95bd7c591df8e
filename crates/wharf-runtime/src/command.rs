//! The program, its arguments, environment and folder.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Process;
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, accessat};
use wharf_sys::root::Root;
use wharf_sys::{exec, words};

use crate::user::Identity;
use crate::{Failure, FailureKind};

/// What is executed.
pub(crate) struct Command {
    arguments: Vec<CString>,
    environment: Vec<CString>,
    name: String,
    path: String,
    folder: PathBuf,
}

impl Command {
    pub(crate) fn of(process: &Process, identity: &Identity) -> Result<Self, Failure> {
        let arguments = process.args().as_deref().unwrap_or_default();
        let name = arguments.first().cloned();
        let name = name.ok_or_else(|| Failure::other("args must not be empty"))?;
        let mut environment = once(process.env().as_deref().unwrap_or_default());
        // An empty one is none, as with runc.
        environment.retain(|entry| entry != "HOME=");
        if !environment.iter().any(|entry| entry.starts_with("HOME=")) {
            environment.push(format!("HOME={}", identity.home));
        }
        let path = environment
            .iter()
            .rev()
            .find_map(|entry| entry.strip_prefix("PATH="));
        Ok(Self {
            path: path.unwrap_or_default().to_owned(),
            arguments: strings(arguments)?,
            environment: strings(&environment)?,
            name,
            folder: process.cwd().clone(),
        })
    }

    /// Goes to the working folder, found by descriptor and without magic links: `/proc/self/fd/7` is none
    /// (CVE-2024-21626).
    pub(crate) fn enter_folder(&self) -> Result<(), Failure> {
        let shown = self.folder.display();
        let failed = Failure::at(format!(
            "chdir to cwd ({shown:?}) set in config.json failed"
        ));
        let entered = || -> io::Result<()> {
            let root = Root::open(Path::new("/"))?;
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let folder = root.open_at(&self.folder, flags, Mode::empty())?;
            Ok(rustix::process::fchdir(folder)?)
        };
        entered().map_err(failed)?;
        // The kernel says `(unreachable)` of a folder that is not below the root.
        let inside = rustix::process::getcwd(Vec::new())
            .is_ok_and(|folder| folder.as_bytes().first() == Some(&b'/'));
        if !inside {
            let text = "current working directory is outside of container mount namespace root \
                        -- possible container breakout detected";
            return Err(Failure::other(text));
        }
        Ok(())
    }

    /// Finds the program as the container's user, in Go's words (`exec.LookPath`) if it cannot be.
    pub(crate) fn find(&self) -> Result<CString, Failure> {
        let found = find_program(&self.name, &self.path)?;
        CString::new(found).map_err(|_| Failure::other("a NUL in the program's name"))
    }

    /// Becomes the program. If that fails it is too late for an error: like runc, the reason goes to the
    /// container's own output, and the caller ends with 255.
    pub(crate) fn execute(&self, found: &CString, init: Option<&OwnedFd>) -> String {
        let error = match init {
            None => exec::execve(found, &self.arguments, &self.environment),
            Some(init) => {
                let head = [c"/sbin/docker-init".to_owned(), c"--".to_owned()];
                let arguments: Vec<CString> = head
                    .into_iter()
                    .chain(self.arguments.iter().cloned())
                    .collect();
                // A first process that has no handlers yet would never see what is sent to it meanwhile; one that
                // may not block it is as others are.
                let _ = wharf_sys::signals::block_all();
                exec::fexecve(
                    std::os::fd::AsFd::as_fd(init),
                    &arguments,
                    &self.environment,
                )
            }
        };
        format!("exec {}: {}\n", found.to_string_lossy(), words::of(&error))
    }
}

/// Finds the program `name`: itself if it has a slash, else in the folders of `path` (`PATH`'s value).
///
/// # Errors
/// If there is none, or it cannot be executed.
pub fn find_program(name: &str, path: &str) -> Result<String, Failure> {
    let failure = |kind, reason: &str| Failure {
        kind,
        message: format!("exec: \"{name}\": {reason}"),
    };
    if name.contains('/') {
        return match executable(name) {
            Ok(()) => Ok(name.to_owned()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(failure(FailureKind::NotExecutable, "permission denied"))
            }
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                Err(failure(FailureKind::NotExecutable, "is a directory"))
            }
            Err(error) => {
                let reason = format!("stat {name}: {}", words::of(&error));
                // A loop of links is neither there nor not.
                let kind = match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FailureKind::NotFound,
                    _ => FailureKind::Other,
                };
                Err(failure(kind, &reason))
            }
        };
    }
    let folders = path
        .split(':')
        .map(|folder| if folder.is_empty() { "." } else { folder });
    let mut candidates = folders.map(|folder| format!("{}/{name}", folder.trim_end_matches('/')));
    let found = candidates.find(|candidate| !name.is_empty() && executable(candidate).is_ok());
    found.ok_or_else(|| failure(FailureKind::NotFound, "executable file not found in $PATH"))
}

/// By the calls that Go's runtime makes: the filter, which is loaded by then, may be written for that.
fn executable(path: &str) -> io::Result<()> {
    let mode = rustix::fs::stat(path)?.st_mode;
    if FileType::from_raw_mode(mode) == FileType::Directory {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)?)
}

/// Each variable once, with what was said of it last, as runc has it: programs take what they find first.
fn once(environment: &[String]) -> Vec<String> {
    let name = |entry: &str| entry.split_once('=').map(|(name, _)| name.to_owned());
    let mut seen = std::collections::HashSet::new();
    let last = environment.iter().rev();
    let mut kept: Vec<String> = last
        .filter(|entry| name(entry).is_none_or(|name| seen.insert(name)))
        .cloned()
        .collect();
    kept.reverse();
    kept
}

fn strings(texts: &[String]) -> Result<Vec<CString>, Failure> {
    let strings = texts.iter().map(|text| CString::new(text.as_str()));
    strings
        .collect::<Result<_, _>>()
        .map_err(|_| Failure::other("a NUL in an argument or variable"))
}

#[cfg(test)]
mod tests {
    use super::once;

    #[test]
    fn the_last_word_on_a_variable_counts() {
        let given = ["PATH=/bin", "A=1", "ODD", "A=2=3", "PATH=/sbin", "ODD"].map(str::to_owned);
        assert_eq!(once(&given), ["ODD", "A=2=3", "PATH=/sbin", "ODD"]);
    }
}
