//! Copying from one tree into another (`solver/llbsolver/file`, `fsutil/copy`).

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use bollard_buildkit_proto::pb;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, statat};
use wharf_builder::transfer::{self, Looks};
use wharf_builder::{ModeChange, Selection, fetch, has_wildcards, tree};
use wharf_engine::resolve;
use wharf_sys::root::Root;

use super::file::clean;
use crate::SolveError;
use crate::keys::{Takes, located};

/// Where files come from.
pub(super) struct From<'a> {
    pub(super) root: &'a Root,
    /// Owners mean nothing: a client's files are root's.
    pub(super) is_client: bool,
    /// Whether it is the classic builder that copies: it gives files to their owner last, and they lose what goes with that.
    pub(super) is_classic: bool,
}

/// Copies. Blocks.
pub(super) fn copy(
    action: &pb::FileActionCopy,
    from: &From<'_>,
    to: &Root,
    owner: Option<(u32, u32)>,
) -> Result<(), SolveError> {
    let (mode, change) = modes_of(action)?;
    let owner = owner.or(from.is_client.then_some((0, 0)));
    let looks = Looks {
        owner,
        mode,
        drops_set_id: from.is_classic && owner.is_some() && mode.is_none(),
        // As other actions have it: negative for their own.
        modified: (action.timestamp >= 0).then_some(action.timestamp),
    };
    let target = Target {
        path: clean(&action.dest),
        is_folder: action.dest.ends_with('/') || action.dest.ends_with("/."),
    };
    if !action.create_dest_path {
        let parent = target.path.parent().unwrap_or(Path::new("/"));
        if !transfer::is_folder(to, parent) {
            let parent = parent.display();
            return Err(SolveError::NotFound(format!(
                "failed to copy files: {parent}: no such file or directory"
            )));
        }
    }
    let takes = Takes::of(action);
    let how = How {
        selection: takes.selection()?,
        looks,
        change,
    };
    for asked in sources(action, &takes, from.root)? {
        one(action, from.root, &asked, (to, &target), &how)?;
    }
    Ok(())
}

/// What is taken of folders, and how it looks when it has arrived.
struct How {
    selection: Selection,
    looks: Looks,
    change: Option<ModeChange>,
}

struct Target {
    path: PathBuf,
    /// It was asked for as a folder.
    is_folder: bool,
}

fn sources(
    action: &pb::FileActionCopy,
    takes: &Takes,
    root: &Root,
) -> Result<Vec<PathBuf>, SolveError> {
    let found = takes.found(root);
    let found = found.map_err(SolveError::io("read the files to copy"))?;
    match found.is_empty() && !action.allow_empty_wildcard {
        true => Err(SolveError::NotFound(format!("{} not found", action.src))),
        false => Ok(found),
    }
}

fn one(
    action: &pb::FileActionCopy,
    root: &Root,
    asked: &Path,
    (to, target): (&Root, &Target),
    how: &How,
) -> Result<(), SolveError> {
    let (looks, change) = (how.looks, how.change.as_ref());
    let changed = |error: std::io::Error| {
        SolveError::Failed(format!(
            "failed to change modes of {}: {error}",
            asked.display()
        ))
    };
    let lost = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => SolveError::NotFound(format!(
            "lstat {}: no such file or directory",
            Path::new("/").join(asked).display()
        )),
        _ => SolveError::Failed(format!(
            "failed to copy files: {}: {error}",
            asked.display()
        )),
    };
    let (below, stat) = located(root, asked, action.follow_symlink).map_err(lost)?;
    let base = asked.file_name().unwrap_or_default();
    let into_folder = || target.is_folder || transfer::is_folder(to, &target.path);
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        let into = match !action.dir_copy_contents && into_folder() {
            true => target.path.join(base),
            false => target.path.clone(),
        };
        folder(action, (root, &below), (to, &into), looks, &how.selection)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        return change.map_or(Ok(()), |change| {
            let like = root.open_at(&below, flags, Mode::empty());
            let like = like.map_err(changed)?;
            change_modes(change, (to, &into), Some(&like), 0).map_err(changed)
        });
    }
    if !how.selection.takes_named(asked) {
        return Ok(());
    }
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if action.attempt_unpack_docker_compatibility && is_file {
        let file = transfer::open_file(root, &below).map_err(lost)?;
        if fetch::starts_an_archive(file) {
            // The archive says whose its files are.
            let own = Looks {
                owner: None,
                mode: looks.mode,
                drops_set_id: false,
                modified: None,
            };
            return Ok(transfer::archive((root, &below), (to, &target.path), own)?);
        }
    }
    let into = match into_folder() {
        true => target.path.join(base),
        // Wherever a link there leads.
        false => {
            resolve(to, &target.path)
                .map_err(|error| in_the_way(target, &error))?
                .path
        }
    };
    transfer::file((root, &below), (to, &into), looks)?;
    match change.filter(|_| is_file) {
        Some(change) => change_modes(change, (to, &into), None, 0).map_err(changed),
        None => Ok(()),
    }
}

