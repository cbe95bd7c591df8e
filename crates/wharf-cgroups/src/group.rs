//! One container's group: made, entered, listed, killed, removed.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oci_spec::runtime::LinuxResources;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process};

use crate::limits::Journal;
use crate::name::Name;
use crate::systemd::{self, Before, Keeper};
use crate::{CgroupError, Layout, devices, limits};

/// What systemd is to know of a group from its beginning; one that is made of folders has no use for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Limits that [`Cgroup::apply`] sets next.
    pub resources: Option<&'a LinuxResources>,
    /// The spec's annotations: those named `org.systemd.property.*` are properties of the unit.
    pub annotations: Option<&'a HashMap<String, String>>,
}

/// A container's group in every hierarchy of the host.
#[derive(Debug)]
pub struct Cgroup {
    layout: Layout,
    name: Name,
    /// The v2 folder, for `CLONE_INTO_CGROUP`.
    folder: Option<OwnedFd>,
    /// What holds systemd's scope as long as it is empty.
    keeper: Option<Keeper>,
}

impl Cgroup {
    /// Makes the group `name`: a path (absolute, as `/wharf/<id>`), which may be there already, or systemd's
    /// `SLICE:PREFIX:NAME`, for a caller of one thread. See [`Cgroup::settle`].
    ///
    /// # Errors
    /// If a folder cannot be made, or systemd refuses.
    pub fn create(name: &str, wanted: Wanted<'_>) -> Result<Self, CgroupError> {
        let mut group = Self::open(name)?;
        if let Some(scope) = group.name.scope() {
            let keeper = Keeper::new().map_err(CgroupError::Keeper)?;
            scope.start(wanted, group.layout.is_v2(), keeper.pid())?;
            group.keeper = Some(keeper);
        }
        match group.make_folders() {
            Ok(folder) => {
                group.folder = folder;
                Ok(group)
            }
            Err(error) => {
                group.settle();
                let _ = group.remove();
                Err(error)
            }
        }
    }

    /// Whether [`Cgroup::make`] makes it whole: nobody is born in a group of v1, and systemd has no part in it.
    pub fn can_be_made_later(&self) -> bool {
        !self.layout.is_v2() && self.name.scope().is_none()
    }

    /// Makes one that was only opened, and that [can be](Cgroup::can_be_made_later).
    ///
    /// # Errors
    /// If a folder cannot be made. Some may have been.
    pub fn make(&self) -> Result<(), CgroupError> {
        self.make_folders().map(drop)
    }

    /// The folders, and on v2 that which a process can be born in.
    fn make_folders(&self) -> Result<Option<OwnedFd>, CgroupError> {
        for (controller, folder) in self.folders() {
            make(controller, &folder)?;
        }
        if !self.layout.is_v2() {
            return Ok(None);
        }
        self.hand_down()?;
        let folder = &self.folders()[0].1;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(folder, flags, Mode::empty()).map_err(io::Error::from);
        opened.map(Some).map_err(CgroupError::file("open", folder))
    }

    /// A process is in the group, or none will be: systemd ends an empty one by itself.
    pub fn settle(&mut self) {
        self.keeper = None;
    }

    /// The group `name`, which may or may not be there.
    ///
    /// # Errors
    /// [`CgroupError::NoHierarchy`]; [`CgroupError::Top`] for a path of nothing; [`CgroupError::BadSlice`].
    pub fn open(name: &str) -> Result<Self, CgroupError> {
        let name = Name::parse(name)?;
        Ok(Self {
            layout: Layout::detect()?,
            name,
            folder: None,
            keeper: None,
        })
    }

    /// Where it is below the hierarchies' roots, without slashes at the ends.
    pub fn path(&self) -> &str {
        self.name.path()
    }

