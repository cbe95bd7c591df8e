//! One graph: what of it is known, and the rest, each vertex when its inputs are there.

use std::collections::HashSet;
use std::sync::Arc;

use bollard_buildkit_proto::pb;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use wharf_oci::Digest;

use crate::cache::Record;
use crate::flight::Outputs;
use crate::graph::{Graph, Node};
use crate::ops::VertexRun;
use crate::vertex_progress::VertexProgress;
use crate::{Job, Progress, Ref, SolveError, Vertex, keys, ops};

type Outcome = Option<Result<Outputs, SolveError>>;

/// Solves a definition: the tree that it wants.
pub(crate) async fn solve(job: &Job, definition: &pb::Definition) -> Result<Ref, SolveError> {
    let graph = Arc::new(Graph::read(definition, job.policies())?);
    let Some(root) = graph.root else {
        return Ok(Ref::scratch());
    };
    for node in &graph.nodes {
        // Also of what is known: it may be known from a build that was allowed it.
        if let pb::op::Op::Exec(exec) = &node.op {
            ops::allowed(job, exec)
                .map_err(|error| error.at(&node.digest, node.sources.clone()))?;
        }
    }
    let keys = Arc::new(keys::definitions(&graph, job.container_runner()));
    let mut known: Vec<Option<Outputs>> = vec![None; graph.nodes.len()];
    let renewed = keys::renewed(&graph);
    let needed = plan(job, &graph, (&keys, &renewed), &mut known).await?;
    note_below(job, &graph, &needed, &keys, root.node).await?;
    for at in cached_below(&graph, &needed, root.node) {
        announce(job, &graph, &graph.nodes[at], true).await;
    }
    let mut outcomes: Vec<watch::Receiver<Outcome>> = Vec::with_capacity(graph.nodes.len());
    let mut tasks = Vec::new();
    for (at, known) in known.into_iter().enumerate() {
        let (end, outcome) = watch::channel(known.map(Ok));
        if needed.contains(&at) {
            let inputs = graph.nodes[at].inputs.iter();
            let inputs = inputs.map(|edge| outcomes[edge.node].clone()).collect();
            let task = Task {
                job: job.clone(),
                graph: graph.clone(),
                keys: keys.clone(),
                at,
                renewed: renewed[at],
            };
            tasks.push(AbortOnDropHandle::new(tokio::spawn(async move {
                let result = task.run(inputs).await;
                // Nobody waits any more if this fails.
                let _ = end.send(Some(result));
            })));
        }
        outcomes.push(outcome);
    }
    let outputs = wait(&mut outcomes[root.node]).await?;
    drop(tasks);
    let tree = outputs.into_iter().nth(root.output).flatten();
    tree.ok_or_else(|| SolveError::Invalid("the definition's output is no tree".to_owned()))
}

async fn wait(outcome: &mut watch::Receiver<Outcome>) -> Result<Outputs, SolveError> {
    let ended = outcome.wait_for(Option::is_some).await;
    let result = ended.ok().and_then(|outcome| outcome.clone());
    result.unwrap_or(Err(SolveError::Cancelled))
}

/// Which vertices are to be looked at, from what is wanted down to what is known by its definition.
async fn plan(
    job: &Job,
    graph: &Graph,
    (keys, renewed): (&[Option<Digest>], &[bool]),
    known: &mut [Option<Outputs>],
) -> Result<HashSet<usize>, SolveError> {
    let mut needed = HashSet::new();
    let mut stack: Vec<usize> = graph.root.iter().map(|root| root.node).collect();
    while let Some(at) = stack.pop() {
        if known[at].is_some() || needed.contains(&at) {
            continue;
        }
        let node = &graph.nodes[at];
        let is_source = matches!(node.op, pb::op::Op::Source(_));
        if !is_source
            && !renewed[at]
            && let Some(key) = &keys[at]
        {
            let here = job.solver().cache.get(key).await?;
            let outputs = match here {
                None => job.elsewhere(key, None, &node.name()).await?,
                here => here,
            };
            if let Some(outputs) = outputs {
                known[at] = Some(outputs);
                continue;
            }
        }
        needed.insert(at);
        stack.extend(node.inputs.iter().map(|edge| edge.node));
    }
    Ok(needed)
}