/// What is on the way to a target is no folder.
fn in_the_way(target: &Target, error: &std::io::Error) -> SolveError {
    SolveError::Failed(format!(
        "failed to copy files: lstat {}: {error}",
        target.path.display()
    ))
}

fn folder(
    action: &pb::FileActionCopy,
    from: (&Root, &Path),
    to: (&Root, &Path),
    looks: Looks,
    selection: &Selection,
) -> Result<(), SolveError> {
    if action.include_patterns.is_empty() {
        return Ok(transfer::folder(from, to, looks, selection)?);
    }
    let failed = SolveError::io("read the files to copy");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let top = from.0.open_at(from.1, flags, Mode::empty());
    let paths = selection.paths(top.map_err(&failed)?.as_fd());
    let paths = paths.map_err(failed)?;
    for required in &action.required_paths {
        let clean = required.trim_start_matches('/').as_bytes();
        if !has_wildcards(required) && !paths.contains(clean) {
            return Err(SolveError::NotFound(format!("{required:?}: not found")));
        }
    }
    match paths.is_empty() {
        true => Ok(()),
        false => Ok(transfer::folder(from, to, looks, selection)?),
    }
}

/// The modes that are asked for: one for all, or a change of each one's.
fn modes_of(action: &pb::FileActionCopy) -> Result<(Option<u32>, Option<ModeChange>), SolveError> {
    let text = action.mode_str.as_str();
    if text.is_empty() {
        let mode = u32::try_from(action.mode).ok();
        return Ok((mode.map(|mode| mode & 0o7777), None));
    }
    let number = u32::from_str_radix(text, 8).ok();
    if let Some(mode) = number.filter(|mode| *mode <= 0o7777) {
        return Ok((Some(mode), None));
    }
    let change = ModeChange::parse(text);
    let change = change.ok_or_else(|| SolveError::Invalid(format!("invalid mode {text:?}")))?;
    Ok((None, Some(change)))
}