    /// The host's hierarchies.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The v2 folder that a process can be born in; `None` on v1.
    pub fn birthplace(&self) -> Option<BorrowedFd<'_>> {
        self.folder.as_ref().map(AsFd::as_fd)
    }

    /// Sets limits and device rules of a new group. Those not mentioned stay as they are.
    ///
    /// # Errors
    /// If the host lacks a controller, or refuses a value: some of them may be set then.
    pub fn apply(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        limits::apply(self, resources)?;
        match resources.devices() {
            Some(rules) => devices::apply(self, rules),
            None => Ok(()),
        }
    }

    /// Changes limits and device rules of a group that is in use. Those not mentioned stay as they are.
    ///
    /// # Errors
    /// As [`Cgroup::apply`]; the limits are as they were.
    pub fn update(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        let before = Journal::default();
        self.change(resources, &before)
            .inspect_err(|_| before.restore())
    }

    /// As [`Cgroup::update`]; and block I/O limits of single devices that are not mentioned are taken away.
    ///
    /// # Errors
    /// As [`Cgroup::update`].
    pub fn update_devices(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        let before = Journal::default();
        limits::forget_devices(self, resources, &before)
            .and_then(|()| self.change(resources, &before))
            .inspect_err(|_| before.restore())
    }

    fn change(&self, resources: &LinuxResources, before: &Journal) -> Result<(), CgroupError> {
        let is_v2 = self.layout.is_v2();
        let Some(scope) = self.name.scope() else {
            limits::update(self, resources, before)?;
            return self.change_devices(resources);
        };
        let known = Before::read(is_v2, |controller, file| {
            limits::text(self, controller, file)
        });
        limits::update(self, resources, before)?;
        // To systemd a quota is a share of a second, which only quota and period together say.
        let whole = limits::with_bandwidth(self, resources);
        let properties = systemd::of_resources(&whole, is_v2)?;
        scope.set(&properties)?;
        // systemd has written files as well, and not all as exactly.
        limits::apply(self, resources)
            .and_then(|()| self.change_devices(resources))
            .inspect_err(|_| {
                // Else it would write the new limits again at its next reload. What it refuses now it keeps.
                let _ = scope.set(&known.of(&properties));
            })
    }

    /// Last, as a filter that was replaced is gone.
    fn change_devices(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        let rules = resources.devices().as_ref();
        rules.map_or(Ok(()), |rules| devices::apply(self, rules))
    }

    /// Moves the process `pid` into the group. On v2 a process is better born there, on v1 it better moves itself
    /// ([`Cgroup::entrance`]).
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn add(&self, pid: i32) -> Result<(), CgroupError> {
        for (_, folder) in self.folders() {
            write(&folder.join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    /// As [`Cgroup::add`]; into the group that the process `other` has gone to if this one, of v2, takes none any more, as what runs
    /// in it has handed controllers down (runc does so too).
    ///
    /// # Errors
    /// As [`Cgroup::add`].
    pub fn add_beside(&self, pid: i32, other: i32) -> Result<(), CgroupError> {
        match self.add(pid) {
            Err(CgroupError::File { source, .. }) if self.layout.is_v2() && is_closed(&source) => {
                let folder = self.folder_of(other)?;
                write(&folder.join("cgroup.procs"), &pid.to_string())
            }
            other => other,
        }
    }

    /// The v2 folder where the process `other` is, for who cannot be born in this one ([`is_closed`]).
    ///
    /// # Errors
    /// If it has ended, or the host has no v2.
    pub fn birthplace_beside(&self, other: i32) -> Result<OwnedFd, CgroupError> {
        let folder = self.folder_of(other)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&folder, flags, Mode::empty()).map_err(io::Error::from);
        opened.map_err(CgroupError::file("open", &folder))
    }

    fn folder_of(&self, process: i32) -> Result<PathBuf, CgroupError> {
        let Layout::V2 { mount } = &self.layout else {
            return Err(CgroupError::NoHierarchy);
        };
        let file = PathBuf::from(format!("/proc/{process}/cgroup"));
        let text = std::fs::read_to_string(&file).map_err(CgroupError::file("read", &file))?;
        let group = v2_group(&text).ok_or(CgroupError::NoHierarchy)?;
        Ok(mount.join(group))
    }

    /// All processes of the group and of groups below it.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub fn processes(&self) -> Result<Vec<i32>, CgroupError> {
        let mut pids = BTreeSet::new();
        collect(&self.folders()[0].1, &mut pids)?;
        Ok(pids.into_iter().collect())
    }

    /// Sends SIGKILL to all processes, until none is left that was not dying.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        if self.layout.is_v2() && write(&self.folders()[0].1.join("cgroup.kill"), "1").is_ok() {
            return Ok(());
        }
        let mut sent = BTreeSet::new();
        loop {
            let pids = self.processes()?;
            let new: Vec<i32> = pids.into_iter().filter(|pid| sent.insert(*pid)).collect();
            if new.is_empty() {
                return Ok(());
            }
            for pid in new.into_iter().filter_map(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }

    /// Removes the group, with groups below it that its processes made. A group whose last process is only
    /// dying can take a moment: then `EBUSY` is returned. See [`Cgroup::remove_when_empty`].
    ///
    /// # Errors
    /// If a folder cannot be removed.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let mut first = None;
        // With processes in it systemd would end them in its own way, and take its time.
        if let Some(scope) = self.name.scope()
            && self.processes()?.is_empty()
            && let Err(error) = scope.stop()
        {
            first = Some(error);
        }
        for (_, folder) in self.folders() {
            if let Err(error) = remove(&folder) {
                first.get_or_insert(error);
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// As [`Cgroup::remove`], but kills what is left in the group and waits, no longer than `patience`, until the
    /// kernel has buried it.
    ///
    /// # Errors
    /// If a folder cannot be removed.
    pub fn remove_when_empty(&self, patience: Duration) -> Result<(), CgroupError> {
        let until = Instant::now() + patience;
        loop {
            let removed = self.remove();
            let left = until.saturating_duration_since(Instant::now());
            if removed.is_ok() || left.is_zero() {
                return removed;
            }
            // A frozen process does not die on v1.
            if !self.layout.is_v2() && self.is_frozen() {
                let _ = self.thaw();
            }
            let _ = self.kill_all();
            self.wait_until_empty(left);
        }
    }

    /// Waits until no process is left, or `patience` is over.
    fn wait_until_empty(&self, patience: Duration) {
        let folders = self.folders();
        if self.layout.is_v2() {
            // Its end counts for groups below it as well.
            match std::fs::File::open(folders[0].1.join("cgroup.events")) {
                Ok(events) => drop(crate::freezer::wait_for(&events, "populated 0", patience)),
                // It has gone: what is left to do is systemd's, which did not answer.
                Err(_) => std::thread::sleep(patience.min(Duration::from_millis(10))),
            }
            return;
        }
        let mut pids = BTreeSet::new();
        for (_, folder) in &folders {
            let _ = collect(folder, &mut pids);
        }
        let open = |pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok();
        let ends: Vec<OwnedFd> = pids
            .into_iter()
            .filter_map(Pid::from_raw)
            .filter_map(open)
            .collect();
        let step = if ends.is_empty() {
            // All have ended, and leave the group when they are switched away from: v1 tells nobody of that moment.
            Duration::from_millis(1)
        } else {
            patience
        };
        let until = Instant::now() + step;
        for end in &ends {
            wait_for_end(end, until);
        }
        if ends.is_empty() {
            std::thread::sleep(step);
        }
    }

    /// Controller (empty on v2) and folder of the group, in each hierarchy.
    pub(crate) fn folders(&self) -> Vec<(&'static str, PathBuf)> {
        match &self.layout {
            Layout::V2 { mount } => vec![("", mount.join(self.path()))],
            Layout::V1 { controllers } => {
                let folders = controllers.iter();
                folders
                    .map(|(name, mount)| (*name, mount.join(self.path())))
                    .collect()
            }
        }
    }

    /// The folder where `controller`'s files are, if the host has it.
    pub(crate) fn controller(&self, controller: &str) -> Option<PathBuf> {
        match &self.layout {
            Layout::V2 { mount } => Some(mount.join(self.path())),
            Layout::V1 { controllers } => {
                let alias = if controller == "cpuacct" {
                    "cpu"
                } else {
                    controller
                };
                let exact = controllers.iter().find(|(name, _)| *name == controller);
                let found = exact.or_else(|| controllers.iter().find(|(name, _)| *name == alias));
                found.map(|(_, mount)| mount.join(self.path()))
            }
        }
    }

    /// v2: lets the groups from the root down to our parent pass controllers on.
    fn hand_down(&self) -> Result<(), CgroupError> {
        let Layout::V2 { mount } = &self.layout else {
            return Ok(());
        };
        let mut folder = mount.clone();
        let parents = Path::new(self.path()).parent().unwrap_or(Path::new(""));
        for name in [Path::new("")]
            .into_iter()
            .chain(parents.iter().map(Path::new))
        {
            folder.push(name);
            let offered =
                std::fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
            let handed =
                std::fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap_or_default();
            let missing = offered
                .split_whitespace()
                .filter(|name| !handed.split_whitespace().any(|known| known == *name));
            for controller in missing {
                // One by one, as some cannot be handed down everywhere; a limit that needs one says so.
                let _ = write(
                    &folder.join("cgroup.subtree_control"),
                    &format!("+{controller}"),
                );
            }
        }
        Ok(())
    }
}

/// The group of v2 in a `/proc/PID/cgroup`, without slashes at the ends.
fn v2_group(text: &str) -> Option<&str> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(path.trim_matches('/'))
}

/// Whether a group of v2 has refused a process because it has groups below it that count for themselves, or is threaded.
pub fn is_closed(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EBUSY | EOPNOTSUPP))
}

