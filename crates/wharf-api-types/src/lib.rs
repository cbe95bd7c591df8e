//! Engine API JSON exactly as on the wire; no logic.
//!
//! The newest API version (1.56) only: older clients are served by the compatibility layer of
//! `wharf-api-server`. What is null and what is absent follows Go: a slice or map without `omitempty` is `null`
//! when nobody set it, which is an `Option` here; one with `omitempty` is left out when empty. On the way in,
//! unknown fields are passed over and `null` stands for the zero value, as Go reads it ([`go`]).

#![allow(
    missing_docs,
    reason = "a field's meaning is the API file's: shared/reference/engine-api-1.56.yaml"
)]

/// Reads a type whose field is what Go calls embedded: the embedded one's fields stand among its own. `flatten` alone would
/// hide the fields' names from who reads them ([`go`]).
macro_rules! with_embedded {
    ($name:ident $go:literal, $embedded:ident $go_embedded:literal) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
                let value = serde_json::Value::deserialize(reader)?;
                let embedded = crate::go::from_value(&value);
                let embedded = embedded
                    .map_err(|error| error.embedded($go_embedded, $go))
                    .map_err(serde::de::Error::custom)?;
                let own = Self::deserialize(crate::go::reader(&value));
                let own = own.map_err(serde::de::Error::custom)?;
                Ok(Self {
                    $embedded: embedded,
                    ..own
                })
            }
        }
    };
}

mod container;
mod exec;
mod files;
pub mod go;
mod host_config;
mod image;
mod inspect;
mod network;
mod stats;
mod system;
mod volume;

pub use container::*;
pub use exec::*;
pub use files::*;
pub use host_config::*;
pub use image::*;
pub use inspect::*;
pub use network::*;
pub use stats::*;
pub use system::*;
pub use volume::*;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// The newest API version.
pub const API_VERSION: &str = "1.56";
/// The oldest one that is understood.
pub const MIN_API_VERSION: &str = "1.24";

/// Go's zero time, as it is written.
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// A JSON object without fields: Go's `struct{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// A set, as Go writes `map[string]struct{}`.
pub type Set = BTreeMap<String, Empty>;

/// The body of every error.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ErrorResponse {
    pub message: String,
}

/// The body of an answer that only names what was made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IdResponse {
    pub id: String,
}

/// Reads `null` as the zero value.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