/// Changes the mode of what has been copied to `path`; of a folder also of all in it that `like` has. Links have none.
fn change_modes(
    change: &ModeChange,
    (to, path): (&Root, &Path),
    like: Option<&OwnedFd>,
    depth: usize,
) -> std::io::Result<()> {
    if depth > tree::MAX_DEPTH {
        return Err(tree::too_deep());
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let path = resolve(to, path)?.path;
    let own = to.open_at(&path, flags, Mode::empty())?;
    let mode = rustix::fs::fstat(&own)?.st_mode;
    let mode = change.of(mode, FileType::from_raw_mode(mode) == FileType::Directory);
    rustix::fs::fchmod(&own, Mode::from_raw_mode(mode))?;
    let Some(like) = like else {
        return Ok(());
    };
    for name in tree::names(like.as_fd())? {
        let kind = statat(like, &name[..], AtFlags::SYMLINK_NOFOLLOW)?.st_mode;
        let inside = path.join(OsStr::from_bytes(&name));
        // What was left out is not there.
        if to
            .open_at(&inside, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
            .is_err()
        {
            continue;
        }
        match FileType::from_raw_mode(kind) {
            FileType::Directory => {
                let folder = tree::folder(like.as_fd(), &name)?;
                change_modes(change, (to, &inside), Some(&folder), depth + 1)?;
            }
            FileType::RegularFile => change_modes(change, (to, &inside), None, depth + 1)?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Trees {
        _dir: tempfile::TempDir,
        from: Root,
        to: Root,
        out: PathBuf,
    }

    fn trees() -> Trees {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir_all(from.join("d/e")).unwrap();
        std::fs::create_dir_all(to.join("there")).unwrap();
        for name in ["a.txt", "b.txt", "d/c.txt", "d/e/f.md"] {
            std::fs::write(from.join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("/etc", to.join("out")).unwrap();
        std::os::unix::fs::symlink("a.txt", from.join("link")).unwrap();
        Trees {
            from: Root::open(&from).unwrap(),
            to: Root::open(&to).unwrap(),
            out: to,
            _dir: dir,
        }
    }

    fn run(
        trees: &Trees,
        src: &str,
        dest: &str,
        change: impl FnOnce(&mut pb::FileActionCopy),
    ) -> Result<(), SolveError> {
        let mut action = pb::FileActionCopy {
            src: src.to_owned(),
            dest: dest.to_owned(),
            mode: -1,
            timestamp: -1,
            follow_symlink: true,
            dir_copy_contents: true,
            create_dest_path: true,
            allow_wildcard: true,
            allow_empty_wildcard: true,
            ..pb::FileActionCopy::default()
        };
        change(&mut action);
        let from = From {
            root: &trees.from,
            is_client: true,
            is_classic: false,
        };
        copy(&action, &from, &trees.to, None)
    }

    fn has(trees: &Trees, name: &str) -> bool {
        trees.out.join(name).symlink_metadata().is_ok()
    }

    #[test]
    fn files_and_folders_go_where_they_belong() {
        let trees = trees();
        run(&trees, "a.txt", "/x", |_| ()).unwrap();
        run(&trees, "a.txt", "/there", |_| ()).unwrap();
        run(&trees, "a.txt", "/new/", |_| ()).unwrap();
        run(&trees, "*.txt", "/all/", |_| ()).unwrap();
        run(&trees, "d", "/contents", |_| ()).unwrap();
        run(&trees, "d", "/there/", |action| {
            action.dir_copy_contents = false
        })
        .unwrap();
        run(&trees, "link", "/followed", |_| ()).unwrap();
        run(&trees, "nothing*", "/none/", |_| ()).unwrap();
        for name in [
            "x",
            "there/a.txt",
            "new/a.txt",
            "all/b.txt",
            "contents/e/f.md",
            "there/d/c.txt",
        ] {
            assert!(has(&trees, name), "{name}");
        }
        assert!(std::fs::read(trees.out.join("followed")).is_ok());
        assert!(!has(&trees, "none"));
        for (src, dest, said) in [
            (
                "nothing",
                "/none",
                "lstat /nothing: no such file or directory",
            ),
            (
                "a.txt",
                "/x/y",
                "failed to copy files: lstat /x/y: not a directory",
            ),
            ("d", "/x", "failed to copy files: mkdir /x: not a directory"),
        ] {
            let error = run(&trees, src, dest, |_| ()).unwrap_err();
            assert_eq!(wharf_sys::words::plain(&error.to_string()), said);
        }
    }

    #[test]
    fn patterns_choose() {
        let trees = trees();
        run(&trees, "/", "/inc", |action| {
            action.include_patterns = vec!["d/e/*.md".to_owned()]
        })
        .unwrap();
        assert!(
            has(&trees, "inc/d/e/f.md") && !has(&trees, "inc/d/c.txt") && !has(&trees, "inc/a.txt")
        );
        run(&trees, "/", "/exc", |action| {
            action.exclude_patterns = vec!["**/*.txt".to_owned()]
        })
        .unwrap();
        assert!(has(&trees, "exc/d/e/f.md") && !has(&trees, "exc/d/c.txt"));
        run(&trees, "/", "/exception", |action| {
            action.exclude_patterns = vec!["d".to_owned(), "!d/e".to_owned()]
        })
        .unwrap();
        assert!(has(&trees, "exception/d/e/f.md") && has(&trees, "exception/a.txt"));
        assert!(!has(&trees, "exception/d/c.txt"));
        for (src, dest, kept, excluded) in [
            ("?.txt", "/named/", "b.txt", "a.txt"),
            ("d/*", "/named/below/", "f.md", "c.txt"),
        ] {
            run(&trees, src, dest, |action| {
                action.exclude_patterns =
                    vec!["a.*".to_owned(), "*.txt".to_owned(), "!b.txt".to_owned()]
            })
            .unwrap();
            assert!(has(&trees, &format!("{}{kept}", &dest[1..])), "{src}");
            assert!(!has(&trees, &format!("{}{excluded}", &dest[1..])), "{src}");
        }
        let missing = run(&trees, "/", "/req", |action| {
            action.include_patterns = vec!["zz".to_owned()];
            action.required_paths = vec!["zz".to_owned()];
        });
        assert!(missing.is_err());
    }

    #[test]
    fn copies_have_the_time_that_is_asked_for() {
        use std::os::unix::fs::MetadataExt as _;
        let trees = trees();
        run(&trees, "d", "/kept", |_| ()).unwrap();
        for (nanos, seconds, rest) in [(0, 0, 0), (5_000_000_007, 5, 7)] {
            run(&trees, "a.txt", "/timed/x", |action| {
                action.timestamp = nanos
            })
            .unwrap();
            run(&trees, "d", "/timed/d", |action| action.timestamp = nanos).unwrap();
            for name in ["x", "d/e", "d/e/f.md"] {
                let found = trees.out.join("timed").join(name).metadata().unwrap();
                assert_eq!(
                    (found.mtime(), found.mtime_nsec()),
                    (seconds, rest),
                    "{name}"
                );
            }
        }
        let kept = trees.out.join("kept/e/f.md").metadata().unwrap();
        assert!(kept.mtime() > 1_000_000_000);
    }

    #[test]
    fn a_link_in_the_target_does_not_lead_out() {
        let trees = trees();
        run(&trees, "a.txt", "/out/wharf-test-file", |_| ()).unwrap();
        assert!(has(&trees, "etc/wharf-test-file") && !Path::new("/etc/wharf-test-file").exists());
        run(&trees, "a.txt", "/../../m", |action| action.mode = 0o600).unwrap();
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!(
            trees.out.join("m").metadata().unwrap().mode() & 0o777,
            0o600
        );
    }
}
