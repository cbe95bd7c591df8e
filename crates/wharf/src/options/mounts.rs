//! `-v`, `--mount`, `--tmpfs`.

use serde_json::{Map, Value, json};

use super::csv;
use crate::cli::number::parse_bool;
use crate::cli::{Flag, Kind, Matches, flag, list, text};

/// Flags of storage.
pub static FLAGS: &[Flag] = &[
    list(
        "volume",
        "Mount a volume or a path of the host: [SOURCE:]TARGET[:OPTIONS]",
    )
    .short('v'),
    flag(
        "mount",
        Kind::Checked("mount", check_mount),
        "Mount by fields: type=bind,source=…,target=…",
    ),
    list("tmpfs", "Mount a file system in memory: TARGET[:OPTIONS]"),
    list(
        "volumes-from",
        "Take over the mounts of another container: NAME[:ro|rw]",
    ),
    text(
        "volume-driver",
        "Driver for volumes that this container creates",
    ),
    list(
        "storage-opt",
        "Options of the storage driver for this container",
    ),
];

fn check_mount(value: &str) -> Result<String, String> {
    parse_mount(value).map(|_| value.to_owned())
}

/// Volumes and binds of `-v`: what has a source is a bind, the rest are anonymous volumes.
pub struct Volumes {
    /// `HostConfig.Binds`
    pub binds: Vec<String>,
    /// `Config.Volumes`
    pub anonymous: Map<String, Value>,
}

/// Sorts the values of `-v`.
pub fn volumes(matches: &Matches) -> Volumes {
    let mut volumes = Volumes {
        binds: Vec::new(),
        anonymous: Map::new(),
    };
    for spec in matches.list("volume") {
        match spec.split_once(':') {
            None => {
                volumes.anonymous.insert(spec.clone(), json!({}));
            }
            Some((source, rest)) => {
                let bind = match source.starts_with('.') {
                    true => format!("{}:{rest}", absolute(source)),
                    false => spec.clone(),
                };
                if !volumes.binds.contains(&bind) {
                    volumes.binds.push(bind);
                }
            }
        }
    }
    volumes
}

/// `--tmpfs` as `HostConfig.Tmpfs`.
pub fn tmpfs(matches: &Matches) -> Map<String, Value> {
    let split = |spec: &String| {
        let (target, options) = spec.split_once(':').unwrap_or((spec, ""));
        (target.to_owned(), Value::from(options))
    };
    matches.list("tmpfs").iter().map(split).collect()
}

/// `--mount` as `HostConfig.Mounts`; they were checked while parsing.
pub fn mounts(matches: &Matches) -> Result<Vec<Value>, String> {
    matches
        .list("mount")
        .iter()
        .map(|spec| parse_mount(spec))
        .collect()
}

fn absolute(path: &str) -> String {
    let joined = std::env::current_dir().unwrap_or_default().join(path);
    let mut clean = std::path::PathBuf::new();
    for part in joined.components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            std::path::Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean.to_string_lossy().into_owned()
}

#[derive(Default)]
struct Mount {
    kind: String,
    source: String,
    target: String,
    read_only: bool,
    consistency: String,
    bind: Map<String, Value>,
    volume: Map<String, Value>,
    image: Map<String, Value>,
    tmpfs: Map<String, Value>,
}

/// Reads one `--mount` into its JSON.
pub fn parse_mount(value: &str) -> Result<Value, String> {
    let mut mount = Mount {
        kind: "volume".to_owned(),
        ..Mount::default()
    };
    for field in csv::fields(value)? {
        match field.split_once('=') {
            Some((key, value)) => mount.set(&key.to_ascii_lowercase(), value, &field)?,
            None => mount.switch(&field)?,
        }
    }
    mount.finish()
}

