//! Deaths of the daemon by SIGKILL at random points of builds, several of them at a time, by every client. After each death the
//! store is whole, what was acknowledged is there, and the next build of any of them, out of what the cache
//! still has, makes what it has to. In the end nothing of a dead daemon's builds is left.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use wharf_testkit::{Engine, EngineKind, EngineOptions, fixtures};

use super::Plan;
use crate::dice::Dice;

/// Builds at the same time.
const AT_ONCE: u32 = 3;
/// What the file of the context says: so many texts, so that builds find parts of others in the cache.
const TEXTS: u32 = 4;

/// Two stages, a cache mount, a here-document: what only BuildKit's protocol has.
const STAGES: &str = "\
FROM busybox AS one
COPY text /text
RUN --network=none --mount=type=cache,target=/c <<EOF
: step-of-a-build
cat /text >> /c/all
for i in 1 2 3 4 5 6 7 8; do cat /text /text > /part$i; done
EOF
FROM busybox AS two
COPY text /text
RUN --network=none : step-of-a-build; cat /text /text /text > /three
FROM busybox
COPY --from=one /part* /
COPY --from=two /three /three
RUN --network=none : step-of-a-build; cat /part* /three > /all
";

/// The same result, as the classic builder makes it.
const CLASSIC: &str = "\
FROM busybox AS one
COPY text /text
RUN : step-of-a-build; for i in 1 2 3 4 5 6 7 8; do cat /text /text > /part$i; done
FROM busybox
COPY --from=one /part1 /part2 /part3 /part4 /part5 /part6 /part7 /part8 /
COPY text /text
RUN : step-of-a-build; cat /text /text /text > /three
RUN : step-of-a-build; cat /part* /three > /all
";

/// How often the text is in a result.
const TIMES: usize = 8 * 2 + 3;

/// Who builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    Buildx,
    Docker,
    Wharf,
}

/// A build: by whom, and of which text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Build {
    by: By,
    text: u32,
}

struct World {
    engine: Engine,
    dice: Dice,
    /// A folder for each text, with both Dockerfiles.
    contexts: Vec<TempDir>,
    plugins: PathBuf,
    state: TempDir,
    acknowledged: BTreeSet<Build>,
}

/// Runs the plan, and says what it saw.
///
/// # Errors
/// With the first thing that was lost, is not whole, or is not what it has to be.
pub fn run(plan: &Plan) -> Result<()> {
    let contexts = (0..TEXTS).map(context).collect::<Result<_>>()?;
    let mut world = World {
        engine: Engine::start(EngineKind::Wharf, EngineOptions::default())?,
        dice: Dice::new(plan.seed),
        contexts,
        plugins: fixtures::cli_plugins()?,
        state: tempfile::tempdir()?,
        acknowledged: BTreeSet::new(),
    };
    world.load()?;
    for round in 0..plan.rounds {
        let done = world.round(plan.longest);
        world.explain(done, &format!("round {round} of seed {}", plan.seed))?;
    }
    let (rounds, kept) = (plan.rounds, world.acknowledged.len());
    let ended = world.end();
    world.explain(ended, "the end")?;
    println!("{rounds} deaths in builds, {kept} kinds of builds acknowledged and there");
    Ok(())
}

fn context(text: u32) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    for (name, content) in [
        ("text", format!("{text}\n")),
        ("stages", STAGES.to_owned()),
        ("classic", CLASSIC.to_owned()),
    ] {
        std::fs::write(folder.path().join(name), content)?;
    }
    Ok(folder)
}

impl Build {
    /// Each has a name of its own: whoever was acknowledged has it.
    fn tag(self) -> String {
        format!("{:?}-{}", self.by, self.text).to_lowercase()
    }
}

impl World {
    fn explain<T>(&self, result: Result<T>, when: &str) -> Result<T> {
        result.with_context(|| format!("{when}; the daemon's log:\n{}", self.engine.log()))
    }

    fn load(&self) -> Result<()> {
        let archive = super::busybox()?;
        self.engine.docker_ok(&["load", "-q", "-i", &archive])?;
        Ok(())
    }

