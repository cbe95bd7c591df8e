//! Whole engines with real containers, each in namespaces of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "engine/records.rs"]
mod records;
#[path = "engine/world.rs"]
mod world;

use records::{allow, records, refuse};
use wharf_engine::*;
use world::{container, isolated, isolated_with, run};

#[test]
fn runs_and_removes() {
    isolated("runs_and_removes", async |world| {
        let engine = world.open().await;
        let script = "echo out; echo err >&2; exit 3";
        let ran = run(&engine, container("one", &["sh", "-c", script]), None).await;
        assert_eq!(ran, (3, "out\n".to_owned(), "err\n".to_owned()));
        assert_eq!(
            engine.containers.inspect("one").unwrap_err().to_string(),
            "No such container: one"
        );
        let ran = run(&engine, container("two", &["cat"]), Some(b"through\n")).await;
        assert_eq!(ran, (0, "through\n".to_owned(), String::new()));
        let mut tty = container("three", &["sh", "-c", "test -t 0 && echo terminal"]);
        tty.config.tty = true;
        assert_eq!(run(&engine, tty, None).await.1, "terminal\r\n");
        let mut user = container(
            "four",
            &["sh", "-c", "id -u; id -g; pwd; echo $A $HOSTNAME"],
        );
        user.config.user = "app".to_owned();
        user.config.working_dir = "/made/here".to_owned();
        user.config.hostname = "host".to_owned();
        user.config.env = vec!["A=b".to_owned()];
        assert_eq!(
            run(&engine, user, None).await.1,
            "7\n8\n/made/here\nb host\n"
        );
        engine.shutdown().await;
        let left = |folder: &str| {
            std::fs::read_dir(world.root.path().join(folder))
                .unwrap()
                .count()
        };
        assert_eq!((left("data/containers"), left("exec/tasks")), (0, 0));
    });
}

#[test]
fn layers_that_a_power_cut_took_are_unpacked_again() {
    isolated(
        "layers_that_a_power_cut_took_are_unpacked_again",
        async |world| {
            let engine = world.open().await;
            let old = container("old", &["cat", "/data/file"]);
            engine.containers.create(old).await.unwrap();
            let layers = world.root.path().join("data/snapshots/layers");
            let lose = async || {
                for layer in std::fs::read_dir(&layers).unwrap() {
                    std::fs::remove_dir_all(layer.unwrap().path()).unwrap();
                }
                // What is not there is forgotten, as by a start after a power cut.
                let found = engine.images.store().check(false).await.unwrap();
                assert_eq!(found.faults.len(), 1);
            };
            lose().await;
            engine.containers.start("old").await.unwrap();
            assert_eq!(std::fs::read_dir(&layers).unwrap().count(), 1);
            let waiter = engine.containers.wait("old", WaitCondition::NotRunning);
            assert_eq!(waiter.unwrap().wait().await.code, 0);
            lose().await;
            let new = container("new", &["cat", "/data/file"]);
            assert_eq!(run(&engine, new, None).await.1, "from the image\n");
            let options = RemoveOptions::default();
            engine.containers.remove("old", options).await.unwrap();
            engine.shutdown().await;
        },
    );
}

#[test]
fn a_start_that_fails_says_why() {
    isolated("a_start_that_fails_says_why", async |world| {
        let engine = world.open().await;
        let containers = &engine.containers;
        let cases: [(&str, &[&str], i32, &str); 3] = [
            (
                "m",
                &["missing"],
                127,
                "exec: \"missing\": executable file not found in $PATH",
            ),
            (
                "n",
                &["/etc/passwd"],
                126,
                "exec: \"/etc/passwd\": permission denied",
            ),
            ("d", &["/etc"], 126, "exec: \"/etc\": is a directory"),
        ];
        for (name, command, code, reason) in cases {
            containers
                .create(container(&format!("{name}1"), command))
                .await
                .unwrap();
            let error = containers.start(&format!("{name}1")).await.unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
            assert_eq!(error.kind(), ErrorKind::InvalidParameter);
            let view = containers.inspect(&format!("{name}1")).unwrap();
            assert_eq!(
                (view.state.exit_code, view.state.status),
                (code, Status::Created)
            );
        }
        let mut user = container("u1", &["true"]);
        user.config.user = "nobody-knows".to_owned();
        containers.create(user).await.unwrap();
        let error = containers.start("u1").await.unwrap_err().to_string();
        assert!(
            error.contains("unable to find user nobody-knows: no matching entries in passwd file"),
            "{error}"
        );
        // Nothing is left of the tries, and the containers can be removed.
        assert_eq!(
            containers
                .prune(&Filters::default(), &PruneWatcher::default())
                .await
                .unwrap()
                .deleted
                .len(),
            4
        );
        engine.shutdown().await;
    });
}

