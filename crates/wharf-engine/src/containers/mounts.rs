//! What a new container mounts: binds, volumes, tmpfs; and who wins one path (moby `daemon/volumes.go`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wharf_volumes::{NewVolume, Volume};

use super::Shared;
use crate::{
    Bind, BindSource, Config, EngineError, EventKind, HostConfig, MountKind, MountPoint,
    MountRequest, Propagation, names,
};

/// The mounts of a container, by path; the volumes among them exist afterwards. Order of precedence, the later
/// wins: `volumes-from`, `-v`, `--mount`, then the image's volumes where nothing else is.
pub(super) fn resolve(
    shared: &Arc<Shared>,
    config: &Config,
    host: &HostConfig,
    id: &str,
) -> Result<Vec<MountPoint>, EngineError> {
    let mut points = BTreeMap::new();
    for from in &host.volumes_from {
        volumes_from(shared, from, &mut points)?;
    }
    let mut taken = std::collections::BTreeSet::new();
    let mut once = |target: &str| match taken.insert(clean(target)) {
        true => Ok(()),
        false => Err(EngineError::Invalid(format!(
            "Duplicate mount point: {}",
            clean(target)
        ))),
    };
    for bind in &host.binds {
        once(&bind.target)?;
        let point = of_bind(shared, bind, id)?;
        points.insert(point.destination.clone(), point);
    }
    for mount in &host.mounts {
        once(&mount.target)?;
        let point = of_mount(shared, mount, id)?;
        points.insert(point.destination.clone(), point);
    }
    for target in host.tmpfs.keys() {
        if !target.starts_with('/') {
            return Err(EngineError::Invalid(format!(
                "invalid mount path: '{target}' mount path must be absolute"
            )));
        }
        once(target)?;
        points.remove(&clean(target));
    }
    for target in &config.volumes {
        let target = absolute(target)?;
        if !points.contains_key(&target) && !host.tmpfs.contains_key(&target) {
            let volume = anonymous(shared, BTreeMap::new(), id)?;
            points.insert(
                target.clone(),
                of_volume(&volume, target, String::new(), true),
            );
        }
    }
    Ok(points.into_values().collect())
}

/// Docker's `filepath.Clean` of a path in the container.
pub(crate) fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn absolute(target: &str) -> Result<String, EngineError> {
    let path = clean(target);
    if !target.starts_with('/') {
        let text = format!(
            "invalid mount config for type \"volume\": invalid mount path: '{target}' mount path must be absolute"
        );
        return Err(EngineError::Invalid(text));
    }
    if path == "/" {
        let text =
            "invalid volume specification: '/': invalid specification: destination can't be '/'";
        return Err(EngineError::Invalid(text.to_owned()));
    }
    Ok(path)
}

fn of_bind(shared: &Shared, bind: &Bind, id: &str) -> Result<MountPoint, EngineError> {
    let target = clean(&bind.target);
    if target == "/" {
        let text = format!(
            "invalid volume specification: '{}': invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
            bind.text
        );
        return Err(EngineError::Invalid(text));
    }
    let mut point = match &bind.source {
        BindSource::Path(source) => MountPoint {
            propagation: bind.propagation.as_str().to_owned(),
            create_source: true,
            ..host_path(source.clone(), target)
        },
        BindSource::Volume(name) => {
            let volume = named(shared, name, NewVolume::default(), id)?;
            let mode = if bind.mode.is_empty() {
                "z".to_owned()
            } else {
                bind.mode.clone()
            };
            of_volume(&volume, target, mode, !bind.no_copy)
        }
    };
    if matches!(bind.source, BindSource::Path(_)) {
        point.mode.clone_from(&bind.mode);
    }
    point.rw = !bind.read_only;
    Ok(point)
}

