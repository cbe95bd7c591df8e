//! Log drivers that send lines away, to servers that parse what comes.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use wharf_testkit::EngineKind;
use wharf_testkit::receivers::{Receiver, acknowledge};

use crate::Case;
use crate::case::skip;

/// Runs a container with these log options, to its end.
fn run(case: &Case, driver: &str, options: &[String], more: &[&str], script: &str) -> Result<()> {
    let mut args = vec!["run", "--log-driver", driver];
    for option in options {
        args.extend(["--log-opt", option]);
    }
    args.extend(more);
    args.extend(["busybox", "sh", "-c", script]);
    case.ok(&args).map(drop)
}

/// Two lines, one of each stream.
const TWO: &str = "echo one; sleep 0.2; echo two >&2";

/// The fields of a line of RFC 3164: priority, time, what is behind.
fn old_syslog(line: &str) -> Result<(u32, &str, &str)> {
    let (priority, rest) = line
        .strip_prefix('<')
        .and_then(|line| line.split_once('>'))
        .context("a priority")?;
    let (time, rest) = rest.split_at_checked(16).context("a time")?;
    Ok((priority.parse()?, time, rest))
}

pub(crate) fn syslog_formats(case: &mut Case) -> Result<()> {
    let pid = case.engine.pid()?;
    let address = |receiver: &Receiver, scheme: &str| {
        format!("syslog-address={scheme}://{}", receiver.address)
    };
    // Datagrams, and the format without a name.
    let receiver = Receiver::udp(pid)?;
    let options = [address(&receiver, "udp"), "tag={{.Name}}".to_owned()];
    run(case, "syslog", &options, &["--name", "c1"], TWO)?;
    let lines = receiver.lines(2)?;
    for (line, number, word) in [(&lines[0], 30, "one"), (&lines[1], 27, "two")] {
        let (priority, time, rest) = old_syslog(line)?;
        ensure!(priority == number && time.as_bytes()[9] == b':', "{line}");
        ensure!(
            rest.starts_with("c1[") && rest.ends_with(&format!("]: {word}")),
            "{line}"
        );
    }
    // What was sent away can be read.
    let expected = match case.engine.kind {
        // Debian's old one has no copy of what another than its own drivers write.
        EngineKind::Dockerd => None,
        _ => Some("one\ntwo"),
    };
    if let Some(expected) = expected {
        let run = case.run(&["logs", "c1"])?;
        let both = format!("{}\n{}", run.stdout, run.stderr);
        ensure!(both == expected, "{both}");
    }
    // A connection, the other formats.
    let host = case.engine.docker(["info", "-f", "{{.Name}}"]).output()?;
    let host = String::from_utf8(host.stdout)?;
    let host = host.trim();
    for format in ["rfc3164", "rfc5424", "rfc5424micro"] {
        let receiver = Receiver::tcp(pid, 0, |_| Vec::new())?;
        let options = [
            address(&receiver, "tcp"),
            "tag=it".to_owned(),
            format!("syslog-format={format}"),
            "syslog-facility=local1".to_owned(),
        ];
        run(case, "syslog", &options, &[], "echo one")?;
        let line = &receiver.lines(1)?[0];
        if format == "rfc3164" {
            let (priority, _, rest) = old_syslog(line)?;
            ensure!(priority == 142, "{line}");
            ensure!(
                rest.starts_with(&format!("{host} it[")) && rest.ends_with("]: one"),
                "{line}"
            );
            continue;
        }
        let fields: Vec<&str> = line.split(' ').collect();
        ensure!(fields.len() == 8 && fields[0] == "<142>1", "{line}");
        ensure!(fields[2] == host && fields[3] == "it", "{line}");
        ensure!(
            fields[5] == "it" && fields[6] == "-" && fields[7] == "one",
            "{line}"
        );
        let micro = fields[1].contains('.');
        ensure!(micro == (format == "rfc5424micro"), "{line}");
        // A time with the offset of its zone.
        let zone = fields[1].ends_with('Z') || fields[1].as_bytes()[fields[1].len() - 6] == b'+';
        ensure!(zone, "{line}");
    }
    let folder = case.engine.data_root().join("sockets");
    std::fs::create_dir_all(&folder)?;
    let receiver = Receiver::unixgram(&folder.join("s"))?;
    run(
        case,
        "syslog",
        &[address(&receiver, "unixgram")],
        &[],
        "echo one",
    )?;
    ensure!(receiver.lines(1)?[0].ends_with("]: one"));
    let receiver = Receiver::unix(&folder.join("t"))?;
    run(
        case,
        "syslog",
        &[address(&receiver, "unix")],
        &[],
        "echo one",
    )?;
    ensure!(receiver.lines(1)?[0].ends_with("]: one"));
    Ok(())
}

