//! Groups that systemd makes: a container's is a scope of its own, below a slice.
//!
//! On a host with systemd the hierarchy has one owner: who asks it for a scope with `Delegate=` may do below it as he
//! likes, and systemd keeps its limits over a reload, shows it in `systemctl` and ends it when the host stops. Names,
//! properties and their order are runc's (runc, `docs/systemd.md`), so that what looks for a container's unit finds it.
//!
//! A scope cannot begin without a process, and a container's process is born in its group: until then a process of ours
//! that does nothing ([`Keeper`]) holds it.

mod annotations;
mod before;
mod bus;
mod devices;
mod keeper;
mod properties;

use std::collections::BTreeSet;
use std::path::Path;

use rustix::process::Pid;
use wharf_dbus::Value;

use crate::CgroupError;
use crate::group::{Wanted, collect};
use bus::{Bus, Failure};

pub(crate) use before::Before;
pub(crate) use keeper::Keeper;
pub(crate) use properties::of_resources;

/// Name and value of what systemd knows of a unit.
pub(crate) type Property = (String, Value);

const EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// A container's scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// `system.slice`, or the one that was asked for.
    slice: String,
    /// `PREFIX-NAME.scope`.
    unit: String,
    /// The container's name.
    name: String,
    /// Where its group is, below the hierarchies' roots.
    path: String,
}

/// Whether systemd runs this host, as `sd_booted(3)` finds out.
pub fn is_running() -> bool {
    std::fs::symlink_metadata("/run/systemd/system").is_ok_and(|found| found.is_dir())
}

impl Scope {
    /// The scope `PREFIX-NAME.scope` below `slice` (`system.slice` if it is empty).
    ///
    /// # Errors
    /// [`CgroupError::BadSlice`], [`CgroupError::BadUnit`].
    pub(crate) fn new(slice: &str, prefix: &str, name: &str) -> Result<Self, CgroupError> {
        let slice = if slice.is_empty() {
            "system.slice"
        } else {
            slice
        };
        let unit = format!("{prefix}-{name}.scope");
        // It is a folder's name too.
        if unit.contains('/') {
            return Err(CgroupError::BadUnit(unit));
        }
        let path = format!("{}{unit}", folder_of(slice)?);
        Ok(Self {
            slice: slice.to_owned(),
            unit,
            name: name.to_owned(),
            path,
        })
    }

    /// Its path, without a slash at the beginning.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Makes the unit, with the process `first` in it.
    pub(crate) fn start(
        &self,
        wanted: Wanted<'_>,
        unified: bool,
        first: Pid,
    ) -> Result<(), CgroupError> {
        let mut properties = self.own_properties(unified, first);
        if let Some(resources) = wanted.resources {
            properties.extend(of_resources(resources, unified)?);
        }
        properties.extend(annotations::properties(wanted.annotations)?);
        let mut bus = Bus::connect()?;
        match self.try_start(&mut bus, &properties) {
            // One of this name is left: it has failed, or ends at this moment. One that lives stays.
            Err(Failure::Refused { name, .. }) if name == EXISTS && self.is_empty() => {
                self.stop_with(&mut bus)?;
                self.try_start(&mut bus, &properties)
            }
            other => other,
        }
        .map_err(|failure| self.cannot("start", failure))
    }

    /// Changes what systemd knows of the unit's limits, and returns when it has set them.
    pub(crate) fn set(&self, properties: &[Property]) -> Result<(), CgroupError> {
        if properties.is_empty() {
            return Ok(());
        }
        let mut bus = Bus::connect()?;
        let set = bus.call("SetUnitProperties", "sba(sv)", |body| {
            body.text(&self.unit);
            // For this life of the unit, not for ever.
            body.boolean(true);
            body.properties(properties);
        });
        // The answer comes before the kernel has been told; whoever is answered after it, not.
        set.and_then(|_| bus.ping())
            .map_err(|failure| self.cannot("set properties of", failure))
    }

    /// Ends the unit, whose processes have ended. One that is not there is fine.
    pub(crate) fn stop(&self) -> Result<(), CgroupError> {
        self.stop_with(&mut Bus::connect()?)
    }

    fn stop_with(&self, bus: &mut Bus) -> Result<(), CgroupError> {
        let stopped = bus.call("StopUnit", "ss", |body| {
            body.text(&self.unit);
            body.text("replace");
        });
        let job = stopped.map(|reply| reply.body().text().unwrap_or_default());
        let ended = job.and_then(|job| bus.end_of_job(&job, &self.unit).map(drop));
        // What has failed stays listed until it is forgotten.
        let forgotten = bus.call("ResetFailedUnit", "s", |body| body.text(&self.unit));
        for answer in [ended, forgotten.map(drop)] {
            match answer {
                Err(Failure::Refused { name, .. }) if name == NO_SUCH_UNIT => {}
                other => other.map_err(|failure| self.cannot("stop", failure))?,
            }
        }
        Ok(())
    }

