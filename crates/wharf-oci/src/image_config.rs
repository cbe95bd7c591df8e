//! The image configuration: Docker's superset of the OCI's.
//!
//! The bytes are the image's identity (their digest is the image id), so they are kept exactly and are never
//! written again from the typed view. The view takes what Docker and old builders really write: `null` for empty,
//! missing fields, unknown fields.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{ChainId, Digest, Platform};

/// The largest image configuration that is read, in bytes. Docker's own limit for a config blob is 8 MB.
pub const MAX_CONFIG_SIZE: u64 = 8 * 1024 * 1024;

/// Why a document is not an image configuration.
#[derive(Debug, thiserror::Error)]
pub enum ImageConfigError {
    /// Longer than [`MAX_CONFIG_SIZE`].
    #[error("image configuration is {size} bytes, more than the {MAX_CONFIG_SIZE} allowed")]
    TooLarge {
        /// Size of the document in bytes.
        size: usize,
    },
    /// Not JSON, or not of the expected shape.
    #[error("invalid image configuration")]
    Json(#[source] serde_json::Error),
    /// `rootfs.type` is something else than `layers`.
    #[error("invalid image configuration: unknown rootfs type {0:?}")]
    RootFsType(String),
}

/// An image configuration: its exact bytes, and what they say.
#[derive(Clone)]
pub struct ImageConfig {
    raw: Arc<[u8]>,
    digest: Digest,
    fields: Fields,
}

/// The typed view of an image configuration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Fields {
    /// When it was made, RFC 3339, exactly as written.
    #[serde(default)]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, deserialize_with = "null_default")]
    pub author: String,
    /// Architecture in Go's spelling. Empty in some very old images.
    #[serde(default, deserialize_with = "null_default")]
    pub architecture: String,
    /// Variant of the architecture.
    #[serde(default, deserialize_with = "null_default")]
    pub variant: String,
    /// Operating system in Go's spelling.
    #[serde(default, deserialize_with = "null_default")]
    pub os: String,
    /// Version of the operating system (Windows).
    #[serde(rename = "os.version", default, deserialize_with = "null_default")]
    pub os_version: String,
    /// Defaults of containers that are made from the image.
    #[serde(default, deserialize_with = "null_default")]
    pub config: RunConfig,
    /// The layers.
    #[serde(default, deserialize_with = "null_default")]
    pub rootfs: RootFs,
    /// How it was made, oldest step first.
    #[serde(default, deserialize_with = "null_default")]
    pub history: Vec<History>,
    /// Free text of the builder.
    #[serde(default, deserialize_with = "null_default")]
    pub comment: String,
    /// Version of the Docker that made it.
    #[serde(default, deserialize_with = "null_default")]
    pub docker_version: String,
    /// Id of the parent image, where the builder wrote one.
    #[serde(default, deserialize_with = "null_default")]
    pub parent: String,
    /// Id of the container it was committed from.
    #[serde(default, deserialize_with = "null_default")]
    pub container: String,
}

/// The layers of an image, as digests of their uncompressed archives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default, deserialize_with = "null_default")]
    pub kind: String,
    /// Digests of the uncompressed layers, bottom first.
    #[serde(default, deserialize_with = "null_default")]
    pub diff_ids: Vec<Digest>,
}

/// One step in the making of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which instruction.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_default"
    )]
    pub created_by: String,
    /// By whom.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_default"
    )]
    pub author: String,
    /// Free text.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_default"
    )]
    pub comment: String,
    /// Whether the step changed no file, and so has no layer.
    #[serde(
        default,
        skip_serializing_if = "std::ops::Not::not",
        deserialize_with = "null_default"
    )]
    pub empty_layer: bool,
}

