//! What a new container mounts: binds, volumes, tmpfs; and who wins one path (moby `daemon/volumes.go`).

mod check;
mod parse;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wharf_go::path::clean_from_top;
use wharf_volumes::{Created, LOCAL, NewVolume, Pairs, Volume, VolumeName};

use self::parse::Mode;
use super::Shared;
use crate::{
    Bind, BindSource, Config, EngineError, HostConfig, MountKind, MountPoint, MountRequest,
    Propagation, names, volumes,
};

pub use parse::parse_bind;

/// The mounts of a container, by path; the volumes among them exist afterwards, and cannot be removed before
/// [`wharf_volumes::Volumes::release`] with its id. Order of precedence, the later wins: `volumes-from`, `-v`,
/// `--mount`, then the image's volumes where nothing else is. An error leaves no anonymous volume behind.
pub(super) fn resolve(
    shared: &Shared,
    config: &Config,
    host: &HostConfig,
    id: &str,
) -> Result<Vec<MountPoint>, EngineError> {
    let mut resolver = Resolver {
        shared,
        host,
        id,
        points: BTreeMap::new(),
    };
    match resolver.all(config) {
        Ok(()) => Ok(resolver.points.into_values().collect()),
        Err(error) => {
            resolver.undo();
            Err(error)
        }
    }
}

struct Resolver<'a> {
    shared: &'a Shared,
    host: &'a HostConfig,
    id: &'a str,
    points: BTreeMap<String, MountPoint>,
}