    fn try_start(&self, bus: &mut Bus, properties: &[Property]) -> Result<(), Failure> {
        let reply = bus.call("StartTransientUnit", "ssa(sv)a(sa(sv))", |body| {
            body.text(&self.unit);
            body.text("replace");
            body.properties(properties);
            // Units that belong to it: none.
            body.array(8, |_| {});
        })?;
        let job = reply.body().text().unwrap_or_default();
        match bus.end_of_job(&job, &self.unit)?.as_str() {
            "done" => Ok(()),
            other => {
                let _ = bus.call("ResetFailedUnit", "s", |body| body.text(&self.unit));
                Err(Failure::Job(other.to_owned()))
            }
        }
    }

    /// What every scope of a container has.
    fn own_properties(&self, unified: bool, first: Pid) -> Vec<Property> {
        let io = if unified {
            "IOAccounting"
        } else {
            "BlockIOAccounting"
        };
        let description = format!("libcontainer container {}", self.name);
        let first = first.as_raw_nonzero().get().unsigned_abs();
        let mut all = vec![
            ("Description", Value::Text(description)),
            ("Slice", Value::Text(self.slice.clone())),
            ("Delegate", Value::Boolean(true)),
            ("PIDs", Value::Numbers(vec![first])),
            ("DefaultDependencies", Value::Boolean(false)),
        ];
        // A kernel has trouble with groups that begin to count later.
        let counted = ["MemoryAccounting", "CPUAccounting", "TasksAccounting", io];
        all.extend(counted.map(|name| (name, Value::Boolean(true))));
        all.into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Whether no process is in it or below it, in whichever hierarchy systemd tracks it by.
    fn is_empty(&self) -> bool {
        let roots = [
            "/sys/fs/cgroup",
            "/sys/fs/cgroup/unified",
            "/sys/fs/cgroup/systemd",
        ];
        roots
            .into_iter()
            .all(|root| nobody_below(&Path::new(root).join(&self.path)))
    }

    fn cannot(&self, verb: &'static str, failure: Failure) -> CgroupError {
        let unit = self.unit.clone();
        match failure {
            Failure::Refused { text, .. } => CgroupError::Systemd { verb, unit, text },
            Failure::Job(result) => CgroupError::Systemd {
                verb,
                unit,
                text: format!("got `{result}`"),
            },
            Failure::Connection(source) => CgroupError::Bus(source),
        }
    }
}

/// Whether no process is in the group or below it: whoever runs systemd in a container has none in the group itself.
fn nobody_below(group: &Path) -> bool {
    let mut pids = BTreeSet::new();
    collect(group, &mut pids).is_ok() && pids.is_empty()
}

/// The folder of a slice, with a slash at its end: `a-b.slice` is `a.slice/a-b.slice` (`systemd.slice(5)`).
fn folder_of(slice: &str) -> Result<String, CgroupError> {
    let bad = || CgroupError::BadSlice(slice.to_owned());
    let name = slice.strip_suffix(".slice").ok_or_else(bad)?;
    if name.is_empty() || name.contains('/') {
        return Err(bad());
    }
    let mut folder = String::new();
    // The slice that all others are in.
    if name == "-" {
        return Ok(folder);
    }
    let mut so_far = String::new();
    for part in name.split('-') {
        if part.is_empty() {
            return Err(bad());
        }
        if !so_far.is_empty() {
            so_far.push('-');
        }
        so_far.push_str(part);
        folder.push_str(&so_far);
        folder.push_str(".slice/");
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_lies_where_its_slice_does() {
        let path = |slice| Scope::new(slice, "docker", "x").map(|scope| scope.path);
        assert_eq!(path("").unwrap_or_default(), "system.slice/docker-x.scope");
        let nested = "a.slice/a-b.slice/a-b-c.slice/docker-x.scope";
        assert_eq!(path("a-b-c.slice").unwrap_or_default(), nested);
        assert_eq!(path("-.slice").unwrap_or_default(), "docker-x.scope");
        for bad in ["a", ".slice", "a/b.slice", "a--b.slice", "-a.slice"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_scope_is_one_folder() {
        for (prefix, name) in [("docker", "../../../x"), ("../..", "x"), ("", "a/b")] {
            assert!(Scope::new("", prefix, name).is_err(), "{prefix} {name}");
        }
        assert!(Scope::new("", "docker", "..").is_ok());
    }

    #[test]
    fn who_is_further_below_is_somebody() {
        let root = tempfile::tempdir().expect("a folder");
        let inner = root.path().join("x.scope/init.scope");
        std::fs::create_dir_all(&inner).expect("groups");
        let write = |folder: &Path, text| std::fs::write(folder.join("cgroup.procs"), text);
        let group = root.path().join("x.scope");
        write(&group, "").expect("a list");
        write(&inner, "").expect("a list");
        assert!(nobody_below(&group));
        write(&inner, "7\n").expect("a list");
        assert!(!nobody_below(&group));
        assert!(nobody_below(&root.path().join("none")));
    }
}
