//! A task from its beginning to its end.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod common;

use std::collections::HashSet;

use common::{OUTPUT, World, in_a_world, read_all};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wharf_tasks::{AttachOptions, ExecConfig, Found, ShimProgram, Task, TaskError, Tasks};

fn exec_config(world: &World, id: &str, arguments: &[&str]) -> ExecConfig {
    let process = world.spec(arguments)["process"].clone();
    ExecConfig {
        id: id.to_owned(),
        process: serde_json::from_value(process).unwrap(),
        user: String::new(),
        attach: Some(OUTPUT),
    }
}

/// A container that runs until it is killed.
async fn sleeper(world: &World, id: &str) -> Task {
    let task = world
        .tasks
        .create(id, world.config(world.spec(&["sleep", "1000"])))
        .await
        .unwrap();
    task.start().await.unwrap();
    task
}

#[test]
fn runs_a_program_and_keeps_its_output_and_code() {
    in_a_world(async |world| {
        let (status, output) = world
            .run(&["sh", "-c", "echo out; echo err >&2; exit 3"])
            .await;
        assert_eq!(status.code, 3);
        assert!(
            output.contains("out\n") && output.contains("err\n"),
            "{output}"
        );
        let logged = world.logged();
        assert!(
            logged.contains("out\n") && logged.contains("err\n"),
            "{logged}"
        );
        // The first process of a pid namespace is deaf to signals that it does not handle.
        let (status, _) = world
            .run(&["sh", "-c", "kill -9 $$; kill -TERM 1; exit 5"])
            .await;
        assert_eq!(status.code, 5);
    });
}

/// The shim that was started ahead below the world's exec root, once its name says that it is there.
async fn spare(world: &World) -> u32 {
    let run = world.folder.path().join("run");
    loop {
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let read = |file: &str| std::fs::read_to_string(entry.path().join(file));
            let of_ours = read("cmdline").is_ok_and(|line| line.contains(run.to_str().unwrap()));
            if of_ours && read("comm").is_ok_and(|name| name == "wharf-spare\n") {
                return entry.file_name().to_str().unwrap().parse().unwrap();
            }
        }
        tokio::task::yield_now().await;
    }
}

/// A task in the shim that was started ahead. Who starts while that one is just being made does not wait for it: then it is
/// the turn of the next.
async fn took_the_spare(world: &World) -> Task {
    for turn in 'a'..='z' {
        let waiting = spare(world).await;
        let id = String::from(turn).repeat(64);
        let task = sleeper(world, &id).await;
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{waiting}/{file}")).unwrap();
        if read("cmdline").ends_with(&format!("/{id}\0")) {
            assert_eq!(read("comm"), "wharf-shim\n");
            return task;
        }
        task.kill(9).await.unwrap();
        task.wait().await;
        task.delete().await.unwrap();
    }
    panic!("no task takes the shim that waits");
}

