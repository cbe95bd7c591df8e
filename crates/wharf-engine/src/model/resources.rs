//! Limits and devices.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Limits and devices; 0, empty or `None` sets nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Relative CPU weight (v1 scale, 2 to 262144).
    pub cpu_shares: i64,
    /// CPU in billionths.
    pub nano_cpus: i64,
    /// CFS period, microseconds.
    pub cpu_period: i64,
    /// CFS quota, microseconds.
    pub cpu_quota: i64,
    /// Real-time period, microseconds.
    pub cpu_realtime_period: i64,
    /// Real-time runtime, microseconds.
    pub cpu_realtime_runtime: i64,
    /// CPUs, `0-2,4`.
    pub cpuset_cpus: String,
    /// Memory nodes.
    pub cpuset_mems: String,
    /// Memory limit, bytes.
    pub memory: i64,
    /// Soft limit, bytes.
    pub memory_reservation: i64,
    /// Memory and swap together, bytes; −1 without limit.
    pub memory_swap: i64,
    /// 0 to 100; −1 or `None` the kernel's.
    pub memory_swappiness: Option<i64>,
    /// Whether the OOM killer is off (v1).
    pub oom_kill_disable: Option<bool>,
    /// Number of processes; −1 or 0 without limit.
    pub pids_limit: Option<i64>,
    /// Parent control group.
    pub cgroup_parent: String,
    /// Block I/O weight, 10 to 1000.
    pub blkio_weight: u16,
    /// Weights per device.
    pub blkio_weight_device: Vec<WeightDevice>,
    /// Bytes per second read.
    pub blkio_device_read_bps: Vec<Throttle>,
    /// Bytes per second written.
    pub blkio_device_write_bps: Vec<Throttle>,
    /// Reads per second.
    pub blkio_device_read_iops: Vec<Throttle>,
    /// Writes per second.
    pub blkio_device_write_iops: Vec<Throttle>,
    /// Devices of the host.
    pub devices: Vec<DeviceMapping>,
    /// Device rules, `c 1:3 rwm`.
    pub device_cgroup_rules: Vec<String>,
    /// Requests to device drivers (GPUs).
    pub device_requests: Vec<DeviceRequest>,
    /// Process limits.
    pub ulimits: Vec<Ulimit>,
    /// Kernel memory, bytes: no kernel limits it any more, so it is discarded with a warning.
    #[serde(skip)]
    pub kernel_memory: i64,
    /// Windows' share of the processors: discarded with a warning.
    #[serde(skip)]
    pub cpu_percent: i64,
    /// Windows' limit of block I/O, bytes per second: refused.
    #[serde(skip)]
    pub io_maximum_bandwidth: u64,
    /// Windows' limit of block I/O, operations per second: refused.
    #[serde(skip)]
    pub io_maximum_iops: u64,
}

/// A block I/O weight of one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightDevice {
    /// The device's path.
    pub path: String,
    /// The weight.
    pub weight: u16,
}

/// A rate limit of one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throttle {
    /// The device's path.
    pub path: String,
    /// Per second.
    pub rate: u64,
}

/// A host device in a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceMapping {
    /// On the host.
    pub host: String,
    /// In the container.
    pub container: String,
    /// `rwm` or a part of it.
    pub permissions: String,
}

/// A request to a device driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceRequest {
    /// The driver.
    pub driver: String,
    /// How many; −1 all.
    pub count: i64,
    /// Which.
    pub device_ids: Vec<String>,
    /// Needed capabilities: any of these lists, each wanted whole.
    pub capabilities: Vec<Vec<String>>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
}

/// A process limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile` and so on.
    pub name: String,
    /// Soft limit; −1 without.
    pub soft: i64,
    /// Hard limit; −1 without.
    pub hard: i64,
}
