//! Docker's filters: a key has several values; mostly any of them may fit, for labels all must.

use std::collections::{BTreeMap, BTreeSet};

use crate::EngineError;

/// Filters of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(pub BTreeMap<String, BTreeSet<String>>);

impl Filters {
    /// Whether there is no filter at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one value.
    pub fn add(&mut self, key: &str, value: &str) {
        self.0
            .entry(key.to_owned())
            .or_default()
            .insert(value.to_owned());
    }

    /// Refuses keys that are not among `known`.
    ///
    /// # Errors
    /// Docker's `invalid filter 'x'`, class `InvalidParameter`.
    pub fn check(&self, known: &[&str]) -> Result<(), EngineError> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(EngineError::Invalid(format!("invalid filter '{key}'"))),
            None => Ok(()),
        }
    }

    /// Whether there is a value for `key`.
    pub fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|values| !values.is_empty())
    }

    /// The values of `key`.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// Whether any value of `key` fits, or there is none.
    pub fn any(&self, key: &str, fits: impl FnMut(&str) -> bool) -> bool {
        !self.has(key) || self.values(key).any(fits)
    }

    /// The values of `key` as the patterns that they are of names and ids: read once, to be held against many.
    pub(crate) fn patterns(&self, key: &str) -> Patterns {
        let pattern = |text: &str| (text.to_owned(), regex::Regex::new(text).ok());
        Patterns(self.values(key).map(pattern).collect())
    }

    /// Whether all values of `key` (`label` or `label=value`) are among `labels`.
    pub fn labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.values(key).all(|wanted| has_label(labels, wanted))
    }

    /// Whether no value of `key` is among `labels` (`label!`).
    pub fn no_labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        !self.values(key).any(|wanted| has_label(labels, wanted))
    }

    /// The one boolean value of `key`.
    ///
    /// # Errors
    /// Docker's `invalid filter 'x=[…]'`.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, EngineError> {
        let invalid = || {
            let values: Vec<&str> = self.values(key).collect();
            EngineError::Invalid(format!("invalid filter '{key}=[{}]'", values.join(" ")))
        };
        let mut found = None;
        for value in self.values(key) {
            let value = match value {
                "1" | "true" => true,
                "0" | "false" => false,
                _ => return Err(invalid()),
            };
            if found.is_some_and(|found| found != value) {
                return Err(invalid());
            }
            found = Some(value);
        }
        Ok(found)
    }
}

/// Values of a filter as moby's `filters.Args.Match` takes them.
pub(crate) struct Patterns(Vec<(String, Option<regex::Regex>)>);

impl Patterns {
    /// Whether one of them is the text, or a regular expression that is somewhere in it; or there is none.
    pub(crate) fn fit(&self, text: &str) -> bool {
        let fits = |(pattern, expression): &(String, Option<regex::Regex>)| {
            pattern == text || expression.as_ref().is_some_and(|one| one.is_match(text))
        };
        self.0.is_empty() || self.0.iter().any(fits)
    }

    /// The same for a container's name, with and without the slash that Docker's names begin with.
    pub(crate) fn fit_name(&self, name: &str) -> bool {
        self.fit(name) || self.fit(&format!("/{name}"))
    }
}

fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
        None => labels.contains_key(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_docker_users_write() {
        for (pattern, fits) in [
            ("web", true),
            ("^web$", false),
            ("^web", true),
            ("^/web", true),
            ("^/web-1$", true),
            ("1$", true),
            ("eb", true),
            ("w.*1", true),
            ("^w.*2$", false),
            ("x", false),
            ("^/web.*1$", true),
            ("^w[aeiou]b-[0-9]+$", true),
            ("^(db|web)-1$", true),
            ("^(db|web)-2$", false),
            ("(", false),
        ] {
            let mut filters = Filters::default();
            filters.add("name", pattern);
            let patterns = filters.patterns("name");
            assert_eq!(patterns.fit_name("web-1"), fits, "{pattern}");
            assert!(!patterns.fit("db-7") && filters.patterns("id").fit("db-7"));
        }
    }
}
