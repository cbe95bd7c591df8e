//! What a client's own frontend asks while it builds (`frontend/gateway/pb`).

use std::pin::Pin;
use std::sync::Arc;

use bollard_buildkit_proto::fsutil::types::Stat;
use bollard_buildkit_proto::moby::buildkit::v1::VertexWarning;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::llb_bridge_server::LlbBridge;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::{
    Attestation, AttestationKind as WireKind, Attestations, CacheOptionsEntry, EvaluateRequest,
    EvaluateResponse, ExecMessage, InputsRequest, InputsResponse, NewContainerRequest,
    NewContainerResponse, PingRequest, PongResponse, ReadDirRequest, ReadDirResponse,
    ReadFileRequest, ReadFileResponse, Ref, RefMap, ReleaseContainerRequest,
    ReleaseContainerResponse, ResolveImageConfigRequest, ResolveImageConfigResponse,
    ResolveSourceImageResponse, ResolveSourceMetaRequest, ResolveSourceMetaResponse,
    Result as Returned, ReturnRequest, ReturnResponse, SolveRequest, SolveResponse,
    StatFileRequest, StatFileResponse, WarnRequest, WarnResponse, result,
};
use bollard_buildkit_proto::moby::buildkit::v1::sourcepolicy::Policy;
use bollard_buildkit_proto::pb::Definition;
use futures_util::Stream;
use tonic::{Request, Response, Status, Streaming};
use wharf_oci::Platform;
use wharf_solver::{AttestationKind, CacheOption, NewContainer, ResolvedImage, SolveResult};

use crate::error::{Error, from_rpc};
use crate::job::{Job, Kept};
use crate::service::Kit;
use crate::{caps, container};

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
    let keep = |tree: &wharf_solver::Ref, definition: &Definition| Ref {
        id: job.keep(Kept {
            tree: tree.clone(),
            definition: definition.clone(),
        }),
        def: Some(definition.clone()),
    };
    let named = |key: &str, tree: &wharf_solver::Ref| {
        let definition = solved.definitions.get(key).cloned().unwrap_or_default();
        keep(tree, &definition)
    };
    let said = |attestation: &wharf_solver::Attestation| Attestation {
        kind: match attestation.kind {
            AttestationKind::InToto => WireKind::InToto.into(),
            AttestationKind::Bundle => WireKind::Bundle.into(),
        },
        r#ref: Some(keep(&attestation.tree, &attestation.definition)),
        path: attestation.path.clone(),
        in_toto_predicate_type: attestation.predicate_type.clone(),
        ..Attestation::default()
    };
    let attestations = solved.attestations.iter().map(|(key, all)| {
        let attestation = all.iter().map(said).collect();
        (key.clone(), Attestations { attestation })
    });
    let attestations = attestations.collect();
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
        attestations,
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
    for (key, all) in returned.attestations {
        let all = all.attestation.into_iter();
        let all = all.map(|attestation| attested(job, attestation));
        let all = all.collect::<Result<_, Error>>()?;
        solved.attestations.insert(key, all);
    }
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

/// What is said of a result.
fn attested(job: &Job, attestation: Attestation) -> Result<wharf_solver::Attestation, Error> {
    // What is named by others than the image itself.
    if attestation.in_toto_subjects.iter().any(|one| one.kind != 0) {
        return Err(Error::Unimplemented(
            "statements about other subjects than the image are not built".to_owned(),
        ));
    }
    let kept = job.result(&attestation.r#ref.unwrap_or_default().id)?;
    Ok(wharf_solver::Attestation {
        tree: kept.tree,
        definition: kept.definition,
        kind: match WireKind::try_from(attestation.kind) {
            Ok(WireKind::InToto) => AttestationKind::InToto,
            Ok(WireKind::Bundle) => AttestationKind::Bundle,
            Err(_) => {
                let kind = attestation.kind;
                return Err(Error::Invalid(format!("unknown attestation kind {kind}")));
            }
        },
        path: attestation.path,
        predicate_type: attestation.in_toto_predicate_type,
    })
}

/// An image in a layout of the client's, in `ResolveImageConfigRequest`.
const LAYOUT: i32 = 1;

/// What is to be known of an image.
struct Wanted<'a> {
    platform: Option<Platform>,
    mode: &'a str,
    log_name: &'a str,
}

impl Wanted<'_> {
    async fn image(&self, job: &Job, name: &str) -> Result<ResolvedImage, Error> {
        let mode = match self.mode {
            "" => "default",
            mode => mode,
        };
        let platform = self.platform.as_ref();
        let found = job.work.resolve_image(name, platform, mode, self.log_name);
        Ok(found.await?)
    }

    /// `place` are the ids of a session and of a store in it.
    async fn layout(
        &self,
        job: &Job,
        name: &str,
        place: (&str, &str),
    ) -> Result<ResolvedImage, Error> {
        let platform = self.platform.as_ref();
        let found = job
            .work
            .resolve_layout(name, place, platform, self.log_name);
        Ok(found.await?)
    }
}