/// Defaults of a container, as Docker's image configuration has them (`config`).
///
/// Lists are optional where Docker tells `null` from `[]` in its replies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    /// User, or `user:group`, by name or number.
    #[serde(default, deserialize_with = "null_default")]
    pub user: String,
    /// Ports that the program listens on, such as `80/tcp`.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_default"
    )]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// Environment, `NAME=value`.
    #[serde(default)]
    pub env: Option<Vec<String>>,
    /// Program and arguments in front of the command.
    #[serde(default, deserialize_with = "strings_or_string")]
    pub entrypoint: Option<Vec<String>>,
    /// Default command or arguments.
    #[serde(default, deserialize_with = "strings_or_string")]
    pub cmd: Option<Vec<String>>,
    /// Directories that become anonymous volumes.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_default"
    )]
    pub volumes: BTreeMap<String, Empty>,
    /// Working directory; empty means `/`.
    #[serde(default, deserialize_with = "null_default")]
    pub working_dir: String,
    /// Labels.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_default"
    )]
    pub labels: BTreeMap<String, String>,
    /// Signal that stops the program, by name or number; empty means SIGTERM.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_default"
    )]
    pub stop_signal: String,
    /// Seconds to wait before a stop becomes a kill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// How to find out whether the program is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Instructions for builds that use the image as base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_build: Option<Vec<String>>,
    /// Shell of the shell form of instructions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Whether the command is escaped already (Windows).
    #[serde(
        default,
        skip_serializing_if = "std::ops::Not::not",
        deserialize_with = "null_default"
    )]
    pub args_escaped: bool,
    /// Host name; written by old builders.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_default"
    )]
    pub hostname: String,
    /// Domain name; written by old builders.
    #[serde(
        rename = "Domainname",
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_default"
    )]
    pub domain_name: String,
    /// Whether a terminal is wanted; written by old builders.
    #[serde(
        default,
        skip_serializing_if = "std::ops::Not::not",
        deserialize_with = "null_default"
    )]
    pub tty: bool,
    /// Whether standard input is wanted; written by old builders.
    #[serde(
        default,
        skip_serializing_if = "std::ops::Not::not",
        deserialize_with = "null_default"
    )]
    pub open_stdin: bool,
}

/// `{}`: the value of Go's sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Empty {}

impl<'de> Deserialize<'de> for Empty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Empty, D::Error> {
        // Whatever is there (null, {}, {"HostIp": …}) says no more than that the key is there.
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Empty {})
    }
}

/// A health check. Durations are nanoseconds; 0 means Docker's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`; empty inherits.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub test: Vec<String>,
    /// Time between two checks.
    #[serde(
        default,
        skip_serializing_if = "is_zero",
        deserialize_with = "null_default"
    )]
    pub interval: i64,
    /// Time after which a check has failed.
    #[serde(
        default,
        skip_serializing_if = "is_zero",
        deserialize_with = "null_default"
    )]
    pub timeout: i64,
    /// Time at the start in which failures do not count.
    #[serde(
        default,
        skip_serializing_if = "is_zero",
        deserialize_with = "null_default"
    )]
    pub start_period: i64,
    /// Time between two checks during the start.
    #[serde(
        default,
        skip_serializing_if = "is_zero",
        deserialize_with = "null_default"
    )]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(
        default,
        skip_serializing_if = "is_zero",
        deserialize_with = "null_default"
    )]
    pub retries: i64,
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// `null` is the default, as Go reads it.
pub(crate) fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Docker's `strslice`: a list of strings, or one string for a list of one.
fn strings_or_string<'de, D>(deserializer: D) -> Result<Option<Vec<String>>, D::Error>
where
    D: Deserializer<'de>,
{
    struct Visitor;
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Option<Vec<String>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or a list of strings")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(vec![text.to_owned()]))
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(
            self,
            mut seq: A,
        ) -> Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = seq.next_element()? {
                list.push(item);
            }
            Ok(Some(list))
        }
    }
    deserializer.deserialize_any(Visitor)
}

impl ImageConfig {
    /// Parses an image configuration and keeps its bytes.
    ///
    /// # Errors
    /// An [`ImageConfigError`].
    pub fn parse(bytes: impl Into<Arc<[u8]>>) -> Result<ImageConfig, ImageConfigError> {
        let raw = bytes.into();
        if raw.len() as u64 > MAX_CONFIG_SIZE {
            return Err(ImageConfigError::TooLarge { size: raw.len() });
        }
        let fields: Fields = serde_json::from_slice(&raw).map_err(ImageConfigError::Json)?;
        if !matches!(fields.rootfs.kind.as_str(), "" | "layers") {
            return Err(ImageConfigError::RootFsType(fields.rootfs.kind));
        }
        let digest = Digest::sha256(&raw);
        Ok(ImageConfig {
            raw,
            digest,
            fields,
        })
    }

