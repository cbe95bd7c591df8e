//! The container's mount tree, built detached and by descriptor, then made the root.
//!
//! A target is found beneath the root with `openat2` and attached to by descriptor: a link that somebody swaps
//! in meanwhile leads nowhere else (CVE-2021-30465, CVE-2025-31133, CVE-2025-52565).

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount, Spec};
use rustix::fs::{FileType, Mode, OFlags, fstat};
use wharf_cgroups::{Cgroup, Layout};
use wharf_sys::mount::{self, Change, Propagation, attr};
use wharf_sys::root::Root;

use crate::ahead::Ahead;
use crate::options::{Asked, Layers};
use crate::{Failure, Rootfs, copy_up, devices, place};

/// What a tree is made of.
pub(crate) struct Tree<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) rootfs: &'a Rootfs,
    pub(crate) ahead: &'a Ahead,
    pub(crate) cgroup: Option<&'a Cgroup>,
    /// The container has a cgroup namespace, and so a mount of v2 is its own.
    pub(crate) own_cgroups: bool,
    /// It has a user namespace, whose root may not mount the host's hierarchy.
    pub(crate) own_users: bool,
    /// Sees to it that the process is in its group.
    pub(crate) join: &'a dyn Fn() -> Result<(), Failure>,
    pub(crate) no_pivot: bool,
    /// Where hooks look for the root, if any run before it is entered.
    pub(crate) hooked: Option<PathBuf>,
}

impl Tree<'_> {
    /// Builds the tree and makes it this process's root; `before_entering` comes between, for hooks in the root's own folder. The
    /// working folder is made if it is missing.
    pub(crate) fn build(
        &self,
        before_entering: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let spec = self.spec;
        let linux = spec.linux().as_ref();
        let propagation = linux.and_then(|linux| linux.rootfs_propagation().as_deref());
        let propagation = propagation.and_then(Asked::propagation);
        // Nothing of ours is to appear outside; what the host mounts appears in shared binds only. The root itself
        // is private in any case, as the container's is attached to it.
        let shared = matches!(propagation, Some((Propagation::Shared, _)));
        if !shared {
            set_propagation_of_host(Propagation::Slave, true)?;
        }
        set_propagation_of_host(Propagation::Private, false)?;
        let detached = match &self.ahead.rootfs {
            Some(made) => made.try_clone().map_err(Failure::at("open the root"))?,
            None => self.rootfs.mount()?,
        };
        let place = place::attach(&detached, self.hooked.as_deref(), shared)?;
        let root = Root::from_fd(detached);
        let mut readonly = Vec::new();
        for (number, mount) in spec.mounts().iter().flatten().enumerate() {
            let failed = |failure: Failure| {
                Failure::other(format!(
                    "error mounting {:?} to rootfs at {:?}: {failure}",
                    source_of(mount),
                    mount.destination()
                ))
            };
            let asked = self.asked(mount);
            self.apply(&root, number, mount, &asked).map_err(failed)?;
            if asked.readonly_later {
                let found = root.find(mount.destination());
                readonly.push(
                    found
                        .map_err(Failure::at("open the target"))
                        .map_err(failed)?,
                );
            }
        }
        devices::make(&root, spec)?;
        if let Some(process) = spec.process() {
            // As runc: only what is there can be entered.
            let made = root.mkdir_all(process.cwd(), Mode::from_raw_mode(0o755));
            made.map_err(Failure::at(format!("mkdir {}", process.cwd().display())))?;
        }
        for mounted in readonly {
            let change = Change {
                set: attr::RDONLY,
                ..Change::default()
            };
            mount::change(&mounted, change).map_err(Failure::at("make a mount read-only"))?;
        }
        place::show(&place, &root)?;
        before_entering()?;
        place::hide(&place, &root)?;
        place::enter(root, self.no_pivot, shared)?;
        self.finish_root(propagation)
    }

    /// The mount's options. `/dev` and each tmpfs become read-only at the end, as with runc: folders for mounts in them, and
    /// devices, are made first.
    fn asked(&self, mount: &Mount) -> Asked {
        let mut asked = Asked::parse(mount.options().as_deref().unwrap_or_default());
        let kind = mount.typ().as_deref().unwrap_or_default();
        let is_dev = Path::new("/")
            .components()
            .chain(mount.destination().components())
            .eq(Path::new("/dev").components());
        if asked.set & attr::RDONLY != 0 && !asked.remount && (kind == "tmpfs" || is_dev) {
            asked.set &= !attr::RDONLY;
            asked.readonly_later = true;
        }
        asked
    }

    fn finish_root(&self, propagation: Option<(Propagation, bool)>) -> Result<(), Failure> {
        if let Some((propagation, _)) = propagation {
            // Not what is mounted below, where each mount has its own word.
            let change = Change {
                propagation: Some(propagation),
                ..Change::default()
            };
            mount::change_path("/", change).map_err(Failure::at("set the root's propagation"))?;
        }
        let root = self.spec.root().as_ref();
        if root.and_then(|root| root.readonly()) == Some(true) {
            let change = Change {
                set: attr::RDONLY,
                ..Change::default()
            };
            mount::change_path("/", change).map_err(Failure::at("make the root read-only"))?;
        }
        Ok(())
    }

    fn apply(
        &self,
        root: &Root,
        number: usize,
        mount: &Mount,
        asked: &Asked,
    ) -> Result<(), Failure> {
        let kind = mount.typ().as_deref().unwrap_or("");
        if asked.remount {
            let target = root.find(mount.destination());
            return change_flags(&target.map_err(Failure::at("open the target"))?, asked);
        }
        if asked.bind || kind == "bind" {
            return match self.ahead.mount(number) {
                Some(bound) => attach_bound(root, mount, asked, bound),
                None => attach_bound(root, mount, asked, &open_source(mount, asked)?),
            };
        }
        if kind.starts_with("cgroup") {
            (self.join)()?;
        }
        let is_v2 = matches!(self.cgroup.map(Cgroup::layout), Some(Layout::V2 { .. }));
        if kind == "cgroup" || kind == "cgroup2" && is_v2 && self.shares_cgroups() {
            return self.mount_cgroup(root, mount, asked);
        }
        match (self.ahead.mount(number), asked.layers()) {
            (Some(made), _) => place_filesystem(root, mount, asked, made),
            (None, Some(layers)) if kind == "overlay" => {
                place_filesystem(root, mount, asked, &overlay(&layers, asked)?)
            }
            _ => new_filesystem(root, mount, asked, kind),
        }
    }
}

