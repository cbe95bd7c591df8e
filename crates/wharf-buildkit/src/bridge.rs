//! What a client's own frontend asks while it builds (`frontend/gateway/pb`).

use std::collections::HashMap;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use bollard_buildkit_proto::fsutil::types::Stat;
use bollard_buildkit_proto::moby::buildkit::v1::VertexWarning;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::llb_bridge_server::LlbBridge;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::{
    EvaluateRequest, EvaluateResponse, ExecMessage, InputsRequest, InputsResponse,
    NewContainerRequest, NewContainerResponse, PingRequest, PongResponse, ReadDirRequest,
    ReadDirResponse, ReadFileRequest, ReadFileResponse, Ref, ReleaseContainerRequest,
    ReleaseContainerResponse, ResolveImageConfigRequest, ResolveImageConfigResponse,
    ResolveSourceMetaRequest, ResolveSourceMetaResponse, Result as Returned, ReturnRequest,
    ReturnResponse, SolveRequest, SolveResponse, StatFileRequest, StatFileResponse, WarnRequest,
    WarnResponse, result,
};
use futures_util::Stream;
use rustix::fs::{AtFlags, Mode, OFlags, statat};
use tonic::{Request, Response, Status, Streaming};
use wharf_engine::Workspace;
use wharf_images::{ProgressSender, PullOptions, glob};
use wharf_oci::{Platform, Reference};
use wharf_sys::root::Root;

use crate::error::{Error, from_rpc};
use crate::job::{Built, Job, Outcome};
use crate::service::Kit;
use crate::session::{Asked, describe, names};
use crate::{caps, definition, frontend};

/// The largest file that is read for a frontend.
const LARGEST: u64 = 16 << 20;

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

    /// The tree of a result, and what keeps it.
    async fn root(&self, built: &Built) -> Result<(Root, Workspace), Error> {
        let workspace = self.0.engine.containers.workspace(Some(&built.image.id))?;
        let open = move || Ok::<_, Error>((workspace.root()?, workspace));
        let opened = tokio::task::spawn_blocking(open).await;
        opened.map_err(|error| Error::Failed(error.to_string()))?
    }
}

/// What a frontend's result looks like on the wire.
fn wire(job: &Job, outcome: Outcome) -> Returned {
    let result = outcome.built.map(|built| {
        let def = definition::of(&built);
        let id = job.keep(built);
        result::Result::Ref(Ref { id, def: Some(def) })
    });
    Returned {
        metadata: outcome.metadata,
        result,
        ..Returned::default()
    }
}

/// What the client's frontend returned, with what it means here.
///
/// # Errors
/// If it names what there is not, or several platforms.
pub(crate) fn outcome(job: &Job, returned: Returned) -> Result<Outcome, Error> {
    let one = |id: &str| match id {
        "" => Ok(None),
        id => job.result(id).map(Some),
    };
    let built = match returned.result {
        None => None,
        Some(result::Result::RefDeprecated(id)) => one(&id)?,
        Some(result::Result::Ref(reference)) => one(&reference.id)?,
        Some(result::Result::RefsDeprecated(map)) => {
            let ids: Vec<String> = map.refs.into_values().collect();
            one(only(&ids)?)?
        }
        Some(result::Result::Refs(map)) => {
            let ids: Vec<String> = map.refs.into_values().map(|one| one.id).collect();
            one(only(&ids)?)?
        }
    };
    Ok(Outcome {
        built,
        metadata: returned.metadata,
    })
}