/// `EBUSY`
const EBUSY: i32 = 16;

fn wait_for_end(pidfd: &OwnedFd, until: Instant) {
    let left = until.saturating_duration_since(Instant::now());
    let timeout = Timespec {
        tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    let _ = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout));
}

fn make(controller: &str, folder: &Path) -> Result<(), CgroupError> {
    match std::fs::create_dir(folder) {
        // One that is there may have been made by somebody who has not filled it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = folder.parent().unwrap_or(Path::new("/"));
            make(controller, parent)?;
            return make(controller, folder);
        }
        other => other.map_err(CgroupError::file("make", folder))?,
    }
    if controller == "cpuset" {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            filled(folder, file)?;
        }
    }
    Ok(())
}

/// What a cpuset of v1 has: a new one is empty, and takes no process before it has what the one above has. So does one above
/// that somebody else has just made and not filled yet.
fn filled(folder: &Path, file: &str) -> Result<String, CgroupError> {
    let path = folder.join(file);
    let value = std::fs::read_to_string(&path).map_err(CgroupError::file("read", &path))?;
    match (value.trim(), folder.parent()) {
        ("", Some(parent)) => {
            let value = filled(parent, file)?;
            write(&path, &value)?;
            Ok(value)
        }
        (value, _) => Ok(value.to_owned()),
    }
}

