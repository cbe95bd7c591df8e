//! Where files come from: images, the client, git, the web.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard_buildkit_proto::pb;
use jiff::Timestamp;
use rustix::fs::FileType;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use wharf_builder::git::{self, GitUrl};
use wharf_builder::{Local, LocalRequest, Scratch, fetch};
use wharf_images::{Fetched, Image, ImagePin, LayerState, Progress, ProgressSender, PullOptions};
use wharf_oci::{Digest, Platform, Reference};
use wharf_sys::root::Root;

use super::VertexRun;
use crate::cache::{Record, hold};
use crate::keys::located;
use crate::result::Inner;
use crate::vertex_progress::VertexProgress;
use crate::{Job, Layer, Ref, ResolvedImage, SolveError, VertexStatus, blocking};

impl VertexRun<'_> {
    pub(crate) async fn source(&self, source: &pb::SourceOp) -> Result<Ref, SolveError> {
        let (scheme, rest) = source.identifier.split_once("://").unwrap_or_default();
        match scheme {
            "docker-image" => self.image(rest, source).await,
            "oci-layout" => self.layout(rest, source).await,
            // A result that is an image of the store already.
            "wharf-image" => self.stored(rest).await,
            "local" => self.local(rest, source).await,
            "git" => self.git(rest, source).await,
            "http" | "https" => self.http(source).await,
            other => Err(SolveError::NotImplemented(format!(
                "source {other}:// is not supported"
            ))),
        }
    }

    async fn image(&self, name: &str, source: &pb::SourceOp) -> Result<Ref, SolveError> {
        let platform = self.node.platform.as_ref().map(platform_of);
        let mode = source.attrs.get("image.resolvemode").map(String::as_str);
        let mode = mode.unwrap_or("default");
        let platform = platform.as_ref();
        let tree = image_layers(self.job, name, platform, mode, self.progress).await?;
        let mut layers = tree.layers().to_vec();
        let store = self.job.engine().images.store();
        limit(&mut layers, &source.attrs, "image.layerlimit")?;
        Ok(hold(store, layers))
    }

    async fn stored(&self, id: &str) -> Result<Ref, SolveError> {
        let (job, id) = (self.job.clone(), id.to_owned());
        blocking(move || {
            let store = job.engine().images.store();
            let (image, _pin) = store.pin(&id)?;
            Ok(hold(store, layers_of(store, &image.id)?))
        })
        .await
    }

    async fn local(&self, name: &str, source: &pb::SourceOp) -> Result<Ref, SolveError> {
        let list = |key: &str| -> Result<Vec<String>, SolveError> {
            let text = source.attrs.get(key).map_or("[]", String::as_str);
            let list: Option<Vec<String>> = serde_json::from_str(text)
                .map_err(|error| SolveError::Invalid(format!("invalid {key}: {error}")))?;
            Ok(list.unwrap_or_default())
        };
        let text = |key: &str| source.attrs.get(key).cloned().unwrap_or_default();
        let wanted = LocalRequest {
            name: name.to_owned(),
            include: list("local.includepattern")?,
            exclude: list("local.excludepatterns")?,
            follow: list("local.followpaths")?,
            shared_key_hint: text("local.sharedkeyhint"),
            session: text("local.sessionid"),
        };
        let local = transfer(self.job, &wanted, name, self.progress).await?;
        Ok(Ref(Arc::new(Inner::Folder {
            local,
            // The folder may have been another build's before, with other files.
            content: Digest::sha256(wharf_engine::new_id().as_bytes()),
        })))
    }

    async fn git(&self, rest: &str, source: &pb::SourceOp) -> Result<Ref, SolveError> {
        let (address, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (reference, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
        let repository = match source.attrs.get("git.fullurl") {
            Some(full) => full.clone(),
            None => format!("https://{address}"),
        };
        let url = GitUrl {
            repository,
            reference: reference.to_owned(),
            folder: folder.to_owned(),
        };
        let own = match source.attrs.get("git.keepgitdir").map(String::as_str) {
            Some("true") => git::Own::Kept,
            _ => git::Own::Dropped,
        };
        let dir = self.job.scratch()?;
        let path = dir.path().join("repository");
        let home = self.job.volatile()?;
        let agent = home.path().join("agent.sock");
        let serving = self
            .git_agent(&url.repository, &source.attrs, &agent)
            .await?;
        let authorization = self.git_secret(&url.repository, &source.attrs).await?;
        let known_hosts = source.attrs.get("git.knownsshhosts").map(String::as_str);
        let access = git::Access {
            home: home.path(),
            agent: serving.as_ref().map(|_| agent.as_path()),
            known_hosts: known_hosts.filter(|lines| !lines.is_empty()),
            authorization: authorization.as_deref(),
        };
        let commit = git::clone(&url, &path, own, &access).await?;
        self.job.commits().note(source, &commit);
        blocking(move || {
            let inside = below(&path, &url.folder)?;
            let keeps = own == git::Own::Kept;
            let content = format!("git {commit} {} {keeps}", url.folder);
            Ok(folder_ref(dir, inside, Digest::sha256(content.as_bytes())))
        })
        .await
    }

    /// The client's ssh agent at `path`, where a repository is reached by ssh and the client has one.
    async fn git_agent(
        &self,
        repository: &str,
        attrs: &BTreeMap<String, String>,
        path: &Path,
    ) -> Result<Option<AbortOnDropHandle<()>>, SolveError> {
        if !git::is_ssh(repository) {
            return Ok(None);
        }
        let id = attrs.get("git.mountsshsock").map(String::as_str);
        let id = id.filter(|id| !id.is_empty()).unwrap_or("default");
        Ok(self.job.client().agent(id, path).await?)
    }

    /// What opens a repository on the web, where the client has a secret for it: a header or a token, one for the host first
    /// (BuildKit's `source/git`, `getAuthToken`).
    async fn git_secret(
        &self,
        repository: &str,
        attrs: &BTreeMap<String, String>,
    ) -> Result<Option<String>, SolveError> {
        let Some(host) = git::web_host(repository) else {
            return Ok(None);
        };
        for (name, is_token) in secret_names(host, attrs) {
            let secret = match self.job.client().secret(&name).await {
                Ok(secret) => secret,
                // Clients answer in many ways that they have none.
                Err(error) => {
                    tracing::debug!(%error, name, "ask for a secret of git");
                    None
                }
            };
            if let Some(secret) = secret {
                return git_header(&name, secret, is_token).map(Some);
            }
        }
        Ok(None)
    }

    async fn http(&self, source: &pb::SourceOp) -> Result<Ref, SolveError> {
        let url = source.identifier.clone();
        let dir = self.job.scratch()?;
        let registry = &self.job.engine().config.registry;
        let file = match url.strip_prefix("http://buildkit-session/") {
            Some(id) => self.uploaded(id, dir.path()).await?,
            None => fetch::download(&url, dir.path(), registry).await?,
        };
        let attrs = source.attrs.clone();
        blocking(move || place_download(dir, &file, &url, &attrs)).await
    }

    /// What the client has on its standard input.
    async fn uploaded(&self, id: &str, folder: &Path) -> Result<fetch::Fetched, SolveError> {
        let mut upload = self.job.client().upload(id).await?;
        let path = folder.join(fetch::UNNAMED);
        let failed = SolveError::io("write what the client sends");
        let mut file = tokio::fs::File::create(&path).await.map_err(&failed)?;
        tokio::io::copy(&mut upload, &mut file)
            .await
            .map_err(&failed)?;
        file.flush().await.map_err(failed)?;
        Ok(fetch::Fetched {
            path,
            name: None,
            content_type: String::new(),
        })
    }
}

/// The secrets that may open a repository of a host, in their order, and whether each is a token.
fn secret_names(host: &str, attrs: &BTreeMap<String, String>) -> Vec<(String, bool)> {
    let kinds = [
        ("git.authheadersecret", false),
        ("git.authtokensecret", true),
    ];
    let named = kinds.into_iter().filter_map(|(attr, is_token)| {
        let name = attrs.get(attr).filter(|name| !name.is_empty())?;
        Some((name, is_token))
    });
    let named: Vec<_> = named.collect();
    let of_host = named
        .iter()
        .map(|(name, is_token)| (format!("{name}.{host}"), *is_token));
    let of_all = named
        .iter()
        .map(|(name, is_token)| ((*name).clone(), *is_token));
    of_host.chain(of_all).collect()
}

/// The header that a secret is, or that a token comes in.
fn git_header(name: &str, secret: Vec<u8>, is_token: bool) -> Result<String, SolveError> {
    use base64::Engine as _;
    let text = String::from_utf8(secret)
        .map_err(|_| SolveError::Invalid(format!("secret {name}: not text")))?;
    // Files end with one.
    let text = text.trim_end_matches(['\r', '\n']);
    Ok(match is_token {
        true => {
            let pair = format!("x-access-token:{text}");
            let pair = base64::engine::general_purpose::STANDARD.encode(pair);
            format!("basic {pair}")
        }
        false => text.to_owned(),
    })
}

/// Takes only the first layers, if the attribute says so.
pub(super) fn limit<T>(
    layers: &mut Vec<T>,
    attrs: &BTreeMap<String, String>,
    name: &str,
) -> Result<(), SolveError> {
    if let Some(text) = attrs.get(name) {
        let limit = text.parse();
        layers.truncate(
            limit.map_err(|_| SolveError::Invalid(format!("invalid layer limit {text:?}")))?,
        );
    }
    Ok(())
}

/// How often a transfer says how far it has come.
const OFTEN: Duration = Duration::from_millis(100);

/// Files of the client; `progress` tells how far they have come.
pub(crate) async fn transfer(
    job: &Job,
    wanted: &LocalRequest,
    word: &str,
    progress: &VertexProgress,
) -> Result<Local, SolveError> {
    let started = Timestamp::now();
    let status = |bytes: u64, ended: bool| {
        let now = Timestamp::now();
        VertexStatus {
            id: format!("transferring {word}:"),
            name: "transferring".to_owned(),
            current: i64::try_from(bytes).unwrap_or(i64::MAX),
            timestamp: Some(now),
            started: Some(started),
            completed: ended.then_some(now),
            ..VertexStatus::default()
        }
    };
    let (told, mut bytes) = watch::channel(0);
    let follow = async {
        let mut said = Instant::now();
        while bytes.changed().await.is_ok() {
            if said.elapsed() >= OFTEN {
                said = Instant::now();
                let now = *bytes.borrow_and_update();
                progress.status(status(now, false)).await;
            }
        }
        let last = *bytes.borrow();
        progress.status(status(last, true)).await;
    };
    let (local, ()) = tokio::join!(job.client().local(wanted, told), follow);
    Ok(local?)
}

fn layers_of(store: &wharf_images::Images, image: &Digest) -> Result<Vec<Layer>, SolveError> {
    let layers = store.layers_of(image)?.into_iter();
    let layers = layers.map(|(chain, layer)| Layer {
        chain,
        diff_id: layer.diff_id,
        size: layer.size,
        blob: layer.blob,
        created: None,
    });
    Ok(layers.collect())
}

/// Names a file that was downloaded, and sees that it is what it should be.
fn place_download(
    dir: Scratch,
    file: &fetch::Fetched,
    url: &str,
    attrs: &BTreeMap<String, String>,
) -> Result<Ref, SolveError> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = SolveError::io("read what was downloaded");
    let mut hasher = wharf_oci::Hasher::sha256();
    let mut source = std::fs::File::open(&file.path).map_err(&failed)?;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match std::io::Read::read(&mut source, &mut buffer).map_err(&failed)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    let digest = hasher.finish();
    if let Some(expected) = attrs.get("http.checksum")
        && *expected != digest.to_string()
    {
        return Err(SolveError::Failed(format!(
            "digest mismatch {digest}: {expected}"
        )));
    }
    let own = file.name.clone().unwrap_or_else(|| "download".to_owned());
    let name = attrs.get("http.filename").cloned().unwrap_or(own);
    if matches!(name.as_str(), "" | "." | "..") || name.contains(['/', '\0']) {
        return Err(SolveError::Invalid(format!(
            "invalid filename {name:?} of {url}"
        )));
    }
    let number = |key: &str, radix: u32, default: u32| match attrs.get(key) {
        Some(text) => u32::from_str_radix(text, radix)
            .map_err(|_| SolveError::Invalid(format!("invalid {key}: {text:?}"))),
        None => Ok(default),
    };
    // As BuildKit's client writes them: `0600`.
    let mode = number("http.perm", 8, 0o600)? & 0o7777;
    let (uid, gid) = (number("http.uid", 10, 0)?, number("http.gid", 10, 0)?);
    let path = dir.path().join(&name);
    std::fs::rename(&file.path, &path).map_err(&failed)?;
    std::os::unix::fs::chown(&path, Some(uid), Some(gid)).map_err(&failed)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).map_err(&failed)?;
    let content = format!("http {name} {mode:o} {uid} {gid} {digest}");
    let folder = dir.path().to_owned();
    Ok(folder_ref(dir, folder, Digest::sha256(content.as_bytes())))
}

