//! Engine to wire: images and progress.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wharf_api_types as wire;
use wharf_distribution::SearchHit;
use wharf_images::{
    Attestation, HistoryEntry, Image, ManifestKind, ManifestView, Progress, Removed,
};

use super::nil;
use super::reply::bytes;

/// A row of `GET /images/json`. `users` are its containers, and `shared` is what it shares with other images, if that was
/// asked for.
pub(crate) fn image_summary(
    image: &Image,
    users: Option<usize>,
    shared: Option<u64>,
) -> wire::ImageSummary {
    let labels = image.config.config.labels.clone();
    wire::ImageSummary {
        containers: users.map_or(-1, |users| users.try_into().unwrap_or(i64::MAX)),
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
        manifests: None,
        descriptor: target(image),
    }
}

/// What dockerd's `overlay2` says of an image: where its topmost layer is, and those below it.
fn overlay(folders: &[PathBuf]) -> BTreeMap<String, String> {
    let Some((top, below)) = folders.split_first() else {
        return BTreeMap::new();
    };
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let beside = |name: &str| top.parent().unwrap_or(top).join(name);
    let mut data = BTreeMap::from([
        ("MergedDir".to_owned(), text(&beside("merged"))),
        ("UpperDir".to_owned(), text(top)),
        ("WorkDir".to_owned(), text(&beside("work"))),
    ]);
    if !below.is_empty() {
        let below: Vec<_> = below.iter().map(|folder| text(folder)).collect();
        data.insert("LowerDir".to_owned(), below.join(":"));
    }
    data
}

/// What the image's names mean in a registry: its index, or its manifest.
fn target(image: &Image) -> Option<wire::OciDescriptor> {
    let target = image.index.as_ref().or(image.manifest.as_ref())?;
    Some(descriptor(target))
}

pub(crate) fn descriptor(from: &wharf_oci::Descriptor) -> wire::OciDescriptor {
    let wharf_oci::Descriptor {
        media_type,
        digest,
        size,
        urls,
        annotations,
        platform: for_platform,
        artifact_type,
    } = from.clone();
    wire::OciDescriptor {
        media_type,
        digest: digest.to_string(),
        size: bytes(size),
        urls,
        annotations,
        platform: for_platform.map(platform),
        artifact_type: artifact_type.unwrap_or_default(),
    }
}

fn platform(from: wharf_oci::Platform) -> wire::OciPlatform {
    let wharf_oci::Platform {
        architecture,
        os,
        os_version,
        os_features,
        variant,
    } = from;
    wire::OciPlatform {
        architecture,
        os,
        os_version,
        os_features,
        variant,
    }
}

/// The repositories that an image was pulled from or pushed to.
pub(crate) fn identity(image: &Image) -> Option<wire::ImageIdentity> {
    let repositories: std::collections::BTreeSet<String> = image
        .repo_digests
        .iter()
        .filter_map(|name| wharf_oci::Reference::parse_normalized(name).ok())
        .map(|name| name.name())
        .collect();
    let pull = repositories
        .into_iter()
        .map(|repository| wire::PullIdentity { repository })
        .collect::<Vec<_>>();
    Some(wire::ImageIdentity { pull }).filter(|identity| !identity.pull.is_empty())
}

/// One of the manifests of an image; `containers` are those of the image for its platform.
pub(crate) fn manifest(
    view: ManifestView,
    containers: Vec<String>,
    identity: Option<wire::ImageIdentity>,
) -> wire::ManifestSummary {
    let ManifestView {
        descriptor: of,
        available,
        content,
        kind,
    } = view;
    let mut summary = wire::ManifestSummary {
        id: of.digest.to_string(),
        descriptor: descriptor(&of),
        available,
        size: wire::ManifestSize {
            content: bytes(content),
            total: bytes(content),
        },
        ..wire::ManifestSummary::default()
    };
    match kind {
        ManifestKind::Image {
            platform: for_platform,
            id: _,
            unpacked,
        } => {
            "image".clone_into(&mut summary.kind);
            summary.size.total += bytes(unpacked);
            summary.image_data = Some(wire::ManifestImage {
                platform: platform(for_platform),
                identity,
                containers,
                size: wire::UnpackedSize {
                    unpacked: bytes(unpacked),
                },
            });
        }
        ManifestKind::Attestation { of } => {
            "attestation".clone_into(&mut summary.kind);
            summary.attestation_data = Some(wire::ManifestAttestation { of: of.to_string() });
        }
        ManifestKind::Unknown => "unknown".clone_into(&mut summary.kind),
    }
    summary
}

