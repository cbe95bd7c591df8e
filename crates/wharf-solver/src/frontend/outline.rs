//! What a target may be given: arguments, secrets, agents (`frontend/subrequests/outline`).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wharf_dockerfile::{Instruction, Located, MountFlag, Span};

use super::convert::Converter;
use super::{described, subrequest};
use crate::{SolveError, SolveResult};

/// Things by name, with what is said of each, in the order of the file.
#[derive(Default)]
struct List(Vec<(String, Value)>);

impl List {
    fn add(&mut self, name: &str, value: Value) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            // What the first says counts, and what the next says of which it says nothing.
            Some((_, known)) => {
                for key in ["value", "description", "required"] {
                    if known.get(key).is_none() && value.get(key).is_some() {
                        known[key] = value[key].clone();
                    }
                }
            }
            None => self.0.push((name.to_owned(), value)),
        }
    }

    fn values(&self) -> Vec<&Value> {
        self.0.iter().map(|(_, value)| value).collect()
    }

    /// A table of these fields, its columns as wide as they must be.
    fn table(&self, heads: &[&str], keys: &[&str]) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let cell = |value: &Value, key: &str| match &value[key] {
            Value::String(text) => text.clone(),
            Value::Bool(true) => "true".to_owned(),
            _ => String::new(),
        };
        let mut rows: Vec<Vec<String>> =
            vec![heads.iter().map(|head| (*head).to_owned()).collect()];
        rows.extend(self.0.iter().map(|(_, value)| {
            let cells = keys.iter().map(|key| cell(value, key));
            cells.collect()
        }));
        tabbed(&rows) + "\n"
    }
}

/// Go's `tabwriter` with three blanks between columns: the last cell of a line is no column.
fn tabbed(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let lines = rows.iter().map(|row| {
        let last = row.len().saturating_sub(1);
        let cells = row.iter().enumerate().map(|(at, cell)| match at == last {
            true => cell.clone(),
            false => format!("{cell:<width$}   ", width = widths[at]),
        });
        cells.collect::<String>() + "\n"
    });
    lines.collect()
}

impl Converter<'_> {
    /// What the target may be given.
    ///
    /// # Errors
    /// If there is no such target, or a word cannot be expanded.
    pub(super) fn outline(mut self, text: &str) -> Result<SolveResult, SolveError> {
        let lines: Vec<&str> = text.lines().collect();
        let file = self.file();
        for located in &file.args {
            self.declare_globals(located)?;
        }
        let target = self.target()?;
        let reachable = self.reachable(target)?;
        let mut args = List::default();
        let (mut secrets, mut agents, mut caches) = Default::default();
        let bases = reachable.iter().map(|at| &file.stages[*at].from);
        let words: Vec<&str> = bases
            .flat_map(|from| [Some(from.base.as_str()), from.platform.as_deref()])
            .flatten()
            .collect();
        let global = self.args.global();
        for located in &file.args {
            let is_used = |name: &str| words.iter().any(|word| mentions(word, name));
            of_args(located, &global, &lines, &mut args, is_used);
        }
        let mut visible = self.args.clone();
        for at in &reachable {
            visible.begin_stage();
            for located in &file.stages[*at].instructions {
                if let Instruction::Arg(list) = &located.instruction {
                    for arg in list {
                        visible.declare(&arg.name, arg.default.clone());
                    }
                }
                of_args(located, &visible.visible(), &lines, &mut args, |_| true);
                if let Instruction::Run(run) = &located.instruction {
                    for mount in &run.mounts {
                        of_mount(
                            mount,
                            located.span,
                            (&mut secrets, &mut agents, &mut caches),
                        );
                    }
                }
            }
        }
        let stage = &file.stages[target];
        let name = stage.from.name.clone().unwrap_or_default();
        let description = described(&lines, stage.span, &name);
        Ok(answer(
            &name,
            &description,
            text,
            (&args, &secrets, &agents, &caches),
        ))
    }
}

/// Whether a word has the variable in it.
fn mentions(word: &str, name: &str) -> bool {
    word.split('$').skip(1).any(|part| {
        let part = part.strip_prefix('{').unwrap_or(part);
        part.strip_prefix(name).is_some_and(|rest| {
            !rest.starts_with(|letter: char| letter == '_' || letter.is_ascii_alphanumeric())
        })
    })
}

fn place(span: Span) -> Value {
    json!({ "ranges": [{ "start": { "line": span.start }, "end": { "line": span.end } }] })
}