#[test]
fn the_next_task_takes_the_shim_that_was_started_ahead() {
    in_a_world(async |world| {
        let first = sleeper(world, "one").await;
        let second = took_the_spare(world).await;
        second.kill(9).await.unwrap();
        assert_eq!(second.wait().await.code, 137);
        second.delete().await.unwrap();
        // One that was killed is not given to anybody.
        let waiting = rustix::process::Pid::from_raw(spare(world).await as i32).unwrap();
        let ended = rustix::process::pidfd_open(waiting, rustix::process::PidfdFlags::empty());
        rustix::process::kill_process(waiting, rustix::process::Signal::KILL).unwrap();
        let ended = ended.unwrap();
        let mut ended = [rustix::event::PollFd::new(
            &ended,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut ended, None).unwrap();
        let third = sleeper(world, "three").await;
        for task in [first, third] {
            task.delete().await.unwrap();
        }
    });
}

#[test]
fn a_signal_gives_128_and_its_number() {
    in_a_world(async |world| {
        let task = sleeper(world, "s").await;
        task.kill(9).await.unwrap();
        assert_eq!(task.wait().await.code, 137);
        assert!(matches!(task.kill(9).await, Err(TaskError::Gone)));
        let again = task.clone();
        assert_eq!(again.wait().await.code, 137);
        task.delete().await.unwrap();
        assert!(matches!(world.tasks.load("s").await.unwrap(), Found::Gone));
    });
}

#[test]
fn input_reaches_the_process_and_ends_with_the_client() {
    in_a_world(async |world| {
        let mut config = world.config(world.spec(&["sh", "-c", "cat; echo end"]));
        (config.stdio.open_stdin, config.stdio.stdin_once) = (true, true);
        let (task, mut stream) = world.start("in", config).await;
        // More than the pipes and sockets hold, so that every buffer on the way has been full.
        let sent = "0123456789abcde\n".repeat(100_000);
        let text = sent.clone();
        let (mut reader, mut writer) = stream.split();
        let write = async {
            writer.write_all(text.as_bytes()).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let mut bytes = Vec::new();
        let (_, read) = tokio::join!(write, reader.read_to_end(&mut bytes));
        read.unwrap();
        let mut received = String::new();
        let mut rest = &bytes[..];
        while let Some((head, tail)) = rest.split_at_checked(8) {
            let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
            received.push_str(std::str::from_utf8(&tail[..length]).unwrap());
            rest = &tail[length..];
        }
        assert_eq!(received.len(), sent.len() + 4);
        assert!(received.ends_with("end\n"));
        assert_eq!(task.wait().await.code, 0);
        assert_eq!(world.logged().len(), sent.len() + 4);
    });
}

/// A daemon that dies closes its streams: the process keeps its input for the next one's clients, until it is told that one has ended.
#[test]
fn input_outlives_a_stream_that_is_lost() {
    in_a_world(async |world| {
        let script = "read a; echo $a; read b; echo $b; cat; echo end";
        let mut config = world.config(world.spec(&["sh", "-c", script]));
        (config.stdio.open_stdin, config.stdio.stdin_once) = (true, true);
        let (task, mut stream) = world.start("kept", config).await;
        stream.write_all(b"one\n").await.unwrap();
        drop(stream);
        let all = AttachOptions {
            stdin: true,
            stdout: true,
            stderr: true,
        };
        let mut next = task.attach(all).await.unwrap();
        next.write_all(b"two\nthree\n").await.unwrap();
        task.close_stdin().await.unwrap();
        let output = read_all(next, false).await;
        assert!(output.ends_with("two\nthree\nend\n"), "{output}");
        assert_eq!(task.wait().await.code, 0);
        assert_eq!(world.logged(), "one\ntwo\nthree\nend\n");
    });
}

/// What a client has said before its stream is lost counts, though the process had not read it by then.
#[test]
fn the_end_of_input_outlives_a_stream_that_is_lost() {
    in_a_world(async |world| {
        let mut config = world.config(world.spec(&["sh", "-c", "wc -c; echo end"]));
        (config.stdio.open_stdin, config.stdio.stdin_once) = (true, true);
        let (task, mut stream) = world.start("slow", config).await;
        task.pause().await.unwrap();
        // More than its pipe takes.
        stream.write_all(&[b'x'; 150_000]).await.unwrap();
        stream.shutdown().await.unwrap();
        // Who is accepted after that finds that the shim has seen it.
        let Found::Running(next) = world.tasks.load("slow").await.unwrap() else {
            panic!("it runs")
        };
        next.clear_log().await.unwrap();
        drop(stream);
        next.resume().await.unwrap();
        assert_eq!(next.wait().await.code, 0);
        assert_eq!(world.logged(), "150000\nend\n");
    });
}

#[test]
fn a_terminal_is_one_and_is_resized() {
    in_a_world(async |world| {
        let mut spec = world.spec(&[
            "sh",
            "-c",
            "tty; read line; stty size; ls -l /dev/console; echo $line",
        ]);
        spec["process"]["terminal"] = true.into();
        let mut config = world.config(spec);
        config.stdio.open_stdin = true;
        let (task, mut stream) = world.start("tty", config).await;
        task.resize(33, 44).await.unwrap();
        stream.write_all(b"typed\n").await.unwrap();
        let output = read_all(stream, true).await;
        assert!(
            output.contains("33 44") && output.contains("/dev/console"),
            "{output}"
        );
        assert!(
            output.contains("typed\r\ntyped") || output.matches("typed").count() == 2,
            "{output}"
        );
        assert_eq!(task.wait().await.code, 0);
    });
}

#[test]
fn start_failures_in_runc_s_words() {
    in_a_world(async |world| {
        let failure = async |change: &dyn Fn(&mut serde_json::Value)| {
            let mut spec = world.spec(&["true"]);
            change(&mut spec);
            let error = match world.tasks.create("bad", world.config(spec)).await {
                Err(error) => error,
                Ok(task) => panic!("made: {:?}", task.start().await),
            };
            assert!(matches!(
                world.tasks.load("bad").await.unwrap(),
                Found::Gone
            ));
            error.to_string()
        };
        let args = |args: &'static [&str]| {
            move |spec: &mut serde_json::Value| spec["process"]["args"] = serde_json::json!(args)
        };
        assert_eq!(
            failure(&args(&["nope"])).await,
            "exec: \"nope\": executable file not found in $PATH"
        );
        assert_eq!(
            failure(&args(&["/nope"])).await,
            "exec: \"/nope\": stat /nope: no such file or directory"
        );
        assert_eq!(
            failure(&args(&["/etc/passwd"])).await,
            "exec: \"/etc/passwd\": permission denied"
        );
        assert_eq!(
            failure(&args(&["/etc"])).await,
            "exec: \"/etc\": is a directory"
        );
        let cwd = |spec: &mut serde_json::Value| spec["process"]["cwd"] = "/etc/passwd".into();
        let text = failure(&cwd).await;
        assert!(text.contains("not a directory"), "{text}");
        let mut config = world.config(world.spec(&["true"]));
        config.user = "nobody-here".into();
        let error = world.tasks.create("bad", config).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "unable to find user nobody-here: no matching entries in passwd file"
        );
        // Found, executable, and no program: that is known after the start only.
        std::fs::write(world.rootfs().join("bin/odd"), "odd").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(world.rootfs().join("bin/odd"), mode).unwrap();
        let (status, output) = world.run(&["odd"]).await;
        assert_eq!(
            (status.code, &*output),
            (255, "exec /bin/odd: exec format error\n")
        );
    });
}

