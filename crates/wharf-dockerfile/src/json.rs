//! The exec form: a JSON array of strings.

/// The strings of `text`, if it is an array of nothing else.
pub(crate) fn array(text: &str) -> Option<Vec<String>> {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return None;
    }
    serde_json::from_str(text).ok()
}
