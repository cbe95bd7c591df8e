//! Packing and unpacking changes nothing, whatever the tree.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use proptest::prelude::*;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, mknodat, utimensat,
};
use wharf_layer::{ApplyOptions, PackOptions, Plain, copy_only, pack};
use wharf_oci::Digest;

use crate::build::{unpack, unpack_with};
use crate::tree::tree;

#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>),
    Dir(Vec<(Vec<u8>, Item)>),
    Symlink(Vec<u8>),
    Fifo,
    /// A second name of the file that was made last.
    Link,
}

#[derive(Debug, Clone)]
struct Item {
    node: Node,
    mode: u32,
    owner: (u32, u32),
    time: (i64, u32),
    xattr: Option<Vec<u8>>,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => b'a'..=b'f', 1 => any::<u8>()];
    let size = prop_oneof![9 => 1..8_usize, 1 => 90..255_usize];
    size.prop_flat_map(move |size| prop::collection::vec(byte.clone(), size))
        .prop_filter("a name", |name| {
            !name.contains(&0)
                && !name.contains(&b'/')
                && name != b"."
                && name != b".."
                && !name.starts_with(b".wh.")
        })
}

fn item() -> impl Strategy<Value = Item> {
    let leaf = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..2000).prop_map(Node::File),
        name().prop_map(Node::Symlink),
        Just(Node::Fifo),
        Just(Node::Link),
    ];
    let with = |node: BoxedStrategy<Node>| {
        let owner = (0..5_000_000_u32, 0..70_000_u32);
        let time = (-1000..4_000_000_000_i64, 0..1_000_000_000_u32);
        let xattr = prop::option::of(prop::collection::vec(any::<u8>(), 0..20));
        (node, 0..0o10000_u32, owner, time, xattr).prop_map(|(node, mode, owner, time, xattr)| {
            Item {
                node,
                mode,
                owner,
                time,
                xattr,
            }
        })
    };
    with(leaf.boxed()).prop_recursive(3, 20, 5, move |inner| {
        with(
            prop::collection::vec((name(), inner), 0..5)
                .prop_map(Node::Dir)
                .boxed(),
        )
    })
}

fn make(path: &Path, item: &Item, last: &mut Option<std::path::PathBuf>) {
    match &item.node {
        Node::File(data) => {
            fs::write(path, data).unwrap();
            *last = Some(path.to_owned());
        }
        Node::Dir(children) => {
            fs::create_dir(path).unwrap();
            for (name, child) in children {
                let child_path = path.join(std::ffi::OsStr::from_bytes(name));
                if fs::symlink_metadata(&child_path).is_err() {
                    make(&child_path, child, last);
                }
            }
        }
        Node::Symlink(target) => {
            std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), path).unwrap();
        }
        Node::Fifo => mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap(),
        Node::Link => {
            let Some(first) = last else { return };
            fs::hard_link(first, path).unwrap();
            return;
        }
    }
    std::os::unix::fs::lchown(path, Some(item.owner.0), Some(item.owner.1)).unwrap();
    if let (Some(value), Node::File(_) | Node::Dir(_)) = (&item.xattr, &item.node) {
        rustix::fs::lsetxattr(path, "user.x", value, XattrFlags::empty()).unwrap();
    }
    if !matches!(item.node, Node::Symlink(_)) {
        rustix::fs::chmod(path, Mode::from_raw_mode(item.mode)).unwrap();
    }
    let time = Timespec {
        tv_sec: item.time.0,
        tv_nsec: item.time.1.into(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_tree_survives(children in prop::collection::vec((name(), item()), 0..6)) {
        let top = tempfile::tempdir().unwrap();
        let [source, target] = ["source", "target"].map(|name| top.path().join(name));
        let root = Item { node: Node::Dir(children), mode: 0o755, owner: (0, 0), time: (0, 0), xattr: None };
        make(&source, &root, &mut None);
        fs::create_dir(&target).unwrap();
        let mut archive = Vec::new();
        let packed = pack(File::open(&source).unwrap().as_fd(), &mut archive, &PackOptions::default()).unwrap();
        prop_assert_eq!(packed.size, archive.len() as u64);
        let applied = unpack(&archive, &target).unwrap();
        prop_assert_eq!(applied.diff_id, Some(Digest::sha256(&archive)));
        prop_assert_eq!(applied.files, packed.files);
        prop_assert_eq!(tree(&target), tree(&source));
        let mut again = Vec::new();
        pack(File::open(&target).unwrap().as_fd(), &mut again, &PackOptions::default()).unwrap();
        prop_assert_eq!(again, archive, "the same tree is the same archive");
    }

    #[test]
    fn a_copy_is_what_an_archive_makes(children in prop::collection::vec((name(), item()), 0..6), owner in prop::option::of((0..9_u32, 0..9_u32))) {
        let top = tempfile::tempdir().unwrap();
        let [source, target, copy] = ["source", "target", "copy"].map(|name| top.path().join(name));
        let root = Item { node: Node::Dir(children), mode: 0o755, owner: (0, 0), time: (0, 0), xattr: None };
        make(&source, &root, &mut None);
        let options = PackOptions { whole_seconds: true, ..PackOptions::default() };
        let plain = Plain { folder: "in".into(), owner, ..Plain::default() };
        let apply = ApplyOptions { plain: Some(plain), ..ApplyOptions::default() };
        for folder in [&target, &copy] {
            fs::create_dir_all(folder.join("in/d")).unwrap();
            fs::write(folder.join("in/a"), "is replaced").unwrap();
            File::open(folder.join("in/a")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        }
        let source = File::open(&source).unwrap();
        let mut archive = Vec::new();
        pack(source.as_fd(), &mut archive, &options).unwrap();
        let unpacked = unpack_with(&archive, &target, &apply).unwrap();
        prop_assert_eq!(unpacked.diff_id, None);
        let into = File::open(&copy).unwrap();
        copy_only((source.as_fd(), &options), (into.as_fd(), &apply), &|_, _| true).unwrap();
        let without_times = |folder: &Path| {
            let mut all = tree(folder);
            // What was there before has the time of this test.
            all.remove(Path::new("in"));
            all.remove(Path::new("in/d"));
            all
        };
        prop_assert_eq!(without_times(&copy), without_times(&target));
    }

    #[test]
    fn noise_never_panics(mut noise in prop::collection::vec(any::<u8>(), 0..3000), seal in any::<bool>()) {
        if seal && noise.len() >= 512 {
            let mut block: [u8; 512] = noise[..512].try_into().unwrap();
            block[100..157].fill(b'0');
            crate::build::seal(&mut block);
            noise[..512].copy_from_slice(&block);
        }
        let target = tempfile::tempdir().unwrap();
        let _ = unpack(&noise, target.path());
    }
}
