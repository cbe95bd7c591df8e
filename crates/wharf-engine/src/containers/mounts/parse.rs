//! `-v SOURCE:TARGET:OPTIONS`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use wharf_go::path::clean_from_top;

use super::check;
use crate::{Bind, BindSource, EngineError, Propagation};

/// The options of a `-v`.
#[derive(Default)]
pub(super) struct Mode {
    pub(super) read_only: bool,
    pub(super) no_copy: bool,
    pub(super) propagation: Option<Propagation>,
}

impl Mode {
    /// Reads `ro,z,rslave`; nothing if a word is unknown, or two are of one kind (moby `linuxParser.ValidateMountMode`).
    pub(super) fn read(mode: &str) -> Option<Self> {
        let mut words = Self::default();
        let mut kinds = BTreeSet::new();
        for word in mode.split(',').filter(|_| !mode.is_empty()) {
            let kind = match word {
                "ro" | "rw" => "access",
                "z" | "Z" => "label",
                "consistent" | "cached" | "delegated" | "default" => "consistency",
                "nocopy" => "copy",
                word => {
                    words.propagation = Some(Propagation::parse(word)?);
                    "propagation"
                }
            };
            words.read_only |= word == "ro";
            words.no_copy |= word == "nocopy";
            if !kinds.insert(kind) {
                return None;
            }
        }
        Some(words)
    }
}

/// Parses one `-v` (moby `volume/mounts`, `linuxParser.ParseMountRaw`). An anonymous volume (`-v /path`) is mostly
/// the client's to put among the container's volumes, but some send it as it is.
pub fn parse_bind(text: &str) -> Result<Bind, EngineError> {
    let refuse =
        |more: &str| EngineError::Invalid(format!("invalid volume specification: '{text}'{more}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [target] if !target.is_empty() => (None, target, ""),
        // A target with a mode: an anonymous volume has none.
        [_, mode] if !mode.is_empty() && Mode::read(mode).is_some() => return Err(refuse("")),
        [source, target] => (Some(source), target, ""),
        [source, target, mode] => (Some(source), target, mode),
        _ => return Err(refuse("")),
    };
    if source == Some("") || target.is_empty() {
        return Err(refuse(""));
    }
    let words = Mode::read(mode);
    let words = words.ok_or_else(|| EngineError::Invalid(format!("invalid mode: {mode}")))?;
    let kind = match source {
        Some(source) if source.starts_with('/') => "bind",
        _ => "volume",
    };
    let invalid = |reason: &str| {
        refuse(&format!(
            ": invalid mount config for type \"{kind}\": {reason}"
        ))
    };
    check::target(target).map_err(|reason| invalid(&reason))?;
    let source = match source {
        Some(source) if kind == "bind" => BindSource::Path(PathBuf::from(clean_from_top(source))),
        Some(source) => {
            wharf_volumes::VolumeName::parse(source)?;
            BindSource::Volume(source.to_owned())
        }
        None => BindSource::Anonymous,
    };
    if kind == "bind" && words.no_copy {
        return Err(invalid("field VolumeOptions must not be specified"));
    }
    if kind == "volume" && words.propagation.is_some() {
        return Err(invalid("field BindOptions must not be specified"));
    }
    Ok(Bind {
        text: text.to_owned(),
        source,
        target: clean_from_top(target),
        mode: mode.to_owned(),
        read_only: words.read_only,
        no_copy: words.no_copy,
        propagation: words.propagation,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_binds() {
        let bind = parse_bind("/a/../b:/c/:ro,rslave").unwrap();
        assert_eq!(bind.source, BindSource::Path("/b".into()));
        assert_eq!((bind.target.as_str(), bind.read_only), ("/c", true));
        assert_eq!(bind.propagation, Some(Propagation::RSlave));
        let bind = parse_bind("data:/d:nocopy").unwrap();
        assert_eq!(
            (bind.source, bind.no_copy),
            (BindSource::Volume("data".to_owned()), true)
        );
        assert_eq!(parse_bind("/a").unwrap().source, BindSource::Anonymous);
        let bad = [
            "",
            "a",
            "/a:b",
            ":/a",
            "/a:",
            "/a:ro",
            "/a:/",
            "/a:/b:/c:ro",
            "/a:/b:xx",
            "/a:/b:ro,rw",
            "/a:/b:nocopy",
            "ab:/b:shared",
            "a?b:/c",
            "/a:/b:,",
        ];
        for bad in bad {
            assert!(parse_bind(bad).is_err(), "{bad}");
        }
    }
}
