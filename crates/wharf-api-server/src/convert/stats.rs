//! Samples of what a container uses.

use wharf_api_types as wire;
use wharf_engine::{CgroupStats, InterfaceStats, IoEntry, StatsSample};

/// One document of `stats`: the sample and the one before it.
pub(crate) fn stats(
    sample: &StatsSample,
    before: Option<&StatsSample>,
) -> wire::ContainerStatsResponse {
    let ran = sample.at.is_some();
    let networks = sample.networks.iter();
    wire::ContainerStatsResponse {
        name: format!("/{}", sample.name),
        id: sample.id.clone(),
        os_type: "linux".to_owned(),
        read: super::time(sample.at),
        preread: super::time(before.and_then(|before| before.at)),
        pids_stats: match ran {
            true => pids(&sample.group),
            false => wire::PidsStats::default(),
        },
        blkio_stats: blkio(&sample.group),
        num_procs: 0,
        storage_stats: wire::StorageStats::default(),
        cpu_stats: cpu(sample),
        precpu_stats: before.map(cpu).unwrap_or_default(),
        memory_stats: match ran {
            true => memory(sample),
            false => wire::MemoryStats::default(),
        },
        networks: networks
            .map(|(name, stats)| (name.clone(), network(stats)))
            .collect(),
    }
}

/// Go's omitempty.
fn some(number: u64) -> Option<u64> {
    Some(number).filter(|number| *number != 0)
}

fn pids(group: &CgroupStats) -> wire::PidsStats {
    let no_limit = match group.memory.max_usage {
        // v2 says that there is none with the largest number, v1 does not say it.
        None => Some(u64::MAX),
        Some(_) => None,
    };
    wire::PidsStats {
        current: some(group.pids.current),
        limit: group.pids.limit.or(no_limit),
    }
}

fn blkio(group: &CgroupStats) -> wire::BlkioStats {
    // What the kernel does not count is an empty list with cgroup v1 (which knows the highest use of memory), and null with v2.
    let none = group.memory.max_usage.map(|_| Vec::new());
    let list = |entries: &Option<Vec<IoEntry>>| match entries {
        Some(entries) => Some(entries.iter().map(entry).collect()),
        None => none.clone(),
    };
    let io = &group.io;
    wire::BlkioStats {
        io_service_bytes_recursive: list(&io.service_bytes),
        io_serviced_recursive: list(&io.serviced),
        io_queue_recursive: list(&io.queued),
        io_service_time_recursive: list(&io.service_time),
        io_wait_time_recursive: list(&io.wait_time),
        io_merged_recursive: list(&io.merged),
        io_time_recursive: list(&io.time),
        sectors_recursive: list(&io.sectors),
    }
}

fn entry(entry: &IoEntry) -> wire::BlkioStatEntry {
    wire::BlkioStatEntry {
        major: entry.major,
        minor: entry.minor,
        op: entry.operation.clone(),
        value: entry.value,
    }
}

fn cpu(sample: &StatsSample) -> wire::CpuStats {
    let cpu = &sample.group.cpu;
    wire::CpuStats {
        cpu_usage: wire::CpuUsage {
            total_usage: cpu.total,
            percpu_usage: cpu.per_cpu.clone(),
            usage_in_kernelmode: cpu.kernel,
            usage_in_usermode: cpu.user,
        },
        system_cpu_usage: some(sample.system_cpu),
        online_cpus: Some(sample.online_cpus).filter(|count| *count != 0),
        throttling_data: wire::ThrottlingData {
            periods: cpu.periods,
            throttled_periods: cpu.throttled_periods,
            throttled_time: cpu.throttled_time,
        },
    }
}

fn memory(sample: &StatsSample) -> wire::MemoryStats {
    let memory = &sample.group.memory;
    wire::MemoryStats {
        usage: some(memory.usage),
        max_usage: memory.max_usage.and_then(some),
        stats: memory.stats.clone(),
        failcnt: some(memory.failures),
        limit: some(sample.memory_limit),
        ..wire::MemoryStats::default()
    }
}

fn network(stats: &InterfaceStats) -> wire::NetworkStats {
    wire::NetworkStats {
        rx_bytes: stats.rx_bytes,
        rx_packets: stats.rx_packets,
        rx_errors: stats.rx_errors,
        rx_dropped: stats.rx_dropped,
        tx_bytes: stats.tx_bytes,
        tx_packets: stats.tx_packets,
        tx_errors: stats.tx_errors,
        tx_dropped: stats.tx_dropped,
        ..wire::NetworkStats::default()
    }
}
