//! Specs that cannot work are refused before anything is done, in runc's words (`libcontainer/configs/validate`,
//! `libcontainer/specconv`).

use std::path::Path;

use oci_spec::runtime::{
    Hooks, Linux, LinuxDeviceType, LinuxNamespaceType, Mount, Process, Scheduler, Spec,
};
use wharf_bundle::{OwnNamespaces, check_sysctl};

use super::global::Global;
use super::log;

/// Checks all that can be known beforehand. `bundle` is absolute.
pub(crate) fn spec(global: &Global, spec: &Spec, bundle: &Path) -> Result<(), String> {
    version(spec.version())?;
    if let Some(process) = spec.process() {
        self::process(process)?;
    }
    spec.hooks().as_ref().map_or(Ok(()), hooks)?;
    let root = spec.root().as_ref().ok_or("root must be specified")?;
    rootfs(&bundle.join(root.path()))?;
    let none = Linux::default();
    let linux = spec.linux().as_ref().unwrap_or(&none);
    namespaces(linux)?;
    names(spec, linux)?;
    if has(linux, LinuxNamespaceType::Mount) {
        propagation(linux)?;
    } else if linux.masked_paths().iter().flatten().count() > 0
        || linux.readonly_paths().iter().flatten().count() > 0
    {
        return Err("unable to restrict sys entries without a private MNT namespace".to_owned());
    }
    let own = own_namespaces(linux);
    for key in linux.sysctl().iter().flatten().map(|(key, _)| key) {
        check_sysctl(key, own)?;
    }
    for mount in spec.mounts().iter().flatten() {
        self::mount(global, mount, linux)
            .map_err(|why| format!("invalid mount {:?}: {why}", mount.destination()))?;
    }
    devices(linux)?;
    device_rules(linux)?;
    swappiness(linux)?;
    at_least_one(linux)?;
    error_numbers(linux)?;
    personality(linux)?;
    net_devices(linux)?;
    unsupported(linux)
}

/// Semantic versioning 2.0.0, major version 1 (OCI, `config.md`).
fn version(version: &str) -> Result<(), String> {
    let refused = || format!("invalid ociVersion \"{version}\"");
    let plain = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = plain.split('.').collect();
    let number = |text: &&str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && (text.len() == 1 || !text.starts_with('0'))
    };
    if numbers.len() != 3 || !numbers.iter().all(number) {
        return Err(refused());
    }
    match numbers[0] {
        "1" => Ok(()),
        _ => Err(format!("unsupported ociVersion \"{version}\"")),
    }
}

/// A process of a spec or of `exec --process`.
pub(crate) fn process(process: &Process) -> Result<(), String> {
    let cwd = process.cwd();
    if cwd.as_os_str().is_empty() {
        return Err("Cwd property must not be empty".to_owned());
    }
    if !cwd.is_absolute() {
        return Err("Cwd must be an absolute path".to_owned());
    }
    if process.args().as_deref().unwrap_or_default().is_empty() {
        return Err("args must not be empty".to_owned());
    }
    process.env().iter().flatten().try_for_each(variable)?;
    let label = process.selinux_label().as_deref().unwrap_or_default();
    if !label.is_empty() {
        return Err(
            "selinux label is specified in config, but selinux is disabled or not supported"
                .to_owned(),
        );
    }
    let profile = process.apparmor_profile().as_deref().unwrap_or_default();
    if !matches!(profile, "" | "unconfined") && !Path::new("/sys/kernel/security/apparmor").exists()
    {
        return Err(
            "apparmor profile is specified in config, but apparmor is disabled or not supported"
                .to_owned(),
        );
    }
    let mut seen = Vec::new();
    for limit in process.rlimits().iter().flatten() {
        if seen.contains(&limit.typ()) {
            return Err(format!("duplicated rlimit {}", limit.typ()));
        }
        seen.push(limit.typ());
    }
    process.scheduler().as_ref().map_or(Ok(()), scheduler)
}

/// In runc's words.
fn variable(entry: &String) -> Result<(), String> {
    match entry.find('=') {
        None => Err(format!("invalid environment variable: {entry:?}")),
        Some(0) => Err(format!(
            "environment variable name can't be empty: {entry:?}"
        )),
        Some(_) => Ok(()),
    }
}

