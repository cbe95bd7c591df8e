//! The value that a filter returns (`linux/seccomp.h`).

use oci_spec::runtime::LinuxSeccompAction;

pub(crate) const KILL_PROCESS: u32 = 0x8000_0000;
pub(crate) const ENOSYS: u32 = 0x0005_0000 | 38;
const EPERM: u32 = 1;

/// The kernel's value of `action`; `data` is the error or the tracer's message, `EPERM` by default as in runc.
pub(crate) fn value(action: LinuxSeccompAction, data: Option<u32>) -> u32 {
    let data = data.unwrap_or(EPERM) & 0xffff;
    match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => 0,
        LinuxSeccompAction::ScmpActKillProcess => KILL_PROCESS,
        LinuxSeccompAction::ScmpActTrap => 0x0003_0000,
        LinuxSeccompAction::ScmpActErrno => 0x0005_0000 | data,
        LinuxSeccompAction::ScmpActNotify => 0x7fc0_0000,
        LinuxSeccompAction::ScmpActTrace => 0x7ff0_0000 | data,
        LinuxSeccompAction::ScmpActLog => 0x7ffc_0000,
        LinuxSeccompAction::ScmpActAllow => 0x7fff_0000,
    }
}

/// Whether calls that nothing is known of may pass (runc's `isAllowAction`): these need no `ENOSYS`.
pub(crate) fn lets_pass(action: LinuxSeccompAction) -> bool {
    matches!(
        action,
        LinuxSeccompAction::ScmpActAllow
            | LinuxSeccompAction::ScmpActLog
            | LinuxSeccompAction::ScmpActTrace
    )
}
