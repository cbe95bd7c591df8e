//! Becoming another program.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd as _};

use rustix::io::Errno;

use crate::process::last_error;

/// Replaces the program of the process with the one at `path`. It comes back only if that fails.
pub fn path(path: &CStr, arguments: &[CString], environment: &[CString]) -> Errno {
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: a C string and two arrays of C strings that end in null; all live through the call.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    last_error()
}

/// As [`path`], with the program in an open file: no path is looked up, so none can be exchanged.
pub fn file(program: impl AsFd, arguments: &[CString], environment: &[CString]) -> Errno {
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: as `path`; AT_EMPTY_PATH takes the program from the descriptor.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_fd().as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    last_error()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    let pointers = strings.iter().map(|string| string.as_ptr());
    pointers.chain([std::ptr::null()]).collect()
}
