//! What a build may do beyond the ordinary, if its client and the daemon both allow it (`--allow`).

use crate::SolveError;

/// One such thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entitlement {
    /// The host's network.
    NetworkHost,
    /// Commands without a sandbox.
    SecurityInsecure,
}

impl Entitlement {
    /// Reads BuildKit's word.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, SolveError> {
        match text {
            "network.host" => Ok(Self::NetworkHost),
            "security.insecure" => Ok(Self::SecurityInsecure),
            other => Err(SolveError::Invalid(format!("invalid entitlement: {other}"))),
        }
    }

    /// BuildKit's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::NetworkHost => "network.host",
            Self::SecurityInsecure => "security.insecure",
        }
    }
}
