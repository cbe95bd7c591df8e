//! Limits: what makes no sense is refused, what this host cannot do is discarded with a warning, both in dockerd's
//! words (moby `daemon/daemon_unix.go`, `runconfig/hostconfig_unix.go`).

use super::invalid;
use crate::sysinfo::{SysInfo, is_within};
use crate::{EngineError, Resources};

const MIN_MEMORY: i64 = 6 << 20;

/// Checks `resources` against each other and against the host; Docker's warnings. `update`: they are changes of what
/// a container has.
pub(in crate::containers) fn resources(
    resources: &mut Resources,
    info: &SysInfo,
    update: bool,
) -> Result<Vec<String>, EngineError> {
    let mut warnings = Vec::new();
    quality_of_service(resources)?;
    real_time(resources, info)?;
    memory(resources, info, update, &mut warnings)?;
    if !update {
        // Docker says what was not said, where the kernel has the setting at all.
        resources.oom_kill_disable.get_or_insert(false);
    }
    out_of_memory(resources, info, &mut warnings);
    if let Some(limit) = resources.pids_limit
        && !info.pids_limit
    {
        if limit > 0 {
            warnings.push(discarded(
                "PIDs limit capabilities or the cgroup is not mounted. PIDs limit",
            ));
        }
        resources.pids_limit = None;
    }
    cpu(resources, info, &mut warnings)?;
    cpuset(resources, info, &mut warnings)?;
    block_io(resources, info, &mut warnings)?;
    Ok(warnings)
}

fn discarded(what: &str) -> String {
    format!("Your kernel does not support {what} discarded.")
}

fn quality_of_service(r: &Resources) -> Result<(), EngineError> {
    if r.io_maximum_bandwidth != 0 {
        return invalid(
            "invalid QoS settings: linux does not support configuration of maximum bandwidth",
        );
    }
    if r.io_maximum_iops != 0 {
        return invalid(
            "invalid QoS settings: linux does not support configuration of maximum IOPs",
        );
    }
    Ok(())
}

fn real_time(r: &Resources, info: &SysInfo) -> Result<(), EngineError> {
    let (period, runtime) = (r.cpu_realtime_period, r.cpu_realtime_runtime);
    if (period != 0 || runtime != 0) && !info.cpu_realtime {
        return invalid("kernel does not support CPU real-time scheduler");
    }
    if period != 0 && runtime != 0 && runtime > period {
        return invalid("cpu real-time runtime cannot be higher than cpu real-time period");
    }
    Ok(())
}

