//! `COPY` and `ADD`: what their files are is said in the history.

use std::path::{Path, PathBuf};

use prost::Message as _;
use rustix::fs::{FileType, Mode, OFlags, fstat};
use rustix::io::Errno;
use wharf_builder::{BuildError, fetch, hash};
use wharf_dockerfile::{Add, Copy, Located, Source};
use wharf_oci::Digest;
use wharf_sys::root::Root;

use super::base::Standing;
use super::context::{escapes, forbidden};
use super::image::Work;
use super::{Build, literal};
use crate::frontend::copy::Part;
use crate::keys::Takes;
use crate::{Job, Ref, SolveError, blocking, keys};

/// What a part brings.
struct Brought {
    /// Digest of all of it.
    digest: String,
    /// Files and folders, by whether they are folders.
    items: Vec<bool>,
}

impl Build<'_> {
    pub(super) async fn copy(
        &mut self,
        standing: &mut Standing,
        copy: &Copy,
        add: Option<&Add>,
        located: &Located,
    ) -> Result<(), BuildError> {
        let name = if add.is_some() { "ADD" } else { "COPY" };
        self.prepare(standing, &located.instruction).await?;
        let failed = |error| match error {
            BuildError::Failed(text) => BuildError::Failed(format!("{name} failed: {text}")),
            other => other,
        };
        let owned = self.owned(standing, copy)?;
        let at = self.stages.len();
        let stage = &standing.stage;
        for source in &copy.sources {
            let allowed = self.allowed(standing, copy, source, add.is_some());
            allowed.map_err(failed)?;
        }
        let parts = self.converter.parts(at, stage, &owned, add).await?;
        let mut brought = Vec::new();
        for part in &parts {
            let one = self.brought(part, copy.from.is_none()).await;
            brought.push(one.map_err(failed)?);
        }
        let items: usize = brought.iter().map(|one| one.items.len()).sum();
        let target = self.converter.word(&standing.stage, &copy.target)?;
        if items == 0 {
            let text = format!("{name} failed: no source files were specified");
            return Err(BuildError::Failed(text));
        }
        if items > 1 && !standing.stage.absolute(&target).ends_with('/') {
            return Err(BuildError::Failed(format!(
                "When using {name} with more than one source file, the destination must be a directory and end with a /"
            )));
        }
        let looks = self.appearance(standing, copy)?;
        let text = format!("{name} {looks}{} in {target} ", sum(&brought));
        let created_by = standing.nop(&text);
        let stage = &mut standing.stage;
        self.converter.place_parts(stage, parts, &owned, located);
        let done = self.step(standing, &created_by, Work::Files).await;
        done.map_err(|error| unknown_owner(&error).unwrap_or(error))
    }

    /// Whether it may be named in the instruction.
    fn allowed(
        &self,
        standing: &Standing,
        copy: &Copy,
        source: &Source,
        is_add: bool,
    ) -> Result<(), BuildError> {
        let Source::Path(path) = source else {
            return Ok(());
        };
        let path = self.converter.word(&standing.stage, path)?;
        match fetch::is_url(&path) {
            true if is_add => Ok(()),
            true => Err(BuildError::Failed(
                "source can't be a URL for COPY".to_owned(),
            )),
            false if copy.from.is_none() && escapes(Path::new(&path)) => Err(forbidden(&path)),
            false => Ok(()),
        }
    }

    /// With an owner as the classic builder reads it: a user alone is the group of that name too (moby `parseChownFlag`).
    fn owned(&self, standing: &Standing, copy: &Copy) -> Result<Copy, BuildError> {
        let mut copy = copy.clone();
        let Some(text) = &copy.chown else {
            return Ok(copy);
        };
        let owner = self.converter.word(&standing.stage, text)?;
        let parts: Vec<&str> = owner.split(':').collect();
        let owner = match parts[..] {
            [""] => return Ok(copy),
            [both] => format!("{both}:{both}"),
            ["", _] => return Err(unmapped("can't find uid for user : no such user: ")),
            [_, ""] => return Err(unmapped("can't find gid for group : no such group: ")),
            [_, _] => owner,
            _ => return Err(unmapped(&format!("invalid chown string format: {owner}"))),
        };
        copy.chown = Some(literal(&owner, self.converter.file().escape));
        Ok(copy)
    }

    /// How the files are to look, in the history's words.
    fn appearance(&self, standing: &Standing, copy: &Copy) -> Result<String, BuildError> {
        let word = |text: &Option<String>| {
            let text = text
                .as_ref()
                .map(|text| self.converter.word(&standing.stage, text));
            Ok::<_, BuildError>(text.transpose()?.filter(|text| !text.is_empty()))
        };
        let owner = word(&copy.chown)?.map(|owner| format!("--chown={owner}"));
        let mode = word(&copy.chmod)?.map(|mode| format!("--chmod={mode}"));
        let flags = owner.into_iter().chain(mode);
        Ok(flags.map(|flag| flag + " ").collect())
    }

    /// What a part brings. `is_context` if its files are of the build's context: errors speak of `.dockerignore` then.
    async fn brought(&mut self, part: &Part, is_context: bool) -> Result<Brought, BuildError> {
        let job = self.job.clone();
        let (tree, _) = self.solve(&job, part.from).await?;
        let takes = Takes::of(&part.action);
        let found = {
            let (job, tree, takes) = (job.clone(), tree.clone(), takes.clone());
            blocking(move || Ok(find(&job, &tree, &takes, is_context))).await??
        };
        // A link at the end is followed.
        let digest = keys::taken(&job, &tree, vec![takes]).await?;
        // A step is known by its history alone: so that says what becomes of the files, too.
        let action = Digest::sha256(&part.action.encode_to_vec()).to_string();
        Ok(Brought {
            digest: hash::joined(&[digest, action]),
            items: found,
        })
    }
}

