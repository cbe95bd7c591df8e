//! The files of a build: its Dockerfile, the patterns of what is left out, and where its context is.

use bollard_buildkit_proto::pb;
use wharf_builder::{LocalRequest, fetch, transfer};
use wharf_sys::root::Root;

use super::llb::{About, Builder, Output};
use super::options::Options;
use super::remote_source;
use crate::progress::InternalVertex;
use crate::{Job, Ref, SolveError, blocking, ops, solve};

/// The largest Dockerfile; a larger one is none.
const MAX_DOCKERFILE: u64 = 16 << 20;

/// What a build begins with.
pub(super) struct Files {
    /// The Dockerfile.
    pub(super) text: String,
    /// The patterns of what the client's context leaves out.
    pub(super) ignore: Vec<String>,
    /// Where the context is, if it is not the client's.
    pub(super) remote: Option<Remote>,
}

impl Files {
    /// Reads them.
    ///
    /// # Errors
    /// If there is no Dockerfile, or no such context.
    pub(super) async fn read(job: &Job, options: &Options) -> Result<Self, SolveError> {
        let address = options.context.as_str();
        let source = match address.is_empty() || options.contexts.contains_key("context") {
            true => None,
            false => remote_source(address, options.keep_git_dir),
        };
        let Some(source) = source else {
            return Self::of_client(job, options, None).await;
        };
        let (remote, tree) = Remote::open(job, source).await?;
        if options.separate_dockerfile {
            return Self::of_client(job, options, Some(remote)).await;
        }
        let filename = match remote.is_file {
            true => "context".to_owned(),
            false => options.filename.clone(),
        };
        let job = job.clone();
        blocking(move || {
            let tree = tree.tree(&job)?;
            let text = text_of(&tree.root, &filename)?.ok_or_else(|| missing(&filename))?;
            Ok(Self {
                text,
                ignore: Vec::new(),
                remote: Some(remote),
            })
        })
        .await
    }

    /// The Dockerfile that the client has.
    async fn of_client(
        job: &Job,
        options: &Options,
        remote: Option<Remote>,
    ) -> Result<Self, SolveError> {
        let filename = options.filename.clone();
        let own = format!("{filename}.dockerignore");
        let lower = filename.to_ascii_lowercase();
        let wanted = LocalRequest {
            name: options.dockerfile_key.clone(),
            // The last one is for where the file system knows no case.
            follow: vec![filename.clone(), own.clone(), lower.clone()],
            shared_key_hint: "dockerfile".to_owned(),
            ..LocalRequest::default()
        };
        let shown = format!("[internal] load build definition from {filename}");
        let (text, own) = small_files(job, &shown, wanted, "dockerfile", move |root| {
            let text = match text_of(root, &filename)? {
                None if filename == "Dockerfile" => text_of(root, &lower)?,
                text => text,
            };
            let text = text.ok_or_else(|| missing(&filename))?;
            Ok((text, text_of(root, &own)?))
        })
        .await?;
        let is_clients = remote.is_none() && !options.contexts.contains_key("context");
        let ignore = match own {
            // It counts instead of the context's own.
            Some(own) => patterns(&own)?,
            None if is_clients => {
                let shown = "[internal] load .dockerignore";
                ignored(job, &options.context_key, shown).await?
            }
            None => Vec::new(),
        };
        Ok(Self {
            text,
            ignore,
            remote,
        })
    }
}

/// What a client's folder leaves out: the patterns of its `.dockerignore`.
///
/// # Errors
/// If the client cannot be asked, or one is malformed.
pub(super) async fn ignored(
    job: &Job,
    folder: &str,
    shown: &str,
) -> Result<Vec<String>, SolveError> {
    let wanted = LocalRequest {
        name: folder.to_owned(),
        follow: vec![".dockerignore".to_owned()],
        shared_key_hint: format!("{folder}-.dockerignore"),
        ..LocalRequest::default()
    };
    let read = |root: &Root| text_of(root, ".dockerignore");
    let text = small_files(job, shown, wanted, "context", read).await?;
    patterns(&text.unwrap_or_default())
}

/// Fetches a few files of the client, and reads them.
async fn small_files<T: Send + 'static>(
    job: &Job,
    shown: &str,
    wanted: LocalRequest,
    word: &str,
    read: impl FnOnce(&Root) -> Result<T, SolveError> + Send + 'static,
) -> Result<T, SolveError> {
    let mut shown = InternalVertex::begin(job, shown).await;
    let fetch = async {
        let local = ops::transfer(job, &wanted, word, &shown.progress).await?;
        blocking(move || {
            let root = Root::open(&local.folder).map_err(SolveError::io("open the Dockerfile"))?;
            read(&root)
        })
        .await
    };
    let fetched = fetch.await;
    shown.end(fetched.as_ref().err()).await;
    fetched
}