fn of_mount(shared: &Shared, mount: &MountRequest, id: &str) -> Result<MountPoint, EngineError> {
    let target = clean(&mount.target);
    let kind = match &mount.kind {
        MountKind::Bind { .. } => "bind",
        MountKind::Volume { .. } => "volume",
        MountKind::Tmpfs(_) => "tmpfs",
    };
    let invalid = |text: String| {
        EngineError::Invalid(format!("invalid mount config for type \"{kind}\": {text}"))
    };
    if !mount.target.starts_with('/') {
        let text = format!(
            "invalid mount path: '{}' mount path must be absolute",
            mount.target
        );
        return Err(invalid(text));
    }
    if target == "/" {
        return Err(invalid(
            "invalid specification: destination can't be '/'".to_owned(),
        ));
    }
    let mut point = match &mount.kind {
        MountKind::Bind {
            source,
            propagation,
            non_recursive,
            create_source,
            read_only_non_recursive,
            read_only_force_recursive,
        } => {
            if *read_only_non_recursive && *read_only_force_recursive {
                let text = "mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive";
                return Err(invalid(text.to_owned()));
            }
            if !source.is_absolute() {
                let text = format!(
                    "invalid mount path: '{}' mount path must be absolute",
                    source.display()
                );
                return Err(invalid(text));
            }
            if !create_source && std::fs::metadata(source).is_err() {
                return Err(invalid(format!(
                    "bind source path does not exist: {}",
                    source.display()
                )));
            }
            MountPoint {
                propagation: propagation.as_str().to_owned(),
                create_source: *create_source,
                non_recursive: *non_recursive,
                top_read_only: *read_only_non_recursive,
                ..host_path(source.clone(), target)
            }
        }
        MountKind::Volume {
            source,
            no_copy,
            labels,
            driver,
            options,
            subpath,
        } => {
            let (labels, driver, options) = (labels.clone(), driver.clone(), options.clone());
            let volume = match source.is_empty() {
                true => anonymous(shared, labels, id)?,
                false => named(
                    shared,
                    source,
                    NewVolume {
                        labels,
                        driver,
                        options,
                        ..NewVolume::default()
                    },
                    id,
                )?,
            };
            let subpath = subpath.clone();
            MountPoint {
                subpath,
                ..of_volume(&volume, target, "z".to_owned(), !no_copy)
            }
        }
        MountKind::Tmpfs(tmpfs) => MountPoint {
            kind: "tmpfs".to_owned(),
            tmpfs: Some(tmpfs_options(tmpfs)),
            ..host_path(PathBuf::new(), target)
        },
    };
    point.rw = !mount.read_only;
    Ok(point)
}

fn tmpfs_options(tmpfs: &crate::TmpfsRequest) -> String {
    let mut options = Vec::new();
    if tmpfs.mode != 0 {
        options.push(format!("mode={:o}", tmpfs.mode));
    }
    if tmpfs.size != 0 {
        options.push(format!("size={}", tmpfs.size));
    }
    for (key, value) in &tmpfs.options {
        options.push(match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        });
    }
    options.join(",")
}

fn host_path(source: PathBuf, destination: String) -> MountPoint {
    MountPoint {
        kind: "bind".to_owned(),
        name: String::new(),
        source,
        destination,
        driver: String::new(),
        mode: String::new(),
        rw: true,
        propagation: String::new(),
        copy_up: false,
        create_source: false,
        non_recursive: false,
        top_read_only: false,
        subpath: String::new(),
        tmpfs: None,
        anonymous: false,
        layers: None,
    }
}

fn of_volume(volume: &Volume, destination: String, mode: String, copy_up: bool) -> MountPoint {
    MountPoint {
        kind: "volume".to_owned(),
        name: volume.name.as_str().to_owned(),
        driver: "local".to_owned(),
        mode,
        copy_up,
        anonymous: volume.anonymous,
        ..host_path(volume.mountpoint.clone(), destination)
    }
}

fn named(shared: &Shared, name: &str, new: NewVolume, id: &str) -> Result<Volume, EngineError> {
    make(
        shared,
        NewVolume {
            name: name.to_owned(),
            ..new
        },
        id,
    )
}

fn anonymous(
    shared: &Shared,
    labels: BTreeMap<String, String>,
    id: &str,
) -> Result<Volume, EngineError> {
    let mut labels = labels;
    labels.insert("com.docker.volume.anonymous".to_owned(), String::new());
    make(
        shared,
        NewVolume {
            name: names::new_id(),
            labels,
            anonymous: true,
            ..NewVolume::default()
        },
        id,
    )
}

