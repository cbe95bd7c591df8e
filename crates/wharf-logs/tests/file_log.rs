//! What a writer wrote is what a reader reads: through rotation, restarts and torn lines.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::os::fd::AsFd;
use std::path::Path;

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, poll};
use wharf_logs::{Entry, FileLog, Format, ReadOptions, Reader, Rotation, Stream, Tail, Watches};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn open(path: &Path, rotation: Rotation) -> FileLog {
    let none = Default::default();
    FileLog::open(path, Format::Json, rotation, &none, |_| Ok(None)).unwrap()
}

fn text(entry: Entry) -> String {
    String::from_utf8(entry.log).unwrap()
}

fn rest(reader: &mut Reader) -> Vec<Entry> {
    std::iter::from_fn(|| reader.next().unwrap()).collect()
}

fn lines(path: &Path, options: ReadOptions) -> Vec<String> {
    let mut reader = Reader::open(path, Format::Json, options).unwrap();
    rest(&mut reader).into_iter().map(text).collect()
}

fn small() -> Rotation {
    Rotation {
        max_size: Some(300),
        max_files: 4,
        compress: false,
    }
}

#[test]
fn the_file_is_dockers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c-json.log");
    let mut log = open(&path, Rotation::default());
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
    let mut log = open(&path, small());
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
    let mut log = open(&path, small());
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
    let mut log = open(
        &path,
        Rotation {
            max_size: Some(300),
            max_files: 50,
            compress: false,
        },
    );
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
    let watch = Watches::new().unwrap();
    let watched = watch.add(&path).unwrap();
    let mut reader = Reader::open(&path, Format::Json, ReadOptions::default()).unwrap();
    let writer = std::thread::spawn({
        let path = path.clone();
        move || {
            let rotation = Rotation {
                max_size: Some(2000),
                max_files: 2000,
                compress: false,
            };
            let mut log = open(&path, rotation);
            for n in 0..5000 {
                log.write(Stream::Stdout, format!("{n}\n").as_bytes(), at(n))
                    .unwrap();
            }
        }
    });
    let mut seen = Vec::new();
    while seen.len() < 5000 {
        poll(&mut [PollFd::new(&watch.as_fd(), PollFlags::IN)], None).unwrap();
        watch.take(|changed| assert_eq!(changed, Some(watched)));
        seen.extend(rest(&mut reader).into_iter().map(text));
    }
    writer.join().unwrap();
    let expected: Vec<_> = (0..5000).map(|n| format!("{n}\n")).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_writer_killed_in_a_line_spoils_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c-json.log");
    let mut log = open(&path, Rotation::default());
    log.write(Stream::Stdout, b"whole\n", at(1)).unwrap();
    drop(log);
    let mut torn = std::fs::read(&path).unwrap();
    torn.extend_from_slice(b"{\"log\":\"ha");
    std::fs::write(&path, torn).unwrap();
    let mut log = open(&path, Rotation::default());
    log.write(Stream::Stdout, b"next\n", at(2)).unwrap();
    assert_eq!(lines(&path, ReadOptions::default()), ["whole\n", "next\n"]);
}

fn in_turn(path: &Path) -> std::io::Result<Option<std::process::Child>> {
    wharf_logs::compress(path).map_err(std::io::Error::other)?;
    Ok(None)
}

fn compressing(max_files: u32) -> Rotation {
    Rotation {
        max_size: Some(1000),
        max_files,
        compress: true,
    }
}

#[test]
fn what_is_compressed_is_read_like_the_rest() {
    for format in [Format::Json, Format::Local] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.log");
        let none = Default::default();
        let mut log = FileLog::open(&path, format, compressing(50), &none, in_turn).unwrap();
        // One that stands in the middle of a file that is compressed behind it.
        let mut follower = Reader::open(&path, format, ReadOptions::default()).unwrap();
        let mut followed = Vec::new();
        for n in 0..100 {
            log.write(Stream::Stdout, format!("{n}\n").as_bytes(), at(n))
                .unwrap();
            if n % 7 == 0 {
                followed.extend(follower.next().unwrap().map(text));
            }
        }
        followed.extend(rest(&mut follower).into_iter().map(text));
        let expected: Vec<_> = (0..100).map(|n| format!("{n}\n")).collect();
        assert_eq!(followed, expected);
        let names: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(names.contains(&"c.log.1.gz".to_owned()), "{names:?}");
        assert!(!names.contains(&"c.log.1".to_owned()), "{names:?}");
        for tail in [0, 1, 30, 99, 100, 200] {
            let options = ReadOptions {
                tail: Tail::Lines(tail),
                ..Default::default()
            };
            let mut reader = Reader::open(&path, format, options).unwrap();
            let read: Vec<_> = rest(&mut reader).into_iter().map(text).collect();
            assert_eq!(read, expected[100 - (tail as usize).min(100)..]);
        }
    }
}