#[test]
fn a_prune_tells_what_it_did_though_nobody_waits_any_more() {
    let name = "a_prune_tells_what_it_did_though_nobody_waits_any_more";
    isolated(name, async |world| {
        let engine = world.open().await;
        let mut told = engine.events.subscribe(EventOptions::default());
        let (filters, watcher) = (Filters::default(), PruneWatcher::default());
        let options = wharf_images::ListOptions::default();
        // Who asked is gone as soon as the work has begun.
        begun(engine.volumes.prune(&filters, &watcher)).await;
        begun(engine.images.prune(options, &watcher)).await;
        let mut left = vec![EventKind::Image, EventKind::Volume];
        while !left.is_empty() {
            let event = told.next().await.unwrap();
            left.retain(|kind| event.action != "prune" || *kind != event.kind);
        }
        engine.shutdown().await;
    });
}

/// Begins some work, and forgets it.
async fn begun(work: impl Future) {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        let _ = work.as_mut().poll(context);
        std::task::Poll::Ready(())
    })
    .await;
}

async fn exec_code(engine: &Engine, exec: &str) -> i32 {
    loop {
        let view = engine.containers.exec_inspect(exec).unwrap();
        if let Some(code) = view.exit_code {
            return code;
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn lives_stops_and_execs() {
    isolated("lives_stops_and_execs", async |world| {
        let engine = world.open().await;
        let containers = &engine.containers;
        containers
            .create(container(
                "web",
                &["sh", "-c", "echo begun; exec sleep 1000"],
            ))
            .await
            .unwrap();
        containers.start("web").await.unwrap();
        let exec = NewExec {
            cmd: ["sh", "-c", "echo inside; exit 5"]
                .map(str::to_owned)
                .to_vec(),
            attach_stdout: true,
            ..NewExec::default()
        };
        let id = containers.exec_create("web", exec).await.unwrap();
        let attachment = containers
            .exec_start(&id, ExecStartOptions::default())
            .await
            .unwrap()
            .unwrap();
        let (mut client, server) = tokio::net::UnixStream::pair().unwrap();
        attachment.serve(server, std::future::pending()).await;
        let mut output = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut client, &mut output)
            .await
            .unwrap();
        assert_eq!(world::unframe(&output).0, b"inside\n");
        assert_eq!(exec_code(&engine, &id).await, 5);
        // Who asked is gone before it runs: how it ended is known all the same.
        let exec = NewExec {
            cmd: ["sh", "-c", "exit 6"].map(str::to_owned).to_vec(),
            ..NewExec::default()
        };
        let id = containers.exec_create("web", exec).await.unwrap();
        begun(containers.exec_start(&id, ExecStartOptions::default())).await;
        assert_eq!(exec_code(&engine, &id).await, 6);
        let top = containers.top("web", "-o pid,comm").await.unwrap();
        assert_eq!(top.processes.len(), 1);
        containers.pause("web").await.unwrap();
        assert_eq!(
            containers.inspect("web").unwrap().state.status,
            Status::Paused
        );
        containers.unpause("web").await.unwrap();
        // Its first process has no handler for TERM: nobody waits the ten seconds out.
        let before = std::time::Instant::now();
        containers
            .stop("web", StopOptions::default())
            .await
            .unwrap();
        assert!(
            before.elapsed() < std::time::Duration::from_secs(9),
            "waited in vain"
        );
        let view = containers.inspect("web").unwrap();
        assert_eq!(
            (view.state.status, view.state.exit_code),
            (Status::Exited, 137)
        );
        let options = LogOptions {
            stdout: true,
            stderr: true,
            ..LogOptions::default()
        };
        let mut logs = containers.logs("web", options).await.unwrap();
        assert_eq!(logs.next().await.unwrap().unwrap().log, b"begun\n");
        assert!(logs.next().await.is_none());
        containers
            .restart("web", StopOptions::default())
            .await
            .unwrap();
        let force = RemoveOptions {
            force: true,
            ..RemoveOptions::default()
        };
        containers.remove("web", force).await.unwrap();
        engine.shutdown().await;
    });
}

#[test]
fn mounts_what_is_asked() {
    isolated("mounts_what_is_asked", async |world| {
        let engine = world.open().await;
        let folder = world.root.path().join("bound");
        let bind = |text: &str| parse_bind(text).unwrap();
        let mut new = container(
            "m1",
            &[
                "sh",
                "-c",
                "cat /data/file; touch /data/new /b/x; touch /r/x; ls /b; mount | grep -c ' /t type tmpfs'",
            ],
        );
        new.host.binds = vec![
            bind("vol:/data"),
            bind(&format!("{}:/b", folder.display())),
            bind(&format!("{}:/r:ro", folder.display())),
        ];
        new.host.tmpfs.insert("/t".to_owned(), "size=1m".to_owned());
        let (code, stdout, stderr) = run(&engine, new, None).await;
        assert_eq!(
            (code, stdout.as_str()),
            (0, "from the image\nx\n1\n"),
            "{stderr}"
        );
        assert!(stderr.contains("Read-only file system"), "{stderr}");
        let volume = engine.volumes.inspect("vol").await.unwrap();
        assert!(volume.mountpoint.join("new").exists() && folder.join("x").exists());
        let mut missing = container("m2", &["true"]);
        missing.host.mounts = vec![MountRequest {
            target: "/x".to_owned(),
            read_only: false,
            consistency: String::new(),
            kind: MountKind::Bind {
                source: "/not/there".into(),
                propagation: None,
                non_recursive: false,
                create_source: false,
                read_only_non_recursive: false,
                read_only_force_recursive: false,
                id_mapping: None,
            },
        }];
        let error = engine.containers.create(missing).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid mount config for type \"bind\": bind source path does not exist: /not/there"
        );
        engine.volumes.remove("vol", false).await.unwrap();
        engine.shutdown().await;
    });
}

#[test]
fn a_new_daemon_finds_its_containers() {
    isolated("a_new_daemon_finds_its_containers", async |world| {
        // An engine in a runtime of its own, which ends without a word.
        let first = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let world = std::sync::Arc::new(world);
        let inside = world.clone();
        let task = first.spawn(async move {
            let engine = inside.open().await;
            let containers = &engine.containers;
            let script = "echo begun; sleep 0.2; echo later; exec sleep 1000";
            containers
                .create(container("lives", &["sh", "-c", script]))
                .await
                .unwrap();
            containers
                .create(container("ends", &["sh", "-c", "sleep 0.1; exit 7"]))
                .await
                .unwrap();
            let mut gone = container("gone", &["sleep", "0.1"]);
            gone.host.auto_remove = true;
            containers.create(gone).await.unwrap();
            let mut again = container(
                "again",
                &[
                    "sh",
                    "-c",
                    "sleep 0.1; test -e /x && exec sleep 1000; touch /x",
                ],
            );
            again.host.restart_policy = RestartPolicy::Always;
            containers.create(again).await.unwrap();
            for name in ["lives", "ends", "gone", "again"] {
                containers.start(name).await.unwrap();
            }
            let view = containers.inspect("lives").unwrap();
            (
                view.state.pid,
                containers.inspect("ends").unwrap().state.pid,
            )
        });
        let (pid, short) = task.await.unwrap();
        first.shutdown_background();
        while std::path::Path::new(&format!("/proc/{short}")).exists() {
            tokio::task::yield_now().await;
        }
        let engine = world.open().await;
        let containers = &engine.containers;
        let view = containers.inspect("lives").unwrap();
        assert_eq!((view.state.pid, view.state.status), (pid, Status::Running));
        let waiter = containers.wait("ends", WaitCondition::NotRunning).unwrap();
        assert_eq!(waiter.wait().await.code, 7);
        if let Ok(waiter) = containers.wait("gone", WaitCondition::Removed) {
            waiter.wait().await;
        }
        while containers.inspect("again").unwrap().state.status != Status::Running {
            tokio::task::yield_now().await;
        }
        let options = LogOptions {
            stdout: true,
            follow: true,
            ..LogOptions::default()
        };
        let mut logs = containers.logs("lives", options).await.unwrap();
        assert_eq!(logs.next().await.unwrap().unwrap().log, b"begun\n");
        assert_eq!(logs.next().await.unwrap().unwrap().log, b"later\n");
        for name in ["lives", "ends", "again"] {
            let force = RemoveOptions {
                force: true,
                ..RemoveOptions::default()
            };
            containers.remove(name, force).await.unwrap();
        }
        engine.shutdown().await;
    });
}

#[test]
fn one_data_root_one_daemon() {
    isolated("one_data_root_one_daemon", async |world| {
        let _engine = world.open().await;
        let Err(error) = Engine::open(world.config()).await else {
            panic!("opened twice")
        };
        let pid = std::process::id();
        assert!(error.to_string().starts_with(&format!(
            "another wharf daemon (pid {pid}) is using the data root"
        )));
    });
}

/// A container in the default network that runs, and a network beside it.
async fn beside(engine: &Engine, name: &str, network: &str) {
    let mut new = container(name, &["sleep", "1000"]);
    new.host.network_mode = NetworkMode::Default;
    engine.containers.create(new).await.unwrap();
    engine.containers.start(name).await.unwrap();
    let network = wharf_network::NewNetwork {
        name: network.to_owned(),
        ..wharf_network::NewNetwork::default()
    };
    engine.networks.create(network).await.unwrap();
}

/// Whether a container's view, and the network itself, say that it is in the network with an address.
fn is_in(engine: &Engine, name: &str, network: &str) -> (bool, bool) {
    let view = engine.containers.inspect(name).unwrap();
    let endpoint = view.network.endpoints.get(network);
    let network = engine.networks.inspect(network).unwrap();
    let mut endpoints = engine.networks.endpoints(&network).into_iter();
    (
        endpoint.is_some_and(|one| one.ip.is_some()),
        endpoints.any(|one| one.container == view.id),
    )
}

async fn remove(engine: &Engine, names: &[&str]) {
    for name in names {
        let force = RemoveOptions {
            force: true,
            ..RemoveOptions::default()
        };
        engine.containers.remove(name, force).await.unwrap();
    }
}

#[test]
fn a_change_of_networks_is_written_first() {
    isolated("a_change_of_networks_is_written_first", async |world| {
        let engine = world.open().await;
        beside(&engine, "c1", "n1").await;
        let networks = &engine.networks;
        let connect = || networks.connect("n1", "c1", EndpointSettings::default());
        refuse(&world, "n1");
        connect().await.unwrap_err();
        assert_eq!(is_in(&engine, "c1", "n1"), (false, false));
        allow(&world);
        // What fails after the link is there is only what is shown of it.
        let subnet = networks.inspect("n1").unwrap().ipam.pools[0].subnet;
        let address = format!("{}2", subnet.to_string().trim_end_matches("0/16"));
        refuse(&world, &address);
        connect().await.unwrap();
        assert_eq!(is_in(&engine, "c1", "n1"), (true, true));
        allow(&world);
        refuse(&world, "c1");
        networks.disconnect("n1", "c1", false).await.unwrap_err();
        assert_eq!(is_in(&engine, "c1", "n1"), (true, true));
        allow(&world);
        networks.disconnect("n1", "c1", false).await.unwrap();
        assert_eq!(is_in(&engine, "c1", "n1"), (false, false));
        remove(&engine, &["c1"]).await;
        engine.shutdown().await;
    });
}

/// The record says what was to be: the daemon was killed before it was done.
#[test]
fn a_change_of_networks_that_was_cut_short_is_finished() {
    isolated(
        "a_change_of_networks_that_was_cut_short_is_finished",
        async |world| {
            let first = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .unwrap();
            let world = std::sync::Arc::new(world);
            let inside = world.clone();
            let task = first.spawn(async move {
                let engine = inside.open().await;
                beside(&engine, "joins", "n1").await;
                beside(&engine, "leaves", "n2").await;
                let (containers, networks) = (&engine.containers, &engine.networks);
                let id = |name| containers.inspect(name).unwrap().id.clone();
                let body = |id: &str| -> Vec<u8> {
                    let body = "SELECT body FROM record WHERE kind = 'containers' AND key = ?1";
                    records(&inside)
                        .query_row(body, [id], |row| row.get(0))
                        .unwrap()
                };
                let settings = EndpointSettings::default;
                let (joins, leaves) = (id("joins"), id("leaves"));
                let apart = body(&leaves);
                networks.connect("n2", "leaves", settings()).await.unwrap();
                networks.connect("n1", "joins", settings()).await.unwrap();
                let together = body(&joins);
                networks.disconnect("n1", "joins", false).await.unwrap();
                [(joins, together), (leaves, apart)]
            });
            let bodies = task.await.unwrap();
            first.shutdown_background();
            for (id, body) in bodies {
                let put = "UPDATE record SET body = ?2 WHERE kind = 'containers' AND key = ?1";
                records(&world).execute(put, (id, body)).unwrap();
            }
            let engine = world.open().await;
            assert_eq!(is_in(&engine, "joins", "n1"), (true, true));
            assert_eq!(is_in(&engine, "leaves", "n2"), (false, false));
            remove(&engine, &["joins", "leaves"]).await;
            engine.shutdown().await;
        },
    );
}

/// There are fewer threads for what blocks than questions that a plugin leaves open.
#[test]
fn a_plugin_that_hangs_stops_nobody_else() {
    isolated_with(4, "a_plugin_that_hangs_stops_nobody_else", async |world| {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "run", "/run"])
            .status();
        assert!(mounted.unwrap().success());
        std::fs::create_dir_all("/run/docker/plugins").unwrap();
        let socket = "/run/docker/plugins/hung.sock";
        let plugin = tokio::net::UnixListener::bind(socket).unwrap();
        let engine = world.open().await;
        let volume = wharf_volumes::NewVolume {
            driver: "hung".to_owned(),
            ..Default::default()
        };
        let mut asked = Vec::new();
        for _ in 0..8 {
            let (engine, volume) = (engine.clone(), volume.clone());
            asked.push(tokio::spawn(
                async move { engine.volumes.create(volume).await },
            ));
        }
        // It takes every question, and answers none.
        let mut open = Vec::new();
        for _ in 0..4 {
            open.push(plugin.accept().await.unwrap());
        }
        let ran = run(&engine, container("one", &["echo", "out"]), None).await;
        assert_eq!(ran, (0, "out\n".to_owned(), String::new()));
        assert!(asked.iter().all(|asked| !asked.is_finished()));
        std::fs::remove_file(socket).unwrap();
        drop((plugin, open));
        for asked in asked {
            asked.await.unwrap().unwrap_err();
        }
        engine.shutdown().await;
    });
}

