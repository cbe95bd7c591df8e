//! Splitting into words.

/// Splits at white space outside of quotes; quotes and escapes stay as they are.
pub(crate) fn raw(text: &str, escape: char) -> Vec<String> {
    let mut found = Vec::new();
    let mut word = String::new();
    let mut in_word = false;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match quote {
            None if letter.is_whitespace() => {
                if in_word {
                    found.push(std::mem::take(&mut word));
                    in_word = false;
                }
                continue;
            }
            None if letter == '\'' || letter == '"' => quote = Some(letter),
            Some(open) if letter == open => quote = None,
            _ => {}
        }
        in_word = true;
        word.push(letter);
        // In single quotes an escape is a letter.
        if letter == escape && quote != Some('\'') {
            word.extend(letters.next());
        }
    }
    if in_word {
        found.push(word);
    }
    found
}

/// Takes quotes and escapes off.
pub(crate) fn unquote(text: &str, escape: char) -> String {
    let mut plain = String::new();
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match quote {
            None if letter == '\'' || letter == '"' => quote = Some(letter),
            Some(open) if letter == open => quote = None,
            _ if letter == escape && quote != Some('\'') => plain.extend(letters.next()),
            _ => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_outside_of_quotes() {
        let words = raw(r#"a=b  c="d e" f\ g 'h \' i"#, '\\');
        assert_eq!(words, ["a=b", r#"c="d e""#, r"f\ g", r"'h \'", "i"]);
        assert_eq!(unquote(r#"c="d e"f\ g"#, '\\'), "c=d ef g");
    }
}
