//! Filters of the history (BuildKit's `solver/llbsolver/history/filter.go`): `status==error`, `repository~=…`, `ref==…`,
//! `startedAt>=2h`, `completedAt<2026-01-02T03:04:05Z`, `duration>5m`, of those joined by commas all must
//! fit, of several filters one.

use std::cmp::Ordering;

use bollard_buildkit_proto::moby::buildkit::v1::BuildHistoryRecord;
use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use wharf_builder::git::{GitUrl, parted};

use crate::error::Error;

/// Filters; without any, all fit.
pub(crate) struct Filters(Vec<Vec<Test>>);

enum Test {
    Number {
        field: Number,
        comparison: Comparison,
        value: i64,
    },
    Text {
        field: String,
        wanted: Wanted,
    },
}

/// Fields that are compared by size.
#[derive(Clone, Copy)]
enum Number {
    /// Seconds since 1970.
    Started,
    /// Seconds since 1970; 0 while it goes on.
    Completed,
    /// Nanoseconds; 0 while it goes on.
    Duration,
}

#[derive(Clone, Copy)]
enum Comparison {
    AtLeast,
    AtMost,
    Above,
    Below,
}

/// What a field is to be.
enum Wanted {
    There,
    Equal(String),
    Other(String),
    Matching(Regex),
}

impl Filters {
    /// Reads them, as of now.
    ///
    /// # Errors
    /// If one is malformed.
    pub(crate) fn read(texts: &[String]) -> Result<Self, Error> {
        let filters = texts.iter().map(|text| {
            let tests = text.split(',').map(str::trim);
            let tests = tests.filter(|test| !test.is_empty());
            tests.map(Test::read).collect::<Result<Vec<_>, _>>()
        });
        Ok(Self(filters.collect::<Result<_, _>>()?))
    }

    /// Whether one of them fits.
    pub(crate) fn fit(&self, record: &BuildHistoryRecord) -> bool {
        let all = |tests: &Vec<Test>| tests.iter().all(|test| test.fits(record));
        self.0.is_empty() || self.0.iter().any(all)
    }
}

impl Test {
    fn read(text: &str) -> Result<Self, Error> {
        match Self::number(text)? {
            Some(test) => Ok(test),
            None => Self::text(text),
        }
    }

    /// A test of a time or a span, if it is one.
    fn number(text: &str) -> Result<Option<Self>, Error> {
        let signs = [
            (">=", Comparison::AtLeast),
            ("<=", Comparison::AtMost),
            (">", Comparison::Above),
            ("<", Comparison::Below),
        ];
        let found = signs
            .into_iter()
            .find_map(|(sign, comparison)| Some((text.split_once(sign)?, comparison)));
        let Some(((field, value), comparison)) = found else {
            return Ok(None);
        };
        let span = value.parse::<SignedDuration>().ok();
        let (field, value) = match field {
            "startedAt" => (Number::Started, second(value, span)?),
            "completedAt" => (Number::Completed, second(value, span)?),
            "duration" => {
                let invalid = || Error::Invalid(format!("invalid duration {value}"));
                let nanoseconds = span.ok_or_else(invalid)?.as_nanos();
                let number = i64::try_from(nanoseconds).map_err(|_| invalid())?;
                (Number::Duration, number)
            }
            _ => return Ok(None),
        };
        Ok(Some(Self::Number {
            field,
            comparison,
            value,
        }))
    }

    fn text(text: &str) -> Result<Self, Error> {
        let wrong =
            |why: &str| Error::Invalid(format!("failed to parse history filters {text:?}: {why}"));
        let signs = ["==", "!=", "~="];
        let places = signs
            .into_iter()
            .filter_map(|sign| Some((text.find(sign)?, sign)));
        let (field, wanted) = match places.min() {
            None => (text, Wanted::There),
            Some((at, sign)) => {
                let (field, value) = (&text[..at], text[at + sign.len()..].trim_matches('"'));
                let wanted = match sign {
                    "==" => Wanted::Equal(value.to_owned()),
                    "!=" => Wanted::Other(value.to_owned()),
                    _ => {
                        let pattern = Regex::new(value);
                        Wanted::Matching(pattern.map_err(|error| wrong(&error.to_string()))?)
                    }
                };
                (field, wanted)
            }
        };
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        if field.is_empty() || !field.chars().all(is_name) {
            return Err(wrong("no such operator"));
        }
        Ok(Self::Text {
            field: field.to_owned(),
            wanted,
        })
    }

    fn fits(&self, record: &BuildHistoryRecord) -> bool {
        match self {
            Self::Number {
                field,
                comparison,
                value,
            } => comparison.holds(field.of(record).cmp(value)),
            Self::Text { field, wanted } => {
                let found = field_of(record, field);
                match wanted {
                    Wanted::There => found.is_some(),
                    Wanted::Equal(value) => found.as_ref() == Some(value),
                    Wanted::Other(value) => found.as_ref() != Some(value),
                    Wanted::Matching(pattern) => found.is_some_and(|text| pattern.is_match(&text)),
                }
            }
        }
    }
}

