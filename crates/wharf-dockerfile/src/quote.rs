//! Texts in quotes, as Go writes them.

use std::fmt::Write as _;

/// `text` as Go's `%q` prints it (`strconv.Quote`).
pub fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for letter in text.chars() {
        push(&mut quoted, letter);
    }
    quoted + "\""
}

fn push(quoted: &mut String, letter: char) {
    let short = match letter {
        '\x07' => 'a',
        '\x08' => 'b',
        '\x0c' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\x0b' => 'v',
        '\\' | '"' => letter,
        letter => {
            let code = u32::from(letter);
            // Rust escapes as `\u{…}` what it thinks cannot be printed.
            let is_printable = !letter.escape_debug().to_string().starts_with("\\u");
            let written = match code {
                _ if is_printable && !letter.is_control() => {
                    quoted.push(letter);
                    Ok(())
                }
                0..0x80 => write!(quoted, "\\x{code:02x}"),
                0x80..0x1_0000 => write!(quoted, "\\u{code:04x}"),
                _ => write!(quoted, "\\U{code:08x}"),
            };
            // Strings take everything.
            let _ = written;
            return;
        }
    };
    quoted.extend(['\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_does() {
        let cases = [
            ("a b", r#""a b""#),
            ("\"\\", r#""\"\\""#),
            ("\x07\x08\n\t\0\x1b\x7f", r#""\a\b\n\t\x00\x1b\x7f""#),
            ("äß'", r#""äß'""#),
            ("\u{200b}", r#""\u200b""#),
        ];
        for (text, expected) in cases {
            assert_eq!(quoted(text), expected);
        }
    }
}
