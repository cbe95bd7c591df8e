//! What takes disk: the data of `docker system df`.

use wharf_images::DiskUsage;
use wharf_volumes::Volume;

use crate::{Engine, EngineError, ListOptions, Listed, VolumeService};

/// Which parts of a report are wanted.
#[derive(Clone, Copy, Debug)]
pub struct DfParts {
    /// Images.
    pub images: bool,
    /// Containers.
    pub containers: bool,
    /// Volumes.
    pub volumes: bool,
}

/// What takes disk. Parts that were not asked for are `None`.
#[derive(Clone, Debug, Default)]
pub struct DfReport {
    /// Images, and how many containers use each (in the same order).
    pub images: Option<(DiskUsage, Vec<usize>)>,
    /// Containers, with sizes.
    pub containers: Option<Vec<Listed>>,
    /// Volumes, bytes of each, number of containers that use it.
    pub volumes: Option<Vec<(Volume, u64, usize)>>,
}

impl Engine {
    /// Measures the wanted parts.
    ///
    /// # Errors
    /// If something cannot be measured.
    pub async fn disk_usage(&self, parts: DfParts) -> Result<DfReport, EngineError> {
        let mut report = DfReport::default();
        if parts.images {
            let store = self.images.store.clone();
            let usage = tokio::task::spawn_blocking(move || store.disk_usage()).await;
            let usage = usage.map_err(|error| EngineError::failed(&error))??;
            let counts = self.images.user_counts();
            let count = |id| counts.get(id).copied().unwrap_or(0);
            let users = usage.images.iter().map(|one| count(&one.image.id));
            let users = users.collect();
            report.images = Some((usage, users));
        }
        if parts.containers {
            let options = ListOptions {
                all: true,
                size: true,
                ..ListOptions::default()
            };
            report.containers = Some(self.containers.list(options).await?);
        }
        if parts.volumes {
            let service = self.volumes.clone();
            let measure = move || Ok(volumes(&service));
            report.volumes = Some(self.volumes.ask(measure).await?);
        }
        Ok(report)
    }
}

/// Those whose files are ours: what is mounted over one from elsewhere takes other disks.
fn volumes(service: &VolumeService) -> Vec<(Volume, u64, usize)> {
    let measure = |volume: Volume| {
        // One that goes while it is measured takes nothing.
        let size = service.store.usage(volume.name.as_str()).unwrap_or(0);
        let users = service.users(&volume.name).len();
        (volume, size, users)
    };
    let volumes = service.store.list().volumes.into_iter();
    volumes.filter(Volume::is_plain).map(measure).collect()
}
