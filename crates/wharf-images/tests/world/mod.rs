//! A store in a folder of its own, images to put into it, and a registry that serves them.

#![allow(clippy::unwrap_used, reason = "test helper")]
#![allow(dead_code, reason = "each test file uses a part")]

#[path = "../../../wharf-distribution/tests/common/mod.rs"]
pub(crate) mod common;

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;

use wharf_content::Content;
use wharf_distribution::Client;
use wharf_images::{ImageError, Images, Progress, ProgressSender, PullOptions};
use wharf_oci::{Descriptor, Digest, Manifest, Reference, media_type};
use wharf_records::Db;
use wharf_snapshots::Snapshots;

use common::{Registry, Reply};

/// A store in a folder of its own.
pub(crate) struct World {
    pub(crate) root: tempfile::TempDir,
    pub(crate) images: Images,
}

impl World {
    pub(crate) fn new(client: Client) -> World {
        let root = tempfile::tempdir().unwrap();
        let images = open(root.path(), client);
        World { root, images }
    }

    /// The same data root after the end of the daemon.
    pub(crate) fn reopen(&mut self, client: Client) {
        self.images = open(self.root.path(), client);
    }

    pub(crate) async fn pull(&self, reference: &Reference) -> Result<Vec<String>, ImageError> {
        let (sender, mut receiver) = ProgressSender::channel();
        self.images
            .pull(reference, PullOptions::default(), sender)
            .await?;
        let mut lines = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            lines.push(render(&event));
        }
        Ok(lines)
    }

    /// Blobs and layers that are there; what is on its way out does not count.
    pub(crate) fn kept(&self) -> usize {
        let root = self.root.path();
        ["content/blobs/sha256", "snapshots/layers"]
            .iter()
            .map(|folder| std::fs::read_dir(root.join(folder)).unwrap().count())
            .sum()
    }
}

pub(crate) fn open(root: &Path, client: Client) -> Images {
    let db = Db::open(&root.join("wharf.db")).unwrap();
    let content = Content::open(&root.join("content")).unwrap();
    let snapshots = Snapshots::open(&root.join("snapshots")).unwrap();
    Images::open(root, db, content, snapshots, client).unwrap()
}

pub(crate) fn render(event: &Progress) -> String {
    let line = event.line();
    match (line.id, line.stream) {
        (Some(id), _) => format!("{id}: {}", line.status),
        (None, Some(text)) => text.trim_end().to_owned(),
        (None, None) => line.status,
    }
}

/// An image as blobs.
pub(crate) struct Fixture {
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) diff_ids: Vec<Digest>,
    pub(crate) tars: Vec<Vec<u8>>,
    pub(crate) manifest: Vec<u8>,
}

/// One file per layer, with the layer's text as content.
pub(crate) fn fixture(texts: &[&str]) -> Fixture {
    let tars: Vec<Vec<u8>> = texts
        .iter()
        .map(|text| tar(&[(&format!("file-{}", text.len()), text.as_bytes())]))
        .collect();
    of_layers(texts, tars)
}

/// An image of these layers, with a step `text` for each.
pub(crate) fn fixture_of(text: &str, tars: Vec<Vec<u8>>) -> Fixture {
    of_layers(&vec![text; tars.len()], tars)
}

fn of_layers(texts: &[&str], tars: Vec<Vec<u8>>) -> Fixture {
    let diff_ids: Vec<Digest> = tars.iter().map(|tar| Digest::sha256(tar)).collect();
    let layers: Vec<Vec<u8>> = tars.iter().map(|tar| gzip(tar)).collect();
    let platform = wharf_oci::Platform::host();
    let config = serde_json::json!({
        "os": "linux", "architecture": platform.architecture,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": texts.iter().map(|text| serde_json::json!({"created_by": text})).collect::<Vec<_>>(),
    })
    .to_string()
    .into_bytes();
    let manifest = Manifest::oci(
        Descriptor::of(media_type::OCI_CONFIG, &config),
        layers
            .iter()
            .map(|layer| Descriptor::of(media_type::OCI_LAYER_GZIP, layer))
            .collect(),
    );
    Fixture {
        manifest: serde_json::to_vec(&manifest).unwrap(),
        config,
        layers,
        diff_ids,
        tars,
    }
}

pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl Fixture {
    pub(crate) fn id(&self) -> Digest {
        Digest::sha256(&self.config)
    }

    pub(crate) fn blobs(&self) -> HashMap<String, Vec<u8>> {
        let all = self.layers.iter().chain([&self.config]);
        all.map(|blob| (Digest::sha256(blob).to_string(), blob.clone()))
            .collect()
    }
}

/// Serves what the shared map holds: `name:tag` → fixture.
pub(crate) fn serve(
    fixtures: Vec<(&'static str, Fixture)>,
    special: impl Fn(&common::Request) -> Option<Reply> + Send + Sync + 'static,
) -> Registry {
    let mut blobs = HashMap::new();
    let mut manifests = HashMap::new();
    for (name, fixture) in fixtures {
        blobs.extend(fixture.blobs());
        manifests.insert(name, fixture.manifest);
    }
    Registry::start(move |request| {
        if let Some(reply) = special(request) {
            return reply;
        }
        let last = request.path.rsplit('/').next().unwrap();
        if request.path.contains("/manifests/") {
            return match manifests.get(last) {
                Some(bytes) => {
                    Reply::ok(bytes.clone()).with("Content-Type", media_type::OCI_MANIFEST)
                }
                None => Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            };
        }
        match blobs.get(last) {
            Some(blob) => Reply::blob(request, blob),
            None => Reply::default(),
        }
    })
}

pub(crate) fn short(bytes: &[u8]) -> String {
    Digest::sha256(bytes).short()
}

/// Bytes that do not compress, so that a blob can be cut in its middle.
pub(crate) fn noise(len: u32) -> String {
    (0..len)
        .map(|n| char::from(b' ' + (n.wrapping_mul(2_654_435_761) >> 25) as u8 % 90))
        .collect()
}
