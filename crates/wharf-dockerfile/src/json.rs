//! The exec form: a JSON array of strings.

use serde_json::{Deserializer, Value};

use crate::error::Fault;

/// The strings of `text`, if it begins with an array of nothing else. As BuildKit's decoder, what follows is not looked at.
///
/// # Errors
/// If it is an array that holds something else.
pub(crate) fn array(text: &str) -> Result<Option<Vec<String>>, Fault> {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return Ok(None);
    }
    let mut values = Deserializer::from_str(text).into_iter::<Vec<Value>>();
    let Some(Ok(values)) = values.next() else {
        return Ok(None);
    };
    let strings = values.into_iter().map(|value| match value {
        Value::String(text) => Ok(text),
        _ => Err(Fault::syntax(
            "when using JSON array syntax, arrays must be comprised of strings only",
        )),
    });
    strings.collect::<Result<_, _>>().map(Some)
}
