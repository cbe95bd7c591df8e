//! A volume's name, checked once.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::VolumeError;

/// The longest name that a folder can have, in bytes (`NAME_MAX`).
const LONGEST: usize = 255;

/// A name that is safe as one path component: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, and no longer than one can be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeName(String);

impl VolumeName {
    /// Checks `name` (moby `volume/local`, `names.RestrictedNamePattern`).
    ///
    /// # Errors
    /// In dockerd's words, if it is no volume name.
    pub fn parse(name: &str) -> Result<Self, VolumeError> {
        let mut bytes = name.bytes();
        let first = bytes
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        let rest = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        match (name.len(), first && rest) {
            (length, true) if length > LONGEST => {
                let too_long = std::io::Error::from(rustix::io::Errno::NAMETOOLONG);
                Err(VolumeError::folder("create", name.as_ref())(too_long))
            }
            (1, _) => Err(VolumeError::ShortName(name.to_owned())),
            (_, true) => Ok(Self(name.to_owned())),
            (_, false) => Err(VolumeError::InvalidName(name.to_owned())),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for VolumeName {
    type Error = VolumeError;

    fn try_from(name: String) -> Result<Self, VolumeError> {
        Self::parse(&name)
    }
}

impl From<VolumeName> for String {
    fn from(name: VolumeName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_a_folder() {
        assert!(VolumeName::parse(&"a".repeat(LONGEST)).is_ok());
        let error = VolumeName::parse(&"a".repeat(LONGEST + 1)).unwrap_err();
        assert!(matches!(error, VolumeError::Folder { .. }), "{error}");
    }
}
