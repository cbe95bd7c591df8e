//! What a client's own frontend asks while it builds (`frontend/gateway/pb`).

use std::pin::Pin;
use std::sync::Arc;

use bollard_buildkit_proto::fsutil::types::Stat;
use bollard_buildkit_proto::moby::buildkit::v1::VertexWarning;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::llb_bridge_server::LlbBridge;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::{
    CacheOptionsEntry, EvaluateRequest, EvaluateResponse, ExecMessage, InputsRequest,
    InputsResponse, NewContainerRequest, NewContainerResponse, PingRequest, PongResponse,
    ReadDirRequest, ReadDirResponse, ReadFileRequest, ReadFileResponse, Ref, RefMap,
    ReleaseContainerRequest, ReleaseContainerResponse, ResolveImageConfigRequest,
    ResolveImageConfigResponse, ResolveSourceMetaRequest, ResolveSourceMetaResponse,
    Result as Returned, ReturnRequest, ReturnResponse, SolveRequest, SolveResponse,
    StatFileRequest, StatFileResponse, WarnRequest, WarnResponse, result,
};
use futures_util::Stream;
use tonic::{Request, Response, Status, Streaming};
use wharf_oci::Platform;
use wharf_solver::{CacheOption, SolveResult};

use crate::caps;
use crate::error::{Error, from_rpc};
use crate::job::{Job, Kept};
use crate::service::Kit;

/// The service.
pub(crate) struct Bridge(pub(crate) Arc<Kit>);

impl Bridge {
    /// The build that a call is about.
    async fn job<T>(&self, request: &Request<T>) -> Result<Arc<Job>, Error> {
        let id = request.metadata().get("buildkit-controlapi-buildid");
        let id = id.and_then(|id| id.to_str().ok());
        let id = id.ok_or_else(|| {
            Error::Invalid("buildkit-controlapi-buildid is missing: no forwarder".to_owned())
        })?;
        self.0.jobs.get(id, Job::is_open).await
    }
}

/// What a frontend's result looks like on the wire.
fn wire(job: &Job, solved: SolveResult) -> Returned {
    let named = |key: &str, tree: &wharf_solver::Ref| {
        let definition = solved.definitions.get(key).cloned().unwrap_or_default();
        let id = job.keep(Kept {
            tree: tree.clone(),
            definition: definition.clone(),
        });
        Ref {
            id,
            def: Some(definition),
        }
    };
    let result = match &solved.single {
        Some(tree) => Some(result::Result::Ref(named("", tree))),
        None if solved.refs.is_empty() => None,
        None => {
            let refs = solved.refs.iter();
            let refs = refs.map(|(key, tree)| (key.clone(), named(key, tree)));
            let refs = RefMap {
                refs: refs.collect(),
            };
            Some(result::Result::Refs(refs))
        }
    };
    Returned {
        metadata: solved.metadata.into_iter().collect(),
        result,
        ..Returned::default()
    }
}

/// What the client's frontend returned, with what it means here.
///
/// # Errors
/// If it names what there is not.
pub(crate) fn outcome(job: &Job, returned: Returned) -> Result<SolveResult, Error> {
    let mut solved = SolveResult {
        metadata: returned.metadata.into_iter().collect(),
        ..SolveResult::default()
    };
    let ids: Vec<(String, String)> = match returned.result {
        None => Vec::new(),
        Some(result::Result::RefDeprecated(id)) => vec![(String::new(), id)],
        Some(result::Result::Ref(reference)) => vec![(String::new(), reference.id)],
        Some(result::Result::RefsDeprecated(map)) => map.refs.into_iter().collect(),
        Some(result::Result::Refs(map)) => {
            let refs = map.refs.into_iter();
            refs.map(|(key, reference)| (key, reference.id)).collect()
        }
    };
    // An empty id is an empty tree, which nobody can be asked for.
    for (key, id) in ids.into_iter().filter(|(_, id)| !id.is_empty()) {
        let kept = job.result(&id)?;
        solved.definitions.insert(key.clone(), kept.definition);
        match key.as_str() {
            "" => solved.single = Some(kept.tree),
            _ => drop(solved.refs.insert(key, kept.tree)),
        }
    }
    Ok(solved)
}

