//! What a cache in front of a registry asks for: documents as they are, whatever their platform.

use http::header::ACCEPT;
use http::{HeaderName, HeaderValue, Method};
use wharf_oci::{Digest, Reference, media_type};

use crate::answer::RegistryAnswer;
use crate::http_client::Call;
use crate::resolve::{Raw, refusal};
use crate::{Client, Credentials, RegistryError, Source};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

impl Client {
    /// The registry itself, to read a repository of it; no mirror.
    ///
    /// # Errors
    /// [`RegistryError::Config`] if the registry's name is no host.
    pub fn pull_source(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Result<Source, RegistryError> {
        let last = self.sources(reference, credentials)?.pop();
        last.ok_or_else(|| RegistryError::Config("no registry endpoint".to_owned()))
    }

    /// What a tag means, without the document; `None` if the registry does not say.
    ///
    /// # Errors
    /// If there is no such tag, or the registry cannot be asked.
    pub async fn manifest_digest(
        &self,
        source: &Source,
        tag: &str,
    ) -> Result<Option<Digest>, RegistryError> {
        let uri = self.address(source, &format!("manifests/{tag}")).await?;
        let mut call = Call::new(Method::HEAD, uri.clone());
        let accept = media_type::ACCEPT_MANIFESTS.join(", ");
        if let Ok(accept) = HeaderValue::from_str(&accept) {
            call.headers.insert(ACCEPT, accept);
        }
        let response = self.send(source, call).await?;
        match response.status().as_u16() {
            200..300 => {}
            // The answer to a HEAD says no more.
            404 => {
                return Err(RegistryError::ManifestUnknown {
                    reference: source.reference.familiar(),
                    cause: "manifest unknown".to_owned(),
                });
            }
            _ => {
                let answer = RegistryAnswer::read(&self.0.http, &uri, response).await?;
                return Err(refusal(answer, &source.reference));
            }
        }
        let value = response.headers().get(CONTENT_DIGEST);
        let text = value.and_then(|value| value.to_str().ok());
        Ok(text.and_then(|text| Digest::parse(text).ok()))
    }

    /// A manifest or index as it is, by tag or digest; its bytes are compared with `expected`.
    ///
    /// # Errors
    /// If it is not there, is no manifest, or the registry cannot be asked.
    pub async fn raw_manifest(
        &self,
        source: &Source,
        which: &str,
        expected: Option<&Digest>,
    ) -> Result<Raw, RegistryError> {
        self.manifest(source, which, expected)
            .await
            .map(|(raw, _)| raw)
    }

    /// Size of a blob in bytes; `None` if the repository lacks it.
    ///
    /// # Errors
    /// If the registry cannot be asked, or does not say.
    pub async fn blob_size(
        &self,
        source: &Source,
        digest: &Digest,
    ) -> Result<Option<u64>, RegistryError> {
        let uri = self.address(source, &format!("blobs/{digest}")).await?;
        let response = self
            .send(source, Call::new(Method::HEAD, uri.clone()))
            .await?;
        match response.status().as_u16() {
            200..300 => {}
            404 => return Ok(None),
            _ => {
                let answer = RegistryAnswer::read(&self.0.http, &uri, response).await?;
                return Err(refusal(answer, &source.reference));
            }
        }
        let value = response.headers().get(http::header::CONTENT_LENGTH);
        let size = value.and_then(|value| value.to_str().ok()?.parse().ok());
        size.map(Some).ok_or_else(|| RegistryError::Protocol {
            url: uri.to_string(),
            message: "does not say how long the blob is".to_owned(),
        })
    }
}
