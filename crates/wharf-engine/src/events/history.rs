//! What has happened, as far back as is kept: the last ones in memory, more of them in two files that outlive the daemon.
//!
//! A line of a file is an event with its number. Lines are appended without waiting for the disk: what a crash of the
//! machine takes are events, which nothing depends on. When the newer file is full it takes the place of the older one.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Event;
use super::writer::{WAITING, Writer, old};

/// How many events are kept in memory (moby `daemon/events`, `eventsLimit`), and those that are not written yet.
const RECENT: usize = 256;

/// An event and its place among all.
#[derive(Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) event: Event,
}

#[derive(Default)]
pub(super) struct History {
    /// Files are kept if there is a folder for them.
    path: Option<PathBuf>,
    writer: Option<Writer>,
    /// The number of the next event.
    next: u64,
    recent: VecDeque<Arc<Event>>,
}

/// What files know, to be read without anybody waiting.
pub(super) struct Older {
    path: PathBuf,
    /// The first event that is known already.
    before: u64,
}

impl History {
    /// Goes on where the last daemon ended. What cannot be read is not there.
    pub(super) fn open(path: PathBuf) -> Self {
        let older = Older {
            path: path.clone(),
            before: u64::MAX,
        };
        let mut history = Self::default();
        for line in older.lines() {
            history.next = line.number + 1;
            history.remember(Arc::new(line.event));
        }
        let writer = Writer::start(path.clone(), history.next);
        history.path = Some(path);
        history.writer = writer
            .inspect_err(|error| tracing::warn!(%error, "start a thread that keeps events"))
            .ok();
        history
    }

    /// How many events there were, those of earlier daemons among them.
    pub(super) fn count(&self) -> u64 {
        self.next
    }

    pub(super) fn push(&mut self, event: Arc<Event>) {
        if let Some(writer) = &mut self.writer {
            writer.keep(self.next, event.clone());
        }
        self.next += 1;
        self.remember(event);
    }

    /// What waits until the events are in the files.
    pub(super) fn flush(&self) -> Option<impl FnOnce() + use<>> {
        self.writer.as_ref().map(Writer::flush)
    }

    /// The last events, oldest first.
    pub(super) fn recent(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.recent.iter()
    }

    /// Those before [`History::recent`], if any of them can be later than `since`.
    pub(super) fn older(&self, since: Timestamp) -> Option<Older> {
        let first = self.recent.front().filter(|first| first.time >= since)?;
        let before = self.first();
        (before > 0 && first.time >= since).then_some(Older {
            path: self.path.clone()?,
            before,
        })
    }

    /// The number of the first that is in memory.
    fn first(&self) -> u64 {
        let count = u64::try_from(self.recent.len()).unwrap_or_default();
        self.next.saturating_sub(count)
    }

    fn remember(&mut self, event: Arc<Event>) {
        self.recent.push_back(event);
        let reached = self.writer.as_ref().map_or(u64::MAX, Writer::reached);
        while self.recent.len() > RECENT
            && (self.first() < reached || self.recent.len() > RECENT + WAITING)
        {
            self.recent.pop_front();
        }
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
        // What is no line is what a kill has left of one.
        let lines = self
            .files()
            .into_iter()
            .flat_map(|file| BufReader::new(file).split(b'\n').map_while(Result::ok));
        // And bytes that are no text are a line that is none, too; those after it are.
        lines
            .filter_map(|line| serde_json::from_slice::<Line>(&line).ok())
            .filter(move |line| line.number < before)
    }

    /// The newer one is opened first: should it become the older one at this moment, it is met twice, and not missed.
    fn files(&self) -> Vec<File> {
        let identity = |file: &File| {
            let data = file.metadata().ok()?;
            Some((data.dev(), data.ino()))
        };
        let newer = File::open(&self.path).ok();
        let older = File::open(old(&self.path)).ok();
        let older = older.filter(|older| {
            let same = newer.as_ref().map(identity);
            same != Some(identity(older))
        });
        older.into_iter().chain(newer).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use super::super::writer::LARGEST;
    use super::*;
    use crate::EventKind;

    fn flush(history: &History) {
        history.flush().expect("a writer")();
    }

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
        flush(&history);
        // Half a line.
        let mut file = File::options().append(true).open(&path).expect("open");
        file.write_all(b"{\"number\":300,\"ev").expect("write");
        let mut history = History::open(path.clone());
        assert_eq!(history.count(), 300);
        history.push(event(300));
        flush(&history);
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
        flush(&history);
        let mut file = File::options().append(true).open(&path).expect("open");
        file.write_all(b"\xff\xfe\n").expect("write");
        history.push(event(1));
        flush(&history);
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
            if number % 1000 == 0 {
                flush(&history);
            }
        }
        flush(&history);
        let size = |path: &Path| std::fs::metadata(path).expect("file").len();
        assert!(size(&path) <= LARGEST + 1024 && size(&old(&path)) <= LARGEST + 1024);
        assert_eq!(History::open(path).count(), 30_000);
    }

    /// A FIFO that nobody reads is a disk that does not answer.
    #[test]
    fn a_disk_that_does_not_answer_holds_up_nobody_and_loses_nothing_that_has_room() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("events.jsonl");
        let mut history = History::open(path.clone());
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)
            .expect("fifo");
        for number in 0..1000 {
            history.push(event(number));
        }
        assert_eq!(history.recent().count(), 1000);
        assert_eq!(history.count(), 1000);
        // It does now.
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(File::open(path).expect("open")).lines();
            lines
                .map_while(Result::ok)
                .filter(|line| !line.is_empty())
                .count()
        });
        flush(&history);
        history.push(event(1000));
        assert_eq!(history.recent().count(), RECENT);
        drop(history);
        assert_eq!(reader.join().expect("reader"), 1001);
    }
}
