//! Log drivers: which there are, what their options mean, and where a container's log is read.
//!
//! A driver's option that does not exist is refused when the container is made, a wrong value of one when it is started:
//! so does dockerd, in these words. What comes out is a [`wharf_shim_api::Log`]: the shim writes, whoever of us lives.

mod attributes;
mod follow;
mod options;
mod remote;
mod values;

use std::path::PathBuf;

use wharf_logs::Format;
use wharf_shim_api::{Files, Log, RemoteLog};

use crate::record::{Folders, Record};
use crate::{EngineConfig, EngineError, HostConfig, LogConfig};
pub(crate) use follow::{Follower, Followers};

use attributes::Info;
use options::Options;

/// The drivers, sorted.
pub(crate) const DRIVERS: &[&str] = &[
    "fluentd",
    "gelf",
    "journald",
    "json-file",
    "local",
    "none",
    "syslog",
];

/// What a json-file log may grow to if nobody says otherwise. Docker has no limit there, and that fills disks;
/// `max-size=-1` is Docker's.
const DEFAULT_SIZE: u64 = 20_000_000;
const DEFAULT_FILES: u32 = 5;
/// The local driver's own defaults are Docker's.
const LOCAL_SIZE: u64 = 20 << 20;
const LOCAL_FILES: u32 = 5;
/// How much waits at most with `mode=non-blocking` (moby `daemon/logger/ring.go`).
const BUFFER: u64 = 1_000_000;

/// Fills in the daemon's driver and options, and checks which options there are.
///
/// # Errors
/// In dockerd's words.
pub(crate) fn complete(host: &mut HostConfig, daemon: &EngineConfig) -> Result<(), EngineError> {
    let log = &mut host.log;
    if log.driver.is_empty() {
        log.driver.clone_from(&daemon.log.driver);
    }
    let same = log.driver == daemon.log.driver;
    for (key, value) in &daemon.log.options {
        if same || key.starts_with("cache-") {
            let entry = log.options.entry(key.clone());
            entry.or_insert_with(|| value.clone());
        }
    }
    verify(log)
}

/// Checks which options there are.
///
/// # Errors
/// In dockerd's words.
pub(crate) fn verify(log: &LogConfig) -> Result<(), EngineError> {
    options::verify(log).map_err(EngineError::Invalid)
}

/// Where a container's log can be read, and how; `None` if nowhere.
pub(crate) fn store(folders: &Folders, id: &str, log: &LogConfig) -> Option<(PathBuf, Format)> {
    let folder = folders.of(id);
    match log.driver.as_str() {
        "none" => None,
        "json-file" => Some((folders.log(id), Format::Json)),
        "local" => Some((folder.join("local-logs/container.log"), Format::Local)),
        _ if Options(&log.options).is_on("cache-disabled") => None,
        _ => Some((folder.join("container-cached.log"), Format::Local)),
    }
}

/// What the shim of a container is told.
///
/// # Errors
/// If the value of an option is wrong, in dockerd's words.
pub(crate) fn plan(folders: &Folders, record: &Record) -> Result<Log, EngineError> {
    compose(folders, record).map_err(|text| {
        EngineError::Invalid(format!(
            "failed to create task for container: failed to initialize logging driver: {text}"
        ))
    })
}

fn compose(folders: &Folders, record: &Record) -> Result<Log, String> {
    let log = &record.host.log;
    let options = Options(&log.options);
    let info = Info::new(record);
    let store = store(folders, &record.id, log);
    let buffer = match options.get("mode") {
        Some("non-blocking") => Some(options.ram("max-buffer-size")?.unwrap_or(BUFFER)),
        _ => None,
    };
    match (log.driver.as_str(), store) {
        ("none", _) => Ok(Log::None),
        ("json-file", Some((path, _))) => {
            let mut attributes = info.extra(|key| key.to_owned())?;
            if options.get("tag").is_some() {
                attributes.insert("tag".to_owned(), info.tag()?);
            }
            let rotation = options.json_rotation(DEFAULT_SIZE, DEFAULT_FILES)?;
            Ok(Log::JsonFile {
                path,
                max_size: rotation.max_size,
                max_files: rotation.max_files,
                compress: rotation.compress,
                attrs: String::new(),
                attributes,
                buffer,
            })
        }
        ("local", Some((path, _))) => Ok(Log::Local(Files {
            buffer,
            attributes: info.for_local()?,
            ..files(path, &options, "")?
        })),
        (_, store) => {
            let cache = match store {
                Some((path, _)) => Some(files(path, &options, "cache-")?),
                None => None,
            };
            let to = remote::compose(&log.driver, &options, &info)?;
            Ok(Log::Remote(Box::new(RemoteLog { cache, buffer, to })))
        }
    }
}

fn files(path: PathBuf, options: &Options<'_>, prefix: &str) -> Result<Files, String> {
    let rotation = options.local_rotation(prefix, LOCAL_SIZE, LOCAL_FILES)?;
    Ok(Files {
        path,
        max_size: rotation.max_size,
        max_files: rotation.max_files,
        compress: rotation.compress,
        attributes: Default::default(),
        buffer: None,
    })
}
