//! What a registry wants its users to know: `Warning: 299 - "text"` (distribution specification, "Warnings"). It is shown to the
//! user and decides nothing.

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use http::header::WARNING;

/// A registry sends at most so many bytes of warnings; what comes above that is not kept.
const MAX_SIZE: usize = 4096;

/// The warnings of one piece of work, each once, in the order in which they came.
#[derive(Clone, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Remembers what an answer warns of.
    pub(crate) fn note(&self, headers: &HeaderMap) {
        // Most answers warn of nothing.
        if !headers.contains_key(WARNING) {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for value in headers.get_all(WARNING) {
            let Some(text) = value.to_str().ok().and_then(parse) else {
                continue;
            };
            let size: usize = known.iter().map(String::len).sum();
            if size + text.len() <= MAX_SIZE && !known.contains(&text) {
                known.push(text);
            }
        }
    }

    /// Takes what came until now.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The text of a warning with code 299, agent `-` and no date.
fn parse(value: &str) -> Option<String> {
    let quoted = value.strip_prefix("299 - \"")?.strip_suffix('"')?;
    let mut text = String::with_capacity(quoted.len());
    let mut letters = quoted.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => text.push(letters.next()?),
            // The end of the text, and something behind it.
            '"' => return None,
            letter => text.push(letter),
        }
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn noted(values: &[&str]) -> Vec<String> {
        let values = values
            .iter()
            .map(|value| (WARNING, HeaderValue::from_str(value).unwrap()));
        let mut headers = HeaderMap::new();
        headers.extend(values.clone());
        for (name, value) in values {
            headers.append(name, value);
        }
        let warnings = Warnings::default();
        warnings.note(&headers);
        warnings.take()
    }

    #[test]
    fn each_is_told_once() {
        let one = r#"299 - "This image is deprecated.""#;
        let other = r#"299 - "It says \"no\" to a \\.""#;
        assert_eq!(
            noted(&[one, other, one]),
            ["This image is deprecated.", r#"It says "no" to a \."#]
        );
    }

    #[test]
    fn what_has_another_form_is_none() {
        for none in [
            r#"110 - "Response is stale""#,
            r#"299 proxy "x""#,
            r#"299 - "x" "Mon, 30 Nov 2026 00:00:00 GMT""#,
            r#"299 - """#,
            r#"299 - "x\""#,
            "299 - x",
        ] {
            assert!(noted(&[none]).is_empty(), "{none}");
        }
        let long = format!("299 - \"{}\"", "x".repeat(4000));
        let more = format!("299 - \"{}\"", "y".repeat(4000));
        assert_eq!(noted(&[&long, &more]).len(), 1);
    }
}
