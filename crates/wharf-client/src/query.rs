//! Paths with a query string.

/// A request path that grows its query string: `Url::new(["containers", id, "start"]).with("t", 3)`.
#[derive(Debug, Clone)]
pub struct Url {
    text: String,
    has_query: bool,
}

impl Url {
    /// Joins path segments; each is percent-encoded, but `/` and `:` stay, as names of images hold them.
    pub fn new<'a>(segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut text = String::new();
        for segment in segments {
            text.push('/');
            encode(&mut text, segment, b"/:@");
        }
        Url {
            text,
            has_query: false,
        }
    }

    /// Adds one parameter.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl std::fmt::Display) -> Url {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        self.text.push_str(key);
        self.text.push('=');
        encode(&mut self.text, &value.to_string(), b":");
        self
    }

    /// Adds the parameter if there is a value.
    #[must_use]
    pub fn maybe(self, key: &str, value: Option<impl std::fmt::Display>) -> Url {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Adds `key=1` if `on`.
    #[must_use]
    pub fn flag(self, key: &str, on: bool) -> Url {
        if on { self.with(key, 1) } else { self }
    }

    /// The path and query as sent.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn encode(out: &mut String, text: &str, also: &[u8]) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_what_a_query_cannot_hold() {
        let url = Url::new(["images", "host:5000/a b", "json"])
            .with("filters", "{\"a\":1}")
            .flag("x", false)
            .flag("y", true);
        assert_eq!(
            url.as_str(),
            "/images/host:5000/a%20b/json?filters=%7B%22a%22:1%7D&y=1"
        );
    }
}
