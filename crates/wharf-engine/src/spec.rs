//! A container's record → an OCI specification: the second of the two conversions of settings.
//!
//! [`defaults`] has what every container gets, [`limits`] its limits and devices, [`filesystem`] its mounts.

mod defaults;
mod filesystem;
mod limits;
mod seccomp;

use std::sync::Arc;

use oci_spec::runtime::Spec;
use serde_json::{Value, json};
use wharf_tasks::ExecConfig;

use crate::containers::{Shared, environment};
use crate::record::Record;
use crate::{
    Config, EngineError, ExecStartOptions, HostConfig, IpcMode, NamespaceMode, NetworkMode,
    NewExec, View,
};

pub(crate) use defaults::capabilities;
pub(crate) use seccomp::Filters;

/// The containers whose namespaces a container shares.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    pub(crate) network: Option<Arc<View>>,
    pub(crate) ipc: Option<Arc<View>>,
    pub(crate) pid: Option<Arc<View>>,
}

impl Joined {
    /// Finds them; Docker's words for one that does not run.
    pub(crate) fn find(shared: &Shared, record: &Record) -> Result<Self, EngineError> {
        let mut joined = Self::default();
        if let NetworkMode::Container(name) = &record.host.network_mode {
            joined.network = Some(running(shared, name, "network namespace")?);
        }
        if let NamespaceMode::Container(name) = &record.host.pid_mode {
            joined.pid = Some(running(shared, name, "PID namespace")?);
        }
        if let IpcMode::Container(name) = &record.host.ipc_mode {
            let other = running(shared, name, "IPC namespace")?;
            if matches!(other.host.ipc_mode, IpcMode::Private | IpcMode::None) {
                let id = &other.id;
                return Err(EngineError::Failed(format!(
                    "can't join IPC of container {id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
                )));
            }
            joined.ipc = Some(other);
        }
        Ok(joined)
    }
}

fn running(shared: &Shared, name: &str, what: &str) -> Result<Arc<View>, EngineError> {
    let view = shared.find(name)?.now();
    if view.state.pid == 0 {
        let text = format!("cannot join {what} of a non running container: {name}");
        return Err(EngineError::Conflict(text));
    }
    Ok(view)
}

/// The specification of one start, and its compiled seccomp filter.
pub(crate) fn bundle(
    shared: &Shared,
    record: &Record,
    joined: &Joined,
) -> Result<(Spec, Option<Vec<u8>>), EngineError> {
    let (config, host) = (record.config.as_ref(), record.host.as_ref());
    let argv: Vec<&String> = std::iter::once(&record.path).chain(&record.args).collect();
    let mut process = process(config, host, json!(argv), environment(config))?;
    if let (height @ 1.., width @ 1..) = host.console_size {
        process["consoleSize"] = json!({ "height": height, "width": width });
    }
    process["oomScoreAdj"] = json!(host.oom_score_adj);
    let mut spec = json!({
        "ociVersion": "1.2.0",
        "process": process,
        "root": { "path": "rootfs", "readonly": host.readonly_rootfs },
        "mounts": filesystem::mounts(shared, record, joined),
        "annotations": host.annotations,
        "linux": linux(shared, record, joined)?,
    });
    if host.uts_mode != NamespaceMode::Host {
        spec["hostname"] = json!(config.hostname);
        if !config.domainname.is_empty() {
            spec["domainname"] = json!(config.domainname);
        }
    }
    let spec = serde_json::from_value(spec).map_err(|error| EngineError::failed(&error))?;
    let capabilities = capabilities(host)?;
    let filter = seccomp::filter(&shared.filters, &shared.config, host, capabilities)?;
    Ok((spec, filter))
}

/// What a container's first process and those of exec have in common.
fn process(
    config: &Config,
    host: &HostConfig,
    args: Value,
    env: Vec<String>,
) -> Result<Value, EngineError> {
    let capabilities = defaults::capabilities(host)?;
    let cwd = if config.working_dir.is_empty() {
        "/"
    } else {
        &config.working_dir
    };
    let no_new_privileges = host.security_opt.iter().any(|option| {
        matches!(
            option.as_str(),
            "no-new-privileges"
                | "no-new-privileges=true"
                | "no-new-privileges:true"
                | "no-new-privileges=1"
        )
    });
    Ok(json!({
        "terminal": config.tty,
        // The shim looks the user up inside the root file system.
        "user": { "uid": 0, "gid": 0 },
        "args": args,
        "env": env,
        "cwd": cwd,
        "capabilities": {
            "bounding": capabilities,
            "effective": capabilities,
            "permitted": capabilities,
        },
        "rlimits": limits::rlimits(&host.resources),
        "noNewPrivileges": no_new_privileges,
    }))
}

