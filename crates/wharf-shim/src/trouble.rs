//! Trouble with a log: what is said of it must not fill the disk that it is said on.

use std::time::{Duration, Instant};

/// What goes to and fro between good and bad is told no more often.
const PAUSE: Duration = Duration::from_secs(60);

/// Writes that may fail, one after the other: told at the first that does, and when they work again.
#[derive(Default)]
pub(crate) struct Trouble {
    /// Failures that nobody was told the number of.
    lost: u64,
    /// Whether the last that was said is that it is bad.
    bad: bool,
    said: Option<Instant>,
}

impl Trouble {
    /// Notes how a write has ended at `now`; what is to be said of it.
    pub(crate) fn note<E: ToString>(
        &mut self,
        written: Result<(), E>,
        now: Instant,
    ) -> Option<String> {
        let Err(error) = written else {
            return self.over();
        };
        self.lost += 1;
        let lately = |said: Instant| now.duration_since(said) < PAUSE;
        if self.bad || self.said.is_some_and(lately) {
            return None;
        }
        self.bad = true;
        self.said = Some(now);
        Some(error.to_string())
    }

    /// What is to be said when it works again, or nothing more comes.
    pub(crate) fn over(&mut self) -> Option<String> {
        if !std::mem::take(&mut self.bad) {
            return None;
        }
        let lost = std::mem::take(&mut self.lost);
        Some(format!("writes to the log that failed: {lost}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_once_and_its_end_with_what_it_cost() {
        let mut trouble = Trouble::default();
        let start = Instant::now();
        let mut said = Vec::new();
        for _ in 0..3 {
            for _ in 0..1000 {
                said.extend(trouble.note(Err("it is full"), start));
            }
            said.extend(trouble.note::<&str>(Ok(()), start));
            said.extend(trouble.note::<&str>(Ok(()), start));
        }
        assert_eq!(said, ["it is full", "writes to the log that failed: 1000"]);
        let later = start + PAUSE;
        let again = trouble.note(Err("full again"), later);
        assert_eq!(again.as_deref(), Some("full again"));
        // Those of which nothing was said count, too.
        let over = trouble.over();
        assert_eq!(over.as_deref(), Some("writes to the log that failed: 2001"));
        assert!(trouble.over().is_none());
    }
}
