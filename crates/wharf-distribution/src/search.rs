//! Docker's v1 search: `GET /v1/search?q=TERM&n=COUNT` at `index.docker.io` or the registry that the term names.

use http::HeaderValue;
use http::header::AUTHORIZATION;
use serde::Deserialize;

use crate::answer::{RegistryAnswer, form};
use crate::config::host_of;
use crate::http_client::Call;
use crate::{Client, Credentials, RegistryError};

const HUB_INDEX: &str = "index.docker.io";
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// One result of a search.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct SearchHit {
    /// Name of the repository.
    #[serde(default)]
    pub name: String,
    /// What it is, in its owner's words.
    #[serde(default, deserialize_with = "null_default")]
    pub description: String,
    /// How many users like it.
    #[serde(default)]
    pub star_count: i64,
    /// Whether Docker vouches for it.
    #[serde(default)]
    pub is_official: bool,
    /// Whether it is built automatically; obsolete, always false today.
    #[serde(default)]
    pub is_automated: bool,
}

fn null_default<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Client {
    /// Searches for `term`, which may begin with a registry (`quay.io/debian`); at most `limit` results, 1 to 100.
    ///
    /// # Errors
    /// If the term is malformed, or the registry cannot be reached or has no search.
    pub async fn search(
        &self,
        term: &str,
        limit: usize,
        credentials: Option<&Credentials>,
    ) -> Result<Vec<SearchHit>, RegistryError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            results: Option<Vec<SearchHit>>,
        }
        if term.contains("://") {
            return Err(RegistryError::Config(format!(
                "invalid repository name: repository name ({term}) should not have a scheme"
            )));
        }
        let (host, remote) = split(term);
        let query = form(&[("q", remote), ("n", &limit.to_string())]);
        let mut last = None;
        for scheme in ["https", "http"] {
            if scheme == "http" && !self.0.http.config().is_insecure(host) {
                continue;
            }
            match self
                .search_at(&format!("{scheme}://{host}/v1/search?{query}"), credentials)
                .await
            {
                Ok(body) => {
                    let answer: Answer =
                        serde_json::from_slice(&body).map_err(|error| RegistryError::Protocol {
                            url: format!("{scheme}://{host}/v1/search"),
                            message: format!("error decoding search response: {error}"),
                        })?;
                    return Ok(answer.results.unwrap_or_default());
                }
                Err(error @ RegistryError::Unreachable { .. }) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| RegistryError::Config("no registry endpoint".to_owned())))
    }

    async fn search_at(
        &self,
        address: &str,
        credentials: Option<&Credentials>,
    ) -> Result<bytes::Bytes, RegistryError> {
        let uri: http::Uri = address
            .parse()
            .map_err(|_| RegistryError::Config(format!("invalid registry address {address:?}")))?;
        let mut call = Call::get(uri.clone());
        if let Some(Credentials::Basic { username, password }) = credentials {
            use base64::Engine as _;
            let value =
                base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
            if let Ok(value) = HeaderValue::from_str(&format!("Basic {value}")) {
                call.headers.insert(AUTHORIZATION, value);
            }
        }
        let response = self.0.http.send(&call).await?;
        if !response.status().is_success() {
            let answer = RegistryAnswer::read(&self.0.http, &uri, response).await?;
            return Err(RegistryError::Status {
                status: answer.status.as_u16(),
                message: format!("Unexpected status code {}", answer.status.as_u16()),
                retry_after: None,
            });
        }
        self.0.http.body(&uri, response, MAX_ANSWER).await
    }
}

/// Whom to ask for what: as in references, a first component with a dot, a colon, or `localhost` is a registry.
fn split(term: &str) -> (&str, &str) {
    let (host, remote) = match term.split_once('/') {
        Some((host, remote)) if host.contains(['.', ':']) || host_of(host) == "localhost" => {
            (host, remote)
        }
        _ => ("docker.io", term),
    };
    match host {
        "docker.io" | HUB_INDEX => (HUB_INDEX, remote.strip_prefix("library/").unwrap_or(remote)),
        _ => (host, remote),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn asks_the_right_host() {
        assert_eq!(split("debian"), ("index.docker.io", "debian"));
        assert_eq!(split("library/debian"), ("index.docker.io", "debian"));
        assert_eq!(split("user/app"), ("index.docker.io", "user/app"));
        assert_eq!(split("localhost:5000/app"), ("localhost:5000", "app"));
        assert_eq!(split("quay.io/a/b"), ("quay.io", "a/b"));
    }
}
