//! Platforms: operating system, architecture and variant, and which image runs where.
//!
//! Spelling, normalisation and order of preference are those of github.com/containerd/platforms, so that the same
//! index gives the same image as with Docker.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// A component has characters outside `[A-Za-z0-9_.-]`, or is empty.
    #[error(
        "{component:?} is an invalid component of {text:?}: platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument"
    )]
    InvalidComponent {
        /// The part that is wrong.
        component: String,
        /// The whole text.
        text: String,
    },
    /// A single word that is neither a known operating system nor a known architecture.
    #[error("{0:?}: unknown operating system or architecture: invalid argument")]
    Unknown(String),
    /// More than three components.
    #[error("{0:?}: cannot parse platform specifier: invalid argument")]
    TooMany(String),
}

/// An operating system on an architecture. Also the `platform` of a descriptor in an index.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// Architecture in Go's spelling: `amd64`, `arm64`, `arm`, …
    pub architecture: String,
    /// Operating system in Go's spelling: `linux`, `windows`, …
    pub os: String,
    /// Version of the operating system; used by Windows.
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "crate::image_config::null_default"
    )]
    pub os_version: String,
    /// Needed features of the operating system; used by Windows.
    #[serde(
        rename = "os.features",
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::image_config::null_default"
    )]
    pub os_features: Vec<String>,
    /// Variant of the architecture, such as `v7`; empty when there is one only.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "crate::image_config::null_default"
    )]
    pub variant: String,
}

impl Platform {
    /// A platform from its parts, normalised.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Platform {
        let (architecture, variant) = normalize_arch(architecture, variant);
        Platform {
            architecture,
            os: normalize_os(os),
            os_version: String::new(),
            os_features: Vec::new(),
            variant,
        }
    }

    /// The platform this program was built for, and so runs on.
    pub fn host() -> Platform {
        // 32-bit ARM needs the variant; v7 is what Rust's armv7 targets mean, and v6 is the rest.
        let variant = match std::env::consts::ARCH {
            "arm" if cfg!(target_feature = "v7") => "v7",
            "arm" => "v6",
            _ => "",
        };
        Platform::new(std::env::consts::OS, std::env::consts::ARCH, variant)
    }

    /// Parses `os`, `arch`, `os/arch` or `os/arch/variant`; what is left out is the host's.
    ///
    /// # Errors
    /// A [`PlatformError`] with containerd's text.
    pub fn parse(text: &str) -> Result<Platform, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        for part in &parts {
            // "windows(10.0.17763)" is containerd's way to give the version of the operating system.
            let word = part.split('(').next().unwrap_or_default();
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
            if word.is_empty() || !word.bytes().all(allowed) {
                return Err(PlatformError::InvalidComponent {
                    component: (*part).to_owned(),
                    text: text.to_owned(),
                });
            }
        }
        match parts[..] {
            [word] => Platform::from_word(word),
            [os, arch] => Ok(Platform::with_version(os, arch, "")),
            [os, arch, variant] => Ok(Platform::with_version(os, arch, variant)),
            _ => Err(PlatformError::TooMany(text.to_owned())),
        }
    }

    fn with_version(os: &str, architecture: &str, variant: &str) -> Platform {
        let (os, version) = os.split_once('(').unwrap_or((os, ""));
        let mut platform = Platform::new(os, architecture, variant);
        platform.os_version = version.trim_end_matches(')').to_owned();
        platform
    }

    fn from_word(word: &str) -> Result<Platform, PlatformError> {
        let host = Platform::host();
        let os = normalize_os(word.split('(').next().unwrap_or_default());
        if KNOWN_OS.contains(&os.as_str()) {
            return Ok(Platform::with_version(
                word,
                &host.architecture,
                &host.variant,
            ));
        }
        let platform = Platform::new(&host.os, word, "");
        if KNOWN_ARCH.contains(&platform.architecture.as_str()) {
            return Ok(platform);
        }
        Err(PlatformError::Unknown(word.to_owned()))
    }

    /// The same in canonical spelling: `x86_64` is `amd64`, `arm64/v8` is `arm64`, `arm` is `arm/v7`.
    pub fn normalized(mut self) -> Platform {
        (self.architecture, self.variant) = normalize_arch(&self.architecture, &self.variant);
        self.os = normalize_os(&self.os);
        self
    }

    /// How well a program for `candidate` suits this platform: 0 is exact, larger is worse, `None` does not run.
    ///
    /// The order is containerd's `platforms.Only`: arm64 also runs arm v8 down to v5, amd64 also runs 386.
    pub fn preference(&self, candidate: &Platform) -> Option<usize> {
        let candidate = candidate.clone().normalized();
        self.runnable().iter().position(|runnable| {
            runnable.os == candidate.os
                && runnable.architecture == candidate.architecture
                && runnable.variant == candidate.variant
        })
    }

    /// Whether a program for `candidate` runs here.
    pub fn matches(&self, candidate: &Platform) -> bool {
        self.preference(candidate).is_some()
    }

    /// Everything that runs here, best first.
    fn runnable(&self) -> Vec<Platform> {
        let host = self.clone().normalized();
        let other = |arch: &str, variant: &str| Platform::new(&host.os, arch, variant);
        let level = host.variant.trim_start_matches('v').parse::<u32>().ok();
        let mut all = vec![host.clone()];
        match host.architecture.as_str() {
            "amd64" => {
                all.extend(
                    (1..level.unwrap_or(1))
                        .rev()
                        .map(|n| other("amd64", &format!("v{n}"))),
                );
                all.push(other("386", ""));
            }
            "arm" => {
                all.extend(
                    (5..level.unwrap_or(5))
                        .rev()
                        .map(|n| other("arm", &format!("v{n}"))),
                );
            }
            "arm64" => {
                if !host.variant.is_empty() {
                    all.push(other("arm64", ""));
                }
                all.extend((5..=8).rev().map(|n| other("arm", &format!("v{n}"))));
            }
            _ => {}
        }
        all
    }
}

