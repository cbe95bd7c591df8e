//! Who asks, and what they may do.

mod htpasswd;
mod token;

use std::time::SystemTime;

use http::header::AUTHORIZATION;
use serde_json::json;

use crate::Error;
use crate::http::Context;
pub(crate) use htpasswd::{Htpasswd, Rule};
pub(crate) use token::{TokenAuth, TokenSettings};

/// What is done to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Pull,
    Push,
    Delete,
    /// Everything there is to do.
    All,
}

impl Action {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Action::Pull => "pull",
            Action::Push => "push",
            Action::Delete => "delete",
            Action::All => "*",
        }
    }
}

/// Something that a request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// `repository` or `registry`.
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) action: Action,
    /// Without it, the request means something else, not nothing.
    pub(crate) is_optional: bool,
}

impl Access {
    pub(crate) fn repository(name: &str, action: Action) -> Access {
        Access {
            kind: "repository",
            name: name.to_owned(),
            action,
            is_optional: false,
        }
    }

    /// The list of all repositories.
    pub(crate) fn catalog() -> Access {
        Access {
            kind: "registry",
            name: "catalog".to_owned(),
            action: Action::All,
            is_optional: false,
        }
    }

    pub(crate) fn optional(self) -> Access {
        Access {
            is_optional: true,
            ..self
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    /// Their name, if there is authentication.
    pub(crate) name: Option<String>,
    /// Optional access that was asked for and is not given.
    refused: Vec<Access>,
}

impl Caller {
    /// Whether the access to another repository that the request may use was given.
    pub(crate) fn may_pull(&self, name: &str) -> bool {
        !self
            .refused
            .iter()
            .any(|access| access.name == name && access.action == Action::Pull)
    }
}

/// How callers are known.
#[derive(Debug)]
pub(crate) enum Auth {
    /// Everybody may do everything.
    Open,
    /// By name and password.
    Basic(Htpasswd),
    /// By a token that another server made.
    Token(Box<TokenAuth>),
}

impl Auth {
    /// Who asks, if they may.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] with the challenge, or [`Error::Denied`].
    pub(crate) async fn check(
        &self,
        context: &Context,
        access: &[Access],
    ) -> Result<Caller, Error> {
        let header = context.header(AUTHORIZATION);
        let given = match self {
            Auth::Open => return Ok(Caller::default()),
            Auth::Basic(file) => {
                let (name, password) =
                    basic(header).ok_or_else(|| unauthorized(file.challenge(), access))?;
                if !file.verify(&name, password).await? {
                    return Err(unauthorized(file.challenge(), access));
                }
                let may = file.rights(&name);
                Identity {
                    name,
                    may: Box::new(may),
                }
            }
            Auth::Token(tokens) => {
                let Some(token) = bearer(header) else {
                    return Err(unauthorized(tokens.challenge(access, None), access));
                };
                match tokens.verify(token, SystemTime::now()) {
                    Ok(claims) => Identity {
                        name: claims.subject.clone(),
                        may: Box::new(move |access: &Access| claims.allow(access)),
                    },
                    Err(why) => {
                        tracing::info!(remote = context.peer, why, "token refused");
                        return Err(unauthorized(
                            tokens.challenge(access, Some("invalid_token")),
                            access,
                        ));
                    }
                }
            }
        };
        let (refused, missing): (Vec<_>, Vec<_>) = access
            .iter()
            .filter(|one| !(given.may)(one))
            .cloned()
            .partition(|one| one.is_optional);
        if let Some(first) = missing.first() {
            return Err(match self {
                Auth::Token(tokens) => {
                    unauthorized(tokens.challenge(access, Some("insufficient_scope")), access)
                }
                _ => Error::Denied(format!(
                    "{} may not {} {}",
                    given.name,
                    first.action.as_str(),
                    first.name
                )),
            });
        }
        Ok(Caller {
            name: Some(given.name).filter(|name| !name.is_empty()),
            refused,
        })
    }
}

/// Who was recognised, and what they may do.
struct Identity<'a> {
    name: String,
    may: Box<dyn Fn(&Access) -> bool + Send + 'a>,
}

fn unauthorized(challenge: String, access: &[Access]) -> Error {
    let detail: Vec<_> = access
        .iter()
        .map(|one| json!({ "Type": one.kind, "Class": "", "Name": one.name, "Action": one.action.as_str() }))
        .collect();
    Error::Unauthorized {
        challenge,
        detail: match detail.is_empty() {
            true => serde_json::Value::Null,
            false => detail.into(),
        },
    }
}

fn scheme<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let (scheme, rest) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case(name).then(|| rest.trim())
}

fn bearer(header: &str) -> Option<&str> {
    scheme(header, "bearer")
}

fn basic(header: &str) -> Option<(String, String)> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(scheme(header, "basic")?)
        .ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}
