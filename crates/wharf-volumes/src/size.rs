//! Sizes as people write them (go-units `RAMInBytes`).

/// Bytes of `text`: digits, perhaps with a fraction, perhaps a binary unit (`b k m g t p`, `ib` after it or not).
/// Nothing if it is no size.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let end = text.find(|c| !is_number(c)).unwrap_or(text.len());
    parse(text.get(..end)?, text.get(end..)?)
}

fn parse(number: &str, unit: &str) -> Option<u64> {
    let number: f64 = number.parse().ok()?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let letter = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')) {
        Some(letter) => letter,
        None => &unit,
    };
    let power = ["", "k", "m", "g", "t", "p"]
        .iter()
        .position(|known| *known == letter)?;
    let bytes = number * 1024_f64.powi(i32::try_from(power).ok()?);
    (bytes.is_finite() && bytes >= 0.0).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, expected) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("10m", Some(10 << 20)),
            ("1.5G", Some(3 << 29)),
            ("2KiB", Some(2048)),
            ("3 mb", Some(3 << 20)),
            ("abc", None),
            ("-1", None),
            ("", None),
            ("1x", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
