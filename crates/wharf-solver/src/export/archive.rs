//! A result as an archive: `docker load`'s, an OCI layout, or the files alone.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;

use serde_json::json;
use wharf_layer::PackOptions;
use wharf_oci::{Descriptor, Digest, media_type};

use super::{document, epoch, names, only};
use crate::progress::Shown;
use crate::{ArchiveKind, Job, Ref, SolveError, SolveResult, blocking};

impl Job {
    /// Writes the result as an archive: exporters `docker`, `oci`, `tar`. `out` is written to on a thread of its own.
    /// Returns the exporter's response.
    ///
    /// # Errors
    /// If it cannot be written; for a result of several platforms.
    pub async fn export_archive(
        &self,
        result: &SolveResult,
        kind: ArchiveKind,
        attrs: &BTreeMap<String, String>,
        out: Box<dyn Write + Send>,
    ) -> Result<BTreeMap<String, String>, SolveError> {
        let name = match kind {
            ArchiveKind::Docker => "exporting to docker image format",
            ArchiveKind::Oci => "exporting to oci image format",
            ArchiveKind::Tar => "exporting to client tarball",
        };
        let mut shown = Shown::begin(self, name).await;
        let written = self.archive(result, kind, attrs, out).await;
        shown.end(written.as_ref().err()).await;
        written
    }

    async fn archive(
        &self,
        result: &SolveResult,
        kind: ArchiveKind,
        attrs: &BTreeMap<String, String>,
        out: Box<dyn Write + Send>,
    ) -> Result<BTreeMap<String, String>, SolveError> {
        let (tree, config) = only(result)?;
        let job = self.clone();
        if kind == ArchiveKind::Tar {
            return blocking(move || files(&job, &tree, out)).await;
        }
        let tree = self.layers_of(&tree).await?;
        let config = document(config, &tree, epoch(result, attrs)?)?;
        let names: Vec<String> = names(attrs)?.iter().map(ToString::to_string).collect();
        blocking(move || image(&job, &tree, kind, &config, &names, out)).await
    }
}

/// The files alone.
fn files(
    job: &Job,
    tree: &Ref,
    out: Box<dyn Write + Send>,
) -> Result<BTreeMap<String, String>, SolveError> {
    let files = tree.tree(job)?;
    let options = PackOptions {
        whole_seconds: true,
        ..PackOptions::default()
    };
    wharf_layer::pack(files.root.as_fd(), out, &options)
        .map_err(|error| SolveError::Failed(format!("failed to write the archive: {error}")))?;
    Ok(BTreeMap::new())
}

fn image(
    job: &Job,
    tree: &Ref,
    kind: ArchiveKind,
    config: &[u8],
    names: &[String],
    out: Box<dyn Write + Send>,
) -> Result<BTreeMap<String, String>, SolveError> {
    let store = job.engine().images.store();
    // No layer goes before it is written.
    let _hold = store.hold_layers(&tree.chains());
    let mut layers: Vec<Descriptor> = Vec::new();
    for layer in tree.layers() {
        layers.push(store.layer_blob(&layer.chain, &layer.diff_id)?);
    }
    let descriptor = Descriptor::of(media_type::OCI_CONFIG, config);
    let manifest = wharf_oci::Manifest::oci(descriptor.clone(), layers.clone());
    let failed = |error: serde_json::Error| SolveError::Failed(error.to_string());
    let manifest = serde_json::to_vec(&manifest).map_err(failed)?;
    let own = Descriptor::of(media_type::OCI_MANIFEST, &manifest);
    let mut archive = Archive {
        out,
        known: Vec::new(),
    };
    let written = || -> io::Result<()> {
        archive.folder("blobs/")?;
        archive.folder("blobs/sha256/")?;
        for layer in &layers {
            let file = store.open_blob(&layer.digest).map_err(io::Error::other)?;
            archive.file(&blob(&layer.digest), layer.size, file)?;
        }
        archive.bytes(&blob(&descriptor.digest), config)?;
        archive.bytes(&blob(&own.digest), &manifest)?;
        archive.bytes("index.json", index(&own, names).as_bytes())?;
        if kind == ArchiveKind::Docker {
            let familiar = names.iter().map(|name| familiar(name));
            let docker = json!([{
                "Config": blob(&descriptor.digest),
                "RepoTags": familiar.collect::<Vec<_>>(),
                "Layers": layers.iter().map(|layer| blob(&layer.digest)).collect::<Vec<_>>(),
            }]);
            archive.bytes("manifest.json", docker.to_string().as_bytes())?;
        }
        archive.bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        archive.end()
    };
    let written: io::Result<()> = {
        let mut written = written;
        written()
    };
    written.map_err(SolveError::io("failed to write the archive"))?;
    let mut response = BTreeMap::new();
    response.insert("containerimage.digest".to_owned(), own.digest.to_string());
    let config = descriptor.digest.to_string();
    response.insert("containerimage.config.digest".to_owned(), config);
    if !names.is_empty() {
        response.insert("image.name".to_owned(), names.join(","));
    }
    Ok(response)
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn familiar(name: &str) -> String {
    wharf_oci::Reference::parse_normalized(name)
        .map_or_else(|_| name.to_owned(), |reference| reference.familiar())
}

fn index(manifest: &Descriptor, names: &[String]) -> String {
    let entry = |name: Option<&String>| {
        let mut entry = json!(manifest);
        if let Some(name) = name {
            let tag = name.rsplit(':').next().unwrap_or_default();
            entry["annotations"] = json!({
                "io.containerd.image.name": name,
                "org.opencontainers.image.ref.name": tag,
            });
        }
        entry
    };
    let entries = match names.is_empty() {
        true => vec![entry(None)],
        false => names.iter().map(|name| entry(Some(name))).collect(),
    };
    json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries })
        .to_string()
}

/// An archive without owners and times: the same result is the same bytes.
struct Archive {
    out: Box<dyn Write + Send>,
    /// A blob is there once.
    known: Vec<String>,
}

impl Archive {
    fn folder(&mut self, name: &str) -> io::Result<()> {
        self.out.write_all(&header(name, b'5', 0o755, 0))
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.file(name, bytes.len() as u64, bytes)
    }

    fn file(&mut self, name: &str, size: u64, source: impl Read) -> io::Result<()> {
        if self.known.iter().any(|known| known == name) {
            return Ok(());
        }
        self.known.push(name.to_owned());
        self.out.write_all(&header(name, b'0', 0o644, size))?;
        let copied = io::copy(&mut source.take(size), &mut self.out)?;
        if copied != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let rest = usize::try_from(size % 512).unwrap_or(0);
        let padding = (512 - rest) % 512;
        self.out.write_all(&[0; 512][..padding])
    }

    fn end(&mut self) -> io::Result<()> {
        self.out.write_all(&[0; 1024])?;
        self.out.flush()
    }
}

/// A header of POSIX' ustar; sizes above 8 GiB in base 256, as GNU has them.
fn header(name: &str, kind: u8, mode: u32, size: u64) -> [u8; 512] {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, bytes: &[u8]| {
        for (place, byte) in header.iter_mut().skip(at).zip(bytes) {
            *place = *byte;
        }
    };
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    match size < 1 << 33 {
        true => put(124, format!("{size:011o}\0").as_bytes()),
        false => {
            put(124, &[0x80, 0, 0, 0]);
            put(128, &size.to_be_bytes());
        }
    }
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    for (place, byte) in header
        .iter_mut()
        .skip(148)
        .zip(format!("{sum:06o}\0 ").bytes())
    {
        *place = byte;
    }
    header
}
