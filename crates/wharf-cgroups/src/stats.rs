//! What a group has used.

mod details;

use std::collections::BTreeMap;
use std::path::Path;

use crate::{Cgroup, CgroupError, Layout};

pub use details::{Cpuset, Details, Pressure, Use};

/// Nanoseconds in a tick of `cpuacct.stat`: `USER_HZ` is 100 on all machines that Linux shows it to (x86, arm64).
const TICK: u64 = 10_000_000;

/// What a group and those below it have used since it was made. What a kernel or a hierarchy does not count is
/// `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processor time.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Block devices.
    pub io: IoStats,
    /// Processes and threads.
    pub pids: PidStats,
}

/// Processor time, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// All.
    pub total: u64,
    /// Of it on each processor (v1 only).
    pub per_cpu: Vec<u64>,
    /// Of it in the kernel.
    pub kernel: u64,
    /// Of it in programs.
    pub user: u64,
    /// How many periods of the quota have passed.
    pub periods: u64,
    /// Of these, how many had no time left at their end.
    pub throttled_periods: u64,
    /// How long was waited for the next period.
    pub throttled_time: u64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// In use, caches included.
    pub usage: u64,
    /// The most that was in use (v1 only).
    pub max_usage: Option<u64>,
    /// How often the limit was met (v1), or met in vain (v2's event `oom`).
    pub failures: u64,
    /// The limit; `u64::MAX` and numbers near it are none.
    pub limit: u64,
    /// `memory.stat`, as the kernel names it.
    pub stats: BTreeMap<String, u64>,
}

/// A number of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoEntry {
    /// The device.
    pub major: u64,
    /// The device.
    pub minor: u64,
    /// `Read`, `Write` and so on (v1), `read` and `write` (v2), or empty.
    pub operation: String,
    /// Bytes, requests, sectors or nanoseconds.
    pub value: u64,
}

/// Block devices. v2 counts bytes only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IoStats {
    /// Bytes.
    pub service_bytes: Option<Vec<IoEntry>>,
    /// Requests.
    pub serviced: Option<Vec<IoEntry>>,
    /// Requests that wait.
    pub queued: Option<Vec<IoEntry>>,
    /// Nanoseconds from dispatch to completion.
    pub service_time: Option<Vec<IoEntry>>,
    /// Nanoseconds in queues.
    pub wait_time: Option<Vec<IoEntry>>,
    /// Requests that were merged.
    pub merged: Option<Vec<IoEntry>>,
    /// Milliseconds of the device's time.
    pub time: Option<Vec<IoEntry>>,
    /// Sectors.
    pub sectors: Option<Vec<IoEntry>>,
}

/// Processes and threads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PidStats {
    /// How many there are.
    pub current: u64,
    /// How many there may be; `None` without limit.
    pub limit: Option<u64>,
}

impl Cgroup {
    /// What the group has used.
    ///
    /// # Errors
    /// If there is no such group (any more).
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        let folder = &self.folders()[0].1;
        let metadata = std::fs::metadata(folder);
        metadata.map_err(CgroupError::file("read", folder))?;
        Ok(match self.layout() {
            Layout::V2 { .. } => v2(folder),
            Layout::V1 { .. } => Stats {
                cpu: self.read(&["cpu", "cpuacct"], cpu_v1),
                memory: self.read(&["memory"], memory_v1),
                io: self.read(&["blkio"], io_v1),
                pids: self.read(&["pids"], pids),
            },
        })
    }

    fn read<T: Default>(&self, controllers: &[&str], read: impl Fn(&[&Path]) -> T) -> T {
        let folders = controllers.iter().filter_map(|name| self.controller(name));
        let folders: Vec<_> = folders.collect();
        match folders.is_empty() {
            true => T::default(),
            false => read(&folders.iter().map(AsRef::as_ref).collect::<Vec<_>>()),
        }
    }
}

fn text(folder: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(folder.join(file)).ok()
}

/// A file of one number; `max` is none.
fn number(folder: &Path, file: &str) -> Option<u64> {
    text(folder, file)?.trim().parse().ok()
}