#[test]
fn execs_side_by_side() {
    in_a_world(async |world| {
        let task = sleeper(world, "e").await;
        let mut execs = Vec::new();
        for number in 0..5 {
            let script = format!("echo {number}; read x < /proc/self/cgroup; id -u; exit {number}");
            let config = exec_config(world, &format!("x{number}"), &["sh", "-c", &script]);
            execs.push(task.exec(config).await.unwrap());
        }
        for (number, exec) in execs.iter().enumerate() {
            let output = read_all(exec.take_stream().unwrap(), false).await;
            assert_eq!(output, format!("{number}\n0\n"));
            assert_eq!(exec.wait().await.code, number as i32);
        }
        let mut config = exec_config(world, "who", &["sh", "-c", "id; pwd; echo $HOME; hostname"]);
        config.user = "web".into();
        let exec = task.exec(config).await.unwrap();
        let output = read_all(exec.take_stream().unwrap(), false).await;
        assert_eq!(
            output,
            "uid=33(web) gid=34(www) groups=29(audio),34(www)\n/\n/tmp\nwharf\n"
        );
        let error = task
            .exec(exec_config(world, "bad", &["nope"]))
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "exec: \"nope\": executable file not found in $PATH"
        );
        // On a terminal too, which hangs up on whoever gives up.
        let mut config = exec_config(world, "bad2", &["nope"]);
        config.process.set_terminal(Some(true));
        let error = task.exec(config).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "exec: \"nope\": executable file not found in $PATH"
        );
        let mut config = exec_config(world, "cwd", &["true"]);
        config.process.set_cwd("/nowhere".into());
        let error = task.exec(config).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "chdir to cwd (\"/nowhere\") set in config.json failed: no such file or directory"
        );
        // A background process that holds the output does not hold the exec.
        let exec = task
            .exec(exec_config(
                world,
                "bg",
                &["sh", "-c", "sleep 1000 & echo done"],
            ))
            .await
            .unwrap();
        assert_eq!(exec.wait().await.code, 0);
        assert_eq!(read_all(exec.take_stream().unwrap(), false).await, "done\n");
        // Its terminal is the container's.
        let mut process = world.spec(&["sh", "-c", "tty; stty size"])["process"].clone();
        process["terminal"] = true.into();
        process["consoleSize"] = serde_json::json!({"height": 12, "width": 34});
        let mut config = exec_config(world, "tty", &["true"]);
        config.process = serde_json::from_value(process).unwrap();
        let exec = task.exec(config).await.unwrap();
        let output = read_all(exec.take_stream().unwrap(), true).await;
        assert_eq!(output, "/dev/pts/0\r\n12 34\r\n");
        assert!(task.pids().await.unwrap().len() >= 2);
        task.kill(9).await.unwrap();
    });
}