/// All that is wanted and is not needed: it is known, or stands below what is. Inputs first.
fn cached_below(graph: &Graph, needed: &HashSet<usize>, root: usize) -> Vec<usize> {
    let mut seen = HashSet::new();
    let mut stack = vec![root];
    while let Some(at) = stack.pop() {
        if seen.insert(at) {
            stack.extend(graph.nodes[at].inputs.iter().map(|edge| edge.node));
        }
    }
    let mut found: Vec<usize> = seen.into_iter().filter(|at| !needed.contains(at)).collect();
    found.sort_unstable();
    found
}

/// Remembers, for the caches that are written, what is known by its definition.
async fn note_below(
    job: &Job,
    graph: &Graph,
    needed: &HashSet<usize>,
    keys: &[Option<Digest>],
    root: usize,
) -> Result<(), SolveError> {
    if !job.writes_cache() {
        return Ok(());
    }
    for at in cached_below(graph, needed, root) {
        if let Some(key) = keys[at]
            && let Some(outputs) = job.solver().cache.get(&key).await?
        {
            job.note([key], &outputs);
        }
    }
    Ok(())
}

/// Tells of a vertex that it is known.
async fn announce(job: &Job, graph: &Graph, node: &Node, cached: bool) {
    let now = Timestamp::now();
    let mut vertex = vertex(graph, node);
    vertex.started = Some(now);
    vertex.completed = Some(now);
    vertex.cached = cached;
    job.tell(Progress::Vertex(vertex)).await;
}

fn vertex(graph: &Graph, node: &Node) -> Vertex {
    let inputs = node.inputs.iter();
    Vertex {
        digest: node.digest.clone(),
        inputs: inputs
            .map(|edge| graph.nodes[edge.node].digest.clone())
            .collect(),
        name: node.name(),
        group: node.metadata.progress_group.clone(),
        ..Vertex::default()
    }
}

/// A vertex that is to be looked at.
struct Task {
    job: Job,
    graph: Arc<Graph>,
    keys: Arc<Vec<Option<Digest>>>,
    at: usize,
    /// It, or something below it, is to be done again.
    renewed: bool,
}

impl Task {
    fn node(&self) -> &Node {
        &self.graph.nodes[self.at]
    }

    async fn run(self, inputs: Vec<watch::Receiver<Outcome>>) -> Result<Outputs, SolveError> {
        // The first that fails is the end, also while others go on.
        let waits = inputs
            .into_iter()
            .map(async |mut input| wait(&mut input).await);
        let trees = try_join_all(waits).await?;
        let mut shown = VertexView::new(&self);
        let result = self.look(trees, &mut shown).await;
        let result = result.map_err(|error| {
            let node = self.node();
            error.plain().at(&node.digest, node.sources.clone())
        });
        shown.end(result.as_ref().err()).await;
        result
    }

    /// What is in the cache by content, or is done now.
    async fn look(
        &self,
        inputs: Vec<Outputs>,
        shown: &mut VertexView,
    ) -> Result<Outputs, SolveError> {
        let node = self.node();
        if let pb::op::Op::Source(source) = &node.op {
            shown.begin().await;
            let progress = VertexProgress::default();
            progress.join(&node.digest, self.job.progress()).await;
            let doing = VertexRun {
                job: &self.job,
                node,
                inputs: &inputs,
                progress: &progress,
            };
            let fetch = || doing.source(source);
            let tree = self.job.sources().get(&node.digest, fetch).await?;
            return Ok(vec![Some(tree)]);
        }
        let key = keys::content(&self.job, node, &inputs)
            .await
            .map_err(|error| match error {
                SolveError::NotFound(text) => {
                    SolveError::NotFound(format!("failed to compute cache key: {text}"))
                }
                other => other,
            })?;
        let definition = self.keys[self.at];
        let cache = &self.job.solver().cache;
        let keys = [Some(key), definition].into_iter().flatten();
        if !node.metadata.ignore_cache {
            let here = cache.get(&key).await?;
            let known = match here {
                None => {
                    let definition = definition.as_ref().filter(|_| !self.renewed);
                    self.job.elsewhere(&key, definition, &node.name()).await?
                }
                here => here,
            };
            if let Some(outputs) = known {
                if let Some(definition) = &definition {
                    cache.name(&key, definition).await?;
                }
                self.job.note(keys, &outputs);
                shown.cached().await;
                return Ok(outputs);
            }
        }
        shown.begin().await;
        let outputs = self.fly(inputs, key, definition).await?;
        self.job.note(keys, &outputs);
        Ok(outputs)
    }

