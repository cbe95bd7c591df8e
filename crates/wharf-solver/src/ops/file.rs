//! File operations: copy, mkdir, mkfile, symlink, rm.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard_buildkit_proto::pb;
use bollard_buildkit_proto::pb::file_action::Action;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chownat, openat, statat,
    symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use wharf_builder::{has_wildcards, paths, transfer, tree};
use wharf_engine::{Workspace, resolve};
use wharf_sys::root::Root;

use super::{VertexRun, copy};
use crate::flight::Outputs;
use crate::{Job, Ref, SolveError, blocking};

/// A tree between actions.
#[derive(Clone)]
enum Stage {
    /// Finished.
    Done(Ref),
    /// Written to by the last action, and only one more wants it.
    Open(Arc<Workspace>, Ref),
}

impl VertexRun<'_> {
    pub(super) async fn file(&self, file: &pb::FileOp) -> Result<Outputs, SolveError> {
        let mut inputs = Vec::new();
        for at in 0..self.node.inputs.len() {
            inputs.push(self.input(i64::try_from(at).unwrap_or(-1))?);
        }
        let work = Work {
            job: self.job.clone(),
            actions: file.actions.clone(),
            inputs,
        };
        blocking(move || work.run()).await
    }
}

struct Work {
    job: Job,
    actions: Vec<pb::FileAction>,
    inputs: Vec<Ref>,
}

impl Work {
    fn run(self) -> Result<Outputs, SolveError> {
        let mut stages: HashMap<usize, Stage> = HashMap::new();
        for (at, input) in self.inputs.iter().enumerate() {
            stages.insert(at, Stage::Done(input.clone()));
        }
        let mut outputs = Outputs::new();
        for (at, action) in self.actions.iter().enumerate() {
            let (workspace, below) = self.begin(&mut stages, action.input)?;
            let tree = Arc::new(workspace.root()?);
            self.act(action, &tree, &mut stages)?;
            drop(tree);
            let own = self.inputs.len() + at;
            let wanted = usize::try_from(action.output).ok();
            if wanted.is_none() && self.users(own) == 1 {
                stages.insert(own, Stage::Open(workspace, below));
                continue;
            }
            let done = seal(&self.job, &workspace, &below)?;
            if let Some(output) = wanted {
                if outputs.len() <= output {
                    outputs.resize(output + 1, None);
                }
                outputs[output] = Some(done.clone());
            }
            stages.insert(own, Stage::Done(done));
        }
        Ok(outputs)
    }

    /// How many actions want a tree.
    fn users(&self, number: usize) -> usize {
        let wants = |input: i64| usize::try_from(input) == Ok(number);
        let inputs = self.actions.iter();
        let inputs = inputs.flat_map(|action| [action.input, action.secondary_input]);
        inputs.filter(|input| wants(*input)).count()
    }

    /// A tree to write to, on top of an input.
    fn begin(
        &self,
        stages: &mut HashMap<usize, Stage>,
        input: i64,
    ) -> Result<(Arc<Workspace>, Ref), SolveError> {
        let Ok(number) = usize::try_from(input) else {
            let below = Ref::scratch();
            return Ok((Arc::new(self.job.engine().containers.tree(&[])?), below));
        };
        match stages.get(&number) {
            Some(Stage::Open(workspace, below)) => {
                let open = (workspace.clone(), below.clone());
                stages.remove(&number);
                Ok(open)
            }
            Some(Stage::Done(tree)) => {
                let below = self.job.layered(tree)?;
                let workspace = self.job.engine().containers.tree(&below.chains())?;
                Ok((Arc::new(workspace), below))
            }
            None => Err(SolveError::Invalid(format!("no tree at input {input}"))),
        }
    }

