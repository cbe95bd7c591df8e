//! The built-in, read-only catalogue: the one image that works without any registry.
//!
//! `build.rs` makes it; here it is only found by name and platform. A registry that has the name and can be reached
//! always comes first.

use bytes::Bytes;
use wharf_distribution::SearchHit;
use wharf_oci::{Platform, Reference};

/// An image of the catalogue, as blobs.
pub(crate) struct CatalogueImage {
    /// The manifest.
    pub(crate) manifest: Bytes,
    /// The configuration.
    pub(crate) config: Bytes,
    /// The only layer.
    pub(crate) layer: Bytes,
}

macro_rules! image {
    ($architecture:literal) => {
        CatalogueImage {
            manifest: blob(include_bytes!(concat!(
                env!("OUT_DIR"),
                "/hello-",
                $architecture,
                "-manifest.json"
            ))),
            config: blob(include_bytes!(concat!(
                env!("OUT_DIR"),
                "/hello-",
                $architecture,
                "-config.json"
            ))),
            layer: blob(include_bytes!(concat!(
                env!("OUT_DIR"),
                "/hello-",
                $architecture,
                "-layer.tar.gz"
            ))),
        }
    };
}

const fn blob(bytes: &'static [u8]) -> Bytes {
    Bytes::from_static(bytes)
}

const NAME: &str = "hello-world";
const DESCRIPTION: &str = "A first container: says that it works, and how (built into Wharf)";

/// The image that a reference means here, for the platform that suits best.
pub(crate) fn find(reference: &Reference, platform: &Platform) -> Option<CatalogueImage> {
    let hello = reference.domain() == "docker.io"
        && reference.path() == "library/hello-world"
        && reference.digest().is_none()
        && matches!(reference.tag(), None | Some("latest"));
    if !hello {
        return None;
    }
    let amd64 = Platform::new("linux", "amd64", "");
    let arm64 = Platform::new("linux", "arm64", "");
    if platform.matches(&amd64) {
        Some(image!("amd64"))
    } else if platform.matches(&arm64) {
        Some(image!("arm64"))
    } else {
        None
    }
}

/// What a search finds here.
pub(crate) fn search(term: &str) -> Vec<SearchHit> {
    let term = term.trim_start_matches("docker.io/");
    let term = term.trim_start_matches("library/");
    if !NAME.contains(term) {
        return Vec::new();
    }
    vec![SearchHit {
        name: NAME.to_owned(),
        description: DESCRIPTION.to_owned(),
        star_count: 0,
        is_official: true,
        is_automated: false,
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use wharf_oci::{Digest, ImageConfig, Manifest};

    fn hello(platform: &str) -> CatalogueImage {
        let reference = Reference::parse_normalized("hello-world").unwrap();
        find(&reference, &Platform::parse(platform).unwrap()).unwrap()
    }

    fn program(image: &CatalogueImage) -> Vec<u8> {
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(&image.layer[..])
            .read_to_end(&mut tar)
            .unwrap();
        let config = ImageConfig::parse(image.config.to_vec()).unwrap();
        assert_eq!(config.rootfs.diff_ids, [Digest::sha256(&tar)]);
        let mut archive = tar::Archive::new(&tar[..]);
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str(), Some("hello"));
        assert_eq!(entry.header().mode().unwrap(), 0o755);
        let mut program = Vec::new();
        entry.read_to_end(&mut program).unwrap();
        program
    }

    #[test]
    fn is_an_ordinary_image() {
        for platform in ["linux/amd64", "linux/arm64"] {
            let image = hello(platform);
            let manifest = Manifest::parse(&image.manifest, None).unwrap();
            assert_eq!(manifest.config.digest, Digest::sha256(&image.config));
            assert_eq!(manifest.layers[0].digest, Digest::sha256(&image.layer));
            assert!(program(&image).len() < 4096);
        }
        let other = Reference::parse_normalized("hello-world:linux").unwrap();
        assert!(find(&other, &Platform::host()).is_none());
    }

    /// The program of this machine runs on this machine, with no libc and no loader.
    #[test]
    fn says_hello() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hello");
        std::fs::write(&path, program(&hello(&Platform::host().to_string()))).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let output = std::process::Command::new(&path).output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("Your installation works."));
        assert!(text.ends_with("debian bash\n\n"));
    }

    #[test]
    fn is_searched() {
        assert_eq!(search("hello").len(), 1);
        assert_eq!(search("docker.io/library/hello-world").len(), 1);
        assert!(search("debian").is_empty());
    }
}
