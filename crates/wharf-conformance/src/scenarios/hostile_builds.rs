//! What a Dockerfile, a context or a killed daemon must not be able to do to builds.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use wharf_testkit::liar::{Liar, Reply};
use wharf_testkit::{Registry, fixtures};

use super::buildx::{Files, GitServer};
use crate::Case;
use crate::case::skip;

/// Paths of mounts lead nowhere but into what is mounted (CVE-2024-23651, CVE-2024-23652, CVE-2024-9675).
pub(crate) fn mounts_stay_inside(case: &mut Case) -> Result<()> {
    let evil = "FROM busybox AS evil\nRUN mkdir -p /etc && echo x > /etc/inside && rm -rf /data && \
                ln -s /../../../../../../../../../etc /data\nFROM busybox\n";
    let files = Files::new(&[(
        "Dockerfile",
        &format!(
            "{evil}RUN --mount=from=evil,source=/data,target=/m test -f /m/inside && ! test -e /m/debian_version\n\
             RUN --mount=type=cache,id=c,target=/c ln -s /etc /c/x\n\
             RUN --mount=type=cache,id=c,target=/c echo x > /c/x/wharf-outside || true\n"
        ),
    )])?;
    ensure!(
        Path::new("/etc/debian_version").exists(),
        "what would be seen is not there"
    );
    files.build(case, &[])?;
    ensure!(
        !Path::new("/etc/wharf-outside").exists(),
        "a cache mount leads out"
    );
    let missing = format!("{evil}RUN --mount=from=evil,source=/../nothing,target=/m true\n");
    files.write("Dockerfile", &missing)?;
    let run = files.run(case, &["buildx", "build", "."])?;
    ensure!(run.code != 0 && run.stderr.contains("not found"), "{run:?}");
    // Stubs of mounts are taken away through no link: what the link names stays (CVE-2024-23652).
    files.write(
        "Dockerfile",
        "FROM busybox AS base\nRUN mkdir /real && echo kept > /real/f && ln -s /real /link\n\
         FROM base\nRUN --mount=type=tmpfs,target=/link/sub rm -rf /link && ln -s /real /link\n\
         RUN cat /real/f\n",
    )?;
    files.build(case, &["-t", "stubs"])?;
    case.prints(&["run", "--rm", "stubs", "cat", "/real/f"], "kept")?;
    // A context's links end in the context.
    files.write("Dockerfile", "FROM busybox\nCOPY out/hostname /h\n")?;
    std::os::unix::fs::symlink("/etc", files.path("out"))?;
    let run = files.run(case, &["buildx", "build", "."])?;
    ensure!(run.code != 0 && run.stderr.contains("not found"), "{run:?}");
    Ok(())
}

/// A Dockerfile is somebody else's: it gets the host's network if the client says so, and not else.
pub(crate) fn the_hosts_network_takes_the_clients_word(case: &mut Case) -> Result<()> {
    let files = Files::new(&[("Dockerfile", "FROM busybox\nRUN --network=host true\n")])?;
    let build = |more: &[&str]| {
        let mut command = case.command(&[&["build"], more, &[&files.path(".")]].concat());
        command.env("DOCKER_BUILDKIT", "0").output()
    };
    let refused = build(&[])?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        !refused.status.success() && said.contains("network.host is not allowed"),
        "{said}"
    );
    let allowed = build(&["--network", "host"])?;
    let said = String::from_utf8_lossy(&allowed.stderr);
    ensure!(allowed.status.success(), "{said}");
    Ok(())
}

