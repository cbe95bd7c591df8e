//! Whole builds on an engine of its own, in namespaces of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../wharf-engine/tests/engine/world.rs"]
#[allow(dead_code, reason = "the engine's own tests use more of it")]
mod world;

#[path = "solve/client.rs"]
mod client;

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Build, Files, begin, begin_as, dockerfile, go};
use wharf_solver::*;
use world::isolated;

/// The names of vertices that ended, and whether they were in the cache.
async fn steps(build: Build) -> BTreeMap<String, bool> {
    drop(build.job);
    let said = build.said.await.unwrap();
    let ended = said.into_iter().filter_map(|event| match event {
        Progress::Vertex(vertex) if vertex.completed.is_some() => {
            Some((vertex.name, vertex.cached))
        }
        _ => None,
    });
    ended.collect()
}

const DOCKERFILE: &str = "\
FROM busybox AS base
ARG B=2
ENV A=1
WORKDIR /w
COPY a.txt sub ./
RUN echo $A $B > out && cat a.txt >> out
FROM busybox AS unused
RUN false
FROM scratch
COPY --from=base /w /w
COPY --link <<EOF /here
text
EOF
CMD [\"x\"]
";

#[test]
fn builds_and_remembers() {
    isolated("builds_and_remembers", async |world| {
        let engine = world.open().await;
        let context = tempfile::tempdir().unwrap();
        std::fs::create_dir(context.path().join("sub")).unwrap();
        std::fs::write(context.path().join("a.txt"), "one\n").unwrap();
        std::fs::write(context.path().join("sub/f"), "f").unwrap();
        std::fs::write(context.path().join("Dockerfile"), DOCKERFILE).unwrap();
        let solver = Solver::open(engine.clone()).unwrap();
        let attrs: BTreeMap<String, String> = [("name".to_owned(), "t".to_owned())].into();

        let build = begin(&solver, context.path(), "one");
        let result = dockerfile(&build.job, &[]).await.unwrap();
        let tree = result.single.clone().unwrap();
        let out = tree.read_file(&build.job, "/w/out", None).await.unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "1 2\none\n");
        assert_eq!(
            tree.read_file(&build.job, "/here", None).await.unwrap(),
            b"text\n"
        );
        assert_eq!(tree.stat(&build.job, "/w/f").await.unwrap().size, 1);
        assert!(tree.stat(&build.job, "/etc/hosts").await.is_err());
        let first = build.job.export_image(&result, &attrs, None).await.unwrap();
        let image = engine.images.store().resolve("t").unwrap();
        assert_eq!(first["containerimage.config.digest"], image.id.to_string());
        let history: Vec<&str> = image
            .config
            .history
            .iter()
            .map(|step| step.created_by.as_str())
            .collect();
        assert_eq!(
            history,
            [
                "COPY /w /w # buildkit",
                "COPY --link <<EOF /here # buildkit",
                "CMD [\"x\"]"
            ]
        );
        assert_eq!(image.config.rootfs.diff_ids.len(), 2);
        drop((result, tree));
        let done = steps(build).await;
        assert!(!done["[base 4/4] RUN echo $A $B > out && cat a.txt >> out"]);
        assert!(!done.keys().any(|name| name.contains("false")), "{done:?}");

        // The same again is known, and is the same image, also after the daemon's end.
        drop(solver);
        engine.shutdown().await;
        drop(engine);
        let engine = world.open().await;
        let solver = Solver::open(engine.clone()).unwrap();
        let build = begin(&solver, context.path(), "two");
        let result = dockerfile(&build.job, &[]).await.unwrap();
        let second = build.job.export_image(&result, &attrs, None).await.unwrap();
        assert_eq!(second, first);
        drop(result);
        let done = steps(build).await;
        for (name, cached) in &done {
            let step = name.starts_with("[base") && !name.contains("FROM");
            assert!(!step || *cached, "{name}");
        }

        // A changed file is another result; a file beside it is not.
        std::fs::write(context.path().join("a.txt"), "two\n").unwrap();
        std::fs::write(context.path().join("other"), "").unwrap();
        let build = begin(&solver, context.path(), "three");
        let result = dockerfile(&build.job, &[]).await.unwrap();
        let tree = result.single.clone().unwrap();
        let out = tree.read_file(&build.job, "/w/out", None).await.unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "1 2\ntwo\n");
        drop((result, tree));
        let done = steps(build).await;
        assert!(done["[base 2/4] WORKDIR /w"] && !done["[base 3/4] COPY a.txt sub ./"]);

        // What the cache holds can be listed and removed; the image stays whole.
        let records = solver.disk_usage(&[], Vec::new()).await.unwrap();
        assert!(
            records
                .iter()
                .any(|record| record.description.contains("RUN echo"))
        );
        let options = PruneOptions {
            all: true,
            ..PruneOptions::default()
        };
        assert_eq!(
            solver.prune(&options, Vec::new()).await.unwrap().len(),
            records.len()
        );
        assert!(solver.disk_usage(&[], Vec::new()).await.unwrap().is_empty());
        let layers = engine.images.store().resolve("t").unwrap().chain;
        assert!(
            layers
                .iter()
                .all(|chain| engine.images.store().has_layer(chain))
        );
        engine.shutdown().await;
    });
}

