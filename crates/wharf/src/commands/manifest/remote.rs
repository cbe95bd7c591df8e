//! Manifests and lists in registries.

use wharf_distribution::{Client, Config, Credentials, RegistryError, Source};
use wharf_oci::{Descriptor, Document, MAX_CONFIG_SIZE, Manifest, Platform, Reference};

use super::entry::Entry;
use crate::cli::{Context, Exit, Outcome, credentials};

/// What a name means in a registry.
pub(super) enum Found {
    /// An image.
    One(Box<Entry>),
    /// A list of them.
    Many(Vec<Entry>),
}

/// The registry of a name, and what it knows us by.
pub(super) struct Remote {
    pub(super) client: Client,
    pub(super) credentials: Option<Credentials>,
}

impl Remote {
    /// To read from; without TLS only if the user says so.
    pub(super) fn reader(context: &Context, name: &Reference, insecure: bool) -> Outcome<Remote> {
        Remote::new(context, name, insecure, insecure)
    }

    /// To write to: as Docker's, loopback needs no TLS.
    pub(super) fn writer(context: &Context, name: &Reference, insecure: bool) -> Outcome<Remote> {
        Remote::new(context, name, insecure, true)
    }

    fn new(
        context: &Context,
        name: &Reference,
        insecure: bool,
        plain_http: bool,
    ) -> Outcome<Remote> {
        let insecure = match insecure {
            true => vec![name.domain().to_owned()],
            false => Vec::new(),
        };
        let config = Config {
            insecure,
            plain_http,
            // A user waits, and can ask again.
            retries: 1,
            ..Config::default()
        };
        let client = Client::new(config).map_err(|error| Exit::new(error.to_string()))?;
        let auth = credentials::find(context, credentials::key(name.domain()));
        let text = |name: &str| {
            let value = auth.as_ref()?.get(name)?.as_str()?;
            (!value.is_empty()).then(|| value.to_owned())
        };
        let credentials = match (text("identitytoken"), text("username")) {
            (Some(token), _) => Some(Credentials::Identity(token)),
            (None, Some(username)) => Some(Credentials::Basic {
                username,
                password: text("password").unwrap_or_default(),
            }),
            (None, None) => None,
        };
        Ok(Remote {
            client,
            credentials,
        })
    }

    /// What a name means.
    ///
    /// # Errors
    /// In Docker's words, if it means nothing.
    pub(super) async fn find(&self, name: &Reference) -> Outcome<Found> {
        let failed = |error: RegistryError| failure(name, &error);
        let source = self
            .client
            .pull_source(name, self.credentials.as_ref())
            .map_err(failed)?;
        let (raw, document) = self.document(&source, name).await?;
        let index = match document {
            Document::Manifest(manifest) => {
                let platform = self.platform(&source, &manifest).await.map_err(failed)?;
                let entry = Entry::new(name.to_string(), raw.0, platform, &raw.1)?;
                return Ok(Found::One(Box::new(entry)));
            }
            Document::Index(index) => index,
        };
        let mut entries = Vec::new();
        for member in index.manifests {
            let reference = name.clone().with_digest(member.digest);
            let (raw, _) = self.document(&source, &reference).await?;
            let platform = member.platform.unwrap_or_else(nowhere);
            entries.push(Entry::new(reference.to_string(), raw.0, platform, &raw.1)?);
        }
        Ok(Found::Many(entries))
    }

    /// An image; a list is none.
    pub(super) async fn image(&self, name: &Reference) -> Outcome<Entry> {
        match self.find(name).await? {
            Found::One(entry) => Ok(*entry),
            Found::Many(_) => Err(Exit::new(format!("{name} is a manifest list"))),
        }
    }

    async fn document(
        &self,
        source: &Source,
        name: &Reference,
    ) -> Outcome<((Descriptor, bytes::Bytes), Document)> {
        let which = match name.digest() {
            Some(digest) => digest.to_string(),
            None => name.tag().unwrap_or("latest").to_owned(),
        };
        let raw = self
            .client
            .raw_manifest(source, &which, name.digest())
            .await
            .map_err(|error| failure(name, &error))?;
        let document = Document::parse(&raw.bytes, Some(&raw.descriptor.media_type))
            .map_err(|error| Exit::new(error.to_string()))?;
        Ok(((raw.descriptor, raw.bytes), document))
    }

    /// What the configuration says that the image is for; an artifact's says nothing.
    async fn platform(
        &self,
        source: &Source,
        manifest: &Manifest,
    ) -> Result<Platform, RegistryError> {
        let bytes = self
            .client
            .small_blob(
                source,
                &manifest.config,
                "image configuration",
                MAX_CONFIG_SIZE,
            )
            .await?;
        let config: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let text = |name: &str| config[name].as_str().unwrap_or_default().to_owned();
        let features = config["os.features"].as_array().into_iter().flatten();
        Ok(Platform {
            os_version: text("os.version"),
            os_features: features
                .filter_map(|one| one.as_str().map(str::to_owned))
                .collect(),
            variant: text("variant"),
            ..platform(text("os"), text("architecture"))
        })
    }
}

fn platform(os: String, architecture: String) -> Platform {
    Platform {
        architecture,
        os,
        os_version: String::new(),
        os_features: Vec::new(),
        variant: String::new(),
    }
}

fn nowhere() -> Platform {
    platform(String::new(), String::new())
}

/// Docker's words for a registry that says no, or nothing.
pub(super) fn failure(name: &Reference, error: &RegistryError) -> Exit {
    let text = error.to_string();
    match error {
        RegistryError::ManifestUnknown { .. } | RegistryError::NameUnknown { .. } => {
            Exit::new(format!("no such manifest: {name}"))
        }
        // Without TLS, and nobody said that it may be so: Docker passes such a registry over.
        RegistryError::Unreachable { message, .. }
            if message.contains("server gave HTTP response to HTTPS client") =>
        {
            Exit::new(format!("no such manifest: {name}"))
        }
        // Docker names the address that it tried first, which is the one with TLS.
        RegistryError::Unreachable { url, .. } if url.ends_with("/v2/") => Exit::new(format!(
            "failed to configure transport: error pinging v2 registry: {}",
            text.replacen("\"http://", "\"https://", 1)
        )),
        _ => Exit::new(text),
    }
}
