//! Whether somebody may use a registry: `docker login`.

use http::header::AUTHORIZATION;
use http::{StatusCode, Uri};
use wharf_oci::Reference;

use crate::auth::Tokens;
use crate::challenge::Challenge;
use crate::http_client::Call;
use crate::warnings::Warnings;
use crate::{Client, Credentials, RegistryError, Source};

impl Client {
    /// Shows the registry `domain` the credentials, if there are some: others are asked whether nobody may come in. A token server
    /// may give a refresh token for them, which is to be kept in the password's place.
    ///
    /// # Errors
    /// [`RegistryError::Unauthorized`] in Docker's words if it does not take them; others if it cannot be asked.
    pub async fn login(
        &self,
        domain: &str,
        credentials: Option<&Credentials>,
    ) -> Result<Option<String>, RegistryError> {
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
        let mut call = Call::get(uri);
        if let Some(Challenge::Bearer(bearer)) = &reached.challenge
            && let Some(credentials) = credentials
        {
            let (value, refresh) = Tokens::login(&self.0.http, bearer, credentials).await?;
            call.headers
                .extend(value.map(|value| (AUTHORIZATION, value)));
            let response = self.0.http.send(&call).await?;
            return answered(&url, response.status()).map(|()| refresh);
        }
        let nobody = Reference::parse_normalized(&format!("{domain}/login"));
        let source = Source {
            endpoint,
            reference: nobody.map_err(|error| invalid(error.to_string()))?,
            repository: String::new(),
            credentials: credentials.cloned(),
            scope: String::new(),
            warnings: Warnings::default(),
        };
        let response = self.send(&source, call).await?;
        answered(&url, response.status()).map(|()| None)
    }
}

fn answered(url: &str, status: StatusCode) -> Result<(), RegistryError> {
    if status.is_success() {
        return Ok(());
    }
    let text = format!("login attempt to {url} failed with status: {status}");
    Err(match status.as_u16() {
        401 | 403 => RegistryError::Refused(text),
        _ => RegistryError::Protocol {
            url: url.to_owned(),
            message: text,
        },
    })
}
