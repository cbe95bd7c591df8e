//! `update`.

use super::{Containers, DeviceLists, Update, verify};
use crate::supervisor::Command;
use crate::sysinfo::SysInfo;
use crate::{EngineError, HostConfig, Resources, RestartPolicy};

impl Containers {
    /// Changes its restart policy and limits, those of its running processes too; Docker's warnings.
    ///
    /// # Errors
    /// If the new settings do not fit each other, those that stay, or what is in use.
    pub async fn update(
        &self,
        container: &str,
        update: Update,
    ) -> Result<Vec<String>, EngineError> {
        let mut warnings = Vec::new();
        let Update {
            restart_policy: policy,
            mut resources,
            lists,
        } = update;
        if let Some(resources) = &mut resources {
            warnings = verify::resources(resources, &SysInfo::now(), true)?;
        }
        let entry = self.find(container)?;
        let resources = resources.map(Box::new);
        entry
            .send(|reply| Command::Update {
                policy,
                resources,
                lists,
                reply,
            })
            .await?;
        Ok(warnings)
    }
}

/// The settings after an update: what is 0, empty or `None` in `new` stays. Else what is wrong, in dockerd's words
/// (moby `container/container_unix.go`, `UpdateContainer`).
pub(crate) fn merge(
    host: &HostConfig,
    policy: Option<RestartPolicy>,
    new: Option<&Resources>,
    lists: DeviceLists,
) -> Result<HostConfig, &'static str> {
    let mut merged = host.clone();
    if let Some(new) = new {
        merged.resources = resources(&host.resources, new)?;
        devices(&mut merged, new, lists);
    }
    if let Some(policy) = policy {
        if host.auto_remove && policy != RestartPolicy::No {
            return Err(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            );
        }
        merged.restart_policy = policy;
    }
    Ok(merged)
}

fn resources(old: &Resources, new: &Resources) -> Result<Resources, &'static str> {
    if new.nano_cpus > 0 && old.cpu_period > 0 {
        return Err(
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        );
    }
    if new.nano_cpus > 0 && old.cpu_quota > 0 {
        return Err(
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
        );
    }
    if new.cpu_period > 0 && old.nano_cpus > 0 {
        return Err(
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        );
    }
    if new.cpu_quota > 0 && old.nano_cpus > 0 {
        return Err(
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        );
    }
    if new.memory != 0 && new.memory_swap == 0 && new.memory > old.memory_swap {
        return Err(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        );
    }
    let number = |new: i64, old: i64| if new == 0 { old } else { new };
    let text = |new: &String, old: &String| {
        if new.is_empty() {
            old.clone()
        } else {
            new.clone()
        }
    };
    Ok(Resources {
        cpu_shares: number(new.cpu_shares, old.cpu_shares),
        nano_cpus: number(new.nano_cpus, old.nano_cpus),
        cpu_period: number(new.cpu_period, old.cpu_period),
        cpu_quota: number(new.cpu_quota, old.cpu_quota),
        cpu_realtime_period: number(new.cpu_realtime_period, old.cpu_realtime_period),
        cpu_realtime_runtime: number(new.cpu_realtime_runtime, old.cpu_realtime_runtime),
        cpuset_cpus: text(&new.cpuset_cpus, &old.cpuset_cpus),
        cpuset_mems: text(&new.cpuset_mems, &old.cpuset_mems),
        memory: number(new.memory, old.memory),
        memory_reservation: number(new.memory_reservation, old.memory_reservation),
        memory_swap: number(new.memory_swap, old.memory_swap),
        pids_limit: new.pids_limit.or(old.pids_limit),
        blkio_weight: if new.blkio_weight == 0 {
            old.blkio_weight
        } else {
            new.blkio_weight
        },
        ..old.clone()
    })
}

/// The lists that are given take the place of those that hold.
fn devices(merged: &mut HostConfig, new: &Resources, lists: DeviceLists) {
    let DeviceLists {
        weights,
        read_bps,
        write_bps,
        read_iops,
        write_iops,
    } = lists;
    let HostConfig {
        resources,
        given_empty,
        ..
    } = merged;
    let mut shown = |name: &str, is_empty| match is_empty {
        true => drop(given_empty.insert(name.to_owned())),
        false => drop(given_empty.remove(name)),
    };
    if weights {
        resources.blkio_weight_device = new.blkio_weight_device.clone();
        shown("BlkioWeightDevice", new.blkio_weight_device.is_empty());
    }
    let throttles = [
        (
            read_bps.then_some("BlkioDeviceReadBps"),
            &mut resources.blkio_device_read_bps,
            &new.blkio_device_read_bps,
        ),
        (
            write_bps.then_some("BlkioDeviceWriteBps"),
            &mut resources.blkio_device_write_bps,
            &new.blkio_device_write_bps,
        ),
        (
            read_iops.then_some("BlkioDeviceReadIOps"),
            &mut resources.blkio_device_read_iops,
            &new.blkio_device_read_iops,
        ),
        (
            write_iops.then_some("BlkioDeviceWriteIOps"),
            &mut resources.blkio_device_write_iops,
            &new.blkio_device_write_iops,
        ),
    ];
    for (name, old, new) in throttles {
        if let Some(name) = name {
            old.clone_from(new);
            shown(name, new.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_stays() {
        let old = Resources {
            memory: 100,
            memory_swap: 200,
            cpu_period: 5000,
            ..Resources::default()
        };
        let new = Resources {
            memory: 150,
            cpu_quota: 2000,
            ..Resources::default()
        };
        let merged = resources(&old, &new).unwrap();
        assert_eq!((merged.memory, merged.memory_swap), (150, 200));
        assert_eq!((merged.cpu_period, merged.cpu_quota), (5000, 2000));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let memory = |memory, memory_swap| Resources {
            memory,
            memory_swap,
            ..Resources::default()
        };
        assert!(resources(&memory(100, 200), &memory(300, 0)).is_err());
        assert!(
            resources(&memory(100, -1), &memory(300, 0)).is_err(),
            "as dockerd has it"
        );
        assert!(resources(&memory(100, 200), &memory(300, 400)).is_ok());
        let host = HostConfig {
            auto_remove: true,
            ..HostConfig::default()
        };
        let merge = |policy| merge(&host, Some(policy), None, DeviceLists::default());
        assert!(merge(RestartPolicy::Always).is_err());
        assert!(merge(RestartPolicy::No).is_ok());
    }

    #[test]
    fn a_list_of_devices_is_replaced_whole_if_it_is_given() {
        let throttle = |path: &str| crate::Throttle {
            path: path.to_owned(),
            rate: 5,
        };
        let host = HostConfig {
            resources: Resources {
                blkio_device_read_bps: vec![throttle("/dev/a")],
                blkio_device_write_bps: vec![throttle("/dev/a")],
                ..Resources::default()
            },
            ..HostConfig::default()
        };
        let new = Resources {
            blkio_device_write_bps: vec![throttle("/dev/b")],
            ..Resources::default()
        };
        let merged = |lists| merge(&host, None, Some(&new), lists).unwrap().resources;
        let kept = merged(DeviceLists::default());
        assert_eq!(kept, host.resources);
        let changed = merged(DeviceLists {
            read_bps: true,
            write_bps: true,
            ..DeviceLists::default()
        });
        assert_eq!(changed.blkio_device_read_bps, []);
        assert_eq!(changed.blkio_device_write_bps, [throttle("/dev/b")]);
    }
}
