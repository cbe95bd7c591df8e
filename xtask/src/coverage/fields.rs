//! The fields of a schema, and those of a document that has them.

use std::collections::BTreeSet;

use serde_json::Value;

/// A schema of the API file that `api` is.
#[derive(Clone, Copy)]
pub(super) struct Schema<'a> {
    pub(super) api: &'a Value,
    pub(super) node: &'a Value,
}

impl<'a> Schema<'a> {
    fn at(self, node: &'a Value) -> Self {
        Self { node, ..self }
    }

    /// Follows a reference.
    fn resolved(self) -> Self {
        match self.node["$ref"]
            .as_str()
            .and_then(|name| name.strip_prefix("#/"))
        {
            Some(pointer) => self
                .at(&self.api[pointer.split('/').next().unwrap_or("")]
                    [pointer.rsplit('/').next().unwrap_or("")])
                .resolved(),
            None => self,
        }
    }

    /// Each field as a path: `A.B`, `A[].B` for what is in lists, `A{}.B` for what is in maps.
    pub(super) fn fields(self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        self.walk("", None, &mut |path, _| {
            found.insert(path);
        });
        found
    }

    /// Those of them that `document` has; with `set` only those that say something.
    pub(super) fn fields_of(self, document: &Value, set: bool) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        self.walk("", Some(document), &mut |path, value| {
            if !set || value.is_some_and(says_something) {
                found.insert(path);
            }
        });
        found
    }

    fn walk(
        self,
        at: &str,
        document: Option<&Value>,
        tell: &mut impl FnMut(String, Option<&Value>),
    ) {
        // Deep enough for every type of the API, and an end for one that holds itself.
        if at.matches(['.', '[', '{']).count() > 8 {
            return;
        }
        let schema = self.resolved();
        for part in schema.node["allOf"].as_array().into_iter().flatten() {
            schema.at(part).walk(at, document, tell);
        }
        for (name, field) in schema.node["properties"].as_object().into_iter().flatten() {
            let value = document.map(|document| document.get(name));
            if value == Some(None) {
                continue;
            }
            let path = match at {
                "" => name.clone(),
                at => format!("{at}.{name}"),
            };
            tell(path.clone(), value.flatten());
            schema.at(field).walk(&path, value.flatten(), tell);
        }
        let each: [(&str, &str, Vec<&Value>); 2] = [
            (
                "items",
                "[]",
                document
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .collect(),
            ),
            (
                "additionalProperties",
                "{}",
                document
                    .and_then(Value::as_object)
                    .into_iter()
                    .flat_map(|map| map.values())
                    .collect(),
            ),
        ];
        for (key, mark, values) in each {
            let Some(inner) = schema.node.get(key).filter(|inner| inner.is_object()) else {
                continue;
            };
            let path = format!("{at}{mark}");
            match document {
                None => schema.at(inner).walk(&path, None, tell),
                Some(_) => values
                    .into_iter()
                    .for_each(|value| schema.at(inner).walk(&path, Some(value), tell)),
            }
        }
    }
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => fields.values().any(says_something),
        Value::Bool(true) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_maps_and_references_are_walked() {
        let api = json!({"definitions": {"T": {"properties": {"A": {"type": "string"}, "L": {"items": {"properties": {"B": {}}}}}}}});
        let node = json!({"allOf": [{"$ref": "#/definitions/T"}, {"properties": {"M": {"additionalProperties": {"$ref": "#/definitions/T"}}}}]});
        let schema = Schema {
            api: &api,
            node: &node,
        };
        let all: Vec<_> = schema.fields().into_iter().collect();
        assert_eq!(all, ["A", "L", "L[].B", "M", "M{}.A", "M{}.L", "M{}.L[].B"]);
        let document = json!({"A": "", "L": [{"B": 1}]});
        let seen: Vec<_> = schema.fields_of(&document, true).into_iter().collect();
        assert_eq!(seen, ["L", "L[].B"]);
        assert!(schema.fields_of(&document, false).contains("A"));
    }
}
