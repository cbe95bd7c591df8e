//! Keys of the cache.

use std::path::{Path, PathBuf};

use bollard_buildkit_proto::pb;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use wharf_builder::hash::{self, Counting};
use wharf_builder::{Selection, git, has_wildcards, paths};
use wharf_oci::{Digest, Hasher};
use wharf_sys::root::Root;

use crate::flight::Outputs;
use crate::frontend::classic::ContainerRunner;
use crate::graph::{Graph, Node};
use crate::{Job, Ref, SolveError, blocking};

/// The key of each vertex by its definition; `None` for one that stands on what only a client knows.
/// Commands of a classic build are other ones by the settings of its containers.
pub(crate) fn definitions(
    graph: &Graph,
    container_runner: Option<&ContainerRunner>,
) -> Vec<Option<Digest>> {
    let mut keys: Vec<Option<Digest>> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let key = match &node.op {
            pb::op::Op::Source(source) => is_fixed(source).then(|| joined(node, &[])),
            _ => {
                let inputs = node.inputs.iter().map(|edge| {
                    let key = keys.get(edge.node).copied().flatten()?;
                    Some(format!("{key}#{}", edge.output))
                });
                let inputs: Option<Vec<String>> = inputs.collect();
                inputs.map(|mut inputs| {
                    inputs.extend(housed(node, container_runner));
                    joined(node, &inputs)
                })
            }
        };
        keys.push(key);
    }
    keys
}

/// Of each vertex, whether it is to be done again, or stands on one that is: what its definition was worth before says
/// nothing of it then.
pub(crate) fn renewed(graph: &Graph) -> Vec<bool> {
    let mut renewed: Vec<bool> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let below = node.inputs.iter().any(|edge| renewed[edge.node]);
        renewed.push(node.metadata.ignore_cache || below);
    }
    renewed
}

/// Whether the source's name says all of what it is.
fn is_fixed(source: &pb::SourceOp) -> bool {
    let name = &source.identifier;
    if name.starts_with("docker-image://") || name.starts_with("oci-layout://") {
        return name.contains("@sha256:");
    }
    if name.starts_with("wharf-image://sha256:") {
        return true;
    }
    if name.starts_with("git://") {
        return git::commit_of(name).is_some();
    }
    let is_web = name.starts_with("http://") || name.starts_with("https://");
    is_web && source.attrs.contains_key("http.checksum")
}

fn housed(node: &Node, container_runner: Option<&ContainerRunner>) -> Option<String> {
    let container_runner = container_runner.filter(|_| matches!(node.op, pb::op::Op::Exec(_)))?;
    Some(format!("housed {}", container_runner.settings()))
}

fn joined(node: &Node, inputs: &[String]) -> Digest {
    let mut hasher = Hasher::sha256();
    let mut field = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    field(&node.bare.to_string());
    inputs.iter().for_each(|input| field(input));
    hasher.finish()
}

/// The key by content: what the vertex does, and what it takes of its inputs.
pub(crate) async fn content(
    job: &Job,
    node: &Node,
    inputs: &[Outputs],
) -> Result<Digest, SolveError> {
    let mut parts = Vec::new();
    for (at, edge) in node.inputs.iter().enumerate() {
        let tree = input(node, inputs, at)?;
        let takes = takes(node, at);
        let part = match takes {
            Some(takes) => taken(job, tree, takes).await?,
            None => tree.identity().to_string(),
        };
        parts.push(format!("content {part}#{}", edge.output));
    }
    parts.extend(housed(node, job.container_runner()));
    Ok(joined(node, &parts))
}

/// The tree at an input.
pub(crate) fn input<'a>(
    node: &Node,
    inputs: &'a [Outputs],
    at: usize,
) -> Result<&'a Ref, SolveError> {
    let output = node.inputs.get(at).map_or(0, |edge| edge.output);
    let tree = inputs
        .get(at)
        .and_then(|outputs| outputs.get(output)?.as_ref());
    tree.ok_or_else(|| {
        SolveError::Invalid(format!("invalid LLB definition: input {at} is no tree"))
    })
}

/// Files that are taken of an input.
#[derive(Clone, Debug)]
pub(crate) struct Takes {
    path: String,
    wildcard: bool,
    include: Vec<String>,
    exclude: Vec<String>,
    follow: bool,
}

impl Takes {
    /// What a copy takes.
    pub(crate) fn of(copy: &pb::FileActionCopy) -> Self {
        Self {
            path: copy.src.clone(),
            wildcard: copy.allow_wildcard,
            include: copy.include_patterns.clone(),
            exclude: copy.exclude_patterns.clone(),
            follow: copy.follow_symlink,
        }
    }

    /// What of folders is taken.
    pub(crate) fn selection(&self) -> Result<Selection, SolveError> {
        Ok(Selection::new(&self.include, &self.exclude)?)
    }