fn folder_ref(dir: Scratch, folder: PathBuf, content: Digest) -> Ref {
    let local = Local {
        folder,
        keep: Arc::new(dir),
    };
    Ref(Arc::new(Inner::Folder { local, content }))
}

/// A folder of a repository. Links in it do not lead out (CVE-2026-33748).
fn below(path: &Path, folder: &str) -> Result<PathBuf, SolveError> {
    if folder.is_empty() {
        return Ok(path.to_owned());
    }
    let failed = |error: std::io::Error| {
        SolveError::Failed(format!("subdir {folder} of the repository: {error}"))
    };
    let root = Root::open(path).map_err(failed)?;
    let (inside, stat) = located(&root, Path::new(folder), true).map_err(failed)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Ok(path.join(inside)),
        _ => Err(failed(std::io::ErrorKind::NotADirectory.into())),
    }
}

pub(crate) fn platform_of(platform: &pb::Platform) -> Platform {
    Platform::new(&platform.os, &platform.architecture, &platform.variant)
}

/// The layers of an image, held: of one that is here, else they are fetched and belong to the cache.
async fn image_layers(
    job: &Job,
    name: &str,
    platform: Option<&Platform>,
    mode: &str,
    progress: &VertexProgress,
) -> Result<Ref, SolveError> {
    let store = job.engine().images.store();
    if let Some((image, _pin)) = present(job, name, platform, mode).await? {
        let store = store.clone();
        return blocking(move || Ok(hold(&store, layers_of(&store, &image.id)?))).await;
    }
    let key = platform.map(crate::frontend::key_of).unwrap_or_default();
    let key = Digest::sha256(format!("image {name} {key}").as_bytes());
    let cache = &job.solver().cache;
    if name.contains("@sha256:")
        && let Some(outputs) = cache.get(&key).await?
        && let Some(Some(tree)) = outputs.into_iter().next()
    {
        return Ok(tree);
    }
    let fetched = fetch(job, name, platform, Some(progress)).await?;
    let layers = fetched.layers.iter().map(|(chain, layer)| Layer {
        chain: *chain,
        diff_id: layer.diff_id,
        size: layer.size,
        blob: layer.blob.clone(),
        created: None,
    });
    let layers: Vec<Layer> = layers.collect();
    let tree = hold(store, layers);
    let description = format!("pulled from {name}");
    let record = Record::new(&[Some(tree.clone())], description);
    cache.put(&key, None, record).await?;
    Ok(tree)
}

