//! The container's control group: its name, who is in it, and its making.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxResources, Spec};
use serde_json::Value;
use wharf_cgroups::{Cgroup, Wanted};
use wharf_sys::words::chain;

use super::container::start_time;
use super::global::Global;

/// The name of its control group, as [`Cgroup::open`] knows it.
pub(super) fn name(global: &Global, spec: &Spec, id: &str) -> Result<String, String> {
    let linux = spec.linux().as_ref();
    let named = linux.and_then(|linux| linux.cgroups_path().as_ref());
    if !global.systemd {
        return Ok(path(named, id));
    }
    let name = match named.map(|path| path.to_string_lossy()) {
        None => format!(":runc:{id}"),
        Some(name) if name.is_empty() => format!(":runc:{id}"),
        Some(name) if name.split(':').count() == 3 && !name.starts_with('/') => name.into_owned(),
        Some(name) => {
            return Err(format!(
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"{name}\" instead"
            ));
        }
    };
    // sd_booted(3). Nobody else would answer, and that is waited for.
    match Path::new("/run/systemd/system").is_dir() {
        true => Ok(name),
        false => {
            Err("systemd not running on this host, cannot use systemd cgroups manager".to_owned())
        }
    }
}

/// Where it is below the hierarchy's root, whatever the spec writes.
fn path(named: Option<&PathBuf>, id: &str) -> String {
    let mut path = PathBuf::from("/");
    for part in named.into_iter().flat_map(|path| path.components()) {
        match part {
            std::path::Component::Normal(name) => path.push(name),
            std::path::Component::ParentDir => drop(path.pop()),
            _ => {}
        }
    }
    if path == Path::new("/") {
        path.push(id);
    }
    path.display().to_string()
}

/// How many processes are in the group `name` already.
pub(super) fn used(name: &str) -> Result<usize, String> {
    let group = Cgroup::open(name);
    if group.as_ref().is_ok_and(Cgroup::is_frozen) {
        // What goes there stands still, and cannot be told to end.
        return Err("container's cgroup unexpectedly frozen".to_owned());
    }
    let used = group.and_then(|group| group.processes());
    // Those that have ended stay listed until they are switched away from.
    let lives = |pid: &i32| start_time(*pid).is_some();
    Ok(used.map_or(0, |pids| pids.into_iter().filter(lives).count()))
}

/// `None`: there is to be none.
pub(super) fn make(
    global: &Global,
    path: &str,
    resources: Option<&LinuxResources>,
    spec: &Spec,
) -> Result<Option<Cgroup>, String> {
    let wanted = Wanted {
        resources,
        annotations: spec.annotations().as_ref(),
    };
    let made = Cgroup::create(path, wanted);
    let cgroup = match made {
        // Somebody who may make none goes on without, unless limits are asked for.
        Err(_) if global.rootless => {
            return match resources.and_then(first_limit) {
                Some(kind) => Err(format!(
                    "cannot set {kind} limit: container could not join or create cgroup"
                )),
                None => Ok(None),
            };
        }
        made => made.map_err(|error| chain(&error))?,
    };
    if let Some(resources) = resources {
        cgroup.apply(resources).map_err(|error| chain(&error))?;
    }
    Ok(Some(cgroup))
}

/// A kind of limit that is asked for. Rules of devices are none: who is not root can make no devices.
fn first_limit(resources: &LinuxResources) -> Option<String> {
    let says_something = |value: &Value| match value {
        Value::Null => false,
        Value::Number(number) => number.as_i64() != Some(0),
        Value::Array(all) => !all.is_empty(),
        Value::Bool(is_on) => *is_on,
        Value::String(text) => !text.is_empty(),
        Value::Object(_) => true,
    };
    let Ok(Value::Object(kinds)) = serde_json::to_value(resources) else {
        return None;
    };
    let asked = kinds.into_iter().filter(|(kind, _)| kind != "devices");
    let mut asked = asked.filter(|(_, value)| match value {
        Value::Object(limits) => limits.values().any(says_something),
        other => says_something(other),
    });
    asked.next().map(|(kind, _)| kind)
}
