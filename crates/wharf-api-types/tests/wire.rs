//! Documents as clients send them and as dockerd answers them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};
use wharf_api_types::{ContainerCreateRequest, ContainerInspect, HostConfig, StrSlice};

#[test]
fn what_a_client_leaves_out_or_sets_to_null_is_zero() {
    let request: ContainerCreateRequest = serde_json::from_value(json!({
        "Image": "busybox", "Cmd": "true", "Env": null, "Labels": null, "ExposedPorts": null, "Unknown": 1,
        "HostConfig": { "Memory": null, "PortBindings": { "80/tcp": null }, "LogConfig": null, "RestartPolicy": {} }
    }))
    .unwrap();
    assert_eq!(request.config.cmd, Some(StrSlice(vec!["true".into()])));
    let host = request.host_config.unwrap();
    assert_eq!(host.resources.memory, 0);
    assert_eq!(host.port_bindings.unwrap()["80/tcp"], None);
}

#[test]
fn nil_is_null_where_go_has_no_omitempty() {
    let host = serde_json::to_value(HostConfig::default()).unwrap();
    for (field, expected) in [
        ("Binds", Value::Null),
        ("PortBindings", Value::Null),
        ("Dns", Value::Null),
        ("ConsoleSize", json!([0, 0])),
        ("PidsLimit", Value::Null),
        ("BlkioDeviceReadIOps", Value::Null),
        ("UTSMode", json!("")),
    ] {
        assert_eq!(host.get(field), Some(&expected), "{field}");
    }
    for absent in ["Tmpfs", "Mounts", "Init", "Annotations", "Runtime"] {
        assert_eq!(host.get(absent), None, "{absent}");
    }
}

#[test]
fn an_inspect_survives_a_round_trip() {
    let inspect = ContainerInspect {
        id: "x".into(),
        ..ContainerInspect::default()
    };
    let text = serde_json::to_string(&inspect).unwrap();
    assert_eq!(
        serde_json::from_str::<ContainerInspect>(&text).unwrap(),
        inspect
    );
}