    fn act(
        &self,
        action: &pb::FileAction,
        root: &Root,
        stages: &mut HashMap<usize, Stage>,
    ) -> Result<(), SolveError> {
        match &action.action {
            Some(Action::Copy(copy)) => {
                let owner = owner_of(root, copy.owner.as_ref())?;
                let from = self.source(stages, action.secondary_input)?;
                let tree = from.tree(&self.job)?;
                let from = copy::From {
                    root: &tree.root,
                    is_client: from.folder().is_some(),
                    is_classic: self.job.is_classic(),
                };
                copy::copy(copy, &from, root, owner)
            }
            Some(Action::Mkdir(folder)) => mkdir(root, folder),
            Some(Action::Mkfile(file)) => mkfile(root, file),
            Some(Action::Symlink(link)) => symlink(root, link),
            Some(Action::Rm(gone)) => rm(root, gone),
            None => Err(SolveError::Invalid("unknown file action".to_owned())),
        }
    }

    fn source(&self, stages: &mut HashMap<usize, Stage>, input: i64) -> Result<Ref, SolveError> {
        let Ok(number) = usize::try_from(input) else {
            return Ok(Ref::scratch());
        };
        let found = stages.get(&number).cloned();
        match found {
            Some(Stage::Done(tree)) => Ok(tree),
            Some(Stage::Open(workspace, below)) => {
                let done = seal(&self.job, &workspace, &below)?;
                stages.insert(number, Stage::Done(done.clone()));
                Ok(done)
            }
            None => Err(SolveError::Invalid(format!("no tree at input {input}"))),
        }
    }
}

/// What was written becomes a layer.
pub(super) fn seal(job: &Job, workspace: &Workspace, below: &Ref) -> Result<Ref, SolveError> {
    job.sealed(workspace, below, &[])
}

/// A path from the top, without `.` and `..`.
pub(super) fn clean(path: &str) -> PathBuf {
    wharf_go::path::clean_from_top(path).into()
}

/// The numbers of an owner, looked up in the tree's own files.
pub(super) fn owner_of(
    root: &Root,
    owner: Option<&pb::ChownOpt>,
) -> Result<Option<(u32, u32)>, SolveError> {
    use pb::user_opt::User;
    let Some(owner) = owner else {
        return Ok(None);
    };
    let text = |one: &Option<pb::UserOpt>| match one.as_ref().and_then(|one| one.user.as_ref()) {
        Some(User::ById(id)) => id.to_string(),
        Some(User::ByName(name)) => name.name.clone(),
        None => String::new(),
    };
    let (user, group) = (text(&owner.user), text(&owner.group));
    let asked = match (user.as_str(), group.as_str()) {
        ("", "") => return Ok(None),
        // A number alone is the group's too (`llbsolver/file`, `readUser`).
        (user, "") if user.parse::<u32>().is_ok() => format!("{user}:{user}"),
        (user, "") => user.to_owned(),
        ("", group) => format!("0:{group}"),
        (user, group) => format!("{user}:{group}"),
    };
    Ok(wharf_engine::owner(root, &asked)?)
}

/// The folder of a path, which must be there, and the last name.
fn parent(root: &Root, path: &Path) -> Result<(OwnedFd, Vec<u8>), SolveError> {
    let failed = |error: std::io::Error| failed("open", path, &error);
    let above = path.parent().unwrap_or(Path::new("/"));
    let found = resolve(root, above).map_err(failed)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = root
        .open_at(&found.path, flags, Mode::empty())
        .map_err(failed)?;
    let name = path.file_name().unwrap_or_default();
    Ok((folder, name.as_bytes().to_vec()))
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> SolveError {
    let path = path.display();
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            SolveError::NotFound(format!("{what} {path}: no such file or directory"))
        }
        _ => SolveError::Failed(format!("{what} {path}: {error}")),
    }
}

