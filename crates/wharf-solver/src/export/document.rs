//! An image's configuration with its layers and times (`exporter/containerimage`, `patchImageConfig` and
//! `normalizeLayersAndHistory`).

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use wharf_oci::Platform;

use crate::{Ref, SolveError};

/// The configuration of an image of the tree. `config` is what the frontend says; without it, an empty one. `cache` is
/// what it takes along for other builds.
pub(crate) fn document(
    config: Option<&[u8]>,
    tree: &Ref,
    epoch: Option<i64>,
    cache: Option<String>,
) -> Result<Vec<u8>, SolveError> {
    let mut document = match config {
        Some(bytes) => serde_json::from_slice(bytes).map_err(|error| {
            SolveError::Invalid(format!("failed to parse image config: {error}"))
        })?,
        None => empty(),
    };
    let Value::Object(fields) = &mut document else {
        return Err(SolveError::Invalid("invalid image config".to_owned()));
    };
    let epoch = epoch.and_then(|seconds| Timestamp::from_second(seconds).ok());
    let layers: Vec<Option<Timestamp>> = tree
        .layers()
        .iter()
        .map(|layer| Timestamp::from_second(layer.created?).ok())
        .collect();
    let history = match fields.remove("history") {
        Some(Value::Array(steps)) => steps,
        _ => Vec::new(),
    };
    let history = dated(history, &layers, epoch);
    let last = history.last().and_then(|step| step.get("created").cloned());
    let now = || json!(epoch.unwrap_or_else(Timestamp::now).to_string());
    let created = match epoch {
        Some(epoch) => json!(epoch.to_string()),
        None => last.unwrap_or_else(now),
    };
    let diff_ids: Vec<String> = tree.diff_ids().iter().map(ToString::to_string).collect();
    fields.insert("created".to_owned(), created);
    fields.insert("history".to_owned(), json!(history));
    fields.insert(
        "rootfs".to_owned(),
        json!({ "type": "layers", "diff_ids": diff_ids }),
    );
    if let Some(cache) = cache {
        fields.insert("moby.buildkit.cache.v0".to_owned(), json!(cache));
    }
    serde_json::to_vec(&document).map_err(|error| SolveError::Failed(error.to_string()))
}

fn empty() -> Value {
    let platform = Platform::host();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    json!({
        "architecture": platform.architecture,
        "os": platform.os,
        "config": { "Env": [path], "WorkingDir": "/" },
    })
}

/// The steps with times: a layer's own, and for what made none that of the first new layer, or of the one before. As
/// many make layers as there are.
fn dated(
    mut steps: Vec<Value>,
    layers: &[Option<Timestamp>],
    epoch: Option<Timestamp>,
) -> Vec<Value> {
    let makes_layer = |step: &Value| step.get("empty_layer") != Some(&Value::Bool(true));
    let mut missing = layers.len();
    for step in &mut steps {
        if !makes_layer(step) {
            continue;
        }
        match missing.checked_sub(1) {
            Some(left) => missing = left,
            None => step["empty_layer"] = json!(true),
        }
    }
    for _ in 0..missing {
        let comment = json!({ "created_by": "unknown", "comment": "buildkit.exporter.image.v0" });
        steps.push(comment);
    }
    let mut at = 0;
    for step in &mut steps {
        if !makes_layer(step) {
            continue;
        }
        if step.get("created").is_none()
            && let Some(created) = layers.get(at).copied().flatten()
        {
            step["created"] = json!(epoch.unwrap_or(created).to_string());
        }
        at += 1;
    }
    let mut created: Option<Value> = None;
    let mut is_missing = false;
    for step in &steps {
        match step.get("created") {
            Some(time) => {
                created = Some(time.clone());
                if is_missing {
                    break;
                }
            }
            None => is_missing = true,
        }
    }
    let mut created =
        created.unwrap_or_else(|| json!(epoch.unwrap_or_else(Timestamp::now).to_string()));
    let mut is_missing = false;
    for step in &mut steps {
        match step.get("created") {
            Some(time) if is_missing => created = time.clone(),
            Some(_) => {}
            None => {
                is_missing = true;
                step["created"] = created.clone();
            }
        }
        in_order(step);
    }
    steps
}

/// The fields as Go writes them.
fn in_order(step: &mut Value) {
    let Value::Object(fields) = step else {
        return;
    };
    let mut ordered = Map::new();
    for key in ["created", "created_by", "author", "comment", "empty_layer"] {
        if let Some(value) = fields.remove(key) {
            ordered.insert(key.to_owned(), value);
        }
    }
    ordered.extend(std::mem::take(fields));
    *fields = ordered;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    #[test]
    fn steps_get_the_times_of_layers() {
        let steps = vec![
            json!({ "created": "2020-01-01T00:00:00Z", "created_by": "base" }),
            json!({ "created_by": "ENV a", "empty_layer": true }),
            json!({ "created_by": "RUN x" }),
            json!({ "created_by": "CMD y", "empty_layer": true }),
        ];
        let layers = [None, at(100)];
        let dated = dated(steps, &layers, None);
        let times: Vec<&str> = dated
            .iter()
            .filter_map(|step| step["created"].as_str())
            .collect();
        let own = "1970-01-01T00:01:40Z";
        assert_eq!(times, ["2020-01-01T00:00:00Z", own, own, own]);
    }

    #[test]
    fn there_are_as_many_steps_as_layers() {
        let steps = vec![json!({ "created_by": "a" }), json!({ "created_by": "b" })];
        assert_eq!(
            dated(steps.clone(), &[at(1)], None)[1]["empty_layer"],
            json!(true)
        );
        assert_eq!(dated(steps.clone(), &[at(1); 3], None).len(), 3);
        let fixed = dated(steps, &[at(1); 2], at(7));
        assert_eq!(fixed[1]["created"], json!("1970-01-01T00:00:07Z"));
    }
}
