//! Go's `path.Match`: `*` and `?` do not cross a slash, `[a-z]` and `[^a-z]` are classes, `\` escapes.

/// Checks the form of a pattern.
///
/// # Errors
/// Go's text for a malformed one.
pub fn validate(pattern: &str) -> Result<(), String> {
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        let fine = match letter {
            '\\' => letters.next().is_some(),
            '[' => class_end(&mut letters),
            _ => true,
        };
        if !fine {
            return Err("syntax error in pattern".to_owned());
        }
    }
    Ok(())
}

fn class_end(letters: &mut std::str::Chars<'_>) -> bool {
    let mut members = 0;
    loop {
        match letters.next() {
            None => return false,
            Some(']') if members > 0 => return true,
            Some('^') if members == 0 => {}
            Some('\\') => {
                letters.next();
                members += 1;
            }
            Some(_) => members += 1,
        }
    }
}

/// Whether the whole text fits the pattern. A malformed pattern fits nothing.
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    fits(&pattern, &text)
}

/// Goes back to the last star only: linear in practice, quadratic at worst, never exponential.
fn fits(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
            continue;
        }
        if let Some(next) = one(pattern, p, text[t]) {
            p = next;
            t += 1;
            continue;
        }
        match star {
            Some((at, from)) if text[from] != '/' => {
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
            _ => return false,
        }
    }
    pattern[p..].iter().all(|&rest| rest == '*')
}

/// The place in the pattern after the element at `p`, if that element takes `letter`.
fn one(pattern: &[char], p: usize, letter: char) -> Option<usize> {
    match *pattern.get(p)? {
        '?' => (letter != '/').then_some(p + 1),
        '\\' => (*pattern.get(p + 1)? == letter).then_some(p + 2),
        '[' => class(pattern, p + 1, letter),
        literal => (literal == letter).then_some(p + 1),
    }
}

fn class(pattern: &[char], mut p: usize, letter: char) -> Option<usize> {
    let negated = *pattern.get(p)? == '^';
    p += usize::from(negated);
    let (mut found, mut first) = (false, true);
    loop {
        if *pattern.get(p)? == ']' && !first {
            return (found != negated).then_some(p + 1);
        }
        first = false;
        let member = |p: &mut usize| {
            *p += usize::from(*pattern.get(*p)? == '\\');
            let letter = *pattern.get(*p)?;
            *p += 1;
            Some(letter)
        };
        let low = member(&mut p)?;
        let high = if *pattern.get(p)? == '-' {
            p += 1;
            member(&mut p)?
        } else {
            low
        };
        found |= (low..=high).contains(&letter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_go_does() {
        let cases = [
            ("debian", "debian", true),
            ("deb*", "debian:latest", true),
            ("*", "user/app", false),
            ("*/*", "user/app", true),
            ("debian:1?", "debian:12", true),
            ("a[b-d]e", "ace", true),
            ("a[^b-d]e", "ace", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("", "", true),
            ("*:*", "debian:12", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        assert!(validate("a[").is_err());
        assert!(validate("a\\").is_err());
        assert!(validate("[a-z]*").is_ok());
    }
}
