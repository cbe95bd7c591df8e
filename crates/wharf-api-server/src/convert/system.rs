//! Engine to wire: the daemon itself.

use wharf_api_types as wire;
use wharf_engine::{DfReport, Event, InfoFacts, VersionFacts};
use wharf_images::DiskUsage;
use wharf_solver::CacheRecord;

use super::reply::{self, bytes};
use super::{images, nil};

/// `GET /version`.
pub(crate) fn version(facts: VersionFacts) -> wire::VersionResponse {
    let VersionFacts {
        version,
        git_commit,
        build_time,
        os,
        arch,
        kernel_version,
        experimental,
    } = facts;
    let details = [
        ("ApiVersion", wire::API_VERSION),
        ("Arch", &arch),
        ("BuildTime", &build_time),
        ("Experimental", if experimental { "true" } else { "false" }),
        ("GitCommit", &git_commit),
        ("KernelVersion", &kernel_version),
        ("MinAPIVersion", wire::MIN_API_VERSION),
        ("Os", &os),
    ];
    let details = details
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    wire::VersionResponse {
        platform: wire::VersionPlatform {
            name: "Wharf".to_owned(),
        },
        components: vec![wire::VersionComponent {
            name: "Engine".to_owned(),
            version: version.clone(),
            details,
        }],
        version,
        api_version: wire::API_VERSION.to_owned(),
        min_api_version: wire::MIN_API_VERSION.to_owned(),
        git_commit,
        go_version: String::new(),
        os,
        arch,
        kernel_version,
        experimental,
        build_time,
    }
}

/// `GET /info`.
pub(crate) fn info(facts: InfoFacts) -> wire::SystemInfo {
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let runtimes = facts.runtimes.into_iter().map(|(name, runtime)| {
        let info = wire::RuntimeInfo {
            path: runtime.path.to_string_lossy().into_owned(),
            runtime_args: nil(runtime.arguments),
        };
        (name, info)
    });
    let [http_proxy, https_proxy, no_proxy] = facts.proxies;
    wire::SystemInfo {
        id: facts.id,
        containers: count(facts.containers),
        containers_running: count(facts.running),
        containers_paused: count(facts.paused),
        containers_stopped: count(facts.stopped),
        images: count(facts.images),
        driver: facts.storage_driver,
        driver_status: facts
            .storage_status
            .into_iter()
            .map(|(key, value)| [key, value])
            .collect(),
        plugins: wire::PluginsInfo {
            volume: facts.volume_plugins,
            network: facts.network_plugins,
            authorization: None,
            log: facts.log_plugins,
        },
        memory_limit: facts.memory_limit,
        swap_limit: facts.swap_limit,
        cpu_cfs_period: facts.cpu_cfs_quota,
        cpu_cfs_quota: facts.cpu_cfs_quota,
        cpu_shares: facts.cpu_shares,
        cpu_set: facts.cpuset,
        pids_limit: facts.pids_limit,
        ipv4_forwarding: facts.ipv4_forwarding,
        debug: facts.debug,
        n_fd: count(facts.fds),
        oom_kill_disable: facts.oom_kill_disable,
        n_goroutines: count(facts.tasks),
        system_time: jiff::Timestamp::now().to_string(),
        logging_driver: facts.log_driver,
        cgroup_driver: facts.cgroup_driver,
        cgroup_version: facts.cgroup_version,
        n_events_listener: count(facts.event_listeners),
        kernel_version: facts.kernel_version,
        operating_system: facts.operating_system,
        os_version: facts.os_version,
        os_type: facts.os_type,
        architecture: facts.architecture,
        index_server_address: "https://index.docker.io/v1/".to_owned(),
        registry_config: Some(registry_config(facts.insecure_registries, facts.mirrors)),
        ncpu: count(facts.cpus),
        mem_total: bytes(facts.memory),
        generic_resources: None,
        docker_root_dir: facts.data_root,
        http_proxy,
        https_proxy,
        no_proxy,
        name: facts.name,
        labels: facts.labels,
        experimental_build: facts.experimental,
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
        default_runtime: facts.default_runtime,
        runtimes: runtimes.collect(),
        swarm: wire::SwarmInfo {
            local_node_state: "inactive".to_owned(),
            ..wire::SwarmInfo::default()
        },
        live_restore_enabled: facts.live_restore,
        isolation: String::new(),
        init_binary: facts.init_binary,
        containerd_commit: wire::Commit::default(),
        runc_commit: wire::Commit::default(),
        init_commit: wire::Commit::default(),
        security_options: facts.security_options,
        default_address_pools: facts
            .address_pools
            .into_iter()
            .map(|(base, size)| wire::AddressPool {
                base,
                size: size.into(),
            })
            .collect(),
        firewall_backend: Some(facts.publish_policy)
            .filter(|policy| !policy.is_empty())
            .map(|policy| wire::FirewallInfo {
                driver: "nftables".to_owned(),
                info: vec![("PublishPolicy".to_owned(), policy)],
            }),
        cdi_spec_dirs: facts.cdi_folders,
        warnings: nil(facts.warnings),
    }
}