pub(crate) fn nobody_there_is_an_error(case: &mut Case) -> Result<()> {
    // Nobody listens in the world of a test.
    let dead = "127.0.0.1:9";
    for (driver, option, words) in [
        (
            "fluentd",
            format!("fluentd-address={dead}"),
            format!(
                "failed to initialize logging driver: dial tcp {dead}: connect: connection refused"
            ),
        ),
        (
            "syslog",
            format!("syslog-address=tcp://{dead}"),
            format!(
                "failed to initialize logging driver: dial tcp {dead}: connect: connection refused"
            ),
        ),
        (
            "gelf",
            format!("gelf-address=tcp://{dead}"),
            format!(
                "failed to initialize logging driver: gelf: cannot connect to GELF endpoint: {dead} dial tcp {dead}: connect: connection refused"
            ),
        ),
        (
            "journald",
            "tag=x".to_owned(),
            "failed to initialize logging driver: journald is not enabled on this host".to_owned(),
        ),
    ] {
        let args = [
            "run",
            "--log-driver",
            driver,
            "--log-opt",
            &option,
            "busybox",
            "true",
        ];
        case.fails(&args, 125, &words)
            .or_else(|error| match (driver, case.engine.kind) {
                // There is a check for the socket only, and this machine's is not there either.
                ("journald", EngineKind::Dockerd) => Ok(()),
                _ => Err(error),
            })?;
    }
    Ok(())
}

pub(crate) fn fluentd_events(case: &mut Case) -> Result<()> {
    let pid = case.engine.pid()?;
    let receiver = Receiver::tcp(pid, 0, |_| Vec::new())?;
    let options = [
        format!("fluentd-address={}", receiver.address),
        "tag=docker.{{.Name}}".to_owned(),
        "labels=a".to_owned(),
        "env=E".to_owned(),
    ];
    let more = ["--name", "c1", "--label", "a=1", "-e", "E=2"];
    run(case, "fluentd", &options, &more, TWO)?;
    let events = receiver.events(2)?;
    let id = case.ok(&["inspect", "-f", "{{.Id}}", "c1"])?;
    for (event, stream, word) in [(&events[0], "stdout", "one"), (&events[1], "stderr", "two")] {
        ensure!(event[0] == "docker.c1" && event[1].is_u64(), "{event}");
        let record = serde_json::json!({
            "container_id": id, "container_name": "/c1", "source": stream, "log": word, "a": "1", "E": "2",
        });
        ensure!(event[2] == record, "{event}");
    }
    // Times with fractions, and confirmations.
    let receiver = Receiver::tcp(pid, 0, acknowledge)?;
    let options = [
        format!("fluentd-address=tcp://{}", receiver.address),
        "fluentd-sub-second-precision=true".to_owned(),
        "fluentd-request-ack=true".to_owned(),
    ];
    run(case, "fluentd", &options, &[], "echo one")?;
    let events = receiver.events(1)?;
    ensure!(
        events[0][1]["ext"] == 0 && events[0][1]["nanos"].is_u64(),
        "{events:?}"
    );
    ensure!(events[0][3]["chunk"].is_string(), "{events:?}");
    Ok(())
}

pub(crate) fn fluentd_that_comes_later(case: &mut Case) -> Result<()> {
    let pid = case.engine.pid()?;
    let port = Receiver::udp(pid)?.address;
    let options = [
        format!("fluentd-address={port}"),
        "fluentd-async=true".to_owned(),
        "fluentd-retry-wait=100ms".to_owned(),
    ];
    let mut args = vec!["run", "-d", "--name", "c1", "--log-driver", "fluentd"];
    for option in &options {
        args.extend(["--log-opt", option]);
    }
    let script = "echo one; while [ ! -e /go ]; do sleep 0.1; done; echo two";
    args.extend(["busybox", "sh", "-c", script]);
    case.ok(&args)?;
    // It runs, and nobody has taken its line.
    case.ok(&["exec", "c1", "true"])?;
    let number = port.rsplit(':').next().context("a port")?.parse()?;
    let receiver = Receiver::tcp(pid, number, |_| Vec::new())?;
    ensure!(receiver.events(1)?[0][2]["log"] == "one");
    case.ok(&["exec", "c1", "touch", "/go"])?;
    ensure!(receiver.events(2)?[1][2]["log"] == "two");
    case.ok(&["wait", "c1"]).map(drop)
}

