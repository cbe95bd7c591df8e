//! `WWW-Authenticate`: what a registry wants to see before it answers (RFC 9110 section 11.6.1, RFC 6750).

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// A way to authenticate that we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User name and password with every request.
    Basic,
    /// A token from a token server.
    Bearer(Bearer),
}

/// Where to get a token, and for what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Bearer {
    /// Address of the token server.
    pub(crate) realm: String,
    /// Name of the registry at the token server.
    pub(crate) service: String,
    /// What the refused request would have needed; empty in the answer to a ping.
    pub(crate) scope: String,
    /// `invalid_token` or `insufficient_scope`, if a token was sent.
    pub(crate) error: String,
    /// Text for it.
    pub(crate) error_description: String,
}

/// The challenges in a response; bearer first, as Docker prefers it.
pub(crate) fn parse(headers: &HeaderMap) -> Vec<Challenge> {
    let mut found = Vec::new();
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(value) = value.to_str() else { continue };
        let (scheme, parameters) = value.split_once(' ').unwrap_or((value, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer") {
            found.insert(0, Challenge::Bearer(bearer(parameters)));
        }
    }
    found
}

fn bearer(text: &str) -> Bearer {
    let mut bearer = Bearer::default();
    for (key, value) in parameters(text) {
        match key.to_ascii_lowercase().as_str() {
            "realm" => bearer.realm = value,
            "service" => bearer.service = value,
            "scope" => bearer.scope = value,
            "error" => bearer.error = value,
            "error_description" => bearer.error_description = value,
            _ => {}
        }
    }
    bearer
}

/// `key=value, key="quoted, value"`.
fn parameters(mut text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    while let Some((key, rest)) = text.split_once('=') {
        let key = key.trim_matches([' ', ',', '\t']).to_owned();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(rest) => quoted(rest),
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        all.push((key, value));
        text = rest;
    }
    all
}

/// A quoted string after its opening quote, and what follows it.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_registries_send() {
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, "Basic realm=\"x\"".parse().unwrap());
        let value = r#"Bearer realm="https://auth.lan/token",service="reg, \"one\"", scope=repository:a/b:pull,error="insufficient_scope""#;
        headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        headers.append(WWW_AUTHENTICATE, "Negotiate".parse().unwrap());
        let expected = Bearer {
            realm: "https://auth.lan/token".into(),
            service: "reg, \"one\"".into(),
            scope: "repository:a/b:pull".into(),
            error: "insufficient_scope".into(),
            error_description: String::new(),
        };
        assert_eq!(
            parse(&headers),
            [Challenge::Bearer(expected), Challenge::Basic]
        );
    }

    #[test]
    fn survives_nonsense() {
        for value in [
            "Bearer",
            "Bearer =",
            "Bearer realm=\"x",
            "Bearer a=b,,c",
            "",
        ] {
            let mut headers = HeaderMap::new();
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
            parse(&headers);
        }
    }
}