#[test]
fn pause_stops_and_resume_goes_on() {
    in_a_world(async |world| {
        let script = "while :; do echo x; done";
        let task = world
            .tasks
            .create("p", world.config(world.spec(&["sh", "-c", script])))
            .await
            .unwrap();
        task.start().await.unwrap();
        task.pause().await.unwrap();
        let state = std::fs::read_to_string(format!("/proc/{}/stat", task.pid())).unwrap();
        let state = state.split(") ").nth(1).unwrap().chars().next().unwrap();
        assert!("DS".contains(state), "{state}");
        task.resume().await.unwrap();
        let mut stream = task.attach(OUTPUT).await.unwrap();
        let mut bytes = [0; 9];
        stream.read_exact(&mut bytes).await.unwrap();
        task.kill(9).await.unwrap();
        assert_eq!(task.wait().await.code, 137);
    });
}

/// As after `kill -9` of the daemon: another `Tasks`, another connection, and the first one gone.
#[test]
fn a_new_daemon_finds_what_runs_and_what_has_ended() {
    in_a_world(async |world| {
        let first = world
            .tasks
            .create(
                "a",
                world.config(world.spec(&["sh", "-c", "echo begin; sleep 1000; echo end; exit 7"])),
            )
            .await
            .unwrap();
        first.start().await.unwrap();
        let pid = first.pid();
        let other = Tasks::new(
            &world.folder.path().join("run"),
            ShimProgram::open(&common::shim()).unwrap(),
            common::OWNER,
        )
        .unwrap();
        let Found::Running(found) = other.load("a").await.unwrap() else {
            panic!("not running")
        };
        assert_eq!(found.pid(), pid);
        assert_eq!(other.list(&HashSet::new()).unwrap(), ["a"]);
        // Both are told, by whichever way the end comes.
        let exec = found
            .exec(exec_config(
                world,
                "k",
                &[
                    "sh",
                    "-c",
                    "kill $(grep -l sleep /proc/[2-9]*/comm | grep -o '[0-9]*' | head -n 1)",
                ],
            ))
            .await
            .unwrap();
        exec.wait().await;
        assert_eq!(found.wait().await.code, 7);
        assert_eq!(first.wait().await.code, 7);
        let logged = world.logged();
        assert!(
            logged.starts_with(
                "begin
"
            ) && logged.contains(
                "end
"
            ),
            "{logged}"
        );
        let third = other.load("a").await.unwrap();
        assert!(
            matches!(third, Found::Exited(status) if status.code == 7),
            "{third:?}"
        );
        other.delete("a").await.unwrap();
        assert!(matches!(other.load("a").await.unwrap(), Found::Gone));
    });
}

#[test]
fn what_was_made_and_never_started_is_removed_by_the_next_daemon() {
    in_a_world(async |world| {
        let task = world
            .tasks
            .create("n", world.config(world.spec(&["true"])))
            .await
            .unwrap();
        assert!(matches!(world.tasks.load("n").await.unwrap(), Found::Gone));
        assert_eq!(task.wait().await.code, 137);
        assert!(world.tasks.list(&HashSet::new()).unwrap().is_empty());
    });
}