fn linux(shared: &Shared, record: &Record, joined: &Joined) -> Result<Value, EngineError> {
    let host = record.host.as_ref();
    let mut linux = json!({
        "namespaces": namespaces(host, joined),
        "resources": limits::resources(host)?,
        "devices": limits::devices(host)?,
        "cgroupsPath": cgroup(host, &shared.config.cgroup_parent, &record.id),
        "sysctl": sysctls(record),
    });
    let unconfined = host
        .security_opt
        .iter()
        .any(|option| option == "systempaths=unconfined");
    if !host.privileged && !unconfined {
        let paths = |own: &Option<Vec<String>>, default: &[&str]| match own {
            Some(own) => json!(own),
            None => json!(default),
        };
        linux["maskedPaths"] = paths(&host.masked_paths, defaults::MASKED);
        linux["readonlyPaths"] = paths(&host.readonly_paths, defaults::READONLY);
    }
    let shared_mounts = record.mounts.iter().map(|mount| mount.propagation.as_str());
    let propagation = shared_mounts.fold("", |found, word| match (found, word) {
        (_, "shared" | "rshared") => "shared",
        ("", "slave" | "rslave") => "rslave",
        _ => found,
    });
    if !propagation.is_empty() {
        linux["rootfsPropagation"] = json!(propagation);
    }
    Ok(linux)
}

fn namespaces(host: &HostConfig, joined: &Joined) -> Vec<Value> {
    let of =
        |kind: &str, file: &str, of_host: bool, other: &Option<Arc<View>>| match (of_host, other) {
            (true, _) => None,
            (_, Some(view)) => {
                Some(json!({ "type": kind, "path": format!("/proc/{}/ns/{file}", view.state.pid) }))
            }
            _ => Some(json!({ "type": kind })),
        };
    let all = [
        of("mount", "mnt", false, &None),
        of(
            "network",
            "net",
            host.network_mode == NetworkMode::Host,
            &joined.network,
        ),
        of("uts", "uts", host.uts_mode == NamespaceMode::Host, &None),
        of(
            "pid",
            "pid",
            host.pid_mode == NamespaceMode::Host,
            &joined.pid,
        ),
        of("ipc", "ipc", host.ipc_mode == IpcMode::Host, &joined.ipc),
        of("cgroup", "cgroup", host.cgroupns_mode == "host", &None),
    ];
    all.into_iter().flatten().collect()
}

fn cgroup(host: &HostConfig, daemon: &str, id: &str) -> String {
    let own = host.resources.cgroup_parent.as_str();
    let parent = [own, daemon, "/wharf"]
        .into_iter()
        .find(|parent| !parent.is_empty());
    format!("/{}/{id}", parent.unwrap_or_default().trim_matches('/'))
}

fn sysctls(record: &Record) -> Value {
    let mut sysctls = record.host.sysctls.clone();
    if !matches!(
        record.host.network_mode,
        NetworkMode::Host | NetworkMode::Container(_)
    ) {
        // As dockerd since 20.10: ports below 1024 and ping need no capability in a namespace of one's own.
        for (key, value) in [
            ("net.ipv4.ip_unprivileged_port_start", "0"),
            ("net.ipv4.ping_group_range", "0 2147483647"),
        ] {
            sysctls
                .entry(key.to_owned())
                .or_insert_with(|| value.to_owned());
        }
    }
    json!(sysctls)
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
    let mut process = process(&config, &host, json!(exec.cmd), environment(&config))?;
    let size = options.console_size.or(exec.console_size);
    if let Some((height @ 1.., width @ 1..)) = size {
        process["consoleSize"] = json!({ "height": height, "width": width });
    }
    let process = serde_json::from_value(process).map_err(|error| EngineError::failed(&error))?;
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
        assert_eq!(cgroup(&host, "", "x"), "/wharf/x");
        assert_eq!(cgroup(&host, "/d", "x"), "/d/x");
        host.resources = Resources {
            cgroup_parent: "/own/".to_owned(),
            ..Resources::default()
        };
        assert_eq!(cgroup(&host, "/d", "x"), "/own/x");
    }
}