/// Fetches an image's layers.
async fn fetch(
    job: &Job,
    name: &str,
    platform: Option<&Platform>,
    progress: Option<&VertexProgress>,
) -> Result<Fetched, SolveError> {
    let reference = reference_of(name)?;
    let options = PullOptions {
        credentials: job.client().credentials(reference.domain()).await,
        platform: platform.cloned(),
        all_tags: false,
        referrers: false,
    };
    let (sender, mut events) = ProgressSender::channel();
    let store = job.engine().images.store();
    let fetch = async {
        let fetched = store.fetch(&reference, &options, &sender).await;
        drop(sender);
        fetched
    };
    let report = async {
        while let Some(event) = events.recv().await {
            if let (Some(progress), Progress::Layer { id, state }) = (progress, event) {
                layer_status(progress, &id, &state).await;
            }
        }
    };
    let (fetched, ()) = tokio::join!(fetch, report);
    fetched.map_err(|error| {
        let error = wharf_engine::EngineError::from(error);
        let text = format!("{reference}: {}", error.message());
        match error.kind() {
            wharf_engine::ErrorKind::NotFound => SolveError::NotFound(text),
            _ => SolveError::Failed(text),
        }
    })
}

fn reference_of(name: &str) -> Result<Reference, SolveError> {
    let reference = Reference::parse_normalized(name)
        .map_err(|error| SolveError::Invalid(format!("invalid reference format: {error}")))?;
    Ok(reference.with_default_tag())
}

