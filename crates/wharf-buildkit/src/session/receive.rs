//! The receiving half of BuildKit's file sync (`fsutil`): a folder here becomes what the client says its folder is.
//!
//! The client describes its tree, entry by entry; what differs from ours is asked for by number, and comes in pieces.
//! A new file is written into its place, and has its time last; one that takes the place of another is written beside the tree and
//! moved into it when it is whole. So what a transfer that is cut off at any point leaves of a file has another time than the client's,
//! and the next one asks for it again; for whole ones it does not.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
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
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags, chmodat, chownat, fchmod,
    fchown, fsetxattr, futimens, linkat, mkdirat, mknodat, openat, readlinkat, renameat, statat,
    symlinkat, utimensat,
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
/// Folders that are kept open.
const OPEN: usize = 64;

/// A tree that is being brought in line.
pub(crate) struct Receiver {
    root: Root,
    /// Where files are until they are whole that take the place of others: on the same file system.
    beside: OwnedFd,
    entries: Entries,
    /// Everything that is to be there.
    there: HashSet<OsString>,
    wanted: VecDeque<Wanted>,
    coming: HashMap<u32, Coming>,
    /// Done when every file is there.
    links: Vec<(PathBuf, PathBuf)>,
    folders: Vec<Entry>,
    described: bool,
    requests: mpsc::UnboundedSender<Packet>,
    /// Folders that were used lately. None of them is replaced any more: that was done when it came, before what is in it.
    open: RefCell<HashMap<PathBuf, Arc<OwnedFd>>>,
}

/// A file that is to be asked for.
struct Wanted {
    number: u32,
    entry: Entry,
    /// Whether nothing is in its place.
    is_new: bool,
}

/// Brings the folder behind `root` in line with what a client has sent, who hears nothing of it. Files are in `beside`, on the
/// same file system, until they are whole. Blocks.
///
/// # Errors
/// If the packets say what they may not, or not all of it; or the disk refuses.
pub fn receive(root: Root, beside: OwnedFd, packets: Vec<Packet>) -> Result<(), String> {
    let (sender, mut receiver) = mpsc::channel(1);
    sender
        .try_send(packets)
        .map_err(|error| error.to_string())?;
    drop(sender);
    let (requests, _) = mpsc::unbounded_channel();
    match Receiver::new(root, beside, requests).run(&mut receiver, |_| {}) {
        Ok(Ended::Whole) => Ok(()),
        Ok(Ended::Cut(error)) | Err(error) => Err(error.to_string()),
    }
}

