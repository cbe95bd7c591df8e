//! The solver, and the jobs of its clients.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bollard_buildkit_proto::pb;
use jiff::Timestamp;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use wharf_builder::git::GitUrl;
use wharf_builder::transfer::{self, Looks};
use wharf_builder::{Client, Scratch, Selection};
use wharf_engine::{Engine, Workspace};
use wharf_oci::{Digest, Platform};
use wharf_sys::trash::remove_tree;

use crate::cache::{Cache, hold};
use crate::flight::Flights;
use crate::frontend::classic::ContainerRunner;
use crate::remote::Imports;
use crate::{
    Entitlement, Layer, Policies, Progress, ProgressSender, Provenance, Ref, SolveError,
    SolveResult, Tree, blocking, frontend, ops, solve,
};

/// Solves graphs of build steps. Clones share cache and work.
#[derive(Clone)]
pub struct Solver(Arc<Shared>);

impl std::fmt::Debug for Solver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Solver").finish_non_exhaustive()
    }
}

/// What all jobs share.
pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    pub(crate) cache: Cache,
    pub(crate) flights: Flights,
    /// Cache mounts that steps have now.
    pub(crate) caches_used: ops::Caches,
    folder: PathBuf,
    /// Steps that may work at the same time.
    slots: Arc<Semaphore>,
}

/// How a job is done.
#[derive(Clone, Debug)]
pub struct JobOptions {
    /// BuildKit's `Ref`.
    pub id: String,
    /// The id of the client's session, by which definitions name its files; empty if it has none.
    pub session: String,
    /// Who asks.
    pub client: Arc<dyn Client>,
    /// Where progress is told.
    pub progress: ProgressSender,
    /// What its steps may do beyond the ordinary.
    pub entitlements: BTreeSet<Entitlement>,
    /// What is to be said of its results: `attest:provenance` and the like, with their attributes.
    pub attestations: BTreeMap<String, String>,
    /// Whether it will write a cache: then it remembers its steps.
    pub writes_cache: bool,
    /// Whether images take their cache along, in their configuration.
    pub inline_cache: bool,
    /// Whether the solver's cache keeps what it does. The classic builder's cache are its images.
    pub remembers: bool,
    /// Which sources it may use.
    pub policies: Arc<Policies>,
}

/// One client's build. When it is dropped, its work ends, but for what others wait for too.
#[derive(Clone)]
pub struct Job {
    inner: Arc<JobInner>,
    /// How its commands are run; as bare tasks if nothing is said.
    container_runner: Option<Arc<ContainerRunner>>,
}

pub(crate) struct JobInner {
    solver: Solver,
    options: JobOptions,
    started: Timestamp,
    /// What its frontend was asked for.
    asked: Mutex<SolveRequest>,
    imports: Imports,
    /// What names of images mean: each is looked up once in a build.
    resolved: Once<ResolvedImage>,
    /// Sources by the digest of their operation: each is fetched once in a build.
    sources: Once<Ref>,
    /// Digests of what is taken of trees.
    taken: Once<String>,
    commits: Commits,
}

/// Commits that repositories were found at.
#[derive(Default)]
pub(crate) struct Commits(Mutex<BTreeMap<(String, String), String>>);

