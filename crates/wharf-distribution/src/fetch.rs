//! A file from any server: `ADD https://…`, contexts and archives at an address.

use bytes::Bytes;
use http::{HeaderName, Uri};
use hyper::body::Incoming;

use crate::http_client::{Call, Http};
use crate::{Config, RegistryError};

/// An answer to a `GET`, whose body is still to come. Redirects have been followed.
pub struct Download {
    http: Http,
    url: Uri,
    response: http::Response<Incoming>,
}

impl Download {
    /// Asks for `url`, with the settings that registries are spoken to with.
    ///
    /// # Errors
    /// If it is no address, or nobody answers. Whatever the server says is no error: see [`Self::status`].
    pub async fn open(config: Config, url: &str) -> Result<Self, RegistryError> {
        let uri = url
            .parse::<Uri>()
            .map_err(|error| RegistryError::Protocol {
                url: url.to_owned(),
                message: error.to_string(),
            })?;
        let http = Http::new(config);
        let response = http.send(&Call::get(uri.clone())).await?;
        Ok(Self {
            http,
            url: uri,
            response,
        })
    }

    /// The status, as `404 Not Found`.
    pub fn status(&self) -> String {
        self.response.status().to_string()
    }

    /// Whether the server gives what was asked for.
    pub fn is_success(&self) -> bool {
        self.response.status().is_success()
    }

    /// A header's value; empty if there is none.
    pub fn header(&self, name: HeaderName) -> &str {
        let value = self.response.headers().get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// If the connection breaks or stalls.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        self.http.chunk(&self.url, self.response.body_mut()).await
    }
}
