//! Containers whose shims hang: what is asked of them has an end, and nothing else waits; with real ones in namespaces of their own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "others need all of it")]
#[path = "engine/daemons.rs"]
mod daemons;
#[allow(dead_code, reason = "others need all of it")]
#[path = "engine/records.rs"]
mod records;
#[path = "engine/world.rs"]
mod world;

use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use daemons::{done, killed, meanwhile, says, shim_of, signal, state, until_it_is, within};
use records::{records, refuse};
use rustix::process::Signal;
use wharf_engine::*;
use world::{World, container, isolated, run};

/// It says of each run that it has begun, and ends when it is told to.
const SLEEPER: [&str; 3] = [
    "sh",
    "-c",
    "trap 'exit 3' TERM; echo begun; while :; do sleep 0.05; done",
];

/// Containers of these names that run, with their processes and shims.
async fn started(engine: &Engine, names: &[&str]) -> Vec<(u32, u32)> {
    let mut processes = Vec::new();
    for name in names {
        let mut new = container(name, &SLEEPER);
        // Nothing of it starts what was ended by hand.
        new.host.restart_policy = RestartPolicy::Always;
        engine.containers.create(new).await.unwrap();
        engine.containers.start(name).await.unwrap();
        says(engine, name, "begun").await;
        let pid = engine.containers.inspect(name).unwrap().state.pid;
        processes.push((pid, shim_of(pid)));
    }
    processes
}

/// As [`started`], of an engine that was killed, with shims that do not answer.
async fn left(world: &Arc<World>, names: &'static [&'static str]) -> Vec<(u32, u32)> {
    let processes = killed(world, async |engine| started(&engine, names).await).await;
    for (_, shim) in &processes {
        signal(*shim, Signal::STOP);
    }
    processes
}

