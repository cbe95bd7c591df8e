//! Replies for older clients: one function for each version step, from the newest down.
//!
//! Handlers know the newest API only. A step takes a JSON document of the newer version and makes it what the
//! older one promised.
//!
//! What 1.52 and 1.53 took out is given beside what replaced it, in all versions: docker-py, aiodocker and Ansible ask for the newest
//! that the daemon has, and hand it to programs of all years; who looks for no such field passes over it.

mod create;
mod mac_address;
mod parameters;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wharf_api_types::{
    ContainerInspect, ContainerSummary, DefaultNetworkSettings, EndpointSettings,
};

pub(crate) use self::create::container_create;
pub(crate) use self::parameters::is_known;
use crate::version::ApiVersion;

/// `GET /containers/{id}/json` as it was asked for.
pub(crate) fn container_inspect(inspect: &mut ContainerInspect, version: ApiVersion) {
    if version.before(56) {
        inspect.host_config.umask = None;
    }
    inspect.network_settings.of_bridge = Some(of_bridge(&inspect.network_settings.networks));
    inspect.config.on_build.get_or_insert(None);
    if version.before(48) {
        inspect.image_manifest_descriptor = None;
    }
    for endpoint in inspect.network_settings.networks.values_mut() {
        endpoint_settings(endpoint, version);
    }
}

/// An endpoint as `version` has it.
fn endpoint_settings(endpoint: &mut EndpointSettings, version: ApiVersion) {
    if version.before(48) {
        endpoint.gw_priority = None;
    }
    if version.before(45) {
        endpoint_before_45(endpoint);
    }
}

/// 1.45 took the container's short id out of `Aliases`, as it is in `DNSNames`, which clients of all versions get.
fn endpoint_before_45(endpoint: &mut EndpointSettings) {
    let is_short = |name: &&String| name.len() == 12 && name.bytes().all(|c| c.is_ascii_hexdigit());
    let names = endpoint.dns_names.as_deref().unwrap_or_default();
    let Some(short) = names.iter().rfind(is_short) else {
        return;
    };
    let aliases = endpoint.aliases.get_or_insert_default();
    if !aliases.contains(short) {
        aliases.push(short.clone());
    }
}

/// What 1.52 took out: the default bridge's endpoint.
fn of_bridge(networks: &BTreeMap<String, EndpointSettings>) -> DefaultNetworkSettings {
    let Some(bridge) = networks.get("bridge").cloned() else {
        return DefaultNetworkSettings::default();
    };
    DefaultNetworkSettings {
        endpoint_id: bridge.endpoint_id,
        gateway: bridge.gateway,
        global_ipv6_address: bridge.global_ipv6_address,
        global_ipv6_prefix_len: bridge.global_ipv6_prefix_len,
        ip_address: bridge.ip_address,
        ip_prefix_len: bridge.ip_prefix_len,
        ipv6_gateway: bridge.ipv6_gateway,
        mac_address: bridge.mac_address,
        ..DefaultNetworkSettings::default()
    }
}

/// `GET /info` as `version` has it.
pub(crate) fn info(document: &mut Value, version: ApiVersion) {
    if version.before(53) {
        remove(document, &["NRI"]);
    }
    if version.before(52) {
        // Of v1 alone, and gone from kernel 5.16 on.
        let is_v1 = document["CgroupVersion"] == "1";
        set_if(document, is_v1, "KernelMemoryTCP");
    }
    if version.before(50) {
        remove(document, &["DiscoveredDevices"]);
        document["BridgeNfIptables"] = json!(false);
        document["BridgeNfIp6tables"] = json!(false);
    }
    if version.before(49) {
        info_before_49(document);
    }
    if version.before(46) {
        remove(document, &["Containerd"]);
    }
    if version.before(44) {
        remove(document, &["CDISpecDirs"]);
        let runtimes = document["Runtimes"].as_object_mut().into_iter().flatten();
        runtimes.for_each(|(_, runtime)| remove(runtime, &["status"]));
    }
    if version.before(42) {
        let is_v1 = document["CgroupVersion"] == "1";
        set_if(document, is_v1, "KernelMemory");
    }
    if version.before(25) {
        info_before_25(document);
    }
}

