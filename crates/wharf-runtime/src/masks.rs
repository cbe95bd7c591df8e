//! Paths that the container may not see, or not write.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use oci_spec::runtime::Spec;
use rustix::fs::{FileType, Mode, OFlags, fstat, makedev};
use wharf_sys::mount::{self, Change, attr};
use wharf_sys::root::Root;

use crate::Failure;

/// Covers the masked paths and makes the read-only ones so. The container's root is `/` already.
pub(crate) fn apply(spec: &Spec) -> Result<(), Failure> {
    let Some(linux) = spec.linux() else {
        return Ok(());
    };
    let masked = linux.masked_paths().as_deref().unwrap_or_default();
    let readonly = linux.readonly_paths().as_deref().unwrap_or_default();
    if masked.is_empty() && readonly.is_empty() {
        return Ok(());
    }
    let root = Root::open(Path::new("/")).map_err(Failure::at("open /"))?;
    for path in readonly {
        make_readonly(&root, path).map_err(Failure::at(format!("readonly path {path}")))?;
    }
    if masked.is_empty() {
        return Ok(());
    }
    let null = real_null(&root).map_err(Failure::at("open /dev/null"))?;
    for path in masked {
        mask(&root, path, &null).map_err(Failure::at(format!("can't mask path \"{path}\"")))?;
    }
    Ok(())
}

/// `/dev/null` by descriptor, and really it: an image may have a link there (CVE-2025-31133).
fn real_null(root: &Root) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let null = root.open_at(Path::new("/dev/null"), flags, Mode::empty())?;
    let stat = fstat(&null)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::CharacterDevice || stat.st_rdev != makedev(1, 3) {
        return Err(io::Error::other("it is not the null device"));
    }
    Ok(null)
}

fn mask(root: &Root, path: &str, null: &OwnedFd) -> io::Result<()> {
    let Some(target) = find(root, path)? else {
        return Ok(());
    };
    let is_folder = FileType::from_raw_mode(fstat(&target)?.st_mode) == FileType::Directory;
    let cover = match is_folder {
        true => mount::filesystem(
            "tmpfs",
            &[("nr_inodes", Some("2")), ("mode", Some("755"))],
            attr::RDONLY,
        )?,
        false => mount::bind(null, "", false)?,
    };
    mount::attach(&cover, &target)
}

fn make_readonly(root: &Root, path: &str) -> io::Result<()> {
    let Some(target) = find(root, path)? else {
        return Ok(());
    };
    let bound = mount::bind(&target, "", true)?;
    let change = Change {
        set: attr::RDONLY,
        recursive: true,
        ..Change::default()
    };
    mount::change(&bound, change)?;
    mount::attach(&bound, &target)
}

fn find(root: &Root, path: &str) -> io::Result<Option<OwnedFd>> {
    match root.find(Path::new(path)) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // A file where a folder is looked for on the way: the path is not there either.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(error),
    }
}
