//! What others say of an image goes with it: manifests that name it as their subject, and those that name these.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use wharf_oci::{Descriptor, Digest, media_type};

use crate::push::{Target, refused};
use crate::store::Images;
use crate::{Image, ImageError};

/// What a list of referrers tells of one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referrer {
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Referrer {
    /// The entry of a list that clients keep (distribution specification, "Pushing Manifests with Subject").
    fn entry(self, of: &Descriptor) -> Descriptor {
        let own = self.artifact_type.filter(|kind| !kind.is_empty());
        Descriptor {
            artifact_type: own.or_else(|| self.config.map(|config| config.media_type)),
            annotations: self.annotations.unwrap_or_default(),
            ..Descriptor::new(&of.media_type, of.digest, of.size)
        }
    }
}

impl Images {
    /// Sends what is kept with the image and is about `pushed`, about the image's manifest in it, or about something that was sent
    /// here before.
    pub(crate) async fn send_referrers(
        &self,
        target: &Target,
        image: &Image,
        pushed: &Digest,
    ) -> Result<(), ImageError> {
        let (mut left, manifest) = {
            let state = self.read();
            let record = state.images.get(&image.id).map(|entry| &entry.record);
            let manifest = record.and_then(|record| record.manifest.as_ref());
            let extras = record.map_or_else(Vec::new, |record| record.extras.clone());
            (extras, manifest.map(|manifest| manifest.digest))
        };
        let mut subjects: BTreeSet<Digest> = manifest.into_iter().chain([*pushed]).collect();
        loop {
            let mut sent = Vec::new();
            for extra in &left {
                let Some((referrer, subject)) = self.about(extra, &subjects)? else {
                    continue;
                };
                if !self.send_other(target, extra).await? {
                    let entry = referrer.entry(extra);
                    let listing = target
                        .registry
                        .list_referrer(&target.source, &subject, &entry);
                    listing.await.map_err(|error| refused(&error))?;
                }
                sent.push(extra.digest);
            }
            if sent.is_empty() {
                return Ok(());
            }
            left.retain(|extra| !sent.contains(&extra.digest));
            subjects.extend(sent);
        }
    }

    /// A kept document, if it is about one of `subjects`.
    fn about(
        &self,
        extra: &Descriptor,
        subjects: &BTreeSet<Digest>,
    ) -> Result<Option<(Referrer, Digest)>, ImageError> {
        if !media_type::is_manifest(&extra.media_type) && !media_type::is_index(&extra.media_type) {
            return Ok(None);
        }
        let bytes = self.document(extra)?;
        let Ok(referrer) = serde_json::from_slice::<Referrer>(&bytes) else {
            return Ok(None);
        };
        let subject = referrer.subject.as_ref().map(|subject| subject.digest);
        let subject = subject.filter(|subject| subjects.contains(subject));
        Ok(subject.map(|subject| (referrer, subject)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Descriptor {
        let referrer: Referrer = serde_json::from_str(text).unwrap();
        referrer.entry(&Descriptor::of(media_type::OCI_MANIFEST, text.as_bytes()))
    }

    #[test]
    fn a_list_says_what_the_manifest_says() {
        let config = r#""config":{"mediaType":"a/config","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}"#;
        let typed = entry(&format!(
            r#"{{{config},"artifactType":"a/b","annotations":{{"k":"v"}}}}"#
        ));
        assert_eq!(typed.artifact_type.as_deref(), Some("a/b"));
        assert_eq!(typed.annotations["k"], "v");
        let empty = entry(&format!(r#"{{{config},"artifactType":""}}"#));
        assert_eq!(empty.artifact_type.as_deref(), Some("a/config"));
        // An index has no configuration.
        assert_eq!(entry("{}").artifact_type, None);
    }
}
