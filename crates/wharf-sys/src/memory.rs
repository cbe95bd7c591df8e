//! Giving memory back that this process can have again at no loss.

use std::ffi::c_void;

/// Returns the allocator's free pages to the kernel, and drops this process's mappings of its own program's pages:
/// those that nothing touches any more after start (parsers, migrations, TLS) stop counting as resident. What is
/// needed again comes back from the page cache, sixteen pages to a fault.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes the allocator's own locks, and touches free memory alone.
    unsafe {
        libc::malloc_trim(0);
    }
    // SAFETY: the callback has the type that dl_iterate_phdr(3) calls, and uses no data of ours.
    unsafe { libc::dl_iterate_phdr(Some(drop_read_only_pages), std::ptr::null_mut()) };
}

/// `MADV_DONTNEED` for each segment of one loaded object that the object itself may not write: such pages are equal to the
/// file's, which cannot be written while it runs (ETXTBSY). Segments that are writable at some time, relocated
/// constants among them, have the W flag here and are left alone.
unsafe extern "C" fn drop_read_only_pages(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> libc::c_int {
    // SAFETY: dl_iterate_phdr(3) hands out a live record, whose headers stay as long as the object is loaded.
    let (base, headers) = unsafe {
        let object = &*object;
        (
            object.dlpi_addr,
            std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)),
        )
    };
    let page = rustix::param::page_size() as u64;
    for header in headers {
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let start = (base + header.p_vaddr) & !(page - 1);
        let length = base + header.p_vaddr + header.p_memsz - start;
        // SAFETY: a mapped read-only range of a file: dropped pages read the same when they are touched again. That a
        // kernel refuses (the vDSO's pages, locked ones) is no loss.
        unsafe {
            libc::madvise(start as *mut c_void, length as usize, libc::MADV_DONTNEED);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    /// Resident pages of files, in kB.
    fn resident_file() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssFile:"));
        let number = line
            .and_then(|line| line.split_whitespace().nth(1))
            .unwrap();
        number.parse().unwrap()
    }

    #[test]
    fn program_pages_are_dropped_and_come_back() {
        let words = ["one", "two"].map(String::from).join(" ");
        let before = resident_file();
        super::give_back();
        let after = resident_file();
        assert!(after < before, "{after} kB of {before} kB");
        // Code, constants and relocated tables are as they were.
        assert_eq!(format!("{words:>8}"), " one two");
        let error: Box<dyn std::error::Error> = "not a number".parse::<u8>().unwrap_err().into();
        assert_eq!(error.to_string(), "invalid digit found in string");
    }
}
