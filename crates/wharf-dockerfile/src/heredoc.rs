//! Here-documents (`<<EOF`), which `RUN`, `COPY` and `ADD` may have.

use crate::words;

/// One here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it.
    pub name: String,
    /// The file descriptor before `<<`; 0 where there is none.
    pub descriptor: u32,
    /// Whether variables in it are expanded: its word has no quotes.
    pub expand: bool,
    /// Whether leading tabs are taken off (`<<-`).
    pub chomp: bool,
    /// Its text, each line ended.
    pub content: String,
}

/// Whether an instruction takes here-documents at all.
pub(crate) fn may_have(text: &str) -> bool {
    let mut parts = text.split_ascii_whitespace();
    let word = |word: Option<&str>| word.unwrap_or_default().to_ascii_uppercase();
    let mut first = word(parts.next());
    if first == "ONBUILD" {
        first = word(parts.next());
    }
    ["RUN", "COPY", "ADD"].contains(&first.as_str()) && text.contains("<<")
}

/// The here-documents that a line announces, still without content.
pub(crate) fn of_line(text: &str) -> Vec<Heredoc> {
    words::raw(text, '\\')
        .iter()
        .filter_map(|word| parse(word))
        .collect()
}

/// Reads `[N]<<[-]NAME`.
pub(crate) fn parse(word: &str) -> Option<Heredoc> {
    let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = word.split_at(digits);
    let rest = rest.strip_prefix("<<")?;
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let name = words::unquote(rest, '\\');
    if name.is_empty() || name.contains(char::is_whitespace) {
        return None;
    }
    Some(Heredoc {
        expand: name == rest,
        descriptor: number.parse().unwrap_or(0),
        chomp,
        name,
        content: String::new(),
    })
}
