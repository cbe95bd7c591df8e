//! A static ELF64 program that writes a text to standard output and exits: write(1, text, len); exit(0).
//!
//! Layout: ELF header, one program header (read and execute, the whole file), code, text. Sources: System V ABI,
//! "ELF Header" and "Program Header"; syscalls(2); syscall(2) for the registers.

const TEXT: &[u8] = include_bytes!("hello.txt");
const BASE: u64 = 0x40_0000;
const ELF_HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;

/// A processor that the program exists for.
pub(crate) enum Machine {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

impl Machine {
    /// Go's name for it, as images have it.
    pub(crate) fn architecture(&self) -> &'static str {
        match self {
            Machine::Amd64 => "amd64",
            Machine::Arm64 => "arm64",
        }
    }

    fn elf_machine(&self) -> u16 {
        match self {
            Machine::Amd64 => 62,
            Machine::Arm64 => 183,
        }
    }
}

/// The program as a file.
pub(crate) fn program(machine: &Machine) -> Vec<u8> {
    let entry = BASE + ELF_HEADER + PROGRAM_HEADER;
    let code = match machine {
        Machine::Amd64 => amd64(entry),
        Machine::Arm64 => arm64(entry),
    };
    let size = ELF_HEADER + PROGRAM_HEADER + code.len() as u64 + TEXT.len() as u64;
    let mut file = elf_header(machine, entry);
    file.extend(program_header(size));
    file.extend(code);
    file.extend(TEXT);
    file
}

fn elf_header(machine: &Machine, entry: u64) -> Vec<u8> {
    // 64 bits, little endian, version 1, System V.
    let mut header = b"\x7fELF\x02\x01\x01".to_vec();
    header.resize(16, 0);
    header.extend(2u16.to_le_bytes()); // e_type: executable
    header.extend(machine.elf_machine().to_le_bytes());
    header.extend(1u32.to_le_bytes()); // e_version
    header.extend(entry.to_le_bytes());
    header.extend(ELF_HEADER.to_le_bytes()); // e_phoff
    header.extend(0u64.to_le_bytes()); // e_shoff: no sections
    header.extend(0u32.to_le_bytes()); // e_flags
    for half in [ELF_HEADER as u16, PROGRAM_HEADER as u16, 1, 64, 0, 0] {
        header.extend(half.to_le_bytes()); // e_ehsize e_phentsize e_phnum e_shentsize e_shnum e_shstrndx
    }
    header
}

fn program_header(size: u64) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(1u32.to_le_bytes()); // p_type: load
    header.extend(5u32.to_le_bytes()); // p_flags: read, execute
    for word in [0, BASE, BASE, size, size, 0x1_0000] {
        header.extend(u64::to_le_bytes(word)); // p_offset p_vaddr p_paddr p_filesz p_memsz p_align
    }
    header
}

fn amd64(entry: u64) -> Vec<u8> {
    const SIZE: u64 = 5 + 5 + 5 + 5 + 2 + 5 + 2 + 2;
    let text = (entry + SIZE) as u32;
    let mut code = Vec::new();
    code.push(0xb8); // mov eax, 1 (write)
    code.extend(1u32.to_le_bytes());
    code.push(0xbf); // mov edi, 1
    code.extend(1u32.to_le_bytes());
    code.push(0xbe); // mov esi, text
    code.extend(text.to_le_bytes());
    code.push(0xba); // mov edx, length
    code.extend((TEXT.len() as u32).to_le_bytes());
    code.extend([0x0f, 0x05]); // syscall
    code.push(0xb8); // mov eax, 231 (exit_group)
    code.extend(231u32.to_le_bytes());
    code.extend([0x31, 0xff]); // xor edi, edi
    code.extend([0x0f, 0x05]); // syscall
    assert_eq!(code.len() as u64, SIZE);
    code
}

fn arm64(entry: u64) -> Vec<u8> {
    let movz = |register: u32, value: u32| 0xd280_0000 | (value & 0xffff) << 5 | register;
    let movk_16 = |register: u32, value: u32| 0xf2a0_0000 | (value & 0xffff) << 5 | register;
    const SVC: u32 = 0xd400_0001;
    const INSTRUCTIONS: u64 = 9;
    let text = (entry + INSTRUCTIONS * 4) as u32;
    let code = [
        movz(0, 1), // x0 = 1
        movz(1, text),
        movk_16(1, text >> 16),     // x1 = text
        movz(2, TEXT.len() as u32), // x2 = length
        movz(8, 64),                // x8 = write
        SVC,
        movz(0, 0),
        movz(8, 94), // x8 = exit_group
        SVC,
    ];
    assert_eq!(code.len() as u64, INSTRUCTIONS);
    code.iter()
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect()
}
