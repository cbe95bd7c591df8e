//! The half of a container's configuration that belongs to the host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{StrSlice, is_default, or_default};

/// Docker's `Resources`, which stand in `HostConfig` and in the body of `update`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "container.Resources", rename_all = "PascalCase", default)]
pub struct Resources {
    #[serde(deserialize_with = "or_default")]
    pub cpu_shares: i64,
    #[serde(deserialize_with = "or_default")]
    pub memory: i64,
    #[serde(rename = "NanoCpus", deserialize_with = "or_default")]
    pub nano_cpus: i64,
    #[serde(deserialize_with = "or_default")]
    pub cgroup_parent: String,
    #[serde(deserialize_with = "or_default")]
    pub blkio_weight: u16,
    pub blkio_weight_device: Option<Vec<WeightDevice>>,
    pub blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
    pub blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
    #[serde(deserialize_with = "or_default")]
    pub cpu_period: i64,
    #[serde(deserialize_with = "or_default")]
    pub cpu_quota: i64,
    #[serde(deserialize_with = "or_default")]
    pub cpu_realtime_period: i64,
    #[serde(deserialize_with = "or_default")]
    pub cpu_realtime_runtime: i64,
    #[serde(deserialize_with = "or_default")]
    pub cpuset_cpus: String,
    #[serde(deserialize_with = "or_default")]
    pub cpuset_mems: String,
    pub devices: Option<Vec<DeviceMapping>>,
    pub device_cgroup_rules: Option<Vec<String>>,
    pub device_requests: Option<Vec<DeviceRequest>>,
    #[serde(deserialize_with = "or_default")]
    pub memory_reservation: i64,
    #[serde(deserialize_with = "or_default")]
    pub memory_swap: i64,
    pub memory_swappiness: Option<i64>,
    pub oom_kill_disable: Option<bool>,
    pub pids_limit: Option<i64>,
    pub ulimits: Option<Vec<Ulimit>>,
    #[serde(deserialize_with = "or_default")]
    pub cpu_count: i64,
    #[serde(deserialize_with = "or_default")]
    pub cpu_percent: i64,
    #[serde(rename = "IOMaximumIOps", deserialize_with = "or_default")]
    pub io_maximum_iops: u64,
    #[serde(rename = "IOMaximumBandwidth", deserialize_with = "or_default")]
    pub io_maximum_bandwidth: u64,
    /// Gone since 1.42; older clients may say it.
    #[serde(deserialize_with = "or_default", skip_serializing)]
    pub kernel_memory: i64,
}

/// The body of `POST /containers/{id}/update`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "container.UpdateConfig", remote = "Self", default)]
pub struct ContainerUpdateRequest {
    #[serde(flatten, skip_deserializing)]
    pub resources: Resources,
    #[serde(rename = "RestartPolicy")]
    pub restart_policy: Option<RestartPolicy>,
}

with_embedded!(ContainerUpdateRequest "container.UpdateConfig", resources "Resources");

/// Docker's `HostConfig`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(
    rename = "container.HostConfig",
    remote = "Self",
    rename_all = "PascalCase",
    default
)]
pub struct HostConfig {
    pub binds: Option<Vec<String>>,
    #[serde(rename = "ContainerIDFile", deserialize_with = "or_default")]
    pub container_id_file: String,
    #[serde(deserialize_with = "or_default")]
    pub log_config: LogConfig,
    #[serde(deserialize_with = "or_default")]
    pub network_mode: String,
    pub port_bindings: Option<BTreeMap<String, Option<Vec<PortBinding>>>>,
    #[serde(deserialize_with = "or_default")]
    pub restart_policy: RestartPolicy,
    #[serde(deserialize_with = "or_default")]
    pub auto_remove: bool,
    #[serde(deserialize_with = "or_default")]
    pub volume_driver: String,
    pub volumes_from: Option<Vec<String>>,
    /// Rows and columns.
    #[serde(deserialize_with = "or_default")]
    pub console_size: [u32; 2],
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    pub cap_add: Option<StrSlice>,
    pub cap_drop: Option<StrSlice>,
    #[serde(deserialize_with = "or_default")]
    pub cgroupns_mode: String,
    pub dns: Option<Vec<String>>,
    pub dns_options: Option<Vec<String>>,
    pub dns_search: Option<Vec<String>>,
    pub extra_hosts: Option<Vec<String>>,
    pub group_add: Option<Vec<String>>,
    #[serde(deserialize_with = "or_default")]
    pub ipc_mode: String,
    #[serde(deserialize_with = "or_default")]
    pub cgroup: String,
    pub links: Option<Vec<String>>,
    #[serde(deserialize_with = "or_default")]
    pub oom_score_adj: i64,
    #[serde(deserialize_with = "or_default")]
    pub pid_mode: String,
    #[serde(deserialize_with = "or_default")]
    pub privileged: bool,
    #[serde(deserialize_with = "or_default")]
    pub publish_all_ports: bool,
    #[serde(deserialize_with = "or_default")]
    pub readonly_rootfs: bool,
    pub security_opt: Option<Vec<String>>,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub storage_opt: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub tmpfs: BTreeMap<String, String>,
    #[serde(rename = "UTSMode", deserialize_with = "or_default")]
    pub uts_mode: String,
    #[serde(deserialize_with = "or_default")]
    pub userns_mode: String,
    #[serde(deserialize_with = "or_default")]
    pub shm_size: i64,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub sysctls: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub runtime: String,
    /// From 1.56 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub isolation: String,
    #[serde(flatten, skip_deserializing)]
    pub resources: Resources,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub mounts: Vec<Mount>,
    pub masked_paths: Option<Vec<String>>,
    pub readonly_paths: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
}