fn only(ids: &[String]) -> Result<&str, Error> {
    match ids {
        [] => Ok(""),
        [one] => Ok(one),
        _ => Err(Error::Unimplemented(
            "several platforms in one build are not built".to_owned(),
        )),
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
        let reference = Reference::parse_normalized(&request.r#ref)
            .map_err(|error| Error::Invalid(error.to_string()))?
            .with_default_tag();
        let platform = request
            .platform
            .map(|platform| Platform::new(&platform.os, &platform.architecture, &platform.variant));
        let images = &self.0.engine.images;
        let local = images.store().resolve(&reference.to_string());
        let image = match local {
            Ok(image)
                if request.resolve_mode != "pull"
                    && platform
                        .as_ref()
                        .is_none_or(|wanted| wanted.matches(&image.config.platform())) =>
            {
                image
            }
            _ => {
                let client = Asked::new(&self.0, self.0.sessions.get(&job.session).await?);
                let options = PullOptions {
                    credentials: wharf_builder::Client::credentials(&client, reference.domain())
                        .await,
                    platform,
                    all_tags: false,
                };
                let pulled = images.pull(&reference, options, ProgressSender::discard());
                pulled.await.map_err(Error::from)?;
                let image = images.store().resolve(&reference.to_string());
                image.map_err(Error::from)?
            }
        };
        let digest = image.manifest.as_ref().map(|manifest| manifest.digest);
        Ok(Response::new(ResolveImageConfigResponse {
            digest: digest.unwrap_or(image.id).to_string(),
            config: image.config.raw().to_vec(),
            r#ref: reference.to_string(),
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
        let mut inputs = HashMap::new();
        for (name, definition) in &request.frontend_inputs {
            inputs.insert(name.clone(), definition::result(&self.0, definition)?);
        }
        let outcome = match (&request.definition, request.frontend.as_str()) {
            (Some(definition), "") if !definition.def.is_empty() => Outcome {
                built: Some(definition::result(&self.0, definition)?),
                ..Outcome::default()
            },
            (_, "") => Outcome::default(),
            (_, frontend) => {
                let session = self.0.sessions.get(&job.session).await?;
                let asked = frontend::Request {
                    kit: &self.0,
                    job: &job,
                    session,
                    frontend,
                    attributes: &request.frontend_opt,
                    inputs,
                };
                frontend::build(asked).await?
            }
        };
        Ok(Response::new(SolveResponse {
            r#ref: String::new(),
            result: Some(wire(&job, outcome)),
        }))
    }

    async fn read_file(
        &self,
        request: Request<ReadFileRequest>,
    ) -> Result<Response<ReadFileResponse>, Status> {
        let job = self.job(&request).await?;
        let request = request.into_inner();
        let (root, _keep) = self.root(&*job.result(&request.r#ref)?).await?;
        let path = request.file_path;
        let read = move || {
            let data = root.read_small(Path::new(&path), LARGEST);
            data.map_err(|error| missing("open", &path, &error))
        };
        let data = tokio::task::spawn_blocking(read).await;
        let mut data = data.map_err(|error| Status::internal(error.to_string()))??;
        if let Some(range) = request.range {
            let at = usize::try_from(range.offset).unwrap_or(0).min(data.len());
            data.drain(..at);
            data.truncate(usize::try_from(range.length).unwrap_or(0));
        }
        Ok(Response::new(ReadFileResponse { data }))
    }

    async fn read_dir(
        &self,
        request: Request<ReadDirRequest>,
    ) -> Result<Response<ReadDirResponse>, Status> {
        let job = self.job(&request).await?;
        let request = request.into_inner();
        let (root, _keep) = self.root(&*job.result(&request.r#ref)?).await?;
        let list = move || -> Result<Vec<Stat>, Status> {
            let path = request.dir_path;
            let failed = |error: std::io::Error| missing("lstat", &path, &error);
            let folder = root.find(Path::new(&path)).map_err(failed)?;
            let mut entries = Vec::new();
            for name in names(&folder).map_err(failed)? {
                let shown = String::from_utf8_lossy(&name).into_owned();
                let wanted = &request.include_pattern;
                if wanted.is_empty() || glob::matches(wanted, &shown) {
                    let stat = statat(&folder, &name[..], AtFlags::SYMLINK_NOFOLLOW);
                    let stat = stat.map_err(|error| failed(error.into()))?;
                    entries.push(describe(&stat, &shown));
                }
            }
            Ok(entries)
        };
        let entries = tokio::task::spawn_blocking(list).await;
        let entries = entries.map_err(|error| Status::internal(error.to_string()))??;
        Ok(Response::new(ReadDirResponse { entries }))
    }

    async fn stat_file(
        &self,
        request: Request<StatFileRequest>,
    ) -> Result<Response<StatFileResponse>, Status> {
        let job = self.job(&request).await?;
        let request = request.into_inner();
        let (root, _keep) = self.root(&*job.result(&request.r#ref)?).await?;
        let look = move || {
            let path = Path::new(&request.path);
            let failed = |error: std::io::Error| missing("lstat", &request.path, &error);
            let flags = OFlags::PATH | OFlags::NOFOLLOW;
            let found = root.open_at(path, flags, Mode::empty()).map_err(failed)?;
            let stat = rustix::fs::fstat(found.as_fd());
            let stat = stat.map_err(|error| failed(error.into()))?;
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            Ok::<_, Status>(describe(&stat, &name.unwrap_or_default()))
        };
        let stat = tokio::task::spawn_blocking(look).await;
        let stat = stat.map_err(|error| Status::internal(error.to_string()))??;
        Ok(Response::new(StatFileResponse { stat: Some(stat) }))
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

fn missing(verb: &str, path: &str, error: &std::io::Error) -> Status {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            Status::not_found(format!("{verb} {path}: no such file or directory"))
        }
        _ => Status::unknown(format!("{verb} {path}: {error}")),
    }
}
