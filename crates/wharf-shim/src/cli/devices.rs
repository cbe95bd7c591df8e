//! The device rules that every container gets around those of its spec, as with runc (`libcontainer/specconv`,
//! `AllowedDevices`): what no rule names is denied, and without those behind it could not even have its /dev/null made.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, LinuxResources};
use serde_json::{Value, json};

/// Kind, numbers (-1: any) and access.
const ALLOWED: &[(&str, i64, i64, &str)] = &[
    ("c", -1, -1, "m"),
    ("b", -1, -1, "m"),
    ("c", 1, 3, "rwm"),
    ("c", 1, 5, "rwm"),
    ("c", 1, 7, "rwm"),
    ("c", 1, 8, "rwm"),
    ("c", 1, 9, "rwm"),
    ("c", 5, 0, "rwm"),
    ("c", 5, 2, "rwm"),
    ("c", 136, -1, "rwm"),
];

/// `resources` with all devices denied before its own rules, and the default ones behind them.
pub(super) fn with_defaults(resources: Option<&LinuxResources>) -> Result<LinuxResources, String> {
    let mut all = resources.cloned().unwrap_or_default();
    let own = all.devices().clone().unwrap_or_default();
    let decides = |rule: &LinuxDeviceCgroup| {
        rule.typ().unwrap_or_default() == LinuxDeviceType::A
            && rule.access().as_deref() == Some("rwm")
    };
    let mut rules = Vec::new();
    // Each rule is a write to a file, or instructions.
    if !own.first().is_some_and(decides) {
        let none = json!({ "allow": false, "access": "rwm" });
        rules.push(serde_json::from_value(none).map_err(|error| error.to_string())?);
    }
    rules.extend(own);
    for (kind, major, minor, access) in ALLOWED {
        let mut rule = json!({ "allow": true, "type": kind, "access": access });
        for (key, number) in [("major", *major), ("minor", *minor)] {
            if number >= 0 {
                rule[key] = Value::from(number);
            }
        }
        rules.push(serde_json::from_value(rule).map_err(|error| error.to_string())?);
    }
    all.set_devices(Some(rules));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_stand_behind_a_denial_of_all() {
        let resources = r#"{"devices":[{"allow":false,"access":"rwm"}]}"#;
        let resources = serde_json::from_str(resources).expect("resources");
        for given in [Some(&resources), None] {
            let rules = with_defaults(given).expect("rules");
            let rules = rules.devices().clone().expect("rules");
            assert!(!rules[0].allow());
            assert_eq!(rules.len(), 1 + ALLOWED.len());
            assert_eq!((rules[3].major(), rules[3].minor()), (Some(1), Some(3)));
        }
    }

    #[test]
    fn one_that_is_allowed_does_not_open_the_others() {
        let resources = r#"{"devices":[{"allow":true,"type":"c","major":10,"access":"r"}]}"#;
        let resources = serde_json::from_str(resources).expect("resources");
        let rules = with_defaults(Some(&resources)).expect("rules");
        let rules = rules.devices().clone().expect("rules");
        let allowed: Vec<bool> = rules.iter().map(LinuxDeviceCgroup::allow).collect();
        assert_eq!(allowed[..2], [false, true]);
        assert_eq!(rules.len(), 2 + ALLOWED.len());
    }
}
