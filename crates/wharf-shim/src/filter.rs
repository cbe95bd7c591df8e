//! The system-call filter of a spec, when nobody has compiled it before.

use oci_spec::runtime::Spec;

/// Compiles `linux.seccomp`; `None` if the spec has none.
pub(crate) fn of(spec: &Spec) -> Result<Option<Vec<u8>>, String> {
    let seccomp = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.seccomp().as_ref());
    let Some(seccomp) = seccomp else {
        return Ok(None);
    };
    let text = serde_json::to_string(seccomp).map_err(|error| error.to_string())?;
    let profile = wharf_seccomp::Profile::parse(&text).map_err(|error| error.to_string())?;
    wharf_seccomp::filter(&profile, &[])
        .map(Some)
        .map_err(|error| error.to_string())
}