/// Files of an image by which names of users are looked up are read with care, and no further than the image goes
/// (CVE-2024-9676): not for ever, not whole if they have no end, and none of the host's.
pub(crate) fn lists_of_users_are_read_with_care(case: &mut Case) -> Result<()> {
    let files = Files::new(&[("f", "F\n")])?;
    let tricks = [
        "rm /etc/passwd && mkfifo /etc/passwd",
        "rm /etc/passwd && ln -s /dev/zero /etc/passwd",
        "rm /etc/passwd && ln -s /../../../../../../proc/kmsg /etc/passwd",
        "rm /etc/passwd && ln -s passwd /etc/passwd",
        "rm /etc/passwd && mkdir /etc/passwd",
    ];
    for trick in tricks {
        for step in ["USER somebody\nRUN true", "COPY --chown=somebody f /f"] {
            files.write(
                "Dockerfile",
                &format!("FROM busybox\nRUN {trick}\n{step}\n"),
            )?;
            let run = files.run(case, &["buildx", "build", "."])?;
            ensure!(run.code != 0, "{trick}, {step}: {run:?}");
        }
    }
    // Links within the image are good, and those out of it lead to the image's own.
    files.write(
        "Dockerfile",
        "FROM busybox\nRUN echo somebody:x:77:88::/:/bin/sh > /users && rm /etc/passwd && ln -s /../../../../../users /etc/passwd\n\
         COPY --chown=somebody f /f\nUSER somebody\nRUN test \"$(id -u)\" = 77\n",
    )?;
    files.build(case, &["-t", "made"])?;
    case.prints(
        &["run", "--rm", "made", "stat", "-c", "%u:%g", "/f"],
        "77:88",
    )
}

/// A repository is a context, and nothing beside it is: by its folder, by links in it, by what it is called
/// (CVE-2026-33748, CVE-2026-44517).
pub(crate) fn repositories_stay_inside(case: &mut Case) -> Result<()> {
    let files = Files::new(&[("served/Dockerfile", "FROM busybox\nCOPY . /all\n")])?;
    let script = format!(
        "cd {} && echo outside > hush && cd served && mkdir -p deep && ln -s /etc out && ln -s ../../hush deep/up && ln -s deep good \
         && cp Dockerfile deep/ && git init -q -b main && git add . && git -c user.name=n -c user.email=e@x commit -qm one",
        files.path("."),
    );
    case.engine.world.sh(&script)?;
    let git = GitServer::start(case, &files)?;
    let build = |place: &str| {
        let address = format!("git://127.0.0.1/served{place}");
        files.run(case, &["buildx", "build", "-t", "made", &address])
    };
    for place in [
        "#main:..",
        "#main:../..",
        "#main:out",
        "#main:deep/../..",
        "#main:/etc",
    ] {
        let run = build(place)?;
        // What goes up ends at the top: the repository itself, or nothing.
        let inside = run.code != 0 || {
            let made = case.ok(&["run", "--rm", "made", "ls", "/all"])?;
            made.contains("Dockerfile") && !made.contains("hush") && !made.contains("passwd")
        };
        ensure!(inside, "{place}: {run:?}");
    }
    let run = build("#main:good")?;
    ensure!(run.code == 0, "{run:?}");
    // Links come as links.
    case.prints(
        &["run", "--rm", "made", "readlink", "/all/up"],
        "../../hush",
    )?;
    for place in ["#--upload-pack=touch /wharf-outside", "#main:-x", "#-x"] {
        let run = build(place)?;
        ensure!(run.code != 0, "{place}: {run:?}");
    }
    ensure!(
        !Path::new("/wharf-outside").exists(),
        "a name was an option"
    );
    files.write(
        "Dockerfile",
        "FROM busybox\nADD git://127.0.0.1/served /g\nRUN test -L /g/out && test ! -e /g/deep/up\nCOPY --from=busybox /bin/busybox /g/out/wharf-inside\n",
    )?;
    let run = files.run(case, &["buildx", "build", "."])?;
    ensure!(
        !Path::new("/etc/wharf-inside").exists(),
        "a link leads out: {run:?}"
    );
    drop(git);
    Ok(())
}