    fn round(&mut self, longest: u32) -> Result<()> {
        let mut going = Vec::new();
        for _ in 0..AT_ONCE {
            let build = self.any();
            let mut command = self.command(build);
            // Else all of them would soon be there already.
            if self.dice.below(3) == 0 {
                command.arg("--no-cache");
            }
            let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
            going.push((build, quiet.spawn()?));
        }
        let pause = self.dice.below(longest);
        std::thread::sleep(Duration::from_millis(u64::from(pause)));
        self.engine.kill_9()?;
        for (build, client) in going {
            self.note(build, client)?;
        }
        self.engine.launch()?;
        self.engine.wharf_ok(&["system", "check"])?;
        for build in &self.acknowledged {
            self.engine.wharf_ok(&["image", "inspect", &build.tag()])?;
        }
        let next = self.any();
        self.builds_right(next)
    }

    /// A client whose daemon is gone ends; one that had ended well was told that its image is there.
    fn note(&mut self, build: Build, mut client: Child) -> Result<()> {
        if client.wait()?.success() {
            self.acknowledged.insert(build);
        }
        Ok(())
    }

    fn any(&mut self) -> Build {
        Build {
            by: self.dice.one_of(&[By::Buildx, By::Docker, By::Wharf]),
            text: self.dice.below(TEXTS),
        }
    }

    fn command(&self, build: Build) -> Command {
        let context = self.contexts[build.text as usize].path();
        let (mut command, file) = match build.by {
            By::Buildx => (self.engine.docker(["buildx", "build"]), "stages"),
            By::Docker => (self.engine.docker(["build", "--network=none"]), "classic"),
            By::Wharf => (self.engine.wharf(["build", "--network=none"]), "classic"),
        };
        match build.by {
            By::Buildx => command
                .env("DOCKER_CONFIG", &self.plugins)
                .env("BUILDX_CONFIG", self.state.path()),
            By::Docker | By::Wharf => command.env("DOCKER_BUILDKIT", "0"),
        };
        command.arg("-f").arg(context.join(file));
        command.args(["-t", &build.tag()]).arg(context);
        command
    }

    /// Builds it now, and reads what came of it.
    fn builds_right(&self, build: Build) -> Result<()> {
        let output = self.command(build).output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(output.status.success(), "{build:?}: {said}");
        let tag = build.tag();
        let run = ["run", "--rm", "--network=none", &tag, "cat", "/all"];
        let found = self.engine.wharf_ok(&run)?;
        let wanted = [build.text.to_string().as_str(); TIMES].join("\n");
        ensure!(found == wanted, "{build:?} has {found:?}; it said: {said}");
        Ok(())
    }

    /// All of them once more, and then without what there is in the cache; nothing of the dead is left.
    fn end(&mut self) -> Result<()> {
        for by in [By::Buildx, By::Docker, By::Wharf] {
            for text in 0..TEXTS {
                self.builds_right(Build { by, text })?;
            }
        }
        let root = self.engine.data_root();
        let left = self
            .engine
            .world
            .sh(&format!("ls {}/solver/step", root.display()))?;
        ensure!(left.trim().is_empty(), "folders of steps: {left}");
        let left = self
            .engine
            .world
            .sh("pgrep -af '[s]tep-of-a-build' || true")?;
        ensure!(left.trim().is_empty(), "steps that go on: {left}");
        // Containers of a dead daemon's classic builds can be taken away, and so can all that was cached.
        for prune in [
            &["container", "prune", "-f"][..],
            &["builder", "prune", "-af"],
            &["image", "prune", "-af"],
        ] {
            self.engine.wharf_ok(prune)?;
        }
        let left = self.engine.wharf_ok(&["ps", "-aq"])?;
        ensure!(left.is_empty(), "containers: {left}");
        self.engine.wharf_ok(&["system", "check"])?;
        self.load()?;
        self.builds_right(Build {
            by: By::Buildx,
            text: 0,
        })
    }
}