fn text_of(root: &Root, name: &str) -> Result<Option<String>, SolveError> {
    match root.read_small(name.as_ref(), MAX_DOCKERFILE) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(SolveError::Invalid(format!("{name} is not UTF-8"))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SolveError::Failed(format!(
            "failed to read dockerfile: open {name}: {error}"
        ))),
    }
}

fn missing(filename: &str) -> SolveError {
    SolveError::NotFound(format!(
        "failed to read dockerfile: open {filename}: no such file or directory"
    ))
}

/// The patterns of a `.dockerignore` (`patternmatcher/ignorefile`), checked.
fn patterns(text: &str) -> Result<Vec<String>, SolveError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let patterns: Vec<String> = text.lines().filter_map(pattern).collect();
    wharf_dockerfile::Ignore::new(patterns.iter().map(String::as_str))
        .map_err(|error| SolveError::Invalid(format!("error reading .dockerignore: {error}")))?;
    Ok(patterns)
}

fn pattern(line: &str) -> Option<String> {
    // Only a `#` that begins the line begins a comment.
    if line.starts_with('#') {
        return None;
    }
    let line = line.trim();
    if line.is_empty() {
        return None;
    }
    let (not, rest) = match line.strip_prefix('!') {
        Some(rest) => ("!", rest.trim()),
        None => ("", line),
    };
    if rest.is_empty() {
        return Some(not.to_owned());
    }
    let clean = wharf_go::path::clean(rest);
    let clean = match clean.len() {
        2.. => clean.strip_prefix('/').unwrap_or(&clean).to_owned(),
        _ => clean,
    };
    Some(format!("{not}{clean}"))
}

/// A context that is not the client's.
#[derive(Clone)]
pub(super) struct Remote {
    source: pb::SourceOp,
    /// It is an archive, whose files are meant.
    is_archive: bool,
    /// It is one file, called `context`.
    is_file: bool,
}

impl Remote {
    /// Fetches it, to see what it is.
    ///
    /// # Errors
    /// If it cannot be had.
    pub(super) async fn open(job: &Job, source: pb::SourceOp) -> Result<(Self, Ref), SolveError> {
        let is_http = source.identifier.starts_with("http");
        let mut remote = Self {
            source,
            is_archive: false,
            is_file: is_http,
        };
        let tree = remote.solve(job).await?;
        if !is_http {
            return Ok((remote, tree));
        }
        let (files, owner) = (tree.clone(), job.clone());
        let is_archive = blocking(move || {
            let tree = files.tree(&owner)?;
            let file = transfer::open_file(&tree.root, "context".as_ref());
            let file = file.map_err(SolveError::io("read the context"))?;
            Ok(fetch::starts_an_archive(file))
        });
        if !is_archive.await? {
            return Ok((remote, tree));
        }
        (remote.is_archive, remote.is_file) = (true, false);
        let tree = remote.solve(job).await?;
        Ok((remote, tree))
    }

    /// Whether it is one file, called `context`: a Dockerfile.
    pub(super) fn is_file(&self) -> bool {
        self.is_file
    }

    async fn solve(&self, job: &Job) -> Result<Ref, SolveError> {
        let mut builder = Builder::default();
        let output = self.add(&mut builder, "[internal] load remote build context");
        solve::solve(job, &builder.definition(Some(&output))).await
    }

    /// Its files.
    pub(super) fn add(&self, builder: &mut Builder, name: &str) -> Output {
        let about = About {
            name: name.to_owned(),
            ..About::default()
        };
        let source = pb::op::Op::Source(self.source.clone());
        let output = builder.add(source, &[], None, about);
        if !self.is_archive {
            return output;
        }
        let copy = pb::FileActionCopy {
            src: "/context".to_owned(),
            dest: "/".to_owned(),
            mode: -1,
            timestamp: -1,
            attempt_unpack_docker_compatibility: true,
            ..pb::FileActionCopy::default()
        };
        let action = pb::FileAction {
            input: -1,
            secondary_input: 0,
            output: 0,
            action: Some(pb::file_action::Action::Copy(copy)),
        };
        let unpack = pb::op::Op::File(pb::FileOp {
            actions: vec![action],
        });
        builder.add(unpack, &[output], None, About::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_blanks_and_slashes() {
        let text = "\u{feff}# no\n\n  a/b/ \n!/c\n ! d\n# x\n/\n./e/../f\n";
        assert_eq!(patterns(text).unwrap(), ["a/b", "!c", "!d", "/", "f"]);
    }
}
