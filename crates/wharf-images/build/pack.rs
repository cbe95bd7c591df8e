//! A program into an OCI image: tar, gzip, configuration, manifest.

use std::io::Write;

use wharf_oci::{Descriptor, Digest, Manifest, media_type};

/// The blobs of an image.
pub(crate) struct Image {
    /// The layer, tar in gzip.
    pub(crate) layer: Vec<u8>,
    /// The configuration.
    pub(crate) config: Vec<u8>,
    /// The manifest.
    pub(crate) manifest: Vec<u8>,
}

// Fixed, so that the same sources give the same image id on every machine.
const CREATED: &str = "2026-11-01T00:00:00Z";
const CREATED_UNIX: u64 = 1_793_491_200;

/// The image of one program, `/hello`.
pub(crate) fn image(architecture: &str, program: &[u8]) -> Image {
    let tar = tar(program);
    let layer = gzip(&tar);
    let config = config(architecture, &Digest::sha256(&tar));
    let manifest = Manifest::oci(
        Descriptor::of(media_type::OCI_CONFIG, &config),
        vec![Descriptor::of(media_type::OCI_LAYER_GZIP, &layer)],
    );
    Image {
        layer,
        config,
        manifest: serde_json::to_vec(&manifest).expect("a manifest is JSON"),
    }
}

fn tar(program: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path("hello").expect("a short name");
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(CREATED_UNIX);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header, program).expect("writing to memory");
    builder.into_inner().expect("writing to memory")
}

fn gzip(tar: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(tar).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

fn config(architecture: &str, diff_id: &Digest) -> Vec<u8> {
    let config = serde_json::json!({
        "architecture": architecture,
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": ["/hello"],
            "WorkingDir": "/"
        },
        "created": CREATED,
        "history": [
            { "created": CREATED, "created_by": "COPY hello / # wharf", "comment": "built with wharf" },
            { "created": CREATED, "created_by": "CMD [\"/hello\"]", "comment": "built with wharf", "empty_layer": true }
        ],
        "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [diff_id] }
    });
    serde_json::to_vec(&config).expect("a value is JSON")
}