/// Policies are those of who asks for the build.
fn no_policies(policies: &[Policy]) -> Result<(), Error> {
    match policies.is_empty() {
        true => Ok(()),
        false => Err(Error::Unimplemented(
            "source policies of frontends are not built".to_owned(),
        )),
    }
}

fn platform(platform: &bollard_buildkit_proto::pb::Platform) -> Platform {
    Platform::new(&platform.os, &platform.architecture, &platform.variant)
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
        no_policies(&request.source_policies)?;
        let wanted = Wanted {
            platform: request.platform.as_ref().map(platform),
            mode: &request.resolve_mode,
            log_name: &request.log_name,
        };
        let found = match request.resolver_type {
            LAYOUT => {
                let place = (request.session_id.as_str(), request.store_id.as_str());
                wanted.layout(&job, &request.r#ref, place).await?
            }
            _ => wanted.image(&job, &request.r#ref).await?,
        };
        Ok(Response::new(ResolveImageConfigResponse {
            digest: found.digest.to_string(),
            config: found.config,
            r#ref: found.reference,
        }))
    }

    async fn resolve_source_meta(
        &self,
        request: Request<ResolveSourceMetaRequest>,
    ) -> Result<Response<ResolveSourceMetaResponse>, Status> {
        let job = self.job(&request).await?;
        let request = request.into_inner();
        let mut source = request.source.unwrap_or_default();
        no_policies(&request.source_policies)?;
        let wanted = Wanted {
            platform: request.platform.as_ref().map(platform),
            mode: &request.resolve_mode,
            log_name: &request.log_name,
        };
        let (scheme, name) = source.identifier.split_once("://").unwrap_or_default();
        let attr = |name: &str| source.attrs.get(name).map_or("", String::as_str);
        let found = match scheme {
            "docker-image" => wanted.image(&job, name).await?,
            "oci-layout" => {
                let place = (attr("oci.session"), attr("oci.store"));
                wanted.layout(&job, name, place).await?
            }
            // Of other sources there is nothing to know before they are fetched.
            _ => {
                return Ok(Response::new(ResolveSourceMetaResponse {
                    source: Some(source),
                    ..ResolveSourceMetaResponse::default()
                }));
            }
        };
        source.identifier = format!("{scheme}://{}", found.reference);
        Ok(Response::new(ResolveSourceMetaResponse {
            source: Some(source),
            image: Some(ResolveSourceImageResponse {
                digest: found.digest.to_string(),
                config: found.config,
                ..ResolveSourceImageResponse::default()
            }),
            ..ResolveSourceMetaResponse::default()
        }))
    }

    async fn solve(
        &self,
        request: Request<SolveRequest>,
    ) -> Result<Response<SolveResponse>, Status> {
        let job = self.job(&request).await?;
        let request = request.into_inner();
        no_policies(&request.source_policies)?;
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
            workers: vec![caps::worker(&self.0)],
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
        request: Request<NewContainerRequest>,
    ) -> Result<Response<NewContainerResponse>, Status> {
        let job = self.job(&request).await?;
        let request = request.into_inner();
        let mut mounts = Vec::new();
        for mount in request.mounts {
            let tree = match mount.result_id.as_str() {
                "" => None,
                id => Some(job.result(id)?.tree),
            };
            mounts.push((mount, tree));
        }
        let container = job.work.container(NewContainer {
            mounts,
            network: request.network,
            extra_hosts: request.extra_hosts,
            hostname: request.hostname,
        });
        job.host(&request.container_id, container.map_err(Error::from)?)?;
        Ok(Response::new(NewContainerResponse {}))
    }

    async fn release_container(
        &self,
        request: Request<ReleaseContainerRequest>,
    ) -> Result<Response<ReleaseContainerResponse>, Status> {
        let job = self.job(&request).await?;
        job.release(&request.into_inner().container_id)?;
        Ok(Response::new(ReleaseContainerResponse {}))
    }

    type ExecProcessStream = Pin<Box<dyn Stream<Item = Result<ExecMessage, Status>> + Send>>;

    async fn exec_process(
        &self,
        request: Request<Streaming<ExecMessage>>,
    ) -> Result<Response<Self::ExecProcessStream>, Status> {
        let job = self.job(&request).await?;
        let said = container::serve(job, self.0.solver.clone(), request.into_inner());
        Ok(Response::new(Box::pin(said)))
    }

    async fn read_file_container(
        &self,
        _: Request<ReadFileRequest>,
    ) -> Result<Response<ReadFileResponse>, Status> {
        Err(Status::unimplemented(
            "files of containers of frontends are not built",
        ))
    }

    async fn read_dir_container(
        &self,
        _: Request<ReadDirRequest>,
    ) -> Result<Response<ReadDirResponse>, Status> {
        Err(Status::unimplemented(
            "files of containers of frontends are not built",
        ))
    }

    async fn stat_file_container(
        &self,
        _: Request<StatFileRequest>,
    ) -> Result<Response<StatFileResponse>, Status> {
        Err(Status::unimplemented(
            "files of containers of frontends are not built",
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
