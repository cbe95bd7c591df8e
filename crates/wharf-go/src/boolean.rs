//! `strconv.ParseBool`.

/// What the text says, by the few words that Go knows.
///
/// # Errors
/// Go's words, for any other.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {text:?}: invalid syntax"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::parse_bool;

    #[test]
    fn go_knows_twelve_words() {
        for text in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(parse_bool(text), Ok(true), "{text}");
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(parse_bool(text), Ok(false), "{text}");
        }
        for text in ["", "yes", "tRue", " 1", "2"] {
            assert!(parse_bool(text).is_err(), "{text}");
        }
        assert_eq!(
            parse_bool("x").unwrap_err(),
            "strconv.ParseBool: parsing \"x\": invalid syntax"
        );
    }
}
