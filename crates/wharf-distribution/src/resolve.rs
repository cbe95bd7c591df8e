//! From a reference to the manifest of one image: the index, the choice of the platform, every byte checked.

use bytes::Bytes;
use http::HeaderValue;
use http::header::{ACCEPT, CONTENT_TYPE};
use serde::Deserialize;
use wharf_oci::{
    Descriptor, Digest, Document, MAX_MANIFEST_SIZE, Manifest, Platform, Reference, media_type,
};

use crate::answer::RegistryAnswer;
use crate::http_client::Call;
use crate::{Client, Credentials, RegistryError, Source};

/// Requests for manifests are tried this often when the registry says that it has a problem.
const MANIFEST_ATTEMPTS: u32 = 3;

/// The most images of an index that are looked at where all are wanted.
const MOST_IMAGES: usize = 64;

/// A document as it came, with its address.
#[derive(Debug, Clone)]
pub struct Raw {
    /// Type, digest and size.
    pub descriptor: Descriptor,
    /// The bytes.
    pub bytes: Bytes,
}

/// An image found in a registry.
#[derive(Clone)]
pub struct Resolved {
    /// Where its blobs are.
    pub source: Source,
    /// The index, if the reference led to one.
    pub index: Option<Raw>,
    /// The manifest.
    pub raw: Raw,
    /// The manifest, parsed.
    pub manifest: Manifest,
}

impl Resolved {
    /// Digest of what the reference names: the index if there is one, else the manifest.
    pub fn digest(&self) -> Digest {
        self.index.as_ref().unwrap_or(&self.raw).descriptor.digest
    }
}