/// A row of `GET /images/{name}/attestations`. A statement that is no JSON is left out.
pub(crate) fn attestation(from: Attestation) -> wire::AttestationStatement {
    let Attestation {
        descriptor: of,
        predicate,
        statement,
    } = from;
    wire::AttestationStatement {
        descriptor: descriptor(&of),
        predicate_type: predicate,
        statement: statement.and_then(|text| serde_json::from_slice(&text).ok()),
    }
}

/// `GET /images/{name}/json`.
pub(crate) fn image_inspect(image: &Image, folders: &[PathBuf]) -> wire::ImageInspect {
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
        descriptor: target(image),
        manifests: None,
        identity: identity(image),
        repo_tags: image.repo_tags.clone(),
        repo_digests: image.repo_digests.clone(),
        parent: image
            .parent
            .map(|parent| parent.to_string())
            .unwrap_or_default(),
        comment: comment(fields),
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
            data: overlay(folders),
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

/// The image's comment; else that of its last step, which says who built it (moby `ImageInspect`).
fn comment(fields: &wharf_oci::ImageConfig) -> String {
    match (fields.comment.as_str(), fields.history.last()) {
        ("", Some(last)) => last.comment.clone(),
        (own, _) => own.to_owned(),
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
    let result = match event {
        Progress::PushedTag { tag, digest, size } => {
            serde_json::json!({ "Tag": tag, "Digest": digest.to_string(), "Size": size })
        }
        Progress::NotTheIndex { index, manifest } => serde_json::json!({
            "manifestPushedInsteadOfIndex": true,
            "originalIndex": descriptor(index),
            "selectedManifest": descriptor(manifest),
        }),
        _ => return None,
    };
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
        progress: bar(current, total),
        id: line.id,
        ..wire::JsonMessage::default()
    }
}

/// The detail of a progress as the text that programs show which do not make their own: `[=>  ]    513kB/49.88MB`.
fn bar(current: u64, total: u64) -> Option<String> {
    if total == 0 {
        let has_some = current > 0;
        return has_some.then(|| format!("{:>8}", human_size(current)));
    }
    // Of 50 places; a total that is too small fills them all.
    let done = (u128::from(current) * 100 / u128::from(total) / 2).min(50);
    let done = usize::try_from(done).unwrap_or(50);
    let bar = format!("[{}>{}]", "=".repeat(done), " ".repeat(50 - done));
    let current_size = human_size(current);
    Some(match current > total {
        true => format!("{bar} {current_size:>8}"),
        false => format!("{bar} {current_size:>8}/{}", human_size(total)),
    })
}

/// Bytes in powers of 1000 with four digits, as go-units has them.
fn human_size(size: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut size = size as f64;
    let mut units = units.iter();
    let mut unit = units.next();
    while size >= 1000.0 {
        size /= 1000.0;
        unit = units.next();
    }
    let decimals = match size {
        100.0.. => 1,
        10.0.. => 2,
        _ => 3,
    };
    let text = format!("{size:.decimals$}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{}", unit.unwrap_or(&"EB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As dockerd 26.1 sends them.
    #[test]
    fn bars_are_dockers() {
        let check = |current, total, text: &str| {
            let bar = bar(current, total).map(|bar| bar.replace("          ", "_"));
            assert_eq!(bar.as_deref(), Some(text), "{current}/{total}");
        };
        check(513_024, 49_883_506, "[>_____]    513kB/49.88MB");
        let half = "[========================>__      ]  956.9kB/1.984MB";
        check(956_928, 1_984_246, half);
        let full = "[==================================================>]   2.13MB";
        check(2_129_920, 1_984_246, full);
        check(5, 0, "      5B");
        assert_eq!(bar(0, 0), None);
    }
}