impl Commits {
    fn key(source: &pb::SourceOp) -> (String, String) {
        let url = source.attrs.get("git.fullurl").cloned();
        (source.identifier.clone(), url.unwrap_or_default())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A source was found at one.
    pub(crate) fn note(&self, source: &pb::SourceOp, commit: &str) {
        self.lock().insert(Self::key(source), commit.to_owned());
    }

    /// Where a source was found.
    pub(crate) fn of(&self, source: &pb::SourceOp) -> Option<String> {
        self.lock().get(&Self::key(source)).cloned()
    }

    /// Where the repository of an address was found; the commit of it if it names one.
    pub(crate) fn of_url(&self, url: &GitUrl) -> Option<String> {
        let named = url.commit().map(str::to_owned);
        named.or_else(|| self.of(&frontend::git_source(url, false)))
    }
}

/// Things that are made once, by name; who comes meanwhile waits.
pub(crate) struct Once<T>(Mutex<BTreeMap<String, Arc<OnceCell<T>>>>);

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Once<T> {
    /// What has this name, else what `make` makes. One that fails is made again by the next who asks.
    pub(crate) async fn get<F>(&self, name: &str, make: impl FnOnce() -> F) -> Result<T, SolveError>
    where
        F: Future<Output = Result<T, SolveError>>,
    {
        let cell = {
            let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            cells.entry(name.to_owned()).or_default().clone()
        };
        cell.get_or_try_init(make).await.cloned()
    }
}

/// What is to be solved.
#[derive(Clone, Debug, Default)]
pub struct SolveRequest {
    /// A graph; else a frontend makes one.
    pub definition: Option<pb::Definition>,
    /// `dockerfile.v0`, `gateway.v0`; empty for a graph.
    pub frontend: String,
    /// Its options, as buildx gives them (`target`, `build-arg:X`, `platform`, `no-cache`, …).
    pub frontend_attrs: BTreeMap<String, String>,
    /// Graphs that it may use as named contexts.
    pub frontend_inputs: BTreeMap<String, pb::Definition>,
    /// Caches to look into (`type` and `attrs`).
    pub cache_imports: Vec<CacheOption>,
}

impl SolveRequest {
    /// All caches to look into: a frontend's options may name some too.
    ///
    /// # Errors
    /// If they are malformed.
    fn caches(&self) -> Result<Vec<CacheOption>, SolveError> {
        let mut caches = self.cache_imports.clone();
        let text = |name: &str| self.frontend_attrs.get(name).map_or("", String::as_str);
        if !text("cache-imports").is_empty() {
            let own: Vec<CacheOption> =
                serde_json::from_str(text("cache-imports")).map_err(|error| {
                    SolveError::Invalid(format!("failed to unmarshal cache-imports: {error}"))
                })?;
            caches.extend(own);
        }
        let places = text("cache-from").split(',').filter(|one| !one.is_empty());
        caches.extend(places.map(|place| CacheOption {
            kind: "registry".to_owned(),
            attrs: [("ref".to_owned(), place.to_owned())].into(),
        }));
        Ok(caches)
    }
}

/// A cache to import from or to export to: `inline`, `registry`, `local`.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub struct CacheOption {
    /// The kind.
    #[serde(rename = "Type")]
    pub kind: String,
    /// `ref`, `mode`, `src`, `dest`, `digest`, `compression`, …
    #[serde(rename = "Attrs", default)]
    pub attrs: BTreeMap<String, String>,
}

/// What kind of archive a result becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveKind {
    /// `docker load`'s.
    Docker,
    /// An OCI image layout.
    Oci,
    /// The files.
    Tar,
}

/// An image that a name means.
#[derive(Clone, Debug)]
pub struct ResolvedImage {
    /// The name, complete, with its digest if it has been found in a registry.
    pub reference: String,
    /// Digest of the manifest (or index).
    pub digest: Digest,
    /// The configuration's bytes.
    pub config: Vec<u8>,
}

/// One record of the cache, as `du` shows it.
#[derive(Clone, Debug, Default)]
pub struct CacheRecord {
    /// Its id.
    pub id: String,
    /// `regular`, `source.local`, `exec.cachemount`, `frontend`, `internal`.
    pub kind: String,
    /// What it is.
    pub description: String,
    /// Whether a build uses it now.
    pub in_use: bool,
    /// Whether an image has it too.
    pub shared: bool,
    /// Whether it can be changed: a cache mount.
    pub mutable: bool,
    /// Bytes.
    pub size: i64,
    /// Ids of those it stands on.
    pub parents: Vec<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last used.
    pub last_used: Option<Timestamp>,
    /// How often.
    pub usage_count: i64,
}

