//! Deaths by SIGKILL of daemon and registry in the middle of what they do to images: pulls, pushes, loads, imports, removals,
//! collections on both sides. After each death the daemon's store is whole, and every push that was
//! acknowledged can be read, byte for byte.

pub mod builds;

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use wharf_testkit::{Engine, EngineKind, EngineOptions, Registry, fixtures};

use crate::dice::Dice;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How often something dies.
    pub rounds: u32,
    /// Where chance begins: the same seed asks for the same operations.
    pub seed: u64,
    /// The longest that operations are let alone before something dies, in milliseconds. A slow machine needs more, or all of them
    /// die at their beginning.
    pub longest: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            rounds: 500,
            seed: 1,
            longest: 500,
        }
    }
}

const PORT: u16 = 5000;
/// Operations at the same time.
const AT_ONCE: u32 = 3;
/// Repositories and tags that are pushed to.
const NAMES: u32 = 4;

/// An operation under way.
struct Going {
    /// The repository, if it is a push.
    push: Option<String>,
    client: Child,
}

struct World {
    engine: Engine,
    registry: Option<Registry>,
    storage: PathBuf,
    dice: Dice,
    /// `REPOSITORY DIGEST` of each push that was acknowledged.
    acknowledged: BTreeSet<String>,
    imports: u32,
}

/// Runs the plan, and says what it saw.
///
/// # Errors
/// With the first thing that was lost or is not whole.
pub fn run(plan: &Plan) -> Result<()> {
    let engine = Engine::start(EngineKind::Wharf, EngineOptions::default())?;
    let storage = engine.world.path().join("registry");
    // Images to pull that nobody pushed: a copy of what another registry wrote.
    let fixtures = fixtures::folder()?.join("registry");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(fixtures)
        .arg(&storage)
        .status()?;
    ensure!(copied.success(), "copy the registry's folder");
    let mut world = World {
        registry: None,
        engine,
        storage,
        dice: Dice::new(plan.seed),
        acknowledged: BTreeSet::new(),
        imports: 0,
    };
    world.serve()?;
    for round in 0..plan.rounds {
        world.round(plan.longest).with_context(|| {
            format!(
                "round {round} of seed {}; the daemon's log:\n{}",
                plan.seed,
                world.engine.log()
            )
        })?;
    }
    println!(
        "{} deaths, {} pushes acknowledged and there",
        plan.rounds,
        world.acknowledged.len()
    );
    Ok(())
}

impl World {
    fn serve(&mut self) -> Result<()> {
        let registry = Registry::serve_collecting(&self.engine.world, &self.storage, PORT)?;
        self.registry = Some(registry);
        Ok(())
    }

    fn round(&mut self, longest: u32) -> Result<()> {
        let going = (0..AT_ONCE)
            .map(|_| self.begin())
            .collect::<Result<Vec<_>>>()?;
        let pause = Duration::from_millis(u64::from(self.dice.below(longest)));
        std::thread::sleep(pause);
        let (daemon, registry) = self
            .dice
            .one_of(&[(true, false), (false, true), (true, true)]);
        if daemon {
            self.engine.kill_9()?;
        }
        if registry && let Some(registry) = self.registry.take() {
            registry.kill_9(&self.engine.world)?;
            self.serve()?;
        }
        if daemon {
            self.engine.launch()?;
        }
        for one in going {
            self.end(one)?;
        }
        self.engine.wharf_ok(&["system", "check"])?;
        self.all_is_there()
    }

    /// Begins an operation that chance names.
    fn begin(&mut self) -> Result<Going> {
        let name = format!("box{}", self.dice.below(NAMES));
        let image = format!("localhost:{PORT}/{name}:t{}", self.dice.below(NAMES));
        let mut push = None;
        let line = match self.dice.below(8) {
            0 => format!("$W pull -q localhost:{PORT}/library/debian:bookworm"),
            1 => format!("$W pull -q {image}"),
            2 => format!("$W load -q -i {}", busybox()?),
            3 => format!("$W rmi -f {image} localhost:{PORT}/library/debian:bookworm"),
            4 => "$W image prune -f".to_owned(),
            // Made of bytes that no image before had.
            number @ (5 | 6) => {
                self.imports += 1;
                push = Some(name);
                let bytes = 1_000_000 * (number - 4);
                format!(
                    "d=$(mktemp -d) && head -c {bytes} /dev/urandom > $d/f && tar -C $d -cf - f | $W import - {image} && $W push {image}"
                )
            }
            _ => {
                push = Some(name);
                format!("$W push {image}")
            }
        };
        let scratch = self.engine.world.path().join("scratch");
        std::fs::create_dir_all(&scratch)?;
        let wharf = self.engine.wharf([""; 0]);
        let mut command = std::process::Command::new("bash");
        command.args(["-c", &line]).env("W", wharf.get_program());
        for (name, value) in wharf.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let client = command
            .env("TMPDIR", scratch)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Going { push, client })
    }

    /// Ends an operation that has not ended, and remembers a push that was acknowledged.
    fn end(&mut self, mut going: Going) -> Result<()> {
        let ended = going.client.try_wait()?;
        // Its own process group: the commands of a pipe go with their shell.
        let group = format!("-{}", going.client.id());
        let _ = std::process::Command::new("kill")
            .args(["-KILL", "--", &group])
            .stderr(Stdio::null())
            .status()?;
        let output = going.client.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let mut words = said
            .lines()
            .filter_map(|line| line.split_once(": digest: ")?.1.split(' ').next());
        if let (Some(repository), Some(digest)) = (going.push, words.next())
            && ended.is_some_and(|status| status.success())
        {
            self.acknowledged.insert(format!("{repository} {digest}"));
        }
        Ok(())
    }

    /// Reads every acknowledged push back: its manifest, and each blob that this names.
    fn all_is_there(&self) -> Result<()> {
        let list = self.engine.world.path().join("acknowledged");
        let lines: Vec<&str> = self.acknowledged.iter().map(String::as_str).collect();
        std::fs::write(&list, lines.join("\n") + "\n")?;
        let output = self
            .engine
            .world
            .command("python3")
            .args(["-c", include_str!("crash/read_back.py")])
            .args([PORT.to_string().into(), list.into_os_string()])
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "a push is lost: {said}");
        Ok(())
    }
}

fn busybox() -> Result<String> {
    let archive = fixtures::folder()?.join("busybox.tar");
    Ok(archive.display().to_string())
}
