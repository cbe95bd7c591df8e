//! What files said before they were written, so that a change which fails on its way is no change.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use crate::group::write;

/// Files and what puts them back, the first written first.
#[derive(Debug, Default)]
pub(crate) struct Journal(RefCell<Vec<(PathBuf, String)>>);

impl Journal {
    /// Called before `value` is written to `file`.
    pub(super) fn remember(&self, file: &Path, value: &str) {
        let Ok(text) = std::fs::read_to_string(file) else {
            // It cannot be read, so it cannot be put back: none of a container's limits is like that.
            return;
        };
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let mut before = self.0.borrow_mut();
        before.extend(back(&name, &text, value).map(|text| (file.to_owned(), text)));
    }

    /// Writes them back, the last written first. What the kernel refuses now it keeps as it is.
    pub(crate) fn restore(&self) {
        for (file, text) in self.0.borrow_mut().drain(..).rev() {
            let _ = write(&file, &text);
        }
    }
}

/// What is written to the file `name`, which says `text`, to undo `value`.
fn back(name: &str, text: &str, value: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim);
    if name == "memory.oom_control" {
        let switch = lines.find_map(|line| line.strip_prefix("oom_kill_disable "));
        return switch.map(str::to_owned);
    }
    match entry_of(name, value) {
        // A line end alone empties a file that was empty.
        None => Some(
            lines
                .next()
                .filter(|line| !line.is_empty())
                .unwrap_or("\n")
                .to_owned(),
        ),
        Some((key, nothing)) => {
            let old =
                lines.find(|line| line.split_once(' ').is_some_and(|(first, _)| first == key));
            Some(old.map_or_else(|| format!("{key} {nothing}"), str::to_owned))
        }
    }
}

/// For a file with a line for each device or interface: the one that `value` is of, and what stands for none.
fn entry_of<'a>(name: &str, value: &'a str) -> Option<(&'a str, &'static str)> {
    let nothing = match name {
        "io.max" => "rbps=max wbps=max riops=max wiops=max",
        "io.weight" | "io.bfq.weight" => "default",
        "rdma.max" => "hca_handle=max hca_object=max",
        "net_prio.ifpriomap" => "0",
        name if name.starts_with("blkio.throttle.") || name.ends_with("weight_device") => "0",
        _ => return None,
    };
    // The group's own weight stands beside those of devices, or alone without a key.
    let (key, _) = value.split_once(' ')?;
    Some((key, if key == "default" { "100" } else { nothing }))
}

#[cfg(test)]
mod tests {
    use super::back;

    #[test]
    fn what_was_there_comes_back() {
        let back = |name, text, value| back(name, text, value).unwrap_or_default();
        assert_eq!(back("memory.max", "max\n", "100"), "max");
        assert_eq!(back("cpu.max", "5000 20000\n", "max 20000"), "5000 20000");
        let io = "8:0 rbps=max wbps=5 riops=max wiops=max\n";
        assert_eq!(back("io.max", io, "8:0 wbps=9"), io.trim_end());
        let none = "8:16 rbps=max wbps=max riops=max wiops=max";
        assert_eq!(back("io.max", io, "8:16 wbps=9"), none);
        assert_eq!(
            back("blkio.throttle.read_bps_device", "8:0 5\n", "8:0 9"),
            "8:0 5"
        );
        assert_eq!(back("blkio.throttle.read_bps_device", "", "8:0 9"), "8:0 0");
        assert_eq!(
            back("io.weight", "default 50\n8:0 70\n", "default 9"),
            "default 50"
        );
        assert_eq!(back("io.bfq.weight", "100\n", "300"), "100");
        assert_eq!(back("cpuset.cpus", "\n", "0-1"), "\n");
        let control = "oom_kill_disable 0\nunder_oom 0\n";
        assert_eq!(back("memory.oom_control", control, "1"), "0");
    }
}
