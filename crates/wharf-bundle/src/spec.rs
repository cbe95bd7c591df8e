//! What a container is to be, resolved: no names, no modes as text.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A container's process and everything around it.
#[derive(Clone, Debug, Default)]
pub struct ContainerSpec {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// The environment, `NAME=value`.
    pub env: Vec<String>,
    /// The folder it starts in, absolute.
    pub cwd: String,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Rows and columns of the terminal to begin with.
    pub console_size: Option<(u16, u16)>,
    /// Host name in a UTS namespace of its own.
    pub hostname: String,
    /// Domain name there.
    pub domainname: String,
    /// Which namespaces are its own.
    pub namespaces: Namespaces,
    /// What is mounted besides the defaults, in order.
    pub mounts: Vec<Mount>,
    /// All capabilities, devices and a writable /sys.
    pub privileged: bool,
    /// Capabilities in Docker's words, added to the default set.
    pub cap_add: Vec<String>,
    /// And taken from it.
    pub cap_drop: Vec<String>,
    /// The process cannot gain privileges by executing.
    pub no_new_privileges: bool,
    /// Whether the container may make groups below its own; those that are privileged may if `None`.
    pub writable_cgroups: Option<bool>,
    /// AppArmor profile; none if empty.
    pub apparmor: String,
    /// Paths that are hidden; Docker's if `None`.
    pub masked_paths: Option<Vec<String>>,
    /// Paths that are read-only; Docker's if `None`.
    pub readonly_paths: Option<Vec<String>>,
    /// The root filesystem is read-only.
    pub readonly_rootfs: bool,
    /// Size of /dev/shm in bytes; 0 for none of its own.
    pub shm_size: u64,
    /// Kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// Annotations of the OCI spec.
    pub annotations: BTreeMap<String, String>,
    /// The process's file mode creation mask; the runtime's own if `None`.
    pub umask: Option<u32>,
    /// The process's weight for the out-of-memory killer.
    pub oom_score_adj: i64,
    /// Limits of the process.
    pub rlimits: Vec<Rlimit>,
    /// Limits of the control group.
    pub resources: Resources,
    /// Device nodes besides the default ones.
    pub devices: Vec<Device>,
    /// Device rules besides the default ones.
    pub device_rules: Vec<DeviceRule>,
    /// Path of the control group, from the root of the hierarchy.
    pub cgroup_path: String,
}

/// Where a namespace comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Namespace {
    /// A new one.
    #[default]
    Private,
    /// The host's.
    Host,
    /// The one at this path.
    Path(PathBuf),
}

/// The namespaces of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Interfaces, addresses, ports.
    pub network: Namespace,
    /// System V IPC, message queues.
    pub ipc: Namespace,
    /// Process ids.
    pub pid: Namespace,
    /// Host name.
    pub uts: Namespace,
    /// Control groups.
    pub cgroup: Namespace,
    /// Users; the host's if `None`.
    pub user: Option<UserNamespace>,
}

/// A user namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNamespace {
    /// That of another process; a new one if `None`.
    pub path: Option<PathBuf>,
    /// What its ids are on the host; on disk they are as in the container.
    pub users: Vec<IdRange>,
    /// The same of groups.
    pub groups: Vec<IdRange>,
}

/// A mount besides the default ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where, absolute.
    pub destination: String,
    /// What.
    pub source: MountSource,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Whether what is mounted below it is read-only with it (Linux 5.12).
    pub recursive: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A path of the host.
    Bind {
        /// The path.
        path: PathBuf,
        /// Without what is mounted below it.
        non_recursive: bool,
        /// `rprivate` and the like.
        propagation: String,
        /// What is mounted instead, below the path; found by descriptor, so that no link leads out. Empty for all.
        subpath: String,
        /// Whose the files appear to be.
        owners: Owners,
    },
    /// What a process in another mount namespace has at a path there.
    OfProcess {
        /// The process.
        pid: u32,
        /// The path, absolute.
        path: PathBuf,
    },
    /// A filesystem in memory, with its options (`size=1m`, `noexec`).
    Tmpfs(Vec<String>),
    /// Folders on top of each other (Linux 6.5).
    Overlay {
        /// The read-only ones, the topmost first.
        lowers: Vec<PathBuf>,
        /// The writable one and overlay's own; none for a read-only mount.
        upper: Option<(PathBuf, PathBuf)>,
        /// As of a bind (Linux 6.15).
        subpath: String,
    },
}

/// Whose the files of a mount appear to be (Linux 5.12).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Owners {
    /// Those that they are on the host.
    #[default]
    Host,
    /// On disk are the ids of the container, which has a user namespace.
    Container,
    /// Others.
    Rows {
        /// Users.
        users: Vec<IdRange>,
        /// Groups.
        groups: Vec<IdRange>,
    },
}

/// A row of a mapping: ids on the file system, and those that they appear as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The first on the file system.
    pub on_disk: u32,
    /// The first that it appears as, counted on the host.
    pub shown: u32,
    /// How many.
    pub size: u32,
}

/// A limit of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// The name without `RLIMIT_`, in lower case.
    pub name: String,
    /// The limit that holds.
    pub soft: u64,
    /// How far the process may raise it.
    pub hard: u64,
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Where it is made.
    pub path: String,
    /// Whether it is a block device.
    pub block: bool,
    /// Its numbers.
    pub major: i64,
    /// Its numbers.
    pub minor: i64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A rule about devices: what the container may do with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether it allows.
    pub allow: bool,
    /// `a`, `b` or `c`.
    pub kind: char,
    /// A number, or any.
    pub major: Option<i64>,
    /// A number, or any.
    pub minor: Option<i64>,
    /// Of `r`, `w`, `m`.
    pub access: String,
}

/// A limit of a block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// Its numbers.
    pub major: i64,
    /// Its numbers.
    pub minor: i64,
    /// Bytes or operations a second.
    pub rate: u64,
}

/// A weight of one block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightDevice {
    /// The device.
    pub major: i64,
    /// The device.
    pub minor: i64,
    /// 10 to 1000.
    pub weight: u16,
}

/// Limits of the control group; 0 and `None` stand for no word about it.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// Bytes.
    pub memory: i64,
    /// Bytes that are kept for it if they can be.
    pub memory_reservation: i64,
    /// Memory and swap together; -1 without limit.
    pub memory_swap: i64,
    /// 0 to 100.
    pub memory_swappiness: Option<i64>,
    /// Processes are stopped, not killed, without memory.
    pub oom_kill_disable: Option<bool>,
    /// Weight among others; 1024 is ordinary.
    pub cpu_shares: i64,
    /// Microseconds a period.
    pub cpu_quota: i64,
    /// Microseconds.
    pub cpu_period: i64,
    /// Microseconds of real time a period.
    pub cpu_realtime_runtime: i64,
    /// Microseconds.
    pub cpu_realtime_period: i64,
    /// Processors, as `0-2,7`.
    pub cpuset_cpus: String,
    /// Memory nodes.
    pub cpuset_mems: String,
    /// Processes; -1 without limit.
    pub pids: Option<i64>,
    /// 10 to 1000.
    pub blkio_weight: u16,
    /// 10 to 1000 each.
    pub weight_devices: Vec<WeightDevice>,
    /// Bytes a second.
    pub read_bps: Vec<Throttle>,
    /// Bytes a second.
    pub write_bps: Vec<Throttle>,
    /// Operations a second.
    pub read_iops: Vec<Throttle>,
    /// Operations a second.
    pub write_iops: Vec<Throttle>,
}

/// What must be known of the host.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// The daemon's own bounding set, as a bit mask: more cannot be given.
    pub capabilities: u64,
}
