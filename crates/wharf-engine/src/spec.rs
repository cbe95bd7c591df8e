//! A container's record → the bundle's `ContainerSpec` → an OCI specification: the second of the two conversions of
//! settings.

mod devices;
mod filesystem;
mod limits;
mod owners;
mod seccomp;

use std::path::PathBuf;
use std::sync::Arc;

use oci_spec::runtime::Spec;
use wharf_bundle::{BundleError, ContainerSpec, HostFacts, Namespace, Namespaces, UserNamespace};
use wharf_tasks::ExecConfig;

use crate::containers::{Shared, environment};
use crate::record::Record;
use crate::{
    CgroupDriver, Config, EngineConfig, EngineError, ExecStartOptions, HostConfig, IpcMode,
    NamespaceMode, NetworkMode, NewExec, View, userns,
};

pub(crate) use limits::limits;
pub(crate) use seccomp::Filters;

/// The containers whose namespaces a container shares.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    pub(crate) network: Option<Arc<View>>,
    pub(crate) ipc: Option<Arc<View>>,
    pub(crate) pid: Option<Arc<View>>,
    /// A process of theirs, if the container shares their user namespace with them.
    pub(crate) user: Option<u32>,
}

impl Joined {
    /// Finds them; Docker's words for one that does not run.
    pub(crate) fn find(shared: &Shared, record: &Record) -> Result<Self, EngineError> {
        let mut joined = Self::default();
        if let NetworkMode::Container(name) = &record.host.network_mode {
            if shared.find(name)?.now().id == record.id {
                return Err(EngineError::Failed("cannot join own network".to_owned()));
            }
            let refusal =
                |id: &str| format!("cannot join network of a non running container: {id}");
            joined.network = Some(running(shared, name, refusal)?);
        }
        if let NamespaceMode::Container(name) = &record.host.pid_mode {
            joined.pid = Some(running(shared, name, |id| failed_to_join("PID", id))?);
        }
        if let IpcMode::Container(name) = &record.host.ipc_mode {
            let other = running(shared, name, |id| failed_to_join("IPC", id))?;
            if matches!(
                other.host.ipc_mode,
                IpcMode::Unset | IpcMode::Private | IpcMode::None
            ) {
                let id = &other.id;
                return Err(EngineError::Failed(format!(
                    "can't join IPC of container {id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
                )));
            }
            joined.ipc = Some(other);
        }
        if userns::of(&shared.config, &record.host).is_some() {
            joined.user = joined.shared_user()?;
        }
        Ok(joined)
    }

    /// In a user namespace of its own a container would have no rights over what it shares. The host's it must not get.
    fn shared_user(&self) -> Result<Option<u32>, EngineError> {
        let named = |pid: &str| {
            let path = format!("/proc/{pid}/ns/user");
            std::fs::read_link(&path).map_err(EngineError::io("read", &PathBuf::from(path)))
        };
        let mut found: Option<(u32, PathBuf)> = None;
        for view in [&self.network, &self.ipc, &self.pid].into_iter().flatten() {
            let (id, pid) = (&view.id, view.state.pid);
            let user = named(&pid.to_string())?;
            if user == named("self")? {
                return Err(EngineError::Conflict(format!(
                    "cannot join namespaces of container {id}, which is in the host's user namespace, when user namespaces are enabled"
                )));
            }
            match &found {
                Some((_, known)) if *known != user => {
                    return Err(EngineError::Conflict(format!(
                        "cannot join namespaces of container {id} and of another one, as their user namespaces differ"
                    )));
                }
                _ => found = Some((pid, user)),
            }
        }
        Ok(found.map(|(pid, _)| pid))
    }
}

fn running(
    shared: &Shared,
    name: &str,
    refusal: impl Fn(&str) -> String,
) -> Result<Arc<View>, EngineError> {
    let view = shared.find(name)?.now();
    match view.state.pid {
        0 => Err(EngineError::Conflict(refusal(name))),
        _ => Ok(view),
    }
}

fn failed_to_join(kind: &str, id: &str) -> String {
    format!("failed to join {kind} namespace: container {id} is not running")
}