#[test]
fn a_shim_that_is_killed_anywhere_in_a_start_leaves_nothing() {
    in_a_world(async |world| {
        // The first one has a shim started ahead for the next.
        world.run(&["true"]).await;
        for round in 0..60 {
            let shim = rustix::process::Pid::from_raw(spare(world).await as i32).unwrap();
            let kill = std::thread::spawn(move || {
                // Not for something to come: to be anywhere in its way.
                std::thread::sleep(std::time::Duration::from_micros(round * 400));
                let _ = rustix::process::kill_process(shim, rustix::process::Signal::KILL);
            });
            let id = format!("k{round}");
            let config = world.config(world.spec(&["sleep", "1000"]));
            if let Ok(task) = world.tasks.create(&id, config).await {
                let _ = task.start().await;
                kill.join().unwrap();
                // Another one may have been taken.
                let _ = task.kill(9).await;
                assert_eq!(task.wait().await.code, 137);
                task.delete().await.unwrap();
            } else {
                kill.join().unwrap();
            }
            assert!(
                world.tasks.list(&HashSet::new()).unwrap().is_empty(),
                "{round}"
            );
        }
    });
}

/// There may be no next daemon.
#[test]
fn what_was_made_and_never_started_ends_with_its_daemon() {
    in_a_world(async |world| {
        let config = world.config(world.spec(&["true"]));
        let tasks = world.tasks.clone();
        let make = async move { tasks.create("n", config).await.unwrap().pid() };
        // A runtime of its own, which is gone before it lets the process go.
        let daemon = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(make)
        });
        let pid = daemon.join().unwrap();
        let folder = world.folder.path().join("run/tasks/n");
        let gone = || !std::path::Path::new(&format!("/proc/{pid}")).exists() && !lives(&folder);
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !gone() {
            assert!(std::time::Instant::now() < patience, "it waits for ever");
            tokio::task::yield_now().await;
        }
        // It has not run.
        assert!(!folder.join("exit.json").exists());
        assert!(matches!(world.tasks.load("n").await.unwrap(), Found::Gone));
    });
}

/// Whether the shim of the task in `folder` does.
fn lives(folder: &std::path::Path) -> bool {
    let log = std::fs::File::open(folder.join("shim.log")).unwrap();
    let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    rustix::fs::flock(&log, exclusive).is_err()
}

#[test]
fn a_task_is_of_one_data_root() {
    in_a_world(async |world| {
        let task = sleeper(world, "mine").await;
        let run = world.folder.path().join("run");
        std::fs::create_dir(run.join("tasks/begun")).unwrap();
        let program = ShimProgram::open(&common::shim()).unwrap();
        let other = Tasks::new(&run, program, "elsewhere").unwrap();
        assert_eq!(other.list(&HashSet::new()).unwrap(), ["begun"]);
        other.delete("begun").await.unwrap();
        assert_eq!(world.tasks.list(&HashSet::new()).unwrap(), ["mine"]);
        assert_eq!(world.tasks.processes("mine"), [task.pid()]);
        assert!(world.tasks.processes("none").is_empty());
        task.delete().await.unwrap();
    });
}

#[test]
fn a_container_does_not_outlive_its_shim() {
    in_a_world(async |world| {
        let task = sleeper(world, "o").await;
        let pid = task.pid();
        let first = rustix::process::Pid::from_raw(pid as i32).unwrap();
        let pidfd =
            rustix::process::pidfd_open(first, rustix::process::PidfdFlags::empty()).unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let shim = stat
            .lines()
            .find_map(|line| line.strip_prefix("PPid:"))
            .unwrap()
            .trim()
            .to_owned();
        let status = std::process::Command::new("kill")
            .args(["-9", &shim])
            .status()
            .unwrap();
        assert!(status.success());
        assert_eq!(task.wait().await.code, 137);
        task.delete().await.unwrap();
        // It is being killed, which is waited for; a test that hangs here has failed.
        use rustix::event::{PollFd, PollFlags, poll};
        poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None).unwrap();
    });
}

#[test]
fn the_small_init_reaps_and_passes_signals_on() {
    in_a_world(async |world| {
        let script = "trap 'echo caught; exit 9' TERM; (sleep 0 &) ; cat /proc/1/comm >&2; cat /proc/1/cmdline | tr '\\0' ' '; echo; echo ready; while :; do sleep 0.05; done";
        let mut config = world.config(world.spec(&["sh", "-c", script]));
        config.init = true;
        let task = world.tasks.create("i", config).await.unwrap();
        let mut stream = task.attach(OUTPUT).await.unwrap();
        task.start().await.unwrap();
        let mut seen = Vec::new();
        while !seen.windows(6).any(|window| window == b"ready\n") {
            seen.push(stream.read_u8().await.unwrap());
        }
        assert!(String::from_utf8_lossy(&seen).contains("/sbin/docker-init -- sh -c"));
        task.kill(15).await.unwrap();
        assert_eq!(task.wait().await.code, 9);
        assert!(world.logged().ends_with("caught\n"));
    });
}