/// Paths are absolute, timeouts greater than zero (OCI, `config.md`).
fn hooks(hooks: &Hooks) -> Result<(), String> {
    for (point, number, hook) in wharf_runtime::hooks::all(hooks) {
        if !hook.path().is_absolute() {
            let path = hook.path();
            return Err(format!(
                "{point} hook #{number}: the path {path:?} is not absolute"
            ));
        }
        if let Some(seconds) = hook.timeout().filter(|seconds| *seconds <= 0) {
            return Err(format!(
                "{point} hook #{number}: the timeout {seconds} is not greater than zero"
            ));
        }
    }
    Ok(())
}

fn scheduler(scheduler: &Scheduler) -> Result<(), String> {
    use oci_spec::runtime::LinuxSchedulerPolicy as Policy;
    let policy = scheduler.policy();
    let nice = scheduler.nice().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return Err(format!("invalid scheduler.nice: {nice}"));
    }
    let real_time = matches!(policy, Policy::SchedFifo | Policy::SchedRr);
    if scheduler.priority().unwrap_or(0) != 0 && !real_time {
        return Err(
            "scheduler.priority can only be specified for SchedFIFO or SchedRR policy".to_owned(),
        );
    }
    let numbers = [
        scheduler.runtime(),
        scheduler.deadline(),
        scheduler.period(),
    ];
    let timed = numbers.iter().any(|number| number.unwrap_or(0) != 0);
    if timed && *policy != Policy::SchedDeadline {
        let text =
            "scheduler runtime/deadline/period can only be specified for SchedDeadline policy";
        return Err(text.to_owned());
    }
    Ok(())
}

fn rootfs(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let words = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("invalid rootfs: stat {shown}: no such file or directory")
        }
        _ => format!("invalid rootfs: {error}"),
    };
    let real = path.canonicalize().map_err(words)?;
    let clean: std::path::PathBuf = path.components().collect();
    if !real.is_dir() {
        return Err(format!("invalid rootfs: {shown} is no directory"));
    }
    if has_parent(&clean) || real == clean {
        return Ok(());
    }
    Err("invalid rootfs: not an absolute path, or a symlink".to_owned())
}

fn has_parent(path: &Path) -> bool {
    path.components()
        .any(|part| part == std::path::Component::ParentDir)
}

fn has(linux: &Linux, kind: LinuxNamespaceType) -> bool {
    let mut listed = linux.namespaces().iter().flatten();
    listed.any(|one| one.typ() == kind)
}

fn namespaces(linux: &Linux) -> Result<(), String> {
    let mut seen = Vec::new();
    for one in linux.namespaces().iter().flatten() {
        if seen.contains(&one.typ()) {
            return Err(format!(
                "malformed spec file: duplicated ns {:?}",
                wharf_runtime::namespace_word(one.typ())
            ));
        }
        seen.push(one.typ());
        if let Some(path) = one.path().as_ref().filter(|path| !path.is_absolute()) {
            return Err(format!("namespace path {path:?} is not absolute"));
        }
    }
    let mapped = |mappings: &Option<Vec<_>>| mappings.as_ref().is_some_and(|all| !all.is_empty());
    let any = mapped(linux.uid_mappings()) || mapped(linux.gid_mappings());
    let user = linux
        .namespaces()
        .iter()
        .flatten()
        .find(|one| one.typ() == LinuxNamespaceType::User);
    match user {
        None if any => {
            let text =
                "User namespace mappings specified, but USER namespace isn't enabled in the config";
            return Err(text.to_owned());
        }
        Some(user)
            if user.path().is_none()
                && !(mapped(linux.uid_mappings()) && mapped(linux.gid_mappings())) =>
        {
            return Err("User namespaces enabled, but no user mapping found.".to_owned());
        }
        _ => {}
    }
    let offsets = linux.time_offsets().as_ref();
    if offsets.is_some_and(|all| !all.is_empty()) && !has(linux, LinuxNamespaceType::Time) {
        let text =
            "time namespace offsets specified, but time namespace isn't enabled in the config";
        return Err(text.to_owned());
    }
    Ok(())
}

fn names(spec: &Spec, linux: &Linux) -> Result<(), String> {
    let said = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
    for (name, word) in [
        (spec.hostname(), "hostname"),
        (spec.domainname(), "domainname"),
    ] {
        if said(name) && !has(linux, LinuxNamespaceType::Uts) {
            return Err(format!(
                "unable to set {word} without a private UTS namespace"
            ));
        }
    }
    Ok(())
}

fn propagation(linux: &Linux) -> Result<(), String> {
    match linux.rootfs_propagation().as_deref().unwrap_or_default() {
        "" | "shared" | "slave" | "private" | "unbindable" | "rshared" | "rslave" | "rprivate"
        | "runbindable" => Ok(()),
        other => Err(format!("rootfsPropagation={other} is not supported")),
    }
}

