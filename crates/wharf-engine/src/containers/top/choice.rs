//! Which processes ps(1) shows, and in which order.
//!
//! dockerd names all of the container's processes to ps (`-q`), which looks no further then; what does not go with that
//! (numbers, `--deselect`, sorting) it asks for without, and takes the container's processes of what it is told.

use std::cmp::Ordering;

/// The words that choose processes, as they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// `-A`, `-e`, or all that BSD's letters can name.
    pub(super) all: bool,
    /// `-d`: those that lead no session.
    pub(super) no_leaders: bool,
    /// `-a`: of those the ones that have a terminal.
    pub(super) seated: bool,
    /// BSD's `a`: those that have a terminal.
    pub(super) bsd_a: bool,
    /// BSD's `x`: those of the daemon's user.
    pub(super) bsd_x: bool,
    /// Processes of these numbers.
    pub(super) pids: Vec<u32>,
    /// `--deselect`, `-N`: all but these.
    pub(super) negated: bool,
}

impl Choice {
    /// Whether it leaves nothing: ps fails then.
    pub(super) fn is_nothing(&self) -> bool {
        self.negated && self.is_all()
    }

    fn is_all(&self) -> bool {
        self.all || (self.bsd_a && self.bsd_x)
    }

    /// Whether the process is shown whose columns these are.
    pub(super) fn wants(&self, column: impl Fn(&str) -> String) -> bool {
        if !self.negated && self.pids.is_empty() {
            return true;
        }
        let is_leader = || column("sess") == column("pid");
        let has_terminal = || column("tty") != "?";
        let is_named = || self.pids.iter().any(|pid| pid.to_string() == column("pid"));
        let is_own = || column("uid") == "0";
        let has_words = self.is_all()
            || self.no_leaders
            || self.seated
            || self.bsd_a
            || self.bsd_x
            || !self.pids.is_empty();
        let chosen = match has_words {
            true => {
                self.is_all()
                    || is_named()
                    || (self.no_leaders && !is_leader())
                    || (self.seated && has_terminal() && !is_leader())
                    || (self.bsd_a && has_terminal())
                    || (self.bsd_x && is_own())
            }
            // Those of the daemon's user that have its terminal: it has none.
            false => is_own() && !has_terminal(),
        };
        chosen != self.negated
    }
}

/// A column to sort by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) column: String,
    pub(super) falling: bool,
}

/// The keys of `--sort`: `-rss,+pid`.
///
/// # Errors
/// In the words of ps.
pub(super) fn keys(list: &str, is_known: impl Fn(&str) -> bool) -> Result<Vec<Key>, &'static str> {
    let mut parts: Vec<&str> = list.split(',').collect();
    if parts.len() > 1 && parts.last() == Some(&"") {
        parts.pop();
    }
    let mut keys = Vec::new();
    for part in parts {
        let (falling, column) = match part.split_at_checked(1) {
            Some(("-", column)) => (true, column),
            Some(("+", column)) => (false, column),
            _ => (false, part),
        };
        if column.is_empty() {
            return Err("improper sort list");
        }
        if !is_known(column) {
            return Err("unknown sort specifier");
        }
        let column = match column {
            "time" | "cputime" | "bsdtime" => "cputimes",
            "start" | "lstart" | "stime" | "start_time" => "started",
            "etime" => "etimes",
            other => other,
        };
        keys.push(Key {
            column: column.to_owned(),
            falling,
        });
    }
    Ok(keys)
}

/// How two processes stand to each other, by their texts in the columns of `keys`; equal ones stay as they are.
pub(super) fn order(keys: &[Key], a: &[String], b: &[String]) -> Ordering {
    let by = |(key, (a, b)): (&Key, (&String, &String))| match key.falling {
        true => compare(b, a),
        false => compare(a, b),
    };
    let pairs = keys.iter().zip(a.iter().zip(b));
    let mut orders = pairs.map(by);
    orders
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn compare(a: &str, b: &str) -> Ordering {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a.total_cmp(&b),
        _ => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell that leads its session, and what it has started there.
    const SHELL: &[(&str, &str)] = &[
        ("pid", "7"),
        ("sess", "7"),
        ("tty", "pts/0"),
        ("uid", "0"),
        ("rss", "90"),
    ];
    const CHILD: &[(&str, &str)] = &[
        ("pid", "10"),
        ("sess", "7"),
        ("tty", "?"),
        ("uid", "5"),
        ("rss", "100"),
    ];

    fn column(process: &'static [(&str, &str)]) -> impl Fn(&str) -> String {
        move |name| {
            let found = process.iter().find(|(key, _)| *key == name);
            found.map_or("-", |(_, value)| value).to_owned()
        }
    }

    #[test]
    fn processes_are_chosen_as_ps_does() {
        let pids = vec![7];
        for (choice, expected) in [
            (Choice::default(), (true, true)),
            (
                Choice {
                    pids: pids.clone(),
                    ..Choice::default()
                },
                (true, false),
            ),
            (
                Choice {
                    pids: pids.clone(),
                    all: true,
                    ..Choice::default()
                },
                (true, true),
            ),
            (
                Choice {
                    pids,
                    negated: true,
                    ..Choice::default()
                },
                (false, true),
            ),
            (
                Choice {
                    no_leaders: true,
                    ..Choice::default()
                },
                (true, true),
            ),
            (
                Choice {
                    no_leaders: true,
                    negated: true,
                    ..Choice::default()
                },
                (true, false),
            ),
            (
                Choice {
                    negated: true,
                    ..Choice::default()
                },
                (true, true),
            ),
        ] {
            let chosen = (choice.wants(column(SHELL)), choice.wants(column(CHILD)));
            assert_eq!(chosen, expected, "{choice:?}");
        }
    }

    #[test]
    fn rows_come_in_the_order_that_is_asked_for() {
        let ordered = |list: &str| {
            let keys = keys(list, |name| name != "nope")?;
            let texts = |process: &'static [(&str, &str)]| -> Vec<String> {
                let column = column(process);
                keys.iter().map(|key| column(&key.column)).collect()
            };
            Ok(order(&keys, &texts(SHELL), &texts(CHILD)))
        };
        assert_eq!(ordered("pid"), Ok(Ordering::Less));
        assert_eq!(ordered("-rss"), Ok(Ordering::Greater));
        assert_eq!(ordered("sess,-pid,"), Ok(Ordering::Greater));
        assert_eq!(ordered("tty"), Ok(Ordering::Greater));
        assert_eq!(ordered("nope"), Err("unknown sort specifier"));
        assert_eq!(ordered(",pid"), Err("improper sort list"));
    }
}
