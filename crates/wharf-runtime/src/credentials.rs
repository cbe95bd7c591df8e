//! User, groups and capabilities of the process.
//!
//! The order is runc's: the bounding set while we may, the ids with the capabilities kept, then the other sets.
//! Inheritable and ambient sets are exactly what the spec asks for, so empty in all but odd cases
//! (CVE-2022-24769, CVE-2022-29162).

use oci_spec::runtime::Process;
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::user::Identity;
use crate::{Failure, capability};

/// More than any kernel has.
const LAST: u32 = 63;

/// Takes out of the bounding set what the spec does not list.
pub(crate) fn limit_bounding(process: &Process) -> Result<(), Failure> {
    let listed = process
        .capabilities()
        .as_ref()
        .and_then(|sets| sets.bounding().as_ref());
    let bounding = capability::set_of(listed);
    for number in 0..=LAST {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if bounding.contains(one) {
            continue;
        }
        match remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // The first number that the kernel does not know.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(failed("unable to apply bounding set")(errno)),
        }
    }
    Ok(())
}

/// Becomes the root of the user namespace that has just been entered, so that what is made belongs to him.
pub(crate) fn become_root() -> Result<(), Failure> {
    match set_thread_groups(&[]) {
        Err(Errno::PERM) => {}
        other => other.map_err(failed("unable to set groups"))?,
    }
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    set_thread_res_gid(gid, gid, gid).map_err(failed("unable to set gid"))?;
    set_thread_res_uid(uid, uid, uid).map_err(failed("unable to set uid"))
}

/// Becomes the user, with the capabilities of root for a little longer.
pub(crate) fn become_user(identity: &Identity) -> Result<(), Failure> {
    set_keep_capabilities(true).map_err(failed("unable to keep capabilities"))?;
    let groups: Vec<Gid> = identity
        .groups
        .iter()
        .map(|gid| Gid::from_raw(*gid))
        .collect();
    match set_thread_groups(&groups) {
        // A user namespace that somebody without rights has made has no groups to give up (user_namespaces(7)).
        Err(Errno::PERM) if groups.len() <= 1 => {}
        other => other.map_err(failed("unable to set groups"))?,
    }
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    set_thread_res_gid(gid, gid, gid).map_err(unmapped("gid"))?;
    set_thread_res_uid(uid, uid, uid).map_err(unmapped("uid"))?;
    set_keep_capabilities(false).map_err(failed("unable to drop capabilities"))
}

/// Keeps exactly the capabilities that the spec lists.
pub(crate) fn limit(process: &Process) -> Result<(), Failure> {
    let sets = process.capabilities().as_ref();
    let effective = capability::set_of(sets.and_then(|sets| sets.effective().as_ref()));
    let permitted = capability::set_of(sets.and_then(|sets| sets.permitted().as_ref()));
    let inheritable = capability::set_of(sets.and_then(|sets| sets.inheritable().as_ref()));
    let ambient = capability::set_of(sets.and_then(|sets| sets.ambient().as_ref()));
    let new = CapabilitySets {
        effective,
        permitted,
        inheritable,
    };
    set_capabilities(None, new).map_err(failed("unable to apply caps"))?;
    clear_ambient_capability_set().map_err(failed("unable to clear ambient caps"))?;
    for one in ambient.iter() {
        // The kernel refuses one that is not inheritable (capabilities(7)); `runc spec` itself asks for such, and
        // runc goes on without it.
        match configure_capability_in_ambient_set(one, true) {
            Err(rustix::io::Errno::PERM) => {}
            other => other.map_err(failed("unable to apply ambient caps"))?,
        }
    }
    Ok(())
}

/// The kernel's word for an id that the user namespace does not have, in runc's.
fn unmapped(kind: &'static str) -> impl Fn(Errno) -> Failure {
    move |errno| match errno {
        Errno::INVAL => Failure::other(format!(
            "unable to setup user: cannot set {kind} to unmapped user in user namespace"
        )),
        errno => Failure::at(format!("unable to set {kind}"))(errno.into()),
    }
}

fn failed(what: &'static str) -> impl Fn(Errno) -> Failure {
    move |errno| Failure::at(what)(errno.into())
}
