//! Kernel settings of the container's own namespaces.

use oci_spec::runtime::Spec;
use wharf_sys::setting;

use crate::Failure;
use crate::proc::Proc;

/// Writes the spec's settings.
pub(crate) fn write(spec: &Spec, proc: &Proc) -> Result<(), Failure> {
    let settings = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.sysctl().as_ref());
    for (key, value) in settings.into_iter().flatten() {
        let path = format!("sys/{}", setting::path(key));
        let failed = Failure::at(format!("write sysctl key {key}"));
        proc.write(&path, value).map_err(failed)?;
    }
    Ok(())
}
