//! The receiving half of BuildKit's file sync (`fsutil`): a folder here becomes what the client says its folder is.
//!
//! The client describes its tree, entry by entry; what differs from ours is asked for by number, and comes in pieces.
//! A file is written beside the tree and moved into it when it is whole, so that a transfer that is cut off at any
//! point leaves only whole files, which the next one does not ask for again.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use prost::Message as _;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags, chmodat, chownat, fsetxattr,
    linkat, mkdirat, mknodat, openat, readlinkat, renameat, statat, symlinkat, utimensat,
};
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use tokio::sync::mpsc;
use wharf_layer::Content;
use wharf_sys::root::Root;

use super::stat::{Entries, Entry, Kind};
use super::tree;
use crate::error::Error;

/// Files that are on their way at the same time.
const IN_FLIGHT: usize = 64;

/// A tree that is being brought in line.
pub(crate) struct Receiver {
    root: Root,
    /// Where files are until they are whole: on the same file system.
    beside: OwnedFd,
    entries: Entries,
    /// Everything that is to be there.
    there: BTreeSet<PathBuf>,
    wanted: VecDeque<(u32, Entry)>,
    coming: HashMap<u32, Coming>,
    /// Done when every file is there.
    links: Vec<(PathBuf, PathBuf)>,
    folders: Vec<Entry>,
    described: bool,
    requests: mpsc::UnboundedSender<Packet>,
    /// The folder that was used last: what is in it comes one after the other.
    last: RefCell<Option<(PathBuf, Arc<OwnedFd>)>>,
}

/// Brings the folder behind `root` in line with what a client has sent, who hears nothing of it. Files are in `beside`, on the
/// same file system, until they are whole. Blocks.
///
/// # Errors
/// If the packets say what they may not, or not all of it; or the disk refuses.
pub fn receive(root: Root, beside: OwnedFd, packets: Vec<Packet>) -> Result<(), String> {
    let (sender, mut receiver) = mpsc::channel(packets.len().max(1));
    for packet in packets {
        sender.try_send(packet).map_err(|error| error.to_string())?;
    }
    drop(sender);
    let (requests, _) = mpsc::unbounded_channel();
    match Receiver::new(root, beside, requests).run(&mut receiver, |_| {}) {
        Ok(Ended::Whole) => Ok(()),
        Ok(Ended::Cut(error)) | Err(error) => Err(error.to_string()),
    }
}

/// How a transfer ended that nothing here was in the way of.
pub(crate) enum Ended {
    /// All is here.
    Whole,
    /// The client does not go on. Its stream may say why, in better words than these.
    Cut(Error),
}

struct Coming {
    entry: Entry,
    file: File,
    name: String,
    content: Content,
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    Error::io(&format!("receive {}", path.display()))
}

impl Receiver {
    /// Brings the folder behind `root` in line; files are in `beside` until they are whole.
    pub(crate) fn new(
        root: Root,
        beside: OwnedFd,
        requests: mpsc::UnboundedSender<Packet>,
    ) -> Self {
        Self {
            root,
            beside,
            entries: Entries::default(),
            there: BTreeSet::new(),
            wanted: VecDeque::new(),
            coming: HashMap::new(),
            links: Vec::new(),
            folders: Vec::new(),
            described: false,
            requests,
            last: RefCell::new(None),
        }
    }