/// What is known of registries: Docker Hub with its mirrors, and those that need no TLS, by host or by range of addresses.
fn registry_config(insecure: Vec<String>, mirrors: Vec<String>) -> wire::RegistryConfig {
    let (mut cidrs, hosts): (Vec<_>, Vec<_>) =
        insecure.into_iter().partition(|one| one.contains('/'));
    cidrs.extend(["::1/128".to_owned(), "127.0.0.0/8".to_owned()]);
    let hub = wire::IndexInfo {
        name: "docker.io".to_owned(),
        mirrors: mirrors.clone(),
        secure: true,
        official: true,
    };
    let others = hosts.into_iter().map(|name| wire::IndexInfo {
        name,
        mirrors: Vec::new(),
        secure: false,
        official: false,
    });
    let indexes = others.chain([hub]);
    wire::RegistryConfig {
        insecure_registry_cidrs: cidrs,
        index_configs: indexes.map(|index| (index.name.clone(), index)).collect(),
        mirrors,
    }
}

/// `GET /system/df`, with all objects. What counts as used, and what could be had back, is reckoned as dockerd does.
pub(crate) fn disk_usage(
    report: DfReport,
    build_cache: Option<Vec<CacheRecord>>,
) -> wire::DiskUsage {
    let DfReport {
        images,
        containers,
        volumes,
    } = report;
    wire::DiskUsage {
        image_usage: images.map(|(usage, users)| image_usage(usage, users)),
        container_usage: containers
            .map(|list| container_usage(list.into_iter().map(reply::container_summary).collect())),
        volume_usage: volumes.map(|list| {
            let row = |(volume, size, users)| wire::Volume {
                usage_data: Some(wire::VolumeUsageData {
                    ref_count: i64::try_from(users).unwrap_or(i64::MAX),
                    size: bytes(size),
                }),
                ..reply::volume(volume)
            };
            volume_usage(list.into_iter().map(row).collect())
        }),
        build_cache_usage: build_cache.map(|records| cache_usage(&records)),
    }
}

fn cache_usage(records: &[CacheRecord]) -> wire::KindUsage<serde_json::Value> {
    let size = |wanted: fn(&&CacheRecord) -> bool| -> i64 {
        records
            .iter()
            .filter(wanted)
            .map(|record| record.size)
            .sum()
    };
    let items = records.iter().map(|record| {
        serde_json::json!({
            "ID": record.id,
            "Parents": (!record.parents.is_empty()).then_some(&record.parents),
            "Type": record.kind,
            "Description": record.description,
            "InUse": record.in_use,
            "Shared": record.shared,
            "Size": record.size,
            "CreatedAt": record.created.to_string(),
            "LastUsedAt": record.last_used.map(|time| time.to_string()),
            "UsageCount": record.usage_count,
        })
    });
    wire::KindUsage {
        active_count: count(records.iter().filter(|record| record.in_use).count()),
        total_count: count(records.len()),
        reclaimable: size(|record| !record.in_use && !record.shared),
        total_size: size(|_| true),
        items: Some(items.collect()),
    }
}

fn image_usage(usage: DiskUsage, users: Vec<usize>) -> wire::KindUsage<wire::ImageSummary> {
    let total = bytes(usage.layers + usage.content);
    let rows = usage.images.into_iter().zip(users);
    let items: Vec<_> = rows
        .map(|(one, users)| images::image_summary(&one.image, Some(users), Some(one.shared)))
        .collect();
    let active = || items.iter().filter(|image| image.containers > 0);
    let used: i64 = active().map(|image| image.size - image.shared_size).sum();
    wire::KindUsage {
        active_count: count(active().count()),
        total_count: count(items.len()),
        reclaimable: total - used,
        total_size: total,
        items: Some(items),
    }
}

fn container_usage(items: Vec<wire::ContainerSummary>) -> wire::KindUsage<wire::ContainerSummary> {
    let is_active = |container: &wire::ContainerSummary| {
        matches!(
            container.state.as_str(),
            "running" | "paused" | "restarting"
        )
    };
    let size = |container: &wire::ContainerSummary| container.size_rw.unwrap_or(0);
    let total: i64 = items.iter().map(size).sum();
    let active: i64 = items.iter().filter(|one| is_active(one)).map(size).sum();
    wire::KindUsage {
        active_count: count(items.iter().filter(|one| is_active(one)).count()),
        total_count: count(items.len()),
        reclaimable: total - active,
        total_size: total,
        items: Some(items),
    }
}

fn volume_usage(items: Vec<wire::Volume>) -> wire::KindUsage<wire::Volume> {
    let data = |volume: &wire::Volume| volume.usage_data.clone().unwrap_or_default();
    let sizes = |unused: bool| -> i64 {
        let all = items.iter().map(data);
        all.filter(|one| !unused || one.ref_count == 0)
            .map(|one| one.size.max(0))
            .sum()
    };
    wire::KindUsage {
        active_count: count(items.iter().filter(|one| data(one).ref_count > 0).count()),
        total_count: count(items.len()),
        reclaimable: sizes(true),
        total_size: sizes(false),
        items: Some(items),
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A line of `GET /events`, with the fields that 1.52 took out (see [`crate::compat`]).
pub(crate) fn event(event: &Event) -> wire::EventMessage {
    let Event {
        kind,
        action,
        actor,
        attributes,
        time,
    } = event.clone();
    let old = matches!(kind.as_str(), "container" | "image");
    wire::EventMessage {
        status: if old { action.clone() } else { String::new() },
        id: if old { actor.clone() } else { String::new() },
        from: match old && kind.as_str() == "container" {
            true => attributes.get("image").cloned().unwrap_or_default(),
            false => String::new(),
        },
        kind: kind.as_str().to_owned(),
        action,
        actor: wire::EventActor {
            id: actor,
            attributes,
        },
        scope: "local".to_owned(),
        time: time.as_second(),
        time_nano: i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX),
    }
}
