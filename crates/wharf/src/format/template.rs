//! Go templates over JSON: the only place that knows the template engine.
//!
//! What Docker's own templates have and the engine lacks is added here: the functions (`json`, `join`, …), the
//! method call `.Label "x"`, and `json` in the order of the daemon's document.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gotmpl::{MissingKey, Template as Engine, TemplateError, Value as Node};
use serde_json::Value;

/// Key under which a row carries its labels for `.Label "x"`.
const LABELS: &str = "__labels";

/// Fields that the Go structs behind the documents spell otherwise than the wire.
const ALIASES: &[(&str, &str)] = &[
    ("Id", "ID"),
    ("ApiVersion", "APIVersion"),
    ("HttpProxy", "HTTPProxy"),
    ("HttpsProxy", "HTTPSProxy"),
    ("NanoCpus", "NanoCPUs"),
    ("CpuShares", "CPUShares"),
    ("CpuPeriod", "CPUPeriod"),
    ("CpuQuota", "CPUQuota"),
    ("Dns", "DNS"),
    ("DnsOptions", "DNSOptions"),
    ("DnsSearch", "DNSSearch"),
];

/// A parsed template.
pub struct Template {
    source: String,
    kind: Kind,
}

/// What a template is applied to; that decides how it fails and how it spells JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Anything; what is not there is `<no value>`.
    Lenient,
    /// A document of `inspect`: an unknown field is an error.
    Document,
    /// A row of a list: an unknown field is an error, and JSON of the whole row is safe for HTML, as in Docker.
    Row,
}

impl Template {
    /// Parses `source`, with `\t` and `\n` written as two characters turned into what they stand for.
    pub fn new(source: &str) -> Result<Template, String> {
        Template::checked(
            &source.replace("\\t", "\t").replace("\\n", "\n"),
            Kind::Lenient,
        )
    }

    /// A template that refuses fields that do not exist (`inspect`).
    pub fn strict(source: &str) -> Result<Template, String> {
        Template::checked(source, Kind::Document)
    }

    /// A template for the rows of a list, with `\t` and `\n` as in [`Template::new`].
    pub fn row(source: &str) -> Result<Template, String> {
        Template::checked(&source.replace("\\t", "\t").replace("\\n", "\n"), Kind::Row)
    }

    fn checked(source: &str, kind: Kind) -> Result<Template, String> {
        let template = Template {
            source: call_label(source),
            kind,
        };
        template.engine(Value::Null, Places::default()).map(drop)?;
        Ok(template)
    }

    fn engine(&self, document: Value, places: Places) -> Result<Engine, String> {
        let missing = if self.kind == Kind::Lenient {
            MissingKey::Invalid
        } else {
            MissingKey::Error
        };
        let rows = self.kind == Kind::Row;
        let engine = Engine::new("").missing_key(missing);
        functions(engine, document, places, rows)
            .parse(&self.source)
            .map_err(|error| match self.kind {
                Kind::Row => format!("failed to parse template: {}", explain(&error)),
                _ => format!("template parsing error: {}", explain(&error)),
            })
    }

    // Go tells where in the source the field is.
    fn failure(&self, error: &TemplateError) -> String {
        if let (TemplateError::UndefinedFunction(_), Kind::Row) = (error, self.kind) {
            return format!("failed to parse template: {}", explain(error));
        }
        let TemplateError::MissingKey { key } = error else {
            return format!("template parsing error: {}", explain(error));
        };
        let column = self.source.find(&format!(".{key}")).unwrap_or_default();
        let place = format!("template: :1:{column}: executing \"\" at <.{key}>");
        match self.kind {
            Kind::Row => format!("failed to execute template: {place}: can't evaluate field {key}"),
            _ => format!("template parsing error: {place}: map has no entry for key {key:?}"),
        }
    }

    /// Renders `document`.
    pub fn render(&self, document: &Value) -> Result<String, String> {
        let mut places = Places::default();
        let node = placed(document, "", "", &mut places);
        self.engine(document.clone(), places)?
            .execute_to_string(&node)
            .map_err(|error| self.failure(&error))
    }

    /// Renders the row of headers: functions leave their text alone, `.Label "a.b-c"` becomes `b c`.
    pub fn render_headers(&self, headers: &Value) -> Result<String, String> {
        let mut engine = Engine::new("");
        for name in [
            "json", "title", "lower", "upper", "truncate", "split", "println",
        ] {
            engine = engine.func(name, |args| Ok(args.first().cloned().unwrap_or(Node::Nil)));
        }
        engine = engine.func("join", |args| {
            Ok(args.first().cloned().unwrap_or(Node::Nil))
        });
        engine = engine.func("pad", |args| Ok(pad(args)));
        engine = engine.func("__label", |args| {
            let name = args.get(1).and_then(Node::as_str).unwrap_or_default();
            let last = name.rsplit('.').next().unwrap_or_default();
            Ok(Node::String(last.replace(['-', '_'], " ").into()))
        });
        let engine = engine
            .parse(&self.source)
            .map_err(|error| explain(&error))?;
        engine
            .execute_to_string(&node(headers, ""))
            .map_err(|error| explain(&error))
    }
}

