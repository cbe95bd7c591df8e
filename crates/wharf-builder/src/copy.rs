//! `COPY` and `ADD`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wharf_dockerfile::{Add, Copy, Heredoc, Source};
use wharf_engine::{EngineError, Workspace, owner};
use wharf_sys::root::Root;

use crate::build::Build;
use crate::hash::hex;
use crate::sources::{self, Exclude, Item, Tree};
use crate::stage::Stage;
use crate::transfer::{self, Looks};
use crate::{BuildError, cache, fetch};

/// Where files go, and how they look there.
struct Target {
    /// Absolute; a slash at its end stays.
    path: String,
    owner: Option<String>,
    mode: Option<u32>,
    /// Owners are kept where none is asked for.
    keep_owner: bool,
    /// `Some(false)` unpacks no archive, `Some(true)` also those that were downloaded, `None` only local ones.
    unpack: Option<bool>,
    parents: bool,
    exclude: Exclude,
}

impl Build<'_> {
    pub(crate) async fn copy(&mut self, stage: &mut Stage, copy: &Copy) -> Result<(), BuildError> {
        self.transfer(stage, "COPY", copy, None).await
    }

    pub(crate) async fn add(&mut self, stage: &mut Stage, add: &Add) -> Result<(), BuildError> {
        self.transfer(stage, "ADD", &add.copy, Some(add)).await
    }

    async fn transfer(
        &mut self,
        stage: &mut Stage,
        name: &'static str,
        copy: &Copy,
        add: Option<&Add>,
    ) -> Result<(), BuildError> {
        let target = self.target(stage, copy, add)?;
        // The tree that is copied from stays for as long as it is read.
        let (tree, _workspace) = match &copy.from {
            Some(from) => self.tree_of(from).await?,
            None => (self.context.root.clone(), None),
        };
        let items = self.items(stage, name, copy, add, &tree, &target).await?;
        if items.is_empty() {
            return Err(BuildError::Failed(format!(
                "{name} failed: no source files were specified"
            )));
        }
        if items.len() > 1 && !target.path.ends_with('/') {
            return Err(BuildError::Failed(format!(
                "When using {name} with more than one source file, the destination must be a directory and end with a /"
            )));
        }
        let chown = target
            .owner
            .as_ref()
            .map(|owner| format!("--chown={owner}"));
        let chmod = target.mode.map(|mode| format!("--chmod={mode:o}"));
        let text = format!(
            "{name} {}{}{} in {} ",
            chown.unwrap_or_default(),
            chmod.unwrap_or_default(),
            sources::hash_of(&items),
            copy_target(stage, copy, self)?,
        );
        let created_by = stage.nop(&text);
        let asked: Vec<String> = items
            .iter()
            .map(|item| item.asked.display().to_string())
            .collect();
        let more = match target.parents {
            true => format!("parents {}", asked.join(",")),
            // The name of a single file is its name in a folder.
            false => asked.join(","),
        };
        let more = format!("{text} {more} {:?}", target.unpack);
        let key = cache::key(
            stage.image.as_ref(),
            &created_by,
            &stage.config,
            &stage.author,
            &more,
        );
        if self.cached(stage, &key, &created_by).await? {
            return Ok(());
        }
        let workspace = self
            .builder
            .engine
            .containers
            .workspace(stage.image.as_ref())?;
        let workspace = blocking(move || {
            let root = workspace.root()?;
            place(&root, &items, &target)?;
            drop(root);
            Ok(workspace)
        })
        .await?;
        let layer = workspace.layer().await?;
        self.commit(stage, Some(layer), &created_by, &key).await
    }

    fn target(&self, stage: &Stage, copy: &Copy, add: Option<&Add>) -> Result<Target, BuildError> {
        let word = |text: &Option<String>| {
            let text = text.as_ref().map(|text| self.word(stage, text));
            text.transpose()
        };
        let mode = word(&copy.chmod)?.map(|text| {
            let number = u32::from_str_radix(&text, 8).ok();
            let number = number.filter(|mode| *mode <= 0o7777);
            number.ok_or_else(|| {
                BuildError::Invalid(format!(
                    "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
                ))
            })
        });
        let exclude = copy.exclude.iter().map(|text| self.word(stage, text));
        let path = stage.absolute(&self.word(stage, &copy.target)?);
        Ok(Target {
            path,
            owner: word(&copy.chown)?.filter(|text| !text.is_empty()),
            mode: mode.transpose()?,
            keep_owner: copy.from.is_some(),
            unpack: add.map_or(Some(false), |add| add.unpack),
            parents: copy.parents,
            exclude: Exclude::new(&exclude.collect::<Result<Vec<_>, _>>()?)?,
        })
    }

    /// The tree of an earlier stage, of an image, and what keeps it.
    pub(crate) async fn tree_of(
        &mut self,
        from: &str,
    ) -> Result<(Arc<Root>, Option<Workspace>), BuildError> {
        let image = match self.stage_named(from)? {
            Some(image) => image,
            None => Some(self.base_image(from, None).await?.id),
        };
        let workspace = self.builder.engine.containers.workspace(image.as_ref())?;
        blocking(move || {
            let root = Arc::new(workspace.root()?);
            Ok((root, Some(workspace)))
        })
        .await
    }

    async fn items(
        &self,
        stage: &Stage,
        name: &str,
        copy: &Copy,
        add: Option<&Add>,
        tree: &Arc<Root>,
        target: &Target,
    ) -> Result<Vec<Item>, BuildError> {
        let mut items = Vec::new();
        for source in &copy.sources {
            let path = match source {
                Source::Inline(document) => {
                    items.push(self.inline(stage, document)?);
                    continue;
                }
                Source::Path(path) => self.word(stage, path)?,
            };
            if let Some(add) = add
                && let Some(item) = self.remote(stage, &path, add, target).await?
            {
                items.push(item);
                continue;
            }
            if fetch::is_url(&path) {
                return Err(BuildError::Failed(format!(
                    "{name} failed: source can't be a URL for COPY"
                )));
            }
            items
                .extend(local(tree.clone(), path, copy.from.is_none(), &copy.exclude, name).await?);
        }
        Ok(items)
    }

    /// The file of a here-document.
    fn inline(&self, stage: &Stage, document: &Heredoc) -> Result<Item, BuildError> {
        use std::os::unix::fs::PermissionsExt as _;
        let text = self.document(stage, document)?;
        let folder = self.context.scratch()?;
        let failed = BuildError::io("write a here-document");
        let name = Path::new(&document.name).file_name();
        let name = name.and_then(|name| name.to_str()).unwrap_or("heredoc");
        let path = folder.path().join(name);
        std::fs::write(&path, text).map_err(&failed)?;
        let mode = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&path, mode).map_err(&failed)?;
        sources::own_file(folder, name, true)
    }

    /// What an address means to `ADD`.
    async fn remote(
        &self,
        stage: &Stage,
        text: &str,
        add: &Add,
        target: &Target,
    ) -> Result<Option<Item>, BuildError> {
        let checksum = add
            .checksum
            .as_ref()
            .map(|text| self.word(stage, text))
            .transpose()?;
        if let Some(git) = fetch::git_url(text) {
            if checksum.is_some_and(|sum| !sum.is_empty()) {
                let text = "checksum is not supported for git sources yet";
                return Err(BuildError::NotImplemented(text.to_owned()));
            }
            let folder = self.context.scratch()?;
            let path = folder.path().join("repository");
            fetch::clone(&git, &path).await?;
            if !add.keep_git_dir {
                std::fs::remove_dir_all(path.join(".git"))
                    .map_err(BuildError::io("remove the repository's .git"))?;
            }
            let inside = Path::new("repository").join(git.folder.trim_start_matches('/'));
            return sources::own_folder(folder, &inside).map(Some);
        }
        if !fetch::is_url(text) {
            return Ok(None);
        }
        let folder = self.context.scratch()?;
        let registry = &self.builder.engine.config.registry;
        let file = fetch::download(text, folder.path(), registry).await?;
        if file.name.is_none() && target.path.ends_with('/') {
            return Err(BuildError::Failed(format!(
                "ADD failed: cannot determine filename for source {text}"
            )));
        }
        if let Some(expected) = checksum.filter(|sum| !sum.is_empty()) {
            check(&file.path, &expected)?;
        }
        let name = file.name.as_deref().unwrap_or(fetch::UNNAMED);
        sources::own_file(folder, name, true).map(Some)
    }
}

