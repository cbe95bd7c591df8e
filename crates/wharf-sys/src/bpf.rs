//! As much of eBPF as a cgroup's device filter needs.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// One instruction (`struct bpf_insn`, Linux's `instruction-set.rst`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    code: u8,
    /// Destination in the low half, source in the high one.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const LOAD_WORD: u8 = 0x61;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const SET: u8 = 0xb7;
const COPY: u8 = 0xbc;
const JUMP_UNLESS_EQUAL: u8 = 0x56;
const JUMP_IF_EQUAL: u8 = 0x16;
const EXIT: u8 = 0x95;

impl Instruction {
    const fn new(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Self {
        // The two halves change places on big-endian machines, which we do not build for.
        Self {
            code,
            registers: source << 4 | destination,
            offset,
            immediate,
        }
    }

    /// `to = *(u32 *)(from + offset)`.
    pub const fn load_word(to: u8, from: u8, offset: i16) -> Self {
        Self::new(LOAD_WORD, to, from, offset, 0)
    }

    /// `to &= mask`, of 32 bits.
    pub const fn and(to: u8, mask: i32) -> Self {
        Self::new(AND, to, 0, 0, mask)
    }

    /// `to >>= bits`, of 32 bits.
    pub const fn shift_right(to: u8, bits: i32) -> Self {
        Self::new(SHIFT_RIGHT, to, 0, 0, bits)
    }

    /// `to = value`.
    pub const fn set(to: u8, value: i32) -> Self {
        Self::new(SET, to, 0, 0, value)
    }

    /// `to = from`, of 32 bits.
    pub const fn copy(to: u8, from: u8) -> Self {
        Self::new(COPY, to, from, 0, 0)
    }

    /// Skips `over` instructions unless `register == value`, of 32 bits.
    pub const fn jump_unless_equal(register: u8, value: i32, over: i16) -> Self {
        Self::new(JUMP_UNLESS_EQUAL, register, 0, over, value)
    }

    /// Skips `over` instructions if `register == value`, of 32 bits.
    pub const fn jump_if_equal(register: u8, value: i32, over: i16) -> Self {
        Self::new(JUMP_IF_EQUAL, register, 0, over, value)
    }

    /// Ends the program with the value of r0.
    pub const fn exit() -> Self {
        Self::new(EXIT, 0, 0, 0, 0)
    }
}

/// What the kernel's interpreter would make of `program` with r1 at `context`: for tests of programs.
///
/// # Panics
/// On an instruction that [`Instruction`] cannot make, or a program without an end.
pub fn interpret(program: &[Instruction], context: &[u32]) -> u64 {
    let mut registers = [0u64; 11];
    let mut at = 0;
    loop {
        let instruction = program[at];
        let (to, from) = (
            usize::from(instruction.registers & 15),
            usize::from(instruction.registers >> 4),
        );
        let immediate = instruction.immediate as u32;
        at += 1;
        match instruction.code {
            LOAD_WORD => registers[to] = u64::from(context[instruction.offset as usize / 4]),
            AND => registers[to] = u64::from(registers[to] as u32 & immediate),
            SHIFT_RIGHT => registers[to] = u64::from(registers[to] as u32 >> immediate),
            SET => registers[to] = instruction.immediate as i64 as u64,
            COPY => registers[to] = u64::from(registers[from] as u32),
            JUMP_UNLESS_EQUAL if registers[to] as u32 != immediate => {
                at += instruction.offset as usize
            }
            JUMP_IF_EQUAL if registers[to] as u32 == immediate => at += instruction.offset as usize,
            JUMP_UNLESS_EQUAL | JUMP_IF_EQUAL => {}
            EXIT => return registers[0],
            code => panic!("instruction {code:#x}"),
        }
    }
}

/// `union bpf_attr` for `BPF_PROG_LOAD`, as far as it is used.
#[repr(C, align(8))]
#[derive(Default)]
struct Load {
    program_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// `union bpf_attr` for `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[repr(C, align(8))]
#[derive(Default)]
struct Attach {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
    replaced: u32,
    /// The kernel wants zeros behind what it knows, and padding need not be any.
    padding: u32,
}

/// `union bpf_attr` for `BPF_PROG_QUERY`.
#[repr(C, align(8))]
#[derive(Default)]
struct Query {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

/// `union bpf_attr` for `BPF_PROG_GET_FD_BY_ID`.
#[repr(C, align(8))]
#[derive(Default)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
    padding: u32,
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;
const REPLACE: u32 = 4;
/// `BPF_CGROUP_MAX_PROGS` of the kernel.
const MOST: usize = 64;

/// Loads `program` as a device filter and attaches it to the cgroup v2 folder `cgroup`, instead of those that are
/// attached to this group. Filters of groups above it hold as well: a device must pass all.
///
/// # Errors
/// The kernel's. Then the filters are as they were.
pub fn replace_device_filter(cgroup: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    let program = load(program)?;
    // An O_PATH descriptor is not taken: it is opened again for reading.
    let flags =
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let cgroup = rustix::fs::openat(cgroup, ".", flags, rustix::fs::Mode::empty())?;
    let old = attached(&cgroup)?;
    let mut attach = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
        ..Attach::default()
    };
    if let [one] = old.as_slice() {
        attach.flags |= REPLACE;
        attach.replaced = one.as_raw_fd() as u32;
        return bpf(PROG_ATTACH, &attach).map(drop);
    }
    // At no moment without one.
    bpf(PROG_ATTACH, &attach)?;
    for one in &old {
        let detach = Attach {
            target: cgroup.as_raw_fd() as u32,
            program: one.as_raw_fd() as u32,
            attach_type: ATTACH_CGROUP_DEVICE,
            ..Attach::default()
        };
        bpf(PROG_DETACH, &detach)?;
    }
    Ok(())
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let load = Load {
        program_type: TYPE_CGROUP_DEVICE,
        count: program.len() as u32,
        instructions: program.as_ptr().expose_provenance() as u64,
        license: license.as_ptr().expose_provenance() as u64,
        ..Load::default()
    };
    let program = bpf(PROG_LOAD, &load)?;
    // SAFETY: BPF_PROG_LOAD has returned a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(program) })
}

/// The device filters that are attached to the group itself.
fn attached(cgroup: &OwnedFd) -> io::Result<Vec<OwnedFd>> {
    let mut ids = [0u32; MOST];
    let mut query = Query {
        target: cgroup.as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        ids: ids.as_mut_ptr().expose_provenance() as u64,
        count: MOST as u32,
        ..Query::default()
    };
    // SAFETY: as in `bpf`; the kernel writes `query`, and at most `count` numbers to `ids`, both of which are ours
    // alone until it returns.
    let done = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            PROG_QUERY,
            std::ptr::from_mut(&mut query),
            size_of::<Query>(),
        )
    };
    if done == -1 {
        return Err(io::Error::last_os_error());
    }
    let ids = &ids[..(query.count as usize).min(MOST)];
    let open = |id: &u32| {
        let by_id = ById {
            id: *id,
            ..ById::default()
        };
        let program = bpf(PROG_GET_FD_BY_ID, &by_id)?;
        // SAFETY: BPF_PROG_GET_FD_BY_ID has returned a new descriptor, which nobody else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(program) })
    };
    ids.iter().map(open).collect()
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<i32> {
    // SAFETY: `attributes` is the leading part of a bpf_attr of the size given; what it points to lives
    // through the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    match done {
        -1 => Err(io::Error::last_os_error()),
        done => Ok(done as i32),
    }
}