/// What a prune removes.
#[derive(Clone, Debug, Default)]
pub struct PruneOptions {
    /// Also what is shared with images, internal or of frontends.
    pub all: bool,
    /// Only what was not used for so long, in seconds.
    pub keep_duration: i64,
    /// As many bytes may stay in any case.
    pub reserved_space: i64,
    /// No more than so many stay; 0 for no limit.
    pub max_used_space: i64,
    /// So many bytes of the disk are to be free; 0 for no word about it.
    pub min_free_space: i64,
    /// containerd's filters (`id==x`, `type==regular`, `inuse`, `shared`, `private`, `description~=x`); any of them.
    pub filters: Vec<String>,
}

impl Solver {
    /// A solver on an engine. What a killed daemon left half-made is removed.
    ///
    /// # Errors
    /// If its folder cannot be made.
    pub fn open(engine: Arc<Engine>) -> Result<Self, SolveError> {
        let folder = engine.config.data_root.join("solver");
        let failed = SolveError::io("make the folder of builds");
        for name in ["step", "empty"] {
            let path = folder.join(name);
            // Whatever is in them belongs to nobody any more.
            let _ = remove_tree(&path);
            std::fs::create_dir_all(&path).map_err(&failed)?;
        }
        let _ = remove_tree(&engine.config.exec_root.join("solver"));
        sweep_contexts(&engine.config.data_root.join("builder"));
        let cache = Cache::new(engine.records().clone(), engine.images.store().clone());
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self(Arc::new(Shared {
            engine,
            cache,
            flights: Flights::default(),
            caches_used: ops::Caches::default(),
            folder,
            slots: Arc::new(Semaphore::new((processors * 2).max(4))),
        })))
    }

    /// A folder for what a build brings in. What a killed daemon leaves of them, the next one sweeps.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn scratch(&self) -> Result<Scratch, SolveError> {
        self.0.scratch()
    }

    /// A job of a client.
    pub fn job(&self, options: JobOptions) -> Job {
        let inner = JobInner {
            solver: self.clone(),
            options,
            started: Timestamp::now(),
            asked: Mutex::default(),
            imports: Imports::default(),
            resolved: Once::default(),
            sources: Once::default(),
            taken: Once::default(),
            commits: Commits::default(),
        };
        Job {
            inner: Arc::new(inner),
            container_runner: None,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

/// Removes clients' files that daemons before this one left where nobody swept.
fn sweep_contexts(folder: &std::path::Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("context-") {
            // As with the others.
            let _ = remove_tree(&entry.path());
        }
    }
}

impl Shared {
    /// Where cache mounts are: those of all builders are the same.
    pub(crate) fn caches(&self) -> PathBuf {
        self.engine.config.data_root.join("builder").join("cache")
    }

    /// A folder without anything in it.
    pub(crate) fn empty(&self) -> Result<PathBuf, SolveError> {
        let path = self.folder.join("empty");
        std::fs::create_dir_all(&path).map_err(SolveError::io("make an empty folder"))?;
        Ok(path)
    }

    /// A folder for what a build or a step brings in. What a killed daemon leaves of them, the next one sweeps.
    pub(crate) fn scratch(&self) -> Result<Scratch, SolveError> {
        let parent = self.folder.join("step");
        Scratch::new_in(&parent, "step-").map_err(SolveError::io("make a folder for a step"))
    }

    /// A folder that is in memory and that nobody else may look into.
    pub(crate) fn volatile(&self) -> Result<Scratch, SolveError> {
        let failed = SolveError::io("make a folder for a step");
        let parent = self.engine.config.exec_root.join("solver");
        std::fs::create_dir_all(&parent).map_err(&failed)?;
        Scratch::new_in(&parent, "step-").map_err(failed)
    }

    /// The right to work.
    pub(crate) async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        self.slots.clone().acquire_owned().await.ok()
    }
}

