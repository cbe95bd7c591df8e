//! How containers end that are told to, and what does not keep them from it; with real ones in namespaces of their own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "engine/daemons.rs"]
mod daemons;
#[path = "engine/records.rs"]
mod records;
#[path = "engine/world.rs"]
mod world;

use std::future::Future;

use daemons::{done, killed, meanwhile, remove, says, shim_of, signal, state, until_it_is, within};
use records::{allow, records, refuse};
use wharf_engine::*;
use world::{container, isolated, run};

/// It hears TERM, says so, and goes on.
const STUBBORN: [&str; 3] = [
    "sh",
    "-c",
    "trap 'echo told' TERM; echo begun; while :; do sleep 0.05; done",
];

/// A container that runs, and has begun if it says so.
async fn started(engine: &Engine, name: &str, command: &[&str]) {
    engine
        .containers
        .create(container(name, command))
        .await
        .unwrap();
    engine.containers.start(name).await.unwrap();
    if command == STUBBORN {
        says(engine, name, "begun").await;
    }
}

#[test]
fn a_removal_that_is_refused_takes_nothing() {
    isolated("a_removal_that_is_refused_takes_nothing", async |world| {
        let engine = world.open().await;
        let mut new = container("c1", &["sleep", "1000"]);
        new.config.volumes = ["/v".to_owned()].into();
        engine.containers.create(new).await.unwrap();
        engine.containers.start("c1").await.unwrap();
        remove(&engine, "c1", true).await.unwrap_err();
        engine.containers.stop("c1", within(0)).await.unwrap();
        remove(&engine, "c1", false).await.unwrap();
        let left = engine.volumes.list(&Filters::default()).await.unwrap();
        assert_eq!(left.volumes.len(), 1, "its volume has gone with it");
        engine.shutdown().await;
    });
}

