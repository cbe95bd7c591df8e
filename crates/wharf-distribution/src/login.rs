//! Whether somebody may use a registry: `docker login`.

use http::Uri;
use wharf_oci::Reference;

use crate::http_client::Call;
use crate::{Client, Credentials, RegistryError, Source};

impl Client {
    /// Shows the registry `domain` the credentials.
    ///
    /// # Errors
    /// [`RegistryError::Unauthorized`] in Docker's words if it does not take them; others if it cannot be asked.
    pub async fn login(
        &self,
        domain: &str,
        credentials: &Credentials,
    ) -> Result<(), RegistryError> {
        let endpoints = self.endpoints(domain)?;
        // The mirrors before it are nobody's account.
        let endpoint = endpoints.last().cloned();
        let endpoint =
            endpoint.ok_or_else(|| RegistryError::Config("no registry endpoint".to_owned()))?;
        // The registry may be another one since the last time.
        endpoint.forget();
        let reached = endpoint.reach(&self.0.http).await?;
        let url = format!("{}/v2/", reached.base);
        let invalid = |message: String| RegistryError::Protocol {
            url: url.clone(),
            message,
        };
        let uri: Uri = url
            .parse()
            .map_err(|_| invalid("not an address".to_owned()))?;
        let nobody = Reference::parse_normalized(&format!("{domain}/login"));
        let source = Source {
            endpoint,
            reference: nobody.map_err(|error| invalid(error.to_string()))?,
            repository: String::new(),
            credentials: Some(credentials.clone()),
            scope: String::new(),
        };
        let response = self.send(&source, Call::get(uri)).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let text = format!("login attempt to {url} failed with status: {status}");
        Err(match status.as_u16() {
            401 | 403 => RegistryError::Refused(text),
            _ => invalid(text),
        })
    }
}
