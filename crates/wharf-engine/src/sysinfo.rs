//! What the kernel and its control groups can do (moby `pkg/sysinfo`).

use std::path::Path;

const ROOT: &str = "/sys/fs/cgroup";

/// What limits this host knows. Looked up anew each time: a controller can come and go.
#[derive(Clone, Debug, Default)]
pub(crate) struct SysInfo {
    /// cgroup v2 alone.
    pub(crate) unified: bool,
    pub(crate) memory_limit: bool,
    pub(crate) swap_limit: bool,
    pub(crate) memory_reservation: bool,
    pub(crate) memory_swappiness: bool,
    pub(crate) oom_kill_disable: bool,
    pub(crate) cpu_shares: bool,
    pub(crate) cpu_cfs: bool,
    pub(crate) cpu_realtime: bool,
    pub(crate) cpuset: bool,
    /// Processors that there are, `0-3`.
    pub(crate) cpus: String,
    /// Memory nodes.
    pub(crate) mems: String,
    pub(crate) pids_limit: bool,
    pub(crate) blkio_weight: bool,
    pub(crate) blkio_weight_device: bool,
    pub(crate) read_bps: bool,
    pub(crate) write_bps: bool,
    pub(crate) read_iops: bool,
    pub(crate) write_iops: bool,
    pub(crate) cgroup_namespaces: bool,
    /// cgroup v2 treats a cgroup namespace as a border of delegation (`nsdelegate`).
    pub(crate) delegates: bool,
    pub(crate) ipv4_forwarding: bool,
}

impl SysInfo {
    /// Looks.
    pub(crate) fn now() -> Self {
        let root = Path::new(ROOT);
        let mut info = match std::fs::read_to_string(root.join("cgroup.controllers")) {
            Ok(controllers) => v2(root, &controllers),
            Err(_) => v1(root),
        };
        info.cgroup_namespaces = Path::new("/proc/self/ns/cgroup").exists();
        let forward = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward");
        info.ipv4_forwarding = forward.is_ok_and(|text| text.trim() == "1");
        info
    }
}

fn v2(root: &Path, controllers: &str) -> SysInfo {
    let has = |name: &str| controllers.split_whitespace().any(|known| known == name);
    let (memory, cpu, io, cpuset) = (has("memory"), has("cpu"), has("io"), has("cpuset"));
    SysInfo {
        unified: true,
        memory_limit: memory,
        // The top has no such file; a kernel that counts no swap has it nowhere.
        swap_limit: memory && Path::new("/proc/swaps").exists(),
        memory_reservation: memory,
        cpu_shares: cpu,
        cpu_cfs: cpu,
        cpuset,
        cpus: text(&root.join("cpuset.cpus.effective")),
        mems: text(&root.join("cpuset.mems.effective")),
        pids_limit: has("pids"),
        delegates: delegates(),
        blkio_weight: io,
        blkio_weight_device: io,
        read_bps: io,
        write_bps: io,
        read_iops: io,
        write_iops: io,
        ..SysInfo::default()
    }
}

/// The options of the file system, behind the dash of its line (proc_pid_mountinfo(5)).
fn delegates() -> bool {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().any(|line| {
        let of_it = line.contains(&format!(" {ROOT} ")) && line.contains(" - cgroup2 ");
        of_it
            && line
                .rsplit(' ')
                .next()
                .is_some_and(|options| options.contains("nsdelegate"))
    })
}

fn v1(root: &Path) -> SysInfo {
    let has = |path: &str| root.join(path).exists();
    SysInfo {
        unified: false,
        memory_limit: has("memory/memory.limit_in_bytes"),
        swap_limit: has("memory/memory.memsw.limit_in_bytes"),
        memory_reservation: has("memory/memory.soft_limit_in_bytes"),
        memory_swappiness: has("memory/memory.swappiness"),
        oom_kill_disable: has("memory/memory.oom_control"),
        cpu_shares: has("cpu/cpu.shares"),
        cpu_cfs: has("cpu/cpu.cfs_quota_us"),
        cpu_realtime: has("cpu/cpu.rt_period_us"),
        cpuset: has("cpuset/cpuset.cpus"),
        cpus: text(&root.join("cpuset/cpuset.cpus")),
        mems: text(&root.join("cpuset/cpuset.mems")),
        pids_limit: has("pids/cgroup.procs"),
        blkio_weight: has("blkio/blkio.weight"),
        blkio_weight_device: has("blkio/blkio.weight_device"),
        read_bps: has("blkio/blkio.throttle.read_bps_device"),
        write_bps: has("blkio/blkio.throttle.write_bps_device"),
        read_iops: has("blkio/blkio.throttle.read_iops_device"),
        write_iops: has("blkio/blkio.throttle.write_iops_device"),
        ..SysInfo::default()
    }
}

fn text(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim().to_owned()
}

/// Whether the list `wanted` (`0-2,7`) is within `available`.
///
/// # Errors
/// If `wanted` is no such list, in the words of moby `parsers.ParseUintList`.
pub(crate) fn is_within(wanted: &str, available: &str) -> Result<bool, String> {
    let available = list(available).unwrap_or_default();
    Ok(list(wanted)?.iter().all(|one| available.contains(one)))
}

fn list(text: &str) -> Result<Vec<u32>, String> {
    /// More processors than any kernel is built for.
    const MOST: u32 = 8192;
    let bad = || format!("invalid format: {text}");
    let number = |text: &str| text.parse::<u32>().map_err(|_| bad());
    let mut numbers = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if last < first {
            return Err(bad());
        }
        if last > MOST {
            return Err(format!("value of out range, maximum is {MOST}"));
        }
        numbers.extend(first..=last);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        assert_eq!(is_within("", "0-1"), Ok(true));
        assert_eq!(is_within("0,1", "0-1"), Ok(true));
        assert_eq!(is_within("0-2", "0-1"), Ok(false));
        assert_eq!(is_within("x", "0-1"), Err("invalid format: x".to_owned()));
        assert!(is_within("2-1", "0-3").is_err() && is_within("0-4294967295", "0").is_err());
    }
}