/// The specification of one start, and its compiled seccomp filter.
pub(crate) fn bundle(
    shared: &Shared,
    record: &Record,
    joined: &Joined,
) -> Result<(Spec, Option<Vec<u8>>), EngineError> {
    let (config, host) = (record.config.as_ref(), record.host.as_ref());
    let mut env = environment(config);
    let known = |one: &String| one.split('=').next().unwrap_or_default().to_owned();
    let names: Vec<String> = env.iter().map(known).collect();
    let links = crate::launch::links::of(shared, record)?.into_iter();
    env.extend(
        links
            .flat_map(|link| link.env)
            .filter(|one| !names.contains(&known(one))),
    );
    let spec = ContainerSpec {
        env,
        args: std::iter::once(&record.path)
            .chain(&record.args)
            .cloned()
            .collect(),
        console_size: size(host.console_size),
        namespaces: namespaces(shared, host, joined),
        mounts: filesystem::mounts(shared, record, joined)?,
        shm_size: if host.ipc_mode == IpcMode::None {
            0
        } else {
            host.shm_size
        },
        sysctls: sysctls(host, userns::of(&shared.config, host).is_some()),
        annotations: host.annotations.clone(),
        resources: limits::at_start(&host.resources)?,
        devices: devices::devices(host)?,
        device_rules: devices::rules(host)?,
        cgroup_path: cgroup(host, &shared.settings(), &record.id),
        apparmor: record.app_armor_profile.clone(),
        writable_cgroups: writable_cgroups(host),
        ..process(config, host)
    };
    let mut oci = to_oci(&spec)?;
    propagate(&mut oci, record);
    let named = devices::named(host)?;
    if !named.is_empty() {
        crate::cdi::inject(&shared.config.cdi_folders, &mut oci, &named)?;
    }
    if !crate::launch::is_own_runtime(&host.runtime) {
        // Another runtime compiles it, and wants to read it.
        let profile = seccomp::profile(
            &shared.config,
            host,
            &capabilities(host)?,
            &record.app_armor_profile,
        )?;
        if let Some(linux) = oci.linux_mut() {
            linux.set_seccomp(profile);
        }
        return Ok((oci, None));
    }
    let filter = seccomp::filter(
        &shared.filters,
        &shared.config,
        host,
        capabilities(host)?,
        &record.app_armor_profile,
    )?;
    match filter {
        None => Ok((oci, None)),
        Some(seccomp::Filter::Compiled(filter)) => Ok((oci, Some(filter))),
        Some(seccomp::Filter::Written(written)) => {
            // The shim compiles it.
            if let Some(linux) = oci.linux_mut() {
                linux.set_seccomp(Some(*written));
            }
            Ok((oci, None))
        }
    }
}

fn to_oci(spec: &ContainerSpec) -> Result<Spec, EngineError> {
    let facts = HostFacts {
        capabilities: available(),
    };
    wharf_bundle::to_oci(spec, &facts).map_err(|error| match error {
        // As dockerd, whose runtime finds it.
        BundleError::Limit(_) | BundleError::Sysctl(_) => EngineError::Failed(format!(
            "failed to create task for container: failed to create shim task: OCI runtime create failed: {error}: unknown"
        )),
        other => EngineError::failed(&other),
    })
}

/// The capabilities of a container; no more than the daemon itself may give.
pub(crate) fn capabilities(host: &HostConfig) -> Result<Vec<&'static str>, EngineError> {
    let (add, drop) = (&host.cap_add, &host.cap_drop);
    let set = wharf_bundle::capabilities(host.privileged, add, drop, available());
    set.map_err(|error| EngineError::Invalid(error.to_string()))
}

/// The daemon's own bounding set, which never changes; all, if the kernel does not say.
fn available() -> u64 {
    static BOUNDING: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *BOUNDING.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
        let bits = bounding.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
        bits.unwrap_or(u64::MAX)
    })
}

