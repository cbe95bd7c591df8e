//! Questions about a Dockerfile that build nothing (`frontend/subrequests`).

use base64::Engine as _;
use serde_json::{Value, json};
use wharf_dockerfile::Dockerfile;

use super::described;
use super::options::Options;
use crate::{SolveError, SolveResult};

/// Answers what the options ask.
///
/// # Errors
/// If it is none that is known.
pub(super) fn answer(
    options: &Options,
    text: &str,
    file: &Dockerfile,
) -> Result<SolveResult, SolveError> {
    match options.request.as_str() {
        "frontend.subrequests.describe" => Ok(describe()),
        "frontend.targets" => Ok(targets(options, text, file)),
        other => Err(SolveError::NotImplemented(format!(
            "unsupported subrequest {other}"
        ))),
    }
}

/// An answer in its two forms.
pub(super) fn result(version: &str, value: &Value, text: String) -> SolveResult {
    let metadata = [
        ("result.json".to_owned(), value.to_string().into_bytes()),
        ("result.txt".to_owned(), text.into_bytes()),
        ("version".to_owned(), version.as_bytes().to_vec()),
    ];
    SolveResult {
        metadata: metadata.into(),
        ..SolveResult::default()
    }
}

fn describe() -> SolveResult {
    let known = [
        (
            "frontend.subrequests.describe",
            "List available subrequest types",
        ),
        ("frontend.lint", "Lint a Dockerfile"),
        (
            "frontend.outline",
            "List all parameters current build target supports",
        ),
        (
            "frontend.targets",
            "List all targets current build supports",
        ),
    ];
    let list: Vec<Value> = known
        .iter()
        .map(|(name, description)| {
            json!({
                "name": name,
                "version": "1.0.0",
                "type": "rpc",
                "description": description,
                "opts": null,
                "inputs": null,
                "metadata": [{ "name": "result.json" }, { "name": "result.txt" }],
                "refs": null,
            })
        })
        .collect();
    let names = known
        .iter()
        .map(|(name, text)| format!("{name:<36}{text}\n"));
    result("1.0.0", &json!(list), names.collect())
}

fn targets(options: &Options, text: &str, file: &Dockerfile) -> SolveResult {
    let last = file.stages.len().saturating_sub(1);
    let lines_of_file: Vec<&str> = text.lines().collect();
    let mut lines = String::from("TARGET                DESCRIPTION\n");
    let mut list = Vec::new();
    for (number, stage) in file.stages.iter().enumerate() {
        let name = stage.from.name.clone().unwrap_or_default();
        let is_default = match options.target.as_str() {
            "" => number == last,
            target => target.eq_ignore_ascii_case(&name),
        };
        if !name.is_empty() || is_default {
            let shown = match (name.as_str(), is_default) {
                ("", _) => "(default)".to_owned(),
                (name, true) => format!("{name} (default)"),
                (name, false) => name.to_owned(),
            };
            let description = described(&lines_of_file, stage.span, &name);
            lines.push_str(&format!("{shown:<22}{description}\n"));
        }
        let mut one = json!({ "base": stage.from.base, "location": {
            "sourceIndex": 0,
            "ranges": [{
                "start": { "line": stage.span.start },
                "end": { "line": stage.span.end },
            }],
        }});
        if !name.is_empty() {
            one["name"] = json!(name);
        }
        if is_default {
            one["default"] = json!(true);
        }
        let description = described(&lines_of_file, stage.span, &name);
        if !description.is_empty() {
            one["description"] = json!(description);
        }
        list.push(one);
    }
    let data = base64::engine::general_purpose::STANDARD.encode(text);
    let value = json!({
        "targets": list,
        "sources": [{ "filename": options.filename, "data": data, "language": "Dockerfile" }],
    });
    result("1.0.0", &value, lines)
}