/// An image that is here, of the right platform, unless its name is to be looked up elsewhere.
async fn present(
    job: &Job,
    name: &str,
    platform: Option<&Platform>,
    mode: &str,
) -> Result<Option<(Image, ImagePin)>, SolveError> {
    if mode == "pull" && !name.contains("@sha256:") {
        return Ok(None);
    }
    let (store, name) = (job.engine().images.store().clone(), name.to_owned());
    let found = blocking(move || Ok(store.pin(&name).ok())).await?;
    let fits =
        |image: &Image| platform.is_none_or(|platform| platform.matches(&image.config.platform()));
    Ok(found.filter(|(image, _)| fits(image)))
}

async fn layer_status(progress: &VertexProgress, id: &str, state: &LayerState) {
    let now = Timestamp::now();
    let (word, current, total, done) = match state {
        LayerState::Downloading { current, total } => ("downloading", *current, *total, false),
        LayerState::DownloadComplete => ("downloading", 0, 0, true),
        LayerState::Extracting { current, total } => ("extracting", *current, *total, false),
        LayerState::PullComplete => ("extracting", 0, 0, true),
        _ => return,
    };
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    progress
        .status(VertexStatus {
            id: format!("{word} sha256:{id}"),
            name: word.to_owned(),
            current: number(current),
            total: number(total),
            timestamp: Some(now),
            started: Some(now),
            completed: done.then_some(now),
            ..VertexStatus::default()
        })
        .await;
}