/// A file of `key number` lines.
fn table(folder: &Path, file: &str) -> BTreeMap<String, u64> {
    let text = text(folder, file).unwrap_or_default();
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

fn of(table: &BTreeMap<String, u64>, key: &str) -> u64 {
    table.get(key).copied().unwrap_or_default()
}

fn pids(folders: &[&Path]) -> PidStats {
    PidStats {
        current: number(folders[0], "pids.current").unwrap_or_default(),
        limit: number(folders[0], "pids.max"),
    }
}

fn cpu_v1(folders: &[&Path]) -> CpuStats {
    // Both controllers lie in one folder on most hosts, in two on some.
    let find = |file: &str| folders.iter().find(|folder| folder.join(file).exists());
    let accounts = find("cpuacct.usage").copied().unwrap_or(folders[0]);
    let bandwidth = find("cpu.stat").map(|folder| table(folder, "cpu.stat"));
    let bandwidth = bandwidth.unwrap_or_default();
    let per_cpu = text(accounts, "cpuacct.usage_percpu").unwrap_or_default();
    let ticks = table(accounts, "cpuacct.stat");
    CpuStats {
        total: number(accounts, "cpuacct.usage").unwrap_or_default(),
        per_cpu: per_cpu
            .split_whitespace()
            .filter_map(|one| one.parse().ok())
            .collect(),
        kernel: of(&ticks, "system").saturating_mul(TICK),
        user: of(&ticks, "user").saturating_mul(TICK),
        periods: of(&bandwidth, "nr_periods"),
        throttled_periods: of(&bandwidth, "nr_throttled"),
        throttled_time: of(&bandwidth, "throttled_time"),
    }
}

fn memory_v1(folders: &[&Path]) -> MemoryStats {
    let folder = folders[0];
    MemoryStats {
        usage: number(folder, "memory.usage_in_bytes").unwrap_or_default(),
        max_usage: number(folder, "memory.max_usage_in_bytes"),
        failures: number(folder, "memory.failcnt").unwrap_or_default(),
        limit: number(folder, "memory.limit_in_bytes").unwrap_or(u64::MAX),
        stats: table(folder, "memory.stat"),
    }
}

fn io_v1(folders: &[&Path]) -> IoStats {
    // Which of these there are depends on the scheduler: CFQ's, BFQ's, and those of the throttle for all others.
    let read = |name: &str| {
        let files = [
            format!("blkio.{name}_recursive"),
            format!("blkio.bfq.{name}_recursive"),
            format!("blkio.throttle.{name}_recursive"),
            format!("blkio.throttle.{name}"),
        ];
        let text = files.iter().find_map(|file| text(folders[0], file));
        text.map(|text| text.lines().filter_map(io_entry).collect::<Vec<_>>())
    };
    IoStats {
        service_bytes: read("io_service_bytes"),
        serviced: read("io_serviced"),
        queued: read("io_queued"),
        service_time: read("io_service_time"),
        wait_time: read("io_wait_time"),
        merged: read("io_merged"),
        time: read("time"),
        sectors: read("sectors"),
    }
}

/// `8:0 Read 4096`, `8:0 4096`; the line `Total` is of no device.
fn io_entry(line: &str) -> Option<IoEntry> {
    let mut words = line.split_whitespace();
    let (major, minor) = words.next()?.split_once(':')?;
    let (operation, value) = match (words.next()?, words.next()) {
        (operation, Some(value)) => (operation, value),
        (value, None) => ("", value),
    };
    Some(IoEntry {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        operation: operation.to_owned(),
        value: value.parse().ok()?,
    })
}

fn v2(folder: &Path) -> Stats {
    let cpu = table(folder, "cpu.stat");
    let time = |key: &str| of(&cpu, key).saturating_mul(1000);
    let mut service_bytes = Vec::new();
    for line in text(folder, "io.stat").unwrap_or_default().lines() {
        service_bytes.extend(io_entries_v2(line).into_iter().flatten());
    }
    Stats {
        cpu: CpuStats {
            total: time("usage_usec"),
            per_cpu: Vec::new(),
            kernel: time("system_usec"),
            user: time("user_usec"),
            periods: of(&cpu, "nr_periods"),
            throttled_periods: of(&cpu, "nr_throttled"),
            throttled_time: time("throttled_usec"),
        },
        memory: MemoryStats {
            usage: number(folder, "memory.current").unwrap_or_default(),
            max_usage: None,
            failures: of(&table(folder, "memory.events"), "oom"),
            limit: number(folder, "memory.max").unwrap_or(u64::MAX),
            stats: table(folder, "memory.stat"),
        },
        io: IoStats {
            service_bytes: Some(service_bytes),
            ..IoStats::default()
        },
        pids: pids(&[folder]),
    }
}

/// `8:0 rbytes=1 wbytes=2 rios=…`: what is read and what is written.
fn io_entries_v2(line: &str) -> Option<[IoEntry; 2]> {
    let (device, rest) = line.split_once(' ')?;
    let (major, minor) = device.split_once(':')?;
    let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
    let entry = |key: &str, operation: &str| {
        let word = rest
            .split_whitespace()
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        IoEntry {
            major,
            minor,
            operation: operation.to_owned(),
            value: word.and_then(|word| word.parse().ok()).unwrap_or_default(),
        }
    };
    Some([entry("rbytes", "read"), entry("wbytes", "write")])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> std::path::PathBuf {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("wharf-cgroups-stats-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn reads_v2() {
        let folder = folder(&[
            (
                "cpu.stat",
                "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 4\nnr_throttled 1\nthrottled_usec 9\n",
            ),
            ("memory.current", "4096\n"),
            ("memory.max", "max\n"),
            ("memory.stat", "anon 10\nfile 20\ninactive_file 7\n"),
            ("memory.events", "low 0\noom 2\noom_kill 1\n"),
            (
                "io.stat",
                "8:0 rbytes=100 wbytes=200 rios=1 wios=2 dbytes=0 dios=0\n254:16 \n",
            ),
            ("pids.current", "3\n"),
            ("pids.max", "50\n"),
        ]);
        let stats = v2(&folder);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(
            (stats.cpu.total, stats.cpu.kernel, stats.cpu.user),
            (5000, 2000, 3000)
        );
        assert_eq!(
            (stats.cpu.throttled_periods, stats.cpu.throttled_time),
            (1, 9000)
        );
        assert_eq!(
            (
                stats.memory.usage,
                stats.memory.limit,
                stats.memory.failures
            ),
            (4096, u64::MAX, 2)
        );
        assert_eq!(stats.memory.stats["inactive_file"], 7);
        assert_eq!(
            stats.pids,
            PidStats {
                current: 3,
                limit: Some(50)
            }
        );
        let io: Vec<_> = stats.io.service_bytes.unwrap();
        let io: Vec<_> = io
            .iter()
            .map(|one| (one.major, one.operation.as_str(), one.value))
            .collect();
        assert_eq!(
            io,
            [
                (8, "read", 100),
                (8, "write", 200),
                (254, "read", 0),
                (254, "write", 0)
            ]
        );
        assert_eq!(stats.io.serviced, None);
    }

    #[test]
    fn reads_v1() {
        let folder = folder(&[
            ("cpuacct.usage", "77\n"),
            ("cpuacct.usage_percpu", "70 7 \n"),
            ("cpuacct.stat", "user 2\nsystem 3\n"),
            ("memory.usage_in_bytes", "4096\n"),
            ("memory.max_usage_in_bytes", "8192\n"),
            ("memory.failcnt", "6\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            (
                "blkio.throttle.io_service_bytes",
                "8:0 Read 1\n8:0 Write 2\n8:0 Total 3\nTotal 3\n",
            ),
        ]);
        let cpu = cpu_v1(&[&folder]);
        let memory = memory_v1(&[&folder]);
        let io = io_v1(&[&folder]);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(
            (cpu.total, cpu.per_cpu.as_slice(), cpu.user),
            (77, &[70, 7][..], 20_000_000)
        );
        assert_eq!((memory.max_usage, memory.failures), (Some(8192), 6));
        let bytes = io.service_bytes.unwrap();
        assert_eq!(
            (bytes.len(), bytes[1].operation.as_str(), bytes[1].value),
            (3, "Write", 2)
        );
        assert_eq!(io.sectors, None);
    }
}