// Go prefixes each of its texts with "template: " and a place; the engine knows the place of parse errors only.
fn explain(error: &TemplateError) -> String {
    match error {
        TemplateError::Parse { line, message, .. } | TemplateError::Lex { line, message, .. } => {
            format!("template: :{line}: {message}")
        }
        TemplateError::UndefinedFunction(name) => {
            format!("template: :1: function {name:?} not defined")
        }
        other => format!("template: {other}"),
    }
}

// `.Label "x"` is a method call; it becomes a call of a function of ours with the row's labels.
fn call_label(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(open) = rest.find("{{") {
        let end = rest[open..].find("}}").map_or(rest.len(), |end| open + end);
        out.push_str(&rest[..open]);
        out.push_str(&rest[open..end].replace(".Label ", "__label .__labels "));
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

fn functions(engine: Engine, document: Value, places: Places, rows: bool) -> Engine {
    let text = |args: &[Node], index: usize| args.get(index).map(show).unwrap_or_default();
    engine
        .func("json", move |args| {
            let value = args.first().cloned().unwrap_or(Node::Nil);
            let json = to_json(&value, &document, &places);
            let whole = rows && matches!(value, Node::Map(_));
            Ok(Node::String(
                if whole { for_html(&json) } else { json }.into(),
            ))
        })
        .func("lower", move |args| {
            Ok(Node::String(text(args, 0).to_lowercase().into()))
        })
        .func("upper", move |args| {
            Ok(Node::String(text(args, 0).to_uppercase().into()))
        })
        .func("title", move |args| {
            Ok(Node::String(title(&text(args, 0)).into()))
        })
        .func("split", move |args| {
            let (whole, separator) = (text(args, 0), text(args, 1));
            let parts = whole
                .split(separator.as_str())
                .map(|part| Node::String(part.into()));
            Ok(Node::List(parts.collect::<Vec<_>>().into()))
        })
        .func("join", move |args| {
            let parts: Vec<String> = match args.first() {
                Some(Node::List(items)) => items.iter().map(show).collect(),
                Some(other) => vec![show(other)],
                None => Vec::new(),
            };
            Ok(Node::String(parts.join(&text(args, 1)).into()))
        })
        .func("pad", |args| Ok(pad(args)))
        .func("truncate", move |args| {
            let length = args
                .get(1)
                .and_then(Node::as_int)
                .unwrap_or_default()
                .max(0) as usize;
            Ok(Node::String(
                text(args, 0)
                    .chars()
                    .take(length)
                    .collect::<String>()
                    .into(),
            ))
        })
        .func("__label", |args| {
            let name = args.get(1).and_then(Node::as_str).unwrap_or_default();
            let label = args.first().and_then(|labels| labels.field(name)).cloned();
            Ok(label.unwrap_or_else(|| Node::String("".into())))
        })
}

fn pad(args: &[Node]) -> Node {
    let count = |index: usize| {
        args.get(index)
            .and_then(Node::as_int)
            .unwrap_or_default()
            .max(0)
    };
    let text = args.first().map(show).unwrap_or_default();
    if text.is_empty() {
        return Node::String(text.into());
    }
    let blank = |n: i64| " ".repeat(n as usize);
    Node::String(format!("{}{text}{}", blank(count(1)), blank(count(2))).into())
}

fn title(text: &str) -> String {
    let mut start = true;
    let upper = |c: char, start: &mut bool| {
        let shown = if *start {
            c.to_uppercase().to_string()
        } else {
            c.to_string()
        };
        *start = !(c.is_alphanumeric() || c == '_' || c == '\'');
        shown
    };
    text.chars().map(|c| upper(c, &mut start)).collect()
}

fn show(node: &Node) -> String {
    node.to_string()
}

// The Go type behind a `null` decides how it prints; the names of maps and pointers are known.
fn null(name: &str) -> Node {
    const MAPS: &[&str] = &[
        "Labels",
        "ExposedPorts",
        "Volumes",
        "PortBindings",
        "Ports",
        "Options",
        "DriverOpts",
        "Sysctls",
        "Tmpfs",
        "StorageOpt",
        "Annotations",
        "Containers",
        "Data",
        "Metadata",
        "Status",
    ];
    const POINTERS: &[&str] = &[
        "",
        "Health",
        "Healthcheck",
        "Init",
        "PidsLimit",
        "OomKillDisable",
        "MemorySwappiness",
        "IPAMConfig",
        "StopTimeout",
        "Identity",
    ];
    if MAPS.contains(&name) {
        Node::Map(Arc::new(BTreeMap::new()))
    } else if POINTERS.contains(&name) {
        Node::Nil
    } else {
        Node::List(Vec::new().into())
    }
}

/// Where in the document (RFC 6901) a list or a map of a template comes from, by its address.
type Places = HashMap<usize, String>;

fn address(node: &Node) -> Option<usize> {
    match node {
        Node::Map(map) => Some(Arc::as_ptr(map).addr()),
        Node::List(list) => Some(Arc::as_ptr(list).cast::<()>().addr()),
        _ => None,
    }
}

fn node(value: &Value, name: &str) -> Node {
    placed(value, name, "", &mut Places::default())
}

fn placed(value: &Value, name: &str, place: &str, places: &mut Places) -> Node {
    let node = match value {
        Value::Null => null(name),
        Value::Bool(on) => Node::Bool(*on),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Node::Int(int),
            (None, Some(uint)) => Node::Uint(uint),
            _ => Node::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Node::String(text.as_str().into()),
        Value::Array(items) => {
            let items = items.iter().enumerate();
            let items = items.map(|(at, item)| placed(item, "", &format!("{place}/{at}"), places));
            Node::List(items.collect::<Vec<_>>().into())
        }
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| {
                let escaped = key.replace('~', "~0").replace('/', "~1");
                let below = placed(value, key, &format!("{place}/{escaped}"), places);
                (Arc::from(key.as_str()), below)
            };
            let mut map: BTreeMap<Arc<str>, Node> = fields.iter().map(field).collect();
            for (wire, go) in ALIASES {
                if let (Some(field), false) = (map.get(*wire).cloned(), map.contains_key(*go)) {
                    map.insert((*go).into(), field);
                }
            }
            Node::Map(Arc::new(map))
        }
    };
    if let Some(address) = address(&node) {
        places.insert(address, place.to_owned());
    }
    node
}

/// As the document has it, which knows the order of its fields, and an empty list from none.
fn to_json(value: &Node, document: &Value, places: &Places) -> String {
    let place = address(value).and_then(|address| places.get(&address));
    match place.and_then(|place| document.pointer(place)) {
        Some(original) => without_labels(original).to_string(),
        None => back(value).to_string(),
    }
}

// Go's default spelling of JSON, which is safe inside HTML.
fn for_html(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

fn without_labels(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.shift_remove(LABELS);
    }
    value
}

fn back(value: &Node) -> Value {
    match value {
        Node::Bool(on) => Value::Bool(*on),
        Node::Int(int) => (*int).into(),
        Node::Uint(uint) => (*uint).into(),
        Node::Float(float) => (*float).into(),
        Node::String(text) => Value::String(text.to_string()),
        Node::List(items) => items.iter().map(back).collect(),
        Node::Map(map) => {
            let fields = map.iter().filter(|(key, _)| &***key != LABELS);
            Value::Object(
                fields
                    .map(|(key, value)| (key.to_string(), back(value)))
                    .collect(),
            )
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(source: &str, document: Value, expected: &str) {
        assert_eq!(
            Template::new(source).unwrap().render(&document).unwrap(),
            expected
        );
    }

    #[test]
    fn functions_of_docker() {
        check(
            "{{json .}}",
            json!({"b": 1, "a": [true, null]}),
            "{\"b\":1,\"a\":[true,null]}",
        );
        check(
            "{{json .X}}",
            json!({"X": {"z": "<&>", "a": {}}}),
            "{\"z\":\"<&>\",\"a\":{}}",
        );
        check("{{json .X}}", json!({"X": "q\"q"}), "\"q\\\"q\"");
        check(
            "{{json .A}} {{json .B}} {{json .C}} {{json (index .D 0)}}",
            json!({"A": null, "B": [], "C": {}, "D": [{"~/x": 1}], "Labels": null}),
            "null [] {} {\"~/x\":1}",
        );
        check(
            "{{join .L \"-\"}} {{upper .S}} {{title .S}}",
            json!({"L": ["a", "b"], "S": "foo bar"}),
            "a-b FOO BAR Foo Bar",
        );
        check("{{index (split .S \".\") 1}}", json!({"S": "a.b"}), "b");
        check(
            "[{{pad .S 1 2}}] {{truncate .S 2}}",
            json!({"S": "abc"}),
            "[ abc  ] ab",
        );
        check(
            "{{range $k, $v := .M}}{{$k}}={{$v}};{{end}}",
            json!({"M": {"b": 2, "a": 1}}),
            "a=1;b=2;",
        );
        check("{{.A}}\\t{{.B}}", json!({"A": 1.5, "B": null}), "1.5\t[]");
        check("{{.ID}}{{.Id}}", json!({"Id": "x"}), "xx");
    }

    #[test]
    fn labels_are_called_by_name() {
        let row = json!({"ID": "1", "__labels": {"a.b-c": "v"}});
        check(
            "{{.Label \"a.b-c\"}}|{{.Label \"no\"}}|{{json .}}",
            row,
            "v||{\"ID\":\"1\"}",
        );
        let template = Template::new("{{.Label \"a.b-c\"}} {{.ID}}").unwrap();
        assert_eq!(
            template
                .render_headers(&json!({"ID": "NUMBER", "__labels": {}}))
                .unwrap(),
            "b c NUMBER"
        );
    }

    #[test]
    fn a_strict_template_refuses_what_is_not_there() {
        let template = Template::strict("x{{.Nope}}").unwrap();
        assert!(
            template
                .render(&json!({"Id": "x"}))
                .unwrap_err()
                .ends_with(":1:3: executing \"\" at <.Nope>: map has no entry for key \"Nope\"")
        );
        assert!(Template::strict("{{.Nope").is_err());
    }
}
