//! The kernel's part: a machine that runs filters (`kernel/seccomp.c`, `net/core/filter.c`).

use wharf_seccomp::Program;

pub(crate) const X86_64: u32 = 0xc000_003e;
pub(crate) const I386: u32 = 0x4000_0003;
pub(crate) const AARCH64: u32 = 0xc000_00b7;
pub(crate) const ARM: u32 = 0x4000_0028;
pub(crate) const X32: u32 = 0x4000_0000;

pub(crate) const ALLOW: u32 = 0x7fff_0000;
pub(crate) const KILL_PROCESS: u32 = 0x8000_0000;
pub(crate) const EPERM: u32 = 0x0005_0001;
pub(crate) const ENOSYS: u32 = 0x0005_0026;

/// What the filter returns for a call, and after how many instructions.
pub(crate) fn run(program: &Program, arch: u32, number: u32, args: [u64; 6]) -> (u32, usize) {
    let mut data = Vec::new();
    data.extend(number.to_le_bytes());
    data.extend(arch.to_le_bytes());
    data.extend(0u64.to_le_bytes());
    args.iter().for_each(|arg| data.extend(arg.to_le_bytes()));
    let (mut at, mut accumulator) = (0, 0u32);
    for steps in 1.. {
        let [c0, c1, yes, no, k @ ..] = program.instructions()[at];
        let (code, k) = (u16::from_ne_bytes([c0, c1]), u32::from_ne_bytes(k));
        let skip = |holds: bool| usize::from(if holds { yes } else { no });
        at += 1 + match code {
            0x20 => {
                let word = &data[k as usize..k as usize + 4];
                accumulator = u32::from_le_bytes(word.try_into().unwrap());
                0
            }
            0x54 => {
                accumulator &= k;
                0
            }
            0x05 => k as usize,
            0x15 => skip(accumulator == k),
            0x25 => skip(accumulator > k),
            0x35 => skip(accumulator >= k),
            0x06 => return (k, steps),
            other => panic!("seccomp takes no {other:#x}"),
        };
    }
    unreachable!("filters only jump forwards")
}

/// As [`run`], without arguments.
pub(crate) fn call(program: &Program, arch: u32, number: u32) -> u32 {
    run(program, arch, number, [0; 6]).0
}

/// As [`run`], with a first argument.
pub(crate) fn with(program: &Program, arch: u32, number: u32, first: u64) -> u32 {
    run(program, arch, number, [first, 0, 0, 0, 0, 0]).0
}
