//! What a group is called.

use crate::CgroupError;
use crate::systemd::Scope;

/// A group's name, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// A path below the hierarchies' roots, made of folders by ourselves.
    Folder(String),
    /// One that systemd makes.
    Scope(Scope),
}

impl Name {
    /// `SLICE:PREFIX:NAME` is systemd's, as runc writes it; all else is a path. One that begins with a slash always is.
    pub(crate) fn parse(text: &str) -> Result<Self, CgroupError> {
        if !text.starts_with('/')
            && let [slice, prefix, name] = text.split(':').collect::<Vec<_>>().as_slice()
        {
            return Scope::new(slice, prefix, name).map(Self::Scope);
        }
        let path = clean(text);
        // The top of the hierarchy is everybody's: what is done to a group must never be done to it.
        if path.is_empty() {
            return Err(CgroupError::Top);
        }
        Ok(Self::Folder(path))
    }

    /// Its path, without a slash at the beginning.
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Folder(path) => path,
            Self::Scope(scope) => scope.path(),
        }
    }

    pub(crate) fn scope(&self) -> Option<&Scope> {
        match self {
            Self::Folder(_) => None,
            Self::Scope(scope) => Some(scope),
        }
    }
}

/// `path` without slashes at its ends, and without a way out of the hierarchy (runc `utils.CleanPath`).
fn clean(path: &str) -> String {
    wharf_go::path::names(&format!("/{path}")).join("/")
}

#[cfg(test)]
mod tests {
    use super::{Name, clean};

    #[test]
    fn no_path_leads_out() {
        let cleaned = ["/wharf/x/", "../../tmp/x", "/a/../../b/./c", "..", ""].map(clean);
        assert_eq!(cleaned, ["wharf/x", "tmp/x", "b/c", "", ""]);
        assert!(Name::parse("/..").is_err(), "the top is nobody's group");
    }

    #[test]
    fn a_scope_has_three_parts() {
        let path = |text| Name::parse(text).map(|name| name.path().to_owned());
        let scope = path("a.slice:docker:x").unwrap_or_default();
        assert_eq!(scope, "a.slice/docker-x.scope");
        assert_eq!(
            path("/a.slice:docker:x").unwrap_or_default(),
            "a.slice:docker:x"
        );
        assert_eq!(path("a:b").unwrap_or_default(), "a:b");
        assert!(path("a/b.slice:docker:x").is_err());
    }
}
