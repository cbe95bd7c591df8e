//! Files in memory that nobody can change any more.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

/// Puts `content` into a memfd that is sealed against writing, growing, shrinking and further seals. With
/// `executable` it can be executed (through `/proc/self/fd/N` or `execveat`): a container that gets hold of it
/// cannot write to it, and neither can the host's own root (CVE-2019-5736).
///
/// # Errors
/// As memfd_create(2) and write(2).
pub fn sealed(name: &str, content: &[u8], executable: bool) -> std::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let special = if executable {
        MemfdFlags::EXEC
    } else {
        MemfdFlags::NOEXEC_SEAL
    };
    let memfd = match memfd_create(name, flags | special) {
        // Before Linux 6.3 every memfd is executable and there is no word for it.
        Err(Errno::INVAL) => memfd_create(name, flags)?,
        made => made?,
    };
    let mut file = File::from(memfd);
    file.write_all(content)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}
