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

fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
        None => labels.contains_key(wanted),
    }
}