fn check(path: &Path, expected: &str) -> Result<(), BuildError> {
    use sha2::Digest as _;
    let bytes = std::fs::read(path).map_err(BuildError::io("read what was downloaded"))?;
    let actual = format!("sha256:{}", hex(&sha2::Sha256::digest(&bytes)));
    match actual == expected {
        true => Ok(()),
        false => Err(BuildError::Failed(format!(
            "digest mismatch {actual}: {expected}"
        ))),
    }
}

fn copy_target(stage: &Stage, copy: &Copy, build: &Build<'_>) -> Result<String, BuildError> {
    build.word(stage, &copy.target)
}

async fn local(
    root: Arc<Root>,
    path: String,
    is_context: bool,
    exclude: &[String],
    name: &str,
) -> Result<Vec<Item>, BuildError> {
    let exclude = Exclude::new(exclude)?;
    let found = blocking(move || {
        let tree = Tree {
            root: &root,
            is_context,
            keep_owner: !is_context,
            exclude: &exclude,
        };
        tree.find(&path)
    })
    .await;
    found.map_err(|error| match error {
        BuildError::Failed(text) => BuildError::Failed(format!("{name} failed: {text}")),
        BuildError::Missing { path, text } => BuildError::Missing {
            path,
            text: format!("{name} failed: {text}"),
        },
        other => other,
    })
}