impl Job {
    /// Solves. Dropping the future gives it up.
    ///
    /// # Errors
    /// What is wrong with the request, the Dockerfile or a step, with its place.
    pub async fn solve(&self, request: SolveRequest) -> Result<SolveResult, SolveError> {
        self.import_caches(&request.caches()?).await;
        if let Some(definition) = &request.definition {
            let tree = solve::solve(self, definition).await?;
            return Ok(SolveResult {
                single: Some(tree),
                definitions: [(String::new(), definition.clone())].into(),
                ..SolveResult::default()
            });
        }
        if !request.frontend.is_empty() {
            let mut asked = self
                .inner
                .asked
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            asked.clone_from(&request);
        }
        match request.frontend.as_str() {
            "" => Ok(SolveResult {
                single: Some(Ref::scratch()),
                ..SolveResult::default()
            }),
            "dockerfile.v0" | "gateway.v0" => frontend::run(self, &request).await,
            other => Err(SolveError::NotFound(format!("invalid frontend: {other}"))),
        }
    }

    /// What an image's name means, without fetching its layers. `mode` is `default`, `pull` or `local`.
    ///
    /// # Errors
    /// If there is no such image.
    pub async fn resolve_image(
        &self,
        reference: &str,
        platform: Option<&Platform>,
        mode: &str,
        log_name: &str,
    ) -> Result<ResolvedImage, SolveError> {
        let key = platform.map(frontend::key_of).unwrap_or_default();
        let find = || async {
            let mut shown = crate::progress::InternalVertex::begin(self, log_name).await;
            let found = match self.allowed_image(reference) {
                Ok(reference) => ops::resolve(self, &reference, platform, mode).await,
                Err(error) => Err(error),
            };
            shown.end(found.as_ref().err()).await;
            found
        };
        let resolved = &self.inner.resolved;
        resolved
            .get(&format!("{reference} {key} {mode}"), find)
            .await
    }

    /// The image that the policies give instead of one.
    fn allowed_image(&self, reference: &str) -> Result<String, SolveError> {
        let mut source = pb::SourceOp {
            identifier: format!("docker-image://{reference}"),
            ..pb::SourceOp::default()
        };
        self.policies().apply(&mut source)?;
        let name = source.identifier.strip_prefix("docker-image://");
        let name = name.ok_or_else(|| {
            let other = &source.identifier;
            SolveError::Invalid(format!("source policy: {other} instead of an image"))
        })?;
        Ok(name.to_owned())
    }

    /// What an image in one of the client's OCI layouts says of itself: `<store>[:<tag>]@<digest>`, in the session and the
    /// store of these ids if they are not empty.
    ///
    /// # Errors
    /// If the client does not have it.
    pub async fn resolve_layout(
        &self,
        name: &str,
        place: (&str, &str),
        platform: Option<&Platform>,
        log_name: &str,
    ) -> Result<ResolvedImage, SolveError> {
        let mut shown = crate::progress::InternalVertex::begin(self, log_name).await;
        let found = ops::layout::resolve(self, name, place, platform).await;
        shown.end(found.as_ref().err()).await;
        found
    }

    /// The files of a tree, for who sends them on: exporter `local`.
    ///
    /// # Errors
    /// If they cannot be mounted.
    pub async fn tree(&self, tree: &Ref) -> Result<Tree, SolveError> {
        let (job, tree) = (self.clone(), tree.clone());
        blocking(move || tree.tree(&job)).await
    }

    pub(crate) fn solver(&self) -> &Shared {
        self.inner.solver.shared()
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.solver().engine
    }

    pub(crate) fn client(&self) -> &dyn Client {
        &*self.inner.options.client
    }

    pub(crate) fn progress(&self) -> &ProgressSender {
        &self.inner.options.progress
    }

    pub(crate) fn id(&self) -> &str {
        &self.inner.options.id
    }