    /// Does the work once for all who want it.
    async fn fly(
        &self,
        inputs: Vec<Outputs>,
        key: Digest,
        definition: Option<Digest>,
    ) -> Result<Outputs, SolveError> {
        let node = self.node();
        let alone = node.metadata.ignore_cache
            || self.job.container_runner().is_some()
            || !self.job.remembers();
        let flight = match (alone, asks_the_client(&node.op)) {
            // Nobody else's work will do.
            (true, _) => {
                Digest::sha256(format!("{key} {:p} {}", &raw const *self, self.job.id()).as_bytes())
            }
            // Nor will what another client has or lacks, nor may it stand still when that one leaves.
            (false, true) => Digest::sha256(format!("{key} {}", self.job.id()).as_bytes()),
            (false, false) => key,
        };
        let (job, graph, at) = (self.job.clone(), self.graph.clone(), self.at);
        let work = |progress: VertexProgress| async move {
            let node = &graph.nodes[at];
            let doing = VertexRun {
                job: &job,
                node,
                inputs: &inputs,
                progress: &progress,
            };
            // First these: who waits for another step's cache is in nobody's way.
            let _caches = doing.reserve().await?;
            let _slot = job.solver().slot().await;
            let outputs = doing.run().await?;
            if job.remembers() {
                let record = Record::new(&outputs, node.name());
                let cache = &job.solver().cache;
                cache.put(&key, definition.as_ref(), record).await?;
            }
            Ok(outputs)
        };
        let flights = &self.job.solver().flights;
        let listener = (node.digest.as_str(), self.job.progress());
        flights.fly(&flight, listener, work).await
    }
}

/// Whether a command is given something by the client: its secrets, its agent.
fn asks_the_client(op: &pb::op::Op) -> bool {
    let pb::op::Op::Exec(exec) = op else {
        return false;
    };
    let kinds = [pb::MountType::Secret as i32, pb::MountType::Ssh as i32];
    let mut mounts = exec.mounts.iter();
    !exec.secretenv.is_empty() || mounts.any(|mount| kinds.contains(&mount.mount_type))
}

/// A vertex as its client sees it. One that is given up is told to have ended.
struct VertexView {
    job: Job,
    vertex: Vertex,
    ended: bool,
}

impl VertexView {
    fn new(task: &Task) -> Self {
        Self {
            job: task.job.clone(),
            vertex: vertex(&task.graph, task.node()),
            ended: false,
        }
    }

    async fn begin(&mut self) {
        if self.vertex.started.is_none() {
            self.vertex.started = Some(Timestamp::now());
            self.job.tell(Progress::Vertex(self.vertex.clone())).await;
        }
    }

    async fn cached(&mut self) {
        self.vertex.cached = true;
        self.vertex.started = Some(Timestamp::now());
    }

    async fn end(&mut self, error: Option<&SolveError>) {
        self.begin().await;
        self.ended = true;
        self.vertex.completed = Some(Timestamp::now());
        self.vertex.error = error.map(ToString::to_string).unwrap_or_default();
        self.job.tell(Progress::Vertex(self.vertex.clone())).await;
    }
}

impl Drop for VertexView {
    fn drop(&mut self) {
        if self.ended || self.vertex.started.is_none() {
            return;
        }
        self.vertex.completed = Some(Timestamp::now());
        self.vertex.error = SolveError::Cancelled.to_string();
        // Nobody may be left to hear it.
        let _ = self
            .job
            .progress()
            .try_send(Progress::Vertex(self.vertex.clone()));
    }
}
