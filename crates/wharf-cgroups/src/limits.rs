//! OCI's resources as the files of v1 and v2. The order in which files are written matters: a value must fit those
//! that are there at every moment, of a new group and of one whose processes run.

mod forget;
mod journal;
mod v1;
mod v2;

use std::io;
use std::path::PathBuf;

use oci_spec::runtime::{LinuxBlockIo, LinuxResources, LinuxThrottleDevice};

pub(crate) use journal::Journal;
pub(crate) use v2::{bandwidth_of, swap, weight_of};

use crate::group::write;
use crate::{Cgroup, CgroupError};

const EINVAL: i32 = 22;
const EBUSY: i32 = 16;

/// Writes the files of what `resources` mention.
pub(crate) fn apply(group: &Cgroup, resources: &LinuxResources) -> Result<(), CgroupError> {
    let journal = None;
    write_all(&Files { group, journal }, resources)
}

/// As [`apply`]; `journal` remembers what the files said before.
pub(crate) fn update(
    group: &Cgroup,
    resources: &LinuxResources,
    journal: &Journal,
) -> Result<(), CgroupError> {
    let journal = Some(journal);
    write_all(&Files { group, journal }, resources)
}

/// As [`update`], for the devices whose limits `resources` do not mention: they have none any more.
pub(crate) fn forget_devices(
    group: &Cgroup,
    resources: &LinuxResources,
    journal: &Journal,
) -> Result<(), CgroupError> {
    let journal = Some(journal);
    forget::unmentioned(&Files { group, journal }, resources)
}

/// `resources` with both halves of the processor's bandwidth, as the group has them now, if one of them is mentioned.
pub(crate) fn with_bandwidth(group: &Cgroup, resources: &LinuxResources) -> LinuxResources {
    let journal = None;
    let files = Files { group, journal };
    let number = |file| files.text("cpu", file)?.trim().parse().ok();
    let now = match group.layout().is_v2() {
        true => files
            .text("cpu", "cpu.max")
            .and_then(|text| v2::bandwidth_of(&text)),
        false => number("cpu.cfs_quota_us").zip(number("cpu.cfs_period_us")),
    };
    complete(
        resources,
        now.map(|(quota, period)| (quota, period.unsigned_abs())),
    )
}

/// What the group's `file` says now.
pub(crate) fn text(group: &Cgroup, controller: &'static str, file: &str) -> Option<String> {
    let journal = None;
    Files { group, journal }.text(controller, file)
}

fn complete(resources: &LinuxResources, now: Option<(i64, u64)>) -> LinuxResources {
    let mut whole = resources.clone();
    if let Some((quota, period)) = now
        && let Some(mut cpu) = whole.cpu().clone()
        && (asked(cpu.quota()).is_some() || asked(cpu.period()).is_some())
    {
        cpu.set_quota(Some(quota)).set_period(Some(period));
        whole.set_cpu(Some(cpu));
    }
    whole
}

fn write_all(files: &Files<'_>, resources: &LinuxResources) -> Result<(), CgroupError> {
    if let Some(pids) = resources.pids() {
        let limit = pids.limit();
        let value = or_max(if limit == 0 { -1 } else { limit });
        files.set("pids", "pids.max", value)?;
    }
    if files.group.layout().is_v2() {
        v2::apply(files, resources)?;
    } else {
        v1::apply(files, resources)?;
    }
    huge_pages(files, resources)?;
    for (device, limit) in resources.rdma().iter().flatten() {
        let handles = number("hca_handle", limit.hca_handles());
        let objects = number("hca_object", limit.hca_objects());
        files.set("rdma", "rdma.max", format!("{device} {handles} {objects}"))?;
    }
    Ok(())
}

fn number(key: &str, value: Option<u32>) -> String {
    value.map_or_else(|| format!("{key}=max"), |value| format!("{key}={value}"))
}

fn huge_pages(files: &Files<'_>, resources: &LinuxResources) -> Result<(), CgroupError> {
    let (plain, reserved) = match files.group.layout().is_v2() {
        true => ("max", "rsvd.max"),
        false => ("limit_in_bytes", "rsvd.limit_in_bytes"),
    };
    for page in resources.hugepage_limits().iter().flatten() {
        let (size, limit) = (page.page_size(), page.limit());
        files.set("hugetlb", &format!("hugetlb.{size}.{plain}"), limit)?;
        // Pages that are reserved and not yet used count since Linux 5.7.
        files.set_if_there("hugetlb", &format!("hugetlb.{size}.{reserved}"), limit)?;
    }
    Ok(())
}

/// The group's files, by controller.
pub(crate) struct Files<'a> {
    group: &'a Cgroup,
    journal: Option<&'a Journal>,
}

impl Files<'_> {
    fn path(&self, controller: &'static str, file: &str) -> Result<PathBuf, CgroupError> {
        let folder = self.group.controller(controller);
        let folder = folder.ok_or(CgroupError::NoController(controller))?;
        Ok(folder.join(file))
    }

    fn set(
        &self,
        controller: &'static str,
        file: &str,
        value: impl ToString,
    ) -> Result<(), CgroupError> {
        let (path, value) = (self.path(controller, file)?, value.to_string());
        if let Some(journal) = self.journal {
            journal.remember(&path, &value);
        }
        write(&path, &value)
    }

    /// As [`Files::set`], unless this kernel lacks the file.
    fn set_if_there(
        &self,
        controller: &'static str,
        file: &str,
        value: impl ToString,
    ) -> Result<(), CgroupError> {
        match self.set(controller, file, value) {
            Err(CgroupError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(())
            }
            other => other,
        }
    }

    fn has(&self, controller: &'static str, file: &str) -> bool {
        self.path(controller, file).is_ok_and(|path| path.exists())
    }

    /// What the file says now.
    fn text(&self, controller: &'static str, file: &str) -> Option<String> {
        std::fs::read_to_string(self.path(controller, file).ok()?).ok()
    }

    fn number(&self, controller: &'static str, file: &str) -> Option<u64> {
        self.text(controller, file)?.trim().parse().ok()
    }
}

/// Whether the kernel has refused a value with `errno`.
fn is(error: &CgroupError, errno: i32) -> bool {
    matches!(error, CgroupError::File { source, .. } if source.raw_os_error() == Some(errno))
}

/// -1 stands for no limit (OCI runtime spec, `config-linux`).
fn or_max(value: i64) -> String {
    if value < 0 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

/// What is asked, if it is: 0 is no word about it.
pub(crate) fn asked<T: Copy + Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

fn throttles(io: &LinuxBlockIo) -> [&Option<Vec<LinuxThrottleDevice>>; 4] {
    [
        io.throttle_read_bps_device(),
        io.throttle_write_bps_device(),
        io.throttle_read_iops_device(),
        io.throttle_write_iops_device(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A period alone would be a quota without an end to systemd.
    #[test]
    fn what_is_said_of_bandwidth_is_said_whole() {
        let of = |text: &str| {
            let resources = serde_json::from_str(text).expect("resources");
            let whole = complete(&resources, Some((5000, 50_000)));
            let cpu = whole.cpu().clone().unwrap_or_default();
            (cpu.quota(), cpu.period())
        };
        assert_eq!(
            of(r#"{"cpu":{"period":50000}}"#),
            (Some(5000), Some(50_000))
        );
        assert_eq!(of(r#"{"cpu":{"quota":5000}}"#), (Some(5000), Some(50_000)));
        assert_eq!(of(r#"{"cpu":{"shares":2}}"#), (None, None));
    }
}
