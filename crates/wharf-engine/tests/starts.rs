//! What a daemon that starts makes of what it finds; with real containers in namespaces of their own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "engine/daemons.rs"]
mod daemons;
#[path = "engine/records.rs"]
mod records;
#[allow(dead_code, reason = "others need all of it")]
#[path = "engine/world.rs"]
mod world;

use std::sync::Arc;

use daemons::{done, killed, meanwhile, remove, says, shim_of, signal, state, until_it_is, within};
use records::{allow, records, refuse};
use rustix::process::Signal;
use wharf_engine::*;
use world::{World, container, isolated};

/// It says of each run that it has begun.
const SLEEPER: [&str; 3] = ["sh", "-c", "echo begun; exec sleep 1000"];

/// Puts `new` in the place of `old` in all records of containers.
fn rewrite(world: &World, old: &str, new: &str) {
    let sql = "UPDATE record SET body = CAST(replace(CAST(body AS TEXT), ?1, ?2) AS BLOB)
               WHERE kind = 'containers' AND instr(CAST(body AS TEXT), ?1) > 0";
    let changed = records(world).execute(sql, (old, new)).unwrap();
    assert!(changed > 0, "{old} is in no record");
}

/// What the shim of the container `id` leaves, with the end at `at`.
fn leave(world: &World, id: &str, code: i32, at: jiff::Timestamp) {
    let folder = world.root.path().join("exec/tasks").join(id);
    std::fs::create_dir_all(&folder).unwrap();
    let at = at.as_nanosecond();
    let status = format!(r#"{{"code":{code},"oom_killed":false,"at":{at}}}"#);
    std::fs::write(folder.join("exit.json"), status).unwrap();
}

/// How many lines it has said.
async fn lines(engine: &Engine, name: &str) -> usize {
    let options = LogOptions {
        stdout: true,
        ..LogOptions::default()
    };
    let mut logs = engine.containers.logs(name, options).await.unwrap();
    let mut count = 0;
    while logs.next().await.is_some() {
        count += 1;
    }
    count
}

/// Runs a container to its end in an engine that is killed then: its id, and when it ended.
async fn ended(world: &Arc<World>, new: NewContainer) -> (String, jiff::Timestamp) {
    let place = world.clone();
    killed(world, async move |engine| {
        let id = engine.containers.create(new).await.unwrap().id;
        let over = engine.containers.wait(&id, WaitCondition::NextExit);
        engine.containers.start(&id).await.unwrap();
        done(over.unwrap().wait()).await;
        until_it_is_deleted(&place, &id).await;
        let view = engine.containers.inspect(&id).unwrap();
        (id, view.state.finished_at.unwrap())
    })
    .await
}

/// Waits until nothing is left of the task of the container `id`.
async fn until_it_is_deleted(world: &World, id: &str) {
    let folder = world.root.path().join("exec/tasks").join(id);
    done(async {
        while folder.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[test]
fn what_the_run_before_has_left_is_no_end_of_a_start() {
    let name = "what_the_run_before_has_left_is_no_end_of_a_start";
    isolated(name, async |world| {
        let world = Arc::new(world);
        let new = container("c1", &["echo", "begun"]);
        let (id, at) = ended(&world, new).await;
        // The daemon was killed after it wrote that it starts it again, and before its folder was made anew.
        rewrite(&world, r#""phase":"Exited""#, r#""phase":"Starting""#);
        leave(&world, &id, 0, at);
        let engine = done(world.open()).await;
        done(async { while lines(&engine, "c1").await < 2 {} }).await;
        // Its line may be read before it is seen to run.
        let has_ended = || engine.containers.inspect("c1").unwrap().state.finished_at > Some(at);
        done(async {
            while !has_ended() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        done(until_it_is(&engine, "c1", Status::Exited)).await;
        remove(&engine, "c1", false).await.unwrap();
        engine.shutdown().await;
    });
}

#[test]
fn a_policy_goes_by_the_end_that_was_found() {
    isolated("a_policy_goes_by_the_end_that_was_found", async |world| {
        let world = Arc::new(world);
        let mut new = container("c1", &["echo", "begun"]);
        new.host.restart_policy = RestartPolicy::OnFailure { max_retries: 0 };
        let (id, at) = ended(&world, new).await;
        // The run before had failed; this one, which the daemon that started it has not seen, has not.
        rewrite(&world, r#""phase":"Exited""#, r#""phase":"Starting""#);
        rewrite(&world, r#""exit_code":0"#, r#""exit_code":1"#);
        let later = at + std::time::Duration::from_secs(1);
        leave(&world, &id, 0, later);
        let engine = done(world.open()).await;
        // Behind what the start of the daemon does with it.
        done(engine.containers.rename("c1", "c2")).await.unwrap();
        assert_eq!(state(&engine, "c2"), (Status::Exited, 0));
        assert_eq!(lines(&engine, "c2").await, 1);
        let view = engine.containers.inspect("c2").unwrap();
        assert_eq!(view.state.finished_at, Some(later));
        // And nothing of it is left.
        until_it_is_deleted(&world, &id).await;
        remove(&engine, "c2", false).await.unwrap();
        engine.shutdown().await;
    });
}

/// A container that runs with an engine that was killed, and whose shim does not answer: its process, and its shim.
async fn unanswered(world: &Arc<World>, new: NewContainer) -> (u32, u32) {
    let (pid, shim) = killed(world, async |engine| {
        let id = engine.containers.create(new).await.unwrap().id;
        engine.containers.start(&id).await.unwrap();
        says(&engine, &id, "begun").await;
        let pid = engine.containers.inspect(&id).unwrap().state.pid;
        (pid, shim_of(pid))
    })
    .await;
    signal(shim, Signal::STOP);
    (pid, shim)
}

/// Kills a process, and waits until it is dead; its shim need not know.
async fn killed_alone(pid: u32) {
    signal(pid, Signal::KILL);
    let is_dead = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.contains(") Z ")
    };
    done(async {
        while !is_dead() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[test]
fn a_start_waits_until_it_is_known_what_runs() {
    let name = "a_start_waits_until_it_is_known_what_runs";
    isolated(name, async |world| {
        let world = Arc::new(world);
        let (old, shim) = unanswered(&world, container("c1", &SLEEPER)).await;
        let running = format!(r#""phase":{{"Running":{{"pid":{old}}}}}"#);
        rewrite(&world, &running, r#""phase":"Exited""#);
        let engine = done(world.open()).await;
        let restart = meanwhile(&engine, |containers| async move {
            containers.restart("c1", within(0)).await
        })
        .await;
        let start = meanwhile(
            &engine,
            |containers| async move { containers.start("c1").await },
        )
        .await;
        // Both are before it by now.
        done(engine.containers.rename("c1", "c2")).await.unwrap();
        assert_eq!(lines(&engine, "c2").await, 1);
        signal(shim, Signal::CONT);
        let answers = [done(restart).await.unwrap(), done(start).await.unwrap()];
        let started = answers.iter().filter(|answer| answer.is_ok()).count();
        assert!(started > 0, "{answers:?}");
        let pid = engine.containers.inspect("c2").unwrap().state.pid;
        assert!(pid != old && !std::path::Path::new(&format!("/proc/{old}")).exists());
        engine.containers.stop("c2", within(0)).await.unwrap();
        remove(&engine, "c2", false).await.unwrap();
        engine.shutdown().await;
    });
}

/// It runs, as far as anybody knows, and does not die.
#[test]
fn a_restart_is_answered_though_no_shim_answers() {
    let name = "a_restart_is_answered_though_no_shim_answers";
    isolated(name, async |world| {
        let world = Arc::new(world);
        let (pid, shim) = unanswered(&world, container("c1", &SLEEPER)).await;
        let engine = done(world.open()).await;
        let restart = meanwhile(&engine, |containers| async move {
            containers.restart("c1", within(1000)).await
        })
        .await;
        done(engine.containers.rename("c1", "c2")).await.unwrap();
        killed_alone(pid).await;
        signal(shim, Signal::CONT);
        done(restart).await.unwrap().unwrap();
        let (status, _) = state(&engine, "c2");
        assert_eq!(status, Status::Running);
        assert!(engine.containers.inspect("c2").unwrap().state.pid != pid);
        engine.containers.stop("c2", within(0)).await.unwrap();
        remove(&engine, "c2", false).await.unwrap();
        engine.shutdown().await;
    });
}

fn composed(name: &str, depends_on: &str) -> NewContainer {
    let mut new = container(name, &SLEEPER);
    new.host.restart_policy = RestartPolicy::Always;
    let labels = [
        ("com.docker.compose.project", "p"),
        ("com.docker.compose.service", name),
        ("com.docker.compose.depends_on", depends_on),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    new.config.labels = labels.into_iter().collect();
    new
}

#[test]
fn one_that_needs_others_is_started_though_it_is_met_late() {
    let name = "one_that_needs_others_is_started_though_it_is_met_late";
    isolated(name, async |world| {
        let world = Arc::new(world);
        killed(&world, async |engine| {
            let needed = composed("needed", "");
            engine.containers.create(needed).await.unwrap();
            engine.containers.start("needed").await.unwrap();
        })
        .await;
        let new = composed("c1", "needed:service_started:false");
        let (pid, shim) = unanswered(&world, new).await;
        let engine = done(world.open()).await;
        done(until_it_is(&engine, "needed", Status::Running)).await;
        // What it needs is there before it is known that it has ended.
        done(engine.containers.rename("c1", "c2")).await.unwrap();
        killed_alone(pid).await;
        signal(shim, Signal::CONT);
        done(async {
            while engine.containers.inspect("c2").unwrap().state.pid == pid {
                tokio::task::yield_now().await;
            }
        })
        .await;
        done(until_it_is(&engine, "c2", Status::Running)).await;
        for name in ["c2", "needed"] {
            engine.containers.stop(name, within(0)).await.unwrap();
            remove(&engine, name, false).await.unwrap();
        }
        engine.shutdown().await;
    });
}

#[test]
fn who_is_stopped_before_it_is_met_stays_so() {
    isolated("who_is_stopped_before_it_is_met_stays_so", async |world| {
        let world = Arc::new(world);
        let mut new = container("c1", &SLEEPER);
        new.host.restart_policy = RestartPolicy::Always;
        let (pid, shim) = unanswered(&world, new).await;
        let engine = done(world.open()).await;
        let stop = meanwhile(&engine, |containers| async move {
            containers.stop("c1", within(1000)).await
        })
        .await;
        done(engine.containers.rename("c1", "c2")).await.unwrap();
        killed_alone(pid).await;
        signal(shim, Signal::CONT);
        done(stop).await.unwrap().unwrap();
        done(engine.containers.rename("c2", "c3")).await.unwrap();
        assert_eq!(state(&engine, "c3"), (Status::Exited, 137));
        remove(&engine, "c3", false).await.unwrap();
        engine.shutdown().await;
    });
}

#[test]
fn a_start_with_the_daemon_that_cannot_be_written_is_tried_again() {
    let name = "a_start_with_the_daemon_that_cannot_be_written_is_tried_again";
    isolated(name, async |world| {
        let world = Arc::new(world);
        killed(&world, async |engine| {
            for new in [
                composed("c1", ""),
                composed("c2", "c1:service_started:false"),
            ] {
                let id = engine.containers.create(new).await.unwrap().id;
                engine.containers.start(&id).await.unwrap();
                engine.containers.stop(&id, within(0)).await.unwrap();
            }
        })
        .await;
        refuse(&world, r#""phase":"Starting""#);
        let engine = done(world.open()).await;
        for name in ["c1", "c2"] {
            done(until_it_is(&engine, name, Status::Restarting)).await;
        }
        allow(&world);
        for name in ["c1", "c2"] {
            done(until_it_is(&engine, name, Status::Running)).await;
            engine.containers.stop(name, within(0)).await.unwrap();
            remove(&engine, name, false).await.unwrap();
        }
        engine.shutdown().await;
    });
}

#[test]
fn two_starts_at_once_are_one_run() {
    isolated("two_starts_at_once_are_one_run", async |world| {
        let engine = world.open().await;
        let mut runs = 0;
        engine
            .containers
            .create(container("c1", &["echo", "begun"]))
            .await
            .unwrap();
        for _ in 0..30 {
            // All are asked for before any is answered.
            let start = || engine.containers.start("c1");
            let (one, two, three) = done(async { tokio::join!(start(), start(), start()) }).await;
            let started = [one, two, three].iter().filter(|done| done.is_ok()).count();
            runs += started;
            done(until_it_is(&engine, "c1", Status::Exited)).await;
        }
        // One that comes after the end, which is soon, is another run.
        assert!(runs >= 30);
        assert_eq!(lines(&engine, "c1").await, runs);
        remove(&engine, "c1", false).await.unwrap();
        engine.shutdown().await;
    });
}

/// An engine whose predecessor was killed while it started `c1`, on the default network, and whose shim does not answer; with the
/// process and its shim.
async fn started_half(world: &Arc<World>) -> (Arc<Engine>, u32, u32) {
    let mut new = container("c1", &SLEEPER);
    new.host.network_mode = NetworkMode::Default;
    let (pid, shim) = unanswered(world, new).await;
    let running = format!(r#""phase":{{"Running":{{"pid":{pid}}}}}"#);
    rewrite(world, &running, r#""phase":"Starting""#);
    (done(world.open()).await, pid, shim)
}

/// Waits until `c1` runs, and ends it and the engine: its process then. It has an address.
async fn connected(engine: &Engine) -> u32 {
    done(until_it_is(engine, "c1", Status::Running)).await;
    let view = engine.containers.inspect("c1").unwrap();
    let endpoint = view.network.endpoints.values().next().unwrap();
    assert!(endpoint.ip.is_some(), "{endpoint:?}");
    engine.containers.stop("c1", within(0)).await.unwrap();
    remove(engine, "c1", false).await.unwrap();
    engine.shutdown().await;
    view.state.pid
}

#[test]
fn one_that_is_being_started_and_met_late_keeps_its_network() {
    let name = "one_that_is_being_started_and_met_late_keeps_its_network";
    isolated(name, async |world| {
        let world = Arc::new(world);
        let (engine, pid, shim) = started_half(&world).await;
        let devices = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
        assert!(devices.contains("eth0:"), "{devices}");
        signal(shim, Signal::CONT);
        assert_eq!(connected(&engine).await, pid);
    });
}

#[test]
fn one_that_was_not_started_and_is_met_late_is_connected_anew() {
    let name = "one_that_was_not_started_and_is_met_late_is_connected_anew";
    isolated(name, async |world| {
        let world = Arc::new(world);
        let (engine, pid, shim) = started_half(&world).await;
        // It goes without a word, as one whose process was never started.
        signal(shim, Signal::KILL);
        assert_ne!(connected(&engine).await, pid);
    });
}

/// What is being started when the daemon stops is stopped with the others, or not started at all.
#[test]
fn a_daemon_that_stops_leaves_nothing_running() {
    isolated(
        "a_daemon_that_stops_leaves_nothing_running",
        async |world| {
            let world = Arc::new(world);
            let engine = done(world.open()).await;
            let names: Vec<String> = (0..8).map(|number| format!("c{number}")).collect();
            let mut starts = Vec::new();
            for name in &names {
                let new = container(name, &SLEEPER);
                engine.containers.create(new).await.unwrap();
                let (engine, name) = (engine.clone(), name.clone());
                starts.push(tokio::spawn(
                    async move { engine.containers.start(&name).await },
                ));
            }
            let idle = container("idle", &SLEEPER);
            engine.containers.create(idle).await.unwrap();
            done(until_it_is(&engine, "c0", Status::Running)).await;
            done(engine.shutdown()).await;
            for (start, name) in starts.into_iter().zip(&names) {
                if let Err(error) = start.await.unwrap() {
                    assert!(matches!(error, EngineError::ShuttingDown), "{error}");
                }
                let view = engine.containers.inspect(name).unwrap();
                assert!(!view.state.running, "{name}");
            }
            // And it is as it was.
            let late = engine.containers.start("idle").await;
            assert!(matches!(late, Err(EngineError::ShuttingDown)));
            assert_eq!(state(&engine, "idle").0, Status::Created);
            remove(&engine, "idle", false).await.unwrap();
            for name in &names {
                remove(&engine, name, false).await.unwrap();
            }
        },
    );
}