/// What a container's first process and those of exec have in common.
fn process(config: &Config, host: &HostConfig) -> ContainerSpec {
    let own = host.uts_mode != NamespaceMode::Host;
    let only_own = |text: &String| if own { text.clone() } else { String::new() };
    let unconfined = host
        .security_opt
        .iter()
        .any(|option| option == "systempaths=unconfined");
    let paths = |paths: &Option<Vec<String>>| {
        if unconfined {
            Some(Vec::new())
        } else {
            paths.clone()
        }
    };
    ContainerSpec {
        env: environment(config),
        cwd: config.working_dir.clone(),
        terminal: config.tty,
        hostname: only_own(&config.hostname),
        domainname: only_own(&config.domainname),
        privileged: host.privileged,
        cap_add: host.cap_add.clone(),
        cap_drop: host.cap_drop.clone(),
        no_new_privileges: no_new_privileges(host),
        masked_paths: paths(&host.masked_paths),
        readonly_paths: paths(&host.readonly_paths),
        readonly_rootfs: host.readonly_rootfs,
        umask: host.umask,
        oom_score_adj: host.oom_score_adj,
        rlimits: limits::rlimits(&host.resources),
        ..ContainerSpec::default()
    }
}

fn no_new_privileges(host: &HostConfig) -> bool {
    let last = host
        .security_opt
        .iter()
        .rfind(|option| option.starts_with("no-new-privileges"));
    last.is_some_and(|option| !option.ends_with("false") && !option.ends_with('0'))
}

/// `writable-cgroups=BOOL`; the last one holds.
pub(crate) fn writable_cgroups(host: &HostConfig) -> Option<bool> {
    let said = host.security_opt.iter().rev().find_map(|option| {
        let (key, value) = option.split_once(['=', ':'])?;
        (key == "writable-cgroups").then_some(value)
    });
    Some(wharf_go::parse_bool(said?) == Ok(true))
}

fn size((rows, columns): (u32, u32)) -> Option<(u16, u16)> {
    let number = |number: u32| u16::try_from(number).ok().filter(|number| *number > 0);
    Some((number(rows)?, number(columns)?))
}

fn namespaces(shared: &Shared, host: &HostConfig, joined: &Joined) -> Namespaces {
    let of = |of_host: bool, other: &Option<Arc<View>>, file: &str| match (of_host, other) {
        (true, _) => Namespace::Host,
        (_, Some(view)) => {
            Namespace::Path(PathBuf::from(format!("/proc/{}/ns/{file}", view.state.pid)))
        }
        _ => Namespace::Private,
    };
    Namespaces {
        network: of(
            host.network_mode == NetworkMode::Host,
            &joined.network,
            "net",
        ),
        ipc: of(host.ipc_mode == IpcMode::Host, &joined.ipc, "ipc"),
        pid: of(host.pid_mode == NamespaceMode::Host, &joined.pid, "pid"),
        uts: of(host.uts_mode == NamespaceMode::Host, &None, "uts"),
        cgroup: of(host.cgroupns_mode == "host", &None, "cgroup"),
        user: userns::of(&shared.config, host).map(|remap| UserNamespace {
            path: joined
                .user
                .map(|pid| PathBuf::from(format!("/proc/{pid}/ns/user"))),
            users: remap.users.iter().map(owners::row).collect(),
            groups: remap.groups.iter().map(owners::row).collect(),
        }),
    }
}

/// A shared or slave bind needs a root of that kind (moby `oci_linux.go`, `WithMounts`).
fn propagate(oci: &mut Spec, record: &Record) {
    let words = record.mounts.iter().map(|mount| mount.propagation.as_str());
    let propagation = words.fold("", |found, word| match (found, word) {
        (_, "shared" | "rshared") => "shared",
        ("", "slave" | "rslave") => "rslave",
        _ => found,
    });
    if !propagation.is_empty()
        && let Some(linux) = oci.linux_mut()
    {
        linux.set_rootfs_propagation(Some(propagation.to_owned()));
    }
}

/// The name of the control group of one that is to start: a path, or systemd's `SLICE:PREFIX:NAME`. Where one is that
/// runs, [`wharf_tasks::Tasks::cgroup`] knows.
fn cgroup(host: &HostConfig, daemon: &EngineConfig, id: &str) -> String {
    let own = host.resources.cgroup_parent.as_str();
    let systemd = of_systemd(&host.runtime, daemon);
    let default = if systemd { "system.slice" } else { "/wharf" };
    let parent = [own, daemon.cgroup_parent.as_str(), default]
        .into_iter()
        .find(|parent| !parent.is_empty());
    let parent = parent.unwrap_or_default();
    match systemd {
        true => format!("{parent}:docker:{id}"),
        false => format!("/{}/{id}", parent.trim_matches('/')),
    }
}