pub(crate) fn gelf_messages(case: &mut Case) -> Result<()> {
    let pid = case.engine.pid()?;
    let check = |message: &Value, level: u32, word: &str| {
        ensure!(
            message["version"] == "1.1" && message["level"] == level,
            "{message}"
        );
        ensure!(message["short_message"] == word, "{message}");
        ensure!(
            message["timestamp"].is_f64() || message["timestamp"].is_u64(),
            "{message}"
        );
        ensure!(
            message["_image_name"] == "busybox" && message["_x"] == "1",
            "{message}"
        );
        ensure!(
            message["_container_id"]
                .as_str()
                .is_some_and(|id| id.len() == 64),
            "{message}"
        );
        ensure!(
            message["_command"]
                .as_str()
                .is_some_and(|text| text.starts_with("sh -c ")),
            "{message}"
        );
        ensure!(
            message["_tag"] == "t" && message["_created"].is_string(),
            "{message}"
        );
        ensure!(
            message["host"].is_string() && message["_container_name"].is_string(),
            "{message}"
        );
        Ok(())
    };
    let common = ["tag=t".to_owned(), "labels=x".to_owned()];
    let more = ["--label", "x=1"];
    for kind in ["gzip", "zlib", "none"] {
        let receiver = Receiver::udp(pid)?;
        let own = [
            format!("gelf-address=udp://{}", receiver.address),
            format!("gelf-compression-type={kind}"),
        ];
        run(case, "gelf", &[&common[..], &own].concat(), &more, TWO)?;
        let messages = receiver.graylog(2)?;
        check(&messages[0], 6, "one")?;
        check(&messages[1], 3, "two")?;
        // Too long for one datagram.
        let long = "head -c 8000 /dev/urandom | od -A n -t x1 | tr -d ' \\n'; echo";
        run(case, "gelf", &[&common[..], &own].concat(), &more, long)?;
        let messages = receiver.graylog(3)?;
        let line = messages[2]["short_message"].as_str().unwrap_or_default();
        ensure!(line.len() == 16000, "{}", line.len());
    }
    let receiver = Receiver::tcp(pid, 0, |_| Vec::new())?;
    let own = [format!("gelf-address=tcp://{}", receiver.address)];
    run(case, "gelf", &[&common[..], &own].concat(), &more, TWO)?;
    let messages = receiver.graylog(2)?;
    check(&messages[0], 6, "one")?;
    check(&messages[1], 3, "two")
}

pub(crate) fn journal_entries(case: &mut Case) -> Result<()> {
    // The world has a /run of its own.
    let folder = format!("/proc/{}/root/run/systemd/journal", case.engine.pid()?);
    std::fs::create_dir_all(&folder)?;
    let receiver = Receiver::unixgram(std::path::Path::new(&format!("{folder}/socket")))?;
    let options = ["tag={{.Name}}".to_owned(), "labels=_a.b".to_owned()];
    let more = ["--name", "c1", "--label", "_a.b=x\ny"];
    run(case, "journald", &options, &more, TWO)?;
    let entries = receiver.journal(2)?;
    let id = case.ok(&["inspect", "-f", "{{.Id}}", "c1"])?;
    for (entry, priority, word) in [(&entries[0], "6", "one"), (&entries[1], "3", "two")] {
        for (field, value) in [
            ("MESSAGE", word),
            ("PRIORITY", priority),
            ("CONTAINER_ID", &id[..12]),
            ("CONTAINER_ID_FULL", &id),
            ("CONTAINER_NAME", "c1"),
            ("CONTAINER_TAG", "c1"),
            ("SYSLOG_IDENTIFIER", "c1"),
            ("IMAGE_NAME", "busybox"),
            ("A_B", "x\ny"),
        ] {
            ensure!(
                entry.get(field).is_some_and(|is| is == value),
                "{field}: {entry:?}"
            );
        }
    }
    Ok(())
}

