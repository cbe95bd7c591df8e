//! The device rules that every container gets behind those of its spec, as runc appends them
//! (`libcontainer/specconv`, `AllowedDevices`): without them it could not even have its /dev/null made.

use oci_spec::runtime::LinuxResources;
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

/// `resources` with the default rules behind its own.
pub(super) fn with_defaults(resources: &LinuxResources) -> Result<LinuxResources, String> {
    let mut all = resources.clone();
    let mut rules = all.devices().clone().unwrap_or_default();
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
        let rules = with_defaults(&resources).expect("rules");
        let rules = rules.devices().clone().expect("rules");
        assert!(!rules[0].allow());
        assert_eq!(rules.len(), 1 + ALLOWED.len());
        assert_eq!((rules[3].major(), rules[3].minor()), (Some(1), Some(3)));
    }
}
