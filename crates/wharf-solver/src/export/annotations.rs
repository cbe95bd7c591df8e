//! Annotations that an exporter is asked to write (`exporter/containerimage/annotations.go`): `annotation.KEY`,
//! `annotation-manifest[PLATFORM].KEY`, `annotation-index.KEY` and so on.

use std::collections::BTreeMap;

use wharf_oci::Platform;

use crate::SolveError;

/// Where one is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Manifest,
    ManifestDescriptor,
    Index,
    IndexDescriptor,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Annotations(Vec<One>);

#[derive(Debug)]
struct One {
    place: Place,
    /// Only for this platform.
    platform: Option<String>,
    key: String,
    value: String,
}

impl Annotations {
    /// Reads them from an exporter's attributes.
    ///
    /// # Errors
    /// If one is malformed.
    pub(crate) fn read(attrs: &BTreeMap<String, String>) -> Result<Self, SolveError> {
        let mut all = Vec::new();
        for (name, value) in attrs {
            if let Some(rest) = name.strip_prefix("annotation") {
                all.push(One::read(name, rest, value)?);
            }
        }
        Ok(Self(all))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn at(&self, place: Place, key: &str) -> BTreeMap<String, String> {
        let fits = |one: &&One| {
            one.place == place && one.platform.as_ref().is_none_or(|platform| platform == key)
        };
        let found = self.0.iter().filter(fits);
        found
            .map(|one| (one.key.clone(), one.value.clone()))
            .collect()
    }

    /// Those of the manifest for the platform of that key.
    pub(crate) fn manifest(&self, key: &str) -> BTreeMap<String, String> {
        self.at(Place::Manifest, key)
    }

    /// Those of its descriptor in an index.
    pub(crate) fn manifest_descriptor(&self, key: &str) -> BTreeMap<String, String> {
        self.at(Place::ManifestDescriptor, key)
    }

    /// Those of the index.
    pub(crate) fn index(&self) -> BTreeMap<String, String> {
        self.at(Place::Index, "")
    }

    /// Those of the index' descriptor in an OCI layout.
    pub(crate) fn index_descriptor(&self) -> BTreeMap<String, String> {
        self.at(Place::IndexDescriptor, "")
    }

    /// Whether some are for an index, which there must be then.
    pub(crate) fn of_index(&self) -> bool {
        let is_of_index = |one: &One| matches!(one.place, Place::Index | Place::IndexDescriptor);
        self.0.iter().any(is_of_index)
    }
}

impl One {
    fn read(name: &str, rest: &str, value: &str) -> Result<Self, SolveError> {
        let invalid = || SolveError::Invalid(format!("invalid annotation {name:?}"));
        let end = rest.find(['.', '[']).ok_or_else(invalid)?;
        let place = match &rest[..end] {
            "" | "-manifest" => Place::Manifest,
            "-manifest-descriptor" => Place::ManifestDescriptor,
            "-index" => Place::Index,
            "-index-descriptor" => Place::IndexDescriptor,
            _ => return Err(invalid()),
        };
        let (platform, key) = match rest[end..].strip_prefix('[') {
            Some(inside) => {
                let (platform, key) = inside.split_once("].").ok_or_else(invalid)?;
                let platform = Platform::parse(platform).map_err(|error| {
                    SolveError::Invalid(format!("invalid annotation {name:?}: {error}"))
                })?;
                (Some(crate::frontend::key_of(&platform)), key)
            }
            None => (None, &rest[end + 1..]),
        };
        if key.is_empty() {
            return Err(invalid());
        }
        Ok(Self {
            place,
            platform,
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_have_places() {
        let attrs = [
            ("annotation.a.b", "1"),
            ("annotation-manifest[linux/arm64].c", "2"),
            ("annotation-index.d", "3"),
            ("annotation-manifest-descriptor.e", "4"),
            ("name", "x"),
        ];
        let attrs = attrs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let all = Annotations::read(&attrs.into()).unwrap();
        assert_eq!(all.manifest("linux/amd64").len(), 1);
        assert_eq!(all.manifest("linux/arm64")["c"], "2");
        assert_eq!(all.index()["d"], "3");
        assert_eq!(all.manifest_descriptor("linux/amd64")["e"], "4");
        assert!(all.of_index());
        for wrong in [
            "annotation",
            "annotation.",
            "annotation-x.y",
            "annotation[q",
        ] {
            let attrs = [(wrong.to_owned(), String::new())];
            assert!(Annotations::read(&attrs.into()).is_err(), "{wrong}");
        }
    }
}
