//! The system-call filter of a spec, when nobody has compiled it before.

use oci_spec::runtime::Spec;
use serde_json::Value;
use wharf_runtime::{Filter, Listener};

/// Compiles `linux.seccomp`; `None` if the spec has none. `state` is the container's, for who listens.
pub(crate) fn of(spec: &Spec, state: &Value) -> Result<Option<Filter>, String> {
    let seccomp = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.seccomp().as_ref());
    let Some(seccomp) = seccomp else {
        return Ok(None);
    };
    Filter::check(seccomp)?;
    let text = serde_json::to_string(seccomp).map_err(|error| error.to_string())?;
    let profile = wharf_seccomp::Profile::parse(&text).map_err(|error| error.to_string())?;
    let program = wharf_seccomp::filter(&profile, &[]).map_err(|error| error.to_string())?;
    // Without a call to tell of, the path says nothing (OCI, `config-linux.md`).
    let listens = seccomp
        .listener_path()
        .as_ref()
        .filter(|_| Filter::notifies(seccomp));
    let listener = listens.map(|path| Listener {
        path: path.clone(),
        metadata: seccomp.listener_metadata().clone().unwrap_or_default(),
        state: state.clone(),
    });
    Ok(Some(Filter {
        flags: Filter::flags_of(seccomp),
        program,
        listener,
    }))
}
