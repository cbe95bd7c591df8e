//! `create`.
//!
//! Everything is checked before anything is made; then layer, volumes and folder are made, and last the record,
//! which is what makes the container exist, and its anonymous volumes in the same transaction. A daemon killed in between
//! leaves a layer, a folder and promised volumes without a record, which the next start sweeps.

use std::sync::Arc;

use jiff::Timestamp;
use wharf_images::{Image, ImageError, ImagePin};
use wharf_records::Transaction;

use super::registry::NameHold;
use super::{Containers, Created, Shared, merge, mounts, stop, verify};
use crate::lifecycle::{Phase, State};
use crate::record::{CONTAINERS, LastRun, Record};
use crate::{
    Config, EndpointSettings, EndpointView, EngineError, HostConfig, IpcMode, MountPoint,
    NamespaceMode, NetworkMode, NetworkView, NewContainer, copy_up, names,
    networks::check_endpoint,
};

impl Containers {
    /// Makes a container.
    ///
    /// # Errors
    /// If its settings make no sense, its name is in use, or there is no such image.
    pub async fn create(&self, new: NewContainer) -> Result<Created, EngineError> {
        let shared = self.shared.clone();
        let has_volumes = has_volumes(&new);
        // All of it on one thread: whoever asked may go away at any moment, and a record does not stay without its entry.
        let create = move || {
            let (record, warnings, pin) = create(&shared, new)?;
            let id = record.id.clone();
            let (name, config) = (record.name.clone(), record.config.clone());
            let (_, supervisor) = shared.enter(record);
            // From now on everybody sees who uses them.
            shared.volumes.release(&id);
            drop(pin);
            tokio::spawn(supervisor.run());
            shared.emit(&id, &name, &config, "create", &[]);
            Ok::<_, EngineError>(Created { id, warnings })
        };
        let failed = |error: &dyn std::error::Error| EngineError::failed(error);
        if has_volumes {
            // A plugin is asked, and may take its time.
            let created = wharf_images::at_clients_pace(create).await;
            return created.map_err(|error| failed(&error))?;
        }
        let created = tokio::task::spawn_blocking(create).await;
        created.map_err(|error| failed(&error))?
    }
}

/// Whether its settings name volumes, which plugins may be asked for. Those of its image are of the local driver unless they say
/// another one.
fn has_volumes(new: &NewContainer) -> bool {
    let host = &new.host;
    !(host.binds.is_empty()
        && host.mounts.is_empty()
        && host.volumes_from.is_empty()
        && host.volume_driver.is_empty()
        && new.config.volumes.is_empty())
}

/// The container on disk. Its image stays while the pin lives.
fn create(
    shared: &Arc<Shared>,
    new: NewContainer,
) -> Result<(Record, Vec<String>, ImagePin), EngineError> {
    let NewContainer {
        name,
        platform,
        mut config,
        mut host,
        endpoints,
        points,
        binds_top_read_only,
    } = new;
    let name = name
        .as_deref()
        .filter(|name| !name.is_empty())
        .map(names::check)
        .transpose()?;
    verify::config(&config)?;
    verify::shared_namespaces(&config, &host)?;
    let mut warnings = verify::host(&mut host, &shared.settings())?;
    let chosen = shared.images.pin_for(&config.image, platform.as_ref());
    // A platform that the image's may be run on is the words of the store; one of the same kind is near enough here.
    let (image, pin) = match chosen {
        Err(ImageError::OtherPlatform { .. }) => shared.images.pin(&config.image)?,
        chosen => chosen?,
    };
    if let Some(platform) = &platform
        && !platform_fits(platform, &image)
    {
        let (image, found) = (&config.image, image.config.platform());
        let text = format!(
            "image with reference {image} was found but does not match the specified platform: wanted {platform}, actual: {found}"
        );
        return Err(EngineError::NotFound(text));
    }
    merge::merge(&mut config, &image.config.config)?;
    verify::config(&config)?;
    names_to_ids(shared, &mut host)?;
    let id = names::new_id();
    let hold = shared.reserve_name(name, &id)?;
    crate::launch::links::check(shared, &mut host, hold.name())?;
    hostname(shared, &mut config, &host, &id);
    let network = network(shared, &config, &host, endpoints)?;
    if !is_host_platform(&image) {
        let (found, host) = (image.config.platform(), wharf_oci::Platform::host());
        warnings.push(format!("The requested image's platform ({found}) does not match the detected host platform ({host}) and no specific platform was requested"));
    }
    let mut mounts = mounts::resolve(shared, &config, &host, &id)?;
    let sealed = mounts
        .iter_mut()
        .filter(|one| one.kind == "bind" && !one.rw);
    sealed.for_each(|bind| bind.top_read_only |= binds_top_read_only);
    mounts.extend(points);
    let record = Record {
        mounts,
        ..record(id, &hold, &image, config, host, network)
    };
    match materialize(shared, &record) {
        Ok(()) => {
            hold.keep();
            Ok((record, warnings, pin))
        }
        Err(error) => {
            shared.volumes.release(&record.id);
            shared.remove_anonymous_volumes(&record);
            shared.remove_files(&record.id);
            shared.empty_trash();
            Err(error)
        }
    }
}

fn record(
    id: String,
    hold: &NameHold,
    image: &Image,
    config: Config,
    host: HostConfig,
    network: NetworkView,
) -> Record {
    let (path, args) = merge::argv(&config);
    Record {
        name: hold.name().to_owned(),
        created: Timestamp::now(),
        path,
        args,
        image: image.id,
        chain: Arc::new(image.chain.clone()),
        platform: image.config.platform(),
        mounts: Vec::new(),
        network,
        app_armor_profile: String::new(),
        state: State {
            phase: Phase::Created,
            policy: host.restart_policy,
            auto_remove: host.auto_remove,
            stop_signal: stop::stop_signal(&config),
            own_stop_signal: stop::has_stop_signal(&config),
            stopped_by_hand: false,
            last_run: false,
            restarts: 0,
            backoff: 0,
        },
        last: LastRun::default(),
        health: None,
        remove_volumes: false,
        config: Arc::new(config),
        host: Arc::new(host),
        id,
    }
}

