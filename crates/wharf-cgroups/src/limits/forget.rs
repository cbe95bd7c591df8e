//! Block I/O limits of devices that nobody asks for any more.
//!
//! A file of such limits has a line for each device, and a write changes that of one device alone. Who gives a whole list
//! therefore has to take away what the list does not have.

use oci_spec::runtime::{LinuxBlockIo, LinuxResources, LinuxThrottleDevice, LinuxWeightDevice};

use super::{Files, throttles};
use crate::CgroupError;

/// A device's major and minor number.
type Number = (i64, i64);

/// Takes away the limits of devices that `resources` do not mention.
pub(super) fn unmentioned(
    files: &Files<'_>,
    resources: &LinuxResources,
) -> Result<(), CgroupError> {
    let none = LinuxBlockIo::default();
    let io = resources.block_io().as_ref().unwrap_or(&none);
    let weighted = io.weight_device().iter().flatten();
    let weighted: Vec<_> = weighted.map(weight_number).collect();
    let throttled = throttles(io).map(|list| {
        let list = list.iter().flatten();
        list.map(throttle_number).collect::<Vec<_>>()
    });
    match files.group.layout().is_v2() {
        true => of_v2(files, &weighted, &throttled),
        false => of_v1(files, &weighted, &throttled),
    }
}

fn weight_number(device: &LinuxWeightDevice) -> Number {
    (device.major(), device.minor())
}

fn throttle_number(device: &LinuxThrottleDevice) -> Number {
    (device.major(), device.minor())
}

fn of_v2(
    files: &Files<'_>,
    weighted: &[Number],
    throttled: &[Vec<Number>; 4],
) -> Result<(), CgroupError> {
    forget(files, "io", "io.bfq.weight", weighted, "default")?;
    let text = files.text("io", "io.max").unwrap_or_default();
    for (key, kept) in ["rbps", "wbps", "riops", "wiops"].iter().zip(throttled) {
        let unlimited = format!("{key}=max");
        for (number, limits) in entries(&text) {
            let is_limited = !limits.split(' ').any(|limit| limit == unlimited);
            if is_limited && !kept.contains(&number) {
                let (major, minor) = number;
                files.set("io", "io.max", format!("{major}:{minor} {unlimited}"))?;
            }
        }
    }
    Ok(())
}

fn of_v1(
    files: &Files<'_>,
    weighted: &[Number],
    throttled: &[Vec<Number>; 4],
) -> Result<(), CgroupError> {
    forget(files, "blkio", "blkio.weight_device", weighted, "0")?;
    forget(
        files,
        "blkio",
        "blkio.bfq.weight_device",
        weighted,
        "default",
    )?;
    let names = ["read_bps", "write_bps", "read_iops", "write_iops"];
    for (name, kept) in names.iter().zip(throttled) {
        let file = format!("blkio.throttle.{name}_device");
        forget(files, "blkio", &file, kept, "0")?;
    }
    Ok(())
}

/// Writes `nothing` for each device of the file that is not among `kept`.
fn forget(
    files: &Files<'_>,
    controller: &'static str,
    file: &str,
    kept: &[Number],
    nothing: &str,
) -> Result<(), CgroupError> {
    let text = files.text(controller, file).unwrap_or_default();
    for (number, _) in entries(&text) {
        if !kept.contains(&number) {
            let (major, minor) = number;
            files.set(controller, file, format!("{major}:{minor} {nothing}"))?;
        }
    }
    Ok(())
}

/// The devices of a file's lines, and what stands behind each; a line for all of them (`default 100`) is none.
fn entries(text: &str) -> impl Iterator<Item = (Number, &str)> {
    text.lines().filter_map(|line| {
        let (device, rest) = line.split_once(' ')?;
        let (major, minor) = device.split_once(':')?;
        Some(((major.parse().ok()?, minor.parse().ok()?), rest))
    })
}

#[cfg(test)]
mod tests {
    use super::entries;

    #[test]
    fn lines_of_devices_are_told_from_others() {
        let text = "default 100\n8:0 rbps=1 wbps=max\n8:16 300\n";
        let found: Vec<_> = entries(text).collect();
        assert_eq!(found, [((8, 0), "rbps=1 wbps=max"), ((8, 16), "300")]);
    }
}
