//! What a solve comes to: trees of files, and words about them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard_buildkit_proto::pb;
use rustix::fs::{FileType, Mode, OFlags, fstat, readlinkat};
use wharf_builder::tree;
use wharf_engine::{Workspace, resolve};
use wharf_oci::{ChainId, Descriptor, Digest, Platform};
use wharf_sys::root::Root;

use crate::blocking;
use crate::{Attestation, Job, SolveError};

/// Largest file that is read into memory for a frontend.
const MAX_FILE: u64 = 64 << 20;

/// A layer: a folder of the snapshots, and the digest of its archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its folder's name among the snapshots.
    pub chain: ChainId,
    /// Digest of its uncompressed archive.
    pub diff_id: Digest,
    /// Sum of the sizes of its files, in bytes.
    pub size: u64,
    /// The blob it came from; none for one that was made here.
    pub blob: Option<Descriptor>,
    /// When it was made here, in seconds since 1970.
    pub created: Option<i64>,
}

/// A tree of files that does not change. Clones are the same tree, which stays while one of them lives.
#[derive(Clone, Debug)]
pub struct Ref(pub(crate) Arc<Inner>);

/// What a tree is made of.
#[derive(Debug)]
pub(crate) enum Inner {
    /// Layers, bottom first; none is an empty tree.
    Layers {
        layers: Vec<Layer>,
        /// What keeps them.
        keep: Vec<Arc<dyn Keep>>,
    },
    /// A folder that a client sent, or that was fetched.
    Folder {
        local: wharf_builder::Local,
        /// What is in it, if that is known; else it is like nothing else.
        content: Digest,
    },
}

/// Something that keeps files from being removed while it lives.
pub(crate) trait Keep: Send + Sync + std::fmt::Debug {}

/// The files of a tree, mounted nowhere.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Every path in it is looked up below this.
    pub root: Arc<Root>,
    keep: (Option<Arc<Workspace>>, Ref),
}

/// One result of a solve.
#[derive(Clone, Debug, Default)]
pub struct SolveResult {
    /// The tree, if there is one only.
    pub single: Option<Ref>,
    /// The trees by the key of their platform (`linux/amd64`), in the order of `platforms`.
    pub refs: BTreeMap<String, Ref>,
    /// The platforms by key, as they were asked for.
    pub platforms: Vec<(String, Platform)>,
    /// What exporters are told (`containerimage.config`, `refs.platforms`, …), as BuildKit's frontends say it.
    pub metadata: BTreeMap<String, Vec<u8>>,
    /// What the trees were solved from, by the keys of `refs`; by an empty one that of the single tree.
    pub definitions: BTreeMap<String, pb::Definition>,
    /// What is said of the trees, by the keys of their platforms.
    pub attestations: BTreeMap<String, Vec<Attestation>>,
}

/// A file or folder of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Its path; the name alone where a folder was read.
    pub path: String,
    /// Go's `os.FileMode`, as `fsutil` has it.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: i64,
    /// Last change, in nanoseconds since 1970.
    pub mod_time: i64,
    /// Where a link leads.
    pub linkname: String,
    /// Number of a device.
    pub devmajor: i64,
    /// Number of a device.
    pub devminor: i64,
}

/// A part of a file: `length` bytes from `offset` on, as far as there are any; 0 for all of them.
fn read_range(root: &Root, path: &Path, (offset, length): (u64, u64)) -> io::Result<Vec<u8>> {
    use std::io::{Read as _, Seek as _};
    let mut file = wharf_builder::transfer::open_file(root, path)?;
    file.seek(io::SeekFrom::Start(offset))?;
    let wanted = match length {
        0 => MAX_FILE + 1,
        length => length,
    };
    let mut bytes = Vec::new();
    file.take(wanted.min(MAX_FILE + 1))
        .read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_FILE {
        true => Err(io::ErrorKind::InvalidData.into()),
        false => Ok(bytes),
    }
}

impl Ref {
    /// An empty tree.
    pub(crate) fn scratch() -> Self {
        Self(Arc::new(Inner::Layers {
            layers: Vec::new(),
            keep: Vec::new(),
        }))
    }

