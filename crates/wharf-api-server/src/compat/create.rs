//! `POST /containers/create` of older clients: what their version does not have is passed over, or refused where it would be missed.

use wharf_api_types::{ContainerCreateRequest, HostConfig, Mount};

use crate::error::ApiError;
use crate::version::ApiVersion;

/// The body of `POST /containers/create` of a client of `version`, and what it is told.
///
/// # Errors
/// If it asks for what its version does not have.
pub(crate) fn container_create(
    request: &mut ContainerCreateRequest,
    version: ApiVersion,
) -> Result<Vec<String>, ApiError> {
    let host = request.host_config.get_or_insert_default();
    if version.before(25) {
        // Who asks for it removes it.
        host.auto_remove = false;
    }
    if version.before(40) {
        create_before_40(host);
    }
    if version.before(42) {
        create_before_42(host);
    } else {
        host.resources.kernel_memory = 0;
        host.mounts.iter().try_for_each(options_fit)?;
    }
    if version.before(43) {
        host.annotations.clear();
    }
    if version.before(56) {
        host.umask = None;
    }
    if version.before(44) {
        create_before_44(request)?;
    }
    if version.before(45) {
        create_before_45(request.host_config.get_or_insert_default())?;
    }
    if version.before(44) {
        super::mac_address::of_before_44(request)?;
        return Ok(Vec::new());
    }
    let mut warnings = super::mac_address::of_container(request)?;
    if !version.before(52) {
        warnings.extend(empty_bindings(request));
    }
    Ok(warnings)
}

/// From 1.42 on, options of another kind of mount are a mistake; before they were passed over.
fn options_fit(mount: &Mount) -> Result<(), ApiError> {
    let options = [
        ("bind", "BindOptions", mount.bind_options.is_some()),
        ("volume", "VolumeOptions", mount.volume_options.is_some()),
        ("tmpfs", "TmpfsOptions", mount.tmpfs_options.is_some()),
    ];
    let kind = &mount.kind;
    match options.iter().find(|(of, _, given)| *given && of != kind) {
        Some((_, name, _)) => Err(ApiError::bad(format!(
            "{name} must not be specified on mount type {kind:?}"
        ))),
        None => Ok(()),
    }
}

/// Until 1.40 memory that others may share was the default, and binds were recursive.
fn create_before_40(host: &mut HostConfig) {
    if host.ipc_mode.is_empty() {
        host.ipc_mode = "shareable".to_owned();
    }
    host.resources.pids_limit = host.resources.pids_limit.filter(|limit| *limit > 0);
    for mount in &mut host.mounts {
        if let Some(options) = &mut mount.bind_options {
            options.non_recursive = false;
        }
    }
}

/// What 1.42 brought, and options of another kind of mount, which were not looked at before.
fn create_before_42(host: &mut HostConfig) {
    host.console_size = [0, 0];
    for mount in &mut host.mounts {
        if let Some(options) = &mut mount.bind_options {
            options.create_mountpoint = false;
        }
        if mount.kind != "volume" {
            mount.volume_options = None;
        }
        if mount.kind != "tmpfs" {
            mount.tmpfs_options = None;
        }
    }
}

/// What nobody may believe to have is an error, not passed over.
fn create_before_45(host: &HostConfig) -> Result<(), ApiError> {
    let mut options = host
        .mounts
        .iter()
        .filter_map(|mount| mount.volume_options.as_ref());
    match options.any(|options| !options.subpath.is_empty()) {
        true => Err(ApiError::bad(
            "VolumeOptions.Subpath needs API v1.45 or newer",
        )),
        false => Ok(()),
    }
}