    /// The paths that are meant, from the top of the tree; what is no pattern need not be there. Blocks.
    pub(crate) fn found(&self, root: &Root) -> std::io::Result<Vec<PathBuf>> {
        let clean = self.path.trim_start_matches('/');
        let clean = clean.strip_prefix("./").unwrap_or(clean);
        match self.wildcard && has_wildcards(clean) {
            true => paths(root, clean),
            false => Ok(vec![clean.into()]),
        }
    }
}

/// One digest of all that is taken of a tree. A job asks once.
///
/// # Errors
/// If something is not there.
pub(crate) async fn taken(job: &Job, tree: &Ref, takes: Vec<Takes>) -> Result<String, SolveError> {
    let name = format!("{} {takes:?}", tree.identity());
    let digest = || {
        let (job, tree) = (job.clone(), tree.clone());
        blocking(move || digest_of(&job, &tree, &takes))
    };
    job.taken().get(&name, digest).await
}

/// What is taken of an input, if it is not all of it.
fn takes(node: &Node, at: usize) -> Option<Vec<Takes>> {
    let at = i64::try_from(at).unwrap_or(-1);
    match &node.op {
        pb::op::Op::File(file) => {
            let mut found = Vec::new();
            for action in &file.actions {
                if action.input == at {
                    return None;
                }
                if action.secondary_input != at {
                    continue;
                }
                let Some(pb::file_action::Action::Copy(copy)) = &action.action else {
                    return None;
                };
                found.push(Takes::of(copy));
            }
            (!found.is_empty()).then_some(found)
        }
        pb::op::Op::Exec(exec) => {
            let mounts = exec.mounts.iter().filter(|mount| mount.input == at);
            let mut found = Vec::new();
            for mount in mounts {
                // What can be written to counts as a whole, so does the root.
                if !mount.readonly || mount.dest == "/" || mount.content_cache == 2 {
                    return None;
                }
                found.push(Takes {
                    path: mount.selector.clone(),
                    wildcard: false,
                    include: Vec::new(),
                    exclude: Vec::new(),
                    follow: true,
                });
            }
            (!found.is_empty()).then_some(found)
        }
        _ => None,
    }
}

/// One digest of all that is taken. Blocks.
fn digest_of(job: &Job, tree: &Ref, takes: &[Takes]) -> Result<String, SolveError> {
    let is_folder = tree.folder().is_some();
    let tree = tree.tree(job)?;
    let mut parts = Vec::new();
    for takes in takes {
        let failed = |error: std::io::Error| checksum(&takes.path, &error);
        let selection = takes.selection()?;
        let counting = Counting {
            is_client: is_folder,
            selection: &selection,
        };
        for path in takes.found(&tree.root).map_err(failed)? {
            let (below, stat) = located(&tree.root, &path, takes.follow).map_err(failed)?;
            let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if !is_folder && !selection.takes_named(&path) {
                continue;
            }
            let digest = hash::of(&tree.root, &below, counting).map_err(failed)?;
            // The name of a file is its name in a folder, unless it is all there is.
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            parts.push(format!("{name} {} {digest}", takes.follow));
        }
    }
    Ok(hash::joined(&parts))
}

/// Where what is asked for lies, from the top of the tree, and what it is: no link is on the way, and none at the end if
/// that is to be followed. Blocks.
///
/// # Errors
/// The kernel's; `NotFound` if nothing is there.
pub(crate) fn located(root: &Root, asked: &Path, follow: bool) -> std::io::Result<(PathBuf, Stat)> {
    let path = match follow {
        true => wharf_engine::resolve(root, asked)?.path,
        false => {
            let parent = asked.parent().unwrap_or(Path::new(""));
            let parent = wharf_engine::resolve(root, parent)?.path;
            parent.join(asked.file_name().unwrap_or_default())
        }
    };
    let below = path.strip_prefix("/").unwrap_or(&path);
    let below = match below.as_os_str().is_empty() {
        true => Path::new("."),
        false => below,
    };
    let found = root.open_at(below, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
    Ok((below.to_owned(), rustix::fs::fstat(&found)?))
}

/// BuildKit's words for what is not there.
fn checksum(path: &str, error: &std::io::Error) -> SolveError {
    let shown = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{path}"),
    };
    match error.kind() {
        std::io::ErrorKind::NotFound => SolveError::NotFound(format!(
            "failed to calculate checksum of ref: {shown:?}: not found"
        )),
        _ => SolveError::Failed(format!(
            "failed to calculate checksum of ref: {shown:?}: {error}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_at_the_end_is_what_it_is_if_it_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/file"), "x").unwrap();
        std::os::unix::fs::symlink("d", dir.path().join("way")).unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("d/link")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let at = |follow| {
            let (path, stat) = located(&root, Path::new("way/link"), follow).unwrap();
            (path, FileType::from_raw_mode(stat.st_mode))
        };
        assert_eq!(at(true), ("d/file".into(), FileType::RegularFile));
        assert_eq!(at(false), ("d/link".into(), FileType::Symlink));
        for top in ["", "/", "."] {
            assert_eq!(
                located(&root, Path::new(top), true).unwrap().0,
                Path::new(".")
            );
        }
        assert!(located(&root, Path::new("none"), true).is_err());
    }
}