fn set_if(document: &mut Value, is_set: bool, name: &str) {
    if is_set {
        document[name] = json!(true);
    }
}

/// 1.49 took out the versions that were expected of other programs, and artifacts that may not be distributed.
fn info_before_49(document: &mut Value) {
    remove(document, &["FirewallBackend"]);
    for name in ["ContainerdCommit", "RuncCommit", "InitCommit"] {
        let version = document[name]["ID"].clone();
        if let Some(fields) = document[name].as_object_mut() {
            fields.insert("Expected".to_owned(), version);
        }
    }
    if let Some(fields) = document["RegistryConfig"].as_object_mut() {
        for name in ["CIDRs", "Hostnames"] {
            fields.insert(format!("AllowNondistributableArtifacts{name}"), Value::Null);
        }
    }
}

/// 1.25 made security options lists of `key=value`.
fn info_before_25(document: &mut Value) {
    document["ExecutionDriver"] = json!("<not supported>");
    let options = document["SecurityOptions"].as_array_mut();
    for option in options.into_iter().flatten() {
        let name = option.as_str().and_then(|text| {
            let mut pairs = text.split(',').filter_map(|pair| pair.split_once('='));
            let name = pairs.find(|(key, _)| *key == "name")?;
            Some(name.1.to_owned())
        });
        if let Some(name) = name {
            *option = json!(name);
        }
    }
}

/// The size of a terminal that `POST /containers/{id}/exec` or `POST /exec/{id}/start` of a client of `version` asks for.
pub(crate) fn exec_size(size: &mut Option<[u32; 2]>, version: ApiVersion) {
    if version.before(42) {
        *size = None;
    }
}

/// The body of `POST /containers/{id}/update` of a client of `version`.
pub(crate) fn update(resources: &mut wharf_api_types::Resources, version: ApiVersion) {
    if version.before(40) {
        // A client of then sends 0 for nothing.
        resources.pids_limit = None;
    }
    if !version.before(42) {
        resources.kernel_memory = 0;
    }
    if version.before(55) {
        // They were in the description, and nothing came of them.
        resources.blkio_weight_device = None;
        resources.blkio_device_read_bps = None;
        resources.blkio_device_write_bps = None;
        resources.blkio_device_read_iops = None;
        resources.blkio_device_write_iops = None;
    }
    // Both 0 and anything below are without limit.
    if resources.pids_limit.is_some_and(|limit| limit <= 0) {
        resources.pids_limit = Some(0);
    }
}

/// A document of `GET /containers/{id}/stats` as `version` has it.
pub(crate) fn stats(document: &mut Value, version: ApiVersion) {
    if version.before(52)
        && let Some(fields) = document.as_object_mut()
    {
        fields.shift_remove("os_type");
    }
}

/// A row of `GET /containers/json` as `version` has it.
pub(crate) fn container_summary(row: &mut ContainerSummary, version: ApiVersion) {
    if version.before(52) {
        row.health = None;
    }
    if version.before(46) {
        row.host_config.annotations.clear();
    }
    if version.before(48) {
        let endpoints = row.network_settings.networks.values_mut();
        endpoints.for_each(|endpoint| endpoint.gw_priority = None);
    }
}

/// `GET /networks` as `version` has it: until 1.52 a row was a whole network, whose containers were not looked up.
pub(crate) fn network_list(networks: &mut Value, version: ApiVersion) {
    for network in networks.as_array_mut().into_iter().flatten() {
        if let Some(fields) = network.as_object_mut() {
            fields.entry("Containers").or_insert_with(|| json!({}));
        }
        network_before_48(network, version);
    }
}

/// 1.48 said of a network whether it has IPv4.
fn network_before_48(network: &mut Value, version: ApiVersion) {
    if version.before(48) {
        remove(network, &["EnableIPv4"]);
    }
}

