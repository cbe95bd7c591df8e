//! Archives that mean harm: nothing outside of the folder is touched, and the error says why.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wharf_layer::{ApplyOptions, LayerError};

use crate::build::{
    Entry, archive, dir, entry, file, hard_link, seal, symlink, unpack, unpack_with,
};
use crate::tree::tree;

/// A target with something worth attacking beside it.
struct Arena {
    top: TempDir,
    before: std::collections::BTreeMap<PathBuf, String>,
}

impl Arena {
    fn new() -> Arena {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir(top.path().join("outside")).unwrap();
        fs::write(top.path().join("outside/secret"), "secret").unwrap();
        let before = tree(&top.path().join("outside"));
        fs::create_dir(top.path().join("layer")).unwrap();
        Arena { top, before }
    }

    fn layer(&self) -> PathBuf {
        self.top.path().join("layer")
    }

    fn outside(&self) -> String {
        self.top.path().join("outside").display().to_string()
    }

    fn apply(&self, entries: &[Entry]) -> Result<(), LayerError> {
        let result = unpack(&archive(entries), &self.layer()).map(drop);
        assert_eq!(
            tree(&self.top.path().join("outside")),
            self.before,
            "touched the outside"
        );
        let names: Vec<_> = fs::read_dir(self.top.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 2, "something beside the layer: {names:?}");
        result
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.layer().join(path)).unwrap()
    }
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

#[test]
fn names_that_lead_out_are_refused() {
    for name in ["../x", "a/../../x", "/../x", "./../outside/x", ".."] {
        for make in [
            file(name, "x"),
            dir(name),
            symlink(name, "/"),
            hard_link(name, "x"),
        ] {
            let result = Arena::new().apply(&[file("x", ""), make]);
            assert!(
                matches!(result, Err(LayerError::Outside(_))),
                "{name}: {result:?}"
            );
        }
    }
}

#[test]
fn absolute_names_are_below_the_root() {
    let arena = Arena::new();
    arena
        .apply(&[
            file("/etc/passwd", "ours"),
            file("//a//b", "b"),
            file("c/../d", "d"),
        ])
        .unwrap();
    assert_eq!(arena.read("etc/passwd"), "ours");
    assert_eq!(arena.read("a/b"), "b");
    assert_eq!(arena.read("d"), "d");
    assert!(!exists(&arena.layer().join("c")));
}

#[test]
fn a_link_and_then_a_file_through_it() {
    for target in ["/outside", "../outside", "../../../../../../outside"] {
        let arena = Arena::new();
        // The link is followed within the root, where it leads nowhere.
        let result = arena.apply(&[symlink("a", target), file("a/secret", "owned")]);
        assert!(result.is_err(), "{target}");
        let arena = Arena::new();
        let entries = [
            dir("outside"),
            symlink("a", target),
            file("a/secret", "ours"),
        ];
        arena.apply(&entries).unwrap();
        assert_eq!(arena.read("outside/secret"), "ours");
    }
    let arena = Arena::new();
    let absolute = arena.outside();
    assert!(
        arena
            .apply(&[symlink("a", &absolute), file("a/secret", "owned")])
            .is_err()
    );
    assert!(
        arena
            .apply(&[
                symlink("b", &format!("{absolute}/secret")),
                file("b", "new")
            ])
            .is_ok()
    );
    assert_eq!(arena.read("b"), "new");
    assert!(
        fs::symlink_metadata(arena.layer().join("b"))
            .unwrap()
            .is_file()
    );
}

#[test]
fn links_of_proc_lead_nowhere() {
    let arena = Arena::new();
    let result = arena.apply(&[symlink("a", "/proc/self/root/tmp"), file("a/x", "owned")]);
    assert!(result.is_err());
}

#[test]
fn loops_of_links_end() {
    let arena = Arena::new();
    let entries = [symlink("a", "b"), symlink("b", "a"), file("a/x", "")];
    assert!(matches!(
        arena.apply(&entries),
        Err(LayerError::Member { .. })
    ));
}

#[test]
fn hard_links_stay_inside() {
    for target in ["../outside/secret", "/../outside/secret", "..", "/", "."] {
        let result = Arena::new().apply(&[hard_link("x", target)]);
        assert!(
            matches!(result, Err(LayerError::Outside(_))),
            "{target}: {result:?}"
        );
    }
    let arena = Arena::new();
    let absolute = format!("{}/secret", arena.outside());
    assert!(arena.apply(&[hard_link("x", &absolute)]).is_err());
    // To a link that leads out: the link itself gets a second name, and writing there replaces it.
    arena
        .apply(&[
            symlink("l", &absolute),
            hard_link("h", "l"),
            file("h", "new"),
        ])
        .unwrap();
    assert_eq!(arena.read("h"), "new");
    // Through a folder that is a link out.
    let through = [symlink("d", &arena.outside()), hard_link("y", "d/secret")];
    assert!(arena.apply(&through).is_err());
    // Absolute, as old Docker wrote them.
    arena
        .apply(&[file("f", "f"), hard_link("g", "/f"), hard_link("f", "f")])
        .unwrap();
    let inode = |name: &str| fs::metadata(arena.layer().join(name)).unwrap().ino();
    assert_eq!(inode("f"), inode("g"));
    assert!(arena.apply(&[hard_link("x", "missing")]).is_err());
    assert!(arena.apply(&[dir("dir"), hard_link("x", "dir")]).is_err());
}

