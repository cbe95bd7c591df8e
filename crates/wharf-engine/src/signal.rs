//! Signals by name and number (moby `moby/sys/signal`).

use crate::EngineError;

const NAMES: &[(&str, i32)] = &[
    ("ABRT", 6),
    ("ALRM", 14),
    ("BUS", 7),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("FPE", 8),
    ("HUP", 1),
    ("ILL", 4),
    ("INT", 2),
    ("IO", 29),
    ("IOT", 6),
    ("KILL", 9),
    ("PIPE", 13),
    ("POLL", 29),
    ("PROF", 27),
    ("PWR", 30),
    ("QUIT", 3),
    ("SEGV", 11),
    ("STKFLT", 16),
    ("STOP", 19),
    ("SYS", 31),
    ("TERM", 15),
    ("TRAP", 5),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("USR1", 10),
    ("USR2", 12),
    ("VTALRM", 26),
    ("WINCH", 28),
    ("XCPU", 24),
    ("XFSZ", 25),
];

/// The number of the default stop signal, SIGTERM.
pub(crate) const TERM: i32 = 15;
/// SIGKILL.
pub(crate) const KILL: i32 = 9;

/// A signal from `TERM`, `SIGTERM`, `15`, `RTMIN+3`.
pub(crate) fn parse(text: &str) -> Result<i32, EngineError> {
    let invalid = || EngineError::Invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return match number {
            0 => Err(invalid()),
            1..=64 => Ok(number),
            _ => Err(EngineError::Invalid(format!(
                "the linux daemon does not support signal {number}"
            ))),
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*number);
    }
    // 34 and 64 as in Docker: glibc keeps 32 and 33 for itself.
    let offset = |rest: &str, sign: char| match rest.strip_prefix(sign) {
        Some(number) => number.parse::<i32>().ok(),
        None => rest.is_empty().then_some(0),
    };
    let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => offset(rest, '+').map(|offset| 34 + offset),
        (_, Some(rest)) => offset(rest, '-').map(|offset| 64 - offset),
        _ => None,
    };
    real_time
        .filter(|number| (34..=64).contains(number))
        .ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_names_and_numbers() {
        let parse = |text| super::parse(text).ok();
        assert_eq!(
            ["TERM", "sigterm", "15", "SIGRTMIN+3", "RTMAX-1", "HUP"].map(parse),
            [Some(15), Some(15), Some(15), Some(37), Some(63), Some(1)]
        );
        assert_eq!(
            ["", "0", "65", "SIGFOO", "RTMIN+99", "-1"].map(parse),
            [None; 6]
        );
        assert_eq!(
            super::parse("foo").unwrap_err().to_string(),
            "invalid signal: foo"
        );
    }
}
