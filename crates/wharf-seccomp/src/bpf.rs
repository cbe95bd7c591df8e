//! Classic BPF (`linux/bpf_common.h`), of the kind that seccomp takes.

use crate::SeccompError;

/// A compiled filter: `struct sock_filter`s in the machine's byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    instructions: Vec<[u8; 8]>,
}

/// `BPF_MAXINSNS`.
const LONGEST: usize = 4096;

impl Program {
    pub(crate) fn new(code: &[Instruction]) -> Result<Self, SeccompError> {
        if code.len() > LONGEST {
            return Err(SeccompError::TooLong(code.len()));
        }
        let instructions = code.iter().map(|instruction| instruction.bytes()).collect();
        Ok(Self { instructions })
    }

    /// What `wharf_sys::seccomp::load` takes.
    pub fn instructions(&self) -> &[[u8; 8]] {
        &self.instructions
    }

    /// All instructions, one behind the other.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.instructions.concat()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    code: u16,
    yes: u8,
    no: u8,
    operand: u32,
}

impl Instruction {
    fn bytes(self) -> [u8; 8] {
        let [c0, c1] = self.code.to_ne_bytes();
        let [k0, k1, k2, k3] = self.operand.to_ne_bytes();
        [c0, c1, self.yes, self.no, k0, k1, k2, k3]
    }
}

fn instruction(code: u16, yes: u8, no: u8, operand: u32) -> Instruction {
    Instruction {
        code,
        yes,
        no,
        operand,
    }
}

/// Loads the word at `offset` of `struct seccomp_data`.
pub(crate) fn load(offset: u32) -> Instruction {
    instruction(0x20, 0, 0, offset)
}

pub(crate) fn and(mask: u32) -> Instruction {
    instruction(0x54, 0, 0, mask)
}

/// Jumps skip so many instructions.
pub(crate) fn jump(distance: u32) -> Instruction {
    instruction(0x05, 0, 0, distance)
}

pub(crate) fn jump_equal(value: u32, yes: u8, no: u8) -> Instruction {
    instruction(0x15, yes, no, value)
}

pub(crate) fn jump_greater(value: u32, yes: u8, no: u8) -> Instruction {
    instruction(0x25, yes, no, value)
}

pub(crate) fn jump_greater_equal(value: u32, yes: u8, no: u8) -> Instruction {
    instruction(0x35, yes, no, value)
}

pub(crate) fn end(action: u32) -> Instruction {
    instruction(0x06, 0, 0, action)
}

/// `test`, then `no` or `yes`, neither of which is left at its end.
pub(crate) fn branch(
    test: fn(u32, u8, u8) -> Instruction,
    value: u32,
    yes: Vec<Instruction>,
    no: Vec<Instruction>,
) -> Vec<Instruction> {
    let mut code = Vec::with_capacity(yes.len() + no.len() + 2);
    match u8::try_from(no.len()) {
        Ok(distance) => code.push(test(value, distance, 0)),
        // A conditional jump reaches 255 instructions, a plain one all.
        Err(_) => {
            code.push(test(value, 0, 1));
            code.push(jump(no.len() as u32));
        }
    }
    code.extend(no);
    code.extend(yes);
    code
}