/// Whether systemd makes the groups of containers of this runtime.
pub(crate) fn of_systemd(runtime: &str, daemon: &EngineConfig) -> bool {
    let asked = daemon
        .runtimes
        .get(runtime)
        .is_some_and(|one| one.systemd_cgroup);
    daemon.cgroup_driver == CgroupDriver::Systemd || asked
}

fn sysctls(host: &HostConfig, remapped: bool) -> std::collections::BTreeMap<String, String> {
    let mut sysctls = host.sysctls.clone();
    if !matches!(
        host.network_mode,
        NetworkMode::Host | NetworkMode::Container(_)
    ) {
        // As dockerd since 20.10: ports below 1024 and ping need no capability in a namespace of one's own.
        let own = [
            ("net.ipv4.ip_unprivileged_port_start", "0"),
            ("net.ipv4.ping_group_range", "0 2147483647"),
        ];
        // The range is counted in the container's ids, and these must all have one on the host.
        let taken = own.into_iter().take(if remapped { 1 } else { 2 });
        for (key, value) in taken {
            sysctls
                .entry(key.to_owned())
                .or_insert_with(|| value.to_owned());
        }
    }
    sysctls
}

/// Nobody named is root, with root's groups.
pub(crate) fn user(name: &str) -> String {
    if name.is_empty() {
        "0".to_owned()
    } else {
        name.to_owned()
    }
}

/// The process of an exec session.
pub(crate) fn exec(
    view: &View,
    id: &str,
    exec: &NewExec,
    options: ExecStartOptions,
) -> Result<ExecConfig, EngineError> {
    let mut config = (*view.config).clone();
    config.tty = exec.tty;
    config.env.extend(exec.env.iter().cloned());
    if !exec.working_dir.is_empty() {
        config.working_dir.clone_from(&exec.working_dir);
    }
    let mut host = (*view.host).clone();
    host.privileged |= exec.privileged;
    let spec = ContainerSpec {
        args: exec.cmd.clone(),
        console_size: options.console_size.or(exec.console_size),
        apparmor: view.app_armor_profile.clone(),
        ..process(&config, &host)
    };
    let oci = to_oci(&spec)?;
    let process = oci.process().clone().unwrap_or_default();
    let attach = wharf_tasks::AttachOptions {
        stdin: exec.attach_stdin,
        stdout: exec.attach_stdout,
        stderr: exec.attach_stderr,
    };
    Ok(ExecConfig {
        id: id.to_owned(),
        process,
        user: match exec.user.as_str() {
            "" => user(&view.config.user),
            own => own.to_owned(),
        },
        attach: (!options.detach).then_some(attach),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Resources;

    #[test]
    fn groups_lie_below_the_parent_that_is_nearest() {
        let mut host = HostConfig::default();
        let mut daemon = EngineConfig {
            cgroup_driver: CgroupDriver::Cgroupfs,
            ..EngineConfig::default()
        };
        assert_eq!(cgroup(&host, &daemon, "x"), "/wharf/x");
        daemon.cgroup_parent = "/d".to_owned();
        assert_eq!(cgroup(&host, &daemon, "x"), "/d/x");
        host.resources = Resources {
            cgroup_parent: "/own/".to_owned(),
            ..Resources::default()
        };
        assert_eq!(cgroup(&host, &daemon, "x"), "/own/x");
        daemon.cgroup_driver = CgroupDriver::Systemd;
        host.resources.cgroup_parent = "own.slice".to_owned();
        assert_eq!(cgroup(&host, &daemon, "x"), "own.slice:docker:x");
        host.resources.cgroup_parent.clear();
        daemon.cgroup_parent.clear();
        assert_eq!(cgroup(&host, &daemon, "x"), "system.slice:docker:x");
    }
}
