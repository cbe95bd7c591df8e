//! Many container lives while the daemon is killed with SIGKILL again and again. Each life checks its own container:
//! exit code, log line by line, restart count. At the end the world must be as it was before.

mod census;
mod life;
mod speak;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use wharf_testkit::{Engine, EngineKind, EngineOptions, fixtures};

use crate::dice::Dice;
use census::Census;
use speak::Speaker;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many containers live in all.
    pub lives: u32,
    /// The daemon's time between two deaths, on average.
    pub kill_every: Duration,
    /// Where chance begins: the same seed asks for the same operations.
    pub seed: u64,
    /// How many lives go on at once.
    pub workers: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            lives: 2000,
            kill_every: Duration::from_secs(3),
            seed: 1,
            workers: 6,
        }
    }
}

/// What share of the lives comes after the last kill, to see whether memory and descriptors stay as they are.
const CALM: u32 = 5;

/// Runs the plan, and says what it saw.
///
/// # Errors
/// With everything that was lost, doubled or left.
pub fn run(plan: &Plan) -> Result<()> {
    let mut engine = Engine::start(EngineKind::Wharf, EngineOptions::default())?;
    let archive = fixtures::folder()?.join("busybox.tar");
    engine.docker_ok(&["load", "-q", "-i", &archive.to_string_lossy()])?;
    // The first container makes what stays: the bridge, the table, the folder of all groups.
    engine.docker_ok(&["run", "--rm", "-p", "80", "busybox", "true"])?;
    engine.docker_ok(&["network", "create", "soak"])?;
    let before = Census::settled(&engine)?;

    let calm = plan.lives / CALM;
    let kills = live_through(&mut engine, plan, 0..plan.lives - calm, true)?;
    live_through(
        &mut engine,
        plan,
        plan.lives - calm..plan.lives - calm / 2,
        false,
    )?;
    let warm = Census::settled(&engine)?;
    live_through(&mut engine, plan, plan.lives - calm / 2..plan.lives, false)?;

    let after = Census::settled(&engine)?;
    println!("{} lives, {kills} deaths of the daemon", plan.lives);
    println!("before {before}\nwarm   {warm}\nafter  {after}");
    before.same_things(&after)?;
    warm.same_weight(&after)
}

/// Lives all lives of `numbers`; returns how often the daemon died meanwhile.
fn live_through(
    engine: &mut Engine,
    plan: &Plan,
    numbers: std::ops::Range<u32>,
    killing: bool,
) -> Result<u32> {
    let speaker = Speaker::new(engine.socket());
    let next = AtomicU32::new(numbers.start);
    let faults = Mutex::new(Vec::new());
    let over = AtomicU32::new(0);
    let mut kills = 0;
    std::thread::scope(|scope| -> Result<()> {
        for _ in 0..plan.workers {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        break;
                    }
                    let dice = Dice::new(plan.seed ^ (u64::from(number) << 20));
                    if let Err(error) = life::live(&speaker, number, dice)
                        && let Ok(mut faults) = faults.lock()
                    {
                        println!("life {number}: {error:#}");
                        faults.push(format!("life {number}: {error:#}"));
                    }
                }
                over.fetch_add(1, Ordering::Relaxed);
            });
        }
        let mut dice = Dice::new(plan.seed);
        while over.load(Ordering::Relaxed) < plan.workers {
            let pause = plan
                .kill_every
                .mul_f64(0.5 + f64::from(dice.below(100)) / 100.0);
            let until = Instant::now() + pause;
            while Instant::now() < until && over.load(Ordering::Relaxed) < plan.workers {
                std::thread::sleep(Duration::from_millis(20));
            }
            if killing && over.load(Ordering::Relaxed) < plan.workers {
                engine.kill_9()?;
                engine.launch()?;
                kills += 1;
            }
        }
        Ok(())
    })?;
    let faults = faults.into_inner().unwrap_or_default();
    ensure!(faults.is_empty(), "{} lives went wrong", faults.len());
    Ok(kills)
}
