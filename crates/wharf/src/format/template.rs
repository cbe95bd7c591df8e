//! Go templates over JSON: the only place that knows the template engine.
//!
//! What Docker's own templates have and the engine lacks is added here: the functions (`json`, `join`, …), the
//! method call `.Label "x"`, and `json` in the order of the daemon's document.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

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

/// Fields whose Go type is a pointer, so that nothing can be asked of them where they are nil.
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
    "SizeRw",
    "SizeRootFs",
    "ImageManifestDescriptor",
    "Descriptor",
    "UsageData",
    "ClusterVolume",
    "Containerd",
];

/// Fields whose Go type is a map.
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
    "Networks",
    "Services",
    "Status",
];

/// Fields whose Go type is a map of texts by names that nobody knows beforehand: what is not in one is no error.
const TEXTS: &[&str] = &[
    "Labels",
    "Attributes",
    "Options",
    "DriverOpts",
    "Sysctls",
    "Tmpfs",
    "StorageOpt",
    "Annotations",
    "Data",
];

/// A parsed template.
pub struct Template {
    /// As the user wrote it: places in errors are told in it.
    written: String,
    source: String,
    kind: Kind,
    engine: Engine,
    origin: Shared,
}

/// What the engine's functions know of the document that is rendered just now.
type Shared = Arc<Mutex<Origin>>;

/// What a template is applied to; that decides how it fails and how it spells JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Anything; what is not there is `<no value>`.
    Lenient,
    /// A document of `inspect`: an unknown field is an error.
    Document,
    /// A value of this type of Docker's client, in a template of this name: an unknown field is an error.
    Typed(&'static str, &'static str),
    /// A row of a list: an unknown field is an error, and JSON of the whole row is safe for HTML, as in Docker.
    Row,
}

impl Template {
    /// Parses `source`, with `\t` and `\n` written as two characters turned into what they stand for.
    pub fn new(source: &str) -> Result<Template, String> {
        Template::checked(&unescaped(source), Kind::Lenient)
    }

    /// A template that refuses fields that do not exist (`inspect`).
    pub fn strict(source: &str) -> Result<Template, String> {
        Template::checked(source, Kind::Document)
    }

    /// A template for one value, that refuses fields that Docker's type `of` has not (`version`, `info`, `events`). `name`
    /// is how Docker's client calls the template.
    pub fn typed(source: &str, name: &'static str, of: &'static str) -> Result<Template, String> {
        Template::checked(&unescaped(source), Kind::Typed(name, of))
    }

    /// A template for the rows of a list, with `\t` and `\n` as in [`Template::new`].
    pub fn row(source: &str) -> Result<Template, String> {
        Template::checked(&unescaped(source), Kind::Row)
    }

