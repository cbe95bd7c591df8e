//! The API's table: operations × parameters × answer fields.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::fields::Schema;
use super::http::{self, Exchange};
use super::reasons::Reasons;

/// Subjects that have to be whole: what is open in them needs a reason.
const WHOLE: &[&str] = &["Container", "Exec", "Network", "Volume"];

/// One operation, and what of it was exercised.
struct Operation<'a> {
    /// `POST /containers/create`.
    name: String,
    subject: String,
    body: Option<Schema<'a>>,
    answers: BTreeMap<String, Option<Schema<'a>>>,
    calls: usize,
    /// Kinds of parts: `query`, `header`, `body`, `answer`, `field`; each part, and whether it was exercised.
    parts: BTreeMap<&'static str, BTreeMap<String, bool>>,
}

pub(super) fn write(root: &Path, recording: &Path) -> Result<()> {
    let file = root.join("crates/wharf-conformance/api/engine-api.json");
    let text = std::fs::read_to_string(&file).with_context(|| format!("read {file:?}"))?;
    let api: Value = serde_json::from_str(&text)?;
    let reasons = Reasons::read(&root.join("xtask/coverage/api.txt"))?;
    let mut operations = operations(&api);
    let exchanges = http::read(recording)?;
    ensure!(
        !exchanges.is_empty(),
        "nothing is recorded in {recording:?}"
    );
    for exchange in &exchanges {
        if let Some(operation) = find(&mut operations, exchange) {
            operation.count(exchange);
        }
    }
    let (page, unexplained) = page(&operations, &reasons);
    let path = root.join("docs/reference/api-coverage.md");
    std::fs::write(&path, page).with_context(|| format!("write {path:?}"))?;
    println!("{} exchanges: {}", exchanges.len(), path.display());
    if !unexplained.is_empty() {
        bail!(
            "open without a reason in xtask/coverage/api.txt:\n  {}",
            unexplained.join("\n  ")
        );
    }
    Ok(())
}

fn operations(api: &Value) -> Vec<Operation<'_>> {
    let mut all = Vec::new();
    for (path, methods) in api["paths"].as_object().into_iter().flatten() {
        for (method, node) in methods.as_object().into_iter().flatten() {
            all.push(Operation::new(api, method, path, node));
        }
    }
    all.sort_by_key(|one| (!WHOLE.contains(&one.subject.as_str()), one.subject.clone()));
    all
}

impl<'a> Operation<'a> {
    fn new(api: &'a Value, method: &str, path: &str, node: &'a Value) -> Self {
        let schema = |node: &'a Value| (!node.is_null()).then_some(Schema { api, node });
        let mut parts: BTreeMap<&'static str, BTreeMap<String, bool>> = BTreeMap::new();
        let mut body = None;
        for parameter in node["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap_or_default().to_owned();
            match parameter["in"].as_str() {
                Some("query") => _ = parts.entry("query").or_default().insert(name, false),
                Some("header") => _ = parts.entry("header").or_default().insert(name, false),
                Some("body") => body = schema(&parameter["schema"]),
                _ => {}
            }
        }
        if let Some(body) = body {
            let fields = body.fields().into_iter().map(|field| (field, false));
            parts.insert("body", fields.collect());
        }
        let mut answers = BTreeMap::new();
        for (status, answer) in node["responses"].as_object().into_iter().flatten() {
            parts
                .entry("answer")
                .or_default()
                .insert(status.clone(), false);
            let shape = schema(&answer["schema"]).filter(|_| status.starts_with('2'));
            if let Some(shape) = shape {
                let fields = shape.fields().into_iter().map(|field| (field, false));
                parts.entry("field").or_default().extend(fields);
            }
            answers.insert(status.clone(), shape);
        }
        Self {
            name: format!("{} {path}", method.to_uppercase()),
            subject: node["tags"][0].as_str().unwrap_or("Other").to_owned(),
            body,
            answers,
            calls: 0,
            parts,
        }
    }

