//! What few ask for, and the kernel takes its time to add up: kept apart from what is sampled every second.

use std::collections::BTreeMap;
use std::path::Path;

use super::{number, table, text};
use crate::{Cgroup, Layout};

/// Further numbers of a group. What a kernel or a hierarchy does not count is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Processor time in the kernel and in programs on each processor, nanoseconds (v1 only).
    pub per_cpu: Vec<(u64, u64)>,
    /// Memory and swap together.
    pub swap: Option<Use>,
    /// The kernel's memory for the group (v1 only).
    pub kernel: Option<Use>,
    /// Of it for TCP (v1 only).
    pub kernel_tcp: Option<Use>,
    /// Processors and memory nodes (v1 only), and the file's other numbers by their names.
    pub cpuset: Option<Cpuset>,
    /// Huge pages, by their size as the kernel names it (`2MB`).
    pub huge_pages: BTreeMap<String, Use>,
    /// Pressure stall information by `cpu`, `memory` and `io`, then `some` and `full` (v2 only).
    pub pressure: BTreeMap<&'static str, BTreeMap<String, Pressure>>,
}

/// A counter of bytes with its limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// `u64::MAX` is none.
    pub limit: u64,
    /// Now.
    pub usage: u64,
    /// The most it was.
    pub most: u64,
    /// How often the limit was met.
    pub failures: u64,
}

/// Where the group may run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpuset {
    /// Processors.
    pub cpus: Vec<u16>,
    /// Memory nodes.
    pub mems: Vec<u16>,
    /// The controller's other files, by their names behind `cpuset.`.
    pub switches: BTreeMap<&'static str, i64>,
}

/// How much time was lost by waiting (kernel, `accounting/psi.rst`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Percent of the last 10, 60 and 300 seconds, as the kernel prints them.
    pub averages: [String; 3],
    /// Microseconds in all.
    pub total: u64,
}

const SWITCHES: &[&str] = &[
    "cpu_exclusive",
    "mem_exclusive",
    "mem_hardwall",
    "memory_migrate",
    "memory_pressure",
    "memory_spread_page",
    "memory_spread_slab",
    "sched_load_balance",
    "sched_relax_domain_level",
];

impl Cgroup {
    /// What [`Cgroup::stats`] leaves out.
    pub fn details(&self) -> Details {
        let mut details = Details::default();
        let unified = matches!(self.layout(), Layout::V2 { .. });
        if let Some(folder) = self.controller("hugetlb") {
            details.huge_pages = huge_pages(&folder, unified);
        }
        if unified {
            let folder = &self.folders()[0].1;
            details.swap = swap_v2(folder);
            for (kind, file) in [
                ("cpu", "cpu.pressure"),
                ("memory", "memory.pressure"),
                ("io", "io.pressure"),
            ] {
                let lines = pressure(&text(folder, file).unwrap_or_default());
                if !lines.is_empty() {
                    details.pressure.insert(kind, lines);
                }
            }
            return details;
        }
        if let Some(folder) = self.controller("memory") {
            details.swap = use_v1(&folder, "memory.memsw.");
            details.kernel = use_v1(&folder, "memory.kmem.");
            details.kernel_tcp = use_v1(&folder, "memory.kmem.tcp.");
        }
        if let Some(folder) = self.controller("cpuacct") {
            let all = text(&folder, "cpuacct.usage_all").unwrap_or_default();
            details.per_cpu = all.lines().skip(1).filter_map(times_of_cpu).collect();
        }
        details.cpuset = self.controller("cpuset").map(|folder| cpuset(&folder));
        details
    }
}

/// `CPU USER SYSTEM`, as the kernel and the programs.
fn times_of_cpu(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_whitespace().skip(1);
    let user = words.next()?.parse().ok()?;
    Some((words.next()?.parse().ok()?, user))
}

fn use_v1(folder: &Path, prefix: &str) -> Option<Use> {
    let number = |name: &str| number(folder, &format!("{prefix}{name}"));
    Some(Use {
        limit: number("limit_in_bytes")?,
        usage: number("usage_in_bytes")?,
        most: number("max_usage_in_bytes").unwrap_or(0),
        failures: number("failcnt").unwrap_or(0),
    })
}

/// v2 counts swap alone; as runc shows it, it is together with memory, as on v1.
fn swap_v2(folder: &Path) -> Option<Use> {
    let memory = number(folder, "memory.current")?;
    let limit = |file| number(folder, file).unwrap_or(u64::MAX);
    let swap = limit("memory.swap.max");
    Some(Use {
        limit: swap.saturating_add(if swap == u64::MAX {
            0
        } else {
            limit("memory.max")
        }),
        usage: number(folder, "memory.swap.current")? + memory,
        most: 0,
        failures: 0,
    })
}

fn huge_pages(folder: &Path, unified: bool) -> BTreeMap<String, Use> {
    let end = if unified {
        ".current"
    } else {
        ".usage_in_bytes"
    };
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let sizes = names.filter_map(|name| {
        let size = name.strip_prefix("hugetlb.")?.strip_suffix(end)?;
        // Pages that are reserved have files of their own.
        (!size.ends_with(".rsvd")).then(|| size.to_owned())
    });
    let of = |size: &str| match unified {
        false => use_v1(folder, &format!("hugetlb.{size}.")),
        true => Some(Use {
            limit: number(folder, &format!("hugetlb.{size}.max")).unwrap_or(u64::MAX),
            usage: number(folder, &format!("hugetlb.{size}.current"))?,
            most: 0,
            failures: super::of(&table(folder, &format!("hugetlb.{size}.events")), "max"),
        }),
    };
    sizes
        .filter_map(|size| Some((size.clone(), of(&size)?)))
        .collect()
}

fn cpuset(folder: &Path) -> Cpuset {
    let list = |file| numbers(&text(folder, file).unwrap_or_default());
    let switch = |name: &&'static str| {
        let said = text(folder, &format!("cpuset.{name}"))?;
        Some((*name, said.trim().parse().ok()?))
    };
    Cpuset {
        cpus: list("cpuset.cpus"),
        mems: list("cpuset.mems"),
        switches: SWITCHES.iter().filter_map(switch).collect(),
    }
}

/// `0-2,7`.
fn numbers(list: &str) -> Vec<u16> {
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` and the same of `full`.
fn pressure(text: &str) -> BTreeMap<String, Pressure> {
    let line = |line: &str| {
        let (kind, rest) = line.split_once(' ')?;
        let mut values = rest
            .split(' ')
            .filter_map(|pair| Some(pair.split_once('=')?.1));
        let mut next = || values.next().map(str::to_owned);
        let averages = [next()?, next()?, next()?];
        let total = next()?.parse().ok()?;
        Some((kind.to_owned(), Pressure { averages, total }))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood() {
        assert_eq!(numbers("0-2,7\n"), [0, 1, 2, 7]);
        assert!(numbers("\n").is_empty());
        assert_eq!(times_of_cpu("1 20 30"), Some((30, 20)));
        let said = pressure("some avg10=1.50 avg60=0.00 avg300=0.25 total=7\n");
        let wanted = Pressure {
            averages: ["1.50", "0.00", "0.25"].map(str::to_owned),
            total: 7,
        };
        assert_eq!(said.get("some"), Some(&wanted));
    }
}