/// Puts `phase` in the place of `Running` in the record of the container whose first process is `pid`.
fn put(world: &World, pid: u32, phase: &str) {
    let sql = "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), ?1, ?2) AS BLOB)
               WHERE kind = 'containers' AND instr(CAST(body AS TEXT), ?1) > 0";
    let running = format!(r#""phase":{{"Running":{{"pid":{pid}}}}}"#);
    let changed = records(world).execute(sql, (running, format!(r#""phase":"{phase}""#)));
    assert_eq!(changed.unwrap(), 1);
}

/// Whether it lives; whose parent is gone may wait for another one to bury it.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// Whether it is as was asked for; somebody else may have been faster.
fn is_done(done: &Result<(), EngineError>) -> bool {
    matches!(done, Ok(()) | Err(EngineError::NotModified))
}

/// It says something before it ends by itself.
const SPEAKER: [&str; 3] = [
    "sh",
    "-c",
    "trap 'echo last; exit 3' TERM; echo begun; while :; do sleep 0.05; done",
];

/// What traces a process, and so holds it where it is: of all signals only KILL reaches it.
const TRACER: &str = r"
import ctypes, os, sys
pid, libc = int(sys.argv[1]), ctypes.CDLL(None)
SEIZE, INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
trace = lambda request: libc.ptrace(ctypes.c_long(request), ctypes.c_long(pid), None, None)
assert trace(SEIZE) == 0 and trace(INTERRUPT) == 0
os.waitpid(pid, WALL)
print('held', flush=True)
sys.stdin.read()
";

/// A process that is held until this is dropped.
struct Held(std::process::Child);

impl Held {
    fn of(pid: u32) -> Self {
        let mut tracer = std::process::Command::new("python3");
        tracer.args(["-c", TRACER, &pid.to_string()]);
        let pipe = std::process::Stdio::piped;
        let mut tracer = tracer.stdin(pipe()).stdout(pipe()).spawn().unwrap();
        let mut said = String::new();
        let mut output = std::io::BufReader::new(tracer.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut said).unwrap();
        assert_eq!(said, "held\n");
        Self(tracer)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A container that runs a [`SPEAKER`].
struct Speaker {
    id: String,
    pid: u32,
    shim: u32,
}

/// Two of them that have begun: `stopped` and `held`.
async fn speakers(engine: &Engine) -> [Speaker; 2] {
    let begin = async |name: &str| {
        let containers = &engine.containers;
        let id = containers.create(container(name, &SPEAKER)).await.unwrap();
        containers.start(name).await.unwrap();
        says(engine, name, "begun").await;
        let pid = containers.inspect(name).unwrap().state.pid;
        let (id, shim) = (id.id, shim_of(pid));
        Speaker { id, pid, shim }
    };
    [begin("stopped").await, begin("held").await]
}

/// Both have ended as they would have if their shims had seen it, and the one whose shim goes on has all of its output.
async fn have_told_all(engine: &Engine, tracer: Held) {
    for name in ["stopped", "held"] {
        done(until_it_is(engine, name, Status::Exited)).await;
        assert_eq!(state(engine, name), (Status::Exited, 3), "{name}");
    }
    says(engine, "stopped", "last").await;
    drop(tracer);
    end_all(engine, &["stopped", "held"]).await;
}

/// Lets a [`SPEAKER`] end, which its shim does not see.
async fn ends_unseen(pid: u32) {
    signal(pid, Signal::TERM);
    done(async {
        while runs(pid) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Takes all connections that the shim of a container can have before it takes any.
fn exhaust(world: &World, id: &str) {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let folder = world.root.path().join("exec/tasks").join(id);
    // The whole path may be longer than an address.
    let folder = std::fs::File::open(folder).unwrap();
    let path = format!("/proc/self/fd/{}/shim.sock", folder.as_raw_fd());
    let address = SocketAddrUnix::new(path.as_str()).unwrap();
    loop {
        let flags = SocketFlags::NONBLOCK;
        let (unix, packets) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let socket = rustix::net::socket_with(unix, packets, flags, None).unwrap();
        match rustix::net::connect(&socket, &address) {
            Ok(()) => {}
            Err(rustix::io::Errno::AGAIN) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

const FORCE: RemoveOptions = RemoveOptions {
    force: true,
    volumes: false,
    link: false,
};

async fn end_all(engine: &Engine, names: &[&str]) {
    for name in names {
        done(engine.containers.remove(name, FORCE)).await.unwrap();
    }
    done(engine.shutdown()).await;
}

#[test]
fn a_shim_that_hangs_later_keeps_nobody_waiting() {
    let name = "a_shim_that_hangs_later_keeps_nobody_waiting";
    isolated(name, async |world| {
        let engine = world.open().await;
        let containers = &engine.containers;
        let names = [
            "killed",
            "stopped",
            "removed",
            "restarted",
            "paused",
            "left",
        ];
        let processes = started(&engine, &names).await;
        for (_, shim) in &processes {
            signal(*shim, Signal::STOP);
        }
        let ended = async {
            let kill = containers.kill("killed", "");
            let stop = containers.stop("stopped", within(1));
            let remove = containers.remove("removed", FORCE);
            let restart = containers.restart("restarted", within(0));
            let pause = async {
                containers.pause("paused").await?;
                assert_eq!(state(&engine, "paused").0, Status::Paused);
                containers.unpause("paused").await
            };
            tokio::join!(kill, stop, remove, restart, pause)
        };
        let asked = async {
            // Nobody else waits meanwhile.
            let ran = run(&engine, container("other", &["true"]), None).await;
            assert_eq!(ran.0, 0);
            let told = containers.kill("left", "TERM").await.unwrap_err();
            assert!(told.message().contains("does not answer"), "{told}");
            assert_eq!(state(&engine, "left").0, Status::Running);
            says(&engine, "left", "begun").await;
            let top = containers.top("left", "").await.unwrap();
            assert!(!top.processes.is_empty());
            let exec = NewExec {
                cmd: vec!["true".to_owned()],
                attach_stdout: true,
                ..NewExec::default()
            };
            let exec = containers.exec_create("left", exec).await.unwrap();
            let begun = containers.exec_start(&exec, ExecStartOptions::default());
            let error = begun.await.err().unwrap().message();
            assert!(error.contains("does not answer"), "{error}");
            let options = AttachOptions {
                stdout: true,
                stream: true,
                ..AttachOptions::default()
            };
            let attached = containers.attach("left", options).await;
            let error = attached.err().unwrap().message();
            assert!(error.contains("does not answer"), "{error}");
        };
        let ((kill, stop, remove, restart, pause), ()) =
            done(async { tokio::join!(ended, asked) }).await;
        for done in [kill, stop, remove, restart, pause] {
            done.unwrap();
        }
        for name in ["killed", "stopped"] {
            assert_eq!(state(&engine, name), (Status::Exited, 137));
        }
        assert!(containers.inspect("removed").is_err());
        assert_eq!(state(&engine, "restarted").0, Status::Running);
        // What is asked of it goes on as soon as it does.
        let (pid, shim) = processes[5];
        signal(shim, Signal::CONT);
        let stopped = done(containers.stop("left", within(100))).await;
        assert!(is_done(&stopped), "{stopped:?}");
        assert_eq!(state(&engine, "left"), (Status::Exited, 3));
        assert!(!runs(pid));
        end_all(
            &engine,
            &["killed", "stopped", "restarted", "paused", "left"],
        )
        .await;
    });
}

#[test]
fn one_whose_shim_never_answers_a_new_daemon_can_be_ended() {
    let name = "one_whose_shim_never_answers_a_new_daemon_can_be_ended";
    isolated(name, async |world| {
        let world = Arc::new(world);
        // The first three were being started.
        let names = &["killed", "stopped", "removed", "kill", "restart", "over"];
        let processes = left(&world, names).await;
        for (pid, _) in &processes[..3] {
            put(&world, *pid, "Starting");
        }
        put(&world, processes[5].0, "Exited");
        let engine = done(world.open()).await;
        let containers = &engine.containers;
        let ran = done(run(&engine, container("other", &["true"]), None)).await;
        assert_eq!(ran.0, 0);
        let exec = NewExec {
            cmd: vec!["true".to_owned()],
            ..NewExec::default()
        };
        let exec = containers.exec_create("kill", exec).await.unwrap();
        let begun = containers.exec_start(&exec, ExecStartOptions::default());
        let error = done(begun).await.err().unwrap().message();
        assert!(error.contains("does not answer"), "{error}");
        let error = containers.kill("kill", "TERM").await.unwrap_err().message();
        assert!(error.contains("does not answer"), "{error}");
        let all = async {
            tokio::join!(
                containers.kill("killed", ""),
                containers.stop("stopped", within(0)),
                containers.remove("removed", FORCE),
                containers.kill("kill", ""),
                containers.restart("restart", within(0)),
                containers.start("over"),
            )
        };
        let (killed, stopped, removed, kill, restart, start) = done(all).await;
        for done in [killed, stopped, removed, kill, restart, start] {
            assert!(is_done(&done), "{done:?}");
        }
        for name in ["killed", "stopped", "kill"] {
            assert_eq!(state(&engine, name), (Status::Exited, 137), "{name}");
        }
        assert!(containers.inspect("removed").is_err());
        for name in ["restart", "over"] {
            done(until_it_is(&engine, name, Status::Running)).await;
        }
        for (pid, _) in processes {
            assert!(!runs(pid));
        }
        end_all(&engine, &["killed", "stopped", "kill", "restart", "over"]).await;
    });
}

#[test]
fn a_start_is_told_that_nobody_knows_what_runs() {
    isolated(
        "a_start_is_told_that_nobody_knows_what_runs",
        async |world| {
            let world = Arc::new(world);
            let (ids, processes) = killed(&world, async |engine| {
                let names = ["starting", "unread"];
                let processes = started(&engine, &names).await;
                let id = |name| engine.containers.inspect(name).unwrap().id.clone();
                (names.map(id), processes)
            })
            .await;
            signal(processes[0].1, Signal::STOP);
            put(&world, processes[0].0, "Starting");
            // Its shim has gone without a word, and what is known of it cannot be read.
            let (pid, shim) = processes[1];
            signal(shim, Signal::KILL);
            done(async {
                while runs(pid) {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            let folder = world.root.path().join("exec/tasks").join(&ids[1]);
            let record = folder.join("task.json");
            std::fs::remove_file(&record).unwrap();
            std::fs::create_dir(&record).unwrap();
            let engine = done(world.open()).await;
            let containers = &engine.containers;
            let starts =
                async { tokio::join!(containers.start("starting"), containers.start("unread")) };
            let (starting, unread) = done(starts).await;
            let error = starting.unwrap_err().message();
            assert!(
                error.contains("cannot start") && error.contains("does not answer"),
                "{error}"
            );
            let error = unread.unwrap_err().message();
            assert!(error.contains("task.json: is a directory"), "{error}");
            assert!(runs(processes[0].0));
            let kill = done(containers.kill("unread", "")).await;
            assert!(kill.unwrap_err().message().contains("tried to kill"));
            // As soon as it can be read that nothing runs, that is known.
            std::fs::remove_dir_all(&folder).unwrap();
            done(containers.start("unread")).await.unwrap();
            end_all(&engine, &["starting", "unread"]).await;
        },
    );
}

/// The shim that was started ahead, once its name says that it is there.
async fn spare(world: &World) -> u32 {
    let root = world.root.path().to_str().unwrap();
    loop {
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let read = |file: &str| std::fs::read_to_string(entry.path().join(file));
            let is_ours = read("cmdline").is_ok_and(|line| line.contains(root));
            if is_ours && read("comm").is_ok_and(|name| name == "wharf-spare\n") {
                return entry.file_name().to_str().unwrap().parse().unwrap();
            }
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn one_that_is_not_launched_can_be_ended() {
    isolated("one_that_is_not_launched_can_be_ended", async |world| {
        let engine = world.open().await;
        let ran = run(&engine, container("other", &["true"]), None).await;
        assert_eq!(ran.0, 0);
        signal(done(spare(&world)).await, Signal::STOP);
        let new = container("c1", &SLEEPER);
        engine.containers.create(new).await.unwrap();
        let containers = engine.containers.clone();
        let start = meanwhile(
            &engine,
            |containers| async move { containers.start("c1").await },
        )
        .await;
        let removed = done(containers.remove("c1", FORCE)).await;
        removed.unwrap();
        done(start).await.unwrap().unwrap_err();
        let ran = done(run(&engine, container("another", &["true"]), None)).await;
        assert_eq!(ran.0, 0);
        done(engine.shutdown()).await;
    });
}

#[test]
fn an_end_that_no_shim_has_seen_is_told_as_it_was() {
    let name = "an_end_that_no_shim_has_seen_is_told_as_it_was";
    isolated(name, async |world| {
        let engine = world.open().await;
        let [stopped, held] = speakers(&engine).await;
        signal(stopped.shim, Signal::STOP);
        let tracer = Held::of(held.shim);
        for speaker in [&stopped, &held] {
            ends_unseen(speaker.pid).await;
        }
        let containers = &engine.containers;
        let kills = async {
            tokio::join!(
                containers.kill("stopped", ""),
                containers.stop("held", within(0))
            )
        };
        let (kill, stop) = done(kills).await;
        assert!(is_done(&kill) && is_done(&stop), "{kill:?} {stop:?}");
        have_told_all(&engine, tracer).await;
    });
}

/// So many daemons were restarted meanwhile that its shim takes no more connections.
#[test]
fn one_whose_shim_takes_no_connections_can_be_ended() {
    let name = "one_whose_shim_takes_no_connections_can_be_ended";
    isolated(name, async |world| {
        let world = Arc::new(world);
        let [stopped, held] = killed(&world, async |engine| speakers(&engine).await).await;
        signal(stopped.shim, Signal::STOP);
        let tracer = Held::of(held.shim);
        for speaker in [&stopped, &held] {
            exhaust(&world, &speaker.id);
            ends_unseen(speaker.pid).await;
        }
        let engine = done(world.open()).await;
        let containers = &engine.containers;
        let kills =
            async { tokio::join!(containers.kill("stopped", ""), containers.kill("held", "")) };
        let (one, other) = done(kills).await;
        assert!(is_done(&one) && is_done(&other), "{one:?} {other:?}");
        have_told_all(&engine, tracer).await;
    });
}

/// Its hooks may run for long, or what takes its log be slow.
#[test]
fn a_start_waits_for_a_shim_that_comes_to_its_end() {
    let name = "a_start_waits_for_a_shim_that_comes_to_its_end";
    isolated(name, async |world| {
        let world = Arc::new(world);
        let (id, pid, shim) = killed(&world, async |engine| {
            let (pid, shim) = started(&engine, &["c1"]).await[0];
            let id = engine.containers.inspect("c1").unwrap().id.clone();
            (id, pid, shim)
        })
        .await;
        let held = Held::of(shim);
        put(&world, pid, "Exited");
        let folder = world.root.path().join("exec/tasks").join(&id);
        let status = r#"{"code":0,"oom_killed":false,"at":1}"#;
        std::fs::write(folder.join("exit.json"), status).unwrap();
        let engine = done(world.open()).await;
        let start = meanwhile(
            &engine,
            |containers| async move { containers.start("c1").await },
        )
        .await;
        assert!(runs(shim), "it was killed");
        // It has not ended, and whoever finds its shim gone is to clear up.
        std::fs::remove_file(folder.join("exit.json")).unwrap();
        signal(shim, Signal::KILL);
        drop(held);
        let started = done(start).await.unwrap();
        assert!(is_done(&started), "{started:?}");
        done(until_it_is(&engine, "c1", Status::Running)).await;
        end_all(&engine, &["c1"]).await;
    });
}

/// A daemon that is killed at any time after a rename leaves no links to who is not called so any more.
#[test]
fn a_link_is_never_written_as_it_was_before_a_rename() {
    let name = "a_link_is_never_written_as_it_was_before_a_rename";
    isolated(name, async |world| {
        let engine = world.open().await;
        let containers = &engine.containers;
        let on_bridge = |name: &str| {
            let mut new = container(name, &SLEEPER);
            new.host.network_mode = NetworkMode::Default;
            new
        };
        containers.create(on_bridge("c1")).await.unwrap();
        containers.start("c1").await.unwrap();
        let mut linked = on_bridge("c2");
        linked.host.links = vec!["c1:other".to_owned()];
        containers.create(linked).await.unwrap();
        // It is being started, and does not hear of the rename.
        let shim = done(spare(&world)).await;
        signal(shim, Signal::STOP);
        let start = meanwhile(
            &engine,
            |containers| async move { containers.start("c2").await },
        )
        .await;
        // It has looked for those that it is linked to.
        let hosts = containers.inspect("c2").unwrap().hosts_path.clone();
        done(async {
            while !hosts.exists() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        done(containers.rename("c1", "c3")).await.unwrap();
        refuse(&world, "/c1:/c2/other");
        signal(shim, Signal::CONT);
        done(start).await.unwrap().unwrap();
        let links = engine.containers.inspect("c2").unwrap().host.links.clone();
        assert_eq!(links, ["/c3:/c2/other"]);
        end_all(&engine, &["c2", "c3"]).await;
    });
}
