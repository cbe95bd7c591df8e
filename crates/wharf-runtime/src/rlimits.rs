//! Resource limits of the process.

use oci_spec::runtime::{PosixRlimitType, Process};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::Failure;

/// Sets those of the spec.
pub(crate) fn apply(process: &Process) -> Result<(), Failure> {
    for limit in process.rlimits().iter().flatten() {
        // The largest number is the kernel's RLIM_INFINITY.
        let value = |number: u64| (number != u64::MAX).then_some(number);
        let new = Rlimit {
            current: value(limit.soft()),
            maximum: value(limit.hard()),
        };
        let failed = Failure::at(format!("error setting rlimit type {:?}", limit.typ()));
        setrlimit(resource(limit.typ()), new).map_err(|error| failed(error.into()))?;
    }
    Ok(())
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