fn own_namespaces(linux: &Linux) -> OwnNamespaces {
    OwnNamespaces {
        network: !host_network(linux),
        ipc: has(linux, LinuxNamespaceType::Ipc),
        uts: has(linux, LinuxNamespaceType::Uts),
    }
}

fn host_network(linux: &Linux) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let mut listed = linux.namespaces().iter().flatten();
    let Some(network) = listed.find(|one| one.typ() == LinuxNamespaceType::Network) else {
        return true;
    };
    let Some(path) = network.path() else {
        return false;
    };
    let number = |path: &Path| std::fs::metadata(path).ok().map(|of| (of.dev(), of.ino()));
    number(path) == number(Path::new("/proc/self/ns/net"))
}

fn mount(global: &Global, mount: &Mount, linux: &Linux) -> Result<(), String> {
    if mount.destination().as_os_str().is_empty() {
        return Err("the destination must not be empty".to_owned());
    }
    if !mount.destination().is_absolute() {
        let text = format!(
            "mount {:?}: relative destination path is **deprecated**, using it as relative to /",
            mount.destination()
        );
        log::warning(global, &text);
    }
    let options = mount.options().as_deref().unwrap_or_default();
    let bind = mount.typ().as_deref() == Some("bind")
        || options.iter().any(|one| one == "bind" || one == "rbind");
    let mapped = |mappings: &Option<Vec<_>>| mappings.as_ref().is_some_and(|all| !all.is_empty());
    let (users, groups) = (mapped(mount.uid_mappings()), mapped(mount.gid_mappings()));
    let asked = options.iter().any(|one| one == "idmap" || one == "ridmap");
    // crun's way to say mappings; a bind has no other options that the kernel would refuse.
    let said = |one: &&String| one.starts_with("idmap=") || one.starts_with("ridmap=");
    if let Some(option) = options.iter().find(said) {
        let text = "mappings are told by uidMappings and gidMappings";
        return Err(format!("unsupported option {option:?}: {text}"));
    }
    if !users && !groups && !asked {
        return Ok(());
    }
    if !bind {
        return Err("id-mapped mounts are only supported for bind-mounts".to_owned());
    }
    if users != groups {
        return Err("both uidMappings and gidMappings must be provided".to_owned());
    }
    if !users && !has(linux, LinuxNamespaceType::User) {
        return Err("idmap mounts without mappings need a user namespace".to_owned());
    }
    if !rustix::process::geteuid().is_root() {
        let text = "id-mapped mounts are not supported for rootless containers";
        return Err(text.to_owned());
    }
    Ok(())
}

fn devices(linux: &Linux) -> Result<(), String> {
    for device in linux.devices().iter().flatten() {
        if !device.path().is_absolute() {
            return Err(format!("device path {:?} is not absolute", device.path()));
        }
        if device.typ() == LinuxDeviceType::A {
            return Err("invalid device type \"a\"".to_owned());
        }
        if device.major() < 0 || device.minor() < 0 {
            return Err("cannot mkdev() device with wildcards".to_owned());
        }
    }
    Ok(())
}

/// A rule without an access is refused, as by runc and crun: it could be meant as none or as all.
fn device_rules(linux: &Linux) -> Result<(), String> {
    let resources = linux.resources().as_ref();
    let rules = resources.and_then(|all| all.devices().as_deref());
    for (number, rule) in rules.unwrap_or_default().iter().enumerate() {
        if rule.access().as_deref().unwrap_or_default().is_empty() {
            return Err(format!("device access at {number} field cannot be empty"));
        }
    }
    Ok(())
}

/// Limits of a device that say nothing (OCI, `config-linux.md`: "you MUST specify at least one").
fn at_least_one(linux: &Linux) -> Result<(), String> {
    let resources = linux.resources().as_ref();
    let rdma = resources.and_then(|all| all.rdma().as_ref());
    for (name, limit) in rdma.into_iter().flatten() {
        if limit.hca_handles().is_none() && limit.hca_objects().is_none() {
            return Err(format!(
                "rdma limit of {name:?}: neither hcaHandles nor hcaObjects is specified"
            ));
        }
    }
    let block = resources.and_then(|all| all.block_io().as_ref());
    let weights = block.and_then(|block| block.weight_device().as_ref());
    for one in weights.into_iter().flatten() {
        if one.weight().is_none() && one.leaf_weight().is_none() {
            let (major, minor) = (one.major(), one.minor());
            return Err(format!(
                "weightDevice {major}:{minor}: neither weight nor leafWeight is specified"
            ));
        }
    }
    Ok(())
}

