//! What has happened, as far back as is kept: the last ones in memory, more of them in two files that outlive the daemon.
//!
//! A line of a file is an event with its number. Lines are appended without waiting for the disk: what a crash of the
//! machine takes are events, which nothing depends on. When the newer file is full it takes the place of the older one.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Event;

/// How many events are kept in memory (moby `daemon/events`, `eventsLimit`).
const RECENT: usize = 256;
/// How large a file grows, bytes; two of them are kept.
const LARGEST: u64 = 2 << 20;

/// An event and its place among all.
#[derive(Serialize, Deserialize)]
struct Line {
    number: u64,
    event: Event,
}

#[derive(Default)]
pub(super) struct History {
    /// Files are kept if there is a folder for them.
    path: Option<PathBuf>,
    file: Option<File>,
    size: u64,
    /// The number of the next event.
    next: u64,
    recent: VecDeque<Arc<Event>>,
}

/// The files as they were at some time, to be read without anybody waiting.
pub(super) struct Older {
    files: Vec<(File, u64)>,
    /// The first event that is known already.
    before: u64,
}

impl History {
    /// Goes on where the last daemon ended. What cannot be read is not there.
    pub(super) fn open(path: PathBuf) -> Self {
        let mut history = Self {
            path: Some(path),
            ..Self::default()
        };
        let older = Older {
            files: history.files(),
            before: u64::MAX,
        };
        for line in older.lines() {
            history.next = line.number + 1;
            history.remember(Arc::new(line.event));
        }
        history
    }

    /// How many events there were, those of earlier daemons among them.
    pub(super) fn count(&self) -> u64 {
        self.next
    }

    pub(super) fn push(&mut self, event: Arc<Event>) {
        if let Err(error) = self.write(&event) {
            // The next one tries again; listeners hear of it all the same.
            tracing::warn!(%error, "keep an event");
            self.file = None;
        }
        self.next += 1;
        self.remember(event);
    }

    /// The last events, oldest first.
    pub(super) fn recent(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.recent.iter()
    }

    /// Those before [`History::recent`], if any of them can be later than `since`.
    pub(super) fn older(&self, since: Timestamp) -> Option<Older> {
        let first = self.recent.front().filter(|first| first.time >= since)?;
        let count = u64::try_from(self.recent.len()).unwrap_or_default();
        let before = self.next.saturating_sub(count);
        (before > 0 && first.time >= since).then(|| Older {
            files: self.files(),
            before,
        })
    }

    fn remember(&mut self, event: Arc<Event>) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(event);
    }

    fn write(&mut self, event: &Event) -> std::io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let mut line = serde_json::to_vec(&Line {
            number: self.next,
            event: event.clone(),
        })?;
        line.push(b'\n');
        if self.file.is_some() && self.size >= LARGEST {
            std::fs::rename(path, old(path))?;
            self.file = None;
        }
        if self.file.is_none() {
            let mut file = File::options().create(true).append(true).open(path)?;
            self.size = file.metadata()?.len();
            // A daemon that was killed, or a full disk, may have left half a line.
            file.write_all(b"\n")?;
            self.file = Some(file);
        }
        if let Some(file) = &mut self.file {
            file.write_all(&line)?;
        }
        self.size += u64::try_from(line.len()).unwrap_or_default();
        Ok(())
    }

    fn files(&self) -> Vec<(File, u64)> {
        let paths = self.path.iter().flat_map(|path| [old(path), path.clone()]);
        let open = |path: PathBuf| {
            let file = File::open(path).ok()?;
            let size = file.metadata().ok()?.len();
            Some((file, size))
        };
        paths.filter_map(open).collect()
    }
}

impl Older {
    /// Those from `since` on, oldest first. Reads files.
    pub(super) fn since(self, since: Timestamp) -> VecDeque<Arc<Event>> {
        let lines = self.lines();
        let events = lines.map(|line| line.event);
        let wanted = events.filter(|event| event.time >= since);
        wanted.map(Arc::new).collect()
    }

    fn lines(self) -> impl Iterator<Item = Line> {
        let before = self.before;
        let files = self.files.into_iter();
        // What is no line is what a kill has left of one.
        let lines = files.flat_map(|(file, size)| {
            BufReader::new(file.take(size))
                .split(b'\n')
                .map_while(Result::ok)
        });
        // And bytes that are no text are a line that is none, too; those after it are.
        lines
            .filter_map(|line| serde_json::from_slice::<Line>(&line).ok())
            .filter(move |line| line.number < before)
    }
}

fn old(path: &Path) -> PathBuf {
    path.with_extension("old")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventKind;

    fn event(number: i64) -> Arc<Event> {
        Arc::new(Event {
            kind: EventKind::Container,
            action: format!("a{number}"),
            actor: "x".repeat(200),
            attributes: Default::default(),
            time: Timestamp::from_second(number).expect("time"),
        })
    }

    #[test]
    fn events_outlive_the_daemon_and_come_once() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("events.jsonl");
        let mut history = History::open(path.clone());
        for number in 0..300 {
            history.push(event(number));
        }
        // Half a line.
        let mut file = File::options().append(true).open(&path).expect("open");
        file.write_all(b"{\"number\":300,\"ev").expect("write");
        let mut history = History::open(path.clone());
        assert_eq!(history.count(), 300);
        history.push(event(300));
        let since = Timestamp::from_second(10).expect("time");
        let mut all = history.older(since).expect("older").since(since);
        all.extend(history.recent().cloned());
        let numbers: Vec<i64> = all.iter().map(|event| event.time.as_second()).collect();
        assert_eq!(numbers, (10..=300).collect::<Vec<_>>());
        assert!(
            history
                .older(Timestamp::from_second(200).expect("time"))
                .is_none()
        );
    }

    #[test]
    fn a_line_that_is_no_text_hides_no_other() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("events.jsonl");
        let mut history = History::open(path.clone());
        history.push(event(0));
        let mut file = File::options().append(true).open(&path).expect("open");
        file.write_all(b"\xff\xfe\n").expect("write");
        history.push(event(1));
        let history = History::open(path);
        assert_eq!(history.count(), 2);
        assert_eq!(history.recent().count(), 2);
    }

    #[test]
    fn files_do_not_grow_without_end() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("events.jsonl");
        let mut history = History::open(path.clone());
        for number in 0..30_000 {
            history.push(event(number));
        }
        let size = |path: &Path| std::fs::metadata(path).expect("file").len();
        assert!(size(&path) <= LARGEST + 1024 && size(&old(&path)) <= LARGEST + 1024);
        assert_eq!(History::open(path).count(), 30_000);
    }
}
