//! Why something is open: lines `WHAT: REASON`, where `*` in WHAT stands for anything.

use std::path::Path;

use anyhow::{Context as _, Result};

pub(super) struct Reasons(Vec<(String, String)>);

impl Reasons {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {path:?}"))?;
        let lines = text
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let reason = |line: &str| -> Result<(String, String)> {
            let split = line.split_once(": ");
            let (what, why) = split.with_context(|| format!("{path:?}: no reason in {line:?}"))?;
            Ok((what.trim().to_owned(), why.trim().to_owned()))
        };
        Ok(Self(lines.map(reason).collect::<Result<_>>()?))
    }

    /// The reason for `what`; the first line that fits.
    pub(super) fn of(&self, what: &str) -> Option<&str> {
        let found = self.0.iter().find(|(pattern, _)| fits(pattern, what));
        found.map(|(_, why)| why.as_str())
    }
}

fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            (0..=text.len())
                .filter_map(|at| text.get(at..))
                .any(|tail| fits(rest, tail))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn stars_stand_for_anything() {
        assert!(fits("GET /x *Cpu*", "GET /x body HostConfig.CpuCount"));
        assert!(fits("a", "a") && !fits("a", "ab") && fits("a*", "a"));
        assert!(!fits("*b", "a"));
    }
}
