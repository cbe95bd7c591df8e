//! Device rules as `DevicePolicy=` and `DeviceAllow=`. systemd knows no rule that denies: what a rule takes away again
//! is held by the group's own filter alone, which is set after systemd's.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use wharf_dbus::Value;

use super::Property;

/// What remains of the rules, from nothing allowed on; `None` if all is allowed that no rule denies.
pub(super) fn properties(rules: &[LinuxDeviceCgroup]) -> Vec<Property> {
    let devices = std::fs::read_to_string("/proc/devices").unwrap_or_default();
    let (policy, entries) = match allowed(rules) {
        None => ("auto", Vec::new()),
        Some(rules) => (
            "strict",
            rules
                .into_iter()
                .filter_map(|rule| entry(rule, &devices))
                .collect(),
        ),
    };
    let allow = |entries| ("DeviceAllow".to_owned(), Value::Pairs(entries));
    let policy = ("DevicePolicy".to_owned(), Value::Text(policy.to_owned()));
    // An empty list takes away what was there.
    let mut all = vec![policy, allow(Vec::new())];
    if !entries.is_empty() {
        all.push(allow(entries));
    }
    all
}

fn allowed(rules: &[LinuxDeviceCgroup]) -> Option<Vec<&LinuxDeviceCgroup>> {
    let mut kept: Option<Vec<&LinuxDeviceCgroup>> = Some(Vec::new());
    for rule in rules {
        match (is_of_all(rule), rule.allow()) {
            (true, true) => kept = None,
            (true, false) => kept = Some(Vec::new()),
            (false, true) => kept.iter_mut().for_each(|kept| kept.push(rule)),
            (false, false) => {
                let same = |one: &LinuxDeviceCgroup| {
                    (one.typ(), one.major(), one.minor(), one.access())
                        == (rule.typ(), rule.major(), rule.minor(), rule.access())
                };
                kept.iter_mut()
                    .for_each(|kept| kept.retain(|one| !same(one)));
            }
        }
    }
    kept
}

fn is_of_all(rule: &LinuxDeviceCgroup) -> bool {
    !matches!(
        rule.typ().unwrap_or_default(),
        LinuxDeviceType::B | LinuxDeviceType::C | LinuxDeviceType::U
    )
}

/// As `systemd.resource-control(5)` names the device, or all of its driver (`devices` is `/proc/devices`).
fn entry(rule: &LinuxDeviceCgroup, devices: &str) -> Option<(String, String)> {
    let (kind, heading) = match rule.typ().unwrap_or_default() {
        LinuxDeviceType::B => ("block", "Block devices:"),
        _ => ("char", "Character devices:"),
    };
    let number = |number: Option<i64>| number.filter(|number| *number >= 0);
    let name = match (number(rule.major()), number(rule.minor())) {
        (None, None) => format!("{kind}-*"),
        // Any device of one minor number is beyond systemd.
        (None, Some(_)) => return None,
        (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
        (Some(major), None) => {
            let mut lines = devices.lines().skip_while(|line| *line != heading).skip(1);
            let driver = lines
                .by_ref()
                .take_while(|line| !line.is_empty())
                .find_map(|line| {
                    let (number, driver) = line.trim().split_once(' ')?;
                    (number.parse() == Ok(major)).then_some(driver)
                })?;
            format!("{kind}-{driver}")
        }
    };
    let access = rule.access().clone().unwrap_or_else(|| "rwm".to_owned());
    Some((name, access))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: &str) -> Vec<LinuxDeviceCgroup> {
        serde_json::from_str(json).expect("rules")
    }

    #[test]
    fn rules_become_names_of_devices() {
        let devices = "Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  8 sd\n";
        let rules = rules(
            r#"[{"allow":false,"access":"rwm"},
                {"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},
                {"allow":true,"type":"c","access":"m"},
                {"allow":true,"type":"c","major":136,"access":"rw"},
                {"allow":true,"type":"b","major":8,"access":"r"},
                {"allow":true,"type":"c","major":77,"access":"r"},
                {"allow":true,"type":"c","major":1,"minor":8,"access":"r"},
                {"allow":false,"type":"c","major":1,"minor":8,"access":"r"}]"#,
        );
        let kept = allowed(&rules).expect("a list").into_iter();
        let names: Vec<String> = kept
            .filter_map(|rule| entry(rule, devices))
            .map(|(name, access)| format!("{name} {access}"))
            .collect();
        assert_eq!(
            names,
            ["/dev/char/1:3 rwm", "char-* m", "char-pts rw", "block-sd r"]
        );
    }

    #[test]
    fn who_may_everything_has_no_list() {
        let all = rules(r#"[{"allow":false},{"allow":true,"access":"rwm"}]"#);
        assert!(allowed(&all).is_none());
        let policy = properties(&all);
        assert_eq!(policy[0].1, Value::Text("auto".to_owned()));
        assert_eq!(policy.len(), 2);
    }
}
