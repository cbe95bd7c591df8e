//! System call numbers per binary interface.

use std::str::FromStr as _;

use oci_spec::runtime::Arch;
use syscalls::{aarch64, arm, x86, x86_64};

use crate::SeccompError;

/// A kind of machine that filters are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// x86-64, with i386 and x32.
    X86_64,
    /// 64-bit ARM, with 32-bit ARM.
    Aarch64,
}

impl Target {
    /// This machine.
    ///
    /// # Errors
    /// [`SeccompError::Machine`] if there is no table for it.
    pub fn native() -> Result<Self, SeccompError> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Target::X86_64),
            "aarch64" => Ok(Target::Aarch64),
            other => Err(SeccompError::Machine(other)),
        }
    }

    /// The word in a profile's `arches`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Target::X86_64 => "amd64",
            Target::Aarch64 => "arm64",
        }
    }

    pub(crate) fn arch(self) -> Arch {
        match self {
            Target::X86_64 => Arch::ScmpArchX86_64,
            Target::Aarch64 => Arch::ScmpArchAarch64,
        }
    }

    /// All interfaces of its kernel; those of the same machine (`arch`) lie together, lowest numbers first.
    pub(crate) fn abis(self) -> &'static [Abi] {
        match self {
            Target::X86_64 => &[Abi::X86_64, Abi::X32, Abi::X86],
            Target::Aarch64 => &[Abi::Aarch64, Abi::Arm],
        }
    }
}

/// A binary interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abi {
    X86_64,
    X32,
    X86,
    Aarch64,
    Arm,
}

/// The bit that tells an x32 call (`asm/unistd.h`).
pub(crate) const X32_BIT: u32 = 0x4000_0000;

/// Where ARM's private calls begin (`__ARM_NR_BASE`).
const ARM_PRIVATE: u32 = 0x000f_0000;

impl Abi {
    pub(crate) fn arch(self) -> Arch {
        match self {
            Abi::X86_64 => Arch::ScmpArchX86_64,
            Abi::X32 => Arch::ScmpArchX32,
            Abi::X86 => Arch::ScmpArchX86,
            Abi::Aarch64 => Arch::ScmpArchAarch64,
            Abi::Arm => Arch::ScmpArchArm,
        }
    }

    /// `AUDIT_ARCH_*` (`linux/audit.h`).
    pub(crate) fn audit(self) -> u32 {
        match self {
            Abi::X86_64 | Abi::X32 => 0xc000_003e,
            Abi::X86 => 0x4000_0003,
            Abi::Aarch64 => 0xc000_00b7,
            Abi::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments have 64 bits.
    pub(crate) fn wide(self) -> bool {
        matches!(self, Abi::X86_64 | Abi::Aarch64)
    }

    /// The first number.
    pub(crate) fn base(self) -> u32 {
        if self == Abi::X32 { X32_BIT } else { 0 }
    }

    /// Whether `number` belongs to a block apart from the ordinary ones, which says nothing about age.
    pub(crate) fn private(self, number: u32) -> bool {
        self == Abi::Arm && number >= ARM_PRIVATE
    }

    /// The number of the call `name`, if this interface has it.
    pub(crate) fn number(self, name: &str) -> Option<u32> {
        match self {
            Abi::X86_64 => number(x86_64::Sysno::from_str(name).ok()?.id()),
            Abi::X86 => number(x86::Sysno::from_str(name).ok()?.id()),
            // The table has the C library's name; libseccomp and all profiles have the kernel's.
            Abi::Aarch64 if name == "newfstatat" => number(aarch64::Sysno::fstatat.id()),
            Abi::Aarch64 => number(aarch64::Sysno::from_str(name).ok()?.id()),
            Abi::Arm => arm_private(name).or_else(|| number(arm::Sysno::from_str(name).ok()?.id())),
            Abi::X32 => {
                let own = X32_OWN.iter().zip(512..).find(|(own, _)| **own == name);
                let number = match own {
                    Some((_, number)) => number,
                    None => Abi::X86_64.number(name)?,
                };
                Some(number | X32_BIT)
            }
        }
    }
}

fn number(id: i32) -> Option<u32> {
    u32::try_from(id).ok()
}

fn arm_private(name: &str) -> Option<u32> {
    let offset = match name {
        "breakpoint" => 1,
        "cacheflush" => 2,
        "usr26" => 3,
        "usr32" => 4,
        "set_tls" => 5,
        "get_tls" => 6,
        _ => return None,
    };
    Some(ARM_PRIVATE + offset)
}

/// The calls that have a number of their own on x32, from 512 on (`arch/x86/entry/syscalls/syscall_64.tbl`).
const X32_OWN: &[&str] = &[
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];
