//! Values as Go's standard library and go-units read them, and what they say if they cannot.

pub(super) use wharf_go::{
    from_human_size as human_size, parse_bool as boolean, ram_in_bytes as ram,
};

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
