//! Sizes as people write them (`go-units`, `size.go`): a number, perhaps with a fraction, perhaps a blank, perhaps a unit:
//! `b`, or one of `k m g t p` with `b` or `ib` behind it or nothing, in any case.

/// `RAMInBytes`: units are powers of 1024, however they are written.
///
/// # Errors
/// go-units' words, if it is no size.
pub fn ram_in_bytes(text: &str) -> Result<i64, String> {
    size(text, 1024.0)
}

/// `FromHumanSize`: units are powers of 1000, however they are written.
///
/// # Errors
/// As [`ram_in_bytes`].
pub fn from_human_size(text: &str) -> Result<i64, String> {
    size(text, 1000.0)
}

fn size(text: &str, base: f64) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let is_number = |letter: char| letter.is_ascii_digit() || matches!(letter, '.' | ' ');
    let last = text.rfind(is_number).ok_or_else(invalid)?;
    let (number, suffix) = text.split_at(last + 1);
    // One blank, and no more.
    let number = number.strip_suffix(' ').unwrap_or(number);
    let syntax = || format!("strconv.ParseFloat: parsing {number:?}: invalid syntax");
    let value: f64 = number.parse().map_err(|_| syntax())?;
    if !value.is_finite() {
        return Err(match number.bytes().any(|byte| byte.is_ascii_digit()) {
            true => format!("strconv.ParseFloat: parsing {number:?}: value out of range"),
            false => syntax(),
        });
    }
    if value < 0.0 {
        return Err(invalid());
    }
    let power = power(suffix)?;
    // What is too large is the largest: Go says nothing of it.
    Ok((value * base.powi(power)) as i64)
}

fn power(suffix: &str) -> Result<i32, String> {
    let lower = suffix.to_ascii_lowercase();
    let bad = |shown: &str| format!("invalid suffix: '{shown}'");
    // As it was written: it is looked at no closer.
    if suffix.len() > 3 {
        return Err(bad(suffix));
    }
    let mut letters = lower.chars();
    let power = match letters.next() {
        None => return Ok(0),
        Some('b') => 0,
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        Some('p') => 5,
        Some(_) => return Err(bad(&lower)),
    };
    match (power, letters.as_str()) {
        (_, "") | (1.., "b" | "ib") => Ok(power),
        _ => Err(bad(&lower)),
    }
}

#[cfg(test)]
mod tests {
    use super::{from_human_size, ram_in_bytes};

    #[test]
    fn sizes_are_those_of_go_units() {
        for (text, binary, decimal) in [
            ("0", 0, 0),
            ("100", 100, 100),
            ("32b", 32, 32),
            ("32 B", 32, 32),
            ("1k", 1 << 10, 1_000),
            ("1Kb", 1 << 10, 1_000),
            ("1KiB", 1 << 10, 1_000),
            ("64MiB", 64 << 20, 64_000_000),
            ("512m", 512 << 20, 512_000_000),
            ("1.5g", 3 << 29, 1_500_000_000),
            ("2 TB", 2 << 40, 2_000_000_000_000),
            ("1p", 1 << 50, 1_000_000_000_000_000),
            (".5k", 512, 500),
            ("1e1k", 10 << 10, 10_000),
            ("0.1", 0, 0),
            ("99999999999p", i64::MAX, i64::MAX),
        ] {
            assert_eq!(ram_in_bytes(text), Ok(binary), "{text}");
            assert_eq!(from_human_size(text), Ok(decimal), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_said_in_go_units_words() {
        for (text, words) in [
            ("", "invalid size: ''"),
            ("x", "invalid size: 'x'"),
            ("kb", "invalid size: 'kb'"),
            ("-1", "invalid size: '-1'"),
            ("5x", "invalid suffix: 'x'"),
            ("1kk", "invalid suffix: 'kk'"),
            ("1bb", "invalid suffix: 'bb'"),
            ("1bib", "invalid suffix: 'bib'"),
            ("1KBytes", "invalid suffix: 'KBytes'"),
            (
                "1.2.3",
                "strconv.ParseFloat: parsing \"1.2.3\": invalid syntax",
            ),
            ("1  k", "strconv.ParseFloat: parsing \"1 \": invalid syntax"),
            (" 1", "strconv.ParseFloat: parsing \" 1\": invalid syntax"),
            (" ", "strconv.ParseFloat: parsing \"\": invalid syntax"),
            (
                "1e999",
                "strconv.ParseFloat: parsing \"1e999\": value out of range",
            ),
        ] {
            assert_eq!(ram_in_bytes(text), Err(words.to_owned()), "{text:?}");
        }
    }
}