pub(crate) fn collect(folder: &Path, pids: &mut BTreeSet<i32>) -> Result<(), CgroupError> {
    let file = folder.join("cgroup.procs");
    let numbers =
        |text: &str| -> Vec<i32> { text.lines().filter_map(|line| line.parse().ok()).collect() };
    match std::fs::read_to_string(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // A threaded group of v2 has threads only; their processes may be listed above already.
        Err(error) if error.raw_os_error() == Some(EOPNOTSUPP) => {
            let file = folder.join("cgroup.threads");
            let text = std::fs::read_to_string(&file).map_err(CgroupError::file("read", &file))?;
            pids.extend(numbers(&text).into_iter().filter_map(process_of));
        }
        other => pids.extend(numbers(&other.map_err(CgroupError::file("read", &file))?)),
    }
    for below in folders_in(folder) {
        collect(&below, pids)?;
    }
    Ok(())
}

/// `EOPNOTSUPP`
const EOPNOTSUPP: i32 = 95;

/// The process of a thread; `None` if it has ended.
fn process_of(thread: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    line.trim().parse().ok()
}

fn remove(folder: &Path) -> Result<(), CgroupError> {
    match std::fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => {
            for below in folders_in(folder) {
                remove(&below)?;
            }
            match std::fs::remove_dir(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other.map_err(CgroupError::file("remove", folder)),
            }
        }
        Ok(()) => Ok(()),
    }
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

pub(crate) fn write(file: &Path, value: &str) -> Result<(), CgroupError> {
    let failed = || CgroupError::file(format!("failed to write \"{value}\": write"), file);
    let open = open_to_write(file).map_err(failed())?;
    write_to(&open, value).map_err(failed())
}

/// Without the libc's `open`, which costs a second system call for a flag that the first has set.
pub(crate) fn open_to_write(file: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        file,
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// The kernel takes a value whole, in one call.
pub(crate) fn write_to(open: &OwnedFd, value: &str) -> io::Result<()> {
    match rustix::io::retry_on_intr(|| rustix::io::write(open, value.as_bytes()))? {
        whole if whole == value.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_leads_to_its_process() {
        let own = std::process::id() as i32;
        let of_thread =
            std::thread::spawn(|| process_of(rustix::thread::gettid().as_raw_nonzero().get()));
        assert_eq!(of_thread.join().expect("join"), Some(own));
        assert_eq!(process_of(i32::MAX), None);
    }

    #[test]
    fn the_group_of_a_process_beside_others() {
        let text = "12:pids:/old\n0::/wharf/one/init.scope\n";
        assert_eq!(v2_group(text), Some("wharf/one/init.scope"));
        assert_eq!(v2_group("4:cpu:/x\n"), None);
    }
}