    /// Takes packets until the tree is whole, or the client fails or goes away. Blocks. `progress` is told how many bytes have
    /// come.
    ///
    /// # Errors
    /// If the client says what it may not, or the disk refuses.
    pub(crate) fn run(
        mut self,
        packets: &mut mpsc::Receiver<Packet>,
        mut progress: impl FnMut(u64),
    ) -> Result<Ended, Error> {
        let mut bytes = 0;
        while let Some(packet) = packets.blocking_recv() {
            bytes += packet.encoded_len() as u64;
            progress(bytes);
            match packet.r#type() {
                PacketType::PacketStat => self.stat(packet.stat)?,
                PacketType::PacketData => self.data(packet.id, &packet.data)?,
                PacketType::PacketErr => {
                    let text = String::from_utf8_lossy(&packet.data);
                    let error = Error::Failed(format!("error from sender: {text}"));
                    return Ok(Ended::Cut(error));
                }
                // Its answer to ours.
                PacketType::PacketFin => break,
                PacketType::PacketReq => {
                    return Err(Error::Invalid("a request from the sender".to_owned()));
                }
            }
            if self.described && self.coming.is_empty() && self.wanted.is_empty() {
                self.finish()?;
                self.send(PacketType::PacketFin, 0);
                return Ok(Ended::Whole);
            }
        }
        let error = "the client went away while it sent files";
        Ok(Ended::Cut(Error::Failed(error.to_owned())))
    }

    fn send(&self, kind: PacketType, id: u32) {
        // Who does not listen any more is seen by its silence.
        let _ = self.requests.send(Packet {
            r#type: kind.into(),
            id,
            ..Packet::default()
        });
    }

    fn stat(&mut self, stat: Option<Stat>) -> Result<(), Error> {
        let Some(stat) = stat else {
            self.described = true;
            return Ok(());
        };
        if self.described {
            return Err(Error::Invalid("an entry after the last".to_owned()));
        }
        let (number, entry) = self.entries.take(stat)?;
        let path = entry.path.clone();
        let kept = self.entry(number, entry).map_err(failed(&path))?;
        if kept {
            self.there.insert(path);
        }
        self.ask().map_err(failed(Path::new("files")))
    }

    /// The folder that holds `path`, and its name there.
    fn place<'a>(&self, path: &'a Path) -> io::Result<(Arc<OwnedFd>, &'a [u8])> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut last = self.last.borrow_mut();
        if let Some((path, folder)) = &*last
            && path == parent
        {
            return Ok((folder.clone(), name.as_bytes()));
        }
        let folder = Arc::new(self.root.open_at(parent, flags, Mode::empty())?);
        *last = Some((parent.to_owned(), folder.clone()));
        Ok((folder, name.as_bytes()))
    }

    /// Brings one entry in line, or notes what is to be asked for. Whether it is to stay.
    fn entry(&mut self, number: u32, entry: Entry) -> io::Result<bool> {
        let (folder, name) = self.place(&entry.path)?;
        let now = match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        };
        let kind = now.map(|stat| FileType::from_raw_mode(stat.st_mode));
        match &entry.kind {
            Kind::Folder => {
                if kind != Some(FileType::Directory) {
                    tree::remove(&folder, name)?;
                    mkdirat(&folder, name, Mode::from_raw_mode(0o700))?;
                }
                look(&folder, name, &entry)?;
                self.folders.push(entry);
            }
            Kind::File(size) => {
                let same = now.is_some_and(|now| {
                    kind == Some(FileType::RegularFile)
                        && u64::try_from(now.st_size) == Ok(*size)
                        && now.st_mode & 0o7777 == entry.mode
                        && (now.st_uid, now.st_gid) == entry.owner
                        && modified(&now) == entry.modified
                });
                if !same {
                    if kind == Some(FileType::Directory) {
                        tree::remove(&folder, name)?;
                    }
                    self.wanted.push_back((number, entry));
                }
            }
            Kind::Link(target) => {
                let same = kind == Some(FileType::Symlink)
                    && readlinkat(&folder, name, Vec::new())?.as_bytes() == target.as_bytes();
                if !same {
                    tree::remove(&folder, name)?;
                    symlinkat(target.as_str(), &folder, name)?;
                }
                own(&folder, name, &entry)?;
                times(&folder, name, entry.modified)?;
            }
            Kind::Same(target) => self.links.push((target.clone(), entry.path.clone())),
            Kind::Fifo => {
                if kind != Some(FileType::Fifo) {
                    tree::remove(&folder, name)?;
                    mknodat(&folder, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
                }
                look(&folder, name, &entry)?;
            }
            Kind::Other => return Ok(false),
        }
        Ok(true)
    }

    /// Asks for the next files.
    fn ask(&mut self) -> io::Result<()> {
        while self.coming.len() < IN_FLIGHT
            && let Some((number, entry)) = self.wanted.pop_front()
        {
            let name = number.to_string();
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
            let mode = Mode::from_raw_mode(0o600);
            let file = openat(&self.beside, name.as_str(), flags | OFlags::CLOEXEC, mode)?;
            let file = File::from(file);
            let coming = Coming {
                entry,
                file,
                name,
                content: Content::default(),
            };
            self.coming.insert(number, coming);
            self.send(PacketType::PacketReq, number);
        }
        Ok(())
    }

    fn data(&mut self, number: u32, data: &[u8]) -> Result<(), Error> {
        let Some(coming) = self.coming.get_mut(&number) else {
            return Err(Error::Invalid(format!("invalid file request {number}")));
        };
        if !data.is_empty() {
            coming.content.update(data);
            let written = coming.file.write_all(data);
            return written.map_err(failed(&coming.entry.path));
        }
        if let Some(coming) = self.coming.remove(&number) {
            let path = coming.entry.path.clone();
            self.settle(coming).map_err(failed(&path))?;
            self.ask().map_err(failed(&path))?;
        }
        Ok(())
    }

    /// Moves a whole file into the tree.
    fn settle(&self, coming: Coming) -> io::Result<()> {
        let Coming {
            entry,
            file,
            name,
            content,
        } = coming;
        // So that the next builds do not read it to know that it is the same.
        content.keep(&file);
        look(&self.beside, name.as_bytes(), &entry)?;
        // After the owner, whose change takes capabilities away.
        for (attribute, value) in &entry.xattrs {
            match fsetxattr(&file, attribute.as_str(), value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        drop(file);
        let (folder, target) = self.place(&entry.path)?;
        match renameat(&self.beside, name.as_str(), &folder, target) {
            Ok(()) => Ok(()),
            Err(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => {
                tree::remove(&folder, target)?;
                Ok(renameat(&self.beside, name.as_str(), &folder, target)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// When every file is there: other names of files, what is not to be there, and times of folders.
    fn finish(&mut self) -> Result<(), Error> {
        for (target, path) in std::mem::take(&mut self.links) {
            self.link(&target, &path).map_err(failed(&path))?;
        }
        let keep = |path: &Path| self.there.contains(path);
        tree::sweep(self.root.as_fd(), &mut PathBuf::new(), &keep)
            .map_err(Error::io("remove what is not sent any more"))?;
        for entry in self.folders.iter().rev() {
            let set = || {
                let (folder, name) = self.place(&entry.path)?;
                times(&folder, name, entry.modified)
            };
            set().map_err(failed(&entry.path))?;
        }
        Ok(())
    }

    fn link(&self, target: &Path, path: &Path) -> io::Result<()> {
        let (from, name) = self.place(target)?;
        let (to, new) = self.place(path)?;
        let there = statat(&from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(there.st_mode) != FileType::RegularFile {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        tree::remove(&to, new)?;
        Ok(linkat(&from, name, &to, new, AtFlags::empty())?)
    }
}

#[expect(
    clippy::unnecessary_cast,
    reason = "the types differ between architectures"
)]
pub(crate) fn modified(stat: &rustix::fs::Stat) -> i64 {
    (stat.st_mtime as i64)
        .saturating_mul(1_000_000_000)
        .saturating_add(stat.st_mtime_nsec as i64)
}

/// Owner, permissions and time of what is no link.
fn look(folder: &OwnedFd, name: &[u8], entry: &Entry) -> io::Result<()> {
    own(folder, name, entry)?;
    chmodat(
        folder,
        name,
        Mode::from_raw_mode(entry.mode),
        AtFlags::empty(),
    )?;
    times(folder, name, entry.modified)
}

fn own(folder: &OwnedFd, name: &[u8], entry: &Entry) -> io::Result<()> {
    let (uid, gid) = entry.owner;
    let ids = (Uid::from_raw(uid), Gid::from_raw(gid));
    Ok(chownat(
        folder,
        name,
        Some(ids.0),
        Some(ids.1),
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

fn times(folder: &OwnedFd, name: &[u8], nanoseconds: i64) -> io::Result<()> {
    let time = Timespec {
        tv_sec: nanoseconds.div_euclid(1_000_000_000),
        tv_nsec: nanoseconds.rem_euclid(1_000_000_000),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
