//! Times: how long ago, and in which spelling.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::units::human_duration;

/// Now, in seconds since the epoch.
pub fn now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map(|since| since.as_secs_f64()).unwrap_or_default()
}

/// `2 minutes ago`, from seconds since the epoch.
pub fn ago(seconds: f64) -> String {
    format!("{} ago", human_duration(now() - seconds))
}

/// Reads RFC 3339; `None` for anything else and for Go's zero time.
pub fn parse(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>()
        .ok()
        .filter(|time| time.as_second() > -62_000_000_000)
}

/// Seconds since the epoch of a time in RFC 3339.
pub fn seconds(text: &str) -> Option<f64> {
    parse(text).map(|time| time.as_second() as f64 + f64::from(time.subsec_nanosecond()) / 1e9)
}

/// Go's `time.Time.String()` for seconds since the epoch, in the local zone: `2026-11-23 22:41:50 +0000 UTC`.
pub fn go_string(seconds: i64) -> String {
    let zoned = Timestamp::from_second(seconds)
        .unwrap_or_default()
        .to_zoned(TimeZone::system());
    zoned.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// RFC 3339 with the local offset (`history --human=false`).
pub fn rfc3339(seconds: i64) -> String {
    let zoned = Timestamp::from_second(seconds)
        .unwrap_or_default()
        .to_zoned(TimeZone::system());
    let text = zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    text.strip_suffix("+00:00")
        .map(|head| format!("{head}Z"))
        .unwrap_or(text)
}

/// The spelling of events: RFC 3339 with nine digits and the local offset.
pub fn rfc3339_nanos(nanoseconds: i128) -> String {
    let time = Timestamp::from_nanosecond(nanoseconds).unwrap_or_default();
    let text = time
        .to_zoned(TimeZone::system())
        .strftime("%Y-%m-%dT%H:%M:%S.%9f%:z")
        .to_string();
    text.strip_suffix("+00:00")
        .map(|head| format!("{head}Z"))
        .unwrap_or(text)
}

/// Go's `ANSIC` form of a time in RFC 3339: `Mon Nov 23 22:41:50 2026`.
pub fn ansi_c(text: &str) -> String {
    match parse(text) {
        Some(time) => time.strftime("%a %b %e %H:%M:%S %Y").to_string(),
        None => text.to_owned(),
    }
}

/// What `--since` and `--until` send: a duration back from now, a date, or a Unix time, as seconds with nanoseconds.
pub fn point(text: &str) -> Result<String, String> {
    // The beginning of time, and no moment ago.
    if text != "0"
        && let Ok(nanoseconds) = super::units::parse_duration(text)
    {
        let seconds = now() - nanoseconds as f64 / 1e9;
        return Ok(format!(
            "{}.{:09}",
            seconds as i64,
            ((seconds.fract()) * 1e9) as i64
        ));
    }
    if text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
        && !text.is_empty()
    {
        return Ok(text.to_owned());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(format!(
            "{}.{:09}",
            time.as_second(),
            time.subsec_nanosecond()
        ));
    }
    let civil = text.parse::<jiff::civil::DateTime>();
    let zoned = civil.and_then(|civil| civil.to_zoned(TimeZone::system()));
    match zoned {
        Ok(zoned) => Ok(format!(
            "{}.{:09}",
            zoned.timestamp().as_second(),
            zoned.subsec_nanosecond()
        )),
        Err(_) => Err(format!(
            "failed to parse value as time or duration: {text:?}"
        )),
    }
}
