//! What `run` and `create` say about a container: flag tables in groups, each beside the code that turns it into its
//! part of the request. The rules and the texts of refusals are those of Docker's client, which checks much before
//! it asks the daemon.

pub mod checks;
pub mod container;
pub mod csv;
pub mod env;
pub mod gpus;
pub mod health;
pub mod mounts;
pub mod network;
pub mod platform;
pub mod ports;
pub mod proxies;
pub mod resources;
pub mod security;

use serde_json::{Map, Value};

/// A JSON object being put together; empty values are left out, as the daemon's defaults are meant.
pub struct Fields(
    /// What was set so far.
    pub Map<String, Value>,
);

impl Fields {
    /// Nothing set.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Fields {
        Fields(Map::new())
    }

    /// Sets a field.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Sets a text that is not empty.
    pub fn text(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.set(name, value);
        }
    }

    /// Sets a number that is not zero.
    pub fn int(&mut self, name: &str, value: i64) {
        if value != 0 {
            self.set(name, value);
        }
    }

    /// Sets a switch that is on.
    pub fn on(&mut self, name: &str, value: bool) {
        if value {
            self.set(name, true);
        }
    }

    /// Sets a list that is not empty.
    pub fn list(&mut self, name: &str, values: &[String]) {
        if !values.is_empty() {
            self.set(name, values.to_vec());
        }
    }

    /// Sets an object that is not empty.
    pub fn object(&mut self, name: &str, value: Map<String, Value>) {
        if !value.is_empty() {
            self.set(name, value);
        }
    }
}

/// `key=value` texts as an object; a text without `=` has the value `""`.
pub fn pairs(values: &[String]) -> Map<String, Value> {
    let split = |text: &String| match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Value::from(value)),
        None => (text.clone(), Value::from("")),
    };
    values.iter().map(split).collect()
}