    /// Its layers; none of a client's folder.
    pub fn layers(&self) -> &[Layer] {
        match &*self.0 {
            Inner::Layers { layers, .. } => layers,
            Inner::Folder { .. } => &[],
        }
    }

    /// The folder, of a client's.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match &*self.0 {
            Inner::Layers { .. } => None,
            Inner::Folder { local, .. } => Some(&local.folder),
        }
    }

    pub(crate) fn chains(&self) -> Vec<ChainId> {
        self.layers().iter().map(|layer| layer.chain).collect()
    }

    pub(crate) fn diff_ids(&self) -> Vec<Digest> {
        self.layers().iter().map(|layer| layer.diff_id).collect()
    }

    /// What it is, as the cache knows it. A client's folder is only itself.
    pub(crate) fn identity(&self) -> Digest {
        match &*self.0 {
            Inner::Layers { layers, .. } => {
                let parts = layers.iter().map(|layer| layer.diff_id.to_string());
                Digest::sha256(parts.collect::<Vec<_>>().join(" ").as_bytes())
            }
            Inner::Folder { content, .. } => *content,
        }
    }

    /// Its files. Blocks.
    pub(crate) fn tree(&self, job: &Job) -> Result<Tree, SolveError> {
        if let Some(folder) = self.folder() {
            let root = Root::open(folder).map_err(SolveError::io("open the client's files"))?;
            return Ok(Tree {
                root: Arc::new(root),
                keep: (None, self.clone()),
            });
        }
        let workspace = job.engine().containers.tree(&self.chains())?;
        Tree::of(Arc::new(workspace), self.clone())
    }

    /// The bytes of a file; at most `length` from `offset` on.
    ///
    /// # Errors
    /// If there is no such file.
    pub async fn read_file(
        &self,
        job: &Job,
        path: &str,
        range: Option<(u64, u64)>,
    ) -> Result<Vec<u8>, SolveError> {
        let (tree, job, path) = (self.clone(), job.clone(), PathBuf::from(path));
        blocking(move || {
            let tree = tree.tree(&job)?;
            let failed = |error: io::Error| missing("open", &path, &error);
            let found = resolve(&tree.root, &path).map_err(failed)?;
            match range {
                None => tree.root.read_small(&found.path, MAX_FILE),
                Some(range) => read_range(&tree.root, &found.path, range),
            }
            .map_err(failed)
        })
        .await
    }

    /// What is in a folder, by name; only what fits the pattern, if one is given.
    ///
    /// # Errors
    /// If there is no such folder.
    pub async fn read_dir(
        &self,
        job: &Job,
        path: &str,
        include: &str,
    ) -> Result<Vec<Stat>, SolveError> {
        use std::os::fd::AsFd as _;
        let (tree, job) = (self.clone(), job.clone());
        let (path, include) = (PathBuf::from(path), include.to_owned());
        blocking(move || {
            let tree = tree.tree(&job)?;
            let failed = |error: io::Error| missing("open", &path, &error);
            let found = resolve(&tree.root, &path).map_err(failed)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let folder = tree.root.open_at(&found.path, flags, Mode::empty());
            let names = tree::names(folder.map_err(failed)?.as_fd()).map_err(failed)?;
            let texts = names.iter().map(|name| String::from_utf8_lossy(name));
            let wanted = texts
                .filter(|name| include.is_empty() || wharf_images::glob::matches(&include, name));
            wanted
                .map(|name| stat(&tree.root, &found.path.join(&*name), &name).map_err(failed))
                .collect()
        })
        .await
    }

    /// What is at a path; a link there is followed.
    ///
    /// # Errors
    /// If nothing is.
    pub async fn stat(&self, job: &Job, path: &str) -> Result<Stat, SolveError> {
        let (tree, job, asked) = (self.clone(), job.clone(), path.to_owned());
        blocking(move || {
            let tree = tree.tree(&job)?;
            let path = PathBuf::from(&asked);
            let failed = |error: io::Error| missing("lstat", &path, &error);
            let found = resolve(&tree.root, &path).map_err(failed)?;
            stat(&tree.root, &found.path, &asked).map_err(failed)
        })
        .await
    }
}