/// An error's number beside an action that gives none (OCI, `config-linux.md`: "the runtime MUST print an error and fail").
fn error_numbers(linux: &Linux) -> Result<(), String> {
    use oci_spec::runtime::LinuxSeccompAction as Action;
    let Some(seccomp) = linux.seccomp() else {
        return Ok(());
    };
    let takes = |action| matches!(action, Action::ScmpActErrno | Action::ScmpActTrace);
    if seccomp.default_errno_ret().is_some() && !takes(seccomp.default_action()) {
        let action = seccomp.default_action();
        return Err(format!("seccomp action {action} takes no defaultErrnoRet"));
    }
    for rule in seccomp.syscalls().iter().flatten() {
        if rule.errno_ret().is_some() && !takes(rule.action()) {
            let (action, names) = (rule.action(), rule.names());
            return Err(format!(
                "seccomp action {action} of {names:?} takes no errnoRet"
            ));
        }
    }
    Ok(())
}

/// There are no flags yet (OCI, `config-linux.md`), and what is not supported is an error (`config.md`, valid values).
fn personality(linux: &Linux) -> Result<(), String> {
    let personality = linux.personality().as_ref();
    let flags = personality.and_then(|one| one.flags().as_deref());
    match flags.unwrap_or_default() {
        [] => Ok(()),
        flags => Err(format!("unsupported personality flags: {flags:?}")),
    }
}

/// From 0 to 100 (OCI, `config-linux.md`), whatever the kernel takes.
fn swappiness(linux: &Linux) -> Result<(), String> {
    let memory = linux
        .resources()
        .as_ref()
        .and_then(|all| all.memory().as_ref());
    match memory.and_then(|memory| memory.swappiness()) {
        Some(value @ 101..) => Err(format!(
            "invalid memory swappiness value: {value} (valid range is 0-100)"
        )),
        _ => Ok(()),
    }
}

/// Names that the kernel takes, no two the same, for a namespace that is not the host's.
fn net_devices(linux: &Linux) -> Result<(), String> {
    let mut seen = Vec::new();
    for (name, device) in linux.net_devices().iter().flatten() {
        if host_network(linux) {
            let text = "unable to move network devices without a private NET namespace";
            return Err(text.to_owned());
        }
        let new = device.name().as_deref().filter(|new| !new.is_empty());
        let new = new.unwrap_or(name);
        for name in [name.as_str(), new] {
            let bad = |letter: char| letter == '/' || letter == ':' || letter.is_whitespace();
            if name.is_empty()
                || name.len() > 15
                || matches!(name, "." | "..")
                || name.contains(bad)
            {
                return Err(format!("invalid network device name {name:?}"));
            }
        }
        if seen.contains(&new) {
            return Err(format!("duplicated network device name {new:?}"));
        }
        seen.push(new);
    }
    Ok(())
}

/// What is understood, and not done.
fn unsupported(linux: &Linux) -> Result<(), String> {
    if linux.intel_rdt().is_some() {
        return Err("intelRdt is specified in config, but Intel RDT is not enabled".to_owned());
    }
    let label = linux.mount_label().as_deref().unwrap_or_default();
    if !label.is_empty() {
        return Err(
            "selinux label is specified in config, but selinux is disabled or not supported"
                .to_owned(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for good in ["1.0.0", "1.2.1", "1.0.2-dev", "1.1.0-rc.1+x"] {
            assert_eq!(version(good), Ok(()), "{good}");
        }
        for bad in ["", "1", "1.0", "01.0.0", "1.0.x", "one", "2.0.0", "0.9.0"] {
            assert!(version(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn settings_of_the_host_are_refused() {
        let linux = |text: &str| serde_json::from_str::<Linux>(text).expect("linux");
        let host = linux(r#"{"namespaces":[]}"#);
        let own = linux(r#"{"namespaces":[{"type":"ipc"},{"type":"network"},{"type":"uts"}]}"#);
        for key in ["kernel.shmmax", "fs.mqueue.msg_max", "net.ipv4.ip_forward"] {
            assert!(check_sysctl(key, own_namespaces(&host)).is_err(), "{key}");
            assert_eq!(check_sysctl(key, own_namespaces(&own)), Ok(()), "{key}");
        }
        assert_eq!(
            check_sysctl("net/ipv4/conf/e.1/x", own_namespaces(&own)),
            Ok(())
        );
        assert!(check_sysctl("kernel.hostname", own_namespaces(&own)).is_err());
        assert!(check_sysctl("vm.swappiness", own_namespaces(&own)).is_err());
    }
}
