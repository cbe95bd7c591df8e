//! Which options each driver has, and those of files.

use std::collections::BTreeMap;

use wharf_logs::Rotation;

use super::{DRIVERS, remote, values};
use crate::LogConfig;

/// Options that every driver has.
const COMMON: &[&str] = &["mode", "max-buffer-size"];
/// Those of the copy that is kept of what is sent away.
const CACHE: &[&str] = &[
    "cache-disabled",
    "cache-max-file",
    "cache-max-size",
    "cache-compress",
];
/// Those of the attributes of lines.
const ATTRIBUTES: &[&str] = &["labels", "labels-regex", "env", "env-regex", "tag"];
const FILES: &[&str] = &["max-file", "max-size", "compress"];

/// The options of a container's log.
pub(super) struct Options<'a>(pub(super) &'a BTreeMap<String, String>);

/// Checks which options there are.
pub(super) fn verify(log: &LogConfig) -> Result<(), String> {
    if log.driver == "none" {
        return Ok(());
    }
    let options = Options(&log.options);
    let mode = options.given("mode").unwrap_or_default();
    if !matches!(mode, "" | "blocking" | "non-blocking") {
        return Err(format!("logger: logging mode not supported: {mode}"));
    }
    if let Some(size) = options.given("max-buffer-size") {
        if mode != "non-blocking" {
            let text = "logger: max-buffer-size option is only supported with 'mode=non-blocking'";
            return Err(text.to_owned());
        }
        values::ram(size)
            .map_err(|error| format!("error parsing option max-buffer-size: {error}"))?;
    }
    if let Some(text) = options.get("cache-disabled")
        && values::boolean(text).is_err()
    {
        return Err(format!("invalid value for option cache-disabled: {text}"));
    }
    let driver = log.driver.as_str();
    if !DRIVERS.contains(&driver) {
        return Err(format!(
            "error looking up logging plugin {driver}: plugin {driver:?} not found"
        ));
    }
    let (own, files) = match driver {
        "json-file" | "local" => (&[][..], FILES),
        other => (remote::options(other), &[][..]),
    };
    let known = |key: &&String| {
        let key = key.as_str();
        [COMMON, CACHE, ATTRIBUTES, own, files]
            .iter()
            .any(|keys| keys.contains(&key))
    };
    if let Some(key) = log.options.keys().find(|key| !known(key)) {
        return Err(match driver {
            "gelf" => format!("unknown log opt {key:?} for gelf log driver"),
            "local" => format!("unknown log opt '{key}' for log driver local"),
            _ => format!("unknown log opt '{key}' for {driver} log driver"),
        });
    }
    remote::verify(driver, &options)
}

