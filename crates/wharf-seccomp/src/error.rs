//! What can be wrong with a profile.

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// The text is no profile; Docker's words.
    #[error("Decoding seccomp profile failed")]
    Parse(#[source] serde_json::Error),
    /// The profile names its architectures in two ways; Docker's words.
    #[error(
        "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'"
    )]
    TwoArchitectures,
    /// A rule names its calls in two ways; Docker's words.
    #[error(
        "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'"
    )]
    TwoNames,
    /// A rule's `minKernel` is no version.
    #[error("invalid kernel version {0:?} in the seccomp profile")]
    Kernel(String),
    /// A condition on an argument that no system call has.
    #[error("invalid argument index {0} in the seccomp profile")]
    Argument(usize),
    /// The kernel takes no more than 4096 instructions.
    #[error("the seccomp profile needs {0} instructions, more than the kernel takes")]
    TooLong(usize),
    /// There is no system call table for this machine.
    #[error("no system call table for {0}")]
    Machine(&'static str),
}
