//! Kernel settings of the container's own namespaces.

use oci_spec::runtime::Spec;
use wharf_sys::setting;

use crate::Failure;
use crate::proc::Proc;

/// Writes the spec's settings, if it has any. Gives the procfs that they were written to.
pub(crate) fn write(spec: &Spec) -> Result<Option<Proc>, Failure> {
    let linux = spec.linux().as_ref();
    let settings = linux.and_then(|linux| linux.sysctl().as_ref());
    let Some(settings) = settings.filter(|settings| !settings.is_empty()) else {
        return Ok(None);
    };
    let proc = Proc::whole()?;
    for (key, value) in settings {
        let path = format!("sys/{}", setting::path(key));
        let failed = Failure::at(format!("write sysctl key {key}"));
        proc.write(&path, value).map_err(failed)?;
    }
    Ok(Some(proc))
}