fn mkdir(root: &Root, action: &pb::FileActionMkDir) -> Result<(), SolveError> {
    let path = clean(&action.path);
    let owner = owner_of(root, action.owner.as_ref())?;
    let there = transfer::is_folder(root, &path);
    if action.make_parents {
        let bits = mode(action.mode).as_raw_mode();
        transfer::make_folders(root, &path, owner.or(Some((0, 0))), bits)?;
    } else if !there {
        let (folder, name) = parent(root, &path)?;
        rustix::fs::mkdirat(
            &folder,
            OsStr::from_bytes(&name),
            Mode::from_raw_mode(0o755),
        )
        .map_err(|error| failed("mkdir", &path, &error.into()))?;
    }
    if there {
        return Ok(());
    }
    let made = resolve(root, &path).map_err(|error| failed("mkdir", &path, &error))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = root.open_at(&made.path, flags, Mode::empty());
    let folder = folder.map_err(|error| failed("mkdir", &path, &error))?;
    let set = || -> Result<(), Errno> {
        let (uid, gid) = owner.unwrap_or((0, 0));
        rustix::fs::fchown(&folder, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        rustix::fs::fchmod(&folder, mode(action.mode))?;
        match times(action.timestamp) {
            Some(times) => rustix::fs::futimens(&folder, &times),
            None => Ok(()),
        }
    };
    set().map_err(|error| failed("mkdir", &path, &error.into()))
}

fn mkfile(root: &Root, action: &pb::FileActionMkFile) -> Result<(), SolveError> {
    let path = clean(&action.path);
    let owner = owner_of(root, action.owner.as_ref())?;
    // Wherever a link there leads.
    let found = resolve(root, &path).map_err(|error| failed("open", &path, &error))?;
    let (folder, name) = parent(root, &found.path)?;
    let flags = OFlags::WRONLY
        | OFlags::CREATE
        | OFlags::TRUNC
        | OFlags::NOFOLLOW
        | OFlags::CLOEXEC
        | OFlags::NONBLOCK;
    let write = || -> std::io::Result<()> {
        let file = openat(
            &folder,
            OsStr::from_bytes(&name),
            flags,
            Mode::from_raw_mode(0o600),
        )?;
        if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(std::io::ErrorKind::InvalidInput.into());
        }
        let mut file = std::fs::File::from(file);
        std::io::Write::write_all(&mut file, &action.data)?;
        let (uid, gid) = owner.unwrap_or((0, 0));
        rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        rustix::fs::fchmod(&file, mode(action.mode))?;
        if let Some(times) = times(action.timestamp) {
            rustix::fs::futimens(&file, &times)?;
        }
        Ok(())
    };
    write().map_err(|error| failed("open", &path, &error))
}

fn symlink(root: &Root, action: &pb::FileActionSymlink) -> Result<(), SolveError> {
    let path = clean(&action.newpath);
    let owner = owner_of(root, action.owner.as_ref())?;
    let (folder, name) = parent(root, &path)?;
    let name = OsStr::from_bytes(&name);
    let make = || -> Result<(), Errno> {
        symlinkat(action.oldpath.as_str(), &folder, name)?;
        let (uid, gid) = owner.unwrap_or((0, 0));
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        chownat(
            &folder,
            name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
        match times(action.timestamp) {
            Some(times) => utimensat(&folder, name, &times, AtFlags::SYMLINK_NOFOLLOW),
            None => Ok(()),
        }
    };
    make().map_err(|error| failed("symlink", &path, &error.into()))
}

fn rm(root: &Root, action: &pb::FileActionRm) -> Result<(), SolveError> {
    let clean_path = clean(&action.path);
    let text = clean_path.to_string_lossy();
    let text = text.trim_start_matches('/');
    let found = match action.allow_wildcard && has_wildcards(text) {
        true => paths(root, text).map_err(|error| failed("rm", &clean_path, &error))?,
        false => vec![PathBuf::from(text)],
    };
    for path in found {
        let path = Path::new("/").join(path);
        if path == Path::new("/") {
            return Err(SolveError::Invalid("rm /: refused".to_owned()));
        }
        let gone = parent(root, &path).and_then(|(folder, name)| {
            remove(&folder, &name, 0).map_err(|error| failed("rm", &path, &error.into()))
        });
        match gone {
            Err(SolveError::NotFound(_)) if action.allow_not_found => {}
            other => other?,
        }
    }
    Ok(())
}

/// Removes what is at a name, a whole tree if need be; links are removed, not followed.
fn remove(folder: &OwnedFd, name: &[u8], depth: usize) -> Result<(), Errno> {
    if depth > tree::MAX_DEPTH {
        return Err(Errno::NAMETOOLONG);
    }
    let own = OsStr::from_bytes(name);
    let stat = statat(folder, own, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return unlinkat(folder, own, AtFlags::empty());
    }
    let child = tree::folder(folder.as_fd(), name)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let names = tree::names(child.as_fd());
    for inside in names.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))? {
        remove(&child, &inside, depth + 1)?;
    }
    unlinkat(folder, own, AtFlags::REMOVEDIR)
}