/// An image that a `# syntax=` line names is never run.
pub(crate) fn frontends_of_others_are_not_run(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It runs them");
    }
    let files = Files::new(&[(
        "Dockerfile",
        "# syntax=localhost:5000/evil/frontend:1\nFROM busybox\n",
    )])?;
    let refused = |args: &[&str]| -> Result<()> {
        let run = files.run(case, &[&["buildx", "build"], args, &["."]].concat())?;
        ensure!(
            run.code != 0
                && run
                    .stderr
                    .contains("is not built in: only docker/dockerfile is"),
            "{args:?}: {run:?}"
        );
        Ok(())
    };
    refused(&[])?;
    files.write("Dockerfile", "FROM busybox\n")?;
    refused(&[
        "--build-arg",
        "BUILDKIT_SYNTAX=localhost:5000/evil/frontend",
    ])?;
    files.write("Dockerfile", "# syntax=docker/dockerfile:1\nFROM busybox\n")?;
    files.build(case, &[]).map(drop)
}

/// A secret is where the step sees it, and nowhere else, not even after a kill.
pub(crate) fn secrets_are_nowhere(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("Secrets as variables came later, and provenance needs another image store");
    }
    let files = Files::new(&[
        (
            "Dockerfile",
            "FROM busybox\nRUN --mount=type=secret,id=k --mount=type=secret,id=k,env=K \\\n\
             test \"$(cat /run/secrets/k)\" = \"$K\" && wc -c < /run/secrets/k > /length\n",
        ),
        ("key", "wharf-test-hush-4711"),
    ])?;
    files.build(
        case,
        &[
            "-t",
            "made",
            "--secret",
            "id=k,src=key",
            "--provenance=mode=max",
        ],
    )?;
    case.prints(&["run", "--rm", "made", "cat", "/length"], "20")?;
    files.write(
        "Dockerfile",
        "FROM busybox\nRUN --mount=type=secret,id=k touch /run/begun && sleep 1000\n",
    )?;
    let args = ["buildx", "build", "--secret", "id=k,src=key", "."];
    let mut child = files
        .command(case, &args)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let sleeps = || case.engine.world.sh("pgrep -f 'sleep 100[0]' || true");
    super::containers::until(|| Ok(!sleeps()?.is_empty()))?;
    case.engine.kill_9()?;
    child.wait()?;
    case.engine.launch()?;
    is_nowhere(case, "wharf-test-hush-4711")
}

/// A token in an address opens the repository, and is nowhere afterwards.
pub(crate) fn tokens_of_addresses_are_nowhere(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("Provenance needs another image store there");
    }
    const TOKEN: &str = "wharf-test-hush-4712";
    let files = Files::new(&[
        ("served/Dockerfile", "FROM busybox\nCOPY Dockerfile /d\n"),
        ("Dockerfile", "FROM busybox\n"),
    ])?;
    case.engine.world.sh(&format!(
        "cd {} && git init -q -b main && git add . && git -c user.name=n -c user.email=e@x commit -qm one \
         && git update-server-info",
        files.path("served"),
    ))?;
    let folder = std::path::PathBuf::from(files.path("served"));
    let server = Liar::start_inside(case.engine.pid()?, 8088, move |request| {
        // `wharf-test-hush-4712:`, in base 64.
        if request.header("authorization") != Some("Basic d2hhcmYtdGVzdC1odXNoLTQ3MTI6") {
            return Reply::status(401, "").with("WWW-Authenticate", "Basic realm=\"x\"");
        }
        let path = request.path.split('?').next().unwrap_or_default();
        match std::fs::read(folder.join(path.trim_start_matches('/'))) {
            Ok(bytes) => Reply::ok(bytes),
            Err(_) => Reply::status(404, ""),
        }
    })?;
    let address = format!("http://{TOKEN}@{}/.git", server.address);
    let build = |context: &str| {
        let max = "--provenance=mode=max";
        let args = ["buildx", "build", "--no-cache", "-t", "made", max, context];
        files.run(case, &args)
    };
    let run = build(&address)?;
    ensure!(run.code == 0, "{run:?}");
    case.ok(&["run", "--rm", "made", "test", "-s", "/d"])?;
    files.write(
        "Dockerfile",
        &format!(
            "FROM busybox\nADD --keep-git-dir=true {address} /g\nRUN test -s /g/Dockerfile && ! grep -r {} /g\n",
            // The text of the step is in no file of the repository.
            TOKEN.replace("hush", "h[u]sh"),
        ),
    )?;
    let run = build(".")?;
    ensure!(run.code == 0, "{run:?}");
    let steps = [run.stdout, run.stderr].concat();
    ensure!(!steps.contains(TOKEN), "{steps}");
    let remote = format!("/build?t=classic&remote={address}");
    let answer = case.engine.api("POST", &remote, None)?;
    ensure!(answer.text().contains("Successfully tagged"), "{answer:?}");
    ensure!(!answer.text().contains(TOKEN), "{answer:?}");
    // One that opens nothing is no more to be shown.
    let other = address.replace("4712", "4713");
    let run = build(&other)?;
    ensure!(run.code != 0, "{run:?}");
    let shown = case.ok(&["history", "--no-trunc", "made"])?;
    ensure!(!shown.contains("wharf-test-hush"), "{shown}");
    is_nowhere(case, "wharf-test-hush-471")
}

