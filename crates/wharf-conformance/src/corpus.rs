//! Builds as data: Markdown files of Dockerfiles, contexts and what must come out of them.
//!
//! A case is a heading and fenced blocks below it, told apart by the first word behind the fence:
//!
//! - `dockerfile FLAGS…`: the Dockerfile, and flags of `build`; `{}` is the context's path
//! - `file PATH [MODE]`: a file of the context, `%20` is a blank; a path that ends with `/` is a folder, `PATH -> TARGET` a link
//! - `tar PATH`: an archive in the context, a line for each member: `NAME MODE UID:GID TEXT`, `-> TARGET` for a link
//! - `base`: a Dockerfile that is built before, as the image `base`
//! - `output`: lines that the build prints, in this order, others between them
//! - `error`: it fails, and says so
//! - `config KEY`: that part of the image's settings, as JSON
//! - `history`: what the newest steps of the history say, newest first; `<sum>` stands for any digest
//! - `layers COUNT`: how many layers the image has
//! - `run ARGS…`: what a container of the image prints, run with these arguments
//!
//! `Only: wharf` below the heading keeps a case from engines that are too old for it, `Since: 26` only from dockerd 20.10.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use wharf_testkit::EngineKind;

use crate::Case;
use crate::case::Run;

/// One case.
#[derive(Debug, Default)]
pub(crate) struct Build {
    pub(crate) title: String,
    only_wharf: bool,
    since_26: bool,
    blocks: Vec<Block>,
}

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Block {
    kind: String,
    rest: String,
    pub(crate) text: String,
}