/// Whether each of the things that are meant is a folder. Blocks.
fn find(job: &Job, tree: &Ref, takes: &Takes, is_context: bool) -> Result<Vec<bool>, BuildError> {
    let tree = tree.tree(job)?;
    let found = takes.found(&tree.root);
    let found = found.map_err(SolveError::io("read the build context"))?;
    let selection = takes.selection()?;
    let kinds = found.iter().map(|path| {
        let is_folder = is_folder(&tree.root, path, is_context)?;
        Ok((is_folder || selection.takes_named(path)).then_some(is_folder))
    });
    kinds.filter_map(Result::transpose).collect()
}

fn is_folder(root: &Root, asked: &Path, is_context: bool) -> Result<bool, BuildError> {
    let failed =
        |error: std::io::Error| BuildError::Failed(format!("stat {}: {error}", asked.display()));
    let resolved = wharf_engine::resolve(root, asked).map_err(|error| {
        let is_circle = error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
        match is_context && is_circle {
            true => forbidden(&asked.to_string_lossy()),
            false => failed(error),
        }
    })?;
    if !resolved.exists {
        let path = asked.strip_prefix("/").unwrap_or(asked).display();
        return Err(BuildError::Failed(match is_context {
            true => format!(
                "file not found in build context or excluded by .dockerignore: stat {path}: file does not exist"
            ),
            false => format!("stat {path}: file does not exist"),
        }));
    }
    let path = resolved.path.strip_prefix("/").unwrap_or(&resolved.path);
    let path = match path.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => path.to_owned(),
    };
    let found = root.open_at(&path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty());
    let stat = fstat(found.map_err(failed)?).map_err(|error| failed(error.into()))?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// What the classic builder says of an owner who is not there.
fn unknown_owner(error: &BuildError) -> Option<BuildError> {
    let text = error.to_string();
    let of = |kind: &str| {
        let rest = text.strip_prefix(&format!("unable to find {kind} "))?;
        rest.split_once(':').map(|(name, _)| name)
    };
    let reason = match (of("user"), of("group")) {
        (Some(name), _) => format!("can't find uid for user {name}: no such user: {name}"),
        (_, Some(name)) => format!("can't find gid for group {name}: no such group: {name}"),
        _ => return None,
    };
    Some(unmapped(&reason))
}

fn unmapped(reason: &str) -> BuildError {
    BuildError::Failed(format!(
        "unable to convert uid/gid chown string to host mapping: {reason}"
    ))
}

/// The digest of all of it, as the history has it.
fn sum(brought: &[Brought]) -> String {
    match brought {
        [one] if one.items == [true] => format!("dir:{}", one.digest),
        [one] if one.items == [false] => format!("file:{}", one.digest),
        several => {
            let parts: Vec<String> = several.iter().map(|one| one.digest.clone()).collect();
            format!("multi:{}", hash::joined(&parts))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_say_what_it_is() {
        let one = |items: &[bool]| Brought {
            digest: "d".to_owned(),
            items: items.to_vec(),
        };
        assert_eq!(sum(&[one(&[true])]), "dir:d");
        assert_eq!(sum(&[one(&[false])]), "file:d");
        assert!(sum(&[one(&[false, false])]).starts_with("multi:"));
        assert!(sum(&[one(&[false]), one(&[true])]).starts_with("multi:"));
    }
}
