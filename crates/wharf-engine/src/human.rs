//! Times in words, as `docker ps` has them (go-units `HumanDuration`).

use jiff::Timestamp;

use crate::{StateView, Status};

/// moby `container/state.go`, `State.String`.
pub(crate) fn status(state: &StateView, now: Timestamp) -> String {
    let since = |then: Option<Timestamp>| then.map_or(0, |then| now.as_second() - then.as_second());
    let up = || duration(since(state.started_at));
    match state.status {
        Status::Running => format!("Up {}", up()),
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

#[cfg(test)]
mod tests {
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