/// Runs every case of a file.
///
/// # Errors
/// All that does not hold, by title.
pub(crate) fn run(case: &mut Case, text: &str) -> Result<()> {
    let builds = parse(text)?;
    ensure!(!builds.is_empty(), "no cases");
    let kind = case.engine.kind;
    let mut faults = Vec::new();
    for build in builds.iter().filter(|build| build.is_for(kind)) {
        if let Err(error) = build.run(case) {
            faults.push(format!("{}: {error:#}", build.title));
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// The cases of a file.
///
/// # Errors
/// If it is none.
pub(crate) fn parse(text: &str) -> Result<Vec<Build>> {
    let mut builds: Vec<Build> = Vec::new();
    let mut open: Option<Block> = None;
    for line in text.lines() {
        if let Some(block) = &mut open {
            if line == "```" {
                let last = builds.last_mut().context("a block without a heading")?;
                last.blocks.extend(open.take());
            } else {
                block.text.push_str(line);
                block.text.push('\n');
            }
        } else if let Some(title) = line.strip_prefix("## ") {
            builds.push(Build {
                title: title.to_owned(),
                ..Build::default()
            });
        } else if let Some(info) = line.strip_prefix("```") {
            let (kind, rest) = info.split_once(' ').unwrap_or((info, ""));
            open = Some(Block {
                kind: kind.to_owned(),
                rest: rest.trim().to_owned(),
                text: String::new(),
            });
        } else if let Some(last) = builds.last_mut() {
            last.only_wharf |= line == "Only: wharf";
            last.since_26 |= line == "Since: 26";
        }
    }
    ensure!(open.is_none(), "a block without an end");
    Ok(builds)
}

impl Build {
    fn is_for(&self, engine: EngineKind) -> bool {
        match engine {
            EngineKind::Wharf => true,
            EngineKind::Dockerd => !self.only_wharf && !self.since_26,
            EngineKind::Dockerd26 => !self.only_wharf,
        }
    }

    /// Its blocks of a kind.
    pub(crate) fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Block> {
        self.blocks.iter().filter(move |block| block.kind == kind)
    }

    /// Builds it as the image `made`: what the client has said, and the path of the context.
    ///
    /// # Errors
    /// If it cannot be tried.
    pub(crate) fn build(&self, case: &Case) -> Result<(Run, String)> {
        for base in self.all("base") {
            let folder = tempfile::tempdir()?;
            std::fs::write(folder.path().join("Dockerfile"), &base.text)?;
            let path = folder.path().display().to_string();
            case.ok(&["build", "-q", "-t", "base", &path])?;
        }
        let folder = tempfile::tempdir()?;
        for file in self.all("file") {
            file.write(folder.path())?;
        }
        for archive in self.all("tar") {
            archive.pack(folder.path())?;
        }
        let dockerfile = self.all("dockerfile").next().context("no Dockerfile")?;
        std::fs::write(folder.path().join("Dockerfile"), &dockerfile.text)?;
        let path = folder.path().display().to_string();
        let mut args = vec!["build", "-t", "made"];
        let flags = dockerfile.rest.replace("{}", &path);
        args.extend(flags.split_whitespace());
        args.push(&path);
        Ok((case.run(&args)?, path))
    }

    fn run(&self, case: &Case) -> Result<()> {
        let (run, _) = self.build(case)?;
        if let Some(error) = self.all("error").next() {
            let words = error.text.trim_end();
            ensure!(run.code != 0, "does not fail: {}", run.stdout);
            ensure!(
                run.stderr.contains(words),
                "says {:?}, not {words:?}",
                run.stderr
            );
        } else {
            ensure!(
                run.code == 0,
                "exits with {}: {} {}",
                run.code,
                run.stdout,
                run.stderr
            );
        }
        for block in &self.blocks {
            block.check(case, &run.stdout)?;
        }
        Ok(())
    }
}

impl Block {
    fn write(&self, folder: &Path) -> Result<()> {
        if let Some((link, target)) = self.rest.split_once(" -> ") {
            return Ok(std::os::unix::fs::symlink(target, folder.join(link))?);
        }
        let (name, mode) = self.rest.split_once(' ').unwrap_or((&self.rest, "644"));
        let path = folder.join(name.replace("%20", " "));
        if name.ends_with('/') {
            std::fs::create_dir_all(&path)?;
        } else {
            std::fs::create_dir_all(path.parent().context("a file without a folder")?)?;
            std::fs::write(&path, &self.text)?;
        }
        let mode = if name.ends_with('/') && mode == "644" {
            "755"
        } else {
            mode
        };
        let mode = u32::from_str_radix(mode, 8)?;
        Ok(std::fs::set_permissions(
            &path,
            std::fs::Permissions::from_mode(mode),
        )?)
    }

    /// Writes an archive of the members that its lines name.
    fn pack(&self, folder: &Path) -> Result<()> {
        let path = folder.join(&self.rest);
        std::fs::create_dir_all(path.parent().context("a file without a folder")?)?;
        let mut archive = tar::Builder::new(std::fs::File::create(&path)?);
        for line in self.text.lines() {
            let mut words = line.splitn(4, ' ');
            let mut word = || words.next().unwrap_or_default();
            let (name, mode, owner, content) = (word(), word(), word(), word());
            let (user, group) = owner.split_once(':').context("an owner")?;
            let mut header = tar::Header::new_gnu();
            header.set_mode(u32::from_str_radix(mode, 8)?);
            header.set_uid(user.parse()?);
            header.set_gid(group.parse()?);
            match content.split_once("-> ") {
                Some((_, target)) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_size(0);
                    archive.append_link(&mut header, name, target)?;
                }
                None if name.ends_with('/') => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_size(0);
                    archive.append_data(&mut header, name, std::io::empty())?;
                }
                None => {
                    header.set_size(content.len() as u64);
                    archive.append_data(&mut header, name, content.as_bytes())?;
                }
            }
        }
        Ok(archive.finish()?)
    }

    fn check(&self, case: &Case, said: &str) -> Result<()> {
        match self.kind.as_str() {
            "output" => in_order(said, &self.text),
            "config" => {
                let format = format!("{{{{json .Config.{}}}}}", self.rest);
                let printed = case.ok(&["image", "inspect", "-f", &format, "made"])?;
                let found: Value = serde_json::from_str(&printed)?;
                let wanted: Value = serde_json::from_str(&self.text).context("the case's JSON")?;
                // What an engine leaves out and what it calls null are one.
                let same = found == wanted || (is_nothing(&found) && is_nothing(&wanted));
                ensure!(same, "{} is {found}, not {wanted}", self.rest);
                Ok(())
            }
            "history" => history(case, &self.text),
            "layers" => {
                let printed = case.ok(&["image", "inspect", "-f", "{{json .RootFS}}", "made"])?;
                let found: Value = serde_json::from_str(&printed)?;
                // An image without any has no such key.
                let count = found["Layers"].as_array().map_or(0, Vec::len);
                let wanted = &self.rest;
                ensure!(count.to_string() == *wanted, "{count} layers, not {wanted}");
                Ok(())
            }
            "run" => {
                let mut args = vec!["run", "--rm", "made"];
                let script;
                match self.rest.strip_prefix("sh -c ") {
                    Some(text) => {
                        script = text.to_owned();
                        args.extend(["sh", "-c", &script]);
                    }
                    None => args.extend(self.rest.split_whitespace()),
                }
                let printed = case.ok(&args)?;
                let wanted = self.text.trim_end_matches('\n');
                ensure!(
                    printed == wanted,
                    "{} prints {printed:?}, not {wanted:?}",
                    self.rest
                );
                Ok(())
            }
            "dockerfile" | "file" | "tar" | "base" | "error" => Ok(()),
            other => bail!("a block of no known kind: {other}"),
        }
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn in_order(said: &str, wanted: &str) -> Result<()> {
    let mut lines = said.lines();
    for line in wanted.lines() {
        ensure!(
            lines.any(|found| fits(found.trim_end(), line)),
            "{line:?} is missing (in its place) in {said:?}"
        );
    }
    Ok(())
}

fn history(case: &Case, wanted: &str) -> Result<()> {
    let args = [
        "history",
        "--no-trunc",
        "--format",
        "{{.CreatedBy}}",
        "made",
    ];
    let printed = case.ok(&args)?;
    for (found, line) in printed.lines().zip(wanted.lines()) {
        ensure!(fits(found, line), "the history has {found:?}, not {line:?}");
    }
    Ok(())
}

/// Whether they are equal, where `<sum>` is 64 digits and `<id>` 12.
fn fits(found: &str, wanted: &str) -> bool {
    let mut rest = found;
    let mut parts = wanted.split('<');
    let Some(tail) = parts.next().and_then(|first| rest.strip_prefix(first)) else {
        return false;
    };
    rest = tail;
    for part in parts {
        let (count, text) = match part {
            part if part.starts_with("sum>") => (64, &part[4..]),
            part if part.starts_with("id>") => (12, &part[3..]),
            _ => (0, part),
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let Some((head, tail)) = rest.split_at_checked(count) else {
            return false;
        };
        let head_fits = match count {
            0 => tail.starts_with('<'),
            _ => digits(head),
        };
        let tail = if count == 0 {
            tail.strip_prefix('<').unwrap_or(tail)
        } else {
            tail
        };
        let Some(tail) = tail.strip_prefix(text).filter(|_| head_fits) else {
            return false;
        };
        rest = tail;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_fit_their_place() {
        let sum = "0".repeat(64);
        assert!(fits(
            &format!("COPY file:{sum} in /"),
            "COPY file:<sum> in /"
        ));
        assert!(!fits("COPY file:0 in /", "COPY file:<sum> in /"));
        assert!(fits("a <b> c", "a <b> c"));
        assert!(!fits("a b", "a b c"));
    }
}
