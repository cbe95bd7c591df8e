//! The OCI spec of an ordinary container, as a file to read and compare.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use wharf_bundle::{ContainerSpec, HostFacts, Mount, MountSource, Namespace, to_oci};

fn ordinary() -> ContainerSpec {
    ContainerSpec {
        args: vec!["sleep".into(), "1".into()],
        env: vec!["PATH=/bin".into()],
        hostname: "harbour".into(),
        shm_size: 64 << 20,
        cgroup_path: "/wharf/id".into(),
        ..ContainerSpec::default()
    }
}

fn oci(spec: &ContainerSpec) -> serde_json::Value {
    let facts = HostFacts {
        capabilities: u64::MAX,
    };
    serde_json::to_value(to_oci(spec, &facts).unwrap()).unwrap()
}

#[test]
fn an_ordinary_container() {
    let mut document = oci(&ordinary());
    // Sets have no order of their own.
    for set in ["bounding", "effective", "permitted"] {
        let names = document["process"]["capabilities"][set]
            .as_array_mut()
            .unwrap();
        names.sort_by_key(|name| name.as_str().unwrap().to_owned());
    }
    let text = format!("{}\n", serde_json::to_string_pretty(&document).unwrap());
    let path = concat!(
        env!("WHARF_ROOT"),
        "/crates/wharf-bundle/tests/ordinary.json"
    );
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(
        text,
        std::fs::read_to_string(path).unwrap(),
        "UPDATE_GOLDEN=1 writes it anew"
    );
}

#[test]
fn a_user_mount_takes_a_defaults_place_and_stands_in_its_depth() {
    let mut spec = ordinary();
    for (destination, path) in [("/data/deep/er", "/a"), ("/dev/shm", "/b"), ("/data", "/c")] {
        let source = MountSource::Bind {
            path: path.into(),
            non_recursive: false,
            propagation: "rprivate".into(),
            subpath: String::new(),
            owners: Default::default(),
        };
        spec.mounts.push(Mount {
            destination: destination.into(),
            source,
            read_only: true,
            recursive: true,
        });
    }
    let document = oci(&spec);
    let mounts = document["mounts"].as_array().unwrap();
    let targets: Vec<_> = mounts
        .iter()
        .map(|mount| mount["destination"].as_str().unwrap())
        .collect();
    let at = |target: &str| targets.iter().position(|one| *one == target).unwrap();
    assert!(at("/data") < at("/data/deep/er"));
    assert_eq!(targets.iter().filter(|one| **one == "/dev/shm").count(), 1);
    assert_eq!(mounts[at("/dev/shm")]["source"], "/b");
    assert_eq!(
        mounts[at("/data")]["options"],
        serde_json::json!(["rbind", "rro", "rprivate"])
    );
}

#[test]
fn a_privileged_container_is_not_guarded() {
    let spec = ContainerSpec {
        privileged: true,
        ..ordinary()
    };
    let document = oci(&spec);
    assert_eq!(document["linux"]["maskedPaths"], serde_json::json!([]));
    assert_eq!(
        document["process"]["capabilities"]["effective"]
            .as_array()
            .unwrap()
            .len(),
        41
    );
    assert_eq!(
        document["linux"]["resources"]["devices"],
        serde_json::json!([{ "allow": true, "access": "rwm" }])
    );
}

#[test]
fn namespaces_are_new_joined_or_the_hosts() {
    let mut spec = ordinary();
    spec.namespaces.pid = Namespace::Host;
    spec.namespaces.network = Namespace::Path("/proc/7/ns/net".into());
    let document = oci(&spec);
    let list = document["linux"]["namespaces"].as_array().unwrap();
    assert!(list.iter().all(|one| one["type"] != "pid"));
    assert!(list.contains(&serde_json::json!({ "type": "network", "path": "/proc/7/ns/net" })));
}

#[test]
fn who_brings_a_dev_brings_what_is_in_it() {
    let mut spec = ordinary();
    spec.mounts.push(Mount {
        destination: "/dev".into(),
        source: MountSource::Bind {
            path: "/dev".into(),
            non_recursive: false,
            propagation: "rprivate".into(),
            subpath: String::new(),
            owners: Default::default(),
        },
        read_only: false,
        recursive: true,
    });
    let document = oci(&spec);
    let mounts = document["mounts"].as_array().unwrap();
    let targets = mounts
        .iter()
        .map(|mount| mount["destination"].as_str().unwrap());
    let below: Vec<_> = targets.filter(|one| one.starts_with("/dev")).collect();
    assert_eq!(below, ["/dev", "/dev/shm"]);
}

/// The queues of the host are there whether it has mounted them or not.
#[test]
fn the_hosts_ipc_brings_its_queues() {
    let mut spec = ordinary();
    spec.namespaces.ipc = Namespace::Host;
    let oci = oci(&spec);
    let mounts = oci["mounts"].as_array().unwrap();
    let queues: Vec<_> = mounts
        .iter()
        .filter(|mount| mount["destination"] == "/dev/mqueue")
        .collect();
    assert_eq!(queues.len(), 1);
    assert_eq!(queues[0]["type"], "mqueue");
}
