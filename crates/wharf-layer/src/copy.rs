//! Copies files from one folder into another: what an archive of the one would make in the other, without the archive.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::BorrowedFd;

use rustix::fs::Stat;

use crate::content::Content;
use crate::error::at;
use crate::extract::{Contents, Extractor};
use crate::pack::{Sink, show, show_path};
use crate::tar::{Kind, Member, Meta};
use crate::{ApplyOptions, LayerError, PackOptions};

/// Copies what `wanted` says of everything below `from` to below `target`: the same as [`crate::pack_only`] and
/// [`crate::apply`] of what that wrote.
///
/// # Errors
/// A [`LayerError`].
pub fn copy_only(
    (from, options): (BorrowedFd<'_>, &PackOptions),
    (target, apply): (BorrowedFd<'_>, &ApplyOptions),
    wanted: &dyn Fn(&[u8], &Stat) -> bool,
) -> Result<(), LayerError> {
    let mut copier = Copier::new(target, apply);
    show(from, &mut copier, options, wanted)?;
    copier.finish();
    Ok(())
}

/// Copies `name` in `dir`, and what is below it, to below `target` under the name `to`: the same as [`crate::pack_path`] and
/// [`crate::apply`] of what that wrote.
///
/// # Errors
/// A [`LayerError`].
pub fn copy_path(
    (dir, name): (BorrowedFd<'_>, &[u8]),
    (target, to): (BorrowedFd<'_>, &[u8]),
    apply: &ApplyOptions,
) -> Result<(), LayerError> {
    let mut copier = Copier::new(target, apply);
    show_path(dir, name, to, &mut copier)?;
    copier.finish();
    Ok(())
}

struct Copier<'a> {
    extractor: Extractor<'a>,
    options: &'a ApplyOptions,
}

impl<'a> Copier<'a> {
    fn new(target: BorrowedFd<'a>, options: &'a ApplyOptions) -> Self {
        Self {
            extractor: Extractor::new(target, options),
            options,
        }
    }

    fn finish(self) {
        self.extractor.finish();
    }
}

impl Sink for Copier<'_> {
    fn take(&mut self, meta: &Meta<'_>, content: Option<File>) -> Result<(), LayerError> {
        let member = member_of(meta);
        self.extractor
            .member(&mut Source(content), &member, self.options)
    }
}

fn member_of(meta: &Meta<'_>) -> Member {
    Member {
        kind: Kind::of(meta.flag),
        path: meta.path.to_vec(),
        link: meta.link.to_vec(),
        mode: meta.mode,
        uid: meta.uid.into(),
        gid: meta.gid.into(),
        size: meta.size,
        sparse: None,
        mtime: meta.mtime,
        atime: None,
        major: meta.major,
        minor: meta.minor,
        xattrs: meta.xattrs.clone(),
    }
}

/// A file's content; of what has none, nothing.
struct Source(Option<File>);

impl Contents for Source {
    fn fill(
        &mut self,
        file: &mut File,
        member: &Member,
        path: &[u8],
        content: Option<&mut Content>,
    ) -> Result<(), LayerError> {
        debug_assert!(content.is_none(), "copies go where files are written to");
        let Some(from) = self.0.take() else {
            return Ok(());
        };
        // The kernel copies, where it can.
        let copied = io::copy(&mut from.take(member.size), file).map_err(at("write file", path))?;
        match copied < member.size {
            // It got shorter.
            true => file.set_len(member.size).map_err(at("write file", path)),
            false => Ok(()),
        }
    }
}