/// Nothing that the daemon has written holds a text, but the client's own files as it has sent them.
fn is_nowhere(case: &Case, text: &str) -> Result<()> {
    let root = case.engine.data_root();
    let found = case.engine.world.sh(&format!(
        "grep -rl --exclude-dir=contexts {text} {} /run/wharf 2>/dev/null || true",
        root.display()
    ))?;
    ensure!(found.trim().is_empty(), "{found}");
    ensure!(!case.engine.log().contains(text), "the log");
    Ok(())
}

/// The disk is full at some point of a build: it says so, and what is there then is as if it had never begun.
pub(crate) fn the_disk_is_full_in_builds(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("Its containerd keeps a part elsewhere");
    }
    let root = case.engine.data_root().display().to_string();
    case.engine.stop()?;
    case.engine
        .world
        .sh(&format!("mount -t tmpfs -o size=64m none {root}"))?;
    case.engine.launch()?;
    case.load_busybox()?;
    let files = Files::new(&[])?;
    let build = |dockerfile: &str| {
        files.write("Dockerfile", dockerfile)?;
        files.run(case, &["buildx", "build", "-t", "made", "."])
    };
    let good = "FROM busybox\nCOPY n /n\nRUN --network=none --mount=type=cache,target=/c \
                head -c 100000 /dev/zero > /c/much && cat /n /c/much > /all\n";
    files.write("n", "first\n")?;
    let run = build(good)?;
    ensure!(run.code == 0, "{run:?}");
    let free = || -> Result<u64> {
        let said = case
            .engine
            .world
            .sh(&format!("df --output=avail -k {root} | tail -1"))?;
        Ok(said.trim().parse()?)
    };
    let begun = free()?;
    let is_full = |run: &crate::case::Run| {
        let said = run.stderr.to_lowercase();
        run.code != 0 && (said.contains("no space left") || said.contains("disk is full"))
    };
    let swept = || -> Result<()> {
        let left = case.engine.world.sh(&format!("ls {root}/solver/step"))?;
        ensure!(left.trim().is_empty(), "{left}");
        Ok(())
    };
    // What a step writes, what is copied, and what the client sends.
    let run = build("FROM busybox\nRUN --network=none head -c 100m /dev/zero > /much\n")?;
    ensure!(run.code != 0, "{run:?}");
    swept()?;
    let copies = "FROM busybox\nCOPY much /1\nCOPY much /2\nCOPY much /3\n";
    for megabytes in [20, 100] {
        let much = files.path("much");
        case.engine
            .world
            .sh(&format!("truncate -s {megabytes}M {much}"))?;
        let run = build(copies)?;
        ensure!(is_full(&run), "{megabytes}: {run:?}");
        std::fs::remove_file(much)?;
        swept()?;
    }
    let prune = || -> Result<()> {
        let run = files.run(case, &["buildx", "prune", "-af"])?;
        ensure!(run.code == 0, "{run:?}");
        Ok(())
    };
    prune()?;
    for left in [0, 8, 24, 64, 128, 200, 256, 320, 400, 512, 768, 1024] {
        files.write("n", &format!("{left}\n"))?;
        let fill = free()?.saturating_sub(left);
        case.engine.world.sh(&format!(
            "head -c {fill}K /dev/zero > {root}/filler || test {left} = 0"
        ))?;
        let run = build(good)?;
        ensure!(run.code == 0 || is_full(&run), "{left} left: {run:?}");
        case.engine.world.sh(&format!("rm {root}/filler"))?;
        swept()?;
        let run = build(good)?;
        ensure!(run.code == 0, "{left} left before: {run:?}");
        let told = [
            "run",
            "--rm",
            "--network=none",
            "made",
            "head",
            "-n1",
            "/all",
        ];
        case.prints(&told, &left.to_string())?;
    }
    // All has its room again.
    prune()?;
    case.ok(&["image", "prune", "-f"])?;
    ensure!(free()? + 2048 > begun, "{} of {begun} KiB", free()?);
    Ok(())
}

