//! Conditions on arguments, as instructions.

use oci_spec::runtime::{LinuxSeccompArg, LinuxSeccompOperator as Op};

use crate::SeccompError;
use crate::bpf::{Instruction, and, jump_equal, jump_greater, jump_greater_equal, load};
use crate::table::Abi;

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    index: u32,
    op: Op,
    value: u64,
    second: u64,
    /// Whether all 64 bits count.
    wide: bool,
}

/// Arguments that the kernel takes as an `int`: only the low half counts, whatever a program puts above it. Compared
/// in full, `socket(1 << 32 | AF_VSOCK)` would pass a rule that forbids `AF_VSOCK`.
const INTS: &[(&str, usize)] = &[
    ("personality", 0),
    ("socket", 0),
    ("socket", 1),
    ("socket", 2),
    ("socketcall", 0),
    ("socketpair", 0),
    ("socketpair", 1),
    ("socketpair", 2),
];

impl Condition {
    pub(crate) fn new(name: &str, arg: &LinuxSeccompArg, abi: Abi) -> Result<Self, SeccompError> {
        if arg.index() > 5 {
            return Err(SeccompError::Argument(arg.index()));
        }
        Ok(Self {
            index: arg.index() as u32,
            op: arg.op(),
            value: arg.value(),
            second: arg.value_two().unwrap_or(0),
            wide: abi.wide() && !INTS.contains(&(name, arg.index())),
        })
    }

    /// Instructions that go on behind themselves if it holds, and else skip `rest` more.
    pub(crate) fn emit(&self, rest: u8) -> Vec<Instruction> {
        // `struct seccomp_data`: nr, arch, instruction pointer, six arguments of 8 bytes; both targets are little-endian.
        let low = 16 + 8 * self.index;
        let (value, high) = (self.value as u32, (self.value >> 32) as u32);
        if self.op == Op::ScmpCmpMaskedEq {
            return self.masked(low, rest);
        }
        let mut code = Vec::with_capacity(5);
        if self.wide {
            let decide_low = 2;
            code.push(load(low + 4));
            match self.op {
                Op::ScmpCmpEq => code.push(jump_equal(high, 0, rest + decide_low)),
                Op::ScmpCmpNe => code.push(jump_equal(high, 0, decide_low)),
                // A larger or smaller upper half settles it.
                Op::ScmpCmpGt | Op::ScmpCmpGe => {
                    code.push(jump_greater(high, decide_low + 1, 0));
                    code.push(jump_equal(high, 0, rest + decide_low));
                }
                Op::ScmpCmpLt | Op::ScmpCmpLe => {
                    code.push(jump_greater(high, rest + decide_low + 1, 0));
                    code.push(jump_equal(high, 0, decide_low));
                }
                Op::ScmpCmpMaskedEq => {}
            }
        }
        code.push(load(low));
        code.push(match self.op {
            Op::ScmpCmpEq | Op::ScmpCmpMaskedEq => jump_equal(value, 0, rest),
            Op::ScmpCmpNe => jump_equal(value, rest, 0),
            Op::ScmpCmpGt => jump_greater(value, 0, rest),
            Op::ScmpCmpGe => jump_greater_equal(value, 0, rest),
            Op::ScmpCmpLt => jump_greater_equal(value, rest, 0),
            Op::ScmpCmpLe => jump_greater(value, rest, 0),
        });
        code
    }

    /// `argument & value == second`.
    fn masked(&self, low: u32, rest: u8) -> Vec<Instruction> {
        let wanted = self.second & self.value;
        let mut code = Vec::with_capacity(6);
        if self.wide && self.value >> 32 != 0 {
            code.push(load(low + 4));
            code.push(and((self.value >> 32) as u32));
            code.push(jump_equal((wanted >> 32) as u32, 0, rest + 3));
        }
        code.push(load(low));
        code.push(and(self.value as u32));
        code.push(jump_equal(wanted as u32, 0, rest));
        code
    }
}

/// The most instructions that a condition takes.
pub(crate) const LONGEST: usize = 6;
