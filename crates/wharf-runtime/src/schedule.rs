//! Scheduling of the process: processors, priorities, and its personality.

use oci_spec::runtime::{
    IOPriorityClass, LinuxPersonalityDomain, LinuxSchedulerFlag, LinuxSchedulerPolicy,
    MemoryPolicyFlagType, MemoryPolicyModeType, Process, Scheduler, Spec,
};
use rustix::thread::{CpuSet, sched_setaffinity};
use wharf_sys::schedule::{self, Policy};

use crate::Failure;

/// What a process asks for.
pub(crate) fn apply(process: &Process) -> Result<(), Failure> {
    if let Some(priority) = process.io_priority() {
        let class = match priority.class() {
            IOPriorityClass::IoprioClassRt => 1,
            IOPriorityClass::IoprioClassBe => 2,
            IOPriorityClass::IoprioClassIdle => 3,
        };
        let level = i32::try_from(priority.priority())
            .map_err(|_| Failure::other("invalid ioPriority.priority"))?;
        schedule::set_io_priority(class, level)
            .map_err(Failure::at("failed to set io priority"))?;
    }
    match process.scheduler() {
        None => Ok(()),
        Some(scheduler) => {
            schedule::set_policy(policy(scheduler)).map_err(Failure::at("error setting scheduler"))
        }
    }
}

fn policy(scheduler: &Scheduler) -> Policy {
    let mut policy = Policy {
        policy: match scheduler.policy() {
            LinuxSchedulerPolicy::SchedOther => 0,
            LinuxSchedulerPolicy::SchedFifo => 1,
            LinuxSchedulerPolicy::SchedRr => 2,
            LinuxSchedulerPolicy::SchedBatch => 3,
            LinuxSchedulerPolicy::SchedIso => 4,
            LinuxSchedulerPolicy::SchedIdle => 5,
            LinuxSchedulerPolicy::SchedDeadline => 6,
        },
        ..Policy::default()
    };
    let flags = scheduler.flags().iter().flatten().map(|flag| match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 1,
        LinuxSchedulerFlag::SchedFlagReclaim => 2,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 4,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 8,
        LinuxSchedulerFlag::SchedFlagKeepParams => 16,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 32,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 64,
    });
    policy.flags = flags.fold(0, |all, one| all | one);
    policy.nice = scheduler.nice().unwrap_or(0);
    policy.priority = scheduler.priority().unwrap_or(0).unsigned_abs();
    policy.runtime = scheduler.runtime().unwrap_or(0);
    policy.deadline = scheduler.deadline().unwrap_or(0);
    policy.period = scheduler.period().unwrap_or(0);
    policy
}

/// The system that the process takes itself to be on.
pub(crate) fn personality(spec: &Spec) -> Result<(), Failure> {
    let linux = spec.linux().as_ref();
    let Some(personality) = linux.and_then(|linux| linux.personality().as_ref()) else {
        return Ok(());
    };
    let domain = match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    };
    schedule::set_personality(domain).map_err(Failure::at("unable to set personality"))
}

/// Where the container's memory comes from (`set_mempolicy(2)`).
pub(crate) fn memory_policy(spec: &Spec) -> Result<(), Failure> {
    let linux = spec.linux().as_ref();
    let Some(policy) = linux.and_then(|linux| linux.memory_policy().as_ref()) else {
        return Ok(());
    };
    let mode = match policy.mode() {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    };
    let flags = policy.flags().iter().flatten().map(|flag| match flag {
        MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
        MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
        MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
    });
    let mode = flags.fold(mode, |all, one: u32| all | one);
    let text = policy.nodes().as_deref().unwrap_or_default();
    let nodes = nodes_of(text)
        .ok_or_else(|| Failure::other(format!("invalid memoryPolicy.nodes {text:?}")))?;
    schedule::set_memory_policy(mode, &nodes).map_err(Failure::at("unable to set memory policy"))
}

/// `0-3,7` as bits, none for an empty text.
fn nodes_of(text: &str) -> Option<Vec<u64>> {
    const HIGHEST: usize = 1023;
    let mut bits = Vec::new();
    for part in text.split(',').map(str::trim).filter(|_| !text.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last > HIGHEST {
            return None;
        }
        bits.resize(bits.len().max(last / 64 + 1), 0);
        (first..=last).for_each(|node| bits[node / 64] |= 1 << (node % 64));
    }
    Some(bits)
}

/// The processors of an exec: before it is in the container's group, or once it is.
pub(crate) fn affinity(cpus: Option<&str>) -> Result<(), Failure> {
    let Some(cpus) = cpus.filter(|cpus| !cpus.is_empty()) else {
        return Ok(());
    };
    let set = set_of(cpus).ok_or_else(|| Failure::other(format!("invalid CPU list {cpus:?}")))?;
    sched_setaffinity(None, &set)
        .map_err(|error| Failure::at("error setting CPU affinity")(error.into()))
}

/// `0-3,7`.
fn set_of(cpus: &str) -> Option<CpuSet> {
    let mut set = CpuSet::new();
    for part in cpus.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= CpuSet::MAX_CPU {
            return None;
        }
        (first..=last).for_each(|cpu| set.set(cpu));
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::{nodes_of, set_of};

    #[test]
    fn lists_of_memory_nodes() {
        assert_eq!(nodes_of(""), Some(vec![]));
        assert_eq!(nodes_of("0-1, 65"), Some(vec![3, 2]));
        for bad in ["x", "3-1", "5000", "1,,2"] {
            assert_eq!(nodes_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn lists_of_processors() {
        let set = set_of("0-1, 4").expect("a set");
        let are: Vec<bool> = (0..6).map(|cpu| set.is_set(cpu)).collect();
        assert_eq!(are, [true, true, false, false, true, false]);
        for bad in ["", "x", "3-1", "0-99999"] {
            assert!(set_of(bad).is_none(), "{bad}");
        }
    }
}
