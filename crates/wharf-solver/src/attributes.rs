//! Attributes that are on or off: of exporters, of caches, of what is said of a result.

use std::collections::BTreeMap;

use crate::SolveError;

/// Whether an attribute is on; `None` if it is not there. One without a value is on; the others are read as Go reads them
/// (`strconv.ParseBool`).
///
/// # Errors
/// BuildKit's words, if it says neither.
pub fn flag(attrs: &BTreeMap<String, String>, name: &str) -> Result<Option<bool>, SolveError> {
    attrs.get(name).map(|text| read(name, text)).transpose()
}

/// Whether an attribute is there and on.
///
/// # Errors
/// As [`flag`].
pub(crate) fn is_on(attrs: &BTreeMap<String, String>, name: &str) -> Result<bool, SolveError> {
    Ok(flag(attrs, name)?.unwrap_or(false))
}

/// What the value of an attribute says.
///
/// # Errors
/// As [`flag`].
pub(crate) fn read(name: &str, text: &str) -> Result<bool, SolveError> {
    if text.is_empty() {
        return Ok(true);
    }
    wharf_go::parse_bool(text).map_err(|error| {
        SolveError::Invalid(format!("non-bool value specified for {name}: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_gos() {
        let said = |text: &str| {
            let attrs = [("push".to_owned(), text.to_owned())].into();
            flag(&attrs, "push").map_err(|error| error.to_string())
        };
        for text in ["", "1", "t", "True", "TRUE"] {
            assert_eq!(said(text), Ok(Some(true)), "{text}");
        }
        for text in ["0", "F", "False", "false"] {
            assert_eq!(said(text), Ok(Some(false)), "{text}");
        }
        assert!(
            said("yes")
                .unwrap_err()
                .starts_with("non-bool value specified for push")
        );
        assert_eq!(flag(&BTreeMap::new(), "push").unwrap(), None);
    }
}
