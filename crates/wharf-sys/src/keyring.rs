//! Kernel keyrings (keyctl(2)).

use std::ffi::CStr;

use rustix::io::Result;

use crate::process::check;

/// `KEYCTL_JOIN_SESSION_KEYRING`
const JOIN_SESSION_KEYRING: libc::c_int = 1;

/// Gives the process a session keyring of its own under `name`, so that it cannot read its starter's keys.
///
/// # Errors
/// `ENOSYS` on a kernel without keyrings, `EDQUOT` when the user has too many.
pub fn join_session(name: &CStr) -> Result<()> {
    // SAFETY: `name` is a C string that lives through the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            JOIN_SESSION_KEYRING,
            name.as_ptr(),
            0,
            0,
            0,
        )
    })
}
