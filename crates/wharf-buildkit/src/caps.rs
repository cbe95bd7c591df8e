//! What this BuildKit can do, in BuildKit's names (`frontend/gateway/pb/caps.go`, `solver/pb/caps.go`): clients use
//! what is named, and say themselves what they miss.

use bollard_buildkit_proto::moby::buildkit::v1::apicaps::ApiCap;
use bollard_buildkit_proto::moby::buildkit::v1::types::{BuildkitVersion, WorkerRecord};
use bollard_buildkit_proto::pb;
use wharf_oci::Platform;

use crate::gc;
use crate::service::Kit;

/// What a client's frontend may call.
const FRONTEND: &[&str] = &[
    "solve.base",
    "solve.inlinereturn",
    "resolveimage",
    "resolveimage.resolvemode",
    "source.metaresolver",
    "readfile",
    "return",
    "returnmap",
    "readdir",
    "statfile",
    "proto.refarray",
    "reference.output",
    "reference.attestations",
    "frontend.inputs",
    "gateway.solve.metadata",
    "gateway.solve.evaluate",
    "gateway.warnings",
    "gateway.exec",
    "gateway.exec.extrahosts",
    "gateway.exec.secretenv",
    "gateway.exec.signals",
    "frontend.caps",
];

/// What definitions and exporters may say.
const DEFINITIONS: &[&str] = &[
    "source.image",
    "source.image.resolvemode",
    "source.image.layerlimit",
    "source.ocilayout",
    "source.local",
    "source.local.unique",
    "source.local.sessionid",
    "source.local.includepatterns",
    "source.local.followpaths",
    "source.local.excludepatterns",
    "source.local.sharedkeyhint",
    "source.git",
    "source.git.keepgitdir",
    "source.git.fullurl",
    "source.git.httpauth",
    "source.git.knownsshhosts",
    "source.git.mountsshsock",
    "source.http",
    "source.http.checksum",
    "source.http.perm",
    "source.http.uidgid",
    "exec.meta.base",
    "exec.meta.cgroup.parent",
    "exec.meta.network",
    "exec.meta.proxyenv",
    "exec.meta.security",
    "exec.meta.setsdefaultpath",
    "exec.meta.ulimit",
    "exec.meta.removemountstubs.recursive",
    "exec.mount.bind",
    "exec.mount.bind.readwrite-nooutput",
    "exec.mount.cache",
    "exec.mount.cache.sharing",
    "exec.mount.selector",
    "exec.mount.tmpfs",
    "exec.mount.tmpfs.size",
    "exec.mount.secret",
    "exec.mount.ssh",
    "exec.secretenv",
    "exec.validexitcode",
    "file.base",
    "file.rm.wildcard",
    "file.copy.includeexcludepatterns",
    "file.symlink.create",
    "constraints",
    "platform",
    "meta.ignorecache",
    "meta.description",
    "mergeop",
    "diffop",
    "source.date.epoch",
    "exporter.image.annotations",
    "exporter.image.attestations",
    "exporter.multiple",
];

fn list(names: &[&str]) -> Vec<ApiCap> {
    let cap = |name: &&str| ApiCap {
        id: (*name).to_owned(),
        enabled: true,
        ..ApiCap::default()
    };
    names.iter().map(cap).collect()
}

pub(crate) fn frontend() -> Vec<ApiCap> {
    list(FRONTEND)
}

pub(crate) fn definitions() -> Vec<ApiCap> {
    list(DEFINITIONS)
}

/// The BuildKit whose protocol this is.
pub(crate) fn version() -> BuildkitVersion {
    BuildkitVersion {
        package: "github.com/moby/buildkit".to_owned(),
        version: "v0.22.0".to_owned(),
        revision: format!("wharf-{}", env!("CARGO_PKG_VERSION")),
    }
}

/// The one worker. Its label is what `docker buildx` knows an image store by that takes every exporter.
pub(crate) fn worker(kit: &Kit) -> WorkerRecord {
    let labels = [
        ("org.mobyproject.buildkit.worker.executor", "wharf"),
        ("org.mobyproject.buildkit.worker.snapshotter", "overlayfs"),
        ("org.mobyproject.buildkit.worker.network", "host"),
    ];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    WorkerRecord {
        id: kit.worker(),
        gc_policy: gc::policies(kit),
        labels: labels.into_iter().collect(),
        platforms: vec![platform(&Platform::host())],
        buildkit_version: Some(version()),
        ..WorkerRecord::default()
    }
}

pub(crate) fn platform(platform: &Platform) -> pb::Platform {
    pb::Platform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone(),
        os_version: platform.os_version.clone(),
        ..pb::Platform::default()
    }
}
