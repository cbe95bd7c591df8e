//! Runs the scenarios and says how many pass on each engine.
//!
//!     wharf-conformance [--engine wharf|dockerd|dockerd-26]... [--client docker|wharf]... [--only TEXT]... [--jobs COUNT]
//!
//! Without `--only` all run; with it, those whose name contains one of the texts.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, bail};
use wharf_conformance::{Client, Outcome, SCENARIOS, Scenario};
use wharf_testkit::EngineKind;

const USAGE: &str = "usage: wharf-conformance [--engine wharf|dockerd|dockerd-26]... [--client docker|wharf]... [--only TEXT]... [--jobs COUNT]";

/// What is asked for.
struct Asked {
    engines: Vec<EngineKind>,
    clients: Vec<Client>,
    only: Vec<String>,
    /// How many scenarios run at a time.
    jobs: usize,
}

impl Asked {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut asked = Self {
            engines: Vec::new(),
            clients: Vec::new(),
            only: Vec::new(),
            jobs: 1,
        };
        while let Some(arg) = args.next() {
            match (arg.as_str(), args.next()) {
                ("--engine", Some(name)) => asked.engines.push(engine(&name)?),
                ("--client", Some(name)) if name == "docker" => asked.clients.push(Client::Docker),
                ("--client", Some(name)) if name == "wharf" => asked.clients.push(Client::Wharf),
                ("--only", Some(text)) => asked.only.push(text),
                ("--jobs", Some(count)) => asked.jobs = count.parse().context(USAGE)?,
                _ => bail!(USAGE),
            }
        }
        if asked.clients.is_empty() {
            asked.clients = vec![Client::Docker, Client::Wharf];
        }
        Ok(asked)
    }

    fn wants(&self, scenario: &Scenario) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| scenario.name.contains(text))
    }
}

fn engine(name: &str) -> Result<EngineKind> {
    match name {
        "wharf" => Ok(EngineKind::Wharf),
        "dockerd" => Ok(EngineKind::Dockerd),
        "dockerd-26" => Ok(EngineKind::Dockerd26),
        _ => bail!(USAGE),
    }
}

/// How the runs of one engine ended.
#[derive(Default)]
struct Totals {
    passed: AtomicUsize,
    failed: AtomicUsize,
    skipped: AtomicUsize,
}

impl Totals {
    fn count(&self, scenario: &Scenario, kind: EngineKind, client: Client) {
        let total = match scenario.run(kind, client) {
            Ok(Outcome::Passed) => &self.passed,
            Ok(Outcome::Skipped(reason)) => {
                println!("skip {kind:?} {client:?} {}: {reason}", scenario.name);
                &self.skipped
            }
            Err(error) => {
                println!("FAIL {kind:?} {client:?} {}: {error:#}", scenario.name);
                &self.failed
            }
        };
        total.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether something was tried, and nothing failed.
    fn hold(&self) -> bool {
        self.passed.load(Ordering::Relaxed) > 0 && self.failed.load(Ordering::Relaxed) == 0
    }
}

/// Runs everything that is asked for on one engine.
fn run_all(asked: &Asked, kind: EngineKind) -> Totals {
    let wanted = SCENARIOS.iter().filter(|one| asked.wants(one));
    let runs =
        wanted.flat_map(|scenario| asked.clients.iter().map(move |client| (scenario, *client)));
    let (runs, totals) = (Mutex::new(runs), Totals::default());
    let next = || runs.lock().ok()?.next();
    std::thread::scope(|scope| {
        for _ in 0..asked.jobs.max(1) {
            scope.spawn(|| {
                while let Some((scenario, client)) = next() {
                    totals.count(scenario, kind, client);
                }
            });
        }
    });
    totals
}

fn main() -> Result<()> {
    let asked = Asked::parse(std::env::args().skip(1))?;
    let engines = asked.engines.iter();
    let totals: Vec<_> = engines.map(|&kind| (kind, run_all(&asked, kind))).collect();
    for (
        kind,
        Totals {
            passed,
            failed,
            skipped,
        },
    ) in &totals
    {
        let [passed, failed, skipped] =
            [passed, failed, skipped].map(|one| one.load(Ordering::Relaxed));
        println!("{kind:?}: {passed} passed, {failed} failed, {skipped} skipped");
    }
    if totals.is_empty() {
        bail!("no engine is named\n{USAGE}");
    }
    if !totals.iter().all(|(_, totals)| totals.hold()) {
        bail!("a scenario failed, or none was found");
    }
    Ok(())
}
