//! BuildKit's control service.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use bollard_buildkit_proto::moby::buildkit::v1::control_server;
use bollard_buildkit_proto::moby::buildkit::v1::{
    BuildHistoryEvent, BuildHistoryRecord, BuildHistoryRequest, BytesMessage, CacheOptionsEntry,
    DiskUsageRequest, DiskUsageResponse, Exporter, InfoRequest, InfoResponse, ListWorkersRequest,
    ListWorkersResponse, PruneRequest, SolveRequest, SolveResponse, StatusRequest, StatusResponse,
    UpdateBuildHistoryRequest, UpdateBuildHistoryResponse, UsageRecord,
};
use futures_util::{Stream, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc::Receiver;
use tokio_util::io::ReaderStream;
use tonic::{Request, Response, Status, Streaming};
use wharf_builder::Upload;
use wharf_builder::fetch::redacted;
use wharf_engine::BuildConfig;
use wharf_solver::{CacheOption, Entitlement, JobOptions, Policies, Progress, SolveResult};

use crate::bridge::outcome;
use crate::error::Error;
use crate::history_filter::Filters;
use crate::job::{Job, Running};
use crate::progress::Trace;
use crate::service::Kit;
use crate::session::{Asked, Introduction};
use crate::time::now;
use crate::{caps, export, usage};

/// What stands between us and a session in a call.
const BUFFER: usize = 256 << 10;
/// What the work may have said that is not written down yet.
const EVENTS: usize = 256;
/// What is said at once.
const CHUNK: usize = 32 << 10;

/// The service.
pub(crate) struct Control(pub(crate) Arc<Kit>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Control {
    /// What the request is solved to: by a frontend that runs here, or by the client's own.
    async fn outcome(&self, job: &Arc<Job>, request: &SolveRequest) -> Result<SolveResult, Status> {
        let definition = request.definition.clone();
        let definition = definition.filter(|one| !one.def.is_empty());
        if definition.is_none() && request.frontend.is_empty() {
            let returned = job.by_client();
            // Only now: who has come before waits for this.
            self.0.jobs.changed();
            let returned = returned.await;
            let returned = returned.map_err(|_| Status::aborted("the frontend returned twice"))?;
            return Ok(outcome(job, returned?)?);
        }
        let imports = request.cache.iter().flat_map(|cache| &cache.imports);
        let wanted = wharf_solver::SolveRequest {
            definition: definition.filter(|_| request.frontend.is_empty()),
            frontend: request.frontend.clone(),
            frontend_attrs: request.frontend_attrs.clone().into_iter().collect(),
            frontend_inputs: request.frontend_inputs.clone().into_iter().collect(),
            cache_imports: imports.map(cache_option).collect(),
        };
        Ok(job.work.solve(wanted).await.map_err(Error::from)?)
    }

    async fn solved(
        &self,
        job: &Arc<Job>,
        request: &SolveRequest,
    ) -> Result<SolveResponse, Status> {
        refuse(request)?;
        let exporters = exporters(request);
        // An unknown one is said before anything is built.
        export::check(&exporters)?;
        job.work.provenance().map_err(Error::from)?;
        let outcome = self.outcome(job, request).await?;
        let mut exporter_response = export::all(&self.0, job, &exporters, &outcome).await?;
        for cache in cache_exports(request) {
            let cache = cache_option(cache);
            let written = job.work.export_cache(&cache, &outcome).await;
            exporter_response.extend(written.map_err(Error::from)?);
        }
        Ok(SolveResponse { exporter_response })
    }

    /// Builds what is asked for, and writes down that it was. `body` is what came with the request: the context at
    /// [`BODY`].
    ///
    /// # Errors
    /// As BuildKit says them.
    pub(crate) async fn run(
        &self,
        request: SolveRequest,
        body: Option<Upload>,
    ) -> Result<SolveResponse, Status> {
        let (running, events) = self.begin(&request, body)?;
        let job = running.job.clone();
        let mut record = BuildHistoryRecord {
            r#ref: request.r#ref.clone(),
            frontend: request.frontend.clone(),
            frontend_attrs: told(&request.frontend_attrs),
            exporters: exporters(&request),
            created_at: Some(now()),
            ..BuildHistoryRecord::default()
        };
        // A client's look at what the daemon can do is no build.
        let counts = !request.internal;
        if counts {
            self.0.history.begin(record.clone(), &job.trace);
        }
        let mut past = Past {
            kit: self.0.clone(),
            job: job.clone(),
            record: counts.then(|| {
                record.error = Some(bollard_buildkit_proto::google::rpc::Status {
                    code: tonic::Code::Cancelled.into(),
                    message: "context canceled".to_owned(),
                    ..Default::default()
                });
                record
            }),
        };
        let solved = followed(self.solved(&job, &request), &job.trace, events).await;
        past.ended(&solved);
        self.0.built.notify_one();
        // Those who follow see its end before its answer.
        drop(running);
        drop(past);
        solved
    }

    /// A build that begins, and what its work says.
    fn begin(
        &self,
        request: &SolveRequest,
        body: Option<Upload>,
    ) -> Result<(Running, Receiver<Progress>), Error> {
        let allowed = &self.0.engine.config.build;
        let entitlements = request.entitlements.iter();
        let entitlements = entitlements.map(|name| granted(name, allowed));
        let attestations = request.frontend_attrs.clone().into_iter();
        let attestations = attestations.filter(|(name, _)| name.starts_with("attest:"));
        let policies = request.source_policy.clone();
        let policies = Policies::read(&policies.into_iter().collect::<Vec<_>>())?;
        let (progress, events) = tokio::sync::mpsc::channel(EVENTS);
        let work = self.0.solver.job(JobOptions {
            id: request.r#ref.clone(),
            session: request.session.clone(),
            client: Arc::new(Asked::new(&self.0, &request.session).with(body)),
            progress,
            entitlements: entitlements.collect::<Result<_, _>>()?,
            attestations: attestations.collect(),
            writes_cache: cache_exports(request).next().is_some(),
            inline_cache: cache_exports(request).any(|cache| cache.r#type == "inline"),
            remembers: true,
            policies: Arc::new(policies),
        });
        let running = self.0.jobs.begin(&request.r#ref, &request.session, work)?;
        Ok((running, events))
    }
}

/// Attributes as the history has them, which others read: no password of an address is in it.
fn told(attributes: &HashMap<String, String>) -> HashMap<String, String> {
    let told = attributes.iter();
    told.map(|(name, value)| (name.clone(), redacted(value)))
        .collect()
}

/// What a client may ask for: what the daemon's settings allow.
fn granted(name: &str, allowed: &BuildConfig) -> Result<Entitlement, Error> {
    let entitlement = Entitlement::parse(name)?;
    let is_allowed = match entitlement {
        Entitlement::NetworkHost => allowed.network_host,
        Entitlement::SecurityInsecure => allowed.security_insecure,
    };
    match is_allowed {
        true => Ok(entitlement),
        false => Err(Error::Invalid(format!(
            "granting entitlement {name} is not allowed by build daemon configuration"
        ))),
    }
}

/// Writes down what is said until the work is done.
async fn followed<T>(
    work: impl Future<Output = T>,
    trace: &Trace,
    mut events: Receiver<Progress>,
) -> T {
    let mut work = std::pin::pin!(work);
    let done = loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => trace.take(event),
            done = &mut work => break done,
        }
    };
    while let Ok(event) = events.try_recv() {
        trace.take(event);
    }
    done
}

fn cache_exports(request: &SolveRequest) -> impl Iterator<Item = &CacheOptionsEntry> {
    request.cache.iter().flat_map(|cache| &cache.exports)
}

fn cache_option(entry: &CacheOptionsEntry) -> CacheOption {
    CacheOption {
        kind: entry.r#type.clone(),
        attrs: entry.attrs.clone().into_iter().collect(),
    }
}

/// What would be ignored is refused.
fn refuse(request: &SolveRequest) -> Result<(), Error> {
    for cache in cache_exports(request) {
        cache_option(cache).check_export()?;
    }
    Ok(())
}

/// The exporters that are asked for; older clients know but one.
fn exporters(request: &SolveRequest) -> Vec<Exporter> {
    if !request.exporters.is_empty() || request.exporter_deprecated.is_empty() {
        return request.exporters.clone();
    }
    vec![Exporter {
        r#type: request.exporter_deprecated.clone(),
        attrs: request.exporter_attrs_deprecated.clone(),
    }]
}

#[tonic::async_trait]
impl control_server::Control for Control {
    async fn disk_usage(
        &self,
        request: Request<DiskUsageRequest>,
    ) -> Result<Response<DiskUsageResponse>, Status> {
        let record = usage::list(&self.0, &request.into_inner().filter).await?;
        Ok(Response::new(DiskUsageResponse { record }))
    }

    type PruneStream = Answers<UsageRecord>;

    async fn prune(
        &self,
        request: Request<PruneRequest>,
    ) -> Result<Response<Self::PruneStream>, Status> {
        let gone = usage::prune(&self.0, &request.into_inner()).await?;
        let gone = futures_util::stream::iter(gone.into_iter().map(Ok));
        Ok(Response::new(gone.boxed()))
    }

    async fn solve(
        &self,
        request: Request<SolveRequest>,
    ) -> Result<Response<SolveResponse>, Status> {
        let solved = self.run(request.into_inner(), None).await;
        solved.map(Response::new)
    }

    type StatusStream = Answers<StatusResponse>;

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<Self::StatusStream>, Status> {
        let id = request.into_inner().r#ref;
        let trace = match self.0.history.trace(&id) {
            Some(trace) => trace,
            None => self.0.jobs.trace(&id).await?,
        };
        Ok(Response::new(trace.follow().map(Ok).boxed()))
    }

    type SessionStream = Answers<BytesMessage>;

    async fn session(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let introduction = Introduction::read(request.metadata().as_ref())?;
        let mut said = request.into_inner();
        let (ours, theirs) = tokio::io::duplex(BUFFER);
        let (reader, mut writer) = tokio::io::split(theirs);
        let sessions = self.0.sessions.clone();
        tokio::spawn(async move { sessions.serve(introduction, ours).await });
        tokio::spawn(async move {
            while let Some(Ok(message)) = said.next().await {
                if writer.write_all(&message.data).await.is_err() {
                    return;
                }
            }
            // The end of what the client says is the end of the session.
            let _ = writer.shutdown().await;
        });
        let answers = ReaderStream::with_capacity(reader, CHUNK).map(|read| {
            let data = read.map_err(|error| Status::unavailable(error.to_string()))?;
            let data = data.to_vec();
            Ok(BytesMessage { data })
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn list_workers(
        &self,
        _: Request<ListWorkersRequest>,
    ) -> Result<Response<ListWorkersResponse>, Status> {
        Ok(Response::new(ListWorkersResponse {
            record: vec![caps::worker(&self.0)],
        }))
    }

    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        Ok(Response::new(InfoResponse {
            buildkit_version: Some(caps::version()),
        }))
    }

    type ListenBuildHistoryStream = Answers<BuildHistoryEvent>;

    async fn listen_build_history(
        &self,
        request: Request<BuildHistoryRequest>,
    ) -> Result<Response<Self::ListenBuildHistoryStream>, Status> {
        let request = request.into_inner();
        if request.limit < 0 {
            let text = format!("invalid limit {}", request.limit);
            return Err(Status::invalid_argument(text));
        }
        let filters = Filters::read(&request.filter)?;
        let id = request.r#ref.clone();
        let wanted = move |record: &BuildHistoryRecord| {
            (id.is_empty() || record.r#ref == id) && filters.fit(record)
        };
        let (mut past, coming) = self.0.history.listen(&wanted, request.active_only);
        if request.limit > 0 {
            past.truncate(usize::try_from(request.limit).unwrap_or(usize::MAX));
        }
        let past = futures_util::stream::iter(past.into_iter().map(Ok));
        if request.early_exit {
            return Ok(Response::new(past.boxed()));
        }
        let coming = tokio_stream::wrappers::BroadcastStream::new(coming);
        let coming = coming.filter_map(move |event| {
            // Who is too slow misses some.
            let event = event.ok();
            let event = event.filter(|event| event.record.as_ref().is_some_and(&wanted));
            async move { event.map(Ok) }
        });
        Ok(Response::new(past.chain(coming).boxed()))
    }

    async fn update_build_history(
        &self,
        request: Request<UpdateBuildHistoryRequest>,
    ) -> Result<Response<UpdateBuildHistoryResponse>, Status> {
        self.0.history.update(request.get_ref())?;
        Ok(Response::new(UpdateBuildHistoryResponse {}))
    }
}

/// Writes a build's end into the history; of one that is given up, too.
struct Past {
    kit: Arc<Kit>,
    job: Arc<Job>,
    record: Option<BuildHistoryRecord>,
}

impl Past {
    fn ended(&mut self, solved: &Result<SolveResponse, Status>) {
        let Some(record) = &mut self.record else {
            return;
        };
        record.error = None;
        match solved {
            Ok(response) => record.exporter_response = response.exporter_response.clone(),
            Err(status) => {
                record.error = Some(bollard_buildkit_proto::google::rpc::Status {
                    code: status.code().into(),
                    message: redacted(status.message()),
                    ..Default::default()
                });
            }
        }
    }
}

impl Drop for Past {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else {
            return;
        };
        let counts = self.job.trace.counts();
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        record.completed_at = Some(now());
        record.num_total_steps = number(counts.total);
        record.num_completed_steps = number(counts.completed);
        record.num_cached_steps = number(counts.cached);
        self.kit.history.end(record);
    }
}