#[test]
fn commands_see_what_they_are_given_and_leave_nothing() {
    isolated(
        "commands_see_what_they_are_given_and_leave_nothing",
        async |world| {
            let engine = world.open().await;
            let context = tempfile::tempdir().unwrap();
            std::fs::write(context.path().join("a.txt"), "one\n").unwrap();
            let write =
                |text: &str| std::fs::write(context.path().join("Dockerfile"), text).unwrap();
            write(
                "FROM busybox AS more\nRUN echo x > /data/more\nFROM busybox\n\
             RUN --mount=type=secret,id=s --mount=target=/ctx --mount=type=cache,target=/deep/cache,uid=7 \
             --mount=type=tmpfs,target=/tmpfs --mount=from=more,source=/data,target=/m \
             --mount=from=more,source=/data,target=/rw,rw --network=none \
             cat /run/secrets/s /ctx/a.txt /m/more /m/file > /got && echo y > /rw/new && echo z > /deep/cache/z \
             && ls -n /deep >> /got && ! echo > /ctx/no\n",
            );
            let data = world.root.path().join("data");
            let half_made = [
                data.join("builder/context-x"),
                data.join("solver/step/step-x"),
            ];
            for folder in &half_made {
                std::fs::create_dir_all(folder.join("left")).unwrap();
            }
            let solver = Solver::open(engine.clone()).unwrap();
            assert!(half_made.iter().all(|folder| !folder.exists()));
            let build = begin(&solver, context.path(), "one");
            let result = dockerfile(&build.job, &[]).await;
            let result = match result {
                Ok(result) => result,
                Err(error) => panic!("{error}: {:?}", build.said.abort()),
            };
            let tree = result.single.clone().unwrap();
            let got = tree.read_file(&build.job, "/got", None).await.unwrap();
            let got = String::from_utf8(got).unwrap();
            assert!(got.starts_with("hushone\nx\nfrom the image\n"), "{got}");
            assert!(
                got.contains(" 7 ") && got.trim_end().ends_with("cache"),
                "{got}"
            );
            for gone in [
                "/run",
                "/ctx",
                "/deep",
                "/tmpfs",
                "/m",
                "/rw",
                "/.dockerenv",
            ] {
                assert!(tree.stat(&build.job, gone).await.is_err(), "{gone}");
            }
            drop((tree, result));

            // What fails says where, and what it says on the way.
            write("FROM busybox\n\nRUN echo before; exit 7\n");
            let error = dockerfile(&build.job, &[]).await.unwrap_err();
            let text = "process \"/bin/sh -c echo before; exit 7\" did not complete successfully: exit code: 7";
            assert_eq!((error.to_string().as_str(), error.code()), (text, Some(7)));
            let SolveError::At { sources, .. } = error else {
                panic!("no place")
            };
            let start = sources[0].ranges[0].start.unwrap();
            assert_eq!(start.line, 3);
            write("FROM busybox\nCOPY missing /\n");
            let error = dockerfile(&build.job, &[]).await.unwrap_err().to_string();
            assert!(
                error.starts_with("failed to compute cache key: failed to calculate checksum"),
                "{error}"
            );
            write("FROM busybox\nRUN --network=host true\n");
            let error = dockerfile(&build.job, &[]).await.unwrap_err();
            assert_eq!(error.kind(), wharf_engine::ErrorKind::Forbidden);
            write("FROM busybox\nRUN --security=insecure true\n");
            assert!(dockerfile(&build.job, &[]).await.is_err());
            let said = {
                drop(build.job);
                build.said.await.unwrap()
            };
            let is_output = |event: &Progress| matches!(event, Progress::Log(log) if &log.data[..] == b"before\n");
            assert!(said.iter().any(is_output));
            assert!(!format!("{said:?}").contains("hush"));
            engine.shutdown().await;
            let left = |folder: &str| {
                std::fs::read_dir(world.root.path().join(folder)).map_or(0, Iterator::count)
            };
            assert_eq!(
                (
                    left("exec/tasks"),
                    left("exec/solver"),
                    left("data/snapshots/rw")
                ),
                (0, 0, 0)
            );
        },
    );
}