/// `GET /networks/{id}` as `version` has it.
pub(crate) fn network_inspect(document: &mut Value, version: ApiVersion) {
    if version.before(52) {
        remove(document, &["Status"]);
    }
    network_before_48(document, version);
}

/// `GET /images/{name}/json` as `version` has it.
pub(crate) fn image_inspect(document: &mut Value, version: ApiVersion, config: &[u8]) {
    if version.before(53) {
        remove(document, &["Identity"]);
    }
    if version.before(48) {
        remove(document, &["Descriptor", "Manifests"]);
    }
    if version.before(50) {
        let written: Value = serde_json::from_slice(config).unwrap_or_default();
        container_fields(&mut document["Config"], &written["config"]);
        if version.before(45) {
            container_of(document, &written);
        }
    }
    if version.before(44) {
        document["VirtualSize"] = document["Size"].clone();
    }
}

/// 1.50 took fields out of `Config` that are a container's, not an image's. Their values are what the image's
/// configuration happens to have.
fn container_fields(settings: &mut Value, written: &Value) {
    let fields = [
        ("Hostname", json!("")),
        ("Domainname", json!("")),
        ("AttachStdin", json!(false)),
        ("AttachStdout", json!(false)),
        ("AttachStderr", json!(false)),
        ("Tty", json!(false)),
        ("OpenStdin", json!(false)),
        ("StdinOnce", json!(false)),
        ("Image", json!("")),
    ];
    for (field, zero) in fields {
        let value = written.get(field).filter(|value| !value.is_null());
        settings[field] = value.cloned().unwrap_or(zero);
    }
}

/// 1.45 took out the container that an image was made from.
fn container_of(document: &mut Value, written: &Value) {
    if let Some(id) = written["container"].as_str().filter(|id| !id.is_empty()) {
        document["Container"] = json!(id);
    }
    let mut settings = written["container_config"].clone();
    if !settings.is_object() {
        settings = json!({});
    }
    for field in ["Env", "Cmd", "Volumes", "Entrypoint", "OnBuild", "Labels"] {
        if settings.get(field).is_none() {
            settings[field] = Value::Null;
        }
    }
    for field in ["User", "WorkingDir"] {
        if settings.get(field).is_none() {
            settings[field] = json!("");
        }
    }
    let known = settings.clone();
    container_fields(&mut settings, &known);
    document["ContainerConfig"] = settings;
}

fn remove(document: &mut Value, names: &[&str]) {
    if let Some(fields) = document.as_object_mut() {
        for name in names {
            fields.shift_remove(*name);
        }
    }
}

/// Whether `GET /system/df` has the fields of before 1.52, where all objects are there, and null what was not asked for.
/// They are beside the new ones, unless the details of those are asked for.
pub(crate) fn has_old_disk_usage(version: ApiVersion, verbose: bool) -> bool {
    version.before(52) || !verbose
}

/// A container of `GET /system/df` of before 1.52.
fn usage_before_52(container: &mut Value, version: ApiVersion) {
    remove(container, &["Health"]);
    if version.before(46) {
        remove(&mut container["HostConfig"], &["Annotations"]);
    }
    if version.before(48) {
        let networks = container["NetworkSettings"]["Networks"].as_object_mut();
        for (_, endpoint) in networks.into_iter().flatten() {
            remove(endpoint, &["GwPriority"]);
        }
    }
}

/// The fields of before 1.52.
pub(crate) fn old_disk_usage(document: &Value, version: ApiVersion) -> Value {
    let items = |kind: &str| document[kind]["Items"].clone();
    let mut images = items("ImageUsage");
    for image in images.as_array_mut().into_iter().flatten() {
        image_summary(image, version);
    }
    let mut containers = items("ContainerUsage");
    for container in containers.as_array_mut().into_iter().flatten() {
        usage_before_52(container, version);
    }
    let size = document["ImageUsage"]["TotalSize"].as_i64().unwrap_or(0);
    json!({
        "LayersSize": size,
        "Images": images,
        "Containers": containers,
        "Volumes": items("VolumeUsage"),
        "BuildCache": items("BuildCacheUsage"),
    })
}