const KNOWN_OS: [&str; 17] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];

const KNOWN_ARCH: [&str; 16] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
    "ppc64le", "riscv64", "s390", "s390x", "sparc64", "wasm",
];

fn normalize_os(os: &str) -> String {
    match os.to_ascii_lowercase().as_str() {
        "macos" => "darwin".to_owned(),
        other => other.to_owned(),
    }
}

fn normalize_arch(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (
        architecture.to_ascii_lowercase(),
        variant.to_ascii_lowercase(),
    );
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386" | "x86" | "i686", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        // Rust's names, as `std::env::consts::ARCH` has them.
        ("powerpc64", "") if cfg!(target_endian = "little") => ("ppc64le", ""),
        ("loongarch64", "") => ("loong64", ""),
        (architecture, variant) => (architecture, variant),
    };
    (architecture.to_owned(), variant.to_owned())
}

impl Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Platform, PlatformError> {
        Platform::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_normalises() {
        let cases = [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("Linux/AMD64/V3", "linux/amd64/v3"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
            ("windows(10.0.17763)/amd64", "windows/amd64"),
        ];
        for (text, canonical) in cases {
            assert_eq!(
                Platform::parse(text).unwrap().to_string(),
                canonical,
                "{text}"
            );
        }
        let host = Platform::host();
        assert_eq!(Platform::parse("linux").unwrap(), host);
        assert_eq!(Platform::parse("s390x").unwrap().to_string(), "linux/s390x");
        assert_eq!(
            Platform::parse("windows(1.2)/amd64").unwrap().os_version,
            "1.2"
        );
    }

    #[test]
    fn refuses_nonsense() {
        for text in ["", "linux/", "a/b/c/d", "linux/am d64", "wintendo"] {
            assert!(Platform::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn prefers_in_containerds_order() {
        let preference = |host: &str, candidate: &str| {
            Platform::parse(host)
                .unwrap()
                .preference(&Platform::parse(candidate).unwrap())
        };
        assert_eq!(preference("linux/amd64", "linux/amd64"), Some(0));
        assert_eq!(preference("linux/amd64", "linux/386"), Some(1));
        assert_eq!(preference("linux/amd64", "linux/amd64/v2"), None);
        assert_eq!(preference("linux/amd64/v3", "linux/amd64"), Some(2));
        assert_eq!(preference("linux/arm64", "linux/arm64/v8"), Some(0));
        assert_eq!(preference("linux/arm64", "linux/arm/v7"), Some(2));
        assert_eq!(preference("linux/arm/v7", "linux/arm/v6"), Some(1));
        assert_eq!(preference("linux/arm/v6", "linux/arm/v7"), None);
        assert_eq!(preference("linux/amd64", "windows/amd64"), None);
    }
}