fn of_args(
    located: &Located,
    values: &BTreeMap<String, String>,
    lines: &[&str],
    list: &mut List,
    is_used: impl Fn(&str) -> bool,
) {
    let Instruction::Arg(args) = &located.instruction else {
        return;
    };
    for arg in args.iter().filter(|arg| is_used(&arg.name)) {
        let mut one = json!({ "name": arg.name, "location": place(located.span) });
        if let Some(value) = values.get(&arg.name).filter(|value| !value.is_empty()) {
            one["value"] = json!(value);
        }
        let description = described(lines, located.span, &arg.name);
        if !description.is_empty() {
            one["description"] = json!(description);
        }
        list.add(&arg.name, one);
    }
}

fn of_mount(
    mount: &MountFlag,
    span: Span,
    (secrets, agents, caches): (&mut List, &mut List, &mut List),
) {
    let field = |names: &[&str]| {
        let found = mount
            .fields
            .iter()
            .find(|(key, _)| names.contains(&key.as_str()));
        found.map(|(_, value)| value.clone().unwrap_or_default())
    };
    let target = field(&["target", "dst", "destination"]);
    let is_required = matches!(field(&["required"]).as_deref(), Some("" | "true" | "1"));
    let one = |name: &str| {
        let mut one = json!({ "name": name, "location": place(span) });
        if is_required {
            one["required"] = json!(true);
        }
        one
    };
    match field(&["type"]).as_deref() {
        Some("secret") => {
            let base = target.as_deref().and_then(|path| path.rsplit('/').next());
            let id = field(&["id"])
                .or(base.map(str::to_owned))
                .unwrap_or_default();
            secrets.add(&id, one(&id));
        }
        Some("ssh") => {
            let id = field(&["id"]).unwrap_or_else(|| "default".to_owned());
            agents.add(&id, one(&id));
        }
        Some("cache") => {
            let id = field(&["id"]).or(target).unwrap_or_default();
            caches.add(&id, json!({ "ID": id, "location": place(span) }));
        }
        _ => {}
    }
}

fn answer(
    name: &str,
    description: &str,
    text: &str,
    (args, secrets, agents, caches): (&List, &List, &List, &List),
) -> SolveResult {
    use base64::Engine as _;
    let mut value = json!({});
    let mut said = String::new();
    if !name.is_empty() || !description.is_empty() {
        let shown = if name.is_empty() { "(default)" } else { name };
        let mut rows = vec![vec!["TARGET:".to_owned(), shown.to_owned()]];
        value["name"] = json!(name);
        if !description.is_empty() {
            rows.push(vec!["DESCRIPTION:".to_owned(), description.to_owned()]);
            value["description"] = json!(description);
        }
        said.push_str(&(tabbed(&rows) + "\n"));
    }
    said.push_str(&args.table(
        &["BUILD ARG", "VALUE", "DESCRIPTION"],
        &["name", "value", "description"],
    ));
    said.push_str(&secrets.table(&["SECRET", "REQUIRED"], &["name", "required"]));
    said.push_str(&agents.table(&["SSH", "REQUIRED"], &["name", "required"]));
    for (key, list) in [
        ("args", args),
        ("secrets", secrets),
        ("ssh", agents),
        ("cache", caches),
    ] {
        if !list.0.is_empty() {
            value[key] = json!(list.values());
        }
    }
    let data = base64::engine::general_purpose::STANDARD.encode(text);
    value["sources"] = json!([data]);
    subrequest::result("1.0.0", &value, said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_seen_in_words() {
        assert!(mentions("a:$T", "T") && mentions("${T}-x", "T") && mentions("$A${T:-1}", "T"));
        assert!(!mentions("a:$TT", "T") && !mentions("T", "T") && !mentions("${T_}", "T"));
    }

    #[test]
    fn tables_are_as_wide_as_their_words() {
        let mut list = List::default();
        list.add("A", json!({ "name": "A", "value": "long value" }));
        list.add("BCD", json!({ "name": "BCD", "description": "what it is" }));
        list.add(
            "A",
            json!({ "name": "A", "value": "other", "description": "late" }),
        );
        assert_eq!(
            list.table(
                &["BUILD ARG", "VALUE", "DESCRIPTION"],
                &["name", "value", "description"]
            ),
            "BUILD ARG   VALUE        DESCRIPTION\nA           long value   late\nBCD                      what it is\n\n"
        );
        assert!(List::default().table(&["X"], &["x"]).is_empty());
    }
}
