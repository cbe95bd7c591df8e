//! Which frontend a Dockerfile asks for. There is one, built in: nothing that an image brings along is run here.

use wharf_oci::Reference;

use crate::SolveError;

/// Whether an image (`# syntax=`, `source` of `gateway.v0`) is the Dockerfile frontend.
///
/// # Errors
/// If it is another, or no image's name.
pub(super) fn check(image: &str) -> Result<(), SolveError> {
    let reference = Reference::parse_normalized(image).map_err(|error| {
        SolveError::Invalid(format!("failed to parse frontend image {image:?}: {error}"))
    })?;
    // Also from a mirror, which may have it below a folder; nobody else's, whatever it is called.
    let path = format!("/{}", reference.path());
    let own = ["/docker/dockerfile", "/docker/dockerfile-upstream"];
    match own.iter().any(|name| path.ends_with(name)) {
        true => Ok(()),
        false => Err(SolveError::NotImplemented(format!(
            "the frontend {image} is not built in: only docker/dockerfile is"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dockerfile_is_built_in() {
        assert!(check("docker/dockerfile:1.7-labs").is_ok());
        assert!(check("docker.io/docker/dockerfile-upstream:master@sha256:0000000000000000000000000000000000000000000000000000000000000000").is_ok());
        assert!(check("mirror.example/hub/docker/dockerfile:1").is_ok());
        for other in [
            "example.test/evil:1",
            "me/dockerfile",
            "me/docker/dockerfile-mine",
            "mydocker/dockerfile",
        ] {
            assert!(check(other).is_err(), "{other}");
        }
        assert!(check("").is_err());
    }
}
