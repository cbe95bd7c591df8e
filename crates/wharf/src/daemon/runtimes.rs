//! `runtimes` and `default-runtime`.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use wharf_engine::RuntimeConfig;

use super::directives::{Directives, Named, Runtime};

/// Names that stand for the runtime of the shim itself, as far as containers ask for them.
const OWN: &[&str] = &["wharf", "runc", "io.containerd.runc.v2"];
/// The only kind of shim of containerd's that has a command line of OCI's behind it.
const RUNC_SHIM: &str = "io.containerd.runc.v2";

/// The runtimes of the setting; their names are lower case, as dockerd has them.
pub(super) fn resolve(said: &Directives) -> Result<BTreeMap<String, RuntimeConfig>> {
    let mut runtimes = BTreeMap::new();
    for Named { name, value } in &said.runtimes {
        if OWN.contains(&name.as_str()) {
            bail!("runtime name '{name}' is reserved");
        }
        runtimes.insert(name.clone(), runtime(name, value)?);
    }
    Ok(runtimes)
}

fn runtime(name: &str, value: &Runtime) -> Result<RuntimeConfig> {
    let Runtime {
        path,
        runtime_args,
        runtime_type,
        options,
    } = value;
    if !path.is_empty() && !runtime_type.is_empty() {
        bail!("runtime {name}: cannot specify both path and runtimeType for a runtime");
    }
    if path.is_empty() && runtime_type.is_empty() {
        bail!("runtime {name}: must have either a path or runtimeType");
    }
    if !runtime_type.is_empty() && runtime_type != RUNC_SHIM {
        bail!(
            "runtime {name}: runtimeType {runtime_type} is not supported: there is no containerd, give its path"
        );
    }
    if !path.is_empty() && !options.is_empty() {
        bail!("runtime {name}: options cannot be used with a path");
    }
    if !runtime_type.is_empty() && !runtime_args.is_empty() {
        bail!("runtime {name}: args cannot be used with a runtimeType");
    }
    let mut config = RuntimeConfig {
        path: path.into(),
        arguments: runtime_args.clone(),
        systemd_cgroup: false,
    };
    for (key, value) in options {
        match (key.as_str(), value.as_str(), value.as_bool()) {
            ("BinaryName", Some(path), _) => config.path = path.into(),
            ("SystemdCgroup", _, Some(systemd)) => config.systemd_cgroup = systemd,
            _ => bail!("runtime {name}: option {key} is not supported"),
        }
    }
    if config.path.as_os_str().is_empty() {
        config.path = "runc".into();
    }
    Ok(config)
}

/// The runtime of containers that name none.
pub(super) fn default(said: &Directives) -> Result<String> {
    let name = said.default_runtime.as_deref().unwrap_or("wharf");
    let known = OWN.contains(&name) || said.runtimes.iter().any(|one| one.name == name);
    match known {
        true => Ok(name.to_owned()),
        false => bail!("specified default runtime '{name}' does not exist"),
    }
}