/// The client's ssh agent, for the step that asks for it.
pub(crate) fn agents_are_forwarded(case: &mut Case) -> Result<()> {
    let _registry = Registry::serve(
        &case.engine.world,
        &fixtures::folder()?.join("registry"),
        5000,
    )?;
    let asks = "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ENV{SSH_AUTH_SOCK}) or die $!; \
                syswrite $s, pack(q(NC), 1, 11); sysread $s, my $h, 4; sysread $s, my $b, unpack(q(N), $h); \
                my ($k, $n) = unpack(q(CN), $b); print qq($k $n\\n)";
    let files = Files::new(&[(
        "Dockerfile",
        &format!(
            "FROM localhost:5000/library/debian:bookworm\n\
             RUN --mount=type=ssh,required=true perl -e '{asks}' > /said\nRUN test -z \"$SSH_AUTH_SOCK\"\n"
        ),
    )])?;
    let socket = files.path("agent.sock");
    let mut agent = std::process::Command::new("ssh-agent")
        .args(["-D", "-a", &socket])
        .stdout(std::process::Stdio::null())
        .spawn()?;
    super::containers::until(|| Ok(Path::new(&socket).exists()))?;
    let add = format!(
        "ssh-keygen -q -t ed25519 -N '' -f {0}/id && SSH_AUTH_SOCK={1} ssh-add -q {0}/id",
        files.path(""),
        socket
    );
    let added = std::process::Command::new("sh").args(["-c", &add]).status();
    let ssh = format!("default={socket}");
    let built = files.build(case, &["-t", "made", "--ssh", &ssh]);
    agent.kill()?;
    agent.wait()?;
    ensure!(added?.success(), "no key");
    built?;
    // An answer with identities (12), of which there is one.
    case.prints(&["run", "--rm", "made", "cat", "/said"], "12 1")?;
    // What a build stands on is no image of the user's.
    let images = case.ok(&["images", "--format", "{{.Repository}}"])?;
    ensure!(!images.contains("debian"), "{images}");
    let run = files.run(case, &["buildx", "build", "--no-cache", "."])?;
    ensure!(
        run.code != 0 && run.stderr.contains("unset ssh forward key default"),
        "{run:?}"
    );
    Ok(())
}