with_embedded!(HostConfig "container.HostConfig", resources "Resources");

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "container.LogConfig", default)]
pub struct LogConfig {
    #[serde(rename = "Type", deserialize_with = "or_default")]
    pub kind: String,
    #[serde(rename = "Config", deserialize_with = "or_default")]
    pub config: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "nat.PortBinding", rename_all = "PascalCase", default)]
pub struct PortBinding {
    #[serde(deserialize_with = "or_default")]
    pub host_ip: String,
    #[serde(deserialize_with = "or_default")]
    pub host_port: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "container.RestartPolicy", rename_all = "PascalCase", default)]
pub struct RestartPolicy {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub maximum_retry_count: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "blkiodev.WeightDevice", rename_all = "PascalCase", default)]
pub struct WeightDevice {
    #[serde(deserialize_with = "or_default")]
    pub path: String,
    #[serde(deserialize_with = "or_default")]
    pub weight: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "blkiodev.ThrottleDevice", rename_all = "PascalCase", default)]
pub struct ThrottleDevice {
    #[serde(deserialize_with = "or_default")]
    pub path: String,
    #[serde(deserialize_with = "or_default")]
    pub rate: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "container.DeviceMapping", rename_all = "PascalCase", default)]
pub struct DeviceMapping {
    #[serde(deserialize_with = "or_default")]
    pub path_on_host: String,
    #[serde(deserialize_with = "or_default")]
    pub path_in_container: String,
    #[serde(deserialize_with = "or_default")]
    pub cgroup_permissions: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "container.DeviceRequest", rename_all = "PascalCase", default)]
pub struct DeviceRequest {
    #[serde(deserialize_with = "or_default")]
    pub driver: String,
    #[serde(deserialize_with = "or_default")]
    pub count: i64,
    #[serde(rename = "DeviceIDs")]
    pub device_ids: Option<Vec<String>>,
    pub capabilities: Option<Vec<Vec<String>>>,
    pub options: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "units.Ulimit", rename_all = "PascalCase", default)]
pub struct Ulimit {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub hard: i64,
    #[serde(deserialize_with = "or_default")]
    pub soft: i64,
}

/// Docker's `Mount`: what is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "mount.Mount", rename_all = "PascalCase", default)]
pub struct Mount {
    #[serde(
        rename = "Type",
        skip_serializing_if = "is_default",
        deserialize_with = "or_default"
    )]
    pub kind: String,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub source: String,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub target: String,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub read_only: bool,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub consistency: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_options: Option<BindOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_options: Option<VolumeOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_options: Option<ImageOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs_options: Option<TmpfsOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_options: Option<crate::Empty>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "mount.BindOptions", rename_all = "PascalCase", default)]
pub struct BindOptions {
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub propagation: String,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub non_recursive: bool,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub create_mountpoint: bool,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub read_only_non_recursive: bool,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub read_only_force_recursive: bool,
    #[serde(rename = "IDMapping", skip_serializing_if = "Option::is_none")]
    pub id_mapping: Option<IdMapping>,
}

/// Whose the files of a bind appear to be (moby pull request 53368); rows are an addition of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IdMapping {
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub source: String,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub user: String,
    #[serde(
        rename = "UIDMappings",
        skip_serializing_if = "is_default",
        deserialize_with = "or_default"
    )]
    pub uid_mappings: Vec<IdRange>,
    #[serde(
        rename = "GIDMappings",
        skip_serializing_if = "is_default",
        deserialize_with = "or_default"
    )]
    pub gid_mappings: Vec<IdRange>,
}

/// Ids on the host's file system, and those that they appear as in the container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    #[serde(rename = "HostID")]
    pub host_id: u32,
    #[serde(rename = "ContainerID")]
    pub container_id: u32,
    #[serde(rename = "Size")]
    pub size: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "mount.VolumeOptions", rename_all = "PascalCase", default)]
pub struct VolumeOptions {
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub no_copy: bool,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub subpath: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_config: Option<Driver>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "mount.Driver", rename_all = "PascalCase", default)]
pub struct Driver {
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub name: String,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub options: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "mount.ImageOptions", rename_all = "PascalCase", default)]
pub struct ImageOptions {
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub subpath: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "mount.TmpfsOptions", rename_all = "PascalCase", default)]
pub struct TmpfsOptions {
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub size_bytes: i64,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub mode: u32,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub options: Vec<Vec<String>>,
}