/// Caches to look into, or to write to.
pub(crate) fn caches(entries: &[CacheOptionsEntry]) -> Vec<CacheOption> {
    let entries = entries.iter().map(|entry| CacheOption {
        kind: entry.r#type.clone(),
        attrs: entry.attrs.clone().into_iter().collect(),
    });
    entries.collect()
}

fn stat(stat: wharf_solver::Stat) -> Stat {
    Stat {
        path: stat.path,
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        size: stat.size,
        mod_time: stat.mod_time,
        linkname: stat.linkname,
        devmajor: stat.devmajor,
        devminor: stat.devminor,
        ..Stat::default()
    }
}

#[tonic::async_trait]
impl LlbBridge for Bridge {
    async fn resolve_image_config(
        &self,
        request: Request<ResolveImageConfigRequest>,
    ) -> Result<Response<ResolveImageConfigResponse>, Status> {
        let job = self.job(&request).await?;
        let request = request.into_inner();
        let platform = request.platform;
        let platform = platform
            .map(|platform| Platform::new(&platform.os, &platform.architecture, &platform.variant));
        let mode = match request.resolve_mode.as_str() {
            "" => "default",
            mode => mode,
        };
        let found =
            job.work
                .resolve_image(&request.r#ref, platform.as_ref(), mode, &request.log_name);
        let found = found.await.map_err(Error::from)?;
        Ok(Response::new(ResolveImageConfigResponse {
            digest: found.digest.to_string(),
            config: found.config,
            r#ref: found.reference,
        }))
    }

    async fn resolve_source_meta(
        &self,
        _: Request<ResolveSourceMetaRequest>,
    ) -> Result<Response<ResolveSourceMetaResponse>, Status> {
        Err(Status::unimplemented("ResolveSourceMeta is not built"))
    }

    async fn solve(
        &self,
        request: Request<SolveRequest>,
    ) -> Result<Response<SolveResponse>, Status> {
        let job = self.job(&request).await?;
        let request = request.into_inner();
        let wanted = wharf_solver::SolveRequest {
            definition: request.definition.filter(|one| !one.def.is_empty()),
            frontend: request.frontend,
            frontend_attrs: request.frontend_opt.into_iter().collect(),
            frontend_inputs: request.frontend_inputs.into_iter().collect(),
            cache_imports: caches(&request.cache_imports),
        };
        let solved = job.work.solve(wanted).await.map_err(Error::from)?;
        Ok(Response::new(SolveResponse {
            r#ref: String::new(),
            result: Some(wire(&job, solved)),
        }))
    }

    async fn read_file(
        &self,
        request: Request<ReadFileRequest>,
    ) -> Result<Response<ReadFileResponse>, Status> {
        let job = self.job(&request).await?;
        let request = request.into_inner();
        let tree = job.result(&request.r#ref)?.tree;
        let number = |number: i64| u64::try_from(number).unwrap_or(0);
        let range = request
            .range
            .map(|range| (number(range.offset), number(range.length)));
        let data = tree.read_file(&job.work, &request.file_path, range).await;
        let data = data.map_err(Error::from)?;
        Ok(Response::new(ReadFileResponse { data }))
    }

    async fn read_dir(
        &self,
        request: Request<ReadDirRequest>,
    ) -> Result<Response<ReadDirResponse>, Status> {
        let job = self.job(&request).await?;
        let request = request.into_inner();
        let tree = job.result(&request.r#ref)?.tree;
        let entries = tree.read_dir(&job.work, &request.dir_path, &request.include_pattern);
        let entries = entries.await.map_err(Error::from)?;
        Ok(Response::new(ReadDirResponse {
            entries: entries.into_iter().map(stat).collect(),
        }))
    }

    async fn stat_file(
        &self,
        request: Request<StatFileRequest>,
    ) -> Result<Response<StatFileResponse>, Status> {
        let job = self.job(&request).await?;
        let request = request.into_inner();
        let tree = job.result(&request.r#ref)?.tree;
        let found = tree.stat(&job.work, &request.path).await;
        let found = found.map_err(Error::from)?;
        Ok(Response::new(StatFileResponse {
            stat: Some(stat(found)),
        }))
    }

    async fn evaluate(
        &self,
        request: Request<EvaluateRequest>,
    ) -> Result<Response<EvaluateResponse>, Status> {
        // What has an id has been built.
        let job = self.job(&request).await?;
        job.result(&request.into_inner().r#ref)?;
        Ok(Response::new(EvaluateResponse {}))
    }

    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PongResponse>, Status> {
        self.job(&request).await?;
        Ok(Response::new(PongResponse {
            frontend_api_caps: caps::frontend(),
            llb_caps: caps::definitions(),
            workers: vec![caps::worker(&self.0.worker())],
        }))
    }

    async fn r#return(
        &self,
        request: Request<ReturnRequest>,
    ) -> Result<Response<ReturnResponse>, Status> {
        let job = self.job(&request).await?;
        let request = request.into_inner();
        let returned = match request.error {
            Some(error) if error.code != 0 => Err(from_rpc(error)),
            _ => Ok(request.result.unwrap_or_default()),
        };
        job.give_back(returned)?;
        Ok(Response::new(ReturnResponse {}))
    }

    async fn inputs(
        &self,
        request: Request<InputsRequest>,
    ) -> Result<Response<InputsResponse>, Status> {
        // A client's own frontend has none: it is not called by another.
        self.job(&request).await?;
        Ok(Response::new(InputsResponse::default()))
    }

    async fn new_container(
        &self,
        _: Request<NewContainerRequest>,
    ) -> Result<Response<NewContainerResponse>, Status> {
        Err(Status::unimplemented(
            "containers of frontends are not built",
        ))
    }

    async fn release_container(
        &self,
        _: Request<ReleaseContainerRequest>,
    ) -> Result<Response<ReleaseContainerResponse>, Status> {
        Err(Status::unimplemented(
            "containers of frontends are not built",
        ))
    }

    type ExecProcessStream = Pin<Box<dyn Stream<Item = Result<ExecMessage, Status>> + Send>>;

    async fn exec_process(
        &self,
        _: Request<Streaming<ExecMessage>>,
    ) -> Result<Response<Self::ExecProcessStream>, Status> {
        Err(Status::unimplemented(
            "containers of frontends are not built",
        ))
    }

    async fn read_file_container(
        &self,
        _: Request<ReadFileRequest>,
    ) -> Result<Response<ReadFileResponse>, Status> {
        Err(Status::unimplemented(
            "containers of frontends are not built",
        ))
    }

    async fn read_dir_container(
        &self,
        _: Request<ReadDirRequest>,
    ) -> Result<Response<ReadDirResponse>, Status> {
        Err(Status::unimplemented(
            "containers of frontends are not built",
        ))
    }

    async fn stat_file_container(
        &self,
        _: Request<StatFileRequest>,
    ) -> Result<Response<StatFileResponse>, Status> {
        Err(Status::unimplemented(
            "containers of frontends are not built",
        ))
    }

    async fn warn(&self, request: Request<WarnRequest>) -> Result<Response<WarnResponse>, Status> {
        let job = self.job(&request).await?;
        let warning = request.into_inner();
        job.trace.warn(VertexWarning {
            vertex: warning.digest,
            level: warning.level,
            short: warning.short,
            detail: warning.detail,
            url: warning.url,
            info: warning.info,
            ranges: warning.ranges,
        });
        Ok(Response::new(WarnResponse {}))
    }
}