/// Runs what blocks on the disk on a thread for that.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BuildError> + Send + 'static,
) -> Result<T, BuildError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| BuildError::Failed(error.to_string()))?
}

/// Puts everything in its place.
fn place(root: &Root, items: &[Item], target: &Target) -> Result<(), BuildError> {
    let asked = match &target.owner {
        Some(text) => owner(root, text).map_err(|error| {
            let error = EngineError::message(&error);
            BuildError::Failed(format!(
                "unable to convert uid/gid chown string to host mapping: {error}"
            ))
        })?,
        None => None,
    };
    let looks = Looks {
        owner: asked.or((!target.keep_owner).then_some((0, 0))),
        mode: target.mode,
    };
    for item in items {
        let to = target.path.as_str();
        let from = (&*item.root, item.path.as_path());
        let into = match target.parents {
            true => format!(
                "{}/{}",
                to.trim_end_matches('/'),
                pivoted(&item.asked).display()
            ),
            false => to.to_owned(),
        };
        if item.is_folder {
            transfer::folder(from, (root, Path::new(&into)), looks, &target.exclude)?;
            continue;
        }
        let unpacks = target.unpack.unwrap_or(!item.fetched);
        if unpacks && is_archive(item) {
            let own = Looks {
                owner: asked,
                mode: target.mode,
            };
            transfer::archive(from, (root, Path::new(to)), own)?;
            continue;
        }
        let path = match target.parents {
            true => PathBuf::from(into),
            false => file_path(root, to, &item.asked)?,
        };
        transfer::file(from, (root, &path), looks)?;
    }
    Ok(())
}

/// Where a file goes: into a folder under its own name, or to the path itself, wherever a link there leads.
fn file_path(root: &Root, to: &str, asked: &Path) -> Result<PathBuf, BuildError> {
    if to.ends_with('/') || transfer::is_folder(root, Path::new(to)) {
        return Ok(Path::new(to).join(asked.file_name().unwrap_or_default()));
    }
    let resolved = wharf_engine::resolve(root, Path::new(to));
    Ok(resolved
        .map_err(BuildError::io("failed to copy files"))?
        .path)
}

/// What `--parents` keeps of a path: all of it, or what is behind `/./`.
fn pivoted(asked: &Path) -> PathBuf {
    let text = asked.display().to_string();
    let kept = text
        .split_once("/./")
        .map_or(text.as_str(), |(_, kept)| kept);
    PathBuf::from(kept.trim_start_matches('/'))
}

fn is_archive(item: &Item) -> bool {
    transfer::open_file(&item.root, &item.path).is_ok_and(fetch::starts_an_archive)
}
