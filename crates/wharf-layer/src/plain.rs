//! What is different when an archive is no layer: it goes into a folder in use, beside files of others.

use std::borrow::Cow;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, statat};

use crate::error::path_of;
use crate::extract::{Place, clean};
use crate::tar::{Kind, Member, Time};
use crate::{ApplyOptions, LayerError, Plain};

/// The folder below the root that everything goes into.
pub(crate) fn folder(options: &ApplyOptions) -> Vec<u8> {
    let folder = options.plain.as_ref().map(|plain| &plain.folder);
    let bytes = folder.map_or(&b""[..], |folder| folder.as_os_str().as_bytes());
    let start = bytes.iter().position(|byte| *byte != b'/');
    bytes[start.unwrap_or(bytes.len())..].to_vec()
}

/// A member's name, or a hard link's target, after the renaming.
pub(crate) fn renamed<'a>(name: &'a [u8], options: &ApplyOptions) -> Cow<'a, [u8]> {
    let rename = options
        .plain
        .as_ref()
        .and_then(|plain| plain.rename.as_ref());
    let Some((old, new)) = rename else {
        return Cow::Borrowed(name);
    };
    // Both cleaned alike: `./a` is below `.`, and everything is below `/`.
    let (Some(path), Some(old)) = (clean(name), clean(old.as_os_str().as_bytes())) else {
        return Cow::Borrowed(name);
    };
    let path = path_of(&path);
    match path.strip_prefix(path_of(&old)) {
        Ok(rest) if rest == Path::new("") => Cow::Owned(new.as_os_str().as_bytes().to_vec()),
        Ok(rest) => Cow::Owned(new.join(rest).into_os_string().as_bytes().to_vec()),
        Err(_) => Cow::Borrowed(name),
    }
}

/// Whether the member may take its place.
pub(crate) fn check(
    plain: &Plain,
    parent: BorrowedFd<'_>,
    place: &Place<'_>,
    member: &Member,
) -> Result<(), LayerError> {
    if !plain.keep_kinds {
        return Ok(());
    }
    let Ok(stat) = statat(parent, place.name, AtFlags::SYMLINK_NOFOLLOW) else {
        return Ok(());
    };
    let was_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if was_folder == (member.kind == Kind::Dir) {
        return Ok(());
    }
    let folder = Path::new("/").join(&plain.folder);
    Err(LayerError::Overwrite {
        was_folder,
        path: folder.join(path_of(place.path)),
        folder,
    })
}

/// The mode that the kernel leaves a file when its owner changes: without a group's right to execute, the set-group-ID bit means
/// something else.
fn without_set_id(mode: u32) -> u32 {
    let dropped = match mode & 0o010 {
        0 => 0o4000,
        _ => 0o6000,
    };
    mode & !dropped
}

/// The member as it is to be made: with the owner that was asked for, and links to where their targets are now.
pub(crate) fn adapted<'a>(
    plain: &Plain,
    member: &'a Member,
    options: &ApplyOptions,
) -> Result<Cow<'a, Member>, LayerError> {
    let mut member = Cow::Borrowed(member);
    if let Some((uid, gid)) = plain.owner {
        let member = member.to_mut();
        (member.uid, member.gid) = (uid.into(), gid.into());
    }
    if let Some(ids) = &plain.ids {
        let owner = ids.outside((member.uid, member.gid));
        let owner = owner.ok_or_else(|| LayerError::Invalid {
            path: path_of(&member.path),
            what: "owner",
        })?;
        let member = member.to_mut();
        (member.uid, member.gid) = owner;
    }
    if let Some(mode) = plain.mode {
        member.to_mut().mode = mode;
    }
    if let Some(nanos) = plain.modified {
        member.to_mut().mtime = Time::of_nanos(nanos);
    }
    if plain.drops_set_id && member.kind == Kind::File {
        member.to_mut().mode = without_set_id(member.mode);
    }
    if member.kind == Kind::HardLink && plain.rename.is_some() {
        let link = renamed(&member.link, options).into_owned();
        member.to_mut().link = link;
    }
    Ok(member)
}
