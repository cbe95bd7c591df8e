//! One file per command. Each has a `COMMAND` (name, help, flags) and the function that does it.

pub mod api_socket;
pub mod attach;
pub mod build;
pub mod build_context;
mod build_session;
pub mod builder;
pub mod check;
pub mod commit;
pub mod completion;
pub mod container;
pub mod context;
pub mod cp;
pub mod cp_paths;
pub mod create;
pub mod daemon;
pub mod df;
pub mod dial_stdio;
pub mod diff;
pub mod events;
pub mod exec;
pub mod export;
pub mod history;
pub mod image;
pub mod images;
pub mod images_tree;
pub mod import;
pub mod info;
pub mod inspect;
mod inspect_defaults;
pub mod kill;
pub mod load;
pub mod login;
pub mod logs;
pub mod manifest;
pub mod network;
pub mod pause;
pub mod port;
pub mod prune;
pub mod ps;
pub mod pull;
pub mod push;
pub mod registry;
pub mod rename;
pub mod restart;
pub mod rm;
pub mod rmi;
pub mod root;
pub mod run;
pub mod save;
pub mod search;
pub mod send;
pub mod serve_local;
pub mod start;
pub mod stats;
pub mod stop;
pub mod system;
pub mod tag;
pub mod tags;
pub mod top;
pub mod update;
pub mod version;
pub mod volume;
pub mod wait;

use serde_json::{Map, Value};

/// The `filters` parameter out of `--filter KEY=VALUE` texts: `{"key":{"value":true}}`; `None` when there are none.
pub(crate) fn filters(values: &[String]) -> Option<String> {
    let mut map = Map::new();
    for (key, value) in values.iter().filter_map(|text| text.split_once('=')) {
        let entry = map
            .entry(key.trim().to_lowercase())
            .or_insert_with(|| Value::Object(Map::new()));
        if let Some(entry) = entry.as_object_mut() {
            entry.insert(value.trim().to_owned(), true.into());
        }
    }
    map.sort_keys();
    (!map.is_empty()).then(|| Value::Object(map).to_string())
}

/// Help of `--format` for lists.
pub(crate) const FORMAT_HELP: &str = "Show by a template:\n'table': a table with headers (default)\n'table TEMPLATE': a table by a Go template\n'json': JSON, one line each\n'TEMPLATE': a Go template";
/// Help of `--format` for single documents.
pub(crate) const DOCUMENT_HELP: &str =
    "Show by a template:\n'json': JSON\n'TEMPLATE': a Go template";
