//! Merge and diff: trees out of the layers of others.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard_buildkit_proto::pb;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, statat};
use wharf_builder::transfer::{self, Looks};
use wharf_builder::tree;
use wharf_sys::root::Root;

use super::VertexRun;
use crate::result::Inner;
use crate::{Job, Ref, SolveError, blocking};

impl VertexRun<'_> {
    /// All layers of all inputs on top of each other: nothing is copied.
    pub(super) async fn merge(&self, merge: &pb::MergeOp) -> Result<Ref, SolveError> {
        let inputs = merge.inputs.iter().map(|input| self.input(input.input));
        let inputs: Vec<Ref> = inputs.collect::<Result<_, _>>()?;
        let job = self.job.clone();
        blocking(move || {
            let trees = inputs.iter().map(|tree| job.layered(tree));
            let trees: Vec<Ref> = trees.collect::<Result<_, _>>()?;
            Ok(stacked(&trees))
        })
        .await
    }

    /// What the upper tree has that the lower one has not.
    pub(super) async fn diff(&self, diff: &pb::DiffOp) -> Result<Ref, SolveError> {
        let lower = self.input(diff.lower.map_or(-1, |lower| lower.input))?;
        let upper = self.input(diff.upper.map_or(-1, |upper| upper.input))?;
        let job = self.job.clone();
        blocking(move || {
            let (lower, upper) = (job.layered(&lower)?, job.layered(&upper)?);
            if upper.layers().starts_with(lower.layers()) {
                return Ok(without_first(&upper, lower.layers().len()));
            }
            compared(&job, &lower, &upper)
        })
        .await
    }
}

/// Trees on top of each other.
fn stacked(trees: &[Ref]) -> Ref {
    let mut layers = Vec::new();
    let mut keep = Vec::new();
    for tree in trees {
        if let Inner::Layers {
            layers: own,
            keep: kept,
        } = &*tree.0
        {
            layers.extend(own.iter().cloned());
            keep.extend(kept.iter().cloned());
        }
    }
    Ref(Arc::new(Inner::Layers { layers, keep }))
}

fn without_first(tree: &Ref, count: usize) -> Ref {
    let keep = match &*tree.0 {
        Inner::Layers { keep, .. } => keep.clone(),
        Inner::Folder { .. } => Vec::new(),
    };
    let layers = tree.layers().iter().skip(count).cloned().collect();
    Ref(Arc::new(Inner::Layers { layers, keep }))
}

/// The difference of two trees that are not one on top of the other: what is new or other is copied, what is gone gets
/// overlay's mark.
pub(crate) fn compared(job: &Job, lower: &Ref, upper: &Ref) -> Result<Ref, SolveError> {
    let (old, new) = (lower.tree(job)?, upper.tree(job)?);
    let mut changes = Changes::default();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let open = |root: &Root| root.open_at(Path::new("."), flags, Mode::empty());
    let failed = SolveError::io("compare trees");
    let (old_top, new_top) = (
        open(&old.root).map_err(&failed)?,
        open(&new.root).map_err(&failed)?,
    );
    changes
        .walk(&old_top, &new_top, Path::new(""), 0)
        .map_err(&failed)?;
    let workspace = job.engine().containers.tree(&[])?;
    {
        let root = workspace.root()?;
        for path in &changes.copied {
            let to = Path::new("/").join(path);
            transfer::file((&new.root, path), (&root, &to), Looks::default())?;
        }
    }
    // Marks mean something only where overlay does not see them made: in the folder itself.
    let upper_folder = workspace.upper()?;
    let top = Root::open(&upper_folder).map_err(&failed)?;
    for path in &changes.gone {
        let above = path.parent().unwrap_or(Path::new("")).to_owned();
        let folder = top
            .mkdir_all(&above, Mode::from_raw_mode(0o755))
            .map_err(&failed)?;
        let name = path.file_name().unwrap_or_default();
        rustix::fs::mknodat(&folder, name, FileType::CharacterDevice, Mode::empty(), 0)
            .map_err(|error| failed(error.into()))?;
    }
    job.sealed(&workspace, &Ref::scratch(), &[])
}

#[derive(Debug, Default)]
struct Changes {
    copied: Vec<PathBuf>,
    gone: Vec<PathBuf>,
}

impl Changes {
    fn walk(
        &mut self,
        old: &OwnedFd,
        new: &OwnedFd,
        path: &Path,
        depth: usize,
    ) -> std::io::Result<()> {
        if depth > tree::MAX_DEPTH {
            return Err(tree::too_deep());
        }
        let before: BTreeSet<Vec<u8>> = tree::names(old.as_fd())?.into_iter().collect();
        let after: BTreeSet<Vec<u8>> = tree::names(new.as_fd())?.into_iter().collect();
        let at = |name: &Vec<u8>| path.join(OsStr::from_bytes(name));
        self.gone.extend(before.difference(&after).map(at));
        for name in &after {
            let own = OsStr::from_bytes(name);
            let stat = statat(new, own, AtFlags::SYMLINK_NOFOLLOW)?;
            let past = match before.contains(name) {
                true => Some(statat(old, own, AtFlags::SYMLINK_NOFOLLOW)?),
                false => None,
            };
            let is_folder =
                |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            match past {
                Some(past) if is_folder(&past) && is_folder(&stat) => {
                    let inside = (
                        tree::folder(old.as_fd(), name)?,
                        tree::folder(new.as_fd(), name)?,
                    );
                    self.walk(&inside.0, &inside.1, &at(name), depth + 1)?;
                }
                Some(past) if same(&past, &stat) && same_bytes(old, new, own, &stat)? => {}
                _ => self.copied.push(at(name)),
            }
        }
        Ok(())
    }
}

fn same(a: &Stat, b: &Stat) -> bool {
    (a.st_mode, a.st_uid, a.st_gid, a.st_size, a.st_rdev)
        == (b.st_mode, b.st_uid, b.st_gid, b.st_size, b.st_rdev)
}

/// Whether two files, which look the same, are.
fn same_bytes(old: &OwnedFd, new: &OwnedFd, name: &OsStr, stat: &Stat) -> std::io::Result<bool> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => {
            let link = |folder: &OwnedFd| rustix::fs::readlinkat(folder, name, Vec::new());
            Ok(link(old)? == link(new)?)
        }
        FileType::RegularFile => {
            let open = |folder: &OwnedFd| {
                let folder =
                    Root::open(Path::new(&format!("/proc/self/fd/{}", folder.as_raw_fd())))?;
                transfer::open_file(&folder, Path::new(name))
            };
            let (mut a, mut b) = (open(old)?, open(new)?);
            let (mut x, mut y) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
            loop {
                let count = std::io::Read::read(&mut a, &mut x)?;
                if count == 0 {
                    return Ok(true);
                }
                let (Some(x), Some(y)) = (x.get(..count), y.get_mut(..count)) else {
                    return Ok(false);
                };
                if std::io::Read::read_exact(&mut b, y).is_err() || x != y {
                    return Ok(false);
                }
            }
        }
        _ => Ok(true),
    }
}