    fn count(&mut self, exchange: &Exchange) {
        self.calls += 1;
        let mut seen: Vec<(&'static str, String)> = vec![("answer", exchange.status.to_string())];
        seen.extend(exchange.query.iter().map(|name| ("query", name.clone())));
        seen.extend(exchange.headers.iter().map(|name| ("header", name.clone())));
        if let Some(body) = self.body {
            let fields = exchange
                .body
                .iter()
                .flat_map(|document| body.fields_of(document, true));
            seen.extend(fields.map(|field| ("body", field)));
        }
        if let Some(Some(shape)) = self.answers.get(&exchange.status.to_string()) {
            let fields = exchange
                .answer
                .iter()
                .flat_map(|document| shape.fields_of(document, false));
            seen.extend(fields.map(|field| ("field", field)));
        }
        for (kind, name) in seen {
            let part = self.parts.get_mut(kind).and_then(|parts| {
                parts
                    .iter_mut()
                    .find(|(known, _)| known.eq_ignore_ascii_case(&name))
            });
            if let Some((_, exercised)) = part {
                *exercised = true;
            }
        }
    }

    /// What was not exercised, as `KIND NAME`. A field of a field that is open is not listed again.
    fn open(&self) -> Vec<String> {
        let mut open = Vec::new();
        if self.calls == 0 {
            return vec!["call".to_owned()];
        }
        for (kind, parts) in &self.parts {
            let missing: BTreeSet<&str> = parts
                .iter()
                .filter(|(_, done)| !**done)
                .map(|(name, _)| name.as_str())
                .collect();
            let outer = missing.iter().filter(|name| {
                !missing.iter().any(|other| {
                    name.len() > other.len()
                        && name.starts_with(other)
                        && name[other.len()..].starts_with(['.', '[', '{'])
                })
            });
            open.extend(outer.map(|name| format!("{kind} {name}")));
        }
        open
    }
}

fn find<'a, 'b>(
    operations: &'a mut [Operation<'b>],
    exchange: &Exchange,
) -> Option<&'a mut Operation<'b>> {
    let method = exchange.method.to_uppercase();
    let mut fitting: Vec<_> = operations
        .iter_mut()
        .filter(|one| {
            let (verb, template) = one.name.split_once(' ').unwrap_or_default();
            verb == method && fits(template, &exchange.path)
        })
        .collect();
    // A literal part is a better match than a placeholder.
    fitting.sort_by_key(|one| (one.name.matches('{').count(), Reverse(one.name.len())));
    fitting.into_iter().next()
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) =
        (template.split('/').collect(), path.split('/').collect());
    // Names of images have slashes.
    if template.len() < path.len() && matches!(template.get(1), Some(&"images" | &"distribution")) {
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

fn page(operations: &[Operation<'_>], reasons: &Reasons) -> (String, Vec<String>) {
    let mut page = String::from(HEAD);
    let mut unexplained = Vec::new();
    let mut subject = "";
    for operation in operations {
        if operation.subject != subject {
            subject = &operation.subject;
            let _ = write!(page, "\n## {subject}\n\n{COLUMNS}");
        }
        let _ = writeln!(page, "{}", row(operation));
    }
    page.push_str("\n# What is open\n");
    for operation in operations {
        let open = operation.open();
        if open.is_empty() {
            continue;
        }
        let whole = WHOLE.contains(&operation.subject.as_str());
        let _ = write!(page, "\n`{}`\n", operation.name);
        let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for part in &open {
            let what = format!("{} {part}", operation.name);
            let reason = reasons.of(&what);
            if reason.is_none() && whole {
                unexplained.push(what.clone());
            }
            by_reason
                .entry(reason.unwrap_or("not exercised"))
                .or_default()
                .push(part);
        }
        for (reason, parts) in by_reason {
            let _ = writeln!(page, "- {reason}: {}", parts.join(", "));
        }
    }
    (page, unexplained)
}

fn row(operation: &Operation<'_>) -> String {
    let mut row = format!("| `{}` | {} |", operation.name, operation.calls.min(1000));
    for kinds in [&["answer"][..], &["query", "header"], &["body"], &["field"]] {
        let parts = || {
            kinds
                .iter()
                .filter_map(|kind| operation.parts.get(kind))
                .flatten()
        };
        let cell = match (parts().filter(|(_, done)| **done).count(), parts().count()) {
            (_, 0) => "–".to_owned(),
            (done, all) => format!("{done}/{all}"),
        };
        let _ = write!(row, " {cell} |");
    }
    row
}

const HEAD: &str = "# What the conformance suite exercises of the Engine API

Written by `cargo xtask coverage` from the API file (1.56) and a recording of the suite on Wharf, through `docker` 28.2.2 and
`wharf`; do not edit. A field of a request counts if it was sent with a value that is not empty, one of an answer if it came.
Reasons stand in xtask/coverage/api.txt.
";
const COLUMNS: &str =
    "| operation | called | answers | parameters | fields of the body | fields of the answer |
|---|---|---|---|---|---|
";
