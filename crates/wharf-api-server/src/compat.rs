//! Replies for older clients: one function for each version step, from the newest down.
//!
//! Handlers know the newest API only. A step takes a JSON document of the newer version and makes it what the
//! older one promised.

use serde_json::{Value, json};

use crate::version::ApiVersion;

/// `GET /containers/{id}/json` as `version` has it.
pub(crate) fn container_inspect(document: &mut Value, version: ApiVersion) {
    if version.before(52) {
        inspect_before_52(document);
    }
}

/// 1.52 took the default bridge's endpoint out of `NetworkSettings` (deprecated since 1.9).
fn inspect_before_52(document: &mut Value) {
    let settings = &mut document["NetworkSettings"];
    let bridge = settings["Networks"]["bridge"].clone();
    let legacy = [
        ("EndpointID", json!("")),
        ("Gateway", json!("")),
        ("GlobalIPv6Address", json!("")),
        ("GlobalIPv6PrefixLen", json!(0)),
        ("IPAddress", json!("")),
        ("IPPrefixLen", json!(0)),
        ("IPv6Gateway", json!("")),
        ("MacAddress", json!("")),
    ];
    for (field, zero) in legacy {
        settings[field] = bridge.get(field).cloned().unwrap_or(zero);
    }
    settings["Bridge"] = json!("");
    settings["HairpinMode"] = json!(false);
    settings["LinkLocalIPv6Address"] = json!("");
    settings["LinkLocalIPv6PrefixLen"] = json!(0);
    settings["SecondaryIPAddresses"] = Value::Null;
    settings["SecondaryIPv6Addresses"] = Value::Null;
}

/// The body of `POST /containers/{id}/update` of a client of `version`.
pub(crate) fn update(resources: &mut wharf_api_types::Resources, version: ApiVersion) {
    if version.before(40) {
        // A client of then sends 0 for nothing.
        resources.pids_limit = None;
    }
    if !version.before(42) {
        resources.kernel_memory = 0;
    }
    // Both 0 and anything below are without limit.
    if resources.pids_limit.is_some_and(|limit| limit <= 0) {
        resources.pids_limit = Some(0);
    }
}

/// A document of `GET /containers/{id}/stats` as `version` has it.
pub(crate) fn stats(document: &mut Value, version: ApiVersion) {
    if version.before(52)
        && let Some(fields) = document.as_object_mut()
    {
        fields.shift_remove("os_type");
    }
}

/// A row of `GET /containers/json` as `version` has it.
pub(crate) fn container_summary(row: &mut Value, version: ApiVersion) {
    if version.before(52)
        && let Some(fields) = row.as_object_mut()
    {
        fields.shift_remove("Health");
    }
}

/// `GET /images/{name}/json` as `version` has it.
pub(crate) fn image_inspect(document: &mut Value, version: ApiVersion) {
    if version.before(44) {
        document["VirtualSize"] = document["Size"].clone();
    }
}

/// A row of `GET /images/json` as `version` has it.
pub(crate) fn image_summary(row: &mut Value, version: ApiVersion) {
    if version.before(44) {
        row["VirtualSize"] = row["Size"].clone();
    }
    if version.before(43) {
        // Dangling images had names before.
        for (field, none) in [
            ("RepoTags", "<none>:<none>"),
            ("RepoDigests", "<none>@<none>"),
        ] {
            if row[field].as_array().is_none_or(Vec::is_empty) {
                row[field] = json!([none]);
            }
        }
    }
}
