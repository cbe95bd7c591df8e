//! Resource limits of the process.

use oci_spec::runtime::{PosixRlimitType, Process};
use rustix::process::{Pid, Resource, Rlimit, prlimit, setrlimit};

use crate::Failure;

/// Sets those of the spec, on this process.
pub(crate) fn apply(process: &Process) -> Result<(), Failure> {
    each(process, setrlimit)
}

/// Sets them on the process `pid`, with the score for when memory is short: in its user namespace it will not be
/// allowed to.
pub(crate) fn apply_to(process: &Process, pid: Pid) -> Result<(), Failure> {
    let limited = each(process, |resource, new| {
        prlimit(Some(pid), resource, new).map(drop)
    });
    limited.map_err(|failure| {
        Failure::other(format!(
            "error setting rlimits for ready process: {failure}"
        ))
    })?;
    let Some(score) = process.oom_score_adj() else {
        return Ok(());
    };
    let path = format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero());
    std::fs::write(path, score.to_string()).map_err(Failure::at("set the oom score"))
}

fn each(
    process: &Process,
    set: impl Fn(Resource, Rlimit) -> rustix::io::Result<()>,
) -> Result<(), Failure> {
    for limit in process.rlimits().iter().flatten() {
        // The largest number is the kernel's RLIM_INFINITY.
        let value = |number: u64| (number != u64::MAX).then_some(number);
        let new = Rlimit {
            current: value(limit.soft()),
            maximum: value(limit.hard()),
        };
        let failed = Failure::at(format!("error setting rlimit type {}", number(limit.typ())));
        set(resource(limit.typ()), new).map_err(|error| failed(error.into()))?;
    }
    Ok(())
}

/// The kernel's number (`asm-generic/resource.h`), which runc names a limit by.
fn number(kind: PosixRlimitType) -> u32 {
    match kind {
        PosixRlimitType::RlimitCpu => 0,
        PosixRlimitType::RlimitFsize => 1,
        PosixRlimitType::RlimitData => 2,
        PosixRlimitType::RlimitStack => 3,
        PosixRlimitType::RlimitCore => 4,
        PosixRlimitType::RlimitRss => 5,
        PosixRlimitType::RlimitNproc => 6,
        PosixRlimitType::RlimitNofile => 7,
        PosixRlimitType::RlimitMemlock => 8,
        PosixRlimitType::RlimitAs => 9,
        PosixRlimitType::RlimitLocks => 10,
        PosixRlimitType::RlimitSigpending => 11,
        PosixRlimitType::RlimitMsgqueue => 12,
        PosixRlimitType::RlimitNice => 13,
        PosixRlimitType::RlimitRtprio => 14,
        PosixRlimitType::RlimitRttime => 15,
    }
}

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}