/// Layer, folder, filled volumes; then the record.
fn materialize(shared: &Shared, record: &Record) -> Result<(), EngineError> {
    let rootfs = shared.create_rw(&record.id, &record.image, &record.chain)?;
    super::scaffold::make(&rootfs)?;
    let folder = shared.folders.of(&record.id);
    std::fs::create_dir_all(&folder).map_err(EngineError::io("make", &folder))?;
    for mount in record.mounts.iter().filter(|mount| mount.copy_up) {
        fill(shared, &rootfs, mount, &record.id)?;
    }
    let anonymous = record.mounts.iter().filter(|mount| mount.anonymous);
    let anonymous: Vec<&str> = anonymous.map(|mount| mount.name.as_str()).collect();
    let put = |tx: &Transaction<'_>| -> Result<(), EngineError> {
        Ok(CONTAINERS.put(tx, &record.id, record)?)
    };
    match anonymous.is_empty() {
        true => shared.db.write(put)?,
        false => shared.volumes.keep(&anonymous, put)?,
    }
    Ok(())
}

/// Gives a fresh volume what the image has at its place.
fn fill(
    shared: &Shared,
    rootfs: &wharf_snapshots::Rootfs,
    mount: &MountPoint,
    id: &str,
) -> Result<(), EngineError> {
    let source = shared.volumes.mount(&mount.name, id)?;
    let keep_owner = shared.volumes.owns_its_folder(&mount.name);
    let filled = copy_up::fill(rootfs, mount, &source, keep_owner);
    shared.volumes.unmount(&mount.name, id)?;
    filled
}

fn platform_fits(wanted: &wharf_oci::Platform, image: &Image) -> bool {
    let found = image.config.platform();
    wanted.os == found.os && wanted.architecture == found.architecture
}

fn is_host_platform(image: &Image) -> bool {
    platform_fits(&wharf_oci::Platform::host(), image)
}

/// Names of other containers become ids, which renames do not change (moby `adaptSharedNamespaceContainer`). A network of one
/// that is not there is met at the start.
fn names_to_ids(shared: &Shared, host: &mut HostConfig) -> Result<(), EngineError> {
    let id = |name: &str| shared.find(name).map(|entry| entry.id.clone());
    if let NetworkMode::Container(name) = &mut host.network_mode
        && let Ok(id) = id(name)
    {
        *name = id;
    }
    let joined = |name: &str| id(name).map_err(|error| EngineError::Invalid(error.message()));
    if let IpcMode::Container(name) = &mut host.ipc_mode {
        *name = joined(name)?;
    }
    if let NamespaceMode::Container(name) = &mut host.pid_mode {
        *name = joined(name)?;
    }
    Ok(())
}

fn hostname(shared: &Shared, config: &mut Config, host: &HostConfig, id: &str) {
    // Who shares a container's network goes by its name (moby `initializeNetworking`).
    if let NetworkMode::Container(other) = &host.network_mode
        && let Ok(other) = shared.find(other)
    {
        let other = other.now();
        config.hostname.clone_from(&other.config.hostname);
        config.domainname.clone_from(&other.config.domainname);
        return;
    }
    let of_host = host.network_mode == NetworkMode::Host || host.uts_mode == NamespaceMode::Host;
    if config.hostname.is_empty() {
        config.hostname = match of_host {
            true => rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            false => id.chars().take(12).collect(),
        };
    }
}

/// Its networks: all that settings are given for; if there are none, that of the network mode. One that is not there is met at the
/// start, as with dockerd.
fn network(
    shared: &Shared,
    config: &Config,
    host: &HostConfig,
    endpoints: std::collections::BTreeMap<String, EndpointSettings>,
) -> Result<NetworkView, EngineError> {
    let mut view = NetworkView::default();
    if config.network_disabled {
        return Ok(view);
    }
    let Some(mode) = host.network_mode.network_name() else {
        return Ok(view);
    };
    let known = |text: &str| match shared.networks.get(text) {
        Ok(network) => (network.name.clone(), Some(network)),
        Err(_) => (text.to_owned(), None),
    };
    let main = known(mode).0;
    let mut endpoints = endpoints;
    if endpoints.is_empty() {
        endpoints.insert(main.clone(), EndpointSettings::default());
    }
    for (key, mut settings) in endpoints {
        let (name, network) = known(&key);
        if name == main && settings.mac_address.is_empty() {
            settings.mac_address.clone_from(&config.mac_address);
        }
        check_endpoint(network.as_ref(), &settings).map_err(|text| {
            EngineError::Invalid(format!("invalid config for network {name}: {text}"))
        })?;
        let endpoint = EndpointView {
            settings,
            ..EndpointView::default()
        };
        view.endpoints.insert(name, endpoint);
    }
    let private = |name: &str| view.endpoints.contains_key(name) && view.endpoints.len() > 1;
    let of_the_host = host.network_mode == NetworkMode::Host;
    if private("host") || of_the_host && !view.endpoints.contains_key("host") {
        let text = "container sharing network namespace with another container or host cannot be connected to any other network";
        return Err(EngineError::Invalid(text.to_owned()));
    }
    if private("none") {
        let text = "container cannot be connected to multiple networks with one of the networks in private (none) mode";
        return Err(EngineError::Invalid(text.to_owned()));
    }
    Ok(view)
}
