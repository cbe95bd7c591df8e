//! The portable half of a container's settings, which an image gives defaults for.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wharf_oci::Platform;

use super::{EndpointSettings, HostConfig, Port};

/// A container that is asked for.
#[derive(Clone, Debug, Default)]
pub struct NewContainer {
    /// Its name without the slash; a made-up one if there is none.
    pub name: Option<String>,
    /// The platform that the image must be of.
    pub platform: Option<Platform>,
    /// The portable settings.
    pub config: Config,
    /// The settings that belong to this host.
    pub host: HostConfig,
    /// Settings of its networks, by name or id.
    pub endpoints: BTreeMap<String, EndpointSettings>,
    /// What is mounted beside what the settings ask for, as it is: a build's step has such.
    pub points: Vec<super::MountPoint>,
    /// Binds that are read-only are so at the top alone, and not what is mounted below: before API 1.44.
    pub binds_top_read_only: bool,
}

/// Portable settings (Docker's `Config`). Empty or `None` means: the image's, then the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The image, as it was asked for.
    pub image: String,
    /// Host name; the short id if empty.
    pub hostname: String,
    /// Domain name.
    pub domainname: String,
    /// `user[:group]`, names or numbers.
    pub user: String,
    /// Whether the creating client attaches stdin.
    pub attach_stdin: bool,
    /// Whether the creating client attaches stdout.
    pub attach_stdout: bool,
    /// Whether the creating client attaches stderr.
    pub attach_stderr: bool,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether stdin is kept open.
    pub open_stdin: bool,
    /// Whether stdin closes when the first client that attached it goes.
    pub stdin_once: bool,
    /// Environment, `NAME=value`; a `NAME` alone removes it.
    pub env: Vec<String>,
    /// Command or arguments.
    pub cmd: Option<Vec<String>>,
    /// Program; `Some([])` or `Some([""])` clears the image's.
    pub entrypoint: Option<Vec<String>>,
    /// Working directory.
    pub working_dir: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Ports that the program listens on.
    pub exposed_ports: BTreeSet<Port>,
    /// Paths that become anonymous volumes.
    pub volumes: BTreeSet<String>,
    /// Signal of `stop`, by name or number.
    pub stop_signal: Option<String>,
    /// Seconds that `stop` waits; negative: for ever.
    pub stop_timeout: Option<i64>,
    /// Health check.
    pub healthcheck: Option<Health>,
    /// The shell of shell forms.
    pub shell: Option<Vec<String>>,
    /// Instructions for later builds.
    pub on_build: Option<Vec<String>>,
    /// No network at all.
    pub network_disabled: bool,
    /// MAC address of the first network (old API).
    pub mac_address: String,
}

/// A health check; durations in nanoseconds, 0 inherits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// `["NONE"]`, `["CMD", …]`, `["CMD-SHELL", command]`; empty inherits.
    pub test: Vec<String>,
    /// Between two checks.
    pub interval: i64,
    /// Of one check.
    pub timeout: i64,
    /// At the start, in which failures do not count.
    pub start_period: i64,
    /// Between two checks during the start.
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    pub retries: i64,
}