#[test]
fn a_signal_right_after_the_start_reaches_the_program_below_the_small_init() {
    in_a_world(async |world| {
        for round in 0..20 {
            let mut config = world.config(world.spec(&["sleep", "1000"]));
            config.init = true;
            let task = world.tasks.create(&format!("i{round}"), config).await;
            let task = task.unwrap();
            task.start().await.unwrap();
            // SIGINT, and systemd's SIGRTMIN+3.
            let signal = [2, 37][round % 2];
            task.kill(signal).await.unwrap();
            assert_eq!(task.wait().await.code, 128 + signal);
            task.delete().await.unwrap();
        }
    });
}

#[test]
fn a_client_that_does_not_read_stops_the_process_and_loses_nothing() {
    in_a_world(async |world| {
        let config = world.config(world.spec(&["sh", "-c", "seq 1 200000"]));
        let (task, stream) = world.start("slow", config).await;
        // The shim has to hold still while we ask it other things.
        assert!(task.pids().await.unwrap().len() <= 2);
        let output = read_all(stream, false).await;
        assert!(output.ends_with("199999\n200000\n"));
        assert_eq!(output.lines().count(), 200_000);
        task.wait().await;
        assert_eq!(world.logged(), output);
    });
}

/// More than a packet to the shim holds: what it could not take it answered by closing, and the container was killed for it.
#[test]
fn an_exec_of_many_words_is_run_and_kills_nobody() {
    in_a_world(async |world| {
        let task = sleeper(world, "long").await;
        let mut config = exec_config(world, "e", &["sh", "-c", "echo ${#A7}; set | wc -l"]);
        let mut variables = config.process.env().clone().unwrap_or_default();
        variables.extend((0..40).map(|number| format!("A{number}={}", "x".repeat(10_000))));
        config.process.set_env(Some(variables));
        let exec = task.exec(config).await.unwrap();
        let output = read_all(exec.take_stream().unwrap(), false).await;
        assert!(output.starts_with("10000\n"), "{output}");
        assert_eq!(exec.wait().await.code, 0);
        assert!(task.exited().is_none());
        task.delete().await.unwrap();
    });
}

/// It would be born frozen, and nobody could let it go on.
#[test]
fn nothing_is_executed_in_a_paused_container() {
    in_a_world(async |world| {
        let task = sleeper(world, "p").await;
        task.pause().await.unwrap();
        let refused = task.exec(exec_config(world, "e", &["true"])).await;
        assert!(
            matches!(&refused, Err(TaskError::Runtime { message, .. }) if message.contains("paused")),
            "{refused:?}"
        );
        task.resume().await.unwrap();
        let exec = task.exec(exec_config(world, "e", &["true"])).await.unwrap();
        assert_eq!(exec.wait().await.code, 0);
        task.delete().await.unwrap();
    });
}

/// What makes a process in a container is frozen with it; its shim is not.
#[test]
fn a_pause_in_the_midst_of_an_exec_can_be_ended() {
    in_a_world(async |world| {
        let task = sleeper(world, "p").await;
        for round in 0..30 {
            let name = format!("e{round}");
            let config = exec_config(world, &name, &["true"]);
            let asked = tokio::spawn({
                let task = task.clone();
                async move { task.exec(config).await }
            });
            task.pause().await.unwrap();
            // Asked of the shim, which must answer.
            task.resume().await.unwrap();
            if let Ok(exec) = asked.await.unwrap() {
                assert_eq!(exec.wait().await.code, 0);
            }
        }
        task.delete().await.unwrap();
    });
}

