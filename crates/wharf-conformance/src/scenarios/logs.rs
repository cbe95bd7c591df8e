//! Log drivers, their options, and reading back what they keep.

use anyhow::{Context as _, Result, ensure};

use wharf_testkit::EngineKind;

use crate::Case;
use crate::case::skip;

/// `-d` container that prints the numbers up to `count`, one a line, and ends.
fn numbers(case: &Case, name: &str, count: u32, options: &[&str]) -> Result<()> {
    let script = format!("seq 1 {count}");
    let mut args = vec!["run", "-d", "--name", name];
    args.extend(options);
    args.extend(["busybox", "sh", "-c", &script]);
    case.ok(&args)?;
    case.ok(&["wait", name]).map(drop)
}

pub(crate) fn options_that_no_driver_has_are_refused(case: &mut Case) -> Result<()> {
    for (options, words) in [
        (
            &["--log-opt", "nonsense=1"][..],
            "unknown log opt 'nonsense' for json-file log driver",
        ),
        (
            &["--log-driver", "nobody"],
            "error looking up logging plugin nobody: plugin \"nobody\" not found",
        ),
        (
            &["--log-opt", "mode=x"],
            "logger: logging mode not supported: x",
        ),
        (
            &["--log-opt", "max-buffer-size=1m"],
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (
            &[
                "--log-opt",
                "mode=non-blocking",
                "--log-opt",
                "max-buffer-size=x",
            ],
            "error parsing option max-buffer-size: invalid size: 'x'",
        ),
        (
            &["--log-driver", "local", "--log-opt", "x=1"],
            "unknown log opt 'x' for log driver local",
        ),
        (
            &["--log-driver", "syslog", "--log-opt", "syslog-address=x"],
            "syslog-address should be in form proto://address, got x",
        ),
        (
            &["--log-driver", "syslog", "--log-opt", "syslog-facility=x"],
            "invalid syslog facility",
        ),
        (
            &["--log-driver", "syslog", "--log-opt", "syslog-format=x"],
            "nvalid syslog format",
        ),
        (
            &["--log-driver", "syslog", "--log-opt", "x=1"],
            "unknown log opt 'x' for syslog log driver",
        ),
        (
            &["--log-driver", "journald", "--log-opt", "x=1"],
            "unknown log opt 'x' for journald log driver",
        ),
        (
            &[
                "--log-driver",
                "gelf",
                "--log-opt",
                "x=1",
                "--log-opt",
                "gelf-address=udp://127.0.0.1:1",
            ],
            "unknown log opt \"x\" for gelf log driver",
        ),
        (
            &["--log-driver", "gelf"],
            "gelf-address is a required parameter",
        ),
        (
            &[
                "--log-driver",
                "gelf",
                "--log-opt",
                "gelf-address=http://x:1",
            ],
            "gelf-address should be in form proto://address, got http://x:1",
        ),
        (
            &[
                "--log-driver",
                "gelf",
                "--log-opt",
                "gelf-address=unix:///x",
            ],
            "gelf: endpoint needs to be TCP or UDP",
        ),
        (
            &["--log-driver", "gelf", "--log-opt", "gelf-address=udp://x"],
            "gelf: please provide gelf-address as proto://host:port",
        ),
        (
            &[
                "--log-driver",
                "gelf",
                "--log-opt",
                "gelf-address=udp://127.0.0.1:1",
                "--log-opt",
                "gelf-compression-type=x",
            ],
            "unknown value \"x\" for log opt \"gelf-compression-type\" for gelf log driver",
        ),
        (
            &["--log-driver", "fluentd", "--log-opt", "x=1"],
            "unknown log opt 'x' for fluentd log driver",
        ),
        (
            &["--log-driver", "fluentd", "--log-opt", "fluentd-async=x"],
            "strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        (
            &[
                "--log-driver",
                "fluentd",
                "--log-opt",
                "fluentd-address=127.0.0.1:x",
            ],
            "invalid fluentd-address 127.0.0.1:x: ",
        ),
        (
            &[
                "--log-driver",
                "fluentd",
                "--log-opt",
                "fluentd-retry-wait=1",
            ],
            "time: missing unit in duration \"1\"",
        ),
    ] {
        let mut args = vec!["create"];
        args.extend(options);
        args.extend(["busybox", "true"]);
        case.fails(&args, 1, words)?;
    }
    Ok(())
}

pub(crate) fn wrong_values_are_refused_at_the_start(case: &mut Case) -> Result<()> {
    for (number, (options, words)) in [
        (&["max-size=x"][..], "invalid size: 'x'"),
        (&["max-size=0"], "max-size must be a positive number"),
        (
            &["max-size=1m", "max-file=0"],
            "max-file cannot be less than 1",
        ),
        (
            &["max-file=x"],
            "strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            &["compress=true"],
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        (
            &["compress=x"],
            "strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("c{number}");
        let mut args = vec!["create", "--name", &name];
        for option in options {
            args.extend(["--log-opt", option]);
        }
        args.extend(["busybox", "true"]);
        case.ok(&args)?;
        let words = format!("failed to initialize logging driver: {words}");
        case.fails(&["start", &name], 1, &words)?;
        let code = case.ok(&["inspect", "-f", "{{.State.ExitCode}}", &name])?;
        ensure!(code == "128", "{name}: {code}");
    }
    Ok(())
}

pub(crate) fn details_are_the_attributes(case: &mut Case) -> Result<()> {
    let options = [
        "--label",
        "com.a=1",
        "--label",
        "com.b=x y",
        "--label",
        "other=3",
        "-e",
        "ONE=1",
        "-e",
        "TWO=2",
        "--log-opt",
        "labels=other,none",
        "--log-opt",
        "labels-regex=^com\\.",
        "--log-opt",
        "env=ONE",
        "--log-opt",
        "env-regex=^TW",
        "--log-opt",
        "tag={{.Name}}/{{.ImageName}}",
    ];
    numbers(case, "c1", 1, &options)?;
    let line = case.ok(&["logs", "--details", "c1"])?;
    ensure!(
        line == "ONE=1,TWO=2,com.a=1,com.b=x+y,other=3,tag=c1%2Fbusybox 1",
        "{line}"
    );
    numbers(case, "c2", 1, &[])?;
    case.prints(&["logs", "--details", "c2"], " 1")
}

pub(crate) fn rotated_and_compressed_logs_are_read_whole(case: &mut Case) -> Result<()> {
    let all: Vec<String> = (1..=2000).map(|n| n.to_string()).collect();
    for driver in ["json-file", "local"] {
        let options = [
            "--log-driver",
            driver,
            "--log-opt",
            "max-size=20k",
            "--log-opt",
            "max-file=20",
            "--log-opt",
            "compress=true",
        ];
        numbers(case, driver, 2000, &options)?;
        case.prints(&["logs", driver], &all.join("\n"))?;
        case.prints(&["logs", "--tail", "1500", driver], &all[500..].join("\n"))?;
        case.prints(&["logs", "-n", "2", driver], "1999\n2000")?;
        case.prints(&["logs", "-n", "0", driver], "")?;
    }
    // Only so many are kept.
    let options = ["--log-opt", "max-size=10k", "--log-opt", "max-file=2"];
    numbers(case, "few", 2000, &options)?;
    let kept = case.ok(&["logs", "few"])?;
    let kept: Vec<&str> = kept.lines().collect();
    ensure!(
        (100..500).contains(&kept.len())
            && all.ends_with(&kept.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()),
        "{} lines kept",
        kept.len()
    );
    Ok(())
}

pub(crate) fn no_driver_keeps_nothing(case: &mut Case) -> Result<()> {
    numbers(case, "c1", 3, &["--log-driver", "none"])?;
    let words = "configured logging driver does not support reading";
    case.fails(&["logs", "c1"], 1, words)?;
    let driver = case.ok(&["inspect", "-f", "{{.HostConfig.LogConfig.Type}}", "c1"])?;
    ensure!(driver == "none", "{driver}");
    let path = case.ok(&["inspect", "-f", "{{.LogPath}}", "c1"])?;
    ensure!(path.is_empty(), "{path}");
    // Who is attached sees it nevertheless.
    case.prints(
        &[
            "run",
            "--rm",
            "--log-driver",
            "none",
            "busybox",
            "echo",
            "hi",
        ],
        "hi",
    )
}

pub(crate) fn times_and_parts_of_lines(case: &mut Case) -> Result<()> {
    // Longer than the 16 KiB that a message is: read back as one line.
    for driver in ["json-file", "local"] {
        if driver == "local" && case.engine.kind == EngineKind::Dockerd {
            // The old one ends each part with a newline.
            continue;
        }
        let script = "head -c 40000 /dev/zero | tr '\\0' x; echo; echo end; echo -n rest";
        case.ok(&[
            "run",
            "--name",
            driver,
            "--log-driver",
            driver,
            "busybox",
            "sh",
            "-c",
            script,
        ])?;
        let long = "x".repeat(40000);
        case.prints(&["logs", driver], &format!("{long}\nend\nrest"))?;
        let stamped = case.ok(&["logs", "-t", "-n", "2", driver])?;
        let lines: Vec<&str> = stamped.lines().collect();
        ensure!(
            lines.len() == 2 && lines[0].ends_with("Z end") && lines[0].len() == 34,
            "{stamped}"
        );
        let (time, _) = lines[1].split_once(' ').context("a time")?;
        case.prints(&["logs", "--since", time, driver], "rest")?;
        case.prints(&["logs", "--until", "2001-01-01", driver], "")?;
    }
    Ok(())
}

pub(crate) fn following_ends_with_the_container(case: &mut Case) -> Result<()> {
    for driver in ["json-file", "local"] {
        let script = "i=0; while [ $i -lt 500 ]; do echo $i; i=$((i+1)); done";
        case.ok(&[
            "create",
            "--name",
            driver,
            "--log-driver",
            driver,
            "--log-opt",
            "max-size=4k",
            "--log-opt",
            "max-file=30",
            "--log-opt",
            "compress=false",
            "-t",
            "busybox",
            "sh",
            "-c",
            script,
        ])?;
        case.ok(&["start", driver])?;
        let all: Vec<String> = (0..500).map(|n| n.to_string()).collect();
        let followed = case.ok(&["logs", "-f", driver])?;
        let followed = followed.replace('\r', "");
        ensure!(followed == all.join("\n"), "{driver}: {followed}");
    }
    Ok(())
}

pub(crate) fn a_log_that_may_lose_lines(case: &mut Case) -> Result<()> {
    for driver in ["json-file", "local"] {
        let options = [
            "--log-driver",
            driver,
            "--log-opt",
            "mode=non-blocking",
            "--log-opt",
            "max-buffer-size=4m",
        ];
        numbers(case, driver, 1000, &options)?;
        let all: Vec<String> = (1..=1000).map(|n| n.to_string()).collect();
        // What a follower gets is what was written: the buffer is large enough.
        let read = case.ok(&["logs", driver])?;
        ensure!(read == all.join("\n"), "{driver}: {} bytes", read.len());
    }
    Ok(())
}

pub(crate) fn the_daemon_names_its_drivers(case: &mut Case) -> Result<()> {
    case.prints(&["info", "-f", "{{.LoggingDriver}}"], "json-file")?;
    let drivers = case.ok(&["info", "-f", "{{json .Plugins.Log}}"])?;
    for driver in [
        "fluentd",
        "gelf",
        "journald",
        "json-file",
        "local",
        "syslog",
    ] {
        ensure!(drivers.contains(&format!("{driver:?}")), "{drivers}");
    }
    Ok(())
}

pub(crate) fn a_log_is_cleared(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("only Wharf has this");
    }
    let script = "seq 1 5; while [ ! -e /go ]; do sleep 0.1; done; echo after";
    for driver in ["json-file", "local"] {
        case.ok(&[
            "run",
            "-d",
            "--name",
            driver,
            "--log-driver",
            driver,
            "busybox",
            "sh",
            "-c",
            script,
        ])?;
        let five = || {
            case.ok(&["logs", driver])
                .map(|log| log.lines().count() == 5)
        };
        while !five()? {}
        let target = format!("/wharf/containers/{driver}/logs");
        let cleared = case.engine.api("DELETE", &target, None)?;
        ensure!(cleared.status == 204, "{}", cleared.text());
        case.prints(&["logs", driver], "")?;
        case.ok(&["exec", driver, "touch", "/go"])?;
        case.prints(&["logs", "-f", driver], "after")?;
        case.ok(&["wait", driver])?;
        let output = case.engine.wharf_ok(&["logs", "--clear", driver])?;
        ensure!(output.is_empty(), "{output}");
        case.prints(&["logs", driver], "")?;
    }
    Ok(())
}

pub(crate) fn many_follow_at_once(case: &mut Case) -> Result<()> {
    let script = "echo begun; while [ ! -e /go ]; do sleep 0.1; done; seq 1 100";
    case.ok(&[
        "run", "-d", "--name", "c1", "-t", "busybox", "sh", "-c", script,
    ])?;
    // More than the kernel lets a user have of watches of files.
    let case = &*case;
    let texts: Vec<Result<String>> = std::thread::scope(|scope| {
        let follow = || -> Result<String> {
            let target = "/containers/c1/logs?stdout=1&follow=1";
            Ok(case.engine.api("GET", target, None)?.text())
        };
        let followers: Vec<_> = (0..200).map(|_| scope.spawn(follow)).collect();
        let gone = case.ok(&["exec", "c1", "touch", "/go"]);
        let mut texts: Vec<Result<String>> = followers
            .into_iter()
            .map(|follower| {
                follower
                    .join()
                    .unwrap_or_else(|_| anyhow::bail!("a follower"))
            })
            .collect();
        texts.extend(gone.err().map(Err));
        texts
    });
    for text in texts {
        let text = text?;
        ensure!(text.lines().count() == 101, "{text}");
    }
    Ok(())
}