    /// What is to be said of where its results come from, if anything is.
    ///
    /// # Errors
    /// If an attestation is asked for that there is not.
    pub fn provenance(&self) -> Result<Option<Provenance>, SolveError> {
        let asked = self
            .inner
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Provenance::read(&self.inner.options.attestations, &asked)
    }

    pub(crate) fn policies(&self) -> &Policies {
        &self.inner.options.policies
    }

    pub(crate) fn imports(&self) -> &Imports {
        &self.inner.imports
    }

    pub(crate) fn writes_cache(&self) -> bool {
        self.inner.options.writes_cache
    }

    pub(crate) fn wants_inline_cache(&self) -> bool {
        self.inner.options.inline_cache
    }

    pub(crate) fn remembers(&self) -> bool {
        match &self.container_runner {
            Some(container_runner) => container_runner.remembers(),
            None => self.inner.options.remembers,
        }
    }

    /// Whether it is a build of the classic builder.
    pub(crate) fn is_classic(&self) -> bool {
        !self.inner.options.remembers
    }

    pub(crate) fn started(&self) -> Timestamp {
        self.inner.started
    }

    pub(crate) fn session(&self) -> &str {
        &self.inner.options.session
    }

    /// The same job, with its commands in containers.
    pub(crate) fn housed(&self, container_runner: Arc<ContainerRunner>) -> Self {
        Self {
            inner: self.inner.clone(),
            container_runner: Some(container_runner),
        }
    }

    pub(crate) fn container_runner(&self) -> Option<&ContainerRunner> {
        self.container_runner.as_deref()
    }

    pub(crate) fn taken(&self) -> &Once<String> {
        &self.inner.taken
    }

    pub(crate) fn commits(&self) -> &Commits {
        &self.inner.commits
    }

    pub(crate) fn sources(&self) -> &Once<Ref> {
        &self.inner.sources
    }

    pub(crate) async fn tell(&self, progress: Progress) {
        // Who has gone hears nothing.
        let _ = self.progress().send(progress).await;
    }

    pub(crate) fn may(&self, entitlement: Entitlement) -> bool {
        self.inner.options.entitlements.contains(&entitlement)
    }

    /// A folder for what a step brings in.
    pub(crate) fn scratch(&self) -> Result<Scratch, SolveError> {
        self.solver().scratch()
    }

    /// A folder that is in memory and that nobody else may look into.
    pub(crate) fn volatile(&self) -> Result<Scratch, SolveError> {
        self.solver().volatile()
    }

    /// The tree as layers: a client's folder is copied into one. Blocks.
    pub(crate) fn layered(&self, tree: &Ref) -> Result<Ref, SolveError> {
        let Some(folder) = tree.folder() else {
            return Ok(tree.clone());
        };
        let workspace = self.engine().containers.tree(&[])?;
        let failed = SolveError::io("copy the client's files");
        let source = wharf_sys::root::Root::open(folder).map_err(failed)?;
        let looks = Looks {
            owner: Some((0, 0)),
            ..Looks::default()
        };
        let root = workspace.root()?;
        transfer::folder(
            (&source, ".".as_ref()),
            (&root, "/".as_ref()),
            looks,
            &Selection::default(),
        )?;
        drop(root);
        self.sealed(&workspace, &Ref::scratch(), &[])
    }

    /// What was written on top of a tree, with the tree. Blocks.
    pub(crate) fn sealed(
        &self,
        workspace: &Workspace,
        below: &Ref,
        stubs: &[PathBuf],
    ) -> Result<Ref, SolveError> {
        let sealed = workspace.seal(&below.diff_ids(), stubs)?;
        let mut layers = below.layers().to_vec();
        layers.push(Layer {
            chain: sealed.chain,
            diff_id: sealed.diff_id,
            size: sealed.size,
            blob: None,
            created: Some(Timestamp::now().as_second()),
        });
        Ok(hold(self.engine().images.store(), layers))
    }
}