#[test]
fn a_restart_is_answered_whatever_comes_of_it() {
    let name = "a_restart_is_answered_whatever_comes_of_it";
    isolated(name, async |world| {
        let engine = world.open().await;
        started(&engine, "c1", &STUBBORN).await;
        let restart = meanwhile(&engine, |containers| async move {
            containers.restart("c1", within(1000)).await
        })
        .await;
        says(&engine, "c1", "told").await;
        done(engine.containers.stop("c1", within(0))).await.unwrap();
        let error = done(restart).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(
            error.to_string(),
            "Cannot restart container c1: it was stopped meanwhile"
        );
        assert_eq!(state(&engine, "c1"), (Status::Exited, 137));
        remove(&engine, "c1", false).await.unwrap();
        // One whose next run ends at once, or does not come about.
        let once = ["sh", "-c", "test -e /x || { touch /x; exec sleep 1000; }"];
        started(&engine, "short", &once).await;
        done(engine.containers.restart("short", within(0)))
            .await
            .unwrap();
        started(&engine, "runs", &["sleep", "1000"]).await;
        refuse(&world, r#""phase":"Starting""#);
        for name in ["short", "runs"] {
            let error = done(engine.containers.restart(name, within(0))).await;
            // Not that somebody else has stopped it.
            let message = error.unwrap_err().message();
            assert!(message.contains("disk full"), "{message}");
        }
        allow(&world);
        remove(&engine, "runs", false).await.unwrap();
        remove(&engine, "short", false).await.unwrap();
        engine.shutdown().await;
    });
}

#[test]
fn a_stop_ends_though_it_is_paused_meanwhile() {
    let name = "a_stop_ends_though_it_is_paused_meanwhile";
    isolated(name, async |world| {
        let engine = world.open().await;
        started(&engine, "c1", &STUBBORN).await;
        let stop = meanwhile(&engine, |containers| async move {
            containers.stop("c1", within(1)).await
        })
        .await;
        says(&engine, "c1", "told").await;
        engine.containers.pause("c1").await.unwrap();
        assert_eq!(state(&engine, "c1").0, Status::Paused);
        done(stop).await.unwrap().unwrap();
        assert_eq!(state(&engine, "c1"), (Status::Exited, 137));
        remove(&engine, "c1", false).await.unwrap();
        engine.shutdown().await;
    });
}

/// dockerd waits: a handler may come, or the end.
#[test]
fn a_time_that_was_named_is_waited_for() {
    isolated("a_time_that_was_named_is_waited_for", async |world| {
        let engine = world.open().await;
        started(&engine, "asked", &["sleep", "2"]).await;
        engine.containers.stop("asked", within(100)).await.unwrap();
        assert_eq!(state(&engine, "asked"), (Status::Exited, 0));
        let mut new = container("own", &["sleep", "2"]);
        new.config.stop_timeout = Some(100);
        engine.containers.create(new).await.unwrap();
        engine.containers.start("own").await.unwrap();
        let usual = StopOptions::default();
        engine.containers.stop("own", usual.clone()).await.unwrap();
        assert_eq!(state(&engine, "own"), (Status::Exited, 0));
        // Nobody has named one, but there is a child which may make an end.
        let script = "sleep 2 & echo begun; wait; exit 7";
        started(&engine, "child", &["sh", "-c", script]).await;
        says(&engine, "child", "begun").await;
        engine
            .containers
            .stop("child", usual.clone())
            .await
            .unwrap();
        assert_eq!(state(&engine, "child"), (Status::Exited, 7));
        // Neither: to wait would be in vain.
        started(&engine, "alone", &["sleep", "8"]).await;
        engine.containers.stop("alone", usual).await.unwrap();
        assert_eq!(state(&engine, "alone"), (Status::Exited, 137));
        for name in ["asked", "own", "child", "alone"] {
            remove(&engine, name, false).await.unwrap();
        }
        engine.shutdown().await;
    });
}

#[test]
fn what_cannot_be_written_is_not_launched() {
    isolated("what_cannot_be_written_is_not_launched", async |world| {
        let engine = world.open().await;
        let script = "test -e /x && exec sleep 1000; touch /x; sleep 1; exit 1";
        let mut new = container("c1", &["sh", "-c", script]);
        new.host.restart_policy = RestartPolicy::Always;
        engine.containers.create(new).await.unwrap();
        engine.containers.start("c1").await.unwrap();
        // Before its policy starts it again, which is tried until it succeeds.
        refuse(&world, r#""phase":"Starting""#);
        done(until_it_is(&engine, "c1", Status::Restarting)).await;
        let restart = engine.containers.restart("c1", within(0)).await;
        restart.unwrap_err();
        assert_eq!(state(&engine, "c1").0, Status::Restarting);
        allow(&world);
        done(until_it_is(&engine, "c1", Status::Running)).await;
        engine.containers.stop("c1", within(0)).await.unwrap();
        remove(&engine, "c1", false).await.unwrap();
        let ran = run(&engine, container("last", &["true"]), None).await;
        assert_eq!(ran.0, 0);
        engine.shutdown().await;
    });
}

#[test]
fn a_shim_that_does_not_answer_keeps_no_daemon_from_starting() {
    let name = "a_shim_that_does_not_answer_keeps_no_daemon_from_starting";
    isolated(name, async |world| {
        let world = std::sync::Arc::new(world);
        let shim = killed(&world, async |engine| {
            started(&engine, "c1", &STUBBORN).await;
            shim_of(engine.containers.inspect("c1").unwrap().state.pid)
        })
        .await;
        signal(shim, rustix::process::Signal::STOP);
        let engine = done(world.open()).await;
        assert_eq!(state(&engine, "c1").0, Status::Running);
        let ran = done(run(&engine, container("other", &["true"]), None)).await;
        assert_eq!(ran.0, 0);
        let kill = meanwhile(&engine, |containers| async move {
            containers.kill("c1", "").await
        })
        .await;
        // It is met as soon as it goes on.
        signal(shim, rustix::process::Signal::CONT);
        let _ = done(kill).await.unwrap();
        let stopped = done(engine.containers.stop("c1", within(0))).await;
        assert!(matches!(stopped, Ok(()) | Err(EngineError::NotModified)));
        assert_eq!(state(&engine, "c1"), (Status::Exited, 137));
        remove(&engine, "c1", false).await.unwrap();
        engine.shutdown().await;
    });
}

#[test]
fn the_freezer_is_as_the_record_says() {
    isolated("the_freezer_is_as_the_record_says", async |world| {
        let world = std::sync::Arc::new(world);
        killed(&world, async |engine| {
            started(&engine, "c1", &STUBBORN).await;
            engine.containers.pause("c1").await.unwrap();
        })
        .await;
        // The daemon was killed after it wrote that it runs, and before it thawed it.
        let put = r#"UPDATE record SET body = CAST(replace(replace(CAST(body AS TEXT), '{"Paused":', '{"Running":'), ',"then":null', '') AS BLOB)
                     WHERE kind = 'containers'"#;
        let changed = records(&world).execute(put, ()).unwrap();
        assert_eq!(changed, 1);
        let engine = done(world.open()).await;
        assert_eq!(state(&engine, "c1").0, Status::Running);
        engine.containers.kill("c1", "TERM").await.unwrap();
        says(&engine, "c1", "told").await;
        engine.containers.stop("c1", within(0)).await.unwrap();
        remove(&engine, "c1", false).await.unwrap();
        engine.shutdown().await;
    });
}

#[test]
fn who_reads_files_and_stalls_keeps_no_container() {
    let name = "who_reads_files_and_stalls_keeps_no_container";
    isolated(name, async |world| {
        let engine = world.open().await;
        let containers = &engine.containers;
        for name in ["c1", "gone"] {
            let new = container(name, &["sleep", "1000"]);
            containers.create(new).await.unwrap();
        }
        // Clients that read nothing of it.
        let mut stalled = containers.export("c1").await.unwrap();
        let _other = containers.export("gone").await.unwrap();
        let mut started = Box::pin(containers.start("c1"));
        let mut never = Box::pin(containers.start("gone"));
        begun(started.as_mut()).await;
        begun(never.as_mut()).await;
        done(containers.rename("gone", "renamed")).await.unwrap();
        let force = RemoveOptions {
            force: true,
            ..RemoveOptions::default()
        };
        done(containers.remove("renamed", force)).await.unwrap();
        done(never).await.unwrap_err();
        done(started).await.unwrap();
        let end = async {
            loop {
                match stalled.next().await {
                    Some(Ok(_)) => {}
                    end => return end,
                }
            }
        };
        let end = done(end).await.expect("half an archive, and no error");
        assert!(end.unwrap_err().to_string().contains("started"));
        containers.stop("c1", within(0)).await.unwrap();
        remove(&engine, "c1", false).await.unwrap();
        engine.shutdown().await;
    });
}

/// Begins some work, and forgets it as soon as it waits.
async fn begun(work: impl Future) {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        let _ = work.as_mut().poll(context);
        std::task::Poll::Ready(())
    })
    .await;
}