#[test]
fn equal_steps_are_done_once_and_a_cancelled_one_ends() {
    isolated(
        "equal_steps_are_done_once_and_a_cancelled_one_ends",
        async |world| {
            let engine = world.open().await;
            let context = tempfile::tempdir().unwrap();
            let write =
                |text: &str| std::fs::write(context.path().join("Dockerfile"), text).unwrap();
            let data = world.root.path().join("data");
            // Each waits until it may go on.
            let step = |name: &str, more: &str| {
                format!(
                    "FROM busybox\nRUN --mount=type=cache,id={name},target=/c echo x >> /c/{name}; \
                     echo {name} begun; while ! test -e /c/go; do sleep 0.02; done; {more}\n"
                )
            };
            write(&step("first", "cat /c/first > /n"));
            let solver = Solver::open(engine.clone()).unwrap();
            let (one, two) = (
                begin(&solver, context.path(), "one"),
                begin(&solver, context.path(), "two"),
            );
            let both_hear = async |name: &str| {
                let text = format!("{name} begun");
                tokio::join!(one.hears(&text), two.hears(&text));
            };
            let let_go = async {
                both_hear("first").await;
                go(&data, "first");
            };
            let (first, second, ()) =
                tokio::join!(dockerfile(&one.job, &[]), dockerfile(&two.job, &[]), let_go);
            for (build, result) in [(&one, first), (&two, second)] {
                let tree = result.unwrap().single.unwrap();
                assert_eq!(
                    tree.read_file(&build.job, "/n", None).await.unwrap(),
                    b"x\n"
                );
            }

            // One of two lets go: the other has its result. Both let go: the command is killed.
            write(&step("second", "echo done > /d"));
            let given_up = async {
                tokio::select! {
                    biased;
                    () = both_hear("second") => {}
                    ended = dockerfile(&one.job, &[]) => panic!("{:?}", ended.is_ok()),
                }
                go(&data, "second");
            };
            let ((), kept) = tokio::join!(given_up, dockerfile(&two.job, &[]));
            let tree = kept.unwrap().single.unwrap();
            assert_eq!(
                tree.read_file(&two.job, "/d", None).await.unwrap(),
                b"done\n"
            );
            drop(tree);
            write("FROM busybox\nRUN echo third begun; sleep 600\n");
            tokio::select! {
                () = one.hears("third begun") => {}
                ended = dockerfile(&one.job, &[]) => panic!("{:?}", ended.is_ok()),
            }
            drop((one, two, solver));
            let tasks = || {
                let folder = world.root.path().join("exec/tasks");
                std::fs::read_dir(folder).unwrap().count()
            };
            let gone = async {
                while tasks() > 0 {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            };
            let patience = std::time::Duration::from_secs(30);
            tokio::time::timeout(patience, gone).await.unwrap();
            engine.shutdown().await;
        },
    );
}

/// The first failure is the end of a build, also while a step goes on for which another one waits first.
#[test]
fn a_build_fails_at_once() {
    isolated("a_build_fails_at_once", async |world| {
        let engine = world.open().await;
        let context = tempfile::tempdir().unwrap();
        let text = "FROM busybox AS slow\nRUN sleep 600\nFROM busybox AS bad\nRUN exit 3\n\
                    FROM scratch\nCOPY --from=slow /bin /slow\nCOPY --from=bad /bin /bad\n";
        std::fs::write(context.path().join("Dockerfile"), text).unwrap();
        let solver = Solver::open(engine.clone()).unwrap();
        let build = begin(&solver, context.path(), "one");
        let patience = std::time::Duration::from_secs(60);
        let ended = tokio::time::timeout(patience, dockerfile(&build.job, &[])).await;
        assert_eq!(ended.unwrap().unwrap_err().code(), Some(3));
        drop((build, solver));
        engine.shutdown().await;
    });
}

/// Nobody waits for himself, nor two for each other.
#[test]
fn cache_mounts_are_taken_once_and_in_one_order() {
    isolated(
        "cache_mounts_are_taken_once_and_in_one_order",
        async |world| {
            let engine = world.open().await;
            let context = tempfile::tempdir().unwrap();
            let mount = |id: &str, at: &str, sharing: &str| {
                format!("--mount=type=cache,id={id},target={at},sharing={sharing} ")
            };
            let twice = format!(
                "FROM busybox\nRUN {}{}{}{}touch /one/f && ls /two/f && touch /three/p && ls /four/p\n",
                mount("a", "/one", "shared"),
                mount("a", "/two", "locked"),
                mount("p", "/three", "private"),
                mount("p", "/four", "private"),
            );
            std::fs::write(context.path().join("Dockerfile"), twice).unwrap();
            let solver = Solver::open(engine.clone()).unwrap();
            let patience = std::time::Duration::from_secs(60);
            let build = begin(&solver, context.path(), "one");
            let ended = tokio::time::timeout(patience, dockerfile(&build.job, &[])).await;
            ended.unwrap().unwrap();
            drop(build);

            let mut text = String::new();
            for round in 0..6 {
                let (first, second) = if round % 2 == 0 {
                    ("a", "b")
                } else {
                    ("b", "a")
                };
                let (first, second) = (mount(first, "/1", "locked"), mount(second, "/2", "locked"));
                text.push_str(&format!(
                    "FROM busybox AS s{round}\nRUN {first}{second}sleep 0.1; echo {round} > /n\n"
                ));
            }
            text.push_str("FROM scratch\n");
            for round in 0..6 {
                text.push_str(&format!("COPY --from=s{round} /n /n{round}\n"));
            }
            std::fs::write(context.path().join("Dockerfile"), text).unwrap();
            let build = begin(&solver, context.path(), "two");
            let ended = tokio::time::timeout(patience, dockerfile(&build.job, &[])).await;
            ended.unwrap().unwrap();
            let used = solver.disk_usage(&["inuse".to_owned()], Vec::new()).await;
            assert!(used.unwrap().is_empty(), "nobody has them any more");
            drop((build, solver));
            engine.shutdown().await;
        },
    );
}

/// What a client has, lacks or may is his own, also where others do the same step.
#[test]
fn a_step_is_done_with_the_rights_of_who_asks() {
    isolated(
        "a_step_is_done_with_the_rights_of_who_asks",
        async |world| {
            let engine = world.open().await;
            let context = tempfile::tempdir().unwrap();
            let write =
                |text: &str| std::fs::write(context.path().join("Dockerfile"), text).unwrap();
            let data = world.root.path().join("data");
            write(
                "FROM busybox\nRUN --mount=type=secret,id=s,required=true --mount=type=cache,target=/c \
                 touch /c/own; echo begun; while ! test -e /c/go; do sleep 0.02; done; cat /run/secrets/s\n",
            );
            let solver = Solver::open(engine.clone()).unwrap();
            let poor = begin_as(&solver, context.path(), "poor", |options| {
                options.client = Arc::new(Files {
                    folder: context.path().to_owned(),
                    poor: true,
                });
            });
            let rich = begin(&solver, context.path(), "rich");
            let lacks = async {
                rich.hears("begun").await;
                let lacks = dockerfile(&poor.job, &[]).await;
                go(&data, "own");
                lacks
            };
            let (lacks, has) = tokio::join!(lacks, dockerfile(&rich.job, &[]));
            assert!(
                lacks
                    .unwrap_err()
                    .to_string()
                    .contains("secret s: not found")
            );
            has.unwrap();

            // Also what is known may not be had without the right to do it.
            write("FROM busybox\nRUN --network=host true\n");
            let allowed = begin_as(&solver, context.path(), "allowed", |options| {
                options.entitlements = [Entitlement::NetworkHost].into();
            });
            dockerfile(&allowed.job, &[]).await.unwrap();
            let error = dockerfile(&rich.job, &[]).await.unwrap_err();
            assert_eq!(error.kind(), wharf_engine::ErrorKind::Forbidden);
            drop((poor, rich, allowed, solver));
            engine.shutdown().await;
        },
    );
}

/// A prune takes away what nobody needs, and nothing else: of a chain of steps, all.
#[test]
fn a_prune_takes_all_steps_but_those_that_a_cache_is_written_of() {
    isolated(
        "a_prune_takes_all_steps_but_those_that_a_cache_is_written_of",
        async |world| {
            let engine = world.open().await;
            let context = tempfile::tempdir().unwrap();
            let text = "FROM busybox\nRUN echo 1 > /1\nRUN echo 2 > /2\nRUN echo 3 > /3\n";
            std::fs::write(context.path().join("Dockerfile"), text).unwrap();
            let solver = Solver::open(engine.clone()).unwrap();
            let build = begin_as(&solver, context.path(), "one", |options| {
                options.writes_cache = true;
            });
            let result = dockerfile(&build.job, &[]).await.unwrap();
            let tree = result.single.clone().unwrap();
            let own: Vec<_> = tree.layers().iter().rev().take(3).cloned().collect();
            drop((tree, result));
            let gone = solver.prune(&PruneOptions::default(), Vec::new()).await;
            let steps = gone.unwrap().into_iter().map(|record| record.description);
            assert_eq!(steps.filter(|name| name.contains("RUN echo")).count(), 3);
            let store = engine.images.store();
            let there = || {
                own.iter()
                    .filter(|layer| store.has_layer(&layer.chain))
                    .count()
            };
            assert_eq!(there(), 3, "the cache is still to be written");
            drop(build);
            solver
                .prune(&PruneOptions::default(), Vec::new())
                .await
                .unwrap();
            assert_eq!(there(), 0);
            drop(solver);
            engine.shutdown().await;
        },
    );
}
