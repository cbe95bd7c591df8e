//! Tokens: fetched per scope, kept until shortly before they expire, fetched anew when a registry refuses one.
//!
//! Distribution's token specification (`docs/spec/auth/token.md`, `oauth.md`): with an identity token it is a
//! POST, else a GET, with the user's name and password if there are some.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Uri};
use serde::Deserialize;

use crate::answer::{self, RegistryAnswer};
use crate::challenge::{Bearer, Challenge};
use crate::http_client::{Call, Http};
use crate::{Credentials, RegistryError};

/// A token server that answers more than this is none.
const MAX_TOKEN_SIZE: u64 = 1024 * 1024;
/// What the specification says for an answer without `expires_in`.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// No token is used for longer, whatever its server says, which may be any number.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// All tokens in use.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<HashMap<Key, Token>>);

#[derive(PartialEq, Eq, Hash, Clone)]
struct Key {
    realm: String,
    service: String,
    scope: String,
    /// Whose token it is: a digest, so that no secret is a key.
    who: Option<wharf_oci::Digest>,
}

#[derive(Clone)]
struct Token {
    value: String,
    until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
    /// Given to who asks for it at a login.
    #[serde(default)]
    refresh_token: String,
}

/// What a token is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Requests of the next minutes.
    Requests,
    /// To be known later, without the password.
    Login,
}

impl Tokens {
    /// The `Authorization` that answers `challenge` for `scope`; `None` if the request is to be tried without.
    ///
    /// `fresh` says that the one in the cache was refused.
    pub(crate) async fn authorization(
        &self,
        http: &Http,
        challenge: &Challenge,
        scope: &str,
        credentials: Option<&Credentials>,
        fresh: bool,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        match (challenge, credentials) {
            (_, Some(Credentials::Bearer(token))) => Ok(header(&format!("Bearer {token}"))),
            (Challenge::Basic, Some(Credentials::Basic { username, password })) => {
                Ok(header(&basic(username, password)))
            }
            (Challenge::Basic, _) => Ok(None),
            (Challenge::Bearer(bearer), credentials) => {
                let token = self.token(http, bearer, scope, credentials, fresh).await?;
                Ok(header(&format!("Bearer {token}")))
            }
        }
    }

    /// The `Authorization` for a login, and the refresh token that stands for the password from then on, if the token
    /// server gives one.
    pub(crate) async fn login(
        http: &Http,
        bearer: &Bearer,
        credentials: &Credentials,
    ) -> Result<(Option<HeaderValue>, Option<String>), RegistryError> {
        let call = token_call(bearer, "", Some(credentials), Purpose::Login)?;
        let answer = fetch(http, &call).await?;
        let token = match answer.token.is_empty() {
            true => &answer.access_token,
            false => &answer.token,
        };
        let refresh = Some(answer.refresh_token).filter(|token| !token.is_empty());
        Ok((header(&format!("Bearer {token}")), refresh))
    }

    async fn token(
        &self,
        http: &Http,
        bearer: &Bearer,
        scope: &str,
        credentials: Option<&Credentials>,
        fresh: bool,
    ) -> Result<String, RegistryError> {
        let key = Key {
            realm: bearer.realm.clone(),
            service: bearer.service.clone(),
            scope: scope.to_owned(),
            who: credentials.map(fingerprint),
        };
        if !fresh && let Some(token) = self.cached(&key) {
            return Ok(token);
        }
        let call = token_call(bearer, scope, credentials, Purpose::Requests)?;
        let answer = fetch(http, &call).await?;
        let life = answer.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs);
        let life = life.min(LONGEST_LIFE);
        let value = if answer.token.is_empty() {
            answer.access_token
        } else {
            answer.token
        };
        let token = Token {
            value: value.clone(),
            // Not in the last moments of its life: a request takes time too.
            until: Instant::now() + life.mul_f32(0.9),
        };
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, token| token.until > Instant::now());
        tokens.insert(key, token);
        Ok(value)
    }

    fn cached(&self, key: &Key) -> Option<String> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let token = tokens.get(key)?;
        (token.until > Instant::now()).then(|| token.value.clone())
    }
}

async fn fetch(http: &Http, call: &Call) -> Result<Answer, RegistryError> {
    let response = http.send(call).await?;
    let status = response.status();
    let url = call.uri.to_string();
    if !status.is_success() {
        let answer = RegistryAnswer::read(http, &call.uri, response).await?;
        if matches!(status.as_u16(), 401 | 403) {
            return Err(RegistryError::Unauthorized {
                method: call.verb(),
                url,
                cause: answer.text(),
            });
        }
        return Err(answer.into_error());
    }
    let body = http.body(&call.uri, response, MAX_TOKEN_SIZE).await?;
    let answer: Answer =
        serde_json::from_slice(&body).map_err(|error| RegistryError::Protocol {
            url: url.clone(),
            message: format!("unable to decode token response: {error}"),
        })?;
    if answer.token.is_empty() && answer.access_token.is_empty() {
        return Err(RegistryError::Protocol {
            url,
            message: "authorization server did not include a token in the response".to_owned(),
        });
    }
    Ok(answer)
}

fn token_call(
    bearer: &Bearer,
    scope: &str,
    credentials: Option<&Credentials>,
    purpose: Purpose,
) -> Result<Call, RegistryError> {
    let invalid = || RegistryError::Protocol {
        url: bearer.realm.clone(),
        message: "token realm is not an address".to_owned(),
    };
    let mut query = vec![("service", bearer.service.as_str())];
    if let Some(Credentials::Identity(token)) = credentials {
        if !scope.is_empty() {
            query.push(("scope", scope));
        }
        query.push(("client_id", "docker"));
        query.push(("grant_type", "refresh_token"));
        query.push(("refresh_token", token));
        let mut call = Call::get(bearer.realm.parse().map_err(|_| invalid())?);
        call.method = Method::POST;
        call.secret = true;
        call.body = Bytes::from(answer::form(&query));
        call.headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        return Ok(call);
    }
    let scopes = scope.split(' ').filter(|one| !one.is_empty());
    query.extend(scopes.map(|one| ("scope", one)));
    if let Some(Credentials::Basic { username, .. }) = credentials {
        query.push(("account", username));
    }
    if purpose == Purpose::Login {
        query.push(("client_id", "docker"));
        query.push(("offline_token", "true"));
    }
    let separator = if bearer.realm.contains('?') { '&' } else { '?' };
    let address = format!("{}{separator}{}", bearer.realm, answer::form(&query));
    let uri: Uri = address.parse().map_err(|_| invalid())?;
    let mut call = Call::get(uri);
    if let Some(Credentials::Basic { username, password }) = credentials
        && let Some(value) = header(&basic(username, password))
    {
        call.headers.insert(AUTHORIZATION, value);
    }
    Ok(call)
}

fn basic(username: &str, password: &str) -> String {
    format!(
        "Basic {}",
        STANDARD.encode(format!("{username}:{password}"))
    )
}

fn header(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn fingerprint(credentials: &Credentials) -> wharf_oci::Digest {
    let text = match credentials {
        Credentials::Basic { username, password } => format!("basic\0{username}\0{password}"),
        Credentials::Identity(token) => format!("identity\0{token}"),
        Credentials::Bearer(token) => format!("bearer\0{token}"),
    };
    wharf_oci::Digest::sha256(text.as_bytes())
}
