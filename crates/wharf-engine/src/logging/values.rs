//! Values as Go's standard library and go-units read them, and what they say if they cannot.

/// `strconv.ParseBool`
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {text:?}: invalid syntax"
        )),
    }
}

/// `strconv.Atoi`
pub(super) fn integer(text: &str) -> Result<i64, String> {
    let parsed = text.parse();
    parsed.map_err(|error: std::num::ParseIntError| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let why = match error.kind() {
            PosOverflow | NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.Atoi: parsing {text:?}: {why}")
    })
}

/// `strconv.ParseUint`
pub(super) fn unsigned(text: &str) -> Result<u64, String> {
    let parsed = text.parse();
    parsed.map_err(|_| format!("strconv.ParseUint: parsing {text:?}: invalid syntax"))
}

/// `units.FromHumanSize`: powers of 1000.
pub(super) fn human_size(text: &str) -> Result<i64, String> {
    size(text, 1000.0)
}

/// `units.RAMInBytes`: powers of 1024.
pub(super) fn ram(text: &str) -> Result<i64, String> {
    size(text, 1024.0)
}

fn size(text: &str, base: f64) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let end = text
        .rfind(|c: char| c.is_ascii_digit() || c == '.')
        .map(|last| last + 1)
        .ok_or_else(invalid)?;
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| invalid())?;
    if number < 0.0 {
        return Err(invalid());
    }
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        unit => {
            let (first, rest) = unit.split_at_checked(1).ok_or_else(invalid)?;
            if !matches!(rest, "" | "b" | "ib") {
                return Err(invalid());
            }
            "kmgtp".find(first).ok_or_else(invalid)? as i32 + 1
        }
    };
    Ok((number * base.powi(power)) as i64)
}

/// `time.ParseDuration`, in milliseconds.
pub(super) fn milliseconds(text: &str) -> Result<i64, String> {
    let duration = match text {
        "0" => Some(jiff::SignedDuration::ZERO),
        _ => crate::time::duration(text),
    };
    let duration = duration.ok_or_else(|| {
        match text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.') {
            "" if !text.is_empty() => format!("time: missing unit in duration {text:?}"),
            _ => format!("time: invalid duration {text:?}"),
        }
    })?;
    i64::try_from(duration.as_millis()).map_err(|_| format!("time: invalid duration {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_go_units() {
        for (text, human, binary) in [
            ("10", Some(10), Some(10)),
            ("1k", Some(1000), Some(1024)),
            ("1.5m", Some(1_500_000), Some(1_572_864)),
            ("2gb", Some(2_000_000_000), Some(2 << 30)),
            ("1KiB", Some(1000), Some(1024)),
            ("32 b", Some(32), Some(32)),
            ("x", None, None),
            ("-1", None, None),
            ("1kk", None, None),
            ("", None, None),
        ] {
            assert_eq!(human_size(text).ok(), human, "{text}");
            assert_eq!(ram(text).ok(), binary, "{text}");
        }
        assert_eq!(ram("x").unwrap_err(), "invalid size: 'x'");
    }

    #[test]
    fn durations_are_those_of_go() {
        assert_eq!(milliseconds("1s"), Ok(1000));
        assert_eq!(milliseconds("100ms"), Ok(100));
        assert_eq!(
            milliseconds("10").unwrap_err(),
            "time: missing unit in duration \"10\""
        );
        assert_eq!(
            milliseconds("x").unwrap_err(),
            "time: invalid duration \"x\""
        );
    }
}