fn memory(
    r: &mut Resources,
    info: &SysInfo,
    update: bool,
    warnings: &mut Vec<String>,
) -> Result<(), EngineError> {
    if r.memory_swappiness == Some(-1) {
        r.memory_swappiness = None;
    }
    if r.memory != 0 && r.memory < MIN_MEMORY {
        return invalid("Minimum memory limit allowed is 6MB");
    }
    if r.memory > 0 && !info.memory_limit {
        warnings.push(discarded(
            "memory limit capabilities or the cgroup is not mounted. Limitation",
        ));
        (r.memory, r.memory_swap) = (0, -1);
    }
    if r.memory > 0 && r.memory_swap != -1 && !info.swap_limit {
        warnings.push("Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.".to_owned());
        r.memory_swap = -1;
    }
    if r.memory > 0 && r.memory_swap > 0 && r.memory_swap < r.memory {
        return invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if r.memory == 0 && r.memory_swap > 0 && !update {
        return invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    if r.memory_swappiness.is_some() && !info.memory_swappiness {
        warnings.push(discarded(
            "memory swappiness capabilities or the cgroup is not mounted. Memory swappiness",
        ));
        r.memory_swappiness = None;
    }
    if let Some(value) = r
        .memory_swappiness
        .filter(|value| !(0..=100).contains(value))
    {
        return invalid(format!(
            "Invalid value: {value}, valid memory swappiness range is 0-100"
        ));
    }
    if r.memory_reservation > 0 && !info.memory_reservation {
        warnings.push(discarded(
            "memory soft limit capabilities or the cgroup is not mounted. Limitation",
        ));
        r.memory_reservation = 0;
    }
    if r.memory_reservation > 0 && r.memory_reservation < MIN_MEMORY {
        return invalid("Minimum memory reservation allowed is 6MB");
    }
    if r.memory > 0 && r.memory_reservation > 0 && r.memory < r.memory_reservation {
        return invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    Ok(())
}

fn out_of_memory(r: &mut Resources, info: &SysInfo, warnings: &mut Vec<String>) {
    if std::mem::take(&mut r.kernel_memory) > 0 {
        // No kernel that we run on limits it any more (Linux 5.16 took it out, runc ignores it).
        warnings.push(discarded(
            "kernel memory limit capabilities or the cgroup is not mounted. Limitation",
        ));
    }
    if !info.oom_kill_disable {
        if r.oom_kill_disable == Some(true) {
            warnings.push(discarded("OomKillDisable. OomKillDisable"));
        }
        r.oom_kill_disable = None;
    }
    if r.oom_kill_disable == Some(true) && r.memory == 0 {
        warnings.push("OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.".to_owned());
    }
}

fn cpu(r: &mut Resources, info: &SysInfo, warnings: &mut Vec<String>) -> Result<(), EngineError> {
    if r.nano_cpus > 0 && r.cpu_period > 0 {
        return invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if r.nano_cpus > 0 && r.cpu_quota > 0 {
        return invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    if r.nano_cpus > 0 && !info.cpu_cfs {
        return invalid(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted",
        );
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let most = i64::try_from(cpus).unwrap_or(i64::MAX);
    if r.nano_cpus < 0 || r.nano_cpus > most.saturating_mul(1_000_000_000) {
        return invalid(format!(
            "Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        ));
    }
    if r.cpu_shares > 0 && !info.cpu_shares {
        warnings.push(discarded("CPU shares or the cgroup is not mounted. Shares"));
        r.cpu_shares = 0;
    }
    if (r.cpu_period != 0 || r.cpu_quota != 0) && !info.cpu_cfs {
        warnings.push(discarded("CPU CFS scheduler. CPU period/quota"));
        (r.cpu_period, r.cpu_quota) = (0, 0);
    }
    if r.cpu_period != 0 && !(1_000..=1_000_000).contains(&r.cpu_period) {
        return invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if r.cpu_quota > 0 && r.cpu_quota < 1_000 {
        return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    if std::mem::take(&mut r.cpu_percent) > 0 {
        warnings.push("linux does not support CPU percent. Percent discarded.".to_owned());
    }
    Ok(())
}

fn cpuset(
    r: &mut Resources,
    info: &SysInfo,
    warnings: &mut Vec<String>,
) -> Result<(), EngineError> {
    if (!r.cpuset_cpus.is_empty() || !r.cpuset_mems.is_empty()) && !info.cpuset {
        warnings.push(discarded("cpuset or the cgroup is not mounted. Cpuset"));
        r.cpuset_cpus.clear();
        r.cpuset_mems.clear();
    }
    let sets = [
        (&r.cpuset_cpus, &info.cpus, "cpuset cpus", "CPUs"),
        (&r.cpuset_mems, &info.mems, "cpuset mems", "memory nodes"),
    ];
    for (wanted, available, name, what) in sets {
        match is_within(wanted, available) {
            Ok(true) => {}
            Ok(false) => {
                return invalid(format!(
                    "Requested {what} are not available - requested {wanted}, available: {available}"
                ));
            }
            Err(error) => return invalid(format!("Invalid value {wanted} for {name}: {error}")),
        }
    }
    Ok(())
}

fn block_io(
    r: &mut Resources,
    info: &SysInfo,
    warnings: &mut Vec<String>,
) -> Result<(), EngineError> {
    if r.blkio_weight > 0 && !info.blkio_weight {
        warnings.push(discarded(
            "Block I/O weight or the cgroup is not mounted. Weight",
        ));
        r.blkio_weight = 0;
    }
    if r.blkio_weight > 0 && !(10..=1000).contains(&r.blkio_weight) {
        return invalid("Range of blkio weight is from 10 to 1000");
    }
    if !r.blkio_weight_device.is_empty() && !info.blkio_weight_device {
        warnings.push(discarded(
            "Block I/O weight_device or the cgroup is not mounted. Weight-device",
        ));
        r.blkio_weight_device.clear();
    }
    let lists = [
        (
            &mut r.blkio_device_read_bps,
            info.read_bps,
            "BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit",
        ),
        (
            &mut r.blkio_device_write_bps,
            info.write_bps,
            "BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS write limit",
        ),
        (
            &mut r.blkio_device_read_iops,
            info.read_iops,
            "IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit",
        ),
        (
            &mut r.blkio_device_write_iops,
            info.write_iops,
            "IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit",
        ),
    ];
    for (list, there, what) in lists {
        if !list.is_empty() && !there {
            warnings.push(discarded(what));
            list.clear();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(r: Resources, info: &SysInfo) -> (Resources, Result<Vec<String>, String>) {
        let mut r = r;
        let checked = resources(&mut r, info, false).map_err(|error| error.message());
        (r, checked)
    }

    #[test]
    fn what_the_host_lacks_is_discarded_with_a_warning() {
        let asked = Resources {
            memory: 64 << 20,
            memory_swappiness: Some(5),
            oom_kill_disable: Some(true),
            cpu_shares: 100,
            cpuset_cpus: "0".to_owned(),
            blkio_weight: 5,
            pids_limit: Some(9),
            kernel_memory: 5,
            cpu_percent: 1,
            ..Resources::default()
        };
        let (left, warnings) = check(asked, &SysInfo::default());
        let expected = Resources {
            memory_swap: -1,
            ..Resources::default()
        };
        assert_eq!(left, expected);
        let warnings = warnings.expect("warnings");
        assert_eq!(warnings.len(), 9, "{warnings:#?}");
        assert_eq!(
            warnings[0],
            "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded."
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let info = SysInfo {
            cpus: "0-1".to_owned(),
            cpuset: true,
            ..SysInfo::default()
        };
        let cpus = |cpus: &str| Resources {
            cpuset_cpus: cpus.to_owned(),
            ..Resources::default()
        };
        assert_eq!(
            check(cpus("0-5"), &info).1,
            Err("Requested CPUs are not available - requested 0-5, available: 0-1".to_owned())
        );
        assert_eq!(
            check(cpus("a"), &info).1,
            Err("Invalid value a for cpuset cpus: invalid format: a".to_owned())
        );
        let real_time = Resources {
            cpu_realtime_runtime: 5,
            ..Resources::default()
        };
        assert!(check(real_time, &info).1.is_err());
    }
}