/// The client says no more, and not all is here.
fn gone() -> Ended {
    let error = "the client went away while it sent files";
    Ended::Cut(Error::Failed(error.to_owned()))
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
    /// Its name beside the tree; none for one that is in its place.
    beside: Option<String>,
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
            there: HashSet::new(),
            wanted: VecDeque::new(),
            coming: HashMap::new(),
            links: Vec::new(),
            folders: Vec::new(),
            described: false,
            requests,
            open: RefCell::default(),
        }
    }

    /// Takes packets until the tree is whole, or the client fails or goes away. Blocks. `progress` is told how many bytes have
    /// come.
    ///
    /// # Errors
    /// If the client says what it may not, or the disk refuses.
    pub(crate) fn run(
        mut self,
        packets: &mut mpsc::Receiver<Vec<Packet>>,
        mut progress: impl FnMut(u64),
    ) -> Result<Ended, Error> {
        let mut bytes = 0;
        while let Some(several) = packets.blocking_recv() {
            let sizes = several.iter().map(Packet::encoded_len);
            bytes += sizes.sum::<usize>() as u64;
            progress(bytes);
            for packet in several {
                if let Some(ended) = self.packet(packet)? {
                    return Ok(ended);
                }
            }
        }
        Ok(gone())
    }

    /// Takes one; how it ends, if it does.
    fn packet(&mut self, packet: Packet) -> Result<Option<Ended>, Error> {
        match packet.r#type() {
            PacketType::PacketStat => self.stat(packet.stat)?,
            PacketType::PacketData => self.data(packet.id, &packet.data)?,
            PacketType::PacketErr => {
                let text = String::from_utf8_lossy(&packet.data);
                let error = Error::Failed(format!("error from sender: {text}"));
                return Ok(Some(Ended::Cut(error)));
            }
            // Its answer to ours.
            PacketType::PacketFin => return Ok(Some(gone())),
            PacketType::PacketReq => {
                return Err(Error::Invalid("a request from the sender".to_owned()));
            }
        }
        if !self.described || !self.coming.is_empty() || !self.wanted.is_empty() {
            return Ok(None);
        }
        self.finish()?;
        self.send(PacketType::PacketFin, 0);
        Ok(Some(Ended::Whole))
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
            self.there.insert(path.into_os_string());
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
        let mut open = self.open.borrow_mut();
        if let Some(folder) = open.get(parent) {
            return Ok((folder.clone(), name.as_bytes()));
        }
        let folder = Arc::new(self.root.open_at(parent, flags, Mode::empty())?);
        if open.len() >= OPEN {
            open.clear();
        }
        open.insert(parent.to_owned(), folder.clone());
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
                    self.wanted.push_back(Wanted {
                        number,
                        entry,
                        is_new: now.is_none_or(|_| kind == Some(FileType::Directory)),
                    });
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
            && let Some(wanted) = self.wanted.pop_front()
        {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(0o600);
            let number = wanted.number;
            let (file, beside) = match wanted.is_new {
                true => {
                    let (folder, name) = self.place(&wanted.entry.path)?;
                    let file = openat(&folder, name, flags | OFlags::EXCL, mode)?;
                    (file, None)
                }
                false => {
                    let name = number.to_string();
                    let flags = flags | OFlags::TRUNC;
                    let file = openat(&self.beside, name.as_str(), flags, mode)?;
                    (file, Some(name))
                }
            };
            let coming = Coming {
                entry: wanted.entry,
                file: file.into(),
                beside,
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

    /// A whole file gets its looks and its place in the tree.
    fn settle(&self, coming: Coming) -> io::Result<()> {
        let Coming {
            entry,
            file,
            beside,
            content,
        } = coming;
        // So that the next builds do not read it to know that it is the same.
        content.keep(&file);
        // Also of what is to be root's: its folder may give its own group to what is made in it.
        let (uid, gid) = entry.owner;
        fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        fchmod(&file, Mode::from_raw_mode(entry.mode))?;
        // After the owner, whose change takes capabilities away.
        for (attribute, value) in &entry.xattrs {
            match fsetxattr(&file, attribute.as_str(), value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Last: by its time it is known to be whole.
        futimens(&file, &timestamps(entry.modified))?;
        drop(file);
        let Some(name) = beside else {
            return Ok(());
        };
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
        let keep = |path: &Path| self.there.contains(path.as_os_str());
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
    let times = timestamps(nanoseconds);
    Ok(utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn timestamps(nanoseconds: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: nanoseconds.div_euclid(1_000_000_000),
        tv_nsec: nanoseconds.rem_euclid(1_000_000_000),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn packet(kind: PacketType, stat: Option<Stat>, data: &[u8]) -> Packet {
        Packet {
            r#type: kind.into(),
            stat,
            data: data.to_vec(),
            ..Packet::default()
        }
    }

    /// What a client sends of a file `f` with this text.
    fn sent(text: &[u8], modified: i64) -> Vec<Packet> {
        let stat = Stat {
            path: "f".to_owned(),
            mode: 0o640,
            size: i64::try_from(text.len()).unwrap(),
            mod_time: modified,
            ..Stat::default()
        };
        vec![
            packet(PacketType::PacketStat, Some(stat), b""),
            packet(PacketType::PacketStat, None, b""),
            packet(PacketType::PacketData, None, text),
            packet(PacketType::PacketData, None, b""),
        ]
    }

    #[test]
    fn a_folder_that_gives_its_group_away_gives_it_to_no_file() {
        use super::super::stat::{FOLDER, SETGID};
        let dir = tempfile::tempdir().unwrap();
        let (files, beside) = (dir.path().join("files"), dir.path().join("beside"));
        std::fs::create_dir(&files).unwrap();
        std::fs::create_dir(&beside).unwrap();
        let folder = Stat {
            path: "d".to_owned(),
            mode: FOLDER | SETGID | 0o755,
            gid: 8,
            ..Stat::default()
        };
        let file = Stat {
            path: "d/f".to_owned(),
            mode: 0o644,
            ..Stat::default()
        };
        let mut packets = vec![
            packet(PacketType::PacketStat, Some(folder), b""),
            packet(PacketType::PacketStat, Some(file), b""),
            packet(PacketType::PacketStat, None, b""),
            packet(PacketType::PacketData, None, b""),
        ];
        packets[3].id = 1;
        let root = Root::open(&files).unwrap();
        receive(root, File::open(&beside).unwrap().into(), packets).unwrap();
        use std::os::unix::fs::MetadataExt as _;
        let (folder, file) = (files.join("d"), files.join("d/f"));
        assert_eq!(folder.metadata().unwrap().gid(), 8);
        assert_eq!(file.metadata().unwrap().gid(), 0);
    }

    /// All of it has come but the word that this is all.
    #[test]
    fn what_is_not_known_to_be_whole_is_asked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        let (files, beside) = (dir.path().join("files"), dir.path().join("beside"));
        std::fs::create_dir(&files).unwrap();
        std::fs::create_dir(&beside).unwrap();
        let run = |mut packets: Vec<Packet>, count: usize| {
            packets.truncate(count);
            let (sender, mut receiver) = mpsc::channel(1);
            sender.try_send(packets).unwrap();
            drop(sender);
            let (requests, mut requested) = mpsc::unbounded_channel();
            let beside = File::open(&beside).unwrap().into();
            let receiver_of = Receiver::new(Root::open(&files).unwrap(), beside, requests);
            let ended = receiver_of.run(&mut receiver, |_| {}).unwrap();
            let mut asked = 0;
            while let Ok(request) = requested.try_recv() {
                asked += usize::from(request.r#type() == PacketType::PacketReq);
            }
            (matches!(ended, Ended::Whole), asked)
        };
        assert_eq!(run(sent(b"one", 5), 3), (false, 1));
        assert_eq!(run(sent(b"one", 5), 4), (true, 1));
        let inode = || std::os::unix::fs::MetadataExt::ino(&files.join("f").metadata().unwrap());
        let first = inode();
        assert_eq!(run(sent(b"one", 5), 2), (true, 0));
        assert_eq!(first, inode());
        // One that is there is replaced and never written to: others may have it under another name.
        std::fs::hard_link(files.join("f"), dir.path().join("twin")).unwrap();
        assert_eq!(run(sent(b"two", 6), 3), (false, 1));
        assert_eq!(std::fs::read(files.join("f")).unwrap(), b"one");
        assert_eq!(run(sent(b"two", 6), 4), (true, 1));
        assert_eq!(std::fs::read(files.join("f")).unwrap(), b"two");
        assert_eq!(std::fs::read(dir.path().join("twin")).unwrap(), b"one");
        assert_eq!(std::fs::read_dir(&beside).unwrap().count(), 0);
    }
}