/// Each of them is a connection that nobody would close before the start.
#[test]
fn clients_that_send_and_go_before_the_start_are_not_kept_without_end() {
    let name = "clients_that_send_and_go_before_the_start_are_not_kept_without_end";
    isolated(name, async |world| {
        use tokio::io::AsyncWriteExt as _;
        let engine = world.open().await;
        let mut new = container("c1", &["cat"]);
        new.config.open_stdin = true;
        engine.containers.create(new).await.unwrap();
        let options = AttachOptions {
            stdin: true,
            stream: true,
            ..AttachOptions::default()
        };
        let mut served = tokio::task::JoinSet::new();
        for _ in 0..70 {
            let attached = engine.containers.attach("c1", options.clone());
            let attached = attached.await.unwrap();
            let (mut client, server) = tokio::net::UnixStream::pair().unwrap();
            client.write_all(b"said\n").await.unwrap();
            drop(client);
            served.spawn(attached.serve(server, std::future::ready(())));
        }
        for _ in 0..6 {
            let end = served.join_next().await.unwrap().unwrap();
            assert!(matches!(end, AttachEnd::Gone));
        }
        engine.containers.start("c1").await.unwrap();
        // What the others have sent is all there.
        while served.join_next().await.is_some() {}
        let options = LogOptions {
            stdout: true,
            follow: true,
            ..LogOptions::default()
        };
        let mut logs = engine.containers.logs("c1", options).await.unwrap();
        for _ in 0..64 {
            assert_eq!(logs.next().await.unwrap().unwrap().log, b"said\n");
        }
        let force = RemoveOptions {
            force: true,
            ..RemoveOptions::default()
        };
        engine.containers.remove("c1", force).await.unwrap();
        engine.shutdown().await;
    });
}
