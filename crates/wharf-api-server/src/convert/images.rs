//! Engine to wire: images and progress.

use wharf_api_types as wire;
use wharf_distribution::SearchHit;
use wharf_images::{HistoryEntry, Image, Progress, Removed};

use super::nil;
use super::reply::bytes;

/// A row of `GET /images/json`. `shared` is what it shares with other images, if that was asked for.
pub(crate) fn image_summary(
    image: &Image,
    users: usize,
    shared: Option<u64>,
) -> wire::ImageSummary {
    let labels = image.config.config.labels.clone();
    wire::ImageSummary {
        containers: match shared {
            Some(_) => users.try_into().unwrap_or(i64::MAX),
            // Docker counts only for `system df`.
            None => -1,
        },
        created: image.created_unix(),
        id: image.id.to_string(),
        labels: Some(labels).filter(|labels| !labels.is_empty()),
        parent_id: image
            .parent
            .map(|parent| parent.to_string())
            .unwrap_or_default(),
        repo_digests: image.repo_digests.clone(),
        repo_tags: image.repo_tags.clone(),
        shared_size: shared.map_or(-1, bytes),
        size: bytes(image.size),
    }
}

/// `GET /images/{name}/json`.
pub(crate) fn image_inspect(image: &Image) -> wire::ImageInspect {
    let fields = &image.config;
    let run = &fields.config;
    let set = |keys: &mut dyn Iterator<Item = &String>| {
        keys.map(|key| (key.clone(), wire::Empty {}))
            .collect::<wire::Set>()
    };
    let volumes = set(&mut run.volumes.keys());
    let config = wire::ImageConfig {
        user: run.user.clone(),
        exposed_ports: set(&mut run.exposed_ports.keys()),
        env: run.env.clone(),
        cmd: run.cmd.clone().map(wire::StrSlice),
        healthcheck: run.healthcheck.clone().map(|health| wire::HealthConfig {
            test: health.test,
            interval: health.interval,
            timeout: health.timeout,
            start_period: health.start_period,
            start_interval: health.start_interval,
            retries: health.retries,
        }),
        args_escaped: run.args_escaped,
        volumes: Some(volumes).filter(|volumes| !volumes.is_empty()),
        working_dir: run.working_dir.clone(),
        entrypoint: run.entrypoint.clone().map(wire::StrSlice),
        on_build: run.on_build.clone(),
        labels: Some(run.labels.clone()).filter(|labels| !labels.is_empty()),
        stop_signal: run.stop_signal.clone(),
        shell: run.shell.clone(),
    };
    wire::ImageInspect {
        id: image.id.to_string(),
        repo_tags: image.repo_tags.clone(),
        repo_digests: image.repo_digests.clone(),
        parent: image
            .parent
            .map(|parent| parent.to_string())
            .unwrap_or_default(),
        comment: fields.comment.clone(),
        created: fields.created.clone(),
        docker_version: fields.docker_version.clone(),
        author: fields.author.clone(),
        config: Some(config),
        architecture: fields.architecture.clone(),
        variant: fields.variant.clone(),
        os: fields.os.clone(),
        os_version: fields.os_version.clone(),
        size: bytes(image.size),
        graph_driver: wire::DriverData {
            data: Default::default(),
            name: "overlay2".to_owned(),
        },
        root_fs: wire::RootFs {
            kind: "layers".to_owned(),
            layers: fields
                .rootfs
                .diff_ids
                .iter()
                .map(ToString::to_string)
                .collect(),
        },
        metadata: wire::ImageMetadata {
            last_tag_time: Some(super::time(
                image.last_tagged.and_then(|time| time.try_into().ok()),
            )),
        },
    }
}

/// A row of `GET /images/{name}/history`.
pub(crate) fn history(entry: HistoryEntry) -> wire::ImageHistoryItem {
    let HistoryEntry {
        id,
        created,
        created_by,
        tags,
        size,
        comment,
    } = entry;
    wire::ImageHistoryItem {
        comment,
        created,
        created_by,
        id: id.map_or_else(|| "<missing>".to_owned(), |id| id.to_string()),
        size: bytes(size),
        tags: nil(tags),
    }
}

/// What a removal did, in order.
pub(crate) fn removed(removed: &[Removed]) -> Vec<wire::ImageDeleteItem> {
    let item = |one: &Removed| wire::ImageDeleteItem {
        untagged: one.untagged().unwrap_or_default().to_owned(),
        deleted: one.deleted().map(ToString::to_string).unwrap_or_default(),
    };
    removed.iter().map(item).collect()
}

/// A row of `GET /images/search`.
pub(crate) fn search_hit(hit: SearchHit) -> wire::ImageSearchItem {
    let SearchHit {
        name,
        description,
        star_count,
        is_official,
        is_automated,
    } = hit;
    wire::ImageSearchItem {
        star_count,
        is_official,
        name,
        is_automated,
        description,
    }
}

/// What programs read of a push, behind its line: moby's `PushResult`.
pub(crate) fn aux(event: &Progress) -> Option<wire::JsonMessage> {
    let Progress::PushedTag { tag, digest, size } = event else {
        return None;
    };
    let result = serde_json::json!({ "Tag": tag, "Digest": digest.to_string(), "Size": size });
    Some(wire::JsonMessage {
        progress_detail: Some(wire::ProgressDetail::default()),
        aux: Some(result),
        ..wire::JsonMessage::default()
    })
}

/// A line of a progress stream.
pub(crate) fn progress(event: &Progress) -> wire::JsonMessage {
    let line = event.line();
    if let Some(stream) = line.stream {
        return wire::JsonMessage {
            stream: Some(stream),
            ..wire::JsonMessage::default()
        };
    }
    let (current, total) = line.detail.unwrap_or_default();
    // Docker sends an empty object with every status of a layer.
    let has_detail = matches!(event, Progress::Layer { .. } | Progress::Mounted { .. });
    wire::JsonMessage {
        status: Some(line.status),
        progress_detail: has_detail.then(|| wire::ProgressDetail {
            current: bytes(current),
            total: bytes(total),
            ..wire::ProgressDetail::default()
        }),
        id: line.id,
        ..wire::JsonMessage::default()
    }
}