fn set_propagation_of_host(propagation: Propagation, recursive: bool) -> Result<(), Failure> {
    let change = Change {
        propagation: Some(propagation),
        recursive,
        ..Change::default()
    };
    mount::change_path("/", change).map_err(Failure::at("cut mounts off from the host"))
}

pub(crate) fn source_of(mount: &Mount) -> PathBuf {
    mount.source().clone().unwrap_or_default()
}

fn new_filesystem(root: &Root, mount: &Mount, asked: &Asked, kind: &str) -> Result<(), Failure> {
    let has_mode = asked.data.iter().any(|(key, _)| key == "mode");
    let covered = match kind {
        "tmpfs" if asked.copy_up || !has_mode => mode_of(root, mount.destination()),
        _ => None,
    };
    let target = match asked.subpath {
        // A file's target is a file.
        Some(_) => root.find(Path::new("/")).map_err(Failure::at("open /"))?,
        None => folder(root, mount.destination())?,
    };
    if kind == "proc" || kind == "sysfs" {
        refuse_links(root, mount.destination(), kind)?;
    }
    let mut options: Vec<mount::FsOption<'_>> = Vec::new();
    options.extend(
        asked
            .data
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_deref())),
    );
    if let Some(source) = mount.source().as_ref().and_then(|source| source.to_str()) {
        options.insert(0, ("source", Some(source)));
    }
    if let Some(mode) = covered.as_deref().filter(|_| !has_mode) {
        // As runc: a folder that is covered keeps its mode.
        options.push(("mode", Some(mode)));
    }
    if asked.set & attr::RDONLY != 0 && !asked.copy_up && kind != "cgroup2" {
        // The filesystem too, as mount(2) does it, which is what runc calls: one on a device is not written to then, its journal
        // neither. That of control groups belongs to all who see it.
        options.push(("ro", None));
    }
    let mounted = mount::filesystem(kind, &options, asked.set).map_err(Failure::at("mount"))?;
    if let Some(subpath) = &asked.subpath {
        // A mount of a mount that is attached nowhere: Linux 6.15.
        let bound = below(&Root::from_fd(mounted), subpath, false)?;
        return attach_bound(root, mount, asked, &bound);
    }
    if asked.copy_up {
        if kind != "tmpfs" {
            return Err(Failure::other("tmpcopyup is for tmpfs"));
        }
        // One that was made for the mount has nothing to give, its mode neither.
        if covered.is_some() {
            copy_up::copy(&target, &mounted).map_err(Failure::at("tmpcopyup"))?;
        }
    }
    if asked.recursive_set | asked.recursive_clear != 0 {
        change_flags(&mounted, asked)?;
    }
    // As runc: these are at home anywhere.
    if !matches!(kind, "proc" | "sysfs" | "tmpfs" | "mqueue") {
        spare_proc(&target, mount.destination(), &mounted)?;
    }
    finish(&mounted, asked)?;
    mount::attach(&mounted, &target).map_err(Failure::at("attach"))
}