/// A file system of which nobody answers for: the exec waits there, and its shim does not wait with it.
#[test]
fn an_exec_that_cannot_go_on_keeps_nobody_else_waiting() {
    in_a_world(async |world| {
        let task = sleeper(world, "stuck").await;
        let fuse = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .unwrap();
        let mounted = std::process::Command::new("nsenter")
            .args(["-m", "-t", &task.pid().to_string(), "--", "/bin/mount"])
            .args([
                "-t",
                "fuse",
                "-o",
                "fd=0,rootmode=40000,user_id=0,group_id=0",
            ])
            .args(["stuck", "/tmp"])
            .stdin(fuse.try_clone().unwrap())
            .status();
        assert!(mounted.unwrap().success());
        let mut config = exec_config(world, "e", &["true"]);
        config.process.set_cwd("/tmp".into());
        let exec = tokio::spawn({
            let task = task.clone();
            async move { task.exec(config).await }
        });
        // It is there, and has no program yet.
        while task.pids().await.unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        let other = task.exec(exec_config(world, "f", &["true"])).await.unwrap();
        assert_eq!(other.wait().await.code, 0);
        task.pause().await.unwrap();
        task.resume().await.unwrap();
        assert!(!exec.is_finished());
        drop(fuse);
        let failed = exec.await.unwrap();
        assert!(
            matches!(failed, Err(TaskError::Runtime { .. })),
            "{failed:?}"
        );
        task.delete().await.unwrap();
    });
}

/// Ends all connections to shims, as one ends that is lost.
fn lose_connections() {
    use std::os::fd::AsFd as _;
    let own = rustix::process::getpid();
    let own = rustix::process::pidfd_open(own, rustix::process::PidfdFlags::empty()).unwrap();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let number = entry.file_name().to_str().unwrap().parse().unwrap();
        let flags = rustix::process::PidfdGetfdFlags::empty();
        let Ok(socket) = rustix::process::pidfd_getfd(own.as_fd(), number, flags) else {
            continue;
        };
        let kind = rustix::net::sockopt::socket_type(&socket);
        if kind == Ok(rustix::net::SocketType::SEQPACKET) {
            let _ = rustix::net::shutdown(&socket, rustix::net::Shutdown::Both);
        }
    }
}

/// Whatever an exec is doing at that moment: it has run once, and who asked for it is told how it ended.
#[test]
fn execs_are_not_lost_with_the_connection() {
    const EXECS: u8 = 60;
    in_a_world(async |world| {
        let task = sleeper(world, "losing").await;
        let mut execs = tokio::task::JoinSet::new();
        for number in 0..EXECS {
            let script = format!("echo {number} >> /ran; exit {number}");
            let config = exec_config(world, &format!("e{number}"), &["sh", "-c", &script]);
            let task = task.clone();
            execs
                .spawn(async move { (number, task.exec(config).await.unwrap().wait().await.code) });
        }
        // One exec's end is the sign for the next loss, so some are at any stage then.
        while let Some(ended) = execs.join_next().await {
            let (number, code) = ended.unwrap();
            assert_eq!(code, i32::from(number));
            lose_connections();
        }
        let exec = task.exec(exec_config(world, "all", &["cat", "/ran"]));
        let ran = read_all(exec.await.unwrap().take_stream().unwrap(), false).await;
        let mut ran: Vec<u8> = ran.lines().map(|line| line.parse().unwrap()).collect();
        ran.sort_unstable();
        assert_eq!(ran, (0..EXECS).collect::<Vec<_>>());
        task.delete().await.unwrap();
    });
}

#[test]
fn an_exec_has_the_session_keyring_of_its_container() {
    in_a_world(async |world| {
        let id = format!("ring-{}", std::process::id());
        let look = format!("grep -w _ses.{id} /proc/keys | head -c 8; echo");
        let script = format!("{look}; sleep 1000");
        let mut spec = world.spec(&["sh", "-c", &script]);
        // Else `/proc/keys` is among them.
        spec["linux"]["maskedPaths"] = serde_json::json!([]);
        let (task, mut stream) = world.start(&id, world.config(spec)).await;
        let mut first = [0; 17];
        stream.read_exact(&mut first).await.unwrap();
        let exec = task.exec(exec_config(world, "e", &["sh", "-c", &look]));
        let exec = exec.await.unwrap();
        let output = read_all(exec.take_stream().unwrap(), false).await;
        assert_eq!(output.trim().len(), 8, "{output}");
        assert_eq!(output.trim().as_bytes(), &first[8..16]);
        task.delete().await.unwrap();
    });
}

