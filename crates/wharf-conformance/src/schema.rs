//! Holds answers against the Engine API's description: types, required fields, enumerations.

use std::cmp::Reverse;
use std::sync::OnceLock;

use serde_json::Value;

/// The description, made from the swagger file by `api/strip.py`.
fn api() -> &'static Value {
    static API: OnceLock<Value> = OnceLock::new();
    API.get_or_init(|| {
        serde_json::from_str(include_str!("../api/engine-api.json")).unwrap_or(Value::Null)
    })
}

/// What is wrong with the JSON `body` as an answer of `status` to `method target`. Empty if nothing is, or
/// if the description says nothing of it.
pub fn faults(method: &str, target: &str, status: u16, body: &Value) -> Vec<String> {
    let path = target.split('?').next().unwrap_or_default();
    let Some(operation) = operation(method, path) else {
        return vec![format!("{method} {path} is not in the API")];
    };
    let responses = &operation["responses"];
    let response = &responses[status.to_string()];
    if response.is_null() {
        return vec![format!("{method} {path} does not answer {status}")];
    }
    let mut faults = Vec::new();
    if !response["schema"].is_null() {
        check(&response["schema"], body, "$", &mut faults);
    }
    faults
}

fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let path = path
        .strip_prefix("/v1.")
        .and_then(|rest| rest.find('/').map(|at| &rest[at..]))
        .unwrap_or(path);
    let paths = api()["paths"].as_object()?;
    // A literal part is a better match than a placeholder.
    let mut found: Vec<_> = paths
        .iter()
        .filter(|(template, _)| matches(template, path))
        .collect();
    found.sort_by_key(|(template, _)| (template.matches('{').count(), Reverse(template.len())));
    let (_, operations) = found.first()?;
    operations.get(method.to_lowercase())
}

fn matches(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) =
        (template.split('/').collect(), path.split('/').collect());
    // Names of images and plugins have slashes.
    let named = matches!(
        template.get(1),
        Some(&"images" | &"distribution" | &"plugins")
    );
    if path.len() > template.len() && named {
        return template.get(1) == path.get(1)
            && template.get(2).is_some_and(|part| part.starts_with('{'))
            && path.ends_with(&template[3..]);
    }
    template.len() == path.len()
        && template
            .iter()
            .zip(&path)
            .all(|(part, given)| part.starts_with('{') || part == given)
}

fn check(schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.trim_start_matches("#/definitions/");
        return check(&api()["definitions"][name], value, at, faults);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        check(part, value, at, faults);
    }
    // Go's nil slices and maps are null on the wire, whatever the description says.
    let nullable = schema["x-nullable"] == true
        || matches!(schema["type"].as_str(), Some("array" | "object") | None);
    if value.is_null() {
        // Pointers in Go, null in every dockerd's answers, though the description does not say so.
        let pointer = [".MemorySwappiness", ".OomKillDisable"]
            .iter()
            .any(|name| at.ends_with(name))
            // Of an exec that runs.
            || at == "$.ExitCode";
        if !nullable && !pointer {
            faults.push(format!("{at} is null"));
        }
        return;
    }
    check_type(schema, value, at, faults);
    check_enum(schema, value, at, faults);
}

fn check_type(schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    if !fits {
        faults.push(format!("{at} is no {}: {value}", schema["type"]));
        return;
    }
    if let (Some(items), Some(list)) = (schema.get("items"), value.as_array()) {
        for (index, one) in list.iter().enumerate() {
            check(items, one, &format!("{at}[{index}]"), faults);
        }
    }
    if let Some(fields) = value.as_object() {
        check_fields(schema, fields, at, faults);
    }
}

fn check_fields(
    schema: &Value,
    fields: &serde_json::Map<String, Value>,
    at: &str,
    faults: &mut Vec<String>,
) {
    for required in schema["required"].as_array().into_iter().flatten() {
        let name = required.as_str().unwrap_or_default();
        // The description wants a field of `ImageData` that it does not describe, and that Docker does not have.
        let described = schema["properties"].get(name).is_some();
        if described && !fields.contains_key(name) {
            faults.push(format!("{at}.{name} is missing"));
        }
    }
    for (name, value) in fields {
        let described = schema["properties"]
            .get(name)
            .or(schema.get("additionalProperties"));
        if let Some(described) = described.filter(|one| one.is_object()) {
            check(described, value, &format!("{at}.{name}"), faults);
        }
    }
}

fn check_enum(schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let Some(allowed) = schema["enum"].as_array() else {
        return;
    };
    // An unset string is empty on the wire.
    if !allowed.contains(value) && value.as_str() != Some("") {
        faults.push(format!("{at} is {value}, not one of {allowed:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_wrong_type_and_a_missing_field_are_found() {
        assert_eq!(
            faults("GET", "/v1.50/images/json", 200, &json!([])),
            [""; 0]
        );
        let wrong = faults("GET", "/images/json?all=1", 200, &json!([{ "Id": 3 }]));
        assert!(
            wrong
                .iter()
                .any(|fault| fault.starts_with("$[0].Id is no \"string\"")),
            "{wrong:?}"
        );
        assert!(
            wrong.contains(&"$[0].ParentId is missing".to_owned()),
            "{wrong:?}"
        );
        assert!(!faults("GET", "/nothing", 200, &json!({})).is_empty());
        assert!(!faults("GET", "/images/json", 418, &json!({})).is_empty());
    }

    #[test]
    fn image_names_with_slashes_find_their_operation() {
        assert!(operation("GET", "/images/127.0.0.1:5000/a/b/json").is_some());
        assert!(operation("GET", "/containers/abc/json").is_some());
    }
}