/// What an image's name means: its configuration, without its layers.
pub(crate) async fn resolve(
    job: &Job,
    name: &str,
    platform: Option<&Platform>,
    mode: &str,
) -> Result<ResolvedImage, SolveError> {
    let reference = reference_of(name)?;
    let Some((image, _pin)) = present(job, name, platform, mode).await? else {
        if let Some(found) = ask_registry(job, &reference, platform).await {
            return Ok(found);
        }
        // The built-in catalogue, or an error that says why not.
        let fetched = fetch(job, name, platform, None).await?;
        return Ok(ResolvedImage {
            reference: match reference.digest() {
                None => reference.with_digest(fetched.digest).to_string(),
                Some(_) => reference.to_string(),
            },
            digest: fetched.digest,
            config: fetched.config.clone(),
        });
    };
    // Where it came from, if that is known.
    let own = reference.familiar_name();
    let known = image.repo_digests.iter().find_map(|text| {
        let (repository, digest) = text.split_once('@')?;
        (repository == own).then(|| Digest::parse(digest).ok())?
    });
    let complete = match known {
        Some(digest) if reference.digest().is_none() => reference.with_digest(digest),
        _ => reference,
    };
    Ok(ResolvedImage {
        reference: complete.to_string(),
        digest: known.unwrap_or(image.id),
        config: image.config.raw().to_vec(),
    })
}