/// A time, or how long ago.
fn second(text: &str, span: Option<SignedDuration>) -> Result<i64, Error> {
    let time = match span {
        Some(span) => Timestamp::now().checked_sub(span).ok(),
        None => text.parse().ok(),
    };
    let time: Timestamp = time.ok_or_else(|| Error::Invalid(format!("invalid time {text}")))?;
    Ok(time.as_second())
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::AtLeast => order.is_ge(),
            Self::AtMost => order.is_le(),
            Self::Above => order.is_gt(),
            Self::Below => order.is_lt(),
        }
    }
}

impl Number {
    fn of(self, record: &BuildHistoryRecord) -> i64 {
        let (started, completed) = (&record.created_at, &record.completed_at);
        match (self, started, completed) {
            (Self::Started, Some(time), _) | (Self::Completed, _, Some(time)) => time.seconds,
            (Self::Duration, Some(started), Some(completed)) => {
                let seconds = completed.seconds.saturating_sub(started.seconds);
                let rest = i64::from(completed.nanos) - i64::from(started.nanos);
                seconds.saturating_mul(1_000_000_000).saturating_add(rest)
            }
            _ => 0,
        }
    }
}

fn field_of(record: &BuildHistoryRecord, field: &str) -> Option<String> {
    let found = match field {
        "ref" => record.r#ref.clone(),
        "status" => status(record).to_owned(),
        "repository" => match record.frontend_attrs.get("vcs:source") {
            Some(source) => source.clone(),
            None => {
                // Of a login there it is only known that there was one.
                let url = GitUrl::read(record.frontend_attrs.get("context")?)?;
                parted(&url.repository).0
            }
        },
        _ => return None,
    };
    Some(found)
}

fn status(record: &BuildHistoryRecord) -> &'static str {
    match (&record.completed_at, &record.error) {
        (None, _) => "running",
        (_, None) => "completed",
        (_, Some(error)) if error.message.contains("context canceled") => "canceled",
        (_, Some(_)) => "error",
    }
}

#[cfg(test)]
mod tests {
    use bollard_buildkit_proto::google::rpc::Status;

    use super::*;

    fn fits(filters: &[&str], record: &BuildHistoryRecord) -> bool {
        let filters: Vec<String> = filters.iter().map(|text| (*text).to_owned()).collect();
        Filters::read(&filters).unwrap().fit(record)
    }

    #[test]
    fn records_are_found_by_what_they_are() {
        let time = |seconds| {
            let mut time = crate::time::now();
            (time.seconds, time.nanos) = (seconds, 0);
            Some(time)
        };
        let now = crate::time::now().seconds;
        let context = "https://h/a.git#main".to_owned();
        let mut record = BuildHistoryRecord {
            r#ref: "r".to_owned(),
            frontend_attrs: [("context".to_owned(), context)].into(),
            created_at: time(now - 3600),
            ..BuildHistoryRecord::default()
        };
        assert!(fits(&[], &record) && fits(&["status==running"], &record));
        assert!(fits(&["ref==r,repository==https://h/a.git"], &record));
        assert!(!fits(&["ref==x"], &record) && fits(&["ref==x", "ref~=^r$"], &record));
        assert!(fits(&["status"], &record) && !fits(&["nothing"], &record));
        assert!(fits(&["status!=error"], &record) && !fits(&["ref==r,status==error"], &record));
        assert!(fits(&["startedAt<30m"], &record) && !fits(&["startedAt>=30m"], &record));
        assert!(fits(&["startedAt>2020-01-02T03:04:05Z"], &record));
        assert!(!fits(&["duration>0s"], &record));
        record.completed_at = time(now - 3000);
        assert!(fits(
            &["status==completed,duration>=10m,duration<601s"],
            &record
        ));
        assert!(fits(&["completedAt<=45m"], &record));
        let error = |message: &str| {
            Some(Status {
                message: message.to_owned(),
                ..Status::default()
            })
        };
        record.error = error("no");
        assert!(fits(&["status==error"], &record));
        record.error = error("x: context canceled");
        assert!(fits(&["status==canceled"], &record));
        let source = "git@h:a/b".to_owned();
        record
            .frontend_attrs
            .insert("vcs:source".to_owned(), source);
        assert!(fits(&["repository==\"git@h:a/b\""], &record));
    }

    #[test]
    fn what_is_none_is_refused() {
        for wrong in [
            "status=error",
            "startedAt>now",
            "duration<soon",
            "ref~=(",
            "==x",
            "a b",
        ] {
            assert!(Filters::read(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