#[test]
fn attributes_do_not_go_through_links() {
    let arena = Arena::new();
    let link = symlink("a", &format!("{}/secret", arena.outside()));
    let link = Entry {
        mode: 0o4777,
        uid: 1000,
        ..link
    }
    .pax("mtime", b"1");
    arena.apply(&[link]).unwrap();
    assert_eq!(
        fs::symlink_metadata(arena.layer().join("a")).unwrap().uid(),
        1000
    );
    // A folder that was a link, and one that becomes a link before the times of folders are set.
    let outside = arena.outside();
    arena
        .apply(&[
            symlink("d", &outside),
            Entry {
                mode: 0o700,
                ..dir("d")
            },
            file("d/x", "x"),
        ])
        .unwrap();
    assert!(arena.layer().join("d/x").exists());
    arena
        .apply(&[dir("e"), dir("e/f"), symlink("e", &outside)])
        .unwrap();
    assert!(
        fs::symlink_metadata(arena.layer().join("e"))
            .unwrap()
            .is_symlink()
    );
    arena
        .apply(&[dir("g"), dir("g/h"), symlink("g", &outside), file("h", "")])
        .unwrap();
}

#[test]
fn a_folder_that_becomes_a_link_is_not_remembered() {
    let arena = Arena::new();
    let outside = arena.outside();
    let entries = [
        dir("a"),
        file("a/one", "1"),
        dir("b"),
        symlink("a", "b"),
        file("a/two", "2"),
        symlink("b", &outside),
        file("a/secret", "owned"),
    ];
    assert!(arena.apply(&entries).is_err());
    assert!(
        fs::symlink_metadata(arena.layer().join("b"))
            .unwrap()
            .is_symlink()
    );
}

#[test]
fn later_members_replace_earlier_ones() {
    let arena = Arena::new();
    let entries = [
        file("a", "old"),
        file("a", "new"),
        dir("d"),
        file("d/keep", "keep"),
        Entry {
            mode: 0o700,
            ..dir("d")
        },
        file("e/x", ""),
        file("e", "file"),
        file("f", ""),
        dir("f"),
        file("f/x", "x"),
        file("h", "old"),
        hard_link("i", "h"),
        file("h", "new"),
    ];
    arena.apply(&entries).unwrap();
    assert_eq!(arena.read("a"), "new");
    assert_eq!(arena.read("d/keep"), "keep");
    assert_eq!(
        fs::metadata(arena.layer().join("d")).unwrap().mode() & 0o7777,
        0o700
    );
    assert_eq!(arena.read("e"), "file");
    assert_eq!(arena.read("f/x"), "x");
    // A new file, not new content in the old one.
    assert_eq!(
        (arena.read("h"), arena.read("i")),
        ("new".into(), "old".into())
    );
    let through_file = Arena::new().apply(&[file("a", ""), file("a/b", "")]);
    assert!(matches!(through_file, Err(LayerError::Member { .. })));
}

#[test]
fn overlay_is_not_spoken_to() {
    let arena = Arena::new();
    let sly = dir("d")
        .pax("SCHILY.xattr.trusted.overlay.redirect", b"/etc")
        .pax("SCHILY.xattr.trusted.overlay.opaque", b"y")
        .pax("SCHILY.xattr.user.overlay.redirect", b"/etc")
        .pax("SCHILY.xattr.user.ok", b"1");
    arena.apply(&[sly]).unwrap();
    let seen = &tree(&arena.layer())[Path::new("d")];
    assert!(
        seen.contains("user.ok") && !seen.contains("overlay"),
        "{seen}"
    );
}