/// Killed at any point of a build: the cache is whole, and the next build ends right.
pub(crate) fn the_daemon_is_killed_in_builds(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("Its cache is another, and 20.10 has no such");
    }
    let files = Files::new(&[(
        "Dockerfile",
        "FROM busybox AS one\nCOPY n /n\nRUN --network=none --mount=type=cache,target=/c cat /n >> /c/all; cat /n /n > /nn\n\
         FROM busybox AS two\nCOPY n /m\nRUN --network=none cat /m > /mm\n\
         FROM busybox\nCOPY --from=one /nn /nn\nCOPY --from=two /mm /mm\nRUN --network=none cat /nn /mm > /all\n",
    )])?;
    // Longer and longer, so that the kill comes at each of its steps.
    for round in 0..40_u64 {
        files.write("n", &format!("{round}\n"))?;
        let build = files.command(case, &["buildx", "build", "-t", "made", "."]);
        killed_in(case, build, Duration::from_millis(25 * round))?;
        if round % 4 == 3 {
            files.build(case, &["-t", "made"])?;
            let wanted = format!("{round}\n{round}\n{round}");
            case.prints(
                &["run", "--rm", "--network=none", "made", "cat", "/all"],
                &wanted,
            )?;
        }
    }
    let again = files.build(case, &["-t", "made"])?;
    ensure!(again.matches("CACHED").count() >= 5, "{again}");
    let left = case.engine.world.sh(&format!(
        "ls {}/solver/step | wc -l",
        case.engine.data_root().display()
    ))?;
    ensure!(left.trim() == "0", "{left}");
    let run = files.run(case, &["buildx", "prune", "-af"])?;
    ensure!(run.code == 0, "{run:?}");
    files.build(case, &["-t", "made"]).map(drop)
}

/// Kills the daemon so long after the begin of `build`, or at its end, and starts it again.
fn killed_in(case: &mut Case, mut build: Command, wait: Duration) -> Result<()> {
    let mut child = build.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let begun = Instant::now();
    while begun.elapsed() < wait && child.try_wait()?.is_none() {
        std::thread::yield_now();
    }
    case.engine.kill_9()?;
    child.wait()?;
    case.engine.launch()
}

/// The same of the classic builder, whose steps are images and containers.
pub(crate) fn the_daemon_is_killed_in_classic_builds(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It leaves containers behind, and says so");
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().display().to_string();
    let text = "FROM busybox AS one\nCOPY n /n\nRUN cat /n /n > /nn\nFROM busybox\nENV A=1\nCOPY --from=one /nn /nn\n\
                RUN cat /nn /nn > /all\n";
    std::fs::write(folder.path().join("Dockerfile"), text)?;
    let build = ["build", "--network=none", "-t", "made", path.as_str()];
    for round in 0..24_u64 {
        std::fs::write(folder.path().join("n"), format!("{round}\n"))?;
        // Later and later, so that the kill comes at each of its steps.
        killed_in(
            case,
            case.command(&build),
            Duration::from_millis(40 * round),
        )?;
        if round % 4 == 3 {
            case.ok(&build)?;
            let wanted = [round.to_string().as_str(); 4].join("\n");
            let run = ["run", "--rm", "--network=none", "made", "cat", "/all"];
            case.prints(&run, &wanted)?;
        }
    }
    let again = case.ok(&build)?;
    ensure!(again.matches(" ---> Using cache").count() == 5, "{again}");
    // What a dead daemon's builds ran in can be taken away, whatever has become of its files.
    case.ok(&["container", "prune", "-f"])?;
    case.prints(&["ps", "-aq"], "")?;
    let left = case.engine.world.sh(&format!(
        "ls {}/solver/step | wc -l",
        case.engine.data_root().display()
    ))?;
    ensure!(left.trim() == "0", "{left}");
    case.ok(&["builder", "prune", "-af"])?;
    case.ok(&["image", "prune", "-af"])?;
    case.load_busybox()?;
    case.ok(&build).map(drop)
}
