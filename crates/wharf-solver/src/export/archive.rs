//! A result as an archive: `docker load`'s, an OCI layout, or the files alone.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;
use wharf_builder::StorePlace;
use wharf_layer::{PackOptions, Times};
use wharf_oci::{Descriptor, Digest, media_type};
use wharf_sys::root::Root;

use super::documents::Documents;
use super::{Provenance, epoch, names, only};
use crate::progress::InternalVertex;
use crate::{ArchiveKind, Job, Ref, SolveError, SolveResult, Tree};

/// A result that is about to be written as an archive.
pub struct Archived {
    /// What the exporter says of it (`containerimage.digest`, …).
    pub response: BTreeMap<String, String>,
    write: Option<Writing>,
    shown: InternalVertex,
    started: Timestamp,
}

/// Writes an archive. It blocks.
pub type Writing = Box<dyn FnOnce(&mut dyn Write) -> Result<(), SolveError> + Send>;

impl Archived {
    /// What writes it, once.
    pub fn writing(&mut self) -> Writing {
        self.write
            .take()
            .unwrap_or_else(|| Box::new(|_| Err(SolveError::Cancelled)))
    }

    /// It was written, unless there is an error.
    pub async fn end<E: std::fmt::Display>(mut self, error: Option<&E>) {
        if error.is_none() {
            self.shown.did("sending tarball", self.started).await;
        }
        let error = error.map(|error| SolveError::Failed(error.to_string()));
        self.shown.end(error.as_ref()).await;
    }
}

/// The files of a result, on their way to a client.
pub struct Files {
    tree: Tree,
    epoch: Option<i64>,
    shown: InternalVertex,
    started: Timestamp,
}

impl Files {
    /// Below which they are.
    pub fn root(&self) -> Arc<Root> {
        self.tree.root.clone()
    }

    /// The time that all of them are to have, in seconds since 1970, if it is not their own.
    pub fn epoch(&self) -> Option<i64> {
        self.epoch
    }

    /// They were sent, unless there is an error.
    pub async fn end<E: std::fmt::Display>(mut self, error: Option<&E>) {
        if error.is_none() {
            self.shown.did("copying files", self.started).await;
        }
        let error = error.map(|error| SolveError::Failed(error.to_string()));
        self.shown.end(error.as_ref()).await;
    }
}

impl Job {
    /// The files of the result: exporter `local`.
    ///
    /// # Errors
    /// If they cannot be mounted; for a result of several platforms.
    pub async fn files(
        &self,
        result: &SolveResult,
        attrs: &BTreeMap<String, String>,
    ) -> Result<Files, SolveError> {
        let mut shown = InternalVertex::begin(self, "exporting to client directory").await;
        let tree = async {
            let epoch = epoch(result, attrs)?;
            let part = only(result)?;
            Ok((self.tree(&part.tree).await?, epoch))
        };
        match tree.await {
            Ok((tree, epoch)) => Ok(Files {
                tree,
                epoch,
                shown,
                started: Timestamp::now(),
            }),
            Err(error) => {
                shown.end(Some(&error)).await;
                Err(error)
            }
        }
    }

    /// Makes ready to write the result as an archive: exporters `docker`, `oci`, `tar`.
    ///
    /// # Errors
    /// If a layer is not there; of `docker` and `tar`, for a result of several platforms.
    pub async fn archive(
        &self,
        result: &SolveResult,
        kind: ArchiveKind,
        attrs: &BTreeMap<String, String>,
        provenance: Option<Provenance>,
    ) -> Result<Archived, SolveError> {
        let mut shown = InternalVertex::begin(self, kind.shown()).await;
        match self.prepared(result, kind, attrs, provenance, &shown).await {
            Ok((response, write)) => Ok(Archived {
                response,
                write: Some(write),
                shown,
                started: Timestamp::now(),
            }),
            Err(error) => {
                shown.end(Some(&error)).await;
                Err(error)
            }
        }
    }

    /// Writes the result as a layout into the client's store: exporters `oci` and `docker` with `tar=false`.
    ///
    /// # Errors
    /// If a layer is not there, or the client does not take it; of `docker`, for a result of several platforms.
    pub async fn layout(
        &self,
        result: &SolveResult,
        kind: ArchiveKind,
        attrs: &BTreeMap<String, String>,
        provenance: Option<Provenance>,
    ) -> Result<BTreeMap<String, String>, SolveError> {
        let mut shown = InternalVertex::begin(self, kind.shown()).await;
        let sent = async {
            let image = self
                .image_archive(result, kind, attrs, provenance, &shown)
                .await?;
            let started = Timestamp::now();
            image.send().await?;
            shown.did("copying layout", started).await;
            Ok(image.response())
        };
        let sent = sent.await;
        shown.end(sent.as_ref().err()).await;
        sent
    }

    async fn prepared(
        &self,
        result: &SolveResult,
        kind: ArchiveKind,
        attrs: &BTreeMap<String, String>,
        provenance: Option<Provenance>,
        shown: &InternalVertex,
    ) -> Result<(BTreeMap<String, String>, Writing), SolveError> {
        if kind == ArchiveKind::Tar {
            let (job, tree) = (self.clone(), only(result)?.tree);
            let times = times(result, attrs)?;
            return Ok((
                BTreeMap::new(),
                Box::new(move |out| files(&job, &tree, times, out)),
            ));
        }
        let image = self
            .image_archive(result, kind, attrs, provenance, shown)
            .await?;
        let response = image.response();
        Ok((response, Box::new(move |out| image.write(out))))
    }

