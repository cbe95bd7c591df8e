//! Times in words, as `docker ps` has them (go-units `HumanDuration`).

use jiff::Timestamp;

use crate::{HealthStatus, StateView, Status};

/// moby `container/state.go`, `State.String`.
pub(crate) fn status(state: &StateView, now: Timestamp) -> String {
    let since = |then: Option<Timestamp>| then.map_or(0, |then| now.as_second() - then.as_second());
    let up = || duration(since(state.started_at));
    match state.status {
        Status::Running => match &state.health {
            None => format!("Up {}", up()),
            Some(health) if health.status == HealthStatus::Starting => {
                format!("Up {} (health: starting)", up())
            }
            Some(health) => format!("Up {} ({})", up(), health.status.as_str()),
        },
        Status::Paused => format!("Up {} (Paused)", up()),
        Status::Restarting => format!(
            "Restarting ({}) {} ago",
            state.exit_code,
            duration(since(state.finished_at))
        ),
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Dead => "Dead".to_owned(),
        Status::Created => "Created".to_owned(),
        Status::Exited => format!(
            "Exited ({}) {} ago",
            state.exit_code,
            duration(since(state.finished_at))
        ),
    }
}

/// A duration in seconds, in words.
pub(crate) fn duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    // Rounded, as go-units does.
    let hours = (seconds + 1800) / 3600;
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// A duration as Go's `Duration.String` writes it: `1m30s`, `1.5s`, `20ms`, `0s`.
pub(crate) fn go_duration(time: std::time::Duration) -> String {
    let nanos = time.as_nanos();
    let fraction = |per: u128| {
        let text = format!(
            "{}.{:0width$}",
            nanos / per,
            nanos % per,
            width = per.ilog10() as usize
        );
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(1_000_000)),
        _ => {
            let minutes = time.as_secs() / 60;
            let rest = time - std::time::Duration::from_secs(minutes * 60);
            let seconds = match rest.subsec_nanos() {
                0 => rest.as_secs().to_string(),
                part => {
                    let text = format!("{}.{part:09}", rest.as_secs());
                    text.trim_end_matches('0').to_owned()
                }
            };
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_are_gos() {
        let cases = [
            (0, "0s"),
            (1_500, "1.5µs"),
            (20_000_000, "20ms"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
        ];
        for (nanos, text) in cases {
            assert_eq!(
                super::go_duration(std::time::Duration::from_nanos(nanos)),
                text
            );
        }
    }

    #[test]
    fn speaks_like_go_units() {
        let texts = [
            0, 1, 59, 60, 119, 120, 3599, 3600, 7200, 172_799, 172_800, 1_209_600, 5_184_000,
        ]
        .map(super::duration);
        let expected = [
            "Less than a second",
            "1 second",
            "59 seconds",
            "About a minute",
            "About a minute",
            "2 minutes",
            "59 minutes",
            "About an hour",
            "2 hours",
            "2 days",
            "2 days",
            "2 weeks",
            "2 months",
        ];
        assert_eq!(texts, expected);
    }
}