/// An overlay of layers that are listed one by one, attached nowhere.
fn overlay((lowers, upper): &Layers, asked: &Asked) -> Result<OwnedFd, Failure> {
    let lowers: Vec<&Path> = lowers.iter().map(PathBuf::as_path).collect();
    let upper = upper.as_ref().map(|(upper, work)| (&**upper, &**work));
    mount::layers_without_threads(&lowers, upper, asked.set).map_err(Failure::at("mount"))
}

/// Attaches an overlay that is made.
fn place_filesystem(
    root: &Root,
    mount: &Mount,
    asked: &Asked,
    made: &OwnedFd,
) -> Result<(), Failure> {
    if let Some(subpath) = &asked.subpath {
        let made = made.try_clone().map_err(Failure::at("open the mount"))?;
        let bound = below(&Root::from_fd(made), subpath, false)?;
        return attach_bound(root, mount, asked, &bound);
    }
    let target = folder(root, mount.destination())?;
    finish(made, asked)?;
    mount::attach(made, &target).map_err(Failure::at("attach"))
}

/// The mode of what is at `path`, if there is something, as an option of a filesystem.
fn mode_of(root: &Root, path: &Path) -> Option<String> {
    let stat = fstat(root.find(path).ok()?).ok()?;
    Some(format!("{:o}", stat.st_mode & 0o7777))
}

/// The source of a bind, attached nowhere.
pub(crate) fn open_source(mount: &Mount, asked: &Asked) -> Result<OwnedFd, Failure> {
    let source = source_of(mount);
    let path = source
        .to_str()
        .ok_or_else(|| Failure::other("the source is not UTF-8"))?;
    let Some(subpath) = &asked.subpath else {
        return mount::bind_path(path, asked.recursive)
            .map_err(Failure::at(format!("stat {path}")));
    };
    let root = Root::open(&source).map_err(Failure::at(format!("open {path}")))?;
    below(&root, subpath, asked.recursive)
}

/// A detached mount of what is at `subpath` inside `root`: a link that somebody swaps in ends inside.
fn below(root: &Root, subpath: &str, recursive: bool) -> Result<OwnedFd, Failure> {
    let found = root.find(Path::new(subpath));
    let found = found.map_err(Failure::at(format!("open the sub-path {subpath}")))?;
    mount::bind(&found, "", recursive).map_err(Failure::at(format!("bind the sub-path {subpath}")))
}