    async fn image_archive(
        &self,
        result: &SolveResult,
        kind: ArchiveKind,
        attrs: &BTreeMap<String, String>,
        provenance: Option<Provenance>,
        shown: &InternalVertex,
    ) -> Result<Image, SolveError> {
        let mut result = result.clone();
        if kind == ArchiveKind::Docker {
            only(&result)?;
            // What `docker load` reads holds an image and nothing beside it.
            result.attestations.clear();
        }
        let result = &result;
        let documents = self.documents(result, attrs, provenance, shown).await?;
        let names = names(attrs)?.into_iter();
        let names = names.map(|name| name.with_default_tag().to_string());
        Ok(Image {
            job: self.clone(),
            kind,
            names: names.collect(),
            documents,
        })
    }
}

impl ArchiveKind {
    fn shown(self) -> &'static str {
        match self {
            Self::Docker => "exporting to docker image format",
            Self::Oci => "exporting to oci image format",
            Self::Tar => "exporting to client tarball",
        }
    }
}

/// What times files have that leave an image: their own, or all of them that of the source.
fn times(result: &SolveResult, attrs: &BTreeMap<String, String>) -> Result<Times, SolveError> {
    Ok(epoch(result, attrs)?.map_or(Times::Own, Times::At))
}

/// The files alone.
fn files(job: &Job, tree: &Ref, times: Times, out: &mut dyn Write) -> Result<(), SolveError> {
    let files = tree.tree(job)?;
    let options = PackOptions {
        whole_seconds: true,
        times,
        ..PackOptions::default()
    };
    wharf_layer::pack(files.root.as_fd(), out, &options)
        .map(drop)
        .map_err(|error| SolveError::Failed(format!("failed to write the archive: {error}")))
}

/// An image, all of whose parts are known.
struct Image {
    job: Job,
    kind: ArchiveKind,
    names: Vec<String>,
    documents: Documents,
}

impl Image {
    fn response(&self) -> BTreeMap<String, String> {
        let mut response = self.documents.response();
        if !self.names.is_empty() {
            response.insert("image.name".to_owned(), self.names.join(","));
        }
        response
    }

    /// Into the client's store, which it keeps as a layout: it writes the index itself.
    async fn send(&self) -> Result<(), SolveError> {
        let place = StorePlace {
            session: String::new(),
            store: "export".to_owned(),
        };
        for part in &self.documents.parts {
            let own = [&part.config, &part.manifest].into_iter();
            // What a manifest names comes before it.
            let statements = part.statements.iter().rev();
            let documents = own.chain(statements);
            let documents: Vec<_> = documents
                .map(|(descriptor, bytes)| (descriptor, &bytes[..]))
                .collect();
            self.job.send_to(&place, &part.layers, &documents).await?;
        }
        if let Some((descriptor, bytes)) = &self.documents.index {
            let index = [(descriptor, &bytes[..])];
            self.job.send_to(&place, &[], &index).await?;
        }
        Ok(())
    }

    fn write(&self, out: &mut dyn Write) -> Result<(), SolveError> {
        self.written(out)
            .map_err(SolveError::io("failed to write the archive"))
    }

    fn written(&self, out: &mut dyn Write) -> io::Result<()> {
        let store = self.job.engine().images.store();
        let mut archive = Archive {
            out,
            known: Vec::new(),
        };
        archive.folder("blobs/")?;
        archive.folder("blobs/sha256/")?;
        for part in &self.documents.parts {
            for layer in &part.layers {
                let file = store.open_blob(&layer.digest).map_err(io::Error::other)?;
                archive.file(&blob(&layer.digest), layer.size, file)?;
            }
            let documents = [&part.config, &part.manifest].into_iter();
            for (descriptor, bytes) in documents.chain(&part.statements) {
                archive.bytes(&blob(&descriptor.digest), bytes)?;
            }
        }
        if let Some((descriptor, bytes)) = &self.documents.index {
            archive.bytes(&blob(&descriptor.digest), bytes)?;
        }
        if let Some(root) = self.documents.root() {
            let mut root = root.clone();
            root.annotations
                .clone_from(&self.documents.root_annotations);
            archive.bytes("index.json", index(&root, &self.names).as_bytes())?;
        }
        if let (ArchiveKind::Docker, [part]) = (self.kind, &self.documents.parts[..]) {
            let familiar = self.names.iter().map(|name| familiar(name));
            let docker = json!([{
                "Config": blob(&part.config.0.digest),
                "RepoTags": familiar.collect::<Vec<_>>(),
                "Layers": part.layers.iter().map(|layer| blob(&layer.digest)).collect::<Vec<_>>(),
            }]);
            archive.bytes("manifest.json", docker.to_string().as_bytes())?;
        }
        archive.bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        archive.end()
    }
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
            entry["annotations"]["io.containerd.image.name"] = json!(name);
            entry["annotations"]["org.opencontainers.image.ref.name"] = json!(tag);
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
struct Archive<'a> {
    out: &'a mut dyn Write,
    /// A blob is there once.
    known: Vec<String>,
}

impl Archive<'_> {
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
