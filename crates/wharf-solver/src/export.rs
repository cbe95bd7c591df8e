//! What a result becomes: an image of the store.

mod annotations;
mod archive;
mod document;
mod documents;
mod layers;
mod provenance;
mod times;

use std::collections::BTreeMap;

use jiff::Timestamp;
use wharf_images::Image;
use wharf_oci::{Platform, Reference};

use crate::attributes::is_on;
use crate::progress::InternalVertex;
use crate::{Job, Ref, SolveError, SolveResult, blocking};

pub use archive::{Archived, Files, Writing};
pub(crate) use document::document;
pub use provenance::Provenance;

use annotations::Annotations;
use documents::Documents;
pub(crate) use layers::{Compression, blobs_of};

impl Job {
    /// Makes the result an image of the store, and pushes it if it is asked to: exporters `image` and `moby` with their
    /// attributes (`name`, `push`). Returns the exporter's response (`containerimage.digest`, …).
    ///
    /// # Errors
    /// If it cannot be written or pushed.
    pub async fn export_image(
        &self,
        result: &SolveResult,
        attrs: &BTreeMap<String, String>,
        provenance: Option<Provenance>,
    ) -> Result<BTreeMap<String, String>, SolveError> {
        let mut shown = InternalVertex::begin(self, "exporting to image").await;
        let exported = self.image(result, attrs, provenance, &shown).await;
        shown.end(exported.as_ref().err()).await;
        exported
    }

    async fn image(
        &self,
        result: &SolveResult,
        attrs: &BTreeMap<String, String>,
        provenance: Option<Provenance>,
        shown: &InternalVertex,
    ) -> Result<BTreeMap<String, String>, SolveError> {
        let names = names(attrs)?;
        let pushes = is_on(attrs, "push")?;
        if pushes && names.is_empty() {
            return Err(nameless_push());
        }
        let is_plain = result.refs.is_empty()
            && result.attestations.is_empty()
            && provenance.is_none()
            && Annotations::read(attrs)?.is_empty()
            && Compression::read(attrs)?.is_nothing();
        let (image, mut response) = match is_plain {
            true => self.plain_image(result, attrs, &names, shown).await?,
            false => {
                let documents = self.documents(result, attrs, provenance, shown).await?;
                self.whole_image(&documents, attrs, &names, shown).await?
            }
        };
        let now = Timestamp::now();
        shown.did(format!("writing image {}", image.id), now).await;
        for name in &names {
            shown.did(format!("naming to {name}"), now).await;
        }
        if pushes {
            let by_digest = is_on(attrs, "push-by-digest")?;
            self.push(&names, &image, by_digest, shown).await?;
        }
        if !names.is_empty() {
            let names = names.iter().map(Reference::to_string);
            let names = names.collect::<Vec<_>>().join(",");
            response.insert("image.name".to_owned(), names);
        }
        Ok(response)
    }

    /// An image for one platform, of which nothing is said.
    async fn plain_image(
        &self,
        result: &SolveResult,
        attrs: &BTreeMap<String, String>,
        names: &[Reference],
        shown: &InternalVertex,
    ) -> Result<(Image, BTreeMap<String, String>), SolveError> {
        let started = Timestamp::now();
        let part = only(result)?;
        let epoch = epoch(result, attrs)?;
        let tree = self.layers_of(&part.tree).await?;
        let tree = self.retimed(tree, attrs, epoch).await?;
        let cache = self.inline_cache(&tree)?;
        let config = document(part.config, &tree, epoch, cache)?;
        let tags = names.iter().map(|name| name.clone().with_default_tag());
        let chains = tree.chains();
        let store = self.engine().images.store();
        let image = store
            .assemble(&chains, config, tags.collect(), None)
            .await?;
        shown.did("exporting layers", started).await;
        let mut response = BTreeMap::new();
        // As dockerd has it with its own store: an image is known by its configuration.
        for name in ["containerimage.digest", "containerimage.config.digest"] {
            response.insert(name.to_owned(), image.id.to_string());
        }
        if let Some(manifest) = &image.manifest {
            let (name, descriptor) = documents::described(manifest);
            response.insert(name, descriptor);
        }
        Ok((image, response))
    }

