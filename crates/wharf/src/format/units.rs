//! Sizes and durations in the spelling of Docker's `go-units`.

/// `%.{precision}g` as Go and C print it.
fn general(value: f64, precision: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{:.*e}", precision - 1, value);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
    }
    let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
    trim(&format!("{value:.decimals$}"))
}

fn scaled(size: f64, base: f64, units: &[&str], precision: usize) -> String {
    let mut size = size;
    let mut unit = 0;
    while size >= base && unit < units.len() - 1 {
        size /= base;
        unit += 1;
    }
    format!("{}{}", general(size, precision), units[unit])
}

/// Bytes in powers of 1000 with so many digits: `7.8MB`.
pub fn human_size(bytes: i64, digits: usize) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
    scaled(bytes as f64, 1000.0, &units, digits)
}

/// Bytes in powers of 1024 with four digits: `1.943GiB`.
pub fn binary_size(bytes: i64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];
    scaled(bytes as f64, 1024.0, &units, 4)
}

/// A time span in words: `About a minute`, `3 weeks`.
pub fn human_duration(seconds: f64) -> String {
    let whole = seconds as i64;
    let minutes = (seconds / 60.0) as i64;
    let hours = (seconds / 3600.0 + 0.5) as i64;
    match () {
        () if whole < 1 => "Less than a second".to_owned(),
        () if whole == 1 => "1 second".to_owned(),
        () if whole < 60 => format!("{whole} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", (seconds / 3600.0) as i64 / 24 / 365),
    }
}

/// Reads a duration of Go (`1h2m3.5s`, `100ms`) in nanoseconds.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0f64;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().map_err(|_| invalid())?;
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            other => return Err(format!("time: unknown unit {other:?} in duration {text:?}")),
        };
        rest = &rest[end..];
        total += number * unit;
    }
    Ok(if negative {
        -(total as i64)
    } else {
        total as i64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_docker_prints_them() {
        let shown: Vec<_> = [0, 999, 1000, 7_800_000, 72_640_000, 1_048_576, 999_900]
            .map(|bytes| human_size(bytes, 3))
            .into();
        assert_eq!(
            shown,
            ["0B", "999B", "1kB", "7.8MB", "72.6MB", "1.05MB", "1e+03kB"]
        );
        assert_eq!(human_size(72_640_123, 4), "72.64MB");
        assert_eq!(binary_size(2_086_666_240), "1.943GiB");
        assert_eq!(binary_size(1024), "1KiB");
    }

    #[test]
    fn durations_in_words() {
        let shown: Vec<_> = [
            0.4, 1.2, 59.0, 61.0, 150.0, 3500.0, 5000.0, 6000.0, 90_000.0, 1e6, 1e7, 1e9,
        ]
        .map(human_duration)
        .into();
        let expected = [
            "Less than a second",
            "1 second",
            "59 seconds",
            "About a minute",
            "2 minutes",
            "58 minutes",
            "About an hour",
            "2 hours",
            "25 hours",
            "11 days",
            "3 months",
            "31 years",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(parse_duration("1h2m3.5s"), Ok(3_723_500_000_000));
        assert_eq!(
            parse_duration("5"),
            Err("time: missing unit in duration \"5\"".into())
        );
        assert_eq!(
            parse_duration("5x"),
            Err("time: unknown unit \"x\" in duration \"5x\"".into())
        );
    }
}
