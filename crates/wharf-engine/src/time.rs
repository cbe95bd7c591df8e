//! Points in time as Docker's clients write them (moby `api/types/time`).

use jiff::{SignedDuration, Timestamp};

/// `1700000000`, `1700000000.5`, `2024-01-02T15:04:05Z`, `2024-01-02`, or a duration such as `10m` or `1h30m`
/// before `now`.
pub fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(duration) = duration(text) {
        return now.checked_sub(duration).ok();
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if let Ok(seconds) = seconds.parse::<i64>() {
        let nanos = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
        return Timestamp::new(seconds, nanos).ok();
    }
    let local = text.parse::<jiff::civil::DateTime>().ok();
    let local = local.or_else(|| Some(text.parse::<jiff::civil::Date>().ok()?.at(0, 0, 0, 0)));
    Some(local?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// A Go duration: numbers with units `h m s ms us ns`.
pub(crate) fn duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text;
    let mut nanos = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        nanos += number
            * match rest.get(..end)? {
                "h" => 3.6e12,
                "m" => 6e10,
                "s" => 1e9,
                "ms" => 1e6,
                "us" | "µs" => 1e3,
                "ns" => 1.0,
                _ => return None,
            };
        rest = rest.get(end..)?;
    }
    (!text.is_empty()).then(|| SignedDuration::from_nanos(nanos as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_clients_write() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let parse = |text| parse(text, now).map(|time| time.to_string());
        assert_eq!(parse("1h30m").as_deref(), Some("2026-01-01T10:30:00Z"));
        assert_eq!(
            parse("1767225600.5").as_deref(),
            Some("2026-01-01T00:00:00.5Z")
        );
        assert_eq!(parse("2026-01-01").as_deref(), Some("2026-01-01T00:00:00Z"));
        assert_eq!(
            parse("2026-01-01T10:30:00+01:00").as_deref(),
            Some("2026-01-01T09:30:00Z")
        );
        assert_eq!(parse("soon"), None);
        assert_eq!(parse(""), None);
    }
}