impl<'a> Options<'a> {
    /// As it was given, even if it is empty.
    pub(super) fn given(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).map(String::as_str)
    }

    /// None if it is empty.
    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        self.given(key).filter(|value| !value.is_empty())
    }

    pub(super) fn is_on(&self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|text| values::boolean(text) == Ok(true))
    }

    pub(super) fn boolean(&self, key: &str) -> Result<bool, String> {
        self.get(key).map_or(Ok(false), values::boolean)
    }

    pub(super) fn ram(&self, key: &str) -> Result<Option<u64>, String> {
        let size = self.get(key).map(values::ram).transpose()?;
        Ok(size.map(|size| u64::try_from(size).unwrap_or(0)))
    }

    /// Those of json-file. What is not said has a limit, so that no container fills a disk.
    pub(super) fn json_rotation(&self, size: u64, files: u32) -> Result<Rotation, String> {
        let max_size = match self.given("max-size") {
            None => None,
            // Ours: dockerd calls it an invalid size.
            Some("-1") => Some(None),
            Some(text) => {
                let size = values::human_size(text)?;
                let size = u64::try_from(size).ok().filter(|size| *size > 0);
                Some(Some(size.ok_or("max-size must be a positive number")?))
            }
        };
        let max_files = match self.given("max-file") {
            None => None,
            Some(text) => {
                let count = u32::try_from(values::integer(text)?).ok();
                let count = count.filter(|count| *count >= 1);
                Some(count.ok_or("max-file cannot be less than 1")?)
            }
        };
        let compress = self.given("compress").map_or(Ok(false), values::boolean)?;
        let bounded = max_size.is_some_and(|size: Option<u64>| size.is_some());
        if compress && (max_files.unwrap_or(1) < 2 || !bounded) {
            let text =
                "compress cannot be true when max-file is less than 2 or max-size is not set";
            return Err(text.to_owned());
        }
        let default_files = if max_size.is_none() { files } else { 1 };
        Ok(Rotation {
            max_size: max_size.unwrap_or(Some(size)),
            max_files: max_files.unwrap_or(default_files),
            compress,
        })
    }

    /// Those of local, and with a prefix of what is kept of what is sent away.
    pub(super) fn local_rotation(
        &self,
        prefix: &str,
        size: u64,
        files: u32,
    ) -> Result<Rotation, String> {
        let get = |name: &str| self.given(&format!("{prefix}{name}"));
        let max_size = match get("max-size") {
            None => size,
            Some(text) => {
                let parsed = values::ram(text);
                let parsed = parsed
                    .map_err(|error| format!("invalid value for max-size: {text}: {error}"))?;
                u64::try_from(parsed).map_err(|_| "max size should be a positive number")?
            }
        };
        let max_files = match get("max-file") {
            None => files,
            Some(text) => {
                let parsed = values::integer(text);
                let parsed = parsed
                    .map_err(|error| format!("invalid value for max-file: {text}: {error}"))?;
                u32::try_from(parsed).map_err(|_| "max file count cannot be less than 0")?
            }
        };
        let compress = match get("compress") {
            None => true,
            Some(text) => values::boolean(text)
                .map_err(|error| format!("invalid value for compress: {text}: {error}"))?,
        };
        if compress && max_files <= 1 {
            return Err("compression cannot be enabled when max file count is 1".to_owned());
        }
        Ok(Rotation {
            max_size: Some(max_size).filter(|size| *size > 0),
            max_files: max_files.max(1),
            compress,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(driver: &str, options: &[(&str, &str)]) -> LogConfig {
        LogConfig {
            driver: driver.to_owned(),
            options: options
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn what_no_driver_has_is_refused() {
        let error = |driver, options: &[_]| verify(&log(driver, options)).unwrap_err();
        assert_eq!(
            error("json-file", &[("nonsense", "2")]),
            "unknown log opt 'nonsense' for json-file log driver"
        );
        assert_eq!(
            error("gelf", &[("x", "2")]),
            "unknown log opt \"x\" for gelf log driver"
        );
        assert_eq!(
            error("nobody", &[]),
            "error looking up logging plugin nobody: plugin \"nobody\" not found"
        );
        assert_eq!(
            error("json-file", &[("mode", "x")]),
            "logger: logging mode not supported: x"
        );
        assert_eq!(
            error("json-file", &[("max-buffer-size", "1m")]),
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'"
        );
        verify(&log("none", &[("anything", "goes")])).unwrap();
        verify(&log("json-file", &[("labels", "a"), ("mode", "blocking")])).unwrap();
    }

    #[test]
    fn no_json_file_grows_without_end_unless_asked_to() {
        let read = |options: &[_]| {
            let log = log("json-file", options);
            let options = Options(&log.options);
            options.json_rotation(1000, 5)
        };
        let rotation = |max_size, max_files, compress| Rotation {
            max_size,
            max_files,
            compress,
        };
        assert_eq!(read(&[]), Ok(rotation(Some(1000), 5, false)));
        assert_eq!(read(&[("max-size", "-1")]), Ok(rotation(None, 1, false)));
        assert_eq!(
            read(&[("max-size", "10m")]),
            Ok(rotation(Some(10_000_000), 1, false))
        );
        assert_eq!(
            read(&[("max-size", "1k"), ("max-file", "3"), ("compress", "true")]),
            Ok(rotation(Some(1000), 3, true))
        );
        assert_eq!(
            read(&[("max-file", "2")]),
            Ok(rotation(Some(1000), 2, false))
        );
        assert_eq!(
            read(&[("max-file", "0")]).unwrap_err(),
            "max-file cannot be less than 1"
        );
        assert_eq!(
            read(&[("compress", "true")]).unwrap_err(),
            "compress cannot be true when max-file is less than 2 or max-size is not set"
        );
    }
}