    /// The exact bytes.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The sha256 digest of the bytes: the image id.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The chain ids of the layers, bottom first.
    pub fn chain(&self) -> Vec<ChainId> {
        ChainId::from_diff_ids(&self.fields.rootfs.diff_ids)
    }

    /// What the image runs on, normalised.
    pub fn platform(&self) -> Platform {
        let mut platform = Platform::new(&self.os, &self.architecture, &self.variant);
        platform.os_version = self.os_version.clone();
        platform
    }
}

/// The fields of the view are read as fields of the configuration itself; nobody can change them.
impl std::ops::Deref for ImageConfig {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        &self.fields
    }
}

impl fmt::Debug for ImageConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ImageConfig").field(&self.digest).finish()
    }
}

impl PartialEq for ImageConfig {
    fn eq(&self, other: &ImageConfig) -> bool {
        self.digest == other.digest
    }
}

impl Eq for ImageConfig {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ImageConfig {
        ImageConfig::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn keeps_bytes_and_reads_dockers_fields() {
        let text = r#"{ "architecture":"arm64","variant":"v8","os":"linux","created":"2024-01-02T03:04:05.678Z",
            "config":{"Hostname":"","User":"app:app","ExposedPorts":{"80/tcp":{}},"Env":["PATH=/bin"],
              "Cmd":["sh"],"Entrypoint":null,"Volumes":{"/data":{}},"WorkingDir":"/w","Labels":{"a":"b"},
              "StopSignal":"SIGQUIT","Shell":["/bin/bash","-c"],"OnBuild":["RUN x"],"ArgsEscaped":true,
              "Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":1000000000,"Retries":3}, "Unknown": [1]},
            "container_config":{"Cmd":["x"]},"parent":"sha256:x",
            "history":[{"created_by":"ADD","empty_layer":true},{"comment":"c"}],
            "rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}"#;
        let image = parse(text);
        assert_eq!(image.raw(), text.as_bytes());
        assert_eq!(image.digest(), Digest::sha256(text.as_bytes()));
        assert_eq!(image.platform().to_string(), "linux/arm64");
        assert_eq!(image.config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
        assert_eq!(image.config.entrypoint, None);
        assert!(image.config.exposed_ports.contains_key("80/tcp"));
        assert_eq!(
            image.config.healthcheck.as_ref().unwrap().interval,
            1_000_000_000
        );
        assert!(image.config.args_escaped);
        assert!(image.history[0].empty_layer);
        assert_eq!(image.chain(), [ChainId(Digest::sha256(b""))]);
    }

    #[test]
    fn takes_null_for_everything() {
        let keys = "created author architecture variant os os.version config rootfs history comment parent container docker_version";
        let nulls = |keys: &str| {
            let pairs: Vec<_> = keys
                .split(' ')
                .map(|key| format!("\"{key}\":null"))
                .collect();
            format!("{{{}}}", pairs.join(","))
        };
        assert_eq!(*parse(&nulls(keys)), Fields::default());
        let keys = "User ExposedPorts Env Entrypoint Cmd Volumes WorkingDir Labels StopSignal StopTimeout Healthcheck OnBuild Shell ArgsEscaped Hostname Domainname Tty OpenStdin";
        let image = parse(&format!("{{\"config\":{}}}", nulls(keys)));
        assert_eq!(image.config, RunConfig::default());
        let image =
            parse(r#"{"config":{"Cmd":"sh","Volumes":{"/v":null}},"rootfs":{"diff_ids":null}}"#);
        assert_eq!(image.config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
        assert!(image.config.volumes.contains_key("/v"));
    }

    #[test]
    fn refuses_what_is_no_configuration() {
        let refusal = |text: &str| ImageConfig::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(refusal("[]x"), ImageConfigError::Json(_)));
        assert!(matches!(
            refusal(r#"{"rootfs":{"type":"x"}}"#),
            ImageConfigError::RootFsType(_)
        ));
        assert!(matches!(
            refusal(r#"{"rootfs":{"diff_ids":["x"]}}"#),
            ImageConfigError::Json(_)
        ));
        let huge = " ".repeat(MAX_CONFIG_SIZE as usize + 1);
        assert!(matches!(refusal(&huge), ImageConfigError::TooLarge { .. }));
    }
}
