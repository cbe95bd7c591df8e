//! A process between the caller and the container's first one.
//!
//! Namespaces that are joined want the caller's rights, new ones are to belong to the container's user namespace,
//! and a time namespace takes its offsets only before anybody is in it. So a first child goes ahead, and makes the
//! container's process as a child of the caller. It does so too where a pid namespace is joined: who is in that already sees
//! the process at once, which is born hidden and without the caller's descriptors therefore (CVE-2016-9962).

use std::collections::HashMap;
use std::os::fd::AsFd as _;

use oci_spec::runtime::{LinuxTimeOffset, Spec};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use wharf_sys::process::{CloneOptions, Cloned, clone, namespace, unshare};

use crate::child::{Plan, enter_group};
use crate::namespaces::Namespaces;
use crate::{Failure, credentials, sync};

/// Whether one is needed.
pub(crate) fn is_needed(spec: &Spec, namespaces: &Namespaces) -> bool {
    namespaces.need_a_stage() || namespaces.joins_pid() || offsets(spec).is_some()
}

fn offsets(spec: &Spec) -> Option<&HashMap<String, LinuxTimeOffset>> {
    let offsets = spec.linux().as_ref()?.time_offsets().as_ref()?;
    (!offsets.is_empty()).then_some(offsets)
}

/// Goes ahead. `Some` in the process between, which has only to end; `None` in the container's.
pub(crate) fn run(plan: &Plan<'_>, sync: &sync::Child) -> Result<Option<()>, Failure> {
    let namespaces = plan.namespaces;
    let mut new = namespaces.new;
    enter_group(plan.entrance)?;
    if let Some(offsets) = offsets(plan.spec) {
        unshare(namespace::TIME).map_err(Failure::at("make a time namespace"))?;
        new &= !namespace::TIME;
        let mut text = String::new();
        for (clock, offset) in offsets {
            let (seconds, rest) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
            text += &format!("{clock} {seconds} {rest}\n");
        }
        std::fs::write("/proc/self/timens_offsets", text)
            .map_err(Failure::at("set the clocks' offsets"))?;
    }
    if namespaces.joins_pid() {
        hide()?;
        namespaces.enter_pid()?;
    }
    namespaces.enter()?;
    if namespaces.user().is_some() {
        // What is made with the namespaces that are to come, such as the folder of message queues, belongs to somebody.
        credentials::become_root()?;
    }
    plan.close_before_stage(sync)?;
    let options = CloneOptions {
        namespaces: new,
        cgroup: None,
        sibling: true,
    };
    match clone(options).map_err(Failure::at("clone a process"))? {
        Cloned::Child => Ok(None),
        Cloned::Parent { pid, pidfd } => sync.give_process(pid, pidfd.as_fd()).map(Some),
    }
}

/// Where somebody watches. A caller without rights can be looked into by nobody who could not be anyway, and could not map
/// the ids of one who hides.
fn hide() -> Result<(), Failure> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    hidden.map_err(|error| Failure::at("hide from ptrace")(error.into()))
}
