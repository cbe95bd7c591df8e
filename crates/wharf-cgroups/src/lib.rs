//! Control groups v2, v1 and hybrid: limits, devices, freezer, events.
//!
//! A container's group has one path, below `/` of what this process sees, in every hierarchy. On v2 that is
//! one folder, and processes are born in it (`CLONE_INTO_CGROUP`). On v1, and on hybrid hosts where the v2
//! hierarchy has no controllers, it is a folder for each controller, which processes move into by themselves ([`Entrance`]).
//! Who makes the folders is a matter of the group's name: a path is made here, `SLICE:PREFIX:NAME` is asked of systemd.
//!
//! Architecture invariant: nothing here knows why a limit is asked for; OCI's `LinuxResources` come in, files
//! are written. Groups that we did not make are never changed, but for handing controllers down to our own
//! on v2.

mod devices;
mod entrance;
mod error;
mod freezer;
mod group;
mod layout;
mod limits;
mod name;
mod oom;
mod stats;
mod systemd;

pub use entrance::Entrance;
pub use error::CgroupError;
pub use group::{Cgroup, Wanted, is_closed};
pub use layout::Layout;
pub use oom::OomWatch;
pub use stats::{
    CpuStats, Cpuset, Details, IoEntry, IoStats, MemoryStats, PidStats, Pressure, Stats, Use,
};
pub use systemd::is_running as systemd_is_running;