fn mode(bits: i32) -> Mode {
    Mode::from_raw_mode(u32::try_from(bits).unwrap_or(0o755) & 0o7777)
}

/// A time in nanoseconds since 1970; negative for now.
fn times(nanos: i64) -> Option<Timestamps> {
    if nanos < 0 {
        return None;
    }
    let time = Timespec {
        tv_sec: nanos / 1_000_000_000,
        tv_nsec: nanos % 1_000_000_000,
    };
    Some(Timestamps {
        last_access: time,
        last_modification: time,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_actions_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("in");
        std::fs::create_dir(&inside).unwrap();
        std::os::unix::fs::symlink(dir.path(), inside.join("out")).unwrap();
        std::fs::write(dir.path().join("victim"), "x").unwrap();
        let root = Root::open(&inside).unwrap();
        let make = |path: &str, make_parents| {
            mkdir(
                &root,
                &pb::FileActionMkDir {
                    path: path.to_owned(),
                    mode: 0o711,
                    make_parents,
                    timestamp: 5_000_000_000,
                    owner: None,
                },
            )
        };
        make("/a/b", true).unwrap();
        make("/a", false).unwrap();
        assert!(make("/x/y", false).is_err());
        use std::os::unix::fs::MetadataExt as _;
        let made = inside.join("a/b").metadata().unwrap();
        assert_eq!((made.mode() & 0o777, made.mtime()), (0o711, 5));
        let above = inside.join("a").metadata().unwrap();
        assert_eq!(above.mode() & 0o777, 0o711, "as BuildKit makes them");
        let file = pb::FileActionMkFile {
            path: "/a/../a/f".to_owned(),
            mode: 0o640,
            data: b"data".to_vec(),
            timestamp: -1,
            owner: None,
        };
        mkfile(&root, &file).unwrap();
        assert_eq!(std::fs::read(inside.join("a/f")).unwrap(), b"data");
        symlink(
            &root,
            &pb::FileActionSymlink {
                oldpath: "f".to_owned(),
                newpath: "/a/l".to_owned(),
                ..pb::FileActionSymlink::default()
            },
        )
        .unwrap();
        let gone = |path: &str, allow| {
            rm(
                &root,
                &pb::FileActionRm {
                    path: path.to_owned(),
                    allow_not_found: allow,
                    allow_wildcard: true,
                },
            )
        };
        // The link leads to the top of the tree, where there is no such file.
        assert!(gone("/out/victim", false).is_err());
        gone("/out/victim", true).unwrap();
        assert!(dir.path().join("victim").exists());
        gone("/a/*", false).unwrap();
        assert_eq!(std::fs::read_dir(inside.join("a")).unwrap().count(), 0);
        gone("/out", false).unwrap();
        assert!(dir.path().join("victim").exists());
        assert!(gone("/", false).is_err());
    }
}