fn attach_bound(root: &Root, mount: &Mount, asked: &Asked, bound: &OwnedFd) -> Result<(), Failure> {
    let is_folder =
        fstat(bound).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
    let target = match is_folder {
        true => folder(root, mount.destination())?,
        false => {
            let made = root.touch(mount.destination(), Mode::from_raw_mode(0o644));
            made.map_err(Failure::at("make the target"))?
        }
    };
    spare_proc(&target, mount.destination(), bound)?;
    change_flags(bound, asked)?;
    finish(bound, asked)?;
    mount::attach(bound, &target).map_err(Failure::at("attach"))
}

/// The flags of the mount, then those of all below it too.
fn change_flags(mounted: &OwnedFd, asked: &Asked) -> Result<(), Failure> {
    for (set, clear, recursive) in [
        (asked.set, asked.clear, false),
        (asked.recursive_set, asked.recursive_clear, true),
    ] {
        if set | clear == 0 {
            continue;
        }
        let change = Change {
            set,
            clear,
            recursive,
            ..Change::default()
        };
        mount::change(mounted, change).map_err(Failure::at("set the mount's flags"))?;
    }
    Ok(())
}

fn finish(mounted: &OwnedFd, asked: &Asked) -> Result<(), Failure> {
    for (propagation, recursive) in &asked.propagation {
        let change = Change {
            propagation: Some(*propagation),
            recursive: *recursive,
            ..Change::default()
        };
        mount::change(mounted, change).map_err(Failure::at("set the propagation"))?;
    }
    Ok(())
}

fn folder(root: &Root, path: &Path) -> Result<OwnedFd, Failure> {
    let made = root.mkdir_all(path, Mode::from_raw_mode(0o755));
    made.map_err(Failure::at("make the target"))
}

/// procfs and sysfs stand where they are meant to, not behind a link (CVE-2019-19921, CVE-2023-27561).
fn refuse_links(root: &Root, path: &Path, kind: &str) -> Result<(), Failure> {
    let link = root.open_at(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty());
    let stat = link
        .and_then(|link| fstat(&link).map_err(Into::into))
        .map_err(Failure::at("open the target"))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Ok(()),
        _ => Err(Failure::other(format!(
            "filesystem {kind:?} must be mounted on ordinary directory"
        ))),
    }
}

/// `linux/magic.h`, `linux/proc_ns.h`
const PROC_SUPER_MAGIC: i128 = 0x9fa0;
const PROC_ROOT_INO: u64 = 1;

/// Parts of procfs that may be covered: what lxcfs tells instead.
const COVERABLE: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// Nothing but a procfs stands at `/proc`, and nothing covers parts of it (runc's `checkProcMount`; CVE-2019-16884,
/// CVE-2023-27561), whichever way the path leads there.
fn spare_proc(target: &OwnedFd, path: &Path, mounted: &OwnedFd) -> Result<(), Failure> {
    let is_proc = |place: &OwnedFd| {
        rustix::fs::fstatfs(place).is_ok_and(|stat| i128::from(stat.f_type) == PROC_SUPER_MAGIC)
    };
    let named: PathBuf = Path::new("/")
        .components()
        .chain(path.components())
        .collect();
    let inside = is_proc(target);
    if !inside && !named.starts_with("/proc") {
        return Ok(());
    }
    let is_top = inside && fstat(target).is_ok_and(|stat| stat.st_ino == PROC_ROOT_INO);
    if is_top || named == Path::new("/proc") {
        return match is_proc(mounted) {
            true => Ok(()),
            false => Err(Failure::other(format!(
                "{path:?} cannot be mounted because it is not of type proc"
            ))),
        };
    }
    match COVERABLE.iter().any(|one| named == Path::new(one)) {
        true => Ok(()),
        false => Err(Failure::other(format!(
            "{path:?} cannot be mounted because it is inside /proc"
        ))),
    }
}