impl Mount {
    fn switch(&mut self, field: &str) -> Result<(), String> {
        match field.to_ascii_lowercase().as_str() {
            "readonly" | "ro" => self.read_only = true,
            "volume-nocopy" => insert(&mut self.volume, "NoCopy", true),
            "bind-nonrecursive" => insert(&mut self.bind, "NonRecursive", true),
            "bind-create-src" => insert(&mut self.bind, "CreateMountpoint", true),
            "bind-idmap" | "idmap" => self.id_mapping("match-user")?,
            _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str, field: &str) -> Result<(), String> {
        let bad = || format!("invalid value for {key}: {value}");
        match key {
            "type" => self.kind = value.to_ascii_lowercase(),
            "source" | "src"
                if value == "." || value.starts_with("./") || value.starts_with("../") =>
            {
                self.source = absolute(value);
            }
            "source" | "src" => self.source = value.to_owned(),
            "target" | "dst" | "destination" => self.target = value.to_owned(),
            "readonly" | "ro" => self.read_only = parse_bool(value).map_err(|_| bad())?,
            "consistency" => self.consistency = value.to_ascii_lowercase(),
            "bind-propagation" => insert(&mut self.bind, "Propagation", value.to_ascii_lowercase()),
            "bind-nonrecursive" => {
                insert(
                    &mut self.bind,
                    "NonRecursive",
                    parse_bool(value).map_err(|_| bad())?,
                );
            }
            "bind-recursive" => self.bind_recursive(value)?,
            "bind-idmap" | "idmap" => self.id_mapping(value)?,
            "bind-create-src" => {
                insert(
                    &mut self.bind,
                    "CreateMountpoint",
                    parse_bool(value).map_err(|_| bad())?,
                );
            }
            "volume-subpath" => insert(&mut self.volume, "Subpath", value),
            "volume-nocopy" => {
                let on = parse_bool(value)
                    .map_err(|_| format!("invalid value for volume-nocopy: {value}"))?;
                insert(&mut self.volume, "NoCopy", on);
            }
            "volume-label" => set_pair(&mut self.volume, &["Labels"], value),
            "volume-driver" => set_deep(&mut self.volume, &["DriverConfig"], "Name", value),
            "volume-opt" => set_pair(&mut self.volume, &["DriverConfig", "Options"], value),
            "image-subpath" => insert(&mut self.image, "Subpath", value),
            "tmpfs-size" => insert(
                &mut self.tmpfs,
                "SizeBytes",
                wharf_go::ram_in_bytes(value).map_err(|_| bad())?,
            ),
            "tmpfs-mode" => {
                insert(
                    &mut self.tmpfs,
                    "Mode",
                    u32::from_str_radix(value, 8).map_err(|_| bad())?,
                );
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
        Ok(())
    }

    fn bind_recursive(&mut self, value: &str) -> Result<(), String> {
        match value {
            "enabled" => {}
            "disabled" => insert(&mut self.bind, "NonRecursive", true),
            "writable" => insert(&mut self.bind, "ReadOnlyNonRecursive", true),
            "readonly" => insert(&mut self.bind, "ReadOnlyForceRecursive", true),
            _ => {
                return Err(format!(
                    "invalid value for bind-recursive: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                ));
            }
        }
        Ok(())
    }

    /// `match-user[:USER]`, or rows as Podman writes them: `uids=ON_DISK-SHOWN-SIZE[#…];gids=…`.
    fn id_mapping(&mut self, value: &str) -> Result<(), String> {
        let bad = || {
            format!(
                "invalid value for bind-idmap: {value} (must be \"match-user[:USER]\", or rows: \"uids=HOST-CONTAINER-SIZE[#...];gids=...\")"
            )
        };
        let mapping = match value.split_once(':').unwrap_or((value, "")) {
            ("match-user", "") => json!({ "Source": "match-user" }),
            ("match-user", user) => json!({ "Source": "match-user", "User": user }),
            _ => {
                let mut mapping = json!({});
                for part in value.split(';') {
                    let (key, rows) = match part.split_once('=').ok_or_else(bad)? {
                        ("uids", rows) => ("UIDMappings", rows),
                        ("gids", rows) => ("GIDMappings", rows),
                        _ => return Err(bad()),
                    };
                    let rows: Option<Vec<Value>> = rows.split('#').map(id_range).collect();
                    mapping[key] = rows.ok_or_else(bad)?.into();
                }
                mapping
            }
        };
        insert(&mut self.bind, "IDMapping", mapping);
        Ok(())
    }

    fn finish(self) -> Result<Value, String> {
        if self.kind.is_empty() {
            return Err("type is required".to_owned());
        }
        if self.target.is_empty() {
            return Err("target is required".to_owned());
        }
        let groups = [
            ("volume", &self.volume, "VolumeOptions"),
            ("bind", &self.bind, "BindOptions"),
            ("image", &self.image, "ImageOptions"),
            ("tmpfs", &self.tmpfs, "TmpfsOptions"),
        ];
        let mut mount = json!({"Type": self.kind, "Source": self.source, "Target": self.target});
        for (kind, options, field) in groups {
            if options.is_empty() {
                continue;
            }
            if self.kind != kind {
                return Err(format!(
                    "cannot mix '{kind}-*' options with mount type '{}'",
                    self.kind
                ));
            }
            mount[field] = Value::Object(options.clone());
        }
        if self.bind.contains_key("ReadOnlyForceRecursive") && !self.read_only {
            return Err("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction".to_owned());
        }
        if self.read_only {
            mount["ReadOnly"] = true.into();
        }
        if !self.consistency.is_empty() {
            mount["Consistency"] = self.consistency.into();
        }
        Ok(mount)
    }
}

fn id_range(row: &str) -> Option<Value> {
    let numbers: Option<Vec<u32>> = row.split('-').map(|number| number.parse().ok()).collect();
    match numbers?[..] {
        [host, container, size] => {
            Some(json!({ "HostID": host, "ContainerID": container, "Size": size }))
        }
        _ => None,
    }
}

fn insert(map: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    map.insert(key.to_owned(), value.into());
}

fn set_pair(map: &mut Map<String, Value>, path: &[&str], pair: &str) {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    if !key.is_empty() {
        set_deep(map, path, key, value);
    }
}

fn set_deep(map: &mut Map<String, Value>, path: &[&str], key: &str, value: &str) {
    let Some((first, rest)) = path.split_first() else {
        insert(map, key, value);
        return;
    };
    let inner = map.entry((*first).to_owned()).or_insert_with(|| json!({}));
    if let Some(inner) = inner.as_object_mut() {
        set_deep(inner, rest, key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: &str, expected: &str) {
        let shown = parse_mount(spec).map_or_else(|error| error, |mount| mount.to_string());
        assert_eq!(shown, expected, "{spec}");
    }

    #[test]
    fn mount_specs() {
        check(
            "type=bind,src=/a,dst=/b,ro",
            r#"{"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true}"#,
        );
        check(
            "target=/d,volume-driver=local,volume-opt=type=tmpfs,\"volume-opt=o=size=1,uid=2\"",
            r#"{"Type":"volume","Source":"","Target":"/d","VolumeOptions":{"DriverConfig":{"Name":"local","Options":{"type":"tmpfs","o":"size=1,uid=2"}}}}"#,
        );
        check(
            "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770",
            r#"{"Type":"tmpfs","Source":"","Target":"/t","TmpfsOptions":{"SizeBytes":1048576,"Mode":1016}}"#,
        );
        check(
            "type=bind,src=/a,dst=/b,bind-idmap=match-user:app",
            r#"{"Type":"bind","Source":"/a","Target":"/b","BindOptions":{"IDMapping":{"Source":"match-user","User":"app"}}}"#,
        );
        check(
            "type=bind,src=/a,dst=/b,idmap=uids=0-1000-1#1-1-5;gids=0-0-9",
            r#"{"Type":"bind","Source":"/a","Target":"/b","BindOptions":{"IDMapping":{"UIDMappings":[{"HostID":0,"ContainerID":1000,"Size":1},{"HostID":1,"ContainerID":1,"Size":5}],"GIDMappings":[{"HostID":0,"ContainerID":0,"Size":9}]}}}"#,
        );
        check("x", "invalid field 'x' must be a key=value pair");
        check("type=bind,foo=1", "unexpected key 'foo' in 'foo=1'");
        check("type=bind,src=/a", "target is required");
        check(
            "type=tmpfs,target=/a,volume-nocopy",
            "cannot mix 'volume-*' options with mount type 'tmpfs'",
        );
        check("target=/a,ro=maybe", "invalid value for ro: maybe");
    }
}