impl Resolver<'_> {
    fn all(&mut self, config: &Config) -> Result<(), EngineError> {
        let host = self.host;
        for mount in &host.mounts {
            check::mount(mount)?;
        }
        check::targets(host)?;
        for from in &host.volumes_from {
            self.volumes_from(from)?;
        }
        for bind in &host.binds {
            let point = self.of_bind(bind)?;
            self.points.insert(point.destination.clone(), point);
        }
        for mount in &host.mounts {
            let point = self.of_mount(mount)?;
            self.points.insert(point.destination.clone(), point);
        }
        for target in host.tmpfs.keys() {
            self.points.remove(&clean_from_top(target));
        }
        for target in &config.volumes {
            let target = absolute(target)?;
            if !self.points.contains_key(&target) && !host.tmpfs.contains_key(&target) {
                let volume = self.anonymous(None, &host.volume_driver, None)?;
                let point = MountPoint {
                    anonymous: true,
                    ..of_volume(&volume, target.clone(), String::new(), true)
                };
                self.points.insert(target, point);
            }
        }
        Ok(())
    }

    /// Anonymous volumes that were made for nothing go again.
    fn undo(&self) {
        self.shared.volumes.release(self.id);
        let made = self.points.values().filter(|point| point.anonymous);
        self.shared.remove_unused_volumes(made, self.id);
        self.shared.remove_layers(self.id);
    }

    fn of_bind(&self, bind: &Bind) -> Result<MountPoint, EngineError> {
        let target = clean_from_top(&bind.target);
        let driver = &self.host.volume_driver;
        let mut point = match &bind.source {
            BindSource::Path(source) => MountPoint {
                propagation: self.propagation_of(source, bind.propagation)?,
                create_source: true,
                ..host_path(source.clone(), target)
            },
            BindSource::Volume(name) => {
                let volume = self.make(NewVolume {
                    name: name.clone(),
                    driver: driver.clone(),
                    ..NewVolume::default()
                })?;
                of_volume(&volume, target, String::new(), !bind.no_copy)
            }
            BindSource::Anonymous => MountPoint {
                anonymous: true,
                ..of_volume(
                    &self.anonymous(None, driver, None)?,
                    target,
                    String::new(),
                    true,
                )
            },
        };
        point.mode = match (&bind.source, bind.mode.as_str()) {
            // As dockerd, which means a label of SELinux's.
            (BindSource::Volume(_), "") if point.driver == LOCAL => "z".to_owned(),
            (_, mode) => mode.to_owned(),
        };
        point.rw = !bind.read_only;
        Ok(point)
    }

    /// What is mounted from around the data root must not keep the daemon's own mounts busy, so it follows the host
    /// (moby `validateBindDaemonRoot`).
    fn propagation_of(
        &self,
        source: &Path,
        asked: Option<Propagation>,
    ) -> Result<String, EngineError> {
        let root = &self.shared.config.data_root;
        if !source.starts_with(root) && !root.starts_with(source) {
            return Ok(asked.unwrap_or_default().as_str().to_owned());
        }
        match asked {
            None => Ok(Propagation::RSlave.as_str().to_owned()),
            Some(asked @ (Propagation::RSlave | Propagation::RShared)) => {
                Ok(asked.as_str().to_owned())
            }
            Some(asked) => Err(EngineError::Invalid(format!(
                "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" when mount source is within the daemon root, daemon root: {:?}, bind mount source: {:?}, propagation: {:?}",
                root.display().to_string(),
                source.display().to_string(),
                asked.as_str()
            ))),
        }
    }

    /// The layers are held by a snapshot of the container's: the image may lose its name, and be removed.
    fn of_image(
        &self,
        source: &str,
        subpath: String,
        target: String,
    ) -> Result<MountPoint, EngineError> {
        let (image, pin) = self.shared.images.pin(source)?;
        let snapshot = format!("{}.image{}", self.id, self.points.len());
        self.shared.create_rw(&snapshot, &image.id, &image.chain)?;
        drop(pin);
        Ok(MountPoint {
            kind: "image".to_owned(),
            name: source.to_owned(),
            rw: false,
            snapshot,
            subpath,
            ..host_path(PathBuf::new(), target)
        })
    }

    fn of_mount(&self, mount: &MountRequest) -> Result<MountPoint, EngineError> {
        let target = clean_from_top(&mount.target);
        let mut point = match &mount.kind {
            MountKind::Bind {
                source,
                propagation,
                non_recursive,
                create_source,
                read_only_non_recursive,
                read_only_force_recursive: _,
                id_mapping,
            } => MountPoint {
                id_mapping: id_mapping.clone(),
                propagation: self.propagation_of(source, *propagation)?,
                create_source: *create_source,
                non_recursive: *non_recursive,
                top_read_only: *read_only_non_recursive,
                ..host_path(source.clone(), target)
            },
            MountKind::Volume {
                source,
                no_copy,
                labels,
                driver,
                options,
                subpath,
            } => {
                let (labels, options) = (some(labels), some(options));
                let volume = match source.as_str() {
                    "" => self.anonymous(labels, driver, options)?,
                    name => self.make(NewVolume {
                        name: name.to_owned(),
                        labels,
                        driver: driver.clone(),
                        options,
                        ..NewVolume::default()
                    })?,
                };
                MountPoint {
                    subpath: subpath.clone(),
                    anonymous: source.is_empty(),
                    ..of_volume(&volume, target, "z".to_owned(), !no_copy)
                }
            }
            MountKind::Image { source, subpath } => {
                return self.of_image(source, subpath.clone(), target);
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

    fn anonymous(
        &self,
        labels: Pairs,
        driver: &str,
        options: Pairs,
    ) -> Result<Volume, EngineError> {
        let mut labels = labels.unwrap_or_default();
        labels.insert(volumes::ANONYMOUS.to_owned(), String::new());
        self.make(NewVolume {
            name: names::new_id(),
            driver: driver.to_owned(),
            options,
            labels: Some(labels),
            anonymous: true,
            ..NewVolume::default()
        })
    }

    fn make(&self, new: NewVolume) -> Result<Volume, EngineError> {
        let reference = Some(self.id.to_owned());
        let users = |name: &VolumeName| self.shared.volume_users(name.as_str());
        let new = NewVolume { reference, ..new };
        let Created { volume, fresh } = self.shared.volumes.create_beside(new, users)?;
        if fresh {
            let (name, driver) = (&volume.name, &volume.driver);
            volumes::emit(&self.shared.events, "create", name, driver);
        }
        Ok(volume)
    }

    fn volumes_from(&mut self, text: &str) -> Result<(), EngineError> {
        if text.is_empty() {
            let text = "volumes-from specification cannot be an empty string";
            return Err(EngineError::Invalid(text.to_owned()));
        }
        let (container, mode) = text.split_once(':').unwrap_or((text, ""));
        let words = Mode::read(mode).filter(|words| !words.no_copy && words.propagation.is_none());
        let words = words.ok_or_else(|| EngineError::Invalid(format!("invalid mode: {mode}")))?;
        let entry = self.shared.find(container).map_err(|error| match error {
            // dockerd's status, so that a client does not take it for a missing image.
            EngineError::NoSuchContainer(_) => EngineError::Invalid(error.message()),
            other => other,
        })?;
        for point in &entry.now().mounts {
            let mut point = point.clone();
            point.rw &= !words.read_only;
            point.mode.clear();
            // What one names, the other shares: it is not filled again.
            point.copy_up = false;
            if point.kind == "volume" {
                // Should the other container go now, its volumes stay.
                self.make(NewVolume {
                    name: point.name.clone(),
                    driver: point.driver.clone(),
                    ..NewVolume::default()
                })?;
            }
            self.points.insert(point.destination.clone(), point);
        }
        Ok(())
    }
}

fn some(pairs: &BTreeMap<String, String>) -> Pairs {
    Some(pairs.clone()).filter(|pairs| !pairs.is_empty())
}

/// Where a volume of the settings (`-v PATH`, `VOLUME`) is: a relative path begins at the root too (moby
/// `createContainerVolumesOS`).
fn absolute(target: &str) -> Result<String, EngineError> {
    let path = clean_from_top(target);
    if path == "/" {
        let text =
            "invalid volume specification: '/': invalid specification: destination can't be '/'";
        return Err(EngineError::Invalid(text.to_owned()));
    }
    Ok(path)
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
        snapshot: String::new(),
        id_mapping: None,
    }
}

fn of_volume(volume: &Volume, destination: String, mode: String, copy_up: bool) -> MountPoint {
    MountPoint {
        kind: "volume".to_owned(),
        name: volume.name.as_str().to_owned(),
        driver: volume.driver.clone(),
        mode,
        copy_up,
        ..host_path(volume.mountpoint.clone(), destination)
    }
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
