//! Docker's default profile, call by call.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code)]
mod common;

use common::*;
use wharf_seccomp::{Host, Profile, Program, Target, compile};

fn program(target: Target, capabilities: &[&str], kernel: (u32, u32)) -> Program {
    let profile = Profile::docker_default().unwrap();
    let resolved = profile
        .resolve(capabilities, &Host { target, kernel })
        .unwrap();
    compile(&resolved, target).unwrap()
}

#[test]
fn ordinary_calls_pass_and_dangerous_ones_do_not() {
    let program = program(Target::X86_64, &[], (6, 1));
    // read, execve, openat, mmap, futex, rseq, statx
    for number in [0, 59, 257, 9, 202, 334, 332] {
        assert_eq!(call(&program, X86_64, number), ALLOW, "{number}");
    }
    // mount, umount2, unshare, setns, keyctl, bpf, reboot, kexec_load, io_uring_setup, userfaultfd, open_tree
    for number in [165, 166, 272, 308, 250, 321, 169, 246, 425, 323, 428] {
        assert_eq!(call(&program, X86_64, number), EPERM, "{number}");
    }
    assert_eq!(call(&program, X86_64, 435), ENOSYS, "clone3");
    assert_eq!(
        call(&program, X86_64, 5000),
        ENOSYS,
        "newer than the profile"
    );
    assert_eq!(call(&program, X86_64, u32::MAX), ENOSYS);
    assert_eq!(call(&program, AARCH64, 63), KILL_PROCESS, "another machine");
}

#[test]
fn the_other_interfaces_of_x86_are_held_too() {
    let program = program(Target::X86_64, &[], (6, 1));
    // read, socketcall, clock_gettime64; mount, unshare, keyctl, bpf
    for number in [3, 102, 403] {
        assert_eq!(call(&program, I386, number), ALLOW, "{number}");
    }
    // socketcall: all but SYS_SOCKET, whose address family nobody can see.
    for (what, verdict) in [(1, ENOSYS), (2, ALLOW), (3, ALLOW), (8, ALLOW), (20, ALLOW)] {
        assert_eq!(with(&program, I386, 102, what), verdict, "{what}");
    }
    assert_eq!(with(&program, I386, 102, 1 << 32 | 1), ENOSYS);
    for number in [21, 310, 288, 357] {
        assert_eq!(call(&program, I386, number), EPERM, "{number}");
    }
    // x32: read, its own execve and ioctl; mount, keyctl, kexec_load; the 64-bit execve's number.
    for number in [0, 520, 514] {
        assert_eq!(call(&program, X86_64, X32 | number), ALLOW, "{number}");
    }
    for number in [165, 250, 528, 59] {
        assert_eq!(call(&program, X86_64, X32 | number), EPERM, "{number}");
    }
    // Without the bit, x32's own numbers are no calls.
    assert_ne!(call(&program, X86_64, 520), ALLOW);
}

#[test]
fn arm_is_like_x86() {
    let program = program(Target::Aarch64, &[], (6, 1));
    // read, openat, execve, newfstatat; arm: read, cacheflush, set_tls
    for number in [63, 56, 221, 79] {
        assert_eq!(call(&program, AARCH64, number), ALLOW, "{number}");
    }
    for number in [3, 0xf0002, 0xf0005] {
        assert_eq!(call(&program, ARM, number), ALLOW, "{number}");
    }
    // mount, unshare, bpf; arm: mount, unshare
    for number in [40, 97, 280] {
        assert_eq!(call(&program, AARCH64, number), EPERM, "{number}");
    }
    for number in [21, 337] {
        assert_eq!(call(&program, ARM, number), EPERM, "{number}");
    }
    assert_eq!(call(&program, X86_64, 0), KILL_PROCESS);
}

#[test]
fn sockets_to_the_machine_and_to_the_kernels_ciphers_are_closed() {
    let program = program(Target::X86_64, &[], (6, 1));
    for (arch, number) in [(X86_64, 41), (I386, 359), (X86_64, X32 | 41)] {
        for (family, verdict) in [
            (1, ALLOW),
            (2, ALLOW),
            (16, ALLOW),
            (37, ALLOW),
            (38, EPERM),
            (39, ALLOW),
            (40, EPERM),
            (41, ALLOW),
        ] {
            assert_eq!(
                with(&program, arch, number, family),
                verdict,
                "{arch:x} {family}"
            );
        }
        // The kernel takes an int: what is above does not hide the family.
        assert_eq!(with(&program, arch, number, 40 | 1 << 32), EPERM);
        assert_eq!(with(&program, arch, number, 38 | 1 << 63), EPERM);
    }
}