    /// An image with everything that is said of it; of several platforms, all of them.
    async fn whole_image(
        &self,
        documents: &Documents,
        attrs: &BTreeMap<String, String>,
        names: &[Reference],
        shown: &InternalVertex,
    ) -> Result<(Image, BTreeMap<String, String>), SolveError> {
        let store = self.engine().images.store();
        // One that goes by its digest has no name, here neither.
        let tags = match is_on(attrs, "push-by-digest")? {
            true => Vec::new(),
            false => names
                .iter()
                .map(|name| name.clone().with_default_tag())
                .collect(),
        };
        let index = documents.index.clone();
        let index = index.map(|(descriptor, bytes)| (descriptor, bytes.into()));
        let image = store.assemble_parts(documents.assembled(), index, tags);
        let image = image.await?;
        if let Some(root) = documents.root() {
            let text = format!("exporting manifest {}", root.digest);
            shown.did(text, Timestamp::now()).await;
        }
        Ok((image, documents.response()))
    }

    async fn push(
        &self,
        names: &[Reference],
        image: &Image,
        by_digest: bool,
        shown: &InternalVertex,
    ) -> Result<(), SolveError> {
        let images = &self.engine().images;
        for name in names {
            let started = Timestamp::now();
            let options = wharf_images::PushOptions {
                credentials: self.client().credentials(name.domain()).await,
                ..wharf_images::PushOptions::default()
            };
            let shown_name = match by_digest {
                true => {
                    let digest = images
                        .store()
                        .push_by_digest(name, &image.id, options)
                        .await?;
                    name.clone().without_tag_and_digest().with_digest(digest)
                }
                false => {
                    let progress = wharf_images::ProgressSender::discard();
                    let tagged = name.clone().with_default_tag();
                    images.push(&tagged, options, progress).await?;
                    tagged
                }
            };
            let text = format!("pushing manifest for {shown_name}");
            shown.did(text, started).await;
        }
        Ok(())
    }

    /// The tree as layers.
    pub(crate) async fn layers_of(&self, tree: &Ref) -> Result<Ref, SolveError> {
        let (job, tree) = (self.clone(), tree.clone());
        blocking(move || job.layered(&tree)).await
    }
}

/// Whether the attributes of an exporter make sense, as far as that can be said before anything is built.
///
/// # Errors
/// What an export with them would say.
pub fn check_export(
    kind: ExporterKind,
    attrs: &BTreeMap<String, String>,
) -> Result<(), SolveError> {
    if let Some(text) = attrs.get("source-date-epoch") {
        seconds(text)?;
    }
    let is_image = match kind {
        ExporterKind::Files => return Ok(()),
        ExporterKind::Image => true,
        ExporterKind::Archive => false,
    };
    let names = names(attrs)?;
    Annotations::read(attrs)?;
    Compression::read(attrs)?;
    for name in ["rewrite-timestamp", "push-by-digest", "tar"] {
        is_on(attrs, name)?;
    }
    match is_image && is_on(attrs, "push")? && names.is_empty() {
        true => Err(nameless_push()),
        false => Ok(()),
    }
}

/// What an exporter makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExporterKind {
    /// An image of the store.
    Image,
    /// An archive or a layout of an image.
    Archive,
    /// The files.
    Files,
}

fn nameless_push() -> SolveError {
    SolveError::Invalid("tag is needed when pushing to registry".to_owned())
}

/// A result for one platform.
pub(crate) struct OnePlatform<'a> {
    /// Its key in the result; empty for the only one.
    pub(crate) key: &'a str,
    pub(crate) platform: Platform,
    pub(crate) tree: Ref,
    pub(crate) config: Option<&'a [u8]>,
}

