//! What must hold of layer archives, whatever the bytes. It panics if it does not.

use std::fs::{self, File};
use std::os::fd::AsFd as _;

use wharf_layer::{ApplyOptions, apply};

/// An archive changes nothing outside of its folder, and stays below its limits.
pub(crate) fn layer(bytes: &[u8]) {
    let Ok(around) = tempfile::tempdir() else {
        return;
    };
    let (target, beside) = (around.path().join("target"), around.path().join("beside"));
    let made = fs::create_dir(&target).and_then(|()| fs::write(&beside, "untouched"));
    let Ok(folder) = made.and_then(|()| File::open(&target)) else {
        return;
    };
    let options = ApplyOptions {
        max_bytes: 4 << 20,
        max_entries: 1000,
        // Numbers out of nowhere are no devices to make.
        skip_devices: true,
        ..ApplyOptions::default()
    };
    if let Ok(applied) = apply(bytes, folder.as_fd(), &options) {
        assert!(applied.files <= options.max_entries);
    }
    let names = fs::read_dir(around.path()).map(Iterator::count).ok();
    assert_eq!(names, Some(2), "something was made outside");
    assert_eq!(fs::read(&beside).ok().as_deref(), Some(&b"untouched"[..]));
}
