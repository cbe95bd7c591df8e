//! Files in memory: sealed programs, which are fast to start and out of reach of whatever they start (CVE-2019-5736), and what
//! is too long for a packet.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// Copies the program `path` into a memory file that nobody can change, grow or shrink any more.
///
/// # Errors
/// If it cannot be read, or memory is short.
pub fn seal_program(name: &str, path: &Path) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Linux 6.3 wants to be told that it will be executed, older ones do not know the flag.
    let memfd =
        memfd_create(name, flags | MemfdFlags::EXEC).or_else(|_| memfd_create(name, flags))?;
    let mut copy = File::from(memfd);
    io::copy(&mut File::open(path)?, &mut copy)?;
    let memfd = OwnedFd::from(copy);
    fcntl_add_seals(
        &memfd,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    Ok(memfd)
}

/// A memory file with `bytes`, to be read from its beginning.
///
/// # Errors
/// If memory or descriptors are short.
pub fn holding(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// What somebody has given in a memory file, from where it stands.
///
/// # Errors
/// If it cannot be read; `InvalidData` if it is longer than `limit`.
pub fn read(file: OwnedFd, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::from(file)
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(io::ErrorKind::InvalidData.into()),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn a_sealed_program_runs_and_cannot_be_written() {
        let program = seal_program("true", Path::new("/bin/true")).expect("seal");
        let path = format!("/proc/self/fd/{}", program.as_raw_fd());
        let status = std::process::Command::new(&path).status().expect("run");
        assert!(status.success());
        let error = File::options()
            .write(true)
            .open(&path)
            .and_then(|mut file| file.write_all(b"x"));
        assert!(error.is_err());
    }

    #[test]
    fn what_is_in_a_file_has_an_end() {
        let file = || holding("test", b"four").expect("make");
        assert_eq!(read(file(), 4).expect("read"), b"four");
        let error = read(file(), 3).expect_err("longer than it may be");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