/// Where a security module holds the address families, 32-bit programs make their sockets as ever.
#[test]
fn socketcall_is_open_where_something_else_holds_it() {
    let host = Host {
        target: Target::X86_64,
        kernel: (6, 1),
    };
    let profile = Profile::docker_default().unwrap().with_socketcall();
    let resolved = profile.resolve(&[], &host).unwrap();
    let program = compile(&resolved, Target::X86_64).unwrap();
    assert_eq!(with(&program, I386, 102, 1), ALLOW);
    assert_eq!(with(&program, I386, 102, 2), ALLOW);
    assert_eq!(with(&program, I386, 359, 38), EPERM);
}

#[test]
fn clone_makes_no_namespaces() {
    let program = program(Target::X86_64, &[], (6, 1));
    let (thread, fork) = (0x003d_0f00, 0x0120_0011);
    for (arch, number) in [(X86_64, 56), (I386, 120), (X86_64, X32 | 56)] {
        assert_eq!(with(&program, arch, number, thread), ALLOW);
        assert_eq!(with(&program, arch, number, fork), ALLOW);
        for namespace in [
            0x0002_0000,
            0x0200_0000,
            0x0400_0000,
            0x0800_0000,
            0x1000_0000,
            0x2000_0000,
            0x4000_0000,
        ] {
            assert_eq!(
                with(&program, arch, number, namespace | 17),
                EPERM,
                "{namespace:x}"
            );
        }
    }
    for (persona, verdict) in [
        (0, ALLOW),
        (8, ALLOW),
        (0x20008, ALLOW),
        (0xffff_ffff, ALLOW),
        (0x0040_0000, EPERM),
    ] {
        assert_eq!(with(&program, X86_64, 135, persona), verdict, "{persona:x}");
    }
}

#[test]
fn capabilities_and_the_kernel_open_calls() {
    let admin = program(Target::X86_64, &["CAP_SYS_ADMIN"], (6, 1));
    for number in [165, 272, 308, 435] {
        assert_eq!(call(&admin, X86_64, number), ALLOW, "{number}");
    }
    assert_eq!(with(&admin, X86_64, 56, 0x1000_0000), ALLOW);
    assert_eq!(call(&admin, X86_64, 169), EPERM, "reboot");
    // ptrace, chroot, open_by_handle_at
    for (capability, number) in [
        ("CAP_SYS_PTRACE", 101),
        ("CAP_SYS_CHROOT", 161),
        ("CAP_DAC_READ_SEARCH", 304),
    ] {
        assert_eq!(
            call(&program(Target::X86_64, &[], (4, 7)), X86_64, number),
            EPERM,
            "{number}"
        );
        assert_eq!(
            call(
                &program(Target::X86_64, &[capability], (4, 7)),
                X86_64,
                number
            ),
            ALLOW,
            "{number}"
        );
    }
    assert_eq!(
        call(&program(Target::X86_64, &[], (4, 8)), X86_64, 101),
        ALLOW
    );
}

#[test]
fn a_call_costs_few_instructions() {
    let program = program(Target::X86_64, &[], (6, 1));
    let worst = (0..512)
        .map(|number| run(&program, X86_64, number, [0; 6]).1)
        .max()
        .unwrap();
    assert!(worst <= 24, "{worst} of {}", program.instructions().len());
}

/// Everything that the filter holds of a real process: one thread takes it on and tries.
#[test]
fn the_kernel_takes_it() {
    let bytes = wharf_seccomp::filter(&Profile::docker_default().unwrap(), &[]).unwrap();
    let program: Vec<[u8; 8]> = bytes
        .chunks_exact(8)
        .map(|one| one.try_into().unwrap())
        .collect();
    let thread = std::thread::spawn(move || {
        wharf_sys::seccomp::load(&program, 0).unwrap();
        use rustix::net::{AddressFamily, SocketType, socket};
        let family =
            |number| socket(AddressFamily::from_raw(number), SocketType::STREAM, None).err();
        let ordinary = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        (
            family(40),
            family(1),
            rustix::process::chroot("/").err(),
            ordinary.contains("Seccomp:\t2"),
        )
    });
    let (vsock, unix, chroot, filtered) = thread.join().unwrap();
    assert_eq!(vsock, Some(rustix::io::Errno::PERM));
    assert_eq!((unix, chroot), (None, Some(rustix::io::Errno::PERM)));
    assert!(filtered);
}
