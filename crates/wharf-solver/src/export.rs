//! What a result becomes: an image of the store.

mod archive;
mod document;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use wharf_oci::Reference;

use crate::progress::Shown;
use crate::{Job, Ref, SolveError, SolveResult, blocking};

pub use archive::{Archived, Files, Writing};
pub(crate) use document::document;

impl Job {
    /// Makes the result an image of the store, and pushes it if it is asked to: exporters `image` and `moby` with their
    /// attributes (`name`, `push`). Returns the exporter's response (`containerimage.digest`, …).
    ///
    /// # Errors
    /// If it cannot be written or pushed; for a result of several platforms, of which the store has one an image.
    pub async fn export_image(
        &self,
        result: &SolveResult,
        attrs: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, SolveError> {
        let mut shown = Shown::begin(self, "exporting to image").await;
        let exported = self.image(result, attrs, &shown).await;
        shown.end(exported.as_ref().err()).await;
        exported
    }

    async fn image(
        &self,
        result: &SolveResult,
        attrs: &BTreeMap<String, String>,
        shown: &Shown,
    ) -> Result<BTreeMap<String, String>, SolveError> {
        let (tree, config) = only(result)?;
        let names = names(attrs)?;
        if is_on(attrs, "push") && names.is_empty() {
            let text = "tag is needed when pushing to registry";
            return Err(SolveError::Invalid(text.to_owned()));
        }
        let started = Timestamp::now();
        let tree = self.layers_of(&tree).await?;
        let epoch = epoch(result, attrs)?;
        let config = document(config, &tree, epoch)?;
        let store = self.engine().images.store();
        let tags = names.iter().map(|name| name.clone().with_default_tag());
        let chains = tree.chains();
        let image = store.assemble(&chains, config, tags.collect()).await?;
        shown.did("exporting layers", started).await;
        let now = Timestamp::now();
        shown.did(format!("writing image {}", image.id), now).await;
        for name in &names {
            shown.did(format!("naming to {name}"), now).await;
        }
        if is_on(attrs, "push") {
            self.push(&names, shown).await?;
        }
        let manifest = image.manifest.as_ref();
        let mut response = BTreeMap::new();
        let mut say = |key: &str, value: String| response.insert(key.to_owned(), value);
        // As dockerd has it with its own store: an image is known by its configuration.
        say("containerimage.digest", image.id.to_string());
        say("containerimage.config.digest", image.id.to_string());
        if let Some(manifest) = manifest {
            let descriptor = json!(manifest).to_string();
            use base64::Engine as _;
            let encoded = base64::engine::general_purpose::STANDARD.encode(descriptor);
            say("containerimage.descriptor", encoded);
        }
        if !names.is_empty() {
            let names = names.iter().map(Reference::to_string);
            say("image.name", names.collect::<Vec<_>>().join(","));
        }
        Ok(response)
    }

    async fn push(&self, names: &[Reference], shown: &Shown) -> Result<(), SolveError> {
        for name in names {
            let started = Timestamp::now();
            let options = wharf_images::PushOptions {
                credentials: self.client().credentials(name.domain()).await,
                ..wharf_images::PushOptions::default()
            };
            let progress = wharf_images::ProgressSender::discard();
            let tagged = name.clone().with_default_tag();
            self.engine()
                .images
                .push(&tagged, options, progress)
                .await?;
            shown.did(format!("pushing {tagged}"), started).await;
        }
        Ok(())
    }

    /// The tree as layers.
    pub(crate) async fn layers_of(&self, tree: &Ref) -> Result<Ref, SolveError> {
        let (job, tree) = (self.clone(), tree.clone());
        blocking(move || job.layered(&tree)).await
    }
}

/// The tree and the configuration of a result for one platform.
pub(crate) fn only(result: &SolveResult) -> Result<(Ref, Option<&[u8]>), SolveError> {
    if let Some(tree) = &result.single {
        let config = result.metadata.get("containerimage.config");
        return Ok((tree.clone(), config.map(Vec::as_slice)));
    }
    let mut refs = result.refs.iter();
    match (refs.next(), refs.next()) {
        (None, _) => Ok((Ref::scratch(), None)),
        (Some((key, tree)), None) => {
            let config = result.metadata.get(&format!("containerimage.config/{key}"));
            Ok((tree.clone(), config.map(Vec::as_slice)))
        }
        // As dockerd says it without containerd's store.
        _ => Err(SolveError::NotImplemented(
            "docker exporter does not currently support exporting manifest lists".to_owned(),
        )),
    }
}

pub(crate) fn is_on(attrs: &BTreeMap<String, String>, key: &str) -> bool {
    attrs
        .get(key)
        .is_some_and(|value| matches!(value.as_str(), "" | "1" | "true"))
}

/// Seconds since 1970 that are to be the image's time.
pub(crate) fn epoch(
    result: &SolveResult,
    attrs: &BTreeMap<String, String>,
) -> Result<Option<i64>, SolveError> {
    let own = attrs.get("source-date-epoch").cloned();
    let said = result.metadata.get("source.date.epoch");
    let said = said.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let Some(text) = own.or(said).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
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
