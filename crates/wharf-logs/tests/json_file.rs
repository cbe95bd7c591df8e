//! What a writer wrote is what a reader reads: through rotation, restarts and torn lines.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::os::fd::AsFd;
use std::path::Path;

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, poll};
use wharf_logs::{Entry, JsonFile, ReadOptions, Reader, Rotation, Stream, Tail, Watch};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn rest(reader: &mut Reader) -> Vec<Entry> {
    std::iter::from_fn(|| reader.next().unwrap()).collect()
}

fn lines(path: &Path, options: ReadOptions) -> Vec<String> {
    let mut reader = Reader::open(path, options).unwrap();
    rest(&mut reader)
        .into_iter()
        .map(|entry| entry.log)
        .collect()
}

fn small() -> Rotation {
    Rotation {
        max_size: Some(300),
        max_files: 4,
    }
}

#[test]
fn the_file_is_dockers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c-json.log");
    let mut log = JsonFile::open(&path, Rotation::default(), "").unwrap();
    let time: Timestamp = "2026-11-23T21:47:18.120Z".parse().unwrap();
    log.write(Stream::Stdout, b"hello\nwor", time).unwrap();
    log.write(Stream::Stderr, b"oops\n", time).unwrap();
    log.write(Stream::Stdout, b"ld", time).unwrap();
    log.finish(Stream::Stdout, time).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    // Go's RFC3339Nano has no zeros at the end of the fraction.
    assert_eq!(
        text,
        "{\"log\":\"hello\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-23T21:47:18.12Z\"}\n\
         {\"log\":\"oops\\n\",\"stream\":\"stderr\",\"time\":\"2026-11-23T21:47:18.12Z\"}\n\
         {\"log\":\"world\",\"stream\":\"stdout\",\"time\":\"2026-11-23T21:47:18.12Z\"}\n"
    );
}

#[test]
fn rotation_keeps_so_many_files_and_the_newest_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c-json.log");
    let mut log = JsonFile::open(&path, small(), "").unwrap();
    for n in 0..100 {
        log.write(Stream::Stdout, format!("line {n}\n").as_bytes(), at(n))
            .unwrap();
    }
    let files = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(files, 4);
    let kept = lines(&path, ReadOptions::default());
    let expected: Vec<_> = (100 - kept.len()..100)
        .map(|n| format!("line {n}\n"))
        .collect();
    assert_eq!(kept, expected);
    assert!(kept.len() > 8, "{}", kept.len());
}

#[test]
fn one_write_of_many_lines_rotates_between_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c-json.log");
    let mut log = JsonFile::open(&path, small(), "").unwrap();
    let burst: String = (0..50).map(|n| format!("line {n}\n")).collect();
    log.write(Stream::Stdout, burst.as_bytes(), at(0)).unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        assert!(file.unwrap().metadata().unwrap().len() < 300 + 100);
    }
    assert_eq!(
        lines(&path, ReadOptions::default()).last().unwrap(),
        "line 49\n"
    );
}

#[test]
fn tail_since_and_until_choose_lines_over_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c-json.log");
    let mut log = JsonFile::open(
        &path,
        Rotation {
            max_size: Some(300),
            max_files: 50,
        },
        "",
    )
    .unwrap();
    for n in 0..40 {
        log.write(Stream::Stdout, format!("{n}\n").as_bytes(), at(n))
            .unwrap();
    }
    let tail = |count| {
        lines(
            &path,
            ReadOptions {
                tail: Tail::Lines(count),
                ..Default::default()
            },
        )
    };
    assert_eq!(tail(0), [""; 0]);
    assert_eq!(tail(2), ["38\n", "39\n"]);
    for count in 0..45 {
        assert_eq!(tail(count).len() as u64, count.min(40));
    }
    let between = ReadOptions {
        since: Some(at(10)),
        until: Some(at(12)),
        tail: Tail::All,
    };
    assert_eq!(lines(&path, between), ["10\n", "11\n", "12\n"]);
}

#[test]
fn a_follower_loses_and_repeats_nothing_through_rotations() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c-json.log");
    let watch = Watch::new(&path).unwrap();
    let mut reader = Reader::open(&path, ReadOptions::default()).unwrap();
    let writer = std::thread::spawn({
        let path = path.clone();
        move || {
            let rotation = Rotation {
                max_size: Some(2000),
                max_files: 2000,
            };
            let mut log = JsonFile::open(&path, rotation, "").unwrap();
            for n in 0..5000 {
                log.write(Stream::Stdout, format!("{n}\n").as_bytes(), at(n))
                    .unwrap();
            }
        }
    });
    let mut seen = Vec::new();
    while seen.len() < 5000 {
        poll(&mut [PollFd::new(&watch.as_fd(), PollFlags::IN)], None).unwrap();
        watch.drain();
        seen.extend(rest(&mut reader).into_iter().map(|entry| entry.log));
    }
    writer.join().unwrap();
    let expected: Vec<_> = (0..5000).map(|n| format!("{n}\n")).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_writer_killed_in_a_line_spoils_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c-json.log");
    let mut log = JsonFile::open(&path, Rotation::default(), "").unwrap();
    log.write(Stream::Stdout, b"whole\n", at(1)).unwrap();
    drop(log);
    let mut torn = std::fs::read(&path).unwrap();
    torn.extend_from_slice(b"{\"log\":\"ha");
    std::fs::write(&path, torn).unwrap();
    let mut log = JsonFile::open(&path, Rotation::default(), "").unwrap();
    log.write(Stream::Stdout, b"next\n", at(2)).unwrap();
    assert_eq!(lines(&path, ReadOptions::default()), ["whole\n", "next\n"]);
}
