//! What a user is known by at a registry.

use std::fmt;

/// Credentials for one registry, as `X-Registry-Auth` carries them.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// User name and password.
    Basic {
        /// The user.
        username: String,
        /// The password or personal token.
        password: String,
    },
    /// An OAuth2 refresh token, traded for access tokens with a POST.
    Identity(String),
    /// A bearer token that is sent as it is.
    Bearer(String),
}

// Secrets never reach a log.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::Basic { .. } => "Basic(..)",
            Credentials::Identity(_) => "Identity(..)",
            Credentials::Bearer(_) => "Bearer(..)",
        })
    }
}
