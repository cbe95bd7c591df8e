//! Programs in sealed memory: fast to start, and out of reach of whatever they start (CVE-2019-5736).

use std::fs::File;
use std::io;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
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
}
