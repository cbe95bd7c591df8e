//! `registries`: mirrors of any registry or part of one, by the beginning of an image's name.

use wharf_oci::Reference;

use crate::RegistryError;
use crate::config::mirror_uri;

/// Mirrors of everything whose name begins with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorRule {
    /// A registry, or a registry and the first parts of a path: `quay.io`, `docker.io/library`.
    pub prefix: String,
    /// Where to ask instead, in order: `[http[s]://]HOST[:PORT][/PATH]`. The path stands for the prefix.
    pub mirrors: Vec<String>,
}

/// A mirror of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// `http[s]://HOST[:PORT]`, or `HOST[:PORT]` if nothing was said.
    pub(crate) base: String,
    /// The repository's path there.
    pub(crate) repository: String,
}

impl MirrorRule {
    /// Checks the form.
    ///
    /// # Errors
    /// [`RegistryError::Config`] that names what is wrong.
    pub(crate) fn validate(&self) -> Result<(), RegistryError> {
        let invalid = |why: &str| {
            RegistryError::Config(format!("invalid registries entry {:?}: {why}", self.prefix))
        };
        if self.prefix.is_empty() || self.prefix.contains("://") || self.prefix.ends_with('/') {
            return Err(invalid("a registry, or a registry and a path, is expected"));
        }
        for mirror in &self.mirrors {
            let whole = match mirror.contains("://") {
                true => mirror.clone(),
                false => format!("https://{mirror}"),
            };
            mirror_uri(&whole)?;
        }
        Ok(())
    }

    /// What is behind the prefix in a name (`library/app`), if it begins with it.
    fn rest<'a>(&self, name: &'a str) -> Option<&'a str> {
        let rest = name.strip_prefix(&self.prefix)?;
        match rest {
            "" => Some(""),
            _ => rest.strip_prefix('/'),
        }
    }
}

/// The mirrors of a repository, by the rule with the longest prefix.
pub(crate) fn places(rules: &[MirrorRule], reference: &Reference) -> Vec<Place> {
    let name = reference.name();
    let found = rules
        .iter()
        .filter_map(|rule| Some((rule, rule.rest(&name)?)))
        .max_by_key(|(rule, _)| rule.prefix.len());
    let Some((rule, rest)) = found else {
        return Vec::new();
    };
    let place = |mirror: &String| {
        let (scheme, address) = match mirror.split_once("://") {
            Some((scheme, address)) => (format!("{scheme}://"), address),
            None => (String::new(), mirror.as_str()),
        };
        let (host, path) = address
            .trim_end_matches('/')
            .split_once('/')
            .unwrap_or((address.trim_end_matches('/'), ""));
        let parts = [path, rest].into_iter().filter(|part| !part.is_empty());
        Place {
            base: format!("{scheme}{host}"),
            repository: parts.collect::<Vec<_>>().join("/"),
        }
    };
    let places = rule.mirrors.iter().map(place);
    places
        .filter(|place| !place.repository.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(prefix: &str, mirrors: &[&str]) -> MirrorRule {
        MirrorRule {
            prefix: prefix.to_owned(),
            mirrors: mirrors.iter().map(|mirror| (*mirror).to_owned()).collect(),
        }
    }

    #[test]
    fn the_longest_prefix_decides() {
        let rules = [
            rule("quay.io", &["m.lan"]),
            rule("quay.io/team", &["http://n.lan:5000/cache/", "o.lan"]),
            rule("docker.io/library", &["h.lan/hub"]),
        ];
        let of = |name: &str| -> Vec<String> {
            let reference = Reference::parse_normalized(name).unwrap();
            let places = places(&rules, &reference).into_iter();
            places
                .map(|place| format!("{} {}", place.base, place.repository))
                .collect()
        };
        assert_eq!(of("quay.io/a/b:1"), ["m.lan a/b"]);
        assert_eq!(
            of("quay.io/team/b"),
            ["http://n.lan:5000 cache/b", "o.lan b"]
        );
        assert_eq!(of("quay.io/teamwork/b"), ["m.lan teamwork/b"]);
        assert_eq!(of("debian"), ["h.lan hub/debian"]);
        assert_eq!(of("other/debian"), Vec::<String>::new());
        assert_eq!(of("quay.io.evil.lan/a"), Vec::<String>::new());
    }

    #[test]
    fn malformed_ones_are_refused() {
        assert!(
            rule("quay.io", &["m.lan/x", "http://m.lan"])
                .validate()
                .is_ok()
        );
        assert!(rule("", &["m.lan"]).validate().is_err());
        assert!(rule("https://quay.io", &["m.lan"]).validate().is_err());
        assert!(rule("quay.io", &["ftp://m.lan"]).validate().is_err());
        assert!(rule("quay.io", &["u:p@m.lan"]).validate().is_err());
    }
}