#[test]
fn what_nobody_waits_for_any_more_is_finished() {
    let name = "what_nobody_waits_for_any_more_is_finished";
    isolated(name, async |world| {
        let engine = world.open().await;
        let containers = &engine.containers;
        started(&engine, "c1", &STUBBORN).await;
        let mut told = engine.events.subscribe(EventOptions::default());
        let options = CommitOptions {
            pause: true,
            ..CommitOptions::default()
        };
        begun(containers.commit("c1", options)).await;
        done(async { while told.next().await.unwrap().action != "commit" {} }).await;
        assert_eq!(state(&engine, "c1").0, Status::Running);
        begun(containers.rename("c1", "other")).await;
        done(async { while told.next().await.unwrap().action != "rename" {} }).await;
        // The old name is free, and the new one is known.
        let again = containers.create(container("c1", &["true"])).await;
        again.unwrap();
        remove(&engine, "c1", false).await.unwrap();
        let exec = NewExec {
            cmd: vec!["true".to_owned()],
            attach_stdout: true,
            ..NewExec::default()
        };
        let exec = containers.exec_create("other", exec).await.unwrap();
        begun(containers.exec_start(&exec, ExecStartOptions::default())).await;
        assert_eq!(done(containers_code(&engine, &exec)).await, 0);
        containers.stop("other", within(0)).await.unwrap();
        remove(&engine, "other", false).await.unwrap();
        engine.shutdown().await;
    });
}

async fn containers_code(engine: &Engine, exec: &str) -> i32 {
    loop {
        if let Some(code) = engine.containers.exec_inspect(exec).unwrap().exit_code {
            return code;
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn renames_at_the_same_time_leave_one_name() {
    isolated("renames_at_the_same_time_leave_one_name", async |world| {
        let engine = world.open().await;
        let containers = &engine.containers;
        let id = containers.create(container("a1", &["true"])).await;
        let id = id.unwrap().id;
        // Both go by the name that it has now.
        let (one, other) = tokio::join!(containers.rename(&id, "b1"), containers.rename(&id, "d1"));
        one.unwrap();
        other.unwrap();
        let name = containers.inspect("d1").unwrap().name.clone();
        assert_eq!(name, "d1");
        for free in ["a1", "b1"] {
            containers.create(container(free, &["true"])).await.unwrap();
        }
        for name in ["a1", "b1", "d1"] {
            remove(&engine, name, false).await.unwrap();
        }
        engine.shutdown().await;
    });
}

/// On cgroup v1 what is frozen does not die of a kill; as a process does not that hangs in the kernel.
#[test]
fn a_kill_that_does_not_work_is_told() {
    isolated("a_kill_that_does_not_work_is_told", async |world| {
        let engine = world.open().await;
        started(&engine, "c1", &["sleep", "1000"]).await;
        let pid = engine.containers.inspect("c1").unwrap().state.pid;
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let own = groups.lines().find_map(|line| line.split_once(":freezer:"));
        if let Some((_, own)) = own {
            // In a group of its own below the container's, which a thaw of that one does not reach.
            let held = std::path::PathBuf::from(format!("/sys/fs/cgroup/freezer{own}/held"));
            std::fs::create_dir(&held).unwrap();
            std::fs::write(held.join("cgroup.procs"), pid.to_string()).unwrap();
            std::fs::write(held.join("freezer.state"), "FROZEN").unwrap();
            let force = RemoveOptions {
                force: true,
                ..RemoveOptions::default()
            };
            let kill = engine.containers.kill("c1", "");
            let remove = engine.containers.remove("c1", force);
            let (kill, remove) = done(async { tokio::join!(kill, remove) }).await;
            let why = "tried to kill container, but did not receive an exit event";
            assert_eq!(
                kill.unwrap_err().to_string(),
                format!("cannot kill container: c1: {why}")
            );
            assert_eq!(
                remove.unwrap_err().to_string(),
                format!("cannot remove container \"/c1\": could not kill: {why}")
            );
            assert_eq!(state(&engine, "c1").0, Status::Running);
            let ended = engine
                .containers
                .wait("c1", WaitCondition::NotRunning)
                .unwrap();
            std::fs::write(held.join("freezer.state"), "THAWED").unwrap();
            assert_eq!(done(ended.wait()).await.code, 137);
        } else {
            engine.containers.kill("c1", "").await.unwrap();
        }
        remove(&engine, "c1", false).await.unwrap();
        engine.shutdown().await;
    });
}