    fn checked(source: &str, kind: Kind) -> Result<Template, String> {
        let guarded = match kind {
            Kind::Document | Kind::Typed(..) => guard(source),
            Kind::Lenient | Kind::Row => source.to_owned(),
        };
        let (source, written) = (call_label(&guarded), source.to_owned());
        let origin = Shared::default();
        Ok(Template {
            engine: engine(&source, kind, &origin)?,
            written,
            source,
            kind,
            origin,
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
        let (column, chain) = place(&self.written, key);
        let name = match self.kind {
            Kind::Typed(name, _) => name,
            _ => "",
        };
        let place = format!("template: {name}:1:{column}: executing {name:?} at <{chain}>");
        match self.kind {
            Kind::Row => format!("failed to execute template: {place}: can't evaluate field {key}"),
            Kind::Typed(_, of) => format!("{place}: can't evaluate field {key} in type {of}"),
            _ => format!("template parsing error: {place}: map has no entry for key {key:?}"),
        }
    }

    /// Renders `document`.
    pub fn render(&self, document: &Value) -> Result<String, String> {
        self.render_completed(document, document)
    }

    /// Renders `document`, with fields of `completed` where it has none: those that are left out when they are empty, and
    /// so are in no JSON of the whole.
    pub fn render_completed(&self, document: &Value, completed: &Value) -> Result<String, String> {
        let mut places = HashMap::new();
        let root = node(completed, "", "", &mut places);
        // Nothing else asks for it.
        if self.source.contains("json") {
            *self.origin.lock().unwrap_or_else(PoisonError::into_inner) = Origin {
                document: document.clone(),
                completed: completed.clone(),
                places,
            };
        }
        self.engine
            .execute_to_string(&root)
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
            .execute_to_string(&node(headers, "", "", &mut HashMap::new()))
            .map_err(|error| explain(&error))
    }
}

/// The parsed template, with functions that look at `origin`.
fn engine(source: &str, kind: Kind, origin: &Shared) -> Result<Engine, String> {
    let missing = match kind {
        Kind::Lenient => MissingKey::Invalid,
        _ => MissingKey::Error,
    };
    let engine = Engine::new("").missing_key(missing);
    functions(engine, origin.clone(), kind == Kind::Row)
        .parse(source)
        .map_err(|error| match kind {
            Kind::Row => format!("failed to parse template: {}", explain(&error)),
            _ => format!("template parsing error: {}", explain(&error)),
        })
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

fn unescaped(source: &str) -> String {
    source.replace("\\t", "\t").replace("\\n", "\n")
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The chain of fields in which `key` is asked for, and where Go says that it is: at its second field, if it has one.
fn place<'a>(source: &'a str, key: &str) -> (usize, &'a str) {
    let field = format!(".{key}");
    let ends = |at: &usize| !source[at + field.len()..].starts_with(is_name);
    let mut found = source.match_indices(&field).map(|(at, _)| at);
    let Some(at) = found.find(ends) else {
        return (0, "");
    };
    let in_chain = |letter: char| is_name(letter) || letter == '.' || letter == '$';
    let before = source[..at].trim_end_matches(in_chain).len();
    let rest = &source[before..];
    let chain = &rest[..rest.find(|letter| !in_chain(letter)).unwrap_or(rest.len())];
    let second = chain.get(1..).and_then(|rest| rest.find('.'));
    (before + second.map_or(0, |at| at + 1), chain)
}

/// What Go's types know and the engine does not. It refuses to look into a nil pointer: `.A.Health.B` becomes
/// `(__there .A.Health "Health").B`, a function that fails for nil. A nil pointer that is shown is `<nil>`. A map of texts
/// may lack one: `.Labels.b` becomes `(__entry .Labels "b")`.
fn guard(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(open) = rest.find("{{") {
        let end = rest[open..].find("}}").map_or(rest.len(), |end| open + end);
        let action = &rest[open + 2..end];
        out.push_str(&rest[..open + 2]);
        let (trim, action) = match action.strip_prefix("- ") {
            Some(action) => ("- ", action),
            None => ("", action),
        };
        out.push_str(trim);
        if shows_pointer(action) {
            out.push_str(" __shown ");
        }
        guard_action(action, &mut out);
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// What is between quotes is no field.
fn guard_action(action: &str, out: &mut String) {
    let mut rest = action;
    while let Some(open) = rest.find(['"', '`']) {
        out.push_str(&guard_fields(&rest[..open]));
        let length = quoted_length(&rest[open..]);
        out.push_str(&rest[open..open + length]);
        rest = &rest[open + length..];
    }
    out.push_str(&guard_fields(rest));
}

/// Length of the text in quotes that this begins with, the quotes included; all of it if that does not end.
fn quoted_length(text: &str) -> usize {
    let mut bytes = text.bytes().enumerate();
    let Some((_, quote)) = bytes.next() else {
        return 0;
    };
    let mut escaped = false;
    for (index, byte) in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quote == b'"' => escaped = true,
            _ if byte == quote => return index + 1,
            _ => {}
        }
    }
    text.len()
}

/// Whether an action is nothing but a chain that ends with a pointer.
fn shows_pointer(action: &str) -> bool {
    let action = action.strip_suffix(" -").unwrap_or(action).trim();
    let is_chain = action
        .chars()
        .all(|letter| is_name(letter) || letter == '.' || letter == '$');
    let last = action.rsplit('.').next().unwrap_or_default();
    is_chain && action.contains('.') && !last.is_empty() && POINTERS.contains(&last)
}

fn guard_fields(text: &str) -> String {
    let in_chain = |letter: char| is_name(letter) || letter == '.' || letter == '$';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(in_chain) {
        let length = rest[start..].find(|letter| !in_chain(letter));
        let end = length.map_or(rest.len(), |length| start + length);
        out.push_str(&rest[..start]);
        // What follows brackets is a field of what they give.
        match rest[..start].ends_with(')') {
            true => out.push_str(&rest[start..end]),
            false => out.push_str(&guard_chain(&rest[start..end])),
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

fn guard_chain(chain: &str) -> String {
    let mut whole = String::new();
    let mut fields = chain.split('.').peekable();
    whole.push_str(fields.next().unwrap_or_default());
    let mut above = "";
    while let Some(field) = fields.next() {
        let is_pointer = !field.is_empty() && POINTERS.contains(&field);
        whole = match TEXTS.contains(&above) {
            true => format!("(__entry {whole} \"{field}\")"),
            false => format!("{whole}.{field}"),
        };
        if is_pointer && fields.peek().is_some() {
            whole = format!("(__there {whole} \"{field}\")");
        }
        above = field;
    }
    whole
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

fn functions(engine: Engine, origin: Shared, rows: bool) -> Engine {
    let text = |args: &[Node], index: usize| args.get(index).map(show).unwrap_or_default();
    engine
        .func("json", move |args| {
            let value = args.first().cloned().unwrap_or(Node::Nil);
            let origin = origin.lock().unwrap_or_else(PoisonError::into_inner);
            let json = origin.json(&value);
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
        .func("__there", |args| match args.first() {
            None | Some(Node::Nil) => Err(TemplateError::MissingKey {
                key: args.get(1).map(show).unwrap_or_default(),
            }),
            Some(there) => Ok(there.clone()),
        })
        .func("__shown", |args| match args.first() {
            None | Some(Node::Nil) => Ok(Node::String("<nil>".into())),
            Some(there) => Ok(there.clone()),
        })
        .func("__entry", |args| {
            let name = args.get(1).and_then(Node::as_str).unwrap_or_default();
            let entry = args.first().and_then(|entries| entries.field(name));
            Ok(entry.cloned().unwrap_or(Node::Nil))
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

/// What a template is applied to, and which part of it each map and list of the engine was made from: JSON of a part is
/// the document's own, in its order, with what it leaves out.
#[derive(Default)]
struct Origin {
    document: Value,
    completed: Value,
    /// Path in the document (RFC 6901), by where the map or list is in memory: the engine hands it around and makes no copy.
    places: HashMap<usize, String>,
}

impl Origin {
    fn json(&self, value: &Node) -> String {
        let path = address(value).and_then(|address| self.places.get(&address));
        let part = path.and_then(|path| {
            let part = self.document.pointer(path);
            part.or_else(|| self.completed.pointer(path))
        });
        match part {
            Some(part) => without_labels(part).to_string(),
            None => back(value).to_string(),
        }
    }
}

fn address(value: &Node) -> Option<usize> {
    match value {
        Node::Map(map) => Some(Arc::as_ptr(map).addr()),
        Node::List(list) => Some(Arc::as_ptr(list).cast::<()>().addr()),
        _ => None,
    }
}

// The Go type behind a `null` decides how it prints; the names of maps and pointers are known.
fn null(name: &str) -> Node {
    if MAPS.contains(&name) {
        Node::Map(Arc::new(BTreeMap::new()))
    } else if POINTERS.contains(&name) {
        Node::Nil
    } else {
        Node::List(Vec::new().into())
    }
}

/// The engine's value for a part of a document at `path`, under the field `name`.
fn node(value: &Value, name: &str, path: &str, places: &mut HashMap<usize, String>) -> Node {
    let made = match value {
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
            let items =
                items.map(|(index, item)| node(item, "", &format!("{path}/{index}"), places));
            Node::List(items.collect::<Vec<_>>().into())
        }
        Value::Object(fields) => {
            let mut map = BTreeMap::<Arc<str>, Node>::new();
            for (key, value) in fields {
                let place = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                map.insert(key.as_str().into(), node(value, key, &place, places));
            }
            for (wire, go) in ALIASES {
                if let (Some(field), false) = (map.get(*wire).cloned(), map.contains_key(*go)) {
                    map.insert((*go).into(), field);
                }
            }
            Node::Map(Arc::new(map))
        }
    };
    if let Some(address) = address(&made) {
        places.insert(address, path.to_owned());
    }
    made
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
    fn null_is_not_empty() {
        check(
            "{{json .A}} {{json .B}} {{json .C}} {{json (index .D 0)}}",
            json!({"A": null, "B": [], "C": {}, "D": [{"~/x": 1}], "Labels": null}),
            "null [] {} {\"~/x\":1}",
        );
        check(
            "{{json .Labels}} {{json .Volumes}} {{json .Binds}} {{json .Cmd}} {{json .Mounts}} {{json .Config.Labels}}",
            json!({"Labels": {}, "Volumes": null, "Binds": null, "Cmd": [], "Mounts": [], "Config": {"Labels": null}}),
            "{} null null [] [] null",
        );
        check(
            "{{range $port, $at := .Ports}}{{$port}}={{json $at}} {{end}}",
            json!({"Ports": {"80/tcp": null, "81/tcp": [], "82/tcp": [{"b": 1, "a": 2}]}}),
            "80/tcp=null 81/tcp=[] 82/tcp=[{\"b\":1,\"a\":2}] ",
        );
    }

    #[test]
    fn nothing_is_asked_of_nil() {
        let document = json!({"State": {"Health": null}});
        let render = |source: &str| Template::strict(source).unwrap().render(&document);
        assert_eq!(
            render("{{.State.Health.Status}}").unwrap_err(),
            "template parsing error: template: :1:8: executing \"\" at <.State.Health.Status>: map has no entry for key \"Health\""
        );
        let asked = render("{{if .State.Health}}{{.State.Health.Status}}{{end}}|{{.State.Health}}");
        assert_eq!(asked.unwrap(), "|<nil>");
        let spaced = render("{{ .State.Health }} {{- .State.Health -}} |");
        assert_eq!(spaced.unwrap(), "<nil><nil>|");
        let document = json!({"State": {"Health": {"Status": "healthy", "Log": [1]}}});
        let template = "{{with .State}}{{.Health.Status}}{{end}} {{range .State.Health.Log}}{{.}}{{end}} {{\".Health.x\"}}";
        let shown = Template::strict(template).unwrap().render(&document);
        assert_eq!(shown.unwrap(), "healthy 1 .Health.x");
        let document = json!({"Networks": {"n": {"IPAMConfig": {"IPv4Address": "10.0.0.2"}}}});
        let template = "{{(index .Networks \"n\").IPAMConfig.IPv4Address}} {{len `x.Labels.b`}} {{len \"\\\"x.Labels.b\"}}";
        let shown = Template::strict(template).unwrap().render(&document);
        assert_eq!(shown.unwrap(), "10.0.0.2 10 11");
        let document = json!({"Config": {"Labels": {"a": "b"}}});
        let template =
            "{{.Config.Labels.a}} {{.Config.Labels.no}} {{if .Config.Labels.no}}x{{end}}";
        let shown = Template::strict(template).unwrap().render(&document);
        assert_eq!(shown.unwrap(), "b <no value> ");
    }

    #[test]
    fn a_typed_template_names_the_type() {
        let template = Template::typed("{{.Client.Nope}}", "version", "system.versionInfo");
        assert_eq!(
            template
                .unwrap()
                .render(&json!({"Client": {}}))
                .unwrap_err(),
            "template: version:1:9: executing \"version\" at <.Client.Nope>: can't evaluate field Nope in type system.versionInfo"
        );
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
