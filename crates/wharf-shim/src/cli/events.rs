//! `events`.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wharf_cgroups::{Cgroup, Cpuset, Details, IoEntry, MemoryStats, Pressure, Stats, Use};
use wharf_sys::words::chain;

use super::Outcome;
use super::container::Container;
use super::flags::{Command, Said, Takes, span};
use super::global::Global;

pub(crate) const EVENTS: Command = Command {
    name: "events",
    about: "display container events such as OOM notifications, cpu, memory, and IO usage statistics",
    usage: "[command options] <container-id>",
    words: (1, Some(1)),
    flags: &[
        (
            "interval",
            "",
            Takes::Span,
            "set the stats collection interval (default: 5s)",
        ),
        (
            "stats",
            "",
            Takes::Nothing,
            "display the container's stats then exit",
        ),
    ],
    stops: false,
};

/// How often the end and the kernel's kills are looked for.
const GLANCE: Duration = Duration::from_millis(100);

/// Prints statistics once, or until the container ends, and each kill for lack of memory.
pub(crate) fn events(global: &Global, said: &Said) -> Outcome {
    let container = Container::load(global, said)?;
    let seconds = span(said.value("interval").unwrap_or("5s")).unwrap_or(0.0);
    let interval = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    if interval.is_zero() {
        return Err("duration interval must be greater than 0".to_owned());
    }
    if !container.status().lives() {
        return Err(format!("container with id {} is not running", container.id));
    }
    let cgroup = container.needs_cgroup()?;
    if said.has("stats") {
        return print(&container, "stats", statistics(&cgroup)?).map(|()| 0);
    }
    let mut next = Instant::now() + interval;
    let mut kills = cgroup.oom_kills();
    while container.status().lives() {
        std::thread::sleep(GLANCE.min(next.saturating_duration_since(Instant::now())));
        let now = cgroup.oom_kills();
        for _ in kills..now {
            print(&container, "oom", Value::Null)?;
        }
        kills = now;
        if Instant::now() >= next {
            next += interval;
            // It may end at this moment.
            if let Ok(data) = statistics(&cgroup) {
                print(&container, "stats", data)?;
            }
        }
    }
    Ok(0)
}

fn print(container: &Container, kind: &str, data: Value) -> Result<(), String> {
    let mut event = json!({ "type": kind, "id": container.id });
    if !data.is_null() {
        event["data"] = data;
    }
    let mut out = std::io::stdout();
    writeln!(out, "{event}")
        .and_then(|()| out.flush())
        .map_err(|error| error.to_string())
}

fn statistics(cgroup: &Cgroup) -> Result<Value, String> {
    let Stats {
        cpu,
        memory,
        io,
        pids,
    } = cgroup.stats().map_err(|error| chain(&error))?;
    let mut usage = json!({ "total": cpu.total, "kernel": cpu.kernel, "user": cpu.user });
    if !cpu.per_cpu.is_empty() {
        usage["percpu"] = json!(cpu.per_cpu);
    }
    let mut throttling = json!({});
    for (key, number) in [
        ("periods", cpu.periods),
        ("throttledPeriods", cpu.throttled_periods),
        ("throttledTime", cpu.throttled_time),
    ] {
        if number > 0 {
            throttling[key] = number.into();
        }
    }
    let mut shown_pids = json!({ "current": pids.current });
    if let Some(limit) = pids.limit {
        shown_pids["limit"] = limit.into();
    }
    let mut blkio = json!({});
    for (key, entries) in [
        ("ioServiceBytesRecursive", &io.service_bytes),
        ("ioServicedRecursive", &io.serviced),
        ("ioQueueRecursive", &io.queued),
        ("ioServiceTimeRecursive", &io.service_time),
        ("ioWaitTimeRecursive", &io.wait_time),
        ("ioMergedRecursive", &io.merged),
        ("ioTimeRecursive", &io.time),
        ("sectorsRecursive", &io.sectors),
    ] {
        if let Some(entries) = entries.as_ref().filter(|entries| !entries.is_empty()) {
            blkio[key] = entries.iter().map(entry).collect();
        }
    }
    let mut all = json!({
        "cpu": { "usage": usage, "throttling": throttling },
        "cpuset": {},
        "memory": memory_of(&memory),
        "pids": shown_pids,
        "blkio": blkio,
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": null,
    });
    add_details(&mut all, &cgroup.details());
    Ok(all)
}

fn add_details(all: &mut Value, details: &Details) {
    if !details.per_cpu.is_empty() {
        let (kernel, user): (Vec<u64>, Vec<u64>) = details.per_cpu.iter().copied().unzip();
        all["cpu"]["usage"]["percpu_kernel"] = json!(kernel);
        all["cpu"]["usage"]["percpu_user"] = json!(user);
    }
    for (key, counter) in [
        ("swap", &details.swap),
        ("kernel", &details.kernel),
        ("kernelTCP", &details.kernel_tcp),
    ] {
        if let Some(counter) = counter {
            all["memory"][key] = use_of(counter);
        }
    }
    if let Some(cpuset) = &details.cpuset {
        all["cpuset"] = cpuset_of(cpuset);
    }
    for (size, counter) in &details.huge_pages {
        let mut shown = use_of(counter);
        shown.as_object_mut().map(|shown| shown.remove("limit"));
        all["hugetlb"][size] = shown;
    }
    for (kind, lines) in &details.pressure {
        let group = if *kind == "io" { "blkio" } else { kind };
        let shown = lines
            .iter()
            .map(|(key, line)| (key.clone(), pressure_of(line)));
        all[group]["psi"] = shown.collect();
    }
}

fn use_of(counter: &Use) -> Value {
    let mut shown = json!({ "limit": counter.limit, "failcnt": counter.failures });
    for (key, bytes) in [("usage", counter.usage), ("max", counter.most)] {
        if bytes > 0 {
            shown[key] = bytes.into();
        }
    }
    shown
}

fn cpuset_of(cpuset: &Cpuset) -> Value {
    let mut shown = json!(cpuset.switches);
    for (key, list) in [("cpus", &cpuset.cpus), ("mems", &cpuset.mems)] {
        if !list.is_empty() {
            shown[key] = json!(list);
        }
    }
    shown
}

fn pressure_of(line: &Pressure) -> Value {
    let [ten, minute, five] = line.averages.each_ref().map(|text| {
        let number: f64 = text.parse().unwrap_or_default();
        number
    });
    json!({ "avg10": ten, "avg60": minute, "avg300": five, "total": line.total })
}

fn memory_of(memory: &MemoryStats) -> Value {
    let mut usage = json!({ "limit": memory.limit, "failcnt": memory.failures });
    if memory.usage > 0 {
        usage["usage"] = memory.usage.into();
    }
    if let Some(most) = memory.max_usage {
        usage["max"] = most.into();
    }
    let cache = memory.stats.get("cache").or(memory.stats.get("file"));
    let mut shown = json!({ "usage": usage, "raw": memory.stats });
    if let Some(cache) = cache.filter(|bytes| **bytes > 0) {
        shown["cache"] = (*cache).into();
    }
    shown
}

fn entry(entry: &IoEntry) -> Value {
    let mut shown = json!({ "value": entry.value, "major": entry.major, "minor": entry.minor });
    if !entry.operation.is_empty() {
        shown["op"] = entry.operation.clone().into();
    }
    shown
}