#[test]
fn a_compression_that_was_killed_costs_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.log");
    let none = Default::default();
    let mut log = FileLog::open(&path, Format::Json, compressing(50), &none, |_| Ok(None)).unwrap();
    for n in 0..20 {
        log.write(Stream::Stdout, format!("{n}\n").as_bytes(), at(n))
            .unwrap();
    }
    // Between its last two steps: both are there.
    let first = dir.path().join("c.log.1");
    let bytes = std::fs::read(&first).unwrap();
    wharf_logs::compress(&first).unwrap();
    std::fs::write(&first, bytes).unwrap();
    let expected: Vec<_> = (0..20).map(|n| format!("{n}\n")).collect();
    assert_eq!(lines(&path, ReadOptions::default()), expected);
    for n in 20..60 {
        log.write(Stream::Stdout, format!("{n}\n").as_bytes(), at(n))
            .unwrap();
    }
    let expected: Vec<_> = (0..60).map(|n| format!("{n}\n")).collect();
    assert_eq!(lines(&path, ReadOptions::default()), expected);
}

#[test]
fn who_reads_a_log_that_is_cleared_goes_on_with_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.log");
    let none = Default::default();
    let mut log = FileLog::open(&path, Format::Json, compressing(5), &none, in_turn).unwrap();
    for n in 0..40 {
        log.write(Stream::Stdout, format!("{n}\n").as_bytes(), at(n))
            .unwrap();
    }
    let mut reader = Reader::open(&path, Format::Json, ReadOptions::default()).unwrap();
    let before = rest(&mut reader).len();
    assert_eq!(before, 40);
    log.clear().unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(lines(&path, ReadOptions::default()), [""; 0]);
    log.write(Stream::Stdout, b"after\n", at(50)).unwrap();
    let after: Vec<_> = rest(&mut reader).into_iter().map(text).collect();
    assert_eq!(after, ["after\n"]);
}

#[test]
fn a_record_that_was_torn_spoils_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("local-logs/container.log");
    let none = Default::default();
    let open = || {
        FileLog::open(&path, Format::Local, Rotation::default(), &none, |_| {
            Ok(None)
        })
        .unwrap()
    };
    open().write(Stream::Stdout, b"whole\n", at(1)).unwrap();
    let mut torn = std::fs::read(&path).unwrap();
    torn.extend_from_slice(b"\0\0\0\x20abc");
    std::fs::write(&path, torn).unwrap();
    let tail = ReadOptions {
        tail: Tail::Lines(1),
        ..Default::default()
    };
    let mut reader = Reader::open(&path, Format::Local, tail).unwrap();
    assert_eq!(text(reader.next().unwrap().unwrap()), "whole\n");
    open().write(Stream::Stdout, b"next\n", at(2)).unwrap();
    let mut reader = Reader::open(&path, Format::Local, ReadOptions::default()).unwrap();
    let read: Vec<_> = rest(&mut reader).into_iter().map(text).collect();
    assert_eq!(read, ["whole\n", "next\n"]);
}

#[test]
fn a_log_that_nobody_writes_is_cleared_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.log");
    let none = Default::default();
    let mut log = FileLog::open(&path, Format::Json, compressing(5), &none, in_turn).unwrap();
    for n in 0..40 {
        log.write(Stream::Stdout, format!("{n}\n").as_bytes(), at(n))
            .unwrap();
    }
    let mut reader = Reader::open(&path, Format::Json, ReadOptions::default()).unwrap();
    rest(&mut reader);
    wharf_logs::clear(&path).unwrap();
    assert_eq!(lines(&path, ReadOptions::default()), [""; 0]);
    // A writer that had it open all the same.
    log.write(Stream::Stdout, b"after\n", at(50)).unwrap();
    assert_eq!(lines(&path, ReadOptions::default()), ["after\n"]);
    let after: Vec<_> = rest(&mut reader).into_iter().map(text).collect();
    assert_eq!(after, ["after\n"]);
}
