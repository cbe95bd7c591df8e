//! `stats`: what a container uses, once or every second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Interval, MissedTickBehavior};
use wharf_cgroups::{Cgroup, Stats};

use super::{Containers, Entry, Shared};
use crate::{EngineError, NetworkMode, Status, View};

/// How far apart the samples of a stream are (moby `daemon/stats`).
const PACE: Duration = Duration::from_secs(1);

/// Nanoseconds in a tick of `/proc/stat` (`USER_HZ` is 100).
const TICK: u64 = 10_000_000;

/// What a container had used at one moment. All is empty if it did not run then.
#[derive(Clone, Debug, Default)]
pub struct StatsSample {
    /// Full id.
    pub id: String,
    /// Name without slash.
    pub name: String,
    /// When; `None` if it did not run.
    pub at: Option<Timestamp>,
    /// What its control group counts.
    pub group: Stats,
    /// The limit of its memory, at most what the machine has; bytes.
    pub memory_limit: u64,
    /// Processor time of the whole machine, idle time included; nanoseconds.
    pub system_cpu: u64,
    /// How many processors work.
    pub online_cpus: u32,
    /// Counters of its interfaces, by name; loopback is not among them.
    pub networks: BTreeMap<String, InterfaceStats>,
}

/// Counters of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceStats {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Faulty packets received.
    pub rx_errors: u64,
    /// Packets dropped on the way in.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets dropped on the way out.
    pub tx_dropped: u64,
}

/// Samples of one container, one a second, until it is removed.
pub struct StatsStream {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    pace: Interval,
}

impl Containers {
    /// One sample, taken now.
    ///
    /// # Errors
    /// If there is no such container, or it cannot be looked at.
    pub async fn stats_once(&self, container: &str) -> Result<StatsSample, EngineError> {
        let entry = self.find(container)?;
        sample(&self.shared, &entry).await
    }

    /// Samples, the first at once.
    ///
    /// # Errors
    /// If there is no such container.
    pub fn stats(&self, container: &str) -> Result<StatsStream, EngineError> {
        let entry = self.find(container)?;
        let mut pace = tokio::time::interval(PACE);
        // Who reads slowly gets no burst of samples that were all taken now.
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shared = self.shared.clone();
        Ok(StatsStream {
            shared,
            entry,
            pace,
        })
    }
}

impl StatsStream {
    /// Whether the container runs, so that samples are worth waiting for.
    pub fn is_running(&self) -> bool {
        runs(&self.entry.now())
    }

    /// The container's name and id alone, as of one that does not run.
    pub fn empty(&self) -> StatsSample {
        empty(&self.entry.now())
    }

    /// The next sample; `None` once the container is gone.
    pub async fn next(&mut self) -> Option<Result<StatsSample, EngineError>> {
        let mut view = self.entry.view.clone();
        tokio::select! {
            // Its supervisor ends with it.
            _ = view.wait_for(|view| view.removed) => return None,
            _ = self.pace.tick() => {}
        }
        Some(sample(&self.shared, &self.entry).await)
    }
}

fn runs(view: &View) -> bool {
    view.state.running && view.state.status != Status::Restarting
}

fn empty(view: &View) -> StatsSample {
    StatsSample {
        id: view.id.clone(),
        name: view.name.clone(),
        ..StatsSample::default()
    }
}

async fn sample(shared: &Arc<Shared>, entry: &Entry) -> Result<StatsSample, EngineError> {
    let view = entry.now();
    if !runs(&view) {
        return Ok(empty(&view));
    }
    let Some(name) = shared.tasks.cgroup(&view.id) else {
        return Ok(empty(&view));
    };
    let pid = view.state.pid;
    let on_host = view.host.network_mode == NetworkMode::Host;
    // The kernel adds its counters up while the files are read: that can take a while.
    let read = tokio::task::spawn_blocking(move || {
        let group = Cgroup::open(&name).and_then(|group| group.stats())?;
        let networks = match on_host {
            true => BTreeMap::new(),
            false => interfaces(pid),
        };
        Ok::<_, wharf_cgroups::CgroupError>((group, networks, machine()))
    });
    let read = read.await.map_err(|error| EngineError::failed(&error))?;
    let (group, networks, (system_cpu, online_cpus, memory)) = match read {
        Ok(read) => read,
        // It has ended a moment ago.
        Err(_) if !runs(&entry.now()) || !exists(pid) => return Ok(empty(&view)),
        Err(error) => return Err(EngineError::failed(&error)),
    };
    Ok(StatsSample {
        at: Some(Timestamp::now()),
        memory_limit: group.memory.limit.min(memory),
        group,
        system_cpu,
        online_cpus,
        networks,
        ..empty(&view)
    })
}

fn exists(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// Processor time of the machine, the number of its processors, its memory.
fn machine() -> (u64, u32, u64) {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let (time, cpus) = processors(&text);
    let info = rustix::system::sysinfo();
    (time, cpus, info.totalram * u64::from(info.mem_unit))
}

/// moby `readSystemCPUUsage`: the first seven numbers, those of guests being in them already.
fn processors(text: &str) -> (u64, u32) {
    let mut cpus = 0;
    let mut ticks = 0;
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("cpu") else {
            break;
        };
        match rest.strip_prefix(' ') {
            Some(numbers) => {
                let numbers = numbers.split_whitespace().take(7);
                ticks = numbers.filter_map(|one| one.parse::<u64>().ok()).sum();
            }
            None => cpus += 1,
        }
    }
    (ticks.saturating_mul(TICK), cpus)
}

fn interfaces(pid: u32) -> BTreeMap<String, InterfaceStats> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    // Two lines of headers.
    let interfaces = text.lines().skip(2).filter_map(interface);
    interfaces.filter(|(name, _)| name != "lo").collect()
}

/// A line of `/proc/net/dev` (proc_net(5)).
fn interface(line: &str) -> Option<(String, InterfaceStats)> {
    let (name, numbers) = line.split_once(':')?;
    let numbers: Vec<u64> = numbers
        .split_whitespace()
        .filter_map(|one| one.parse().ok())
        .collect();
    let at = |index: usize| numbers.get(index).copied();
    let stats = InterfaceStats {
        rx_bytes: at(0)?,
        rx_packets: at(1)?,
        rx_errors: at(2)?,
        rx_dropped: at(3)?,
        tx_bytes: at(8)?,
        tx_packets: at(9)?,
        tx_errors: at(10)?,
        tx_dropped: at(11)?,
    };
    Some((name.trim().to_owned(), stats))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_interface() {
        let line = "  eth0:    1446      19    1    2    0     0          0         0      84       1    3    4    0     0       0          0";
        let (name, stats) = interface(line).unwrap();
        assert_eq!(name, "eth0");
        assert_eq!(
            (
                stats.rx_bytes,
                stats.rx_packets,
                stats.rx_errors,
                stats.rx_dropped
            ),
            (1446, 19, 1, 2)
        );
        assert_eq!(
            (
                stats.tx_bytes,
                stats.tx_packets,
                stats.tx_errors,
                stats.tx_dropped
            ),
            (84, 1, 3, 4)
        );
        assert_eq!(interface("no interface"), None);
    }

    #[test]
    fn adds_processor_time_without_guests() {
        let text = "cpu  1 2 3 4 5 6 7 8 100 100\ncpu0 1 1 1\ncpu1 0 1 2\nintr 5\n";
        assert_eq!(processors(text), (28 * TICK, 2));
    }
}
