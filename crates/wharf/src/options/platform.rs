//! `--platform`, as the API of images wants it.

use wharf_client::Url;
use wharf_oci::Platform;

use crate::cli::context::variable;
use crate::cli::{Exit, Matches, Outcome};

/// `--platform`, else `DOCKER_DEFAULT_PLATFORM` (`run`, `create`, `pull`, `build`, `import`).
pub fn wanted(matches: &Matches) -> Option<String> {
    let written = matches.maybe("platform").map(str::to_owned);
    written.or_else(|| variable("DOCKER_DEFAULT_PLATFORM"))
}

/// `linux/arm64` as the JSON of a platform.
///
/// # Errors
/// In Docker's words, if it is none.
pub fn json(text: &str) -> Outcome<String> {
    let platform: Platform = text
        .parse()
        .map_err(|error| Exit::new(format!("invalid platform: {error}")))?;
    serde_json::to_string(&platform).map_err(|error| Exit::new(error.to_string()))
}

/// Adds the platforms of a flag to a query.
///
/// # Errors
/// As [`json`].
pub fn add(mut url: Url, name: &str, platforms: &[String]) -> Outcome<Url> {
    for platform in platforms {
        url = url.with(name, json(platform)?);
    }
    Ok(url)
}
