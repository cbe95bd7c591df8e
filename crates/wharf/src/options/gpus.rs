//! `--gpus`: a request for devices, as Docker's client reads it (`opts.GpuOpts`).

use serde_json::{Map, Value, json};

use super::csv;

/// Refuses what [`request`] refuses.
///
/// # Errors
/// As there.
pub fn check(text: &str) -> Result<String, String> {
    request(text).map(|_| text.to_owned())
}

/// Reads `all`, a number, or `device=…,count=…,driver=…,capabilities=…,options=…`, a line of comma-separated values: a value
/// with commas of its own is in quotes.
///
/// # Errors
/// In Docker's words.
pub fn request(text: &str) -> Result<Value, String> {
    let mut seen: Vec<String> = Vec::new();
    let (mut count, mut driver, mut devices) = (None, String::new(), Value::Null);
    let (mut capabilities, mut options) = (Vec::new(), Map::new());
    for field in csv::fields(text)? {
        let (key, value) = field.split_once('=').unwrap_or(("count", &field));
        if seen.iter().any(|known| known == key) {
            return Err(format!(
                "gpu request key '{key}' can be specified only once"
            ));
        }
        match key {
            "driver" => driver = value.to_owned(),
            "count" => count = Some(self::count(value)?),
            "device" => devices = value.split(',').collect(),
            "capabilities" => capabilities = value.split(',').map(str::to_owned).collect(),
            "options" => options = self::options(value)?,
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
        seen.push(key.to_owned());
    }
    capabilities.push("gpu".to_owned());
    // Who names devices wants these, and who names nothing wants one.
    let count = count.unwrap_or(i64::from(devices.is_null()));
    Ok(json!({
        "Driver": driver,
        "Count": count,
        "DeviceIDs": devices,
        "Capabilities": [capabilities],
        "Options": options,
    }))
}

fn count(text: &str) -> Result<i64, String> {
    if text == "all" {
        return Ok(-1);
    }
    text.parse().map_err(|_| {
        format!(
            "invalid count ({text}): value must be either \"all\" or an integer: invalid syntax"
        )
    })
}

fn options(text: &str) -> Result<Map<String, Value>, String> {
    let fields: Vec<String> = csv::fields(text)?;
    Ok(super::pairs(&fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = request(text).map_or_else(|error| error, |request| request.to_string());
        assert_eq!(shown, expected, "{text}");
    }

    /// What docker 28.2.2 asks for.
    #[test]
    fn requests() {
        let whole = |driver, count: i64, devices, capabilities, options| {
            format!(
                r#"{{"Driver":"{driver}","Count":{count},"DeviceIDs":{devices},"Capabilities":[[{capabilities}]],"Options":{options}}}"#
            )
        };
        let gpu = r#""gpu""#;
        check("all", &whole("", -1, "null", gpu, "{}"));
        check("2", &whole("", 2, "null", gpu, "{}"));
        check("device=0", &whole("", 0, r#"["0"]"#, gpu, "{}"));
        check(
            r#""device=0,1",capabilities=utility"#,
            &whole("", 0, r#"["0","1"]"#, r#""utility","gpu""#, "{}"),
        );
        check("all,driver=x", &whole("x", -1, "null", gpu, "{}"));
        check("driver=nvidia", &whole("nvidia", 1, "null", gpu, "{}"));
        check("count=1,device=0", &whole("", 1, r#"["0"]"#, gpu, "{}"));
        check(
            r#""options=a=b,c=d""#,
            &whole("", 1, "null", gpu, r#"{"a":"b","c":"d"}"#),
        );
    }

    #[test]
    fn refusals() {
        check("", "EOF");
        check(
            "count=x",
            "invalid count (x): value must be either \"all\" or an integer: invalid syntax",
        );
        check("foo=bar", "unexpected key 'foo' in 'foo=bar'");
        check(
            "device=0,device=1",
            "gpu request key 'device' can be specified only once",
        );
    }
}
