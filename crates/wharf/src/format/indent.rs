//! JSON with line breaks, as Go's `json.Indent` makes it with four blanks: the text itself, not read and written anew.

/// A list of documents, one after the other.
pub fn list<'a>(documents: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = Indented::default();
    out.open('[');
    for (index, document) in documents.into_iter().enumerate() {
        if index > 0 {
            out.next();
        }
        out.put(document);
    }
    out.close(']');
    out.text.push('\n');
    out.text
}

#[derive(Default)]
struct Indented {
    text: String,
    depth: usize,
    /// A bracket was just opened: its line breaks are up to what follows.
    opened: bool,
}

impl Indented {
    fn put(&mut self, json: &str) {
        let mut rest = json;
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '"' => string_length(rest),
                _ => first.len_utf8(),
            };
            let (token, after) = rest.split_at(length);
            match first {
                '{' | '[' => self.open(first),
                '}' | ']' => self.close(first),
                ',' => self.next(),
                ':' => self.text.push_str(": "),
                ' ' | '\t' | '\n' | '\r' => {}
                _ => self.write(token),
            }
            rest = after;
        }
    }

    fn open(&mut self, bracket: char) {
        self.write("");
        self.text.push(bracket);
        self.depth += 1;
        self.opened = true;
    }

    fn close(&mut self, bracket: char) {
        self.depth = self.depth.saturating_sub(1);
        if !std::mem::take(&mut self.opened) {
            self.line();
        }
        self.text.push(bracket);
    }

    fn next(&mut self) {
        self.text.push(',');
        self.line();
    }

    fn write(&mut self, token: &str) {
        if std::mem::take(&mut self.opened) {
            self.line();
        }
        self.text.push_str(token);
    }

    fn line(&mut self) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n("    ", self.depth));
    }
}

/// Length of the string that `json` begins with, quotes included; all of it if that does not end.
fn string_length(json: &str) -> usize {
    let mut escaped = true;
    for (index, byte) in json.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index + 1,
            _ => {}
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn as_go_does_it() {
        assert_eq!(list([]), "[]\n");
        let documents = [r#"{"a":{},"b":[],"c":[1,-2.5e3,true,null]}"#, "{}"];
        let shown = r#"[
    {
        "a": {},
        "b": [],
        "c": [
            1,
            -2.5e3,
            true,
            null
        ]
    },
    {}
]
"#;
        assert_eq!(list(documents), shown);
        assert_eq!(
            list([shown.trim()]),
            list(["[{\"a\":{},\"b\":[],\"c\":[1,-2.5e3,true,null]},{}]"])
        );
    }

    #[test]
    fn texts_stay_as_they_are() {
        let text = r#"["{[,:]}","\"\\","é < \u003c",""]"#;
        let back: serde_json::Value = serde_json::from_str(&list([text])).unwrap();
        assert_eq!(
            back[0],
            serde_json::from_str::<serde_json::Value>(text).unwrap()
        );
        assert!(list([text]).contains(r#""é < \u003c""#));
    }
}