/// A row of `GET /images/json` as `version` has it.
pub(crate) fn image_summary(row: &mut Value, version: ApiVersion) {
    if version.before(48) {
        remove(row, &["Descriptor"]);
    }
    if version.before(44) {
        row["VirtualSize"] = row["Size"].clone();
    }
    if version.before(43) {
        let fields = [
            ("RepoTags", "<none>:<none>"),
            ("RepoDigests", "<none>@<none>"),
        ];
        let is_empty = |field: &str| row[field].as_array().is_none_or(Vec::is_empty);
        // Dangling images had names before.
        let dangling = fields.iter().all(|(field, _)| is_empty(field));
        for (field, none) in fields {
            if row[field].as_array().is_none_or(Vec::is_empty) {
                row[field] = if dangling { json!([none]) } else { Value::Null };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::Asked;

    fn shown(version: Option<&str>) -> Value {
        let names = ["c1", "0123456789ab"].map(str::to_owned).to_vec();
        let endpoint = EndpointSettings {
            gw_priority: Some(0),
            ip_address: "172.17.0.2".to_owned(),
            dns_names: Some(names),
            ..EndpointSettings::default()
        };
        let mut inspect = ContainerInspect {
            image_manifest_descriptor: Some(Default::default()),
            ..ContainerInspect::default()
        };
        inspect.host_config.umask = Some(18);
        let networks = &mut inspect.network_settings.networks;
        networks.insert("bridge".to_owned(), endpoint);
        container_inspect(&mut inspect, Asked::of(version).version);
        serde_json::to_value(&inspect).unwrap()
    }

    /// Whether there are the fields Umask, the default bridge's address, OnBuild, ImageManifestDescriptor, GwPriority, and the short
    /// id among the aliases.
    fn facts(version: Option<&str>) -> [bool; 6] {
        let shown = shown(version);
        let settings = &shown["NetworkSettings"];
        let endpoint = &settings["Networks"]["bridge"];
        [
            shown["HostConfig"].get("Umask").is_some(),
            settings.get("IPAddress") == Some(&json!("172.17.0.2")),
            shown["Config"].get("OnBuild") == Some(&Value::Null),
            shown.get("ImageManifestDescriptor").is_some(),
            endpoint.get("GwPriority").is_some(),
            endpoint["Aliases"] == json!(["0123456789ab"]),
        ]
    }

    #[test]
    fn a_container_is_shown_as_of_its_version() {
        for (version, expected) in [
            (Some("1.56"), [true, true, true, true, true, false]),
            (None, [true, true, true, true, true, false]),
            (Some("1.55"), [false, true, true, true, true, false]),
            (Some("1.51"), [false, true, true, true, true, false]),
            (Some("1.47"), [false, true, true, false, false, false]),
            (Some("1.44"), [false, true, true, false, false, true]),
        ] {
            assert_eq!(facts(version), expected, "{version:?}");
        }
        let old = shown(Some("1.51"));
        let settings = old["NetworkSettings"].as_object().unwrap();
        let names: Vec<_> = settings.keys().skip(4).map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "EndpointID",
                "Gateway",
                "GlobalIPv6Address",
                "GlobalIPv6PrefixLen",
                "IPAddress",
                "IPPrefixLen",
                "IPv6Gateway",
                "MacAddress",
                "Bridge",
                "HairpinMode",
                "LinkLocalIPv6Address",
                "LinkLocalIPv6PrefixLen",
                "SecondaryIPAddresses",
                "SecondaryIPv6Addresses",
            ]
        );
        let keys: Vec<_> = old["Config"].as_object().unwrap().keys().collect();
        let on_build = keys.iter().position(|key| *key == "OnBuild").unwrap();
        assert_eq!(keys[on_build + 1], "Labels");
    }
}