pub(crate) fn no_copy_if_none_is_wanted(case: &mut Case) -> Result<()> {
    let receiver = Receiver::udp(case.engine.pid()?)?;
    let options = [
        format!("syslog-address=udp://{}", receiver.address),
        "cache-disabled=true".to_owned(),
    ];
    run(case, "syslog", &options, &["--name", "c1"], "echo one")?;
    receiver.lines(1)?;
    let words = "configured logging driver does not support reading";
    case.fails(&["logs", "c1"], 1, words)
}

pub(crate) fn lines_go_away_while_the_daemon_is_dead(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("only Wharf has this");
    }
    let receiver = Receiver::tcp(case.engine.pid()?, 0, |_| Vec::new())?;
    let option = format!("syslog-address=tcp://{}", receiver.address);
    let script = "echo one; while [ ! -e /tmp/go ]; do sleep 0.1; done; seq 1 50";
    let folder = case.engine.data_root().join("shared");
    std::fs::create_dir_all(&folder)?;
    let mount = format!("{}:/tmp", folder.display());
    let args = [
        "run",
        "-d",
        "--name",
        "c1",
        "-v",
        &mount,
        "--log-driver",
        "syslog",
        "--log-opt",
        &option,
        "busybox",
        "sh",
        "-c",
        script,
    ];
    case.ok(&args)?;
    receiver.lines(1)?;
    case.engine.kill_9()?;
    std::fs::write(folder.join("go"), "")?;
    let lines = receiver.lines(51)?;
    ensure!(
        lines.last().is_some_and(|line| line.ends_with("]: 50")),
        "{lines:?}"
    );
    case.engine.launch()?;
    case.prints(&["wait", "c1"], "0")?;
    ensure!(case.ok(&["logs", "c1"])?.lines().count() == 51);
    Ok(())
}

pub(crate) fn a_logger_that_is_killed_is_started_again(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("only Wharf has this");
    }
    let receiver = Receiver::tcp(case.engine.pid()?, 0, |_| Vec::new())?;
    let option = format!("syslog-address=tcp://{}", receiver.address);
    let script = "n=0; while [ ! -e /end ]; do [ -e /go ] && { n=$((n+1)); echo $n; rm /go; }; sleep 0.05; done";
    let args = [
        "run",
        "-d",
        "--name",
        "c1",
        "--log-driver",
        "syslog",
        "--log-opt",
        &option,
        "busybox",
        "sh",
        "-c",
        script,
    ];
    case.ok(&args)?;
    for number in 1..=4 {
        case.ok(&["exec", "c1", "touch", "/go"])?;
        let lines = receiver.lines(number)?;
        ensure!(
            lines.len() == number && lines[number - 1].ends_with(&format!("]: {number}")),
            "{lines:?}"
        );
        case.engine.world.sh("pkill -9 wharf-logger")?;
    }
    case.ok(&["exec", "c1", "touch", "/end"])?;
    case.prints(&["wait", "c1"], "0")?;
    case.prints(&["logs", "c1"], "1\n2\n3\n4")
}

pub(crate) fn nobody_who_takes_lines_stops_what_may_lose_them(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("dockerd 26 did not come to the end of this in minutes");
    }
    // A socket where nobody reads: its buffer is full soon.
    let folder = case.engine.data_root().join("sockets");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("silent");
    let silent = std::os::unix::net::UnixListener::bind(&path)?;
    let options = [
        format!("fluentd-address=unix://{}", path.display()),
        "mode=non-blocking".to_owned(),
        "max-buffer-size=100k".to_owned(),
    ];
    let mut args = vec!["run", "-d", "--name", "c1", "--log-driver", "fluentd"];
    for option in &options {
        args.extend(["--log-opt", option]);
    }
    args.extend([
        "busybox",
        "sh",
        "-c",
        "seq 1 300000; touch /written; sleep 1000",
    ]);
    case.ok(&args)?;
    // All was written, though hardly any of it was taken.
    while case.run(&["exec", "c1", "test", "-e", "/written"])?.code != 0 {}
    drop(silent);
    // The copy has all.
    ensure!(case.ok(&["logs", "c1"])?.lines().count() == 300_000);
    case.ok(&["rm", "-f", "c1"]).map(drop)
}