async fn ask_registry(
    job: &Job,
    reference: &Reference,
    platform: Option<&Platform>,
) -> Option<ResolvedImage> {
    let registry = job.engine().images.store().registry();
    let credentials = job.client().credentials(reference.domain()).await;
    let platform = platform.cloned().unwrap_or_else(Platform::host);
    let resolved = registry
        .resolve(reference, &platform, credentials.as_ref())
        .await
        .ok()?;
    let config = registry
        .small_blob(
            &resolved.source,
            &resolved.manifest.config,
            "image configuration",
            wharf_oci::MAX_CONFIG_SIZE,
        )
        .await
        .ok()?;
    let digest = resolved.digest();
    Some(ResolvedImage {
        reference: reference.clone().with_digest(digest).to_string(),
        digest,
        config: config.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_a_repository_are_inside_it() {
        let dir = tempfile::tempdir().unwrap();
        let repository = dir.path().join("r");
        std::fs::create_dir_all(repository.join("sub/x")).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::os::unix::fs::symlink("../outside", repository.join("link")).unwrap();
        std::os::unix::fs::symlink("sub", repository.join("in")).unwrap();
        assert_eq!(
            below(&repository, "sub/x").unwrap(),
            repository.join("sub/x")
        );
        assert_eq!(
            below(&repository, "in/x").unwrap(),
            repository.join("sub/x")
        );
        // Both end inside, where there is no such thing.
        assert!(below(&repository, "link").is_err());
        assert!(below(&repository, "../outside").is_err());
    }

    #[test]
    fn secrets_of_a_host_go_before_those_of_all() {
        let url = GitUrl::read("https://u@h:1/a.git").unwrap();
        let source = crate::frontend::git_source(&url, false);
        let names = secret_names(git::web_host(&url.repository).unwrap(), &source.attrs);
        let names: Vec<(&str, bool)> = names
            .iter()
            .map(|(name, own)| (name.as_str(), *own))
            .collect();
        let wanted = [
            ("GIT_AUTH_HEADER.h:1", false),
            ("GIT_AUTH_TOKEN.h:1", true),
            ("GIT_AUTH_HEADER", false),
            ("GIT_AUTH_TOKEN", true),
        ];
        assert_eq!(names, wanted);
        assert_eq!(source.identifier, "git://h:1/a.git");
        // Nothing of them is told to who is reached otherwise.
        let ssh = crate::frontend::git_source(&GitUrl::read("ssh://git@h/a").unwrap(), false);
        assert!(secret_names("h", &ssh.attrs).is_empty());
        let header = |text: &str, is_token| git_header("s", text.into(), is_token).unwrap();
        assert_eq!(header("bearer x\n", false), "bearer x");
        assert_eq!(header("x\n", true), "basic eC1hY2Nlc3MtdG9rZW46eA==");
        assert!(git_header("s", vec![0xff], true).is_err());
    }

    #[test]
    fn downloads_are_named_and_checked() {
        let fetched = |dir: &Scratch| {
            let path = dir.path().join("x");
            std::fs::write(&path, "hello").unwrap();
            fetch::Fetched {
                path,
                name: None,
                content_type: String::new(),
            }
        };
        let place = |attrs: &[(&str, &str)]| {
            let dir = Scratch::new_in(&std::env::temp_dir(), "download-").unwrap();
            let file = fetched(&dir);
            let attrs = attrs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            place_download(dir, &file, "http://h/x", &attrs.collect())
        };
        let good = place(&[("http.filename", "f"), ("http.perm", "0755")]).unwrap();
        let path = good.folder().unwrap().join("f");
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path).unwrap());
        assert_eq!(mode & 0o777, 0o755);
        assert!(place(&[("http.filename", "../f")]).is_err());
        let wrong = format!("sha256:{}", wharf_builder::hash::hex(&[0; 32]));
        let error = place(&[("http.checksum", &wrong)]).unwrap_err().to_string();
        assert!(
            error.starts_with("digest mismatch sha256:2cf24dba"),
            "{error}"
        );
    }
}