impl Client {
    /// Finds the image for `platform`, at the mirrors first, in order, and then at the registry itself.
    ///
    /// # Errors
    /// The last place's [`RegistryError`].
    pub async fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
        credentials: Option<&Credentials>,
    ) -> Result<Resolved, RegistryError> {
        let mut last = None;
        for source in self.sources(reference, credentials)? {
            match self.resolve_at(source, platform).await {
                Ok(resolved) => return Ok(resolved),
                Err(error) => {
                    tracing::debug!(%reference, %error, "endpoint cannot serve the image");
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| RegistryError::Config("no registry endpoint".to_owned())))
    }

    async fn resolve_at(
        &self,
        source: Source,
        platform: &Platform,
    ) -> Result<Resolved, RegistryError> {
        let (tag, digest) = (source.reference.tag(), source.reference.digest());
        let (raw, document) = match (tag, digest) {
            (_, Some(digest)) => {
                self.manifest(&source, &digest.to_string(), digest.into())
                    .await?
            }
            (tag, None) => {
                self.manifest(&source, tag.unwrap_or("latest"), None)
                    .await?
            }
        };
        let index = match document {
            Document::Manifest(manifest) => {
                return Ok(Resolved {
                    source,
                    index: None,
                    raw,
                    manifest,
                });
            }
            Document::Index(index) => index,
        };
        let entry = index
            .select(platform)
            .first()
            .copied()
            .ok_or_else(|| RegistryError::NoMatchingPlatform(platform_text(platform)))?;
        let digest = entry.digest;
        let (manifest_raw, document) = self
            .manifest(&source, &digest.to_string(), Some(&digest))
            .await?;
        match document {
            Document::Manifest(manifest) => Ok(Resolved {
                source,
                index: Some(raw),
                raw: manifest_raw,
                manifest,
            }),
            Document::Index(_) => Err(RegistryError::Manifest {
                reference: source.reference.familiar(),
                message: "an index within an index is not supported".to_owned(),
            }),
        }
    }

    /// The manifests of all images that a name leads to, whatever they are for, and where their blobs are; without those
    /// that only say something of others, and without those that the place does not have any more.
    ///
    /// # Errors
    /// The last place's [`RegistryError`], also where it has one and does not give it.
    pub async fn resolve_all(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Result<(Source, Vec<Manifest>), RegistryError> {
        let mut last = None;
        for source in self.sources(reference, credentials)? {
            match self.all_at(&source).await {
                Ok(manifests) => return Ok((source, manifests)),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| RegistryError::Config("no registry endpoint".to_owned())))
    }

    async fn all_at(&self, source: &Source) -> Result<Vec<Manifest>, RegistryError> {
        let digest = source.reference.digest();
        let which = match digest {
            Some(digest) => digest.to_string(),
            None => source.reference.tag().unwrap_or("latest").to_owned(),
        };
        let index = match self.manifest(source, &which, digest).await?.1 {
            Document::Manifest(manifest) => return Ok(vec![manifest]),
            Document::Index(index) => index,
        };
        let is_image = |entry: &&Descriptor| {
            let kind = entry.media_type.as_str();
            media_type::ACCEPT_MANIFESTS.contains(&kind) && !entry.is_attestation()
        };
        let (mut manifests, mut gone) = (Vec::new(), None);
        for entry in index.manifests.iter().filter(is_image).take(MOST_IMAGES) {
            let (digest, found) = (entry.digest, entry.digest.to_string());
            match self.manifest(source, &found, Some(&digest)).await {
                Ok((_, Document::Manifest(manifest))) => manifests.push(manifest),
                Ok((_, Document::Index(_))) => {}
                // A mirror may lack what its origin has.
                Err(error) if error.is_gone() && !source.endpoint.is_mirror => {
                    tracing::debug!(%error, image = found, "read an image of an index");
                    gone = Some(error);
                }
                // It is not known what it has.
                Err(error) => return Err(error),
            }
        }
        match (manifests.is_empty(), gone) {
            (true, Some(error)) => Err(error),
            _ => Ok(manifests),
        }
    }

    pub(crate) async fn manifest(
        &self,
        source: &Source,
        which: &str,
        expected: Option<&Digest>,
    ) -> Result<(Raw, Document), RegistryError> {
        let mut attempt = 1;
        loop {
            match self.manifest_once(source, which, expected).await {
                Err(error @ RegistryError::Status { .. })
                    if error.is_transient() && attempt < MANIFEST_ATTEMPTS =>
                {
                    let delay = self.0.http.config().retry_delay / 10;
                    let wait = (delay * attempt).max(error.retry_after());
                    tokio::time::sleep(wait).await;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    async fn manifest_once(
        &self,
        source: &Source,
        which: &str,
        expected: Option<&Digest>,
    ) -> Result<(Raw, Document), RegistryError> {
        let familiar = source.reference.familiar();
        let mut call = Call::get(self.address(source, &format!("manifests/{which}")).await?);
        let accept = media_type::ACCEPT_MANIFESTS.join(", ");
        call.headers.extend(
            HeaderValue::from_str(&accept)
                .ok()
                .map(|value| (ACCEPT, value)),
        );
        let uri = call.uri.clone();
        let response = self.send(source, call).await?;
        if !response.status().is_success() {
            let answer = RegistryAnswer::read(&self.0.http, &uri, response).await?;
            return Err(refusal(answer, &source.reference));
        }
        let text = |name: http::HeaderName| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let transport = text(CONTENT_TYPE);
        let announced = text(http::HeaderName::from_static("docker-content-digest"))
            .and_then(|value| Digest::parse(&value).ok());
        let bytes = self.0.http.body(&uri, response, MAX_MANIFEST_SIZE).await?;
        let digest = match expected.copied().or(announced) {
            Some(wanted) => verified("manifest", &wanted, &bytes)?,
            None => Digest::sha256(&bytes),
        };
        if let Some(letter) = no_json(&bytes) {
            return Err(RegistryError::NoJson(letter));
        }
        let document = Document::parse(&bytes, transport.as_deref())
            .map_err(|error| RegistryError::manifest(&familiar, &error))?;
        let descriptor = Descriptor::new(document.media_type(), digest, bytes.len() as u64);
        Ok((Raw { descriptor, bytes }, document))
    }

    /// All tags of a repository.
    ///
    /// # Errors
    /// The last place's [`RegistryError`].
    pub async fn tags(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Result<Vec<String>, RegistryError> {
        let mut last = None;
        for source in self.sources(reference, credentials)? {
            match self.tags_at(&source).await {
                Ok(tags) => return Ok(tags),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| RegistryError::Config("no registry endpoint".to_owned())))
    }

    async fn tags_at(&self, source: &Source) -> Result<Vec<String>, RegistryError> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let mut tags = Vec::new();
        for page in self.pages(source, "tags/list", "application/json").await? {
            let page: Page =
                serde_json::from_slice(&page).map_err(|error| RegistryError::Protocol {
                    url: format!("{}/tags/list", source.reference.name()),
                    message: format!("malformed tag list: {error}"),
                })?;
            tags.extend(page.tags.unwrap_or_default());
        }
        Ok(tags)
    }
}

/// What a text begins with that is no JSON at all, such as a page of a proxy's.
fn no_json(bytes: &[u8]) -> Option<char> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]);
    let first = text.trim_start().chars().next()?;
    (!first.is_ascii_digit() && !"{[\"-tfn".contains(first)).then_some(first)
}

/// `digest` if `bytes` have it.
pub(crate) fn verified(
    what: &'static str,
    digest: &Digest,
    bytes: &[u8],
) -> Result<Digest, RegistryError> {
    let mut hasher = wharf_oci::Hasher::new(digest.algorithm());
    hasher.update(bytes);
    let found = hasher.finish();
    if found == *digest {
        return Ok(found);
    }
    Err(RegistryError::DigestMismatch {
        what,
        expected: *digest,
        found: found.to_string(),
    })
}

/// Docker's words for a refused manifest (moby's `distribution/errors.go`).
pub(crate) fn refusal(answer: RegistryAnswer, reference: &Reference) -> RegistryError {
    let (cause, name) = (answer.text(), reference.familiar_name());
    match answer.code.as_str() {
        "DENIED" => RegistryError::Denied { name, cause },
        "MANIFEST_UNKNOWN" => RegistryError::ManifestUnknown {
            reference: reference.familiar(),
            cause,
        },
        "NAME_UNKNOWN" => RegistryError::NameUnknown { name, cause },
        _ => answer.into_error(),
    }
}

/// containerd's default for an arm64 host has its variant, which our normal form leaves out.
fn platform_text(platform: &Platform) -> String {
    let mut text = platform.to_string();
    if platform.architecture == "arm64" && platform.variant.is_empty() {
        text.push_str("/v8");
    }
    text
}