#[test]
fn hooks_of_start_and_end_run_without_the_command_line_too() {
    in_a_world(async |world| {
        let file = world.folder.path().join("hooks");
        let hook = |name: &str| {
            let script = format!(
                "echo {name} $(cat) >> {}; grep SigBlk /proc/self/status >> {}",
                file.display(),
                file.display()
            );
            serde_json::json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}])
        };
        let mut spec = world.spec(&["true"]);
        spec["hooks"] = serde_json::json!({"poststart": hook("begun"), "poststop": hook("over")});
        world.run_config(world.config(spec)).await;
        let said = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert!(
            lines[0].starts_with("begun") && lines[0].contains("\"running\""),
            "{said}"
        );
        assert!(
            lines[2].starts_with("over") && lines[2].contains("\"stopped\""),
            "{said}"
        );
        for line in [lines[1], lines[3]] {
            assert!(line.ends_with("\t0000000000000000"), "{said}");
        }
    });
}

/// As those of CDI's vendors do, who read the spec and change the root, or mount something there.
#[test]
fn hooks_find_the_spec_and_the_root_in_the_bundle() {
    in_a_world(async |world| {
        let script = "bundle=$(sed 's/.*\"bundle\":\"\\([^\"]*\\)\".*/\\1/') && cd $bundle \
            && grep -q '\"path\":\"rootfs\"' config.json && mkdir rootfs/hooked \
            && mount -t tmpfs hooked rootfs/hooked && touch rootfs/hooked/inside";
        let hook = serde_json::json!({
            "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]
        });
        let mut spec = world.spec(&["ls", "/hooked"]);
        spec["hooks"] = serde_json::json!({ "createContainer": [hook] });
        let (status, output) = world.run_config(world.config(spec)).await;
        assert_eq!((status.code, output.as_str()), (0, "inside\n"));
    });
}

/// What a process that lives on does not read goes nowhere, and who sends it does not wait.
#[test]
fn input_that_a_process_has_closed_is_taken_all_the_same() {
    in_a_world(async |world| {
        let task = sleeper(world, "a").await;
        let mut config = exec_config(
            world,
            "e",
            &["sh", "-c", "exec <&-; echo closed; exec sleep 1000"],
        );
        config.attach = Some(AttachOptions {
            stdin: true,
            ..OUTPUT
        });
        let exec = task.exec(config).await.unwrap();
        let mut stream = exec.take_stream().unwrap();
        let mut said = [0; 15];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said[8..], b"closed\n");
        let much = vec![b'x'; 8 << 20];
        let sent = tokio::time::timeout(NEVER, stream.write_all(&much)).await;
        sent.expect("nobody takes it").unwrap();
        exec.kill(9).await.unwrap();
        assert_eq!(exec.wait().await.code, 137);
        task.delete().await.unwrap();
    });
}

/// Longer than anything here takes.
const NEVER: std::time::Duration = std::time::Duration::from_secs(60);

#[test]
fn a_shim_that_is_stopped_keeps_nobody_waiting() {
    in_a_world(async |world| {
        let task = sleeper(world, "a").await;
        let pid = task.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        let shim = rustix::process::Pid::from_raw(parent.unwrap().trim().parse().unwrap());
        rustix::process::kill_process(shim.unwrap(), rustix::process::Signal::STOP).unwrap();
        let work = async {
            assert!(matches!(task.kill(15).await, Err(TaskError::Silent)));
            assert!(matches!(task.pids().await, Err(TaskError::Silent)));
            let attached = task.attach(OUTPUT).await;
            assert!(matches!(attached, Err(TaskError::Silent)));
            let exec = task.exec(exec_config(world, "e", &["true"])).await;
            assert!(matches!(exec, Err(TaskError::Silent)));
            task.end().await.unwrap();
            assert_eq!(task.wait().await.code, 137);
            // Whoever is to bury it now may take their time.
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            assert!(stat.is_err() || stat.unwrap().contains(") Z "));
            task.delete().await.unwrap();
            assert!(matches!(world.tasks.load("a").await, Ok(Found::Gone)));
        };
        tokio::time::timeout(NEVER, work).await.expect("it waits");
    });
}
