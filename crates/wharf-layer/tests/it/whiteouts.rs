//! Deletions: from names to overlay's marks, and back.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use wharf_layer::{LayerError, PackOptions, pack};

use crate::build::{Entry, archive, dir, file, unpack};

/// What overlay would make of each path: `-` hidden, `o` opaque, `.` plain.
fn marks(root: &Path) -> BTreeMap<String, char> {
    let mut marks = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let mut value = [0; 1];
            let opaque = rustix::fs::lgetxattr(&path, "trusted.overlay.opaque", &mut value).is_ok();
            let mark = match () {
                () if metadata.file_type().is_char_device() && metadata.rdev() == 0 => '-',
                () if opaque => 'o',
                () => '.',
            };
            marks.insert(path.strip_prefix(root).unwrap().display().to_string(), mark);
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    marks
}

fn applied(entries: &[Entry]) -> BTreeMap<String, char> {
    let target = tempfile::tempdir().unwrap();
    unpack(&archive(entries), target.path()).unwrap();
    marks(target.path())
}

fn expected(marks: &[(&str, char)]) -> BTreeMap<String, char> {
    marks
        .iter()
        .map(|(path, mark)| ((*path).to_owned(), *mark))
        .collect()
}

#[test]
fn names_become_marks() {
    let entries = [
        dir("d"),
        file("d/.wh.gone", ""),
        dir("e"),
        file("e/.wh..wh..opq", ""),
        file("e/new", ""),
        file(".wh.top", ""),
        file("implied/.wh.x", ""),
        file(".wh..wh.aufs", ""),
        dir(".wh..wh.plnk"),
        file(".wh..wh.plnk/99.1", ""),
    ];
    let marks = [
        ("d", '.'),
        ("d/gone", '-'),
        ("e", 'o'),
        ("e/new", '.'),
        ("top", '-'),
        ("implied", '.'),
        ("implied/x", '-'),
    ];
    assert_eq!(applied(&entries), expected(&marks));
}

#[test]
fn a_layer_does_not_hide_its_own_files_in_either_order() {
    let hides_file = expected(&[("f", '.')]);
    assert_eq!(applied(&[file(".wh.f", ""), file("f", "")]), hides_file);
    assert_eq!(applied(&[file("f", ""), file(".wh.f", "")]), hides_file);
    let hides_dir = expected(&[("d", 'o'), ("d/x", '.')]);
    assert_eq!(
        applied(&[file(".wh.d", ""), dir("d"), file("d/x", "")]),
        hides_dir
    );
    assert_eq!(
        applied(&[dir("d"), file("d/x", ""), file(".wh.d", "")]),
        hides_dir
    );
    assert_eq!(applied(&[file(".wh.d", ""), file("d/x", "")]), hides_dir);
    assert_eq!(
        applied(&[file(".wh.d", ""), file(".wh.d", "")]),
        expected(&[("d", '-')])
    );
}

#[test]
fn nameless_whiteouts_are_refused() {
    for name in [".wh.", ".wh..", "d/.wh.."] {
        let target = tempfile::tempdir().unwrap();
        let result = unpack(&archive(&[file(name, "")]), target.path());
        assert!(
            matches!(result, Err(LayerError::Outside(_))),
            "{name}: {result:?}"
        );
    }
}

#[test]
fn marks_become_names_again() {
    let entries = [
        dir("d"),
        file("d/.wh.gone", ""),
        dir("e"),
        file("e/.wh..wh..opq", ""),
        file("e/new", "new"),
    ];
    let first = tempfile::tempdir().unwrap();
    unpack(&archive(&entries), first.path()).unwrap();
    let mut packed = Vec::new();
    let options = PackOptions {
        from_overlay: true,
        ..PackOptions::default()
    };
    let done = pack(
        File::open(first.path()).unwrap().as_fd(),
        &mut packed,
        &options,
    )
    .unwrap();
    assert_eq!((done.size, done.files), (packed.len() as u64, 5));
    let names: Vec<_> = tar::Archive::new(&packed[..])
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(names, ["d/", "d/.wh.gone", "e/", "e/.wh..wh..opq", "e/new"]);
    let second = tempfile::tempdir().unwrap();
    unpack(&packed, second.path()).unwrap();
    assert_eq!(marks(second.path()), marks(first.path()));
}
