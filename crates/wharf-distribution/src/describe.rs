//! What a name means in a registry, without its layers: `GET /distribution/{name}/json`.

use serde::Deserialize;
use wharf_oci::{Descriptor, Document, Platform, Reference};

use crate::http_client::Call;
use crate::resolve::verified;
use crate::{Client, Credentials, RegistryError, Source};

/// A configuration longer than this is none.
const MAX_CONFIG: u64 = 8 << 20;

#[derive(Deserialize)]
struct Config {
    #[serde(flatten)]
    platform: Platform,
}

impl Client {
    /// The manifest or index that a name means, and the platforms it is for.
    ///
    /// # Errors
    /// The last place's [`RegistryError`].
    pub async fn describe(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Result<(Descriptor, Vec<Platform>), RegistryError> {
        let mut last = None;
        for source in self.sources(reference, credentials)? {
            match self.describe_at(&source).await {
                Ok(found) => return Ok(found),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| RegistryError::Config("no registry endpoint".to_owned())))
    }

    async fn describe_at(
        &self,
        source: &Source,
    ) -> Result<(Descriptor, Vec<Platform>), RegistryError> {
        let reference = &source.reference;
        let which = match reference.digest() {
            Some(digest) => digest.to_string(),
            None => reference.tag().unwrap_or("latest").to_owned(),
        };
        let (raw, document) = self.manifest(source, &which, reference.digest()).await?;
        let platforms = match document {
            Document::Index(index) => {
                let entries = index.manifests.iter();
                entries.filter_map(|entry| entry.platform.clone()).collect()
            }
            Document::Manifest(manifest) => {
                vec![self.platform_of(source, &manifest.config).await?]
            }
        };
        Ok((raw.descriptor, platforms))
    }

    async fn platform_of(
        &self,
        source: &Source,
        config: &Descriptor,
    ) -> Result<Platform, RegistryError> {
        let uri = self
            .address(source, &format!("blobs/{}", config.digest))
            .await?;
        let response = self.send(source, Call::get(uri.clone())).await?;
        if !response.status().is_success() {
            let answer = crate::answer::RegistryAnswer::read(&self.0.http, &uri, response).await?;
            return Err(answer.into_error());
        }
        let bytes = self.0.http.body(&uri, response, MAX_CONFIG).await?;
        verified("image configuration", &config.digest, &bytes)?;
        let config: Config =
            serde_json::from_slice(&bytes).map_err(|error| RegistryError::Protocol {
                url: uri.to_string(),
                message: format!("malformed image configuration: {error}"),
            })?;
        Ok(config.platform)
    }
}