fn missing(what: &str, path: &Path, error: &io::Error) -> SolveError {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            SolveError::NotFound(format!("{what} {path}: no such file or directory"))
        }
        _ => SolveError::Failed(format!("{what} {path}: {error}")),
    }
}

impl Tree {
    /// The folders of the layers that something in it is made of, the topmost first.
    pub(crate) fn folders_at(&self, path: &Path) -> Result<Vec<PathBuf>, SolveError> {
        match &self.keep.0 {
            Some(workspace) => Ok(workspace.folders_at(path)?),
            None => Ok(Vec::new()),
        }
    }

    /// The files of a workspace that stands on a tree. Blocks.
    pub(crate) fn of(workspace: Arc<Workspace>, below: Ref) -> Result<Self, SolveError> {
        let root = Arc::new(workspace.root()?);
        Ok(Self {
            root,
            keep: (Some(workspace), below),
        })
    }
}

fn stat(root: &Root, path: &Path, name: &str) -> io::Result<Stat> {
    let found = root.open_at(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
    let stat = fstat(&found)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let linkname = match kind {
        FileType::Symlink => {
            let target = readlinkat(&found, "", Vec::new())?;
            String::from_utf8_lossy(target.as_bytes()).into_owned()
        }
        _ => String::new(),
    };
    let is_device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
    let device = if is_device { stat.st_rdev } else { 0 };
    Ok(Stat {
        path: name.to_owned(),
        mode: go_mode(stat.st_mode),
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: if kind == FileType::Directory {
            0
        } else {
            stat.st_size
        },
        mod_time: stat
            .st_mtime
            .saturating_mul(1_000_000_000)
            .saturating_add(i64::try_from(stat.st_mtime_nsec).unwrap_or(0)),
        linkname,
        devmajor: rustix::fs::major(device).into(),
        devminor: rustix::fs::minor(device).into(),
    })
}

/// Go's `os.FileMode` of a mode of Unix.
fn go_mode(mode: u32) -> u32 {
    const DIR: u32 = 1 << 31;
    const SYMLINK: u32 = 1 << 27;
    const DEVICE: u32 = 1 << 26;
    const PIPE: u32 = 1 << 25;
    const SOCKET: u32 = 1 << 24;
    const SETUID: u32 = 1 << 23;
    const SETGID: u32 = 1 << 22;
    const CHAR: u32 = 1 << 21;
    const STICKY: u32 = 1 << 20;
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => DIR,
        FileType::Symlink => SYMLINK,
        FileType::BlockDevice => DEVICE,
        FileType::CharacterDevice => DEVICE | CHAR,
        FileType::Fifo => PIPE,
        FileType::Socket => SOCKET,
        _ => 0,
    };
    let bits = [(0o4000, SETUID), (0o2000, SETGID), (0o1000, STICKY)];
    let special = bits.iter().filter(|(bit, _)| mode & bit != 0);
    special.fold(kind | mode & 0o777, |all, (_, bit)| all | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_gos() {
        assert_eq!(go_mode(0o100_644), 0o644);
        assert_eq!(go_mode(0o041_777), (1 << 31) | (1 << 20) | 0o777);
        assert_eq!(go_mode(0o104_755), (1 << 23) | 0o755);
        assert_eq!(go_mode(0o120_777), (1 << 27) | 0o777);
        assert_eq!(go_mode(0o020_600), (1 << 26) | (1 << 21) | 0o600);
    }

    /// A part of a file is had however large the file is.
    #[test]
    fn a_part_of_a_file_is_read_from_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(dir.path().join("f")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"end", 2 * MAX_FILE).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let read = |range| read_range(&root, Path::new("/f"), range);
        assert_eq!(read((2 * MAX_FILE, 2)).unwrap(), b"en");
        assert_eq!(read((2 * MAX_FILE + 1, 0)).unwrap(), b"nd");
        assert!(read((3 * MAX_FILE, 5)).unwrap().is_empty());
        assert!(read((0, 0)).is_err() && read((0, u64::MAX)).is_err());
    }
}