/// Until 1.44 a container was made in one network.
fn create_before_44(request: &mut ContainerCreateRequest) -> Result<(), ApiError> {
    if let Some(health) = &mut request.config.healthcheck {
        health.start_interval = 0;
    }
    let host = request.host_config.get_or_insert_default();
    let mut binds = host.mounts.iter().filter(|mount| mount.kind == "bind");
    if binds.any(|bind| {
        bind.bind_options
            .as_ref()
            .is_some_and(|options| options.read_only_force_recursive)
    }) {
        return Err(ApiError::bad(
            "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
        ));
    }
    let networks = request.networking_config.as_mut();
    let mut endpoints = networks.and_then(|networks| networks.endpoints_config.as_mut());
    for settings in endpoints.iter_mut().flat_map(|all| all.values_mut()) {
        settings.get_or_insert_default();
    }
    if let Some(endpoints) = endpoints.filter(|endpoints| endpoints.len() > 1) {
        let names: Vec<_> = endpoints.keys().map(String::as_str).collect();
        return Err(ApiError::bad(format!(
            "Container cannot be created with multiple network endpoints: {}",
            names.join(", ")
        )));
    }
    Ok(())
}

/// From 1.52 on, who publishes a port without saying where is told that it will not be done for ever.
fn empty_bindings(request: &ContainerCreateRequest) -> Option<String> {
    let ports = request.host_config.as_ref()?.port_bindings.as_ref()?;
    let empty = ports
        .iter()
        .filter(|(_, list)| list.as_ref().is_none_or(Vec::is_empty));
    let names: Vec<_> = empty.map(|(port, _)| port.as_str()).collect();
    (!names.is_empty()).then(|| {
        format!(
            "Following container port(s) have an empty list of port-bindings: {}. Such bindings will be discarded in a future version.",
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::version::Asked;

    /// What becomes of a body of that version, or why nothing does.
    fn made(version: &str, host: Value) -> Result<HostConfig, String> {
        let body = json!({ "Image": "x", "HostConfig": host });
        let mut request: ContainerCreateRequest = serde_json::from_value(body).unwrap();
        container_create(&mut request, Asked::of(Some(version)).version)
            .map_err(|error| error.message)?;
        Ok(request.host_config.unwrap())
    }

    #[test]
    fn what_a_version_does_not_have_is_passed_over_in_a_creation() {
        let removed = |version| {
            made(version, json!({ "AutoRemove": true }))
                .unwrap()
                .auto_remove
        };
        assert_eq!((removed("1.24"), removed("1.25")), (false, true));
        let mounts = json!({ "Mounts": [
            { "Type": "bind", "Target": "/a", "BindOptions": { "CreateMountpoint": true }, "TmpfsOptions": {} },
            { "Type": "tmpfs", "Target": "/b", "VolumeOptions": {}, "TmpfsOptions": {} },
        ] });
        let host = made("1.41", mounts.clone()).unwrap();
        let [bind, tmpfs] = &host.mounts[..] else {
            panic!("two")
        };
        assert!(!bind.bind_options.as_ref().unwrap().create_mountpoint);
        assert_eq!(
            (bind.tmpfs_options.is_some(), tmpfs.tmpfs_options.is_some()),
            (false, true)
        );
        assert_eq!(tmpfs.volume_options, None);
        assert!(
            made("1.42", mounts)
                .unwrap_err()
                .starts_with("TmpfsOptions must not")
        );
    }

    #[test]
    fn what_nobody_may_believe_to_have_is_refused() {
        let mount = |kind: &str, field: &str, options: Value| json!({ "Mounts": [{ "Type": kind, "Target": "/a", field: options }] });
        let subpath = || mount("volume", "VolumeOptions", json!({ "Subpath": "x" }));
        assert_eq!(
            made("1.44", subpath()).unwrap_err(),
            "VolumeOptions.Subpath needs API v1.45 or newer"
        );
        made("1.45", subpath()).unwrap();
        let forced = || {
            mount(
                "bind",
                "BindOptions",
                json!({ "ReadOnlyForceRecursive": true }),
            )
        };
        assert_eq!(
            made("1.43", forced()).unwrap_err(),
            "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer"
        );
        made("1.44", forced()).unwrap();
    }
}
