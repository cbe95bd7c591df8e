//! Everything that could be left behind, counted.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use wharf_testkit::Engine;

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Census {
    /// Processes, mounts, interfaces, tables and groups in the world, by name without numbers.
    things: Vec<String>,
    /// Containers, volumes and networks that the daemon knows.
    records: usize,
    /// Files and folders below the data root, but for the database and its journal.
    files: usize,
    /// The daemon's open descriptors.
    descriptors: usize,
    /// The daemon's resident memory, in KiB.
    resident: u64,
}

/// The kernel and the daemon take things down a moment after their last use: a limit for what never goes.
const SETTLE: Duration = Duration::from_secs(30);

impl Census {
    /// Counts until two counts in a row agree.
    pub(super) fn settled(engine: &Engine) -> Result<Self> {
        let limit = Instant::now() + SETTLE;
        let mut last = Self::count(engine)?;
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let count = Self::count(engine)?;
            let busy = count
                .things
                .iter()
                .any(|thing| thing.contains("wharf-shim"));
            if (count.same_things(&last).is_ok() && !busy) || Instant::now() > limit {
                return Ok(count);
            }
            last = count;
        }
    }

    fn count(engine: &Engine) -> Result<Self> {
        let mut things = engine.world.leftovers()?;
        // One is kept ready.
        things.retain(|thing| !thing.contains("wharf-spare"));
        let without_ids = |thing: &String| {
            let name = thing
                .split_once(" (")
                .map_or(thing.as_str(), |(name, _)| name);
            // Namespaces that are kept ready have pairs of any name.
            let pair = name.starts_with("interface veth");
            if pair { "interface veth" } else { name }.to_owned()
        };
        let list = |target: &str, key: &str| -> Result<usize> {
            let json = engine.api("GET", target, None)?.json();
            let json = if key.is_empty() { &json } else { &json[key] };
            Ok(json.as_array().map_or(0, Vec::len))
        };
        let records = list("/containers/json?all=1", "")?
            + list("/volumes", "Volumes")?
            + list("/networks", "")?;
        let root = engine.data_root();
        let find = format!("find {} ! -name '*.db*' | wc -l", root.display());
        let pid = engine.pid()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        Ok(Self {
            things: sorted(things.iter().map(without_ids).collect()),
            records,
            files: engine.world.sh(&find)?.trim().parse()?,
            descriptors: std::fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
            resident: resident.trim().trim_end_matches(" kB").parse()?,
        })
    }

    /// Whether the same things are there.
    pub(super) fn same_things(&self, other: &Self) -> Result<()> {
        let mut known = self.things.clone();
        let mut more = other.things.clone();
        more.retain(|thing| match known.iter().position(|one| one == thing) {
            Some(at) => {
                known.remove(at);
                false
            }
            None => true,
        });
        ensure!(more.is_empty(), "left behind: {more:#?}");
        ensure!(
            self.records == other.records,
            "records: {} and {}",
            self.records,
            other.records
        );
        ensure!(
            self.files >= other.files,
            "files below the data root: {} and {}",
            self.files,
            other.files
        );
        Ok(())
    }

    /// Whether the daemon has not grown.
    pub(super) fn same_weight(&self, other: &Self) -> Result<()> {
        // A few connections and idle threads come and go.
        ensure!(
            other.descriptors <= self.descriptors + 8,
            "descriptors: {} and {}",
            self.descriptors,
            other.descriptors
        );
        ensure!(
            other.resident <= self.resident + self.resident / 10 + 1024,
            "resident: {} and {} KiB",
            self.resident,
            other.resident
        );
        Ok(())
    }
}

fn sorted(mut things: Vec<String>) -> Vec<String> {
    things.sort();
    things
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} things, {} records, {} files, {} descriptors, {} KiB resident",
            self.things.len(),
            self.records,
            self.files,
            self.descriptors,
            self.resident
        )
    }
}