fn make(shared: &Shared, new: NewVolume, _id: &str) -> Result<Volume, EngineError> {
    let fresh = shared.volumes.get(&new.name).is_err();
    let volume = shared.volumes.create(new)?;
    if fresh {
        let driver = [("driver".to_owned(), "local".to_owned())].into();
        shared
            .events
            .emit(EventKind::Volume, "create", volume.name.as_str(), driver);
    }
    Ok(volume)
}

fn volumes_from(
    shared: &Shared,
    text: &str,
    points: &mut BTreeMap<String, MountPoint>,
) -> Result<(), EngineError> {
    let (container, mode) = text.split_once(':').unwrap_or((text, "rw"));
    if !matches!(mode, "" | "rw" | "ro" | "z" | "Z") {
        return Err(EngineError::Invalid(format!("invalid mode: {mode}")));
    }
    if container.is_empty() {
        let text = "volumes-from specification cannot be an empty string";
        return Err(EngineError::Invalid(text.to_owned()));
    }
    // Not a 404: the client would take it for the image's.
    let found = shared.find(container);
    let found = found.map_err(|error| EngineError::Invalid(error.message()))?;
    for point in &found.now().mounts {
        let mut point = point.clone();
        point.rw &= mode != "ro";
        // What one names, the other shares: it is not filled again, and goes with neither alone.
        point.copy_up = false;
        points.insert(point.destination.clone(), point);
    }
    Ok(())
}

/// Parses one `-v` (moby `volume/mounts`, `linuxParser.ParseMountRaw`). An anonymous volume (`-v /path`) is the
/// caller's: it belongs to the container's volumes.
pub fn parse_bind(text: &str) -> Result<Bind, EngineError> {
    let invalid = || EngineError::Invalid(format!("invalid volume specification: '{text}'"));
    let (source, target, mode) = match text.split(':').collect::<Vec<_>>()[..] {
        [source, target] => (source, target, ""),
        [source, target, mode] => (source, target, mode),
        _ => return Err(invalid()),
    };
    if source.is_empty() || !target.starts_with('/') {
        return Err(invalid());
    }
    let source = match source.starts_with('/') {
        true => BindSource::Path(PathBuf::from(clean(source))),
        false => {
            wharf_volumes::VolumeName::parse(source)?;
            BindSource::Volume(source.to_owned())
        }
    };
    let mut bind = Bind {
        text: text.to_owned(),
        source,
        target: clean(target),
        mode: mode.to_owned(),
        read_only: false,
        no_copy: false,
        propagation: Propagation::default(),
    };
    for word in mode.split(',').filter(|word| !word.is_empty()) {
        match word {
            "ro" => bind.read_only = true,
            "rw" | "z" | "Z" | "consistent" | "cached" | "delegated" => {}
            "nocopy" => bind.no_copy = true,
            word => match Propagation::parse(word) {
                Some(propagation) => bind.propagation = propagation,
                None => return Err(EngineError::Invalid(format!("invalid mode: {mode}"))),
            },
        }
    }
    Ok(bind)
}

/// Makes the missing folders that `-v` asks for; called at each start.
pub(crate) fn make_sources(mounts: &[MountPoint]) -> Result<(), EngineError> {
    for mount in mounts.iter().filter(|mount| mount.create_source) {
        make_source(&mount.source)?;
    }
    Ok(())
}

fn make_source(path: &Path) -> Result<(), EngineError> {
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    std::fs::create_dir_all(path).map_err(|error| {
        let path = path.display();
        EngineError::Failed(format!(
            "error while creating mount source path '{path}': mkdir {path}: {error}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_binds() {
        let bind = parse_bind("/a/../b:/c/:ro,rslave").unwrap();
        assert_eq!(bind.source, BindSource::Path("/b".into()));
        assert_eq!((bind.target.as_str(), bind.read_only), ("/c", true));
        assert_eq!(bind.propagation, Propagation::RSlave);
        let bind = parse_bind("data:/d:nocopy").unwrap();
        assert_eq!(
            (bind.source, bind.no_copy),
            (BindSource::Volume("data".to_owned()), true)
        );
        for bad in ["/a", "/a:b", ":/a", "/a:/b:/c:ro", "/a:/b:xx"] {
            assert!(parse_bind(bad).is_err(), "{bad}");
        }
    }
}