#[test]
fn bombs_go_out() {
    let arena = Arena::new();
    let unpack = |bytes: &[u8], options: ApplyOptions| unpack_with(bytes, &arena.layer(), &options);
    let few = ApplyOptions {
        max_entries: 3,
        ..ApplyOptions::default()
    };
    let many = archive(&[file("a", ""), file("b", ""), file("c", ""), file("d", "")]);
    assert!(matches!(
        unpack(&many, few.clone()),
        Err(LayerError::Limit("members"))
    ));
    let deep = archive(&[file("1/2/3/4/5", "")]);
    assert!(matches!(
        unpack(&deep, few),
        Err(LayerError::Limit("members"))
    ));
    // Zeros without end, behind the end of the archive.
    let mut zeros = archive(&[file("a", "")]);
    zeros.resize(4 << 20, 0);
    let small = ApplyOptions {
        max_bytes: 1 << 20,
        ..ApplyOptions::default()
    };
    let bomb = zstd::encode_all(&zeros[..], 1).unwrap();
    assert!(bomb.len() < 10_000);
    assert!(matches!(
        unpack(&bomb, small),
        Err(LayerError::Limit("bytes"))
    ));
    // A header that says that a name is gigabytes long.
    let huge = Entry {
        size: Some(5 << 30),
        ..entry(b'L', "x")
    };
    assert!(matches!(arena.apply(&[huge]), Err(LayerError::Limit(_))));
    // Headers without end that speak of a member that does not come.
    let headers = vec![entry(b'g', "x"); 200];
    assert!(matches!(arena.apply(&headers), Err(LayerError::Limit(_))));
    let huge = Entry {
        size: Some(5 << 30),
        ..entry(b'x', "x")
    };
    assert!(matches!(arena.apply(&[huge]), Err(LayerError::Limit(_))));
    let long = "d/".repeat(3000);
    let long = file("x", "").pax("path", long.as_bytes());
    assert!(arena.apply(&[long]).is_err());
}

#[test]
fn sparse_bombs_take_no_room_and_bad_maps_are_refused() {
    let sparse = |size: &str, map: &str, data: &str| {
        file("s", data)
            .pax("GNU.sparse.major", b"0")
            .pax("GNU.sparse.minor", b"1")
            .pax("GNU.sparse.name", b"sparse")
            .pax("GNU.sparse.size", size.as_bytes())
            .pax("GNU.sparse.map", map.as_bytes())
    };
    let arena = Arena::new();
    arena
        .apply(&[sparse("1000000000000", "0,1,500000000000,2", "abc")])
        .unwrap();
    let metadata = fs::metadata(arena.layer().join("sparse")).unwrap();
    assert_eq!(metadata.len(), 1_000_000_000_000);
    assert!(metadata.blocks() < 64);
    for (size, map, data) in [
        ("10", "0,1,1", "ab"),
        ("10", "5,1,0,1", "ab"),
        ("10", "0,2,1,1", "abc"),
        ("10", "9,2", "ab"),
        ("10", "0,1", "ab"),
        ("10", "0,3", "ab"),
        ("10", "18446744073709551615,2", "ab"),
        ("-1", "0,2", "ab"),
        ("9223372036854775807", "9223372036854775807,2", "ab"),
    ] {
        let result = arena.apply(&[sparse(size, map, data)]);
        assert!(
            matches!(result, Err(LayerError::Header { .. })),
            "{map}: {result:?}"
        );
    }
}

#[test]
fn headers_that_lie_are_refused() {
    let arena = Arena::new();
    let mut bytes = archive(&[file("a", "data")]);
    bytes[0] ^= 1;
    assert!(matches!(
        unpack(&bytes, &arena.layer()),
        Err(LayerError::Header { offset: 0, .. })
    ));
    let broken = |change: &dyn Fn(&mut [u8; 512])| {
        let mut bytes = archive(&[file("a", "data")]);
        let mut block: [u8; 512] = bytes[..512].try_into().unwrap();
        change(&mut block);
        seal(&mut block);
        bytes[..512].copy_from_slice(&block);
        unpack(&bytes, &arena.layer())
    };
    let fields = [100, 108, 116, 124, 136];
    for at in fields {
        let result = broken(&|block| block[at] = b'x');
        assert!(matches!(result, Err(LayerError::Header { .. })), "{at}");
    }
    // A negative size in base 256.
    assert!(broken(&|block| block[124..136].fill(0xff)).is_err());
    assert!(matches!(
        arena.apply(&[entry(b'Z', "z")]),
        Err(LayerError::UnknownType { .. })
    ));
    let mut middle = archive(&[file("a", "")]);
    middle.truncate(1024 - 512);
    middle.resize(1024, 0);
    file("b", "").write(&mut middle);
    assert!(matches!(
        unpack(&middle, &arena.layer()),
        Err(LayerError::Header { .. })
    ));
    let nul = file("x", "").pax("path", b"a\0b");
    assert!(matches!(
        arena.apply(&[nul]),
        Err(LayerError::Header { .. })
    ));
    let owner = file("x", "").pax("uid", b"4294967295");
    assert!(matches!(
        arena.apply(&[owner]),
        Err(LayerError::Invalid { .. })
    ));
}

#[test]
fn sizes_of_things_without_data_are_not_believed() {
    let arena = Arena::new();
    // If the size of the link counted, the next header would be skipped as its data.
    let link = Entry {
        size: Some(512),
        ..symlink("l", "x")
    };
    arena.apply(&[link, file("a", "a")]).unwrap();
    assert_eq!(arena.read("a"), "a");
}
