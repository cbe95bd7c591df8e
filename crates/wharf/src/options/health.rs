//! `--health-*`.

use serde_json::{Value, json};

use super::Fields;
use crate::cli::{Flag, Kind, Matches, flag, switch, text};

/// Flags of the health check.
pub static FLAGS: &[Flag] = &[
    text(
        "health-cmd",
        "Shell command that tells whether the container is well",
    ),
    flag(
        "health-interval",
        Kind::Duration,
        "Time between two checks (ms|s|m|h)",
    ),
    flag(
        "health-retries",
        Kind::Int,
        "Failures in a row that make it unhealthy",
    ),
    flag(
        "health-start-period",
        Kind::Duration,
        "Time to start in which failures do not count (ms|s|m|h)",
    ),
    flag(
        "health-start-interval",
        Kind::Duration,
        "Time between checks while it starts (ms|s|m|h)",
    ),
    flag(
        "health-timeout",
        Kind::Duration,
        "Longest time of one check (ms|s|m|h)",
    ),
    switch(
        "no-healthcheck",
        "Run no health check, even if the image has one",
    ),
];

/// `Config.Healthcheck`, or `None` when nothing is said about it.
pub fn parse(matches: &Matches) -> Result<Option<Value>, String> {
    let mut fields = Fields::new();
    let numbers = [
        ("Interval", "health-interval"),
        ("Timeout", "health-timeout"),
        ("StartPeriod", "health-start-period"),
        ("StartInterval", "health-start-interval"),
        ("Retries", "health-retries"),
    ];
    if let Some(command) = matches.maybe("health-cmd") {
        fields.set("Test", json!(["CMD-SHELL", command]));
    }
    for (name, flag) in numbers {
        if matches.int(flag) < 0 {
            return Err(format!("--{flag} cannot be negative"));
        }
        fields.int(name, matches.int(flag));
    }
    if matches.on("no-healthcheck") {
        if !fields.0.is_empty() {
            return Err("--no-healthcheck conflicts with --health-* options".to_owned());
        }
        return Ok(Some(json!({"Test": ["NONE"]})));
    }
    Ok((!fields.0.is_empty()).then(|| Value::Object(fields.0)))
}
