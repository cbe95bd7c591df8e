//! Numbers in flags, refused in the words of Go's `strconv`, which Docker's users know.

fn refused(function: &str, text: &str, reason: &str) -> String {
    format!("strconv.{function}: parsing {text:?}: {reason}")
}

pub use wharf_go::parse_bool;

fn radix(text: &str) -> (&str, u32) {
    let lower = |prefix: &str| {
        text.get(..2)
            .filter(|head| head.eq_ignore_ascii_case(prefix))
            .map(|_| &text[2..])
    };
    if let Some(rest) = lower("0x") {
        return (rest, 16);
    }
    if let Some(rest) = lower("0b") {
        return (rest, 2);
    }
    if let Some(rest) = lower("0o") {
        return (rest, 8);
    }
    match text.strip_prefix('0') {
        Some(rest) if !rest.is_empty() => (rest, 8),
        _ => (text, 10),
    }
}

/// A signed number; `0x`, `0o`, `0b` and a leading zero mean what they mean in Go.
pub fn parse_int(text: &str) -> Result<i64, String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, base) = radix(digits);
    i64::from_str_radix(&format!("{sign}{digits}"), base).map_err(|error| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let reason = match error.kind() {
            PosOverflow | NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        refused("ParseInt", text, reason)
    })
}

/// An unsigned number of at most `bits` bits.
pub fn parse_uint(text: &str, bits: u32) -> Result<u64, String> {
    let (digits, base) = radix(text);
    let number = u64::from_str_radix(digits, base)
        .ok()
        .filter(|_| !digits.starts_with('+'))
        .ok_or_else(|| refused("ParseUint", text, "invalid syntax"))?;
    if bits < 64 && number >> bits != 0 {
        return Err(refused("ParseUint", text, "value out of range"));
    }
    Ok(number)
}

/// A number of processors, in billionths, as Docker parses it (a decimal or a fraction, no finer than 1e-9).
pub fn parse_float(text: &str) -> Result<i64, String> {
    let bad = || format!("failed to parse {text} as a rational number");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if (whole.is_empty() && fraction.is_empty()) || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 {
        return Err("value is too precise".to_owned());
    }
    let negative = whole.starts_with('-');
    let whole: i64 = match whole {
        "" | "-" | "+" => 0,
        digits => digits.parse().map_err(|_| bad())?,
    };
    let fraction: i64 = format!("{fraction:0<9}").parse().map_err(|_| bad())?;
    let scaled = whole.checked_mul(1_000_000_000).ok_or_else(bad)?;
    Ok(if negative {
        scaled - fraction
    } else {
        scaled + fraction
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_go_reads_them() {
        assert_eq!(parse_int("0x10"), Ok(16));
        assert_eq!(parse_int("-7"), Ok(-7));
        assert_eq!(
            parse_int("x"),
            Err("strconv.ParseInt: parsing \"x\": invalid syntax".into())
        );
        assert_eq!(
            parse_uint("70000", 16),
            Err("strconv.ParseUint: parsing \"70000\": value out of range".into())
        );
        assert_eq!(parse_float("1.5"), Ok(1_500_000_000));
        assert_eq!(parse_float(".25"), Ok(250_000_000));
        assert_eq!(parse_float("-0.5"), Ok(-500_000_000));
        assert!(parse_float("a").is_err());
        assert_eq!(
            parse_float("0.0000000001"),
            Err("value is too precise".into())
        );
        assert!(parse_bool("yes").is_err());
    }
}