/// Controllers that share a hierarchy are found by each name: `cpu` leads to `cpu,cpuacct`.
fn link_parts(tree: &Root, name: &str) -> Result<(), Failure> {
    let mut parts = name.split(',').filter(|part| *part != name);
    parts
        .try_for_each(|part| rustix::fs::symlinkat(name, tree.as_fd(), part))
        .map_err(|error| Failure::at("link a controller")(error.into()))
}

impl Tree<'_> {
    /// Whether what is mounted as v2 is the host's: then the options of a mount are the host's as well, and none would take away
    /// those that it has (`nsdelegate`, `memory_recursiveprot`).
    fn shares_cgroups(&self) -> bool {
        !self.own_cgroups && !self.own_users
    }

    /// `cgroup` is v2's one hierarchy, or on v1 a tmpfs with a folder for each controller.
    fn mount_cgroup(&self, root: &Root, mount: &Mount, asked: &Asked) -> Result<(), Failure> {
        let detected;
        let layout = match self.cgroup {
            Some(cgroup) => cgroup.layout(),
            None => {
                detected = Layout::detect().map_err(|error| Failure::other(error.to_string()))?;
                &detected
            }
        };
        let target = folder(root, mount.destination())?;
        let Layout::V1 { controllers } = layout else {
            let mounted = self.cgroup2(layout, asked)?;
            return mount::attach(&mounted, &target).map_err(Failure::at("attach"));
        };
        let writable = asked.set & !attr::RDONLY;
        let options = [("mode", Some("755"))];
        let tmpfs =
            mount::filesystem("tmpfs", &options, writable).map_err(Failure::at("mount tmpfs"))?;
        // Attached first: before Linux 6.15 nothing can be mounted on what is not attached itself.
        mount::attach(&tmpfs, &target).map_err(Failure::at("attach"))?;
        let tree = Root::from_fd(tmpfs);
        for (name, host) in controllers {
            let path = self
                .cgroup
                .map_or_else(|| host.clone(), |cgroup| host.join(cgroup.path()));
            let name = host.file_name().unwrap_or(std::ffi::OsStr::new(name));
            let place = folder(&tree, Path::new(name))?;
            link_parts(&tree, &name.to_string_lossy())?;
            // A bind of the container's own group: what is above it is not seen, whatever the cgroup namespace.
            let bound = path.to_str().map_or_else(
                || Err(std::io::ErrorKind::InvalidData.into()),
                |path| mount::bind_path(path, false),
            );
            let bound = bound.map_err(Failure::at(format!("bind {}", path.display())))?;
            let change = Change {
                set: asked.set,
                ..Change::default()
            };
            mount::change(&bound, change).map_err(Failure::at("set the mount's flags"))?;
            mount::attach(&bound, &place).map_err(Failure::at("attach"))?;
        }
        let change = Change {
            set: asked.set,
            ..Change::default()
        };
        mount::change(&tree, change).map_err(Failure::at("set the mount's flags"))
    }

    /// The one hierarchy. Without a cgroup namespace of its own it is the host's, which is bound; who is in a user namespace as well
    /// cannot mount it: then it is the container's own group that is bound, and nothing above it (CVE-2023-25809).
    fn cgroup2(&self, layout: &Layout, asked: &Asked) -> Result<OwnedFd, Failure> {
        let host = match layout {
            Layout::V2 { mount } => Some(mount),
            Layout::V1 { .. } => None,
        };
        if let Some(host) = host.filter(|_| self.shares_cgroups()) {
            return bound_group(host, asked);
        }
        let mounted = mount::filesystem("cgroup2", &[], asked.set);
        let (Some(host), Some(cgroup), true) = (host, self.cgroup, mounted.is_err()) else {
            return mounted.map_err(Failure::at("mount cgroup2"));
        };
        bound_group(&host.join(cgroup.path()), asked)
    }
}

fn bound_group(path: &Path, asked: &Asked) -> Result<OwnedFd, Failure> {
    let path = path
        .to_str()
        .ok_or_else(|| Failure::other("the group is not UTF-8"))?;
    let bound = mount::bind_path(path, false).map_err(Failure::at("bind the group"))?;
    change_flags(&bound, asked)?;
    Ok(bound)
}
