//! Lists of things: a table by default, or one line per thing by a template, as `--format` says.

use serde_json::{Map, Value};

use super::table;
use super::template::Template;

/// One thing: the fields that templates can name.
pub type Row = Map<String, Value>;

/// Fields and the headers above them.
pub type Headers = &'static [(&'static str, &'static str)];

/// The fields of a row that a format shows: a list of many takes as long as its rows do.
pub struct Wanted<'a>(Option<Vec<&'a str>>);

impl<'a> Wanted<'a> {
    /// Those of the plain table, whose template is `default`; all for a format that a user wrote.
    pub fn of(format: &str, default: &'a str) -> Self {
        let is_plain = matches!(format, "" | "table");
        let fields = default.split("{{.").skip(1);
        let names = fields.filter_map(|field| Some(field.split_once("}}")?.0));
        Self(is_plain.then(|| names.collect()))
    }

    /// Whether this field is one of them.
    pub fn has(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|names| names.contains(&name))
    }
}

/// Renders `rows` by `format` (`table`, `table TEMPLATE`, `json`, `TEMPLATE`; `""` is `table`).
/// `default` is the template of the plain table.
pub fn render(
    format: &str,
    default: &str,
    headers: Headers,
    rows: Vec<Row>,
) -> Result<String, String> {
    let (is_table, source) = match format {
        "" | "table" => (true, default),
        "json" => (false, "{{json .}}"),
        other => match other.strip_prefix("table") {
            Some(rest) => (true, rest.trim_matches(' ')),
            None => (false, other.trim_matches(' ')),
        },
    };
    let template = Template::row(source)?;
    let mut text = String::new();
    if is_table {
        let mut fields: Row = headers
            .iter()
            .map(|(name, title)| ((*name).to_owned(), (*title).into()))
            .collect();
        fields.insert("__labels".to_owned(), Value::Object(Map::new()));
        text.push_str(&template.render_headers(&Value::Object(fields))?);
        text.push('\n');
    }
    let is_plain = matches!(format, "" | "table");
    for mut row in rows {
        // Only a row that is shown as a whole shows the order of its fields.
        if !is_plain {
            row.sort_keys();
        }
        text.push_str(&template.render(&Value::Object(row))?);
        text.push('\n');
    }
    Ok(if is_table { table::align(&text) } else { text })
}

/// Builds a [`Row`] out of `name => value` pairs; of those that are [`Wanted`] if that comes first.
#[macro_export]
macro_rules! row {
    ($wanted:expr; $($name:literal => $value:expr),* $(,)?) => {{
        let mut row = $crate::format::rows::Row::new();
        $(if $wanted.has($name) {
            row.insert($name.to_owned(), ::serde_json::Value::from($value));
        })*
        row
    }};
    ($($name:literal => $value:expr),* $(,)?) => {{
        let mut row = $crate::format::rows::Row::new();
        $(row.insert($name.to_owned(), ::serde_json::Value::from($value));)*
        row
    }};
}

/// The labels of a thing as `--format` shows them: `a=b,c=d`.
pub fn labels(value: Option<&Value>) -> String {
    let pairs = super::json::pairs(value);
    pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// The first 12 characters of an id, without the algorithm.
pub fn short_id(id: &str) -> &str {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}

/// Cut to `limit` characters, the last of which is `…`, as Docker's ellipsis.
pub fn ellipsis(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let head: String = text.chars().take(limit - 1).collect();
    format!("{head}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: Headers = &[("ID", "THING ID"), ("Name", "NAME")];

    fn check(format: &str, expected: &str) {
        let rows =
            vec![row! {"Name" => "n", "ID" => "1", "__labels" => serde_json::json!({"a-b": "c"})}];
        assert_eq!(
            render(format, "{{.ID}}\t{{.Name}}", HEADERS, rows).unwrap(),
            expected
        );
    }

    #[test]
    fn the_four_formats() {
        check("", "THING ID   NAME\n1          n\n");
        check(
            "table {{.Name}}\\t{{.Label \"x.a-b\"}}",
            "NAME      a b\nn         \n",
        );
        check("{{.ID}}/{{.Label \"a-b\"}}", "1/c\n");
        check("json", "{\"ID\":\"1\",\"Name\":\"n\"}\n");
    }

    #[test]
    fn only_what_a_table_shows_is_made() {
        let made = |format| -> Row {
            let wanted = Wanted::of(format, "{{.ID}}\t{{.Name}}");
            row! {wanted; "ID" => "1", "Name" => "n", "NameOfAll" => "x"}
        };
        assert_eq!(made("table").keys().collect::<Vec<_>>(), ["ID", "Name"]);
        assert_eq!(made("json").len(), 3);
        assert_eq!(made("{{.ID}}").len(), 3);
    }

    #[test]
    fn short_forms() {
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(ellipsis("abcdef", 4), "abc…");
    }
}