/// The platforms of a result.
///
/// # Errors
/// If one is none.
pub(crate) fn parts(result: &SolveResult) -> Result<Vec<OnePlatform<'_>>, SolveError> {
    let config = |name: &str| result.metadata.get(name).map(Vec::as_slice);
    if result.refs.is_empty() {
        let config = config("containerimage.config");
        return Ok(vec![OnePlatform {
            key: "",
            platform: config.map_or_else(Platform::host, platform_of),
            tree: result.single.clone().unwrap_or_else(Ref::scratch),
            config,
        }]);
    }
    let parts = result.refs.iter().map(|(key, tree)| {
        let platform = Platform::parse(key)
            .map_err(|error| SolveError::Invalid(format!("invalid platform {key}: {error}")))?;
        Ok(OnePlatform {
            key,
            platform,
            tree: tree.clone(),
            config: config(&format!("containerimage.config/{key}")),
        })
    });
    parts.collect()
}

/// The platform that a configuration is for.
fn platform_of(config: &[u8]) -> Platform {
    let config: serde_json::Value = serde_json::from_slice(config).unwrap_or_default();
    let text = |name: &str| config[name].as_str().unwrap_or_default().to_owned();
    match (text("os"), text("architecture")) {
        (os, architecture) if os.is_empty() || architecture.is_empty() => Platform::host(),
        (os, architecture) => Platform::new(&os, &architecture, &text("variant")),
    }
}

/// The only platform of a result.
///
/// # Errors
/// If there are several.
pub(crate) fn only(result: &SolveResult) -> Result<OnePlatform<'_>, SolveError> {
    let mut parts = parts(result)?.into_iter();
    match (parts.next(), parts.next()) {
        (Some(part), None) => Ok(part),
        // As dockerd says it without containerd's store.
        _ => Err(SolveError::NotImplemented(
            "docker exporter does not currently support exporting manifest lists".to_owned(),
        )),
    }
}

/// Seconds since 1970 that are to be the image's time.
pub(crate) fn epoch(
    result: &SolveResult,
    attrs: &BTreeMap<String, String>,
) -> Result<Option<i64>, SolveError> {
    let own = attrs.get("source-date-epoch").cloned();
    let said = result.metadata.get("source.date.epoch");
    let said = said.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    own.or(said).map_or(Ok(None), |text| seconds(&text))
}

fn seconds(text: &str) -> Result<Option<i64>, SolveError> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.parse();
    number
        .map(Some)
        .map_err(|_| SolveError::Invalid(format!("invalid SOURCE_DATE_EPOCH: {text:?}")))
}

/// The names that the image is to have.
pub(crate) fn names(attrs: &BTreeMap<String, String>) -> Result<Vec<Reference>, SolveError> {
    let text = attrs.get("name").map_or("", String::as_str);
    let names = text.split(',').filter(|name| !name.is_empty());
    let parsed = names.map(|name| {
        let reference = Reference::parse_normalized(name);
        reference.map_err(|error| SolveError::Invalid(format!("failed to parse {name}: {error}")))
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_said_before_the_build() {
        let check = |kind, attrs: &[(&str, &str)]| {
            let attrs = attrs.iter();
            let attrs = attrs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            check_export(kind, &attrs.collect()).map_err(|error| error.to_string())
        };
        for wrong in [
            ("name", "A b"),
            ("push", "true"),
            ("push", "maybe"),
            ("rewrite-timestamp", "maybe"),
            ("compression", "lzma"),
            ("compression-level", "x"),
            ("annotation-nothing", "x"),
            ("source-date-epoch", "now"),
        ] {
            assert!(check(ExporterKind::Image, &[wrong]).is_err(), "{wrong:?}");
        }
        let fine = [("name", "a"), ("push", "true"), ("source-date-epoch", "")];
        assert_eq!(check(ExporterKind::Image, &fine), Ok(()));
        assert_eq!(check(ExporterKind::Archive, &[("push", "true")]), Ok(()));
        assert!(check(ExporterKind::Archive, &[("compression", "lzma")]).is_err());
        assert_eq!(
            check(ExporterKind::Files, &[("compression", "lzma")]),
            Ok(())
        );
        assert!(check(ExporterKind::Files, &[("source-date-epoch", "x")]).is_err());
    }
}
